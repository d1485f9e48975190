"""The colours of verdicts and of distributions, in the pictures of the command line and in the window alike."""

from __future__ import annotations

from ReidentRiskLib.judge.verdict import NO_HEAD, NOT_RECOGNISABLE, RECOGNISABLE, UNCALIBRATED, UNCERTAIN

VERDICTS = {  # all are light enough for black letters
    RECOGNISABLE: "#f4a59a",
    UNCERTAIN: "#f7d98b",
    NOT_RECOGNISABLE: "#a8d8a0",
    UNCALIBRATED: "#d5d5d5",
    NO_HEAD: "#d5d5d5",
}
STRANGERS, SAME_HEAD = "#3b6ea5", "#d1762b"


def rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue (0 to 1) of a colour such as "#3b6ea5"."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red / 255, green / 255, blue / 255
