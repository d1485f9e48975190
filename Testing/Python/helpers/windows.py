"""What the windows of both modules need of the application, in stand-ins that remember what they are told."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import slicer

import RefaceLib
import ReidentRiskLib
from helpers.checkout import TESTS
from helpers.uifiles import fake_ui

_LIBRARIES = (Path(library.__file__).parents[1] for library in (RefaceLib, ReidentRiskLib))
CHILD_PATH = os.pathsep.join(map(str, (TESTS, *_LIBRARIES, *sys.path)))  # for children of the tests


@contextlib.contextmanager
def window_application(
    name: str,
    scene: slicer.vtkMRMLScene,
    module: ModuleType,
    app: Mapping[str, Any] = types.MappingProxyType({}),
    util: Mapping[str, Callable] = types.MappingProxyType({}),
    **more: Any,
) -> Iterator[Any]:
    """What `slicer` has in the application, for the window of the module `name`; errors that are shown are in `shown`.

    `app` and `util` are further contents of slicer.app and slicer.util, `more` those of slicer.
    """
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    shown: list[str] = []

    @contextlib.contextmanager
    def try_with_error_display(message: str, **_options: Any) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            shown.append(f"{message} {error}")

    ui = fake_ui(name)
    contents = types.SimpleNamespace(
        **{"applicationLogic": lambda: logic, "layoutManager": lambda: None, "slicerHome": None, **app}
    )
    functions = {
        "mainWindow": lambda: None,
        "loadUI": lambda path: mock.MagicMock(),
        "childWidgetVariables": lambda widget: ui,
        "tryWithErrorDisplay": try_with_error_display,
        "errorDisplay": shown.append,
        "findChildren": lambda widget, className: [widget.inner] if className == widget.inner.kind else [],
        **util,
    }
    with (
        mock.patch.multiple(slicer, create=True, mrmlScene=scene, app=contents, **more),
        mock.patch.multiple(slicer.util, create=True, **functions),
        mock.patch.object(module.slicerui, "ensure_dependencies") as ensured,
        mock.patch.object(module.slicerui, "ensure_packages") as packages,
        mock.patch.object(module.slicerui, "python_executable", lambda: sys.executable),
    ):
        yield types.SimpleNamespace(shown=shown, logic=logic, ensured=ensured, packages=packages, ui=ui)


class ScriptedRun:
    """A run of which the test says how it goes on, one step a poll; callbacks are kept as attributes."""

    def __init__(self, *steps: Callable | None, **callbacks: Callable) -> None:
        self.steps, self.log = list(steps), []
        vars(self).update(callbacks)

    def start(self) -> None:
        self.log.append("start")

    def poll(self) -> bool:
        step = self.steps.pop(0) if self.steps else None
        if callable(step):
            step()
        return bool(self.steps)

    def cancel(self) -> None:
        self.log.append("cancel")

    def stop(self) -> None:
        self.log.append("stop")


@pytest.fixture(name="scene")
def scene_fixture() -> slicer.vtkMRMLScene:
    return slicer.vtkMRMLScene()


@pytest.fixture(autouse=True, name="temporary")
def temporary_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that temporary folders are made in: empty again after every test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def let_children_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes find the stand-ins of the tests, and take one thread each."""
    monkeypatch.setenv("PYTHONPATH", CHILD_PATH)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def opened(widget: Any) -> Iterator[Any]:
    """The window as it is when its module has been entered; cleaned up in the end."""
    widget.parent = mock.MagicMock(isEntered=True)
    widget.setup()
    yield widget
    widget.cleanup()


def wait(widget: Any, seconds: float = 60.0) -> None:
    """Let the timer of the window fire until the run is over."""
    end = time.monotonic() + seconds
    while widget.panel.running:
        assert time.monotonic() < end
        widget.panel.poll()
        time.sleep(0.02)


def held_back(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """What the application is to do once it is idle; a test calls it."""
    waiting: list[Callable[[], None]] = []
    monkeypatch.setattr("RefaceLib.window.slicerui.once_idle", waiting.append)
    return waiting
