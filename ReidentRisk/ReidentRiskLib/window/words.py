"""What the window calls attackers, views and verdicts, and the colours of verdicts."""

from __future__ import annotations

from RefaceLib.window.slicerui import translator
from ReidentRiskLib.judge.scores import ALIGNED, DETECTED
from ReidentRiskLib.judge.verdict import NO_HEAD, NOT_RECOGNISABLE, RECOGNISABLE, UNCALIBRATED, UNCERTAIN

_ = translator(__name__)

COLOURS = {  # background of a verdict; all are light enough for black letters
    RECOGNISABLE: "#f4a59a",
    UNCERTAIN: "#f7d98b",
    NOT_RECOGNISABLE: "#a8d8a0",
    UNCALIBRATED: "#d5d5d5",
    NO_HEAD: "#d5d5d5",
}


def attacker(name: str) -> str:
    """What a reader sees of an attacker of scores.ATTACKERS."""
    return {ALIGNED: _("knowing where the face is"), DETECTED: _("looking for the face")}[name]


def attacker_tip(name: str) -> str:
    """What this attacker does."""
    return {
        ALIGNED: _(
            "This attacker is told where eyes, nose and mouth of the original are, and compares what is there now, "
            "be it a face or not (forced alignment)."
        ),
        DETECTED: _(
            "This attacker leaves it to a face detector to find a face. A picture in which it finds none is not "
            "compared (detector-gated)."
        ),
    }[name]


def verdict(name: str) -> str:
    """What a reader sees of a verdict."""
    return {
        RECOGNISABLE: _("recognisable"),
        UNCERTAIN: _("uncertain"),
        NOT_RECOGNISABLE: _("not recognisable"),
        UNCALIBRATED: _("no verdict"),
        NO_HEAD: _("no verdict"),
    }[name]


def thresholds() -> dict[str, str]:
    """What the verdicts mean, each in a few words."""
    return {
        RECOGNISABLE: _("at most 1 of 100 pairs of strangers is at least this similar"),
        UNCERTAIN: _("between 1 of 100 and 1 of 10"),
        NOT_RECOGNISABLE: _("1 of 10 or more, or no face is found"),
    }
