"""ReidentRisk.py beside stand-ins for what only the application has, and its window over widgets that remember."""

from __future__ import annotations

import contextlib
import importlib.util
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
import ReidentRiskLib
from parameternodes import parameterNodeWrapper
from slicer_stubs import application_modules
from uifiles import fake_ui

MODULE_PY = Path(__file__).resolve().parents[2] / "ReidentRisk" / "ReidentRisk.py"
LIBRARIES = [Path(library.__file__).parents[1] for library in (RefaceLib, ReidentRiskLib)]
CHILD_PATH = os.pathsep.join(map(str, (Path(__file__).parent, *LIBRARIES, *sys.path)))


def parameter_node(_logic: Any) -> slicer.vtkMRMLScriptedModuleNode:
    """The one parameter node of the module in the scene, as the application finds or makes it."""
    node = slicer.mrmlScene.GetSingletonNode("ReidentRisk", "vtkMRMLScriptedModuleNode")
    if node is None:
        node = slicer.vtkMRMLScriptedModuleNode()
        node.SetSingletonTag("ReidentRisk")
        node.SetModuleName("ReidentRisk")
        node = slicer.mrmlScene.AddNode(node)
    return node


@contextlib.contextmanager
def reident_module() -> Iterator[ModuleType]:
    """ReidentRisk.py, imported beside the stand-ins, which are gone again afterwards."""
    modules = application_modules()
    modules["slicer.parameterNodeWrapper"] = types.ModuleType("slicer.parameterNodeWrapper")
    modules["slicer.parameterNodeWrapper"].parameterNodeWrapper = parameterNodeWrapper
    modules["qt"].Qt = types.SimpleNamespace(Checked=2, Unchecked=0)
    bases = modules["slicer.ScriptedLoadableModule"]
    bases.ScriptedLoadableModuleLogic = type(
        "Logic", (bases.ScriptedLoadableModuleLogic,), {"getParameterNode": parameter_node}
    )
    with mock.patch.dict(sys.modules, modules):
        spec = importlib.util.spec_from_file_location("ReidentRisk", MODULE_PY)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


class Settings(dict):
    """The user's settings."""

    def value(self, key: str, default: Any = None) -> Any:
        return self.get(key, default)

    def setValue(self, key: str, value: Any) -> None:
        self[key] = value


class Layouts:
    """The layout manager: makes the views of the layout, as the application does."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene
        self.layout = 0
        self.node = scene.AddNewNodeByClass("vtkMRMLLayoutNode")

    def layoutLogic(self) -> Any:
        return types.SimpleNamespace(GetLayoutNode=lambda: self.node)

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
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    shown: list[str] = []

    @contextlib.contextmanager
    def try_with_error_display(message: str, **_options: Any) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            shown.append(f"{message} {error}")

    settings, layouts, cameras = Settings(), Layouts(scene), Cameras()
    app = types.SimpleNamespace(
        applicationLogic=lambda: logic, userSettings=lambda: settings, layoutManager=lambda: layouts, slicerHome=None
    )
    stand_ins = {"mrmlScene": scene, "app": app, "modules": types.SimpleNamespace(cameras=cameras)}
    widgets = fake_ui("ReidentRisk")
    functions = {
        "loadUI": lambda path: mock.MagicMock(),
        "childWidgetVariables": lambda widget: widgets,
        "tryWithErrorDisplay": try_with_error_display,
        "errorDisplay": shown.append,
    }
    with (
        mock.patch.multiple(slicer, create=True, **stand_ins),
        mock.patch.multiple(slicer.util, create=True, **functions),
        mock.patch.object(module.slicerui, "ensure_dependencies") as ensured,
        mock.patch.object(module.slicerui, "python_executable", lambda: sys.executable),
    ):
        yield types.SimpleNamespace(
            shown=shown, settings=settings, layouts=layouts, cameras=cameras, logic=logic, ensured=ensured, ui=widgets
        )
