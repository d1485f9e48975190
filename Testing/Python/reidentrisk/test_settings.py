"""Which choices the window of ReidentRisk shows when a scene is read while the module is open."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.reidentrisk.fixtures import *  # noqa: E402, F403
from helpers.reidentrisk.fixtures import choose  # noqa: E402
from helpers.reidentrisk.nodes import add_result, node_of, run  # noqa: E402
from helpers.windows import held_back  # noqa: E402
from ReidentRiskLib.window.job import Request  # noqa: E402


@pytest.fixture(name="later", autouse=True)
def later_fixture(module, monkeypatch):
    return held_back(monkeypatch)


@pytest.fixture(name="saved")
def saved_fixture(module, app, scene, head, defaced, reident_fakes, tmp_path):
    """The file of a scene with choices and a result, and with an empty set of choices."""
    request = Request(head, [defaced])
    result = add_result(scene, request, run(request, tmp_path))
    for name in ("Empty", "Full"):
        node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", name)
        node.SetAttribute("ModuleName", "ReidentRisk")
    full = module.ReidentRiskParameterNode(node)
    full.reference, full.probes, full.result = head, [defaced], result.table
    path = str(tmp_path / "scene.mrml")
    scene.SetURL(path)
    assert scene.Commit()
    scene.Clear()
    return path


def read(scene, path, later):
    scene.SetURL(path)
    assert scene.Import()
    while later:
        later.pop(0)()


def choices(scene):
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode") for index in range(99)]
    return sorted(node.GetName() for node in nodes if node and node.GetAttribute("ModuleName") == "ReidentRisk")


def test_loaded_choices_with_a_result_win_and_leave_no_empty_twin(saved, widget, scene, later):
    """The window showed no result, and the selector listed an empty set beside the loaded ones."""
    assert choices(scene) == ["ReidentRisk"]  # made when the window was opened
    read(scene, saved, later)
    assert widget._parameterNode.parameterNode.GetName() == "Full" and choices(scene) == ["Empty", "Full"]
    assert "Original: <b>Head</b>" in widget.ui.summaryBrowser.html
    assert widget.results.result.names == ["Head", "Head defaced"]


def test_choices_in_use_stay_when_another_scene_is_added(saved, widget, scene, later):
    mine = node_of(scene, "Mine", 3)
    choose(widget, mine, node_of(scene, "Other", 4))
    read(scene, saved, later)
    assert widget._parameterNode.reference is mine and choices(scene) == ["Empty", "Full", "ReidentRisk"]
