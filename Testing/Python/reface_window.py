"""Reface.py beside stand-ins for what only the application has, and its window over widgets that remember."""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import slicer

import RefaceLib
from slicer_stubs import REFACE_PY, reface_module
from uifiles import fake_ui

__all__ = ["CHILD_PATH", "REFACE_PY", "application", "reface_module"]

CHILD_PATH = os.pathsep.join(map(str, (Path(__file__).parent, Path(RefaceLib.__file__).parents[1], *sys.path)))


@contextlib.contextmanager
def application(scene: slicer.vtkMRMLScene, module: ModuleType) -> Iterator[Any]:
    """What `slicer` has in the application; errors that are shown are in `shown`."""
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    shown: list[str] = []

    @contextlib.contextmanager
    def try_with_error_display(message: str, **_options: Any) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            shown.append(f"{message} {error}")

    ui = fake_ui("Reface")
    app = types.SimpleNamespace(applicationLogic=lambda: logic, slicerHome=None)
    functions = {
        "loadUI": lambda path: mock.MagicMock(),
        "childWidgetVariables": lambda widget: ui,
        "tryWithErrorDisplay": try_with_error_display,
        "errorDisplay": shown.append,
        "setSliceViewerLayers": mock.Mock(),
    }
    with (
        mock.patch.multiple(slicer, create=True, mrmlScene=scene, app=app),
        mock.patch.multiple(slicer.util, create=True, **functions),
        mock.patch.object(module.slicerui, "ensure_dependencies") as ensured,
        mock.patch.object(module.slicerui, "python_executable", lambda: sys.executable),
    ):
        yield types.SimpleNamespace(shown=shown, logic=logic, ensured=ensured, ui=ui)
