"""The window of Reface over stand-ins for what only the application has."""

from __future__ import annotations

import contextlib
from types import ModuleType
from typing import Any
from unittest import mock

import slicer

from slicer_stubs import REFACE_PY, reface_module
from windows import CHILD_PATH, window_application

__all__ = ["CHILD_PATH", "REFACE_PY", "application", "reface_module"]


def application(scene: slicer.vtkMRMLScene, module: ModuleType) -> contextlib.AbstractContextManager[Any]:
    """What `slicer` has in the application; errors that are shown are in `shown`."""
    return window_application("Reface", scene, module, util={"setSliceViewerLayers": mock.Mock()})
