"""A run of a window: child processes one after the other, in a temporary folder, and the result that they leave."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from RefaceLib.common.errors import CancelledError, RefaceError
from RefaceLib.common.process import ChildEnd, ChildProcess, Workspace
from RefaceLib.common.progress import STOPPED, Cancelled, Progress, part

T = TypeVar("T", covariant=True)


@dataclass(frozen=True)
class Step:
    """A child process, `python -m module arguments`, and its `share` of the work; those of a run add up to 1.

    `stage` is the name of all its stages; None where it is known what the child calls them.
    """

    module: str
    arguments: Sequence[str]
    share: float
    stage: str | None = None


class RunFiles(Protocol[T]):
    """The files of a run: what `steps` read and write, and what a user calls them (`names`)."""

    @property
    def steps(self) -> Sequence[Step]: ...

    @property
    def names(self) -> Mapping[Path, str]: ...

    def read(self) -> T:
        """The result, once all steps have ended well. Raises RefaceError where it cannot be used."""


class StepRunner(Generic[T]):
    """Runs the steps of a run; like a ChildProcess, it calls back from poll(), on its thread.

    `prepare` gets the temporary folder, writes what the steps read, and says what they are. `on_progress` takes a
    fraction 0..1 and the name of the stage. At the end either `on_done` gets the result, or `on_failed` one sentence,
    which is None after cancel(). The folder is gone before either is called, and poll() passes on what they raise.
    Where `on_done` returns a generator, each poll() takes a piece of it: long work of a window, which lives in between.
    It is closed where the run is cancelled or stopped.
    `python` is as of ChildProcess.
    """

    def __init__(
        self,
        prepare: Callable[[Path], RunFiles[T]],
        *,
        on_progress: Progress,
        on_done: Callable[[T], object],
        on_failed: Callable[[str | None], object],
        python: str | None = None,
    ) -> None:
        self._prepare, self._python = prepare, python
        self._on_progress, self._on_done, self._on_failed = on_progress, on_done, on_failed
        self._workspace: Workspace | None = None
        self._child: ChildProcess | None = None
        self._error: RefaceError | None = None
        self._pieces: Generator[object, None, object] | None = None

    @property
    def running(self) -> bool:
        """True from start() until on_done has done its work, on_failed is called, or stop()."""
        return self._workspace is not None or self._pieces is not None

    def start(self) -> None:
        """Write the files and start the first step; RefaceError, with nothing left behind, when that fails."""
        self._workspace = Workspace()
        try:
            self._files = self._prepare(self._workspace.path)
            self._waiting, self._begun = list(self._files.steps), 0.0
            self._start_next()
        except BaseException:
            self._clean()
            raise

    def poll(self) -> bool:
        """Deliver what has come since the last call; True while the run goes on."""
        if self._child is not None:
            self._child.poll()
        elif self._pieces is not None:
            self._take_a_piece(self._pieces)
        return self.running

    def cancel(self) -> None:
        """End the run within a second; poll() then calls `on_failed(None)`."""
        if self._child is not None:
            self._child.cancel()
        elif self._pieces is not None:
            self._drop_pieces()
            self._fail(CancelledError(STOPPED), "")

    def stop(self) -> None:
        """End the run now, without any further callback (application exit, scene close)."""
        if self._child is not None:
            self._child.stop()
        self._drop_pieces()
        self._clean()

    def wait(self, cancelled: Cancelled | None = None) -> None:
        """Run from start to end, for scripts; raises what `on_failed` tells, as RefaceError or CancelledError.

        `cancelled` is called every 20 ms.
        """
        self.start()
        try:
            while self.poll():
                if cancelled is not None and cancelled():
                    self.cancel()
                time.sleep(0.02)
        finally:
            self.stop()
        if self._error is not None:
            raise self._error

    # ---- steps ----

    def _start_next(self) -> None:
        step = self._waiting.pop(0)
        begin, self._begun = self._begun, min(1.0, self._begun + step.share)
        told = part(self._on_progress, begin, self._begun)
        self._child = ChildProcess(
            step.arguments,
            module=step.module,
            on_progress=lambda fraction, stage: told(fraction, step.stage or stage),
            on_done=self._step_ended,
            python=self._python,
        )
        self._child.start()

    def _step_ended(self, end: ChildEnd) -> None:
        try:
            if end.cancelled:
                raise CancelledError(STOPPED)
            if end.error:
                raise RefaceError(end.error)
            if self._waiting:
                self._start_next()
                return
            result = self._files.read()
        except RefaceError as error:
            self._fail(error, end.output)
        except BaseException:
            self._clean()
            raise
        else:
            self._clean()
            pieces = self._on_done(result)
            self._pieces = pieces if isinstance(pieces, Generator) else None

    def _take_a_piece(self, pieces: Generator[object, None, object]) -> None:
        try:
            next(pieces)
        except StopIteration:
            self._pieces = None
        except BaseException:
            self._pieces = None
            raise

    def _drop_pieces(self) -> None:
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            pieces.close()

    def _fail(self, error: RefaceError, output: str) -> None:
        self._error = type(error)(with_names(str(error), self._files.names))
        self._clean()
        if isinstance(error, CancelledError):
            self._on_failed(None)
            return
        logging.getLogger(__name__).error("%s\n%s", self._error, output)
        self._on_failed(str(self._error))

    def _clean(self) -> None:
        if self._workspace is not None:
            self._workspace.remove()
        self._workspace = self._child = None


def with_names(text: str, names: Mapping[Path, str] | Mapping[str, str]) -> str:
    """The text with the names that a user or a reader is to see in place of the paths, wherever these stand alone."""
    if not names:
        return text
    known = {str(path): name for path, name in names.items()}
    found = "|".join(re.escape(path) for path in sorted(known, key=len, reverse=True))
    # No script but Latin has spaces between all words, so letters of others are no part of a name.
    return re.sub(rf"(?<![\w.-])(?:{found})(?!\w)", lambda match: known[match[0]], text, flags=re.ASCII)
