"""ReidentRisk.py on real MRML nodes and with real child processes; stand-ins for the networks and for the application.

What only the application has (widgets, layout manager) is in helpers.reidentrisk.window.
"""

from __future__ import annotations

import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.checkout import REPOSITORY, TESTS  # noqa: E402
from helpers.reidentrisk.fixtures import *  # noqa: E402, F403
from helpers.reidentrisk.fixtures import choose  # noqa: E402
from helpers.reidentrisk.nodes import node_of  # noqa: E402
from helpers.reidentrisk.window import application  # noqa: E402
from helpers.scenes import saved_and_read, volume_node  # noqa: E402
from helpers.windows import wait  # noqa: E402
from RefaceLib.common.errors import InputError, RefaceError  # noqa: E402
from RefaceLib.window.parameters import Device  # noqa: E402
from ReidentRiskLib.judge.verdict import RECOGNISABLE  # noqa: E402
from ReidentRiskLib.window import results  # noqa: E402
from ReidentRiskLib.window.parameters import Model, Views  # noqa: E402

MODULE_PY = REPOSITORY / "ReidentRisk" / "ReidentRisk.py"


# ---- the logic ----


def test_scripts_compare_volumes_in_one_call(module, app, scene, head, defaced):
    before = [slicer.util.arrayFromVolume(node).copy() for node in (head, defaced)]
    progress = mock.Mock()
    result = module.ReidentRiskLogic().compare(head, [defaced], progress=progress)
    assert result.names == ["Head", "Head defaced"]
    assert result.report["model"]["name"] == "fake"
    assert progress.called
    for node, voxels in zip((head, defaced), before, strict=True):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels)


def test_a_real_head_is_compared_by_the_real_networks(module, scene, small_head):
    """Against itself; everything is real but the application. The network of the free licence needs no consent."""
    head, again = (volume_node(scene, small_head, name) for name in ("Head", "Again"))
    with application(scene, module):
        result = module.ReidentRiskLogic().compare(head, [again], model="sface", views="frontal", device="cpu")
    found = result.report["probes"][0]["attackers"]["forced"]
    assert found["mean_embedding"] == pytest.approx(1.0, abs=1e-3)
    assert result.report["model"]["name"] == "sface"
    bounds = [0.0] * 6
    result.surfaces[0].GetRASBounds(bounds)
    nose = slicer.util.arrayFromMarkupsControlPoints(result.landmarks[0])[2]
    assert abs(nose[1] - bounds[3]) < 15  # the tip of the nose is the front of the head
    assert slicer.util.arrayFromVolume(result.pictures[1]).std() > 10


def test_the_same_head_is_recognised(module, app, scene, head):
    result = module.ReidentRiskLogic().compare(head, [node_of(scene, "Again", 1, scan=1)])
    assert result.report["probes"][0]["verdict"] == RECOGNISABLE


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda scene, head: (None, [head]), "No input volume"),
        (lambda scene, head: (head, [head]), "given twice"),
        (lambda scene, head: (head, []), "at least one"),
    ],
)
def test_what_cannot_be_compared_leaves_the_scene_as_it_was(module, app, scene, head, make, words):
    count = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match=words):
        module.ReidentRiskLogic().compare(*make(scene, head))
    assert scene.GetNumberOfNodes() == count


def test_a_volume_without_a_head_leaves_the_scene_as_it_was(module, app, scene, head):
    nobody = node_of(scene, "Nobody", 0)
    count = scene.GetNumberOfNodes()
    with pytest.raises(RefaceError, match="'Nobody': No head was found"):
        module.ReidentRiskLogic().compare(head, [nobody])
    assert scene.GetNumberOfNodes() == count


# ---- the parameter node ----


def test_a_parameter_node_holds_what_a_run_needs(module, app, head, defaced, tmp_path):
    logic = module.ReidentRiskLogic()
    node = logic.getParameterNode()
    node.reference, node.probes = head, [defaced]
    node.model, node.views, node.device = Model.ARCFACE, Views.FULL, Device.CPU
    node.ownLandmarks, node.gallery = True, str(tmp_path)
    request = logic.request(node, acceptLicence=True)
    assert (request.reference, request.probes) == (head, [defaced])
    assert (request.model, request.views, request.device) == ("arcface", "full", "cpu")
    assert request.own_landmarks and request.accept_licence
    assert request.gallery == tmp_path and request.landmarks is None


def test_a_new_parameter_node_asks_for_nothing_that_needs_consent(module, app):
    request = module.ReidentRiskLogic().request(module.ReidentRiskLogic().getParameterNode())
    assert (request.model, request.accept_licence, request.gallery) == ("sface", False, None)


def test_a_saved_scene_keeps_all_parameters_and_the_result(module, app, widget, scene, head, defaced, tmp_path):
    choose(widget, head, defaced)
    node = widget._parameterNode
    node.views, node.device, node.ownLandmarks = Views.FRONTAL, Device.CPU, True
    widget.onRunButton()
    wait(widget)
    node.gallery = "/heads"
    again = saved_and_read(scene, tmp_path)
    with mock.patch.object(slicer, "mrmlScene", again):
        restored = module.ReidentRiskLogic().getParameterNode()
        assert restored.reference.GetName() == "Head"
        assert [volume.GetName() for volume in restored.probes] == ["Head defaced"]
        assert (restored.views, restored.device, restored.model) == (Views.FRONTAL, Device.CPU, Model.SFACE)
        assert restored.gallery == "/heads" and restored.ownLandmarks
        assert restored.landmarks.GetName() == "Head landmarks"
        assert results.find_result(restored.result).names == ["Head", "Head defaced"]


def test_a_deleted_volume_is_no_longer_asked_for(module, app, scene, head, defaced):
    logic = module.ReidentRiskLogic()
    node = logic.getParameterNode()
    node.reference, node.probes = head, [defaced]
    scene.RemoveNode(defaced)
    assert logic.probes(node) == []


def test_the_window_goes_from_one_parameter_node_to_another(module, widget, scene, head, defaced):
    choose(widget, head, defaced)
    widget.ui.probesSelector.nodes = {head: 0, defaced: 0}
    first = widget._parameterNode
    assert widget.ui.parameterNodeSelector.currentNode() is first.parameterNode
    widget.ui.parameterNodeSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Other"))
    assert not widget.ui.runButton.enabled
    choose(widget, defaced, head)
    assert widget.ui.runButton.enabled
    assert widget.ui.probesSelector.nodes[head] and not widget.ui.probesSelector.nodes[defaced]
    widget.enter()  # keeps what is chosen
    assert widget._parameterNode.reference is defaced
    widget.ui.parameterNodeSelector.setCurrentNode(first.parameterNode)
    assert (widget._parameterNode.reference, widget._parameterNode.probes) == (head, [defaced])
    assert first.connected == {}


def test_a_result_goes_to_the_parameter_node_that_asked_for_it(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    first = widget._parameterNode
    widget.onRunButton()
    widget.ui.parameterNodeSelector.setCurrentNode(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Other"))
    wait(widget)
    assert results.find_result(first.result) is not None
    assert widget._parameterNode.result is None and widget.ui.summaryBrowser.html == ""
    assert app.layouts.layout == 0


# ---- the module ----


def test_the_module_says_what_it_is_and_names_no_invented_people(module):
    parent = mock.MagicMock()
    module.ReidentRisk(parent)
    assert parent.dependencies == ["Reface"]
    assert parent.contributors == ["The Reface developers"]
    assert "uploaded" in parent.helpText and "non-commercial" in parent.acknowledgementText
    assert "arXiv:2305.16922" in parent.acknowledgementText


def test_every_choice_has_words_of_its_own():
    for choices in (Model, Views, Device):
        labels = [choice.label() for choice in choices]
        assert all(labels) and len(set(labels)) == len(labels)


def test_the_module_file_is_wiring_only():
    assert len(MODULE_PY.read_text(encoding="utf-8").splitlines()) <= 430


def test_importing_the_module_imports_no_network_library():
    code = (
        f"import sys; sys.path[:0] = {[str(TESTS), *sys.path]}\n"
        "from helpers.slicer_stubs import reident_module\n"
        "with reident_module():\n"
        "    names = {'torch', 'onnxruntime', 'onnx', 'sklearn', 'matplotlib', 'nibabel', 'scipy'}\n"
        "    print(sorted(names & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
