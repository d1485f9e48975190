"""What the window calls attackers and verdicts."""

from __future__ import annotations

from RefaceLib.window.slicerui import translator
from ReidentRiskLib.judge.scores import ALIGNED, DETECTED
from ReidentRiskLib.judge.verdict import (
    FEW,
    MANY,
    NO_HEAD,
    NOT_RECOGNISABLE,
    RECOGNISABLE,
    UNCALIBRATED,
    UNCERTAIN,
)

_ = translator(__name__)


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
        NO_HEAD: _("no head"),
    }[name]


def thresholds() -> dict[str, str]:
    """What the verdicts mean, each in a few words."""
    texts = {
        RECOGNISABLE: _("at most 1 of {few} pairs of strangers is at least this similar"),
        UNCERTAIN: _("between 1 of {few} and 1 of {many}"),
        NOT_RECOGNISABLE: _("1 of {many} or more, or no face is found"),
    }
    return {verdict: text.format(few=FEW, many=MANY) for verdict, text in texts.items()}
