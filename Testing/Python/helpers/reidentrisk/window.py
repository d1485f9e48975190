"""The window of ReidentRisk over stand-ins for what only the application has: layouts, cameras."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import slicer

from helpers.windows import window_application


class Layouts:
    """The layout manager: makes the views of the layout, as the application does."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self.layout = 0
        self.node = scene.AddNewNodeByClass("vtkMRMLLayoutNode")

    def layoutLogic(self) -> Any:
        return types.SimpleNamespace(GetLayoutNode=lambda: self.node)

    def resetSliceViews(self) -> None: ...

    def setLayout(self, number: int) -> None:
        self.layout = number
        for tag in ("1", "2"):
            view = slicer.vtkMRMLViewNode()
            view.SetSingletonTag(tag)
            self._scene.AddNode(view)


class Cameras:
    """The logic of the module Cameras: a camera for each view."""

    def __init__(self) -> None:
        self.made: dict[str, slicer.vtkMRMLCameraNode] = {}

    def logic(self) -> Cameras:
        return self

    def GetViewActiveCameraNode(self, view: slicer.vtkMRMLViewNode) -> slicer.vtkMRMLCameraNode:
        return self.made.setdefault(view.GetID(), slicer.vtkMRMLCameraNode())


@contextlib.contextmanager
def application(scene: slicer.vtkMRMLScene, module: ModuleType) -> Iterator[Any]:
    """What `slicer` has in the application; errors that are shown are in `shown`."""
    layouts, cameras = Layouts(scene), Cameras()
    app = {"layoutManager": lambda: layouts}
    modules = types.SimpleNamespace(cameras=cameras)
    with window_application("ReidentRisk", scene, module, app, modules=modules) as made:
        made.layouts, made.cameras = layouts, cameras
        yield made
