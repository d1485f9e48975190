"""Stand-ins for what slicer-core lacks, so that Reface.py can be imported and driven without the application.

They belong to tests alone. The module base classes do nothing but keep their arguments; every Qt and CTK class is a
mock that remembers what it was told.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
import unittest
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

import slicer

from helpers.checkout import REPOSITORY
from helpers.parameternodes import parameterNodeWrapper
from helpers.uifiles import FakeItem

REFACE_PY = REPOSITORY / "Reface" / "Reface.py"


class _Module:
    def __init__(self, parent):
        self.parent = parent


class _Widget:
    def __init__(self, parent=None):
        self.parent = parent
        self.layout = mock.MagicMock()

    def setup(self):
        pass

    def resourcePath(self, name):
        return str(REFACE_PY.parent / "Resources" / name)


class _Logic:
    """Finds or makes the parameter node of the module, as the application does."""

    def __init__(self, parent=None):
        self.parent = parent
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        for index in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")):
            node = slicer.mrmlScene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode")
            if node.GetAttribute("ModuleName") == self.moduleName:
                return node
        node = slicer.vtkMRMLScriptedModuleNode()
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return slicer.mrmlScene.AddNode(node)


class _Test(unittest.TestCase):
    def runTest(self):
        pass

    def delayDisplay(self, message):
        pass


def _module(name: str, **contents: object) -> ModuleType:
    module = types.ModuleType(name)
    vars(module).update(contents)
    return module


def application_modules() -> dict[str, ModuleType]:
    """The modules by their names, to be put into sys.modules."""
    return {
        "slicer.ScriptedLoadableModule": _module(
            "slicer.ScriptedLoadableModule",
            ScriptedLoadableModule=_Module,
            ScriptedLoadableModuleWidget=_Widget,
            ScriptedLoadableModuleLogic=_Logic,
            ScriptedLoadableModuleTest=_Test,
        ),
        "slicer.i18n": _module(
            "slicer.i18n", tr=lambda text, *_rest: text, translate=lambda _context, text, *_rest: text
        ),
        "slicer.parameterNodeWrapper": _module(
            "slicer.parameterNodeWrapper",
            parameterNodeWrapper=parameterNodeWrapper,
            WithinRange=lambda low, high: (low, high),
        ),
        "qt": mock.MagicMock(
            name="qt",
            Qt=types.SimpleNamespace(
                Checked=2,
                Unchecked=0,
                ItemIsSelectable=1,
                ItemIsUserCheckable=16,
                ItemIsEnabled=32,
                ToolButtonTextUnderIcon=3,
                WindowModal=1,
            ),
            QTableWidgetItem=FakeItem,
            QToolButton=mock.MagicMock,
        ),
        "ctk": mock.MagicMock(name="ctk"),
    }


@contextlib.contextmanager
def scripted_module(name: str) -> Iterator[ModuleType]:
    """The file of a module, imported beside the stand-ins, which are gone again afterwards."""
    with mock.patch.dict(sys.modules, application_modules()):
        spec = importlib.util.spec_from_file_location(name, REPOSITORY / name / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def reface_module() -> contextlib.AbstractContextManager[ModuleType]:
    """Reface.py, imported beside the stand-ins."""
    return scripted_module("Reface")


def reident_module() -> contextlib.AbstractContextManager[ModuleType]:
    """ReidentRisk.py, imported beside the stand-ins."""
    return scripted_module("ReidentRisk")
