"""A run of the window from start to end: its temporary folder, its child processes one after the other, its result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from RefaceLib.common.errors import RefaceError
from RefaceLib.common.process import ChildProcess, Outcome, Workspace
from RefaceLib.window.slicerui import translator
from ReidentRiskLib.window import job

_ = translator(__name__)


class Run:
    """Has the methods of a ChildProcess, and runs as many of them as the request needs.

    `on_done` gets the Outcome of the last child that ran, its error in the words of the window; after success `found`
    holds what was found (job.Outcome). The temporary folder is gone before `on_done` is called, and after stop().
    """

    def __init__(
        self,
        request: job.Request,
        *,
        on_progress: Callable[[float, str], None],
        on_done: Callable[[Outcome], None],
        module: str | None = None,
        python: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.request = request
        self.found: job.Outcome | None = None
        self._on_progress, self._on_done = on_progress, on_done
        self._how = {"module": module or job.MODULE, "python": python, "environment": environment}
        self._workspace: Workspace | None = None
        self._child: ChildProcess | None = None
        self._finished = 0.0  # share of the work of the children that have ended

    @property
    def running(self) -> bool:
        """True from start() until on_done has been called, or stop()."""
        return self._workspace is not None

    def start(self) -> None:
        """Write the volumes and start the first child; RefaceError, with nothing left behind, when that fails."""
        self._workspace = Workspace("reident-risk-")
        try:
            self._job = job.Job(self.request, self._workspace.path)
            self._steps = list(self._job.steps)
            self._start_next()
        except BaseException:
            self._tidy()
            raise

    def poll(self) -> bool:
        """Deliver what has come since the last call; True while the run goes on."""
        if self._child is not None:
            self._child.poll()
        return self.running

    def cancel(self) -> None:
        """As ChildProcess.cancel."""
        if self._child is not None:
            self._child.cancel()

    def wait(self, each: Callable[[], None] = lambda: None) -> Outcome:
        """Run from start to end; `each` is called every 50 ms. For scripts: a window uses a timer and poll()."""
        ended: list[Outcome] = []
        tell, self._on_done = self._on_done, ended.append
        self.start()
        try:
            while self.poll():
                each()
                time.sleep(0.05)
        finally:
            self.stop()
        tell(ended[0])
        return ended[0]

    def stop(self) -> None:
        """End the run now, without any further callback (application exit, scene close)."""
        if self._child is not None:
            self._child.stop()
        self._tidy()

    def _start_next(self) -> None:
        _name, arguments, self._share = self._steps.pop(0)
        self._child = ChildProcess(
            arguments, on_progress=self._progress_of_child, on_done=self._child_ended, **self._how
        )
        self._child.start()

    def _progress_of_child(self, fraction: float, stage: str) -> None:
        self._on_progress(self._finished + self._share * fraction, stage_title(stage))

    def _child_ended(self, outcome: Outcome) -> None:
        if outcome.error:
            outcome = replace(outcome, error=self._job.words(outcome.error))
        try:
            if self._steps and not (outcome.error or outcome.cancelled):
                self._finished += self._share
                self._start_next()
                return
            if not (outcome.error or outcome.cancelled):
                self.found = self._job.read()
        except RefaceError as error:
            outcome = replace(outcome, error=str(error))
        self._tidy()
        self._on_done(outcome)

    def _tidy(self) -> None:
        if self._workspace is not None:
            self._workspace.remove()
        self._workspace = self._child = None


def stage_title(stage: str) -> str:
    """What the window calls a stage of the child."""
    titles = {
        "load": _("loading the networks"),
        "download": _("downloading a network"),
        "reference": _("looking at the original"),
        "probe": _("looking at the volumes"),
        "gallery": _("looking at the gallery"),
        "drawing": _("drawing faces"),
        "embedding": _("comparing faces"),
        "embedded": _("comparing faces"),
        "detecting": _("looking for faces"),
        "write": _("writing results"),
    }
    name, *counts = stage.split()
    title = titles.get(name, stage)
    return f"{title} ({' '.join(counts)})" if name in titles and "of" in counts else title
