"""Which choices the window shows when a scene is read while the module is open."""

from __future__ import annotations

import pytest

from helpers.phantom import make_phantom

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface.fixtures import *  # noqa: E402, F403
from helpers.reface.fixtures import node_of, report_of  # noqa: E402
from helpers.windows import held_back  # noqa: E402
from RefaceLib.window import mrml, results  # noqa: E402


@pytest.fixture(name="later", autouse=True)
def later_fixture(reface, monkeypatch):
    return held_back(monkeypatch)


@pytest.fixture(name="saved")
def saved_fixture(reface, scene, head, tmp_path):
    """The file of a scene with choices, a result, and an empty set of choices, as former versions left it behind."""
    result = node_of(scene, make_phantom(), "Head refaced")
    mrml.set_provenance(result, report_of(result, seed=7))
    result.SetNodeReferenceID(results.INPUT_ROLE, head.GetID())
    for name in ("Empty", "Full"):
        node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", name)
        node.SetAttribute("ModuleName", "Reface")
    full = reface.RefaceParameterNode(node)
    full.inputVolume, full.resultVolume, full.seed, full.otherVolumes = head, result, 7, [result]
    path = str(tmp_path / "scene.mrml")
    scene.SetURL(path)
    assert scene.Commit()
    scene.Clear()
    return path


def read(scene, path, later, *, clear):
    scene.SetURL(path)
    assert scene.Connect() if clear else scene.Import()
    while later:
        later.pop(0)()


def choices(scene):
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode") for index in range(99)]
    return [node.GetName() for node in nodes if node is not None and node.GetAttribute("ModuleName") == "Reface"]


@pytest.mark.parametrize("clear", [True, False])
def test_loaded_choices_with_a_result_win_and_leave_no_empty_twin(saved, widget, scene, later, clear):
    assert choices(scene) == ["Reface"] and widget._parameterNode.seed == 0  # made when the window was opened
    read(scene, saved, later, clear=clear)
    assert widget._parameterNode.parameterNode.GetName() == "Full" and widget._parameterNode.seed == 7
    assert widget.ui.parameterNodeSelector.currentNode().GetName() == "Full"
    assert "seed 7" in widget.ui.resultLabel.text and widget.ui.personTable.texts()[0][0] == "Head"
    assert sorted(choices(scene)) == ["Empty", "Full"]  # what was loaded stays, also what is empty


def test_choices_in_use_stay_when_another_scene_is_added(saved, widget, scene, later):
    widget._parameterNode.inputVolume = mine = node_of(scene, make_phantom(), "Mine")
    read(scene, saved, later, clear=False)
    assert widget._parameterNode.inputVolume is mine
    assert sorted(choices(scene)) == ["Empty", "Full", "Reface"]


def test_choices_of_one_name_can_be_told_apart(saved, widget, scene, later):
    for _ in range(2):
        read(scene, saved, later, clear=False)
    assert len(set(choices(scene))) == len(choices(scene)) and {"Empty", "Full"} < set(choices(scene))


def test_a_scene_without_choices_changes_nothing(widget, scene, later, tmp_path):
    other = slicer.vtkMRMLScene()
    other.SetURL(str(tmp_path / "other.mrml"))
    assert other.Commit()
    read(scene, str(tmp_path / "other.mrml"), later, clear=False)
    assert choices(scene) == ["Reface"] and widget._parameterNode.parameterNode.GetName() == "Reface"


def test_a_window_that_is_gone_by_then_is_left_alone(saved, widget, scene, later):
    scene.SetURL(saved)
    assert scene.Import()
    widget.cleanup()
    widget.ui.parameterNodeSelector.currentNode = None  # would be called
    while later:
        later.pop(0)()


def test_a_scene_that_is_read_while_the_module_is_closed_is_shown_when_it_is_opened(saved, widget, scene, later):
    widget.exit()
    widget.parent.isEntered = False
    read(scene, saved, later, clear=False)
    assert sorted(choices(scene)) == ["Empty", "Full"] and widget._parameterNode is None
    widget.parent.isEntered = True
    widget.enter()
    assert widget._parameterNode.seed == 7
