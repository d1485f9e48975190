"""How work reports its progress, and how it learns that it should stop."""

from __future__ import annotations

from collections.abc import Callable

from RefaceLib.common.errors import CancelledError

Progress = Callable[[float, str], None]  # takes the fraction that is done, 0..1, and the name of the stage
Cancelled = Callable[[], bool]  # returns True once the user wants to stop
STOPPED = "The run was stopped; nothing was written."


def no_progress(_fraction: float, _stage: str) -> None:
    """A Progress that tells nobody."""


def part(progress: Progress, start: float, end: float) -> Progress:
    """A progress function whose 0..1 is `start`..`end` of `progress`."""
    return lambda fraction, stage: progress(start + (end - start) * fraction, stage)


def raise_if_cancelled(cancelled: Cancelled | None, sentence: str = STOPPED) -> None:
    """Raise CancelledError with the `sentence` once the user wants to stop."""
    if cancelled and cancelled():
        raise CancelledError(sentence)
