"""What the windows of Reface and ReidentRisk share: the packages they need, and showing a run that is under way.

slicer and qt are imported inside functions, so that this file can be imported anywhere.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from RefaceLib.common.errors import OutputError, RefaceError
from RefaceLib.common.process import time_left
from RefaceLib.common.steps import StepRunner

TORCH_REQUIREMENT = ">=2.4"
POLL_MS = 50
_LONGEST = 40  # characters of a name in the window


def translator(module: str) -> Callable[[str], str]:
    """The `_` of a library file, to be called with its __name__, which is the context of its texts for translators."""

    def translated(text: str) -> str:
        try:
            from slicer.i18n import translate
        except ImportError:  # outside the application
            return text
        return translate(module, text)

    return translated


_ = translator(__name__)


def short_name(name: str) -> str:
    """A name with its middle left out where it is long: a panel of 400 pixels shows some 40 characters."""
    half = _LONGEST // 2 - 1
    return name if len(name) <= _LONGEST else f"{name[:half]}...{name[-half:]}"


# ---- packages ----


def python_executable() -> str:
    """Slicer's Python, with which child processes are started; this one where that is not found (under pytest)."""
    import slicer

    home = getattr(getattr(slicer, "app", None), "slicerHome", None)
    beside = [Path(home) / "bin"] if isinstance(home, str) else []
    for folder in (*beside, Path(sys.executable).parent):
        found = shutil.which("PythonSlicer", path=str(folder))
        if found:
            return found
    return shutil.which("PythonSlicer") or sys.executable


def ensure_dependencies(module: str, *requirements: str | Path) -> None:
    """Install what `module` (its title) needs, after asking; to be called because the user has pressed a button.

    `requirements` are files of pip requirements. Torch comes from the PyTorch extension, which chooses the build for
    the computer's graphics card. Raises RefaceError with one sentence when something is missing afterwards.
    """
    if importlib.util.find_spec("torch") is None:
        _install_torch(module)
    ensure_packages(module, *requirements)


def ensure_packages(module: str, *requirements: str | Path) -> None:
    """As ensure_dependencies, for work that needs no torch."""
    from slicer.packaging import load_requirements, pip_ensure

    try:
        for file in requirements:
            pip_ensure(load_requirements(file), requester=module)
    except Exception as error:  # pip fails in many ways; its own log is in Slicer's
        raise RefaceError(
            _(
                "{module} needs packages that were not installed: press the button again and agree, "
                "with a connection to the internet."
            ).format(module=module)
        ) from error


def _install_torch(module: str) -> None:
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        text = _("{module} needs the PyTorch extension: install it in the Extensions Manager and restart 3D Slicer.")
        raise RefaceError(text.format(module=module)) from error
    reason = None
    try:
        logic = PyTorchUtils.PyTorchUtilsLogic()
        torch = logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT)
    except Exception as error:  # offline, or no space on the disk
        torch, reason = None, error
    if torch is None:
        text = _(
            "{module} needs PyTorch, which was not installed: press the button again and agree, "
            "with a connection to the internet."
        )
        raise RefaceError(text.format(module=module)) from reason


# ---- the run ----


def time_text(seconds: float | None) -> str:
    """Time left, in words; empty while it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return _("about {count} s left").format(count=max(1, round(seconds)))
    return _("about {count} min left").format(count=round(seconds / 60))


def show_error(text: str) -> None:
    """One sentence in a message box (in the log alone where there is no window)."""
    import slicer

    slicer.util.errorDisplay(text)


def confirm(question: str) -> bool:
    """Whether the user says Yes (where the application is tested: never)."""
    import slicer

    return bool(slicer.util.confirmYesNoDisplay(question))


def ask_for_path(title: str, name: str | None = None, filters: Sequence[str] = ()) -> str:
    """The file that the user names, `name` being offered; an existing folder where it is None; empty when cancelled.

    A name without an ending gets that of the chosen one of the `filters`, such as "NIfTI (*.nii.gz)". OutputError for
    a file that is there already under the longer name, for which the user was not asked.
    """
    import qt
    import slicer

    window = slicer.util.mainWindow()
    if name is None:
        return qt.QFileDialog.getExistingDirectory(window, title) or ""
    dialog = qt.QFileDialog(window, title, name.replace("/", "_").replace("\\", "_"), ";;".join(filters))
    dialog.setAcceptMode(qt.QFileDialog.AcceptSave)
    chosen = dialog.selectedFiles()[0] if dialog.exec_() else ""
    kind = dialog.selectedNameFilter()
    dialog.deleteLater()
    return with_ending(chosen, kind, filters) if chosen else ""


def with_ending(path: str, kind: str, filters: Sequence[str]) -> str:
    """The path, with the ending of the filter `kind` where it has none of the `filters`.

    OutputError where that file is there already.
    """
    endings = [ending for each in filters for ending in _endings(each)]
    if not endings or path.lower().endswith(tuple(endings)):
        return path
    longer = path + (_endings(kind) or endings)[0]
    if Path(longer).exists():
        raise OutputError(_("{name} exists already: choose another name.").format(name=Path(longer).name))
    return longer


def _endings(name_filter: str) -> list[str]:
    """[".nii.gz"] of "NIfTI (*.nii.gz)"."""
    return re.findall(r"\*(\.[\w.]+)", name_filter)


def tick_nodes(selector: Any, nodes: Sequence[Any]) -> None:
    """Tick these nodes, and no other, in a qMRMLCheckableNodeComboBox."""
    import qt

    for node in (*selector.checkedNodes(), *selector.uncheckedNodes()):
        selector.setCheckState(node, qt.Qt.Checked if node in nodes else qt.Qt.Unchecked)


def observe_path(field: Any, on_changed: Callable[[str], None]) -> None:
    """Call `on_changed` with the text of a ctkPathLineEdit whenever it changes.

    Its own currentPathChanged is silent when the text is erased, or names nothing that is there.
    """
    import slicer

    for line in slicer.util.findChildren(field, className="QLineEdit"):
        line.connect("textChanged(QString)", on_changed)


def path_problem(path: str) -> str:
    """One sentence about a folder that the user has named and that is not there; empty where nothing is wrong."""
    if not path or Path(path).is_dir():
        return ""
    return _("There is no folder {path}: choose another one, or empty the field.").format(path=path)


def once_idle(function: Callable[[], None]) -> None:
    """Call `function` when the events that are under way have been dealt with, as those of a scene that is read."""
    import qt

    qt.QTimer.singleShot(0, function)


class WhenIdle:
    """As once_idle, until the window for which it is done has gone."""

    def __init__(self) -> None:
        self._closed = False

    def __call__(self, function: Callable[[], None]) -> None:
        once_idle(lambda: None if self._closed else function())

    def close(self) -> None:
        self._closed = True


class Labels:
    """Writes into the labels of a module's panel, and gives the panel the height that all of its texts need.

    The scroll area about it gives less now and then: the last lines of a label were cut.
    """

    def __init__(self, panel: Any, when_idle: WhenIdle) -> None:
        self._panel, self._when_idle = panel, when_idle

    def write(self, label: Any, text: str) -> None:
        label.setText(text)
        self._when_idle(self._fit)  # only then the panel has its width

    def _fit(self) -> None:
        self._panel.setMinimumHeight(self._panel.heightForWidth(self._panel.width))


@dataclass(frozen=True, eq=False)
class _Run:
    """A run under way, or one that waits; `volumes` are those that it works on, first what it cannot do without."""

    runner: StepRunner
    volumes: tuple[Any, ...]


class RunPanel:
    """Polls one run under a QTimer and shows how far it is; those that are started meanwhile wait for their turn.

    :param progressBar: QProgressBar, shown during a run
    :param statusLabel: QLabel for the stage and the time left
    :param cancelButton: QPushButton that stops the run under way
    :param onRunning: called with True when a run has begun or waits, and with False when the last one has ended
    :param stageTitle: what the user calls a stage of the run
    """

    def __init__(
        self,
        progressBar: Any,
        statusLabel: Any,
        cancelButton: Any,
        onRunning: Callable[[bool], None],
        stageTitle: Callable[[str], str],
    ):
        import qt

        self._bar, self._label, self._button = progressBar, statusLabel, cancelButton
        self._onRunning, self._stageTitle = onRunning, stageTitle
        self._run: _Run | None = None
        self._waiting: list[_Run] = []
        self._started = 0.0
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MS)
        self._timer.connect("timeout()", self.poll)
        cancelButton.connect("clicked()", self.cancel)
        self._rest()

    @property
    def running(self) -> bool:
        return self._run is not None

    def turn(self, volume: Any) -> int | None:
        """0 for a volume of the run under way, 1 for one of the next run, and so on; None for any other."""
        runs = [*([self._run] if self._run else []), *self._waiting]
        return next((turn for turn, run in enumerate(runs) if volume in run.volumes), None)

    def run(self, runner: StepRunner, volumes: Sequence[Any] = ()) -> None:
        """Start a run, which calls show() and, at its end, back into the widget; it waits while another is under way.

        `volumes` are the nodes that it works on, first the one without which there is no result. Raises RefaceError
        when it cannot start.
        """
        run = _Run(runner, tuple(volumes))
        if self.running:
            self._waiting.append(run)
        else:
            self._start(run)
        self._onRunning(True)

    def show(self, fraction: float, stage: str) -> None:
        """How far the run is: to be given to it as `on_progress`."""
        self._bar.setValue(round(100 * fraction))
        left = time_text(time_left(fraction, time.monotonic() - self._started))
        count = len(self._waiting)
        waiting = _("{count} waiting").format(count=count) if count else ""
        self._label.setText(" - ".join(filter(None, [self._stageTitle(stage), left, waiting])))

    def poll(self) -> None:
        """Called by the timer: the run's callbacks come from here."""
        run = self._run
        if run is None:
            return
        try:
            running = run.runner.poll()
        except Exception as error:  # of a callback: the run is over, and the user is told in one sentence
            run.runner.stop()
            running = False
            self._end()
            self._label.setText(_report(error))
        if not running and self._run is run:
            self._end()

    def cancel(self) -> None:
        """Stop the run under way; it ends within a second, and the next one begins."""
        if self._run is not None:
            self._button.setEnabled(False)
            self._label.setText(_("Stopping ..."))
            self._run.runner.cancel()

    def remove(self, volume: Any) -> bool:
        """A volume leaves the scene: the runs that need it end now, without a callback; True where there was one."""
        need = [run for run in self._waiting if run.volumes and run.volumes[0] is volume]
        self._waiting = [run for run in self._waiting if run not in need]
        if self._run is None or not self._run.volumes or self._run.volumes[0] is not volume:
            return bool(need)
        self._run.runner.stop()
        self._end()
        return True

    def stop(self) -> None:
        """End all runs at once and without any callback: the scene or the application is being closed."""
        self._waiting = []
        if self._run is not None:
            self._run.runner.stop()
            self._label.setText("")
            self._end()

    def _start(self, run: _Run) -> None:
        run.runner.start()
        self._run, self._started = run, time.monotonic()
        self._bar.setValue(0)
        self._bar.setVisible(True)
        self._button.setEnabled(True)
        self._label.setText(_("Starting ..."))
        self._timer.start()

    def _end(self) -> None:
        """The run under way is over: the next one that can start does."""
        self._run = None
        self._timer.stop()
        self._rest()
        while self._waiting and not self.running:
            try:
                self._start(self._waiting.pop(0))
            except Exception as error:  # of one run: the next one has its turn
                _report(error)
        self._onRunning(self.running)

    def _rest(self) -> None:
        self._bar.setVisible(False)
        self._button.setEnabled(False)


def _report(error: Exception) -> str:
    """Show what went wrong, in one sentence, and return it."""
    import logging

    sentence = str(error)
    if not isinstance(error, RefaceError):
        logging.exception("Unexpected error after a run")
        sentence = _("The result could not be shown ({error}).").format(error=f"{type(error).__name__}: {error}")
    show_error(sentence)
    return sentence
