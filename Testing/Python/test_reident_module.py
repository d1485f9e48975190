"""ReidentRisk.py on real MRML nodes, with stand-ins for the networks and for what only the application has."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import reident_faces
from RefaceLib.errors import CancelledError, HeadNotFoundError, InputError
from reident_faces import Fakes, volume
from ReidentRiskLib import risk

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from ReidentRiskLib import mrml  # noqa: E402  (needs slicer)
from ReidentRiskLib.identify import identify  # noqa: E402
from slicer_stubs import application_modules  # noqa: E402  (needs slicer)

MODULE_PY = Path(__file__).resolve().parents[2] / "ReidentRisk" / "ReidentRisk.py"
DEFACED = 100
VIEWS = 45


@pytest.fixture(scope="module")
def module():
    """ReidentRisk.py, imported beside the stand-ins of the application."""
    with mock.patch.dict(sys.modules, application_modules()):
        spec = importlib.util.spec_from_file_location("ReidentRisk", MODULE_PY)
        made = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(made)
        yield made


@pytest.fixture
def fakes(monkeypatch):
    """Stand-ins for the networks, with skins that MRML takes, and a calibration."""
    made = Fakes().install(monkeypatch)
    read = made.read_head

    def read_head(*arguments, **options):
        head = read(*arguments, **options)
        skin = vtk.vtkSphereSource()
        skin.Update()
        surface = skin.GetOutput()
        for name in ("person", "scan", "missed"):
            setattr(surface, name, getattr(head.surface, name))
        return type(head)(head.name, surface, head.pose)

    monkeypatch.setattr("ReidentRiskLib.heads.read_head", read_head)

    def load_calibration(model, views, attacker, sha256=None, path=None):
        return reident_faces.calibration(attacker)

    monkeypatch.setattr(risk, "load_calibration", load_calibration)
    return made


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


def node_of(scene, name, person, **options):
    made = volume(person, **options)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, made.stored.transpose(2, 1, 0))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(made.affine.ravel())
    node.SetIJKToRASMatrix(matrix)
    return node


@pytest.fixture
def head(scene):
    return node_of(scene, "Head", 1)


@pytest.fixture
def defaced(scene):
    return node_of(scene, "Head defaced", 1 + DEFACED, missed=VIEWS)


def column(node, title):
    array = node.GetTable().GetColumnByName(title)
    return [array.GetVariantValue(row).ToString() for row in range(array.GetNumberOfTuples())]


def test_a_comparison_becomes_nodes_under_one_folder(module, fakes, scene, head, defaced):
    before = [slicer.util.arrayFromVolume(node).copy() for node in (head, defaced)]
    result = module.ReidentRiskLogic().compare(head, [defaced])
    kinds = [node.GetClassName() for node in mrml.nodes_in(scene, result.folder)]
    assert kinds.count("vtkMRMLModelNode") == kinds.count("vtkMRMLMarkupsFiducialNode") == 2
    assert kinds.count("vtkMRMLVectorVolumeNode") == 2
    assert kinds.count("vtkMRMLPlotChartNode") == len(result.charts) == 2
    assert [node.GetName() for node in result.surfaces] == ["Head face", "Head defaced face"]
    assert [node.GetName() for node in result.pictures] == ["Head renderings", "Head defaced renderings"]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert hierarchy.GetItemName(result.folder) == "Faces of Head"
    for node, voxels in zip((head, defaced), before, strict=True):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels)


def test_the_table_holds_what_each_attacker_makes_of_a_probe(module, fakes, head, defaced):
    result = module.ReidentRiskLogic().compare(head, [defaced])
    assert column(result.table, "probe") == ["Head defaced"] * 2
    assert column(result.table, "attacker") == ["forced", "gated"]
    assert column(result.table, "acquired_views") == [str(VIEWS), "0"]
    assert column(result.table, "verdict")[1] == risk.NOT_RECOGNISABLE
    assert column(result.table, "landmarks") == ["original"] * 2
    report = json.loads(result.table.GetAttribute("ReidentRisk.Report"))
    assert report == json.loads(json.dumps(result.report))
    assert report["probes"][0]["name"] == "Head defaced"
    assert result.table.GetAttribute("ReidentRisk.Model") == "fake"


def test_the_same_head_is_recognised(module, fakes, scene, head):
    result = module.ReidentRiskLogic().compare(head, [node_of(scene, "Again", 1, scan=1)])
    assert result.report["probes"][0]["verdict"] == risk.RECOGNISABLE


def test_pictures_and_points_are_those_of_the_heads(module, fakes, head, defaced):
    result = module.ReidentRiskLogic().compare(head, [defaced])
    assert slicer.util.arrayFromVolume(result.pictures[0]).shape == (VIEWS, 32, 32, 3)
    points = slicer.util.arrayFromMarkupsControlPoints(result.landmarks[1])
    np.testing.assert_allclose(points, np.arange(15.0).reshape(5, 3))
    assert result.landmarks[0].GetNthControlPointLabel(0) == "right_eye"


def test_results_move_with_the_volumes(module, fakes, scene, head, defaced):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    head.SetAndObserveTransformNodeID(transform.GetID())
    result = module.ReidentRiskLogic().compare(head, [defaced])
    assert result.surfaces[0].GetParentTransformNode() is transform
    assert result.landmarks[0].GetParentTransformNode() is transform
    assert result.surfaces[1].GetParentTransformNode() is None


def test_landmarks_of_the_user_replace_those_that_are_found(module, fakes, scene, head, defaced):
    points = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    for index in range(5):
        points.AddControlPoint(vtk.vtkVector3d(index, 10.0, 20.0), f"F-{index}")
    result = module.ReidentRiskLogic().compare(head, [defaced], landmarks=points)
    assert result.report["reference"]["landmarks"] == "given"
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(result.landmarks[0])[:, 0], range(5))


def test_volumes_of_one_name_are_told_apart(module, fakes, scene, head):
    other = node_of(scene, "Head", 1, scan=1)
    result = module.ReidentRiskLogic().compare(head, [other])
    assert column(result.table, "probe")[0] == f"Head ({other.GetID()})"


def test_the_chart_marks_the_probes(module, fakes, scene, head):
    probes = [node_of(scene, name, 1, scan=index) for index, name in enumerate(("A", "B"), start=1)]
    result = module.ReidentRiskLogic().compare(head, probes)
    chart = result.charts[0]
    names = [chart.GetNthPlotSeriesNode(index).GetName() for index in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["different heads", "the same head", "A", "B"]


def test_without_a_calibration_there_is_no_chart(module, fakes, monkeypatch, head, defaced):
    monkeypatch.setattr(risk, "load_calibration", lambda *arguments: None)
    result = module.ReidentRiskLogic().compare(head, [defaced])
    assert result.charts == []
    assert result.report["probes"][0]["verdict"] == risk.UNCALIBRATED
    assert any("no calibration" in warning for warning in result.report["warnings"])


def test_options_reach_the_networks(module, fakes, head, defaced):
    progress = mock.Mock()
    module.ReidentRiskLogic().compare(
        head, [defaced], model="sface", views="frontal", ownLandmarks=True, acceptLicence=True, device="cpu",
        progress=progress,
    )  # fmt: skip
    assert fakes.loaded == [("sface", "cpu", True)]
    assert all(call["landmarks_of"] is None for call in fakes.found)
    assert progress.called
    module.ReidentRiskLogic().compare(head, [defaced], tools=fakes.tools)
    assert len(fakes.loaded) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda scene, head: (None, [head]), "No input volume"),
        (lambda scene, head: (head, [head]), "given twice"),
        (lambda scene, head: (head, []), "at least one probe"),
        (lambda scene, head: (head, [scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "L")]), "'L'"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(module, fakes, scene, head, make, words):
    reference, probes = make(scene, head)
    count = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match=words):
        module.ReidentRiskLogic().compare(reference, probes)
    assert scene.GetNumberOfNodes() == count


def test_a_volume_without_a_head_leaves_the_scene_as_it_was(module, fakes, scene, head):
    nobody = node_of(scene, "Nobody", 0)
    count = scene.GetNumberOfNodes()
    with pytest.raises(HeadNotFoundError, match="Nobody: No head was found"):
        module.ReidentRiskLogic().compare(head, [nobody])
    assert scene.GetNumberOfNodes() == count


def test_a_run_that_is_cancelled_leaves_the_scene_as_it_was(module, fakes, scene, head, defaced):
    count = scene.GetNumberOfNodes()
    with pytest.raises(CancelledError):
        module.ReidentRiskLogic().compare(head, [defaced], cancelled=lambda: True)
    assert scene.GetNumberOfNodes() == count


def test_a_failure_while_nodes_are_added_takes_them_away_again(module, fakes, monkeypatch, scene, head, defaced):
    monkeypatch.setattr(mrml, "add_histogram", mock.Mock(side_effect=ValueError("odd")))
    mrml.remove_folder(scene, mrml.add_folder(scene, "the hierarchy node itself stays"))
    before = {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
    with pytest.raises(ValueError, match="odd"):
        module.ReidentRiskLogic().compare(head, [defaced])
    assert {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())} == before


def test_an_identification_becomes_charts(module, scene):
    names = [f"s{index}" for index in range(4)]
    heads = [reident_faces.head(name) for name in names]
    results = {attacker: identify(heads, list(zip(names, heads, strict=True)), attacker) for attacker in risk.ATTACKERS}
    folder, matches, roc = module.ReidentRiskLogic().showIdentification(scene, results)
    assert matches in mrml.nodes_in(scene, folder) and roc in mrml.nodes_in(scene, folder)
    assert (matches.GetNumberOfPlotSeriesNodes(), roc.GetNumberOfPlotSeriesNodes()) == (3, 2)


# ---- the window ----


@pytest.fixture
def widget(module, fakes, scene):
    """The window over mocks; `slicer` has what the application would give it."""
    stand_ins = {
        "mrmlScene": scene, "app": mock.MagicMock(), "modules": mock.MagicMock(),
        "qMRMLNodeComboBox": lambda: mock.MagicMock(),
    }  # fmt: skip
    with mock.patch.multiple(slicer, create=True, **stand_ins):
        widget = module.ReidentRiskWidget()
        widget.setup()
        widget._ensureDependencies = mock.Mock()
        widget.modelSelector = mock.MagicMock(currentData="sface")
        widget.viewsSelector = mock.MagicMock(currentData="frontal")
        yield widget


def choose(widget, reference, probe):
    widget.referenceSelector.currentNode.return_value = reference
    widget.probeSelector.currentNode.return_value = probe
    widget._checkCanApply()


def test_the_window_compares_and_tells_the_verdict(widget, head, defaced):
    choose(widget, head, defaced)
    with mock.patch.object(slicer.util, "tryWithErrorDisplay"):
        widget.onApplyButton()
    assert "'Head defaced' is " in widget.statusLabel.text
    assert "no face was found in the view" in widget.statusLabel.text
    (chart,) = slicer.modules.plots.logic().ShowChartInLayout.call_args.args
    assert chart.GetClassName() == "vtkMRMLPlotChartNode"
    assert widget.applyButton.enabled


def test_the_window_needs_two_different_volumes(widget, head, defaced):
    for reference, probe in ((None, None), (head, None), (head, head)):
        choose(widget, reference, probe)
        assert not widget.applyButton.enabled
        assert "two different" in widget.applyButton.toolTip
    choose(widget, head, defaced)
    assert widget.applyButton.enabled


def test_the_window_asks_before_a_licence_is_accepted(module, widget, fakes, monkeypatch, tmp_path, head, defaced):
    monkeypatch.setenv("REIDENT_RISK_CACHE", str(tmp_path))
    monkeypatch.delenv("REIDENT_RISK_ACCEPT_LICENCE", raising=False)
    widget.modelSelector.currentData = "arcface"
    choose(widget, head, defaced)
    with mock.patch.object(slicer.util, "tryWithErrorDisplay"):
        with mock.patch.object(slicer.util, "confirmYesNoDisplay", return_value=False, create=True) as ask:
            with pytest.raises(RuntimeError, match="not accepted"):
                widget.onApplyButton()
        assert "non-commercial" in ask.call_args.args[0] and fakes.loaded == []
        assert widget.applyButton.enabled and widget.statusLabel.text == ""
        with mock.patch.object(slicer.util, "confirmYesNoDisplay", return_value=True, create=True):
            widget.onApplyButton()
    assert fakes.loaded == [("arcface", "auto", True)]


def test_the_window_offers_the_active_volume_when_it_is_entered(widget, scene, head):
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.GetSelectionNode().SetActiveVolumeID(head.GetID())
    slicer.app.applicationLogic.return_value = logic
    widget.referenceSelector.currentNode.return_value = None
    widget.enter()
    widget.referenceSelector.setCurrentNode.assert_called_once_with(head)


def test_the_module_says_what_it_is_and_names_no_invented_people(module):
    parent = mock.MagicMock()
    module.ReidentRisk(parent)
    assert parent.dependencies == ["Reface"]
    assert parent.contributors == ["The Reface developers"]
    assert "uploaded" in parent.helpText and "non-commercial" in parent.acknowledgementText


def test_importing_the_module_imports_no_network_library():
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]}\n"
        "import importlib.util; from unittest import mock\n"
        "from slicer_stubs import application_modules\n"
        "with mock.patch.dict(sys.modules, application_modules()):\n"
        f"    spec = importlib.util.spec_from_file_location('ReidentRisk', {str(MODULE_PY)!r})\n"
        "    module = importlib.util.module_from_spec(spec)\n"
        "    spec.loader.exec_module(module)\n"
        "    names = {'torch', 'onnxruntime', 'onnx', 'sklearn', 'matplotlib', 'nibabel', 'scipy'}\n"
        "    print(sorted(names & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
