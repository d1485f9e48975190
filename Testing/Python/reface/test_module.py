"""Reface.py on real MRML nodes and with real child processes; stand-ins for the networks and for the application.

What only the application has (widgets, file dialogs) is in helpers.reface.fixtures.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import pytest

from helpers.imagefiles import assert_one_sentence
from helpers.phantom import make_phantom
from RefaceLib.common.errors import CancelledError, InputError, OutputError, RefaceError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.checkout import TESTS  # noqa: E402
from helpers.reface.fixtures import *  # noqa: E402, F403
from helpers.reface.fixtures import SIZE, node_of, voxels  # noqa: E402
from helpers.scenes import saved_and_read  # noqa: E402
from helpers.slicer_stubs import REFACE_PY  # noqa: E402  (needs slicer)
from helpers.windows import wait  # noqa: E402
from RefaceLib.window import job, mrml, results  # noqa: E402
from RefaceLib.window.masks import MASK_ROLE  # noqa: E402
from RefaceLib.window.parameters import Device, Mode  # noqa: E402

THIRD = SIZE // 3


# ---- the logic ----


def test_a_volume_goes_in_and_a_new_volume_its_mask_and_a_report_come_out(reface, app, head):
    before = voxels(head).copy()
    progress = mock.Mock()
    result = reface.RefaceLogic().process(head, seed=9, progress=progress)
    assert np.array_equal(voxels(head), before)
    assert result.volume.GetName() == "Head refaced"
    assert (voxels(result.volume)[:, :THIRD] == 9).all()
    assert np.array_equal(voxels(result.volume)[:, THIRD:], before[:, THIRD:])
    assert result.mask.GetName() == "Head face mask"
    assert result.volume.GetNodeReference(MASK_ROLE) is result.mask
    assert result.volume.GetNodeReference(results.INPUT_ROLE) is head
    report = result.report
    assert report["seed"] == 9 and not {"input", "output"} & set(report)
    assert report["warnings"] == ["A warning."]
    assert "input_sha256" not in report and "/" not in json.dumps(report)  # no temporary file
    fractions = [call.args[0] for call in progress.call_args_list]
    assert fractions == sorted(fractions) and fractions[-1] <= 1


def test_both_results_carry_the_provenance(reface, app, head):
    result = reface.RefaceLogic().process(head, mode="deface", ears=False)
    for node in (result.volume, result.mask):
        assert json.loads(node.GetAttribute("Reface.Report")) == result.report
        assert node.GetAttribute("Reface.Mode") == "deface"
        assert node.GetAttribute("Reface.Ears") == "false"


@pytest.mark.parametrize(
    ("mode", "name"), [("reface", "Head refaced"), ("deface", "Head defaced"), ("recover", "Head with a face")]
)
def test_a_new_output_is_named_after_the_mode(reface, app, head, mode, name):
    assert reface.RefaceLogic().process(head, mode=mode).volume.GetName() == name


def test_a_second_run_into_the_same_output_makes_no_further_nodes(reface, app, scene, head):
    logic = reface.RefaceLogic()
    first = logic.process(head, seed=1)
    count = scene.GetNumberOfNodes()
    again = logic.process(head, first.volume, seed=2)
    assert again.volume is first.volume and again.mask is first.mask
    assert scene.GetNumberOfNodes() == count
    assert again.volume.GetAttribute("Reface.Seed") == "2"
    assert voxels(again.volume)[0, 0, 0] == 2


def test_the_mask_goes_into_the_segmentation_that_was_chosen(reface, app, scene, head):
    chosen = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    assert reface.RefaceLogic().process(head, maskSegmentation=chosen).mask is chosen
    assert chosen.GetSegmentation().GetNumberOfSegments() == 1


def test_a_result_of_a_result_has_a_mask_and_an_input_of_its_own(reface, app, head):
    logic = reface.RefaceLogic()
    defaced = logic.process(head, mode="deface")
    mask = mrml.mask_segment(defaced.mask)
    recovered = logic.process(defaced.volume, mode="recover")
    assert recovered.mask is not defaced.mask and recovered.mask.GetName() == "Head defaced face mask"
    assert mrml.mask_segment(defaced.mask) == mask and defaced.mask.GetAttribute("Reface.Mode") == "deface"
    assert defaced.volume.GetNodeReference(MASK_ROLE) is defaced.mask
    assert recovered.volume.GetNodeReference(results.INPUT_ROLE) is defaced.volume


def test_runs_of_one_input_share_its_mask(reface, app, scene, head):
    logic = reface.RefaceLogic()
    runs = [logic.process(head, seed=seed) for seed in (1, 2, 3)]
    assert {run.mask.GetID() for run in runs} == {runs[0].mask.GetID()}
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_a_result_keeps_its_mask_when_another_run_finds_another_one(reface, app, scene, head):
    """As with and without ears; here the head is cut in the meantime."""
    logic = reface.RefaceLogic()
    first = logic.process(head, seed=1)
    expected = mrml.volume_from_node(first.volume).stored != mrml.volume_from_node(head).stored
    whole = voxels(head).shape
    slicer.util.updateVolumeFromArray(head, voxels(head)[:, : SIZE // 2].transpose(2, 1, 0).copy())
    second = logic.process(head, seed=2)
    assert second.mask is not first.mask and first.volume.GetNodeReference(MASK_ROLE) is first.mask
    labelmap = first.mask.GetBinaryLabelmapInternalRepresentation(mrml.mask_segment(first.mask))
    assert mrml._voxels(labelmap).shape == whole and not (expected & (mrml._voxels(labelmap) == 0)).any()
    third = logic.process(head, second.volume, seed=3)  # no other result refers to this one
    assert third.mask is second.mask


def test_other_segments_of_the_segmentation_that_was_chosen_stay(reface, app, scene, head):
    chosen = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    chosen.CreateDefaultDisplayNodes()
    labelmap = slicer.vtkOrientedImageData()
    labelmap.SetDimensions(2, 2, 2)
    labelmap.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    for name in ("tumour", mrml.SEGMENT_NAME):  # one of the user's has the name of ours
        chosen.AddSegmentFromBinaryLabelmapRepresentation(labelmap, name, (1.0, 0.0, 0.0), name)
    display = chosen.GetDisplayNode()
    for seed in (1, 2):
        assert reface.RefaceLogic().process(head, seed=seed, maskSegmentation=chosen).mask is chosen
        segments = chosen.GetSegmentation()
        assert segments.GetSegmentIDs()[:2] == ("tumour", mrml.SEGMENT_NAME) and segments.GetNumberOfSegments() == 3
    ours = mrml.mask_segment(chosen)
    assert [display.GetSegmentVisibility2DFill(name) for name in ("tumour", ours)] == [True, False]


def test_an_original_is_never_taken_as_the_output_without_a_word(reface, app, scene, head):
    other = node_of(scene, make_phantom((12, 12, 12), (5.0, 5.0, 5.0), "LPS"), "T2")
    before = voxels(other).copy()
    with pytest.raises(OutputError, match="'T2' is no result of this input") as caught:
        reface.RefaceLogic().process(head, other)
    assert_one_sentence(caught)
    assert np.array_equal(voxels(other), before)
    assert reface.RefaceLogic().process(head, other, overwrite=True).volume is other
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    assert reface.RefaceLogic().process(head, empty).volume is empty


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "u8", "f4", "f8"])
def test_every_bit_outside_the_mask_comes_back(reface, app, scene, dtype):
    random = np.random.default_rng(3)
    phantom = make_phantom((12, 12, 12), (5.0, 5.0, 5.0), "PSR")
    stored = random.integers(0, 256, (12, 12, 12, np.dtype(dtype).itemsize), dtype=np.uint8).view(dtype)[..., 0]
    affine = phantom.affine + random.normal(0, 1e-3, (4, 4)) * [[1], [1], [1], [0]]
    node = node_of(scene, type(phantom)(stored, affine))
    before = np.ascontiguousarray(voxels(node)).copy()
    result = reface.RefaceLogic().process(node, seed=7)
    after = np.ascontiguousarray(voxels(result.volume))
    assert after.dtype == before.dtype == np.dtype(dtype)
    unsigned = f"u{before.dtype.itemsize}"
    assert np.array_equal(before.view(unsigned)[:, 4:], after.view(unsigned)[:, 4:])
    assert np.array_equal(np.ascontiguousarray(voxels(node)).view(unsigned), before.view(unsigned))
    ijk = [vtk.vtkMatrix4x4() for _ in range(2)]
    node.GetIJKToRASMatrix(ijk[0])
    result.volume.GetIJKToRASMatrix(ijk[1])
    assert all(ijk[0].GetElement(row, col) == ijk[1].GetElement(row, col) for row in range(4) for col in range(4))


def test_another_volume_with_negative_zeros_in_the_mask_is_no_broken_promise(reface, app, scene, head):
    phantom = make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), "LPS")
    stored = np.ones((SIZE,) * 3, np.float32)
    stored[:, :THIRD] = -0.0
    other = node_of(scene, type(phantom)(stored, phantom.affine), "T2")
    (defaced,) = reface.RefaceLogic().process(head, otherVolumes=[other]).others
    changed = np.signbit(voxels(other)) != np.signbit(voxels(defaced))
    assert changed.any() and defaced.GetAttribute("Reface.VoxelsChanged") == str(changed.sum())


def test_the_result_keeps_transform_and_window(reface, app, scene, head):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    head.SetAndObserveTransformNodeID(transform.GetID())
    head.GetScalarVolumeDisplayNode().SetAutoWindowLevel(False)
    head.GetScalarVolumeDisplayNode().SetWindowLevel(123, 45)
    result = reface.RefaceLogic().process(head)
    display = result.volume.GetScalarVolumeDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == (123, 45)
    for node in (result.volume, result.mask):
        assert node.GetParentTransformNode() is transform


def test_other_volumes_of_the_session_are_defaced_alike(reface, app, scene, head):
    other = node_of(scene, make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), "LPS", np.float32), "T2")
    before = voxels(other).copy()
    result = reface.RefaceLogic().process(head, otherVolumes=[other, head, None])
    (defaced,) = result.others
    assert defaced.GetName() == "T2 defaced" and np.array_equal(voxels(other), before)
    assert (voxels(defaced)[:, : THIRD - 1] == 0).all()
    assert np.array_equal(voxels(defaced)[:, THIRD + 1 :], before[:, THIRD + 1 :])
    assert defaced.GetAttribute("Reface.Mode") == "apply-to"
    said = results.result_text(defaced)
    assert said.startswith(f"T2 defaced: defaced beside {result.volume.GetName()}\n")
    assert f"Voxels changed: {defaced.GetAttribute('Reface.VoxelsChanged')}, of the brain: 0" in said
    assert "Face mask" not in said and "seed" not in said  # its report has neither


def test_a_volume_that_a_transform_brings_into_register_is_defaced_where_the_face_is(reface, app, scene, head):
    phantom = make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), "LPS")
    affine = phantom.affine.copy()
    affine[1, 3] += 500.0  # far away, and brought back by a transform
    other = node_of(scene, type(phantom)(phantom.stored, affine), "T2")
    back = vtk.vtkMatrix4x4()
    back.SetElement(1, 3, -500.0)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(back)
    other.SetAndObserveTransformNodeID(transform.GetID())
    (defaced,) = reface.RefaceLogic().process(head, otherVolumes=[other]).others
    assert (voxels(defaced)[:, : THIRD - 1] == 0).all()
    assert defaced.GetParentTransformNode() is transform


def test_of_several_faces_the_least_similar_is_kept(reface, app, head, monkeypatch):
    monkeypatch.setenv("REFACE_JUDGE", "1")
    progress = mock.Mock()
    result = reface.RefaceLogic().process(head, seed=5, candidates=3, progress=progress)
    assert (voxels(result.volume)[:, :THIRD] == 6).all()
    assert result.report["seed"] == 6 and result.report["candidates"]["seeds"] == [5, 6, 7]
    fractions = [call.args[0] for call in progress.call_args_list]
    assert fractions == sorted(fractions) and fractions[-1] > 0.75


def test_several_faces_without_anything_to_compare_them_are_refused(reface, app, head, monkeypatch):
    monkeypatch.setattr(job, "face_judge", lambda: None)
    with pytest.raises(RefaceError, match="ReidentRisk is not there"):
        reface.RefaceLogic().process(head, candidates=2)


def test_the_networks_reface_a_node_in_a_child(reface, app, scene, small_head, monkeypatch):
    monkeypatch.setattr(job, "FACES_MODULE", "RefaceLib")
    node = node_of(scene, small_head)
    stages = []
    result = reface.RefaceLogic().process(
        node, seed=1, device="cpu", progress=lambda fraction, stage: stages.append((fraction, stage))
    )
    changed = voxels(result.volume) != voxels(node)
    assert changed.sum() == result.report["voxels_changed"] > 1000
    labelmap = result.mask.GetBinaryLabelmapInternalRepresentation(result.mask.GetSegmentation().GetNthSegmentID(0))
    mask = mrml._voxels(labelmap) > 0
    assert not (changed & ~mask).any() and mask.sum() == result.report["mask_voxels"]
    assert np.array_equal(voxels(node), small_head.stored)
    assert {"read", "parse", "generate"} <= {stage for _fraction, stage in stages}
    assert stages == sorted(stages, key=lambda told: told[0])


# ---- what goes wrong ----


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda scene, head: (None, None), InputError, "No input volume"),
        (lambda scene, head: (head, head), OutputError, "never changed"),
    ],
)
def test_nodes_that_cannot_be_used_are_refused_before_any_work(reface, app, scene, head, make, error, words):
    with mock.patch("subprocess.Popen", side_effect=AssertionError("was run")), pytest.raises(error, match=words):
        reface.RefaceLogic().process(*make(scene, head))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("crash", "The computer ended the run. There was not enough memory"),
        ("segfault", "The run crashed .SIGSEGV.: try again"),
        ("memory", "not enough memory"),
        ("liar", "thrown away: voxels outside the face"),
    ],
)
def test_a_run_that_fails_tells_why_and_leaves_the_scene_as_it_was(reface, app, scene, head, monkeypatch, how, words):
    monkeypatch.setenv("REFACE_CHILD", how)
    count = scene.GetNumberOfNodes()
    with pytest.raises(RefaceError, match=words) as caught:
        reface.RefaceLogic().process(head)
    assert "Traceback" not in str(caught.value) and "\n" not in str(caught.value)
    assert scene.GetNumberOfNodes() == count


def test_errors_of_the_child_name_the_volume_and_not_its_temporary_file(reface, app, scene):
    empty = node_of(scene, make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), "LPS"), "Empty head")
    slicer.util.updateVolumeFromArray(empty, np.zeros((1, 8, 8)))
    with pytest.raises(RefaceError, match="'Empty head' is a 2D image") as caught:
        reface.RefaceLogic().process(empty)
    assert ".nrrd" not in str(caught.value)


@pytest.mark.parametrize("how", ["slow", "stubborn"])
def test_a_run_can_be_cancelled_within_a_second(reface, app, scene, head, monkeypatch, how):
    monkeypatch.setenv("REFACE_CHILD", how)
    count, asked = scene.GetNumberOfNodes(), []
    stages = []

    def cancelled():
        if "generate" in stages and not asked:
            asked.append(time.monotonic())
        return bool(asked)

    with pytest.raises(CancelledError):
        reface.RefaceLogic().process(head, progress=lambda _fraction, stage: stages.append(stage), cancelled=cancelled)
    assert time.monotonic() - asked[0] < 1.0
    assert scene.GetNumberOfNodes() == count


def test_undo_leaves_the_input_alone(reface, app, scene, head):
    before = voxels(head).copy()
    for kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode"):
        node = scene.CreateNodeByClass(kind)
        node.SetUndoEnabled(True)
        scene.AddDefaultNode(node)
    scene.SetUndoOn()
    scene.SaveStateForUndo()
    reface.RefaceLogic().process(head, seed=9)
    scene.Undo()
    assert np.array_equal(voxels(scene.GetFirstNodeByName("Head")), before)
    scene.SetUndoOff()


def test_results_lie_under_a_subject_of_their_own_and_the_report_says_nothing_of_the_patient(reface, app, scene, head):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jane")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "4711")
    hierarchy.CreateItem(patient, head)
    other = node_of(scene, make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), "LPS"), "T2 of Doe")
    result = reface.RefaceLogic().process(head, otherVolumes=[other])
    subject = hierarchy.GetItemByName("De-identified")
    for node in (result.volume, result.mask, *result.others):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == subject
        report = node.GetAttribute("Reface.Report")
        assert "Patient" not in report and "4711" not in report and "Doe" not in report


# ---- the parameter node ----


def test_a_saved_scene_keeps_all_parameters_and_the_result(reface, app, widget, scene, head, tmp_path):
    node = widget._parameterNode
    node.inputVolume, node.seed, node.device = head, 4, Device.CPU
    widget.onApplyButton()
    wait(widget)
    node.mode, node.ears, node.candidates, node.otherVolumes = Mode.RECOVER, False, 3, [head]
    node.models = "/own/Models"
    node.outputVolume, node.maskSegmentation = node.resultVolume, node.resultVolume.GetNodeReference(MASK_ROLE)
    again = saved_and_read(scene, tmp_path)
    with mock.patch.object(slicer, "mrmlScene", again):
        restored = reface.RefaceLogic().getParameterNode()
        assert restored.inputVolume.GetName() == "Head"
        assert (restored.mode, restored.seed, restored.candidates) == (Mode.RECOVER, 4, 3)
        assert (restored.ears, restored.device, restored.models) == (False, Device.CPU, "/own/Models")
        assert [volume.GetName() for volume in restored.otherVolumes] == ["Head"]
        assert restored.outputVolume.GetName() == restored.resultVolume.GetName() == "Head refaced"
        assert restored.maskSegmentation.GetName() == "Head face mask"
        assert "seed 4" in results.result_text(restored.resultVolume)
        assert restored.resultVolume.GetNodeReference(results.INPUT_ROLE).GetName() == "Head"


def test_the_window_goes_from_one_parameter_node_to_another(reface, widget, scene, head):
    first = widget._parameterNode
    first.inputVolume, first.otherVolumes = head, [node_of(scene, make_phantom(), "T2")]
    other = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Other")
    widget.ui.parameterNodeSelector.setCurrentNode(other)
    assert widget._parameterNode.parameterNode is other
    assert not widget.ui.applyButton.enabled and widget.ui.personTable.texts() == []
    widget.ui.parameterNodeSelector.setCurrentNode(first.parameterNode)
    assert widget.ui.applyButton.enabled and [row[0] for row in widget.ui.personTable.texts()] == ["Head", "T2"]


# ---- the module ----


def test_the_module_cites_the_paper_and_names_no_invented_people(reface, app):
    slicer.app.connect = mock.Mock()
    parent = mock.MagicMock()
    reface.Reface(parent)
    assert "2305.16922" in parent.acknowledgementText
    assert parent.contributors == ["The Reface developers"]
    assert slicer.app.connect.call_args.args[0] == "startupCompleted()"


def test_importing_the_module_imports_neither_torch_nor_nibabel():
    folders = [str(TESTS), str(REFACE_PY.parent)]
    code = (
        f"import sys; sys.path[:0] = {folders}\n"
        "from helpers.slicer_stubs import reface_module\n"
        "with reface_module():\n"
        "    names = {'torch', 'nibabel', 'onnxruntime', 'scipy', 'matplotlib', 'safetensors'}\n"
        "    print(sorted(names & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr


def test_the_module_file_is_wiring_only():
    source = REFACE_PY.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 420
    assert {type(node) for node in ast.parse(source).body} <= {
        ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.ClassDef,
    }  # fmt: skip
