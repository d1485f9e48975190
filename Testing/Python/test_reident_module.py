"""ReidentRisk.py on real MRML nodes and with real child processes; stand-ins for the networks and for the application.

What only the application has (widgets, settings, layout manager) is in reident_window.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from RefaceLib.errors import InputError, RefaceError  # noqa: E402
from RefaceLib.parameters import Device  # noqa: E402
from reident_child import calibrate  # noqa: E402
from reident_commands import put  # noqa: E402
from reident_nodes import DEFACED, VIEWS, moved, node_of, points_node, volume_node  # noqa: E402
from reident_window import application  # noqa: E402
from ReidentRiskLib import faceviews, results, risk  # noqa: E402
from ReidentRiskLib.landmarks import FIVE  # noqa: E402
from ReidentRiskLib.parameters import Model, Views  # noqa: E402
from scenes import saved_and_read  # noqa: E402
from slicer_stubs import REPOSITORY, reident_module  # noqa: E402
from windows import CHILD_PATH  # noqa: E402

MODULE_PY = REPOSITORY / "ReidentRisk" / "ReidentRisk.py"


@pytest.fixture(scope="module")
def module():
    with reident_module() as made:
        yield made


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder that temporary folders are made in: empty again after every test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def app(module, scene, monkeypatch, tmp_path):
    """The application; children are reident_child, and nobody has accepted a licence yet."""
    calibrate(monkeypatch)
    monkeypatch.setattr("ReidentRiskLib.job.MODULE", "reident_child")
    monkeypatch.setenv("PYTHONPATH", CHILD_PATH)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("REIDENT_RISK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REIDENT_RISK_ACCEPT_LICENCE", raising=False)
    with application(scene, module) as made:
        yield made


@pytest.fixture
def head(scene):
    return node_of(scene, "Head", 1)


@pytest.fixture
def defaced(scene):
    return node_of(scene, "Head defaced", 1 + DEFACED, missed=VIEWS)


@pytest.fixture
def widget(module, app):
    made = module.ReidentRiskWidget()
    made.parent = mock.MagicMock(isEntered=True)
    made.setup()
    yield made
    made.cleanup()


def choose(widget, reference, *probes):
    widget._parameterNode.reference = reference
    widget._parameterNode.probes = list(probes)


def wait(widget, seconds=60.0):
    """Let the timer of the window fire until the run is over."""
    end = time.monotonic() + seconds
    while widget.panel.running:
        assert time.monotonic() < end
        widget.panel.poll()
        time.sleep(0.02)


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
    head, again = (volume_node(scene, name, small_head) for name in ("Head", "Again"))
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
    assert result.report["probes"][0]["verdict"] == risk.RECOGNISABLE


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


# ---- the window: what can be chosen ----


def test_the_window_says_why_it_cannot_run(widget, scene, head, defaced):
    run = widget.ui.runButton
    assert not run.enabled and "original" in run.toolTip
    choose(widget, head)
    assert not run.enabled and "Tick" in run.toolTip
    choose(widget, head, head, defaced)
    assert not run.enabled and "itself" in run.toolTip
    choose(widget, head, defaced)
    assert run.enabled and not widget.ui.recomputeButton.enabled


def test_ticks_and_folder_become_parameters(widget, head, defaced):
    widget.ui.probesSelector.nodes = {head: 0, defaced: 1}
    widget.ui.probesSelector.emit("checkedNodesChanged()")
    widget.ui.galleryPathLineEdit.emit("currentPathChanged(QString)", "/heads")
    assert widget._parameterNode.probes == [defaced]
    assert widget._parameterNode.gallery == "/heads"
    assert widget.ui.galleryPathLineEdit.currentPath == "/heads"


def test_the_window_offers_the_active_volume(widget, app, head):
    app.logic.GetSelectionNode().SetActiveVolumeID(head.GetID())
    widget.enter()
    assert widget._parameterNode.reference is head


def test_an_arcface_run_needs_consent_that_is_remembered(module, widget, app, head, defaced):
    choose(widget, head, defaced)
    ui = widget.ui
    assert not ui.licenceCheckBox.visible and ui.runButton.enabled
    widget._parameterNode.model = Model.ARCFACE
    assert ui.licenceCheckBox.visible and ui.licenceLabel.visible and not ui.licenceCheckBox.checked
    assert "non-commercial" in ui.licenceLabel.text
    assert not ui.runButton.enabled and "licence" in ui.runButton.toolTip
    ui.licenceCheckBox.emit("toggled(bool)", True)
    assert ui.runButton.enabled and ui.licenceCheckBox.checked and not ui.licenceLabel.visible
    another = module.ReidentRiskWidget()
    another.parent = mock.MagicMock(isEntered=True)
    another.setup()
    assert ui.runButton.enabled  # of the same settings
    ui.licenceCheckBox.emit("toggled(bool)", False)
    assert not ui.runButton.enabled
    another.cleanup()


def test_consent_reaches_the_child_and_nothing_else_does_it(module, widget, app, head, defaced):
    choose(widget, head, defaced)
    widget._parameterNode.model = Model.ARCFACE
    requests = []
    widget.logic.makeRun = mock.Mock(side_effect=lambda request, **_rest: requests.append(request))
    widget.panel.run = mock.Mock()
    widget.onRunButton()
    widget.ui.licenceCheckBox.emit("toggled(bool)", True)
    widget.onRunButton()
    assert [request.accept_licence for request in requests] == [False, True]


def test_networks_can_be_removed(widget, app, head, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "arcface.onnx").write_bytes(b"x")
    widget.onRemoveModelsButton()
    assert widget.ui.statusLabel.text == "Removed networks: arcface."
    assert not list((tmp_path / "cache").iterdir())
    widget.onRemoveModelsButton()
    assert "none" in widget.ui.statusLabel.text and app.shown == []


# ---- the window: running ----


def test_a_run_ends_in_verdict_table_plot_and_faces(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    assert widget.panel.running and not widget.ui.runButton.enabled and widget.ui.cancelButton.enabled
    wait(widget)
    assert app.shown == []
    assert app.ensured.call_args.args[0] == "ReidentRisk"
    result = results.find_result(widget._parameterNode.result)
    assert widget._parameterNode.landmarks is result.landmarks[0]
    assert widget.ui.summaryBrowser.html == results.summary(result)
    assert widget.ui.faceSelector.items == ["Head defaced"]
    assert widget.ui.chartSelector.items == [chart.GetName() for chart in result.charts]
    assert not widget.ui.resultsCollapsibleButton.collapsed
    assert widget.ui.statusLabel.text.startswith("Done in")
    assert widget.ui.runButton.enabled and widget.ui.recomputeButton.enabled and not widget.ui.cancelButton.enabled

    assert app.layouts.layout == faceviews.LAYOUT_ID
    selection = app.logic.GetSelectionNode()
    assert selection.GetActiveTableID() == result.table.GetID()
    assert selection.GetActivePlotChartID() == result.charts[0].GetID()
    assert all(surface.GetDisplayNode().GetVisibility() for surface in result.surfaces)
    assert len(app.cameras.made) == 2


def test_another_face_and_another_plot_can_be_shown(widget, app, scene, head, defaced):
    choose(widget, head, defaced, node_of(scene, "Again", 1, scan=1))
    widget.onRunButton()
    wait(widget)
    result = widget._result
    widget.ui.faceSelector.emit("currentIndexChanged(int)", 1)
    assert [surface.GetDisplayNode().GetVisibility() for surface in result.surfaces] == [1, 0, 1]
    widget.ui.chartSelector.emit("currentIndexChanged(int)", 1)
    assert app.logic.GetSelectionNode().GetActivePlotChartID() == result.charts[1].GetID()


def test_a_gallery_is_looked_up(widget, app, head, defaced, tmp_path):
    (tmp_path / "known").mkdir()
    for person in (2, 3):
        put(tmp_path / "known" / f"s{person}.nii.gz", person)
    choose(widget, head, defaced)
    widget._parameterNode.gallery = str(tmp_path / "known")
    widget.onRunButton()
    wait(widget)
    assert app.shown == []
    assert widget.ui.chartSelector.items[-2:] == ["Cumulative match curve", "ROC curve"]
    assert "among 3 persons" in widget.ui.summaryBrowser.html


def test_corrected_landmarks_replace_the_result(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    first, count = widget._parameterNode.result, scene.GetNumberOfNodes()
    points = widget._parameterNode.landmarks
    assert not points.GetLocked()
    points.SetNthControlPointPosition(0, 7.0, 8.0, 9.0)
    widget.onRecomputeButton()
    wait(widget)
    assert app.shown == []
    result = widget._result
    assert not scene.IsNodePresent(first) and result.table is widget._parameterNode.result
    assert scene.GetNumberOfNodes() == count
    assert result.report["reference"]["landmarks"] == "given"
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(result.landmarks[0])[0], (7, 8, 9))


def test_landmarks_are_only_used_when_they_are_asked_for(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget._parameterNode.landmarks = points_node(scene, list(FIVE))
    widget.onRunButton()
    wait(widget)
    assert widget._result.report["reference"]["landmarks"] == "own"


def test_a_second_run_keeps_the_first_result(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    for _ in range(2):
        widget.onRunButton()
        wait(widget)
    assert scene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 4
    tables = [node for node in slicer.util.getNodesByClass("vtkMRMLTableNode", scene) if results.find_result(node)]
    assert len(tables) == 2
    widget._parameterNode.result = tables[0]
    assert widget._result.table is tables[0]


def test_faces_honour_parent_transforms(widget, app, scene, head, defaced):
    transform = moved(scene, head, by=30.0)
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    assert widget._result.surfaces[0].GetParentTransformNode() is transform
    assert widget._result.surfaces[1].GetParentTransformNode() is None


def test_cancel_leaves_the_scene_as_it_was(widget, app, scene, head, defaced, monkeypatch):
    monkeypatch.setenv("REIDENT_CHILD", "slow")
    choose(widget, head, defaced)
    count = scene.GetNumberOfNodes()
    widget.onRunButton()
    start = time.monotonic()
    widget.ui.cancelButton.emit("clicked()")
    wait(widget)
    assert time.monotonic() - start < 1.5
    assert scene.GetNumberOfNodes() == count
    assert "Stopped" in widget.ui.statusLabel.text and app.shown == []
    assert widget.ui.runButton.enabled


def test_a_crash_of_the_child_is_one_sentence_and_the_window_lives_on(widget, app, scene, head, defaced, monkeypatch):
    monkeypatch.setenv("REIDENT_CHILD", "crash")
    choose(widget, head, defaced)
    count = scene.GetNumberOfNodes()
    widget.onRunButton()
    wait(widget)
    (sentence,) = app.shown
    assert "\n" not in sentence and scene.GetNumberOfNodes() == count
    monkeypatch.delenv("REIDENT_CHILD")
    widget.onRunButton()
    wait(widget)
    assert widget._result is not None


def test_closing_the_scene_ends_the_run(widget, app, scene, head, defaced, monkeypatch, temporary):
    monkeypatch.setenv("REIDENT_CHILD", "slow")
    choose(widget, head, defaced)
    widget.onRunButton()
    scene.Clear()
    assert not widget.panel.running and app.shown == []
    assert list(temporary.iterdir()) == []
    assert widget._parameterNode.reference is None and not widget.ui.runButton.enabled


def test_a_volume_that_is_deleted_during_the_run_is_told(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    scene.RemoveNode(defaced)
    wait(widget)
    (sentence,) = app.shown
    assert "deleted during the run" in sentence
    assert scene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 0


def test_packages_that_are_declined_are_told_before_anything_starts(widget, app, head, defaced):
    app.ensured.side_effect = RefaceError("It needs packages.")
    choose(widget, head, defaced)
    widget.onRunButton()
    assert not widget.panel.running and app.shown == ["The faces were not compared. It needs packages."]


def test_a_result_is_shown_again_after_a_scene_is_read(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    table, html = widget._parameterNode.result, widget.ui.summaryBrowser.html
    widget._parameterNode.result = None
    assert widget.ui.summaryBrowser.html == "" and widget.ui.resultsCollapsibleButton.collapsed
    assert not widget.ui.layoutButton.enabled
    widget._parameterNode.result = table
    assert widget.ui.summaryBrowser.html == html and widget.ui.layoutButton.enabled


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
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]}\n"
        "from slicer_stubs import reident_module\n"
        "with reident_module():\n"
        "    names = {'torch', 'onnxruntime', 'onnx', 'sklearn', 'matplotlib', 'nibabel', 'scipy'}\n"
        "    print(sorted(names & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
