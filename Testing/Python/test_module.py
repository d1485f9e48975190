"""Reface.py on real MRML nodes, with stand-ins for the classes that only the application has."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from phantom import make_phantom
from RefaceLib.errors import CancelledError, InputError, OutputError, WeightsError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from slicer_stubs import REFACE_PY, reface_module  # noqa: E402  (needs slicer)

SIZE = 48


@pytest.fixture(scope="module")
def reface():
    with reface_module() as module:
        yield module


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


def node_of(scene, volume, name="Head"):
    """A volume node with the voxels and the geometry of a RefaceLib volume."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    native = volume.stored.astype(volume.stored.dtype.newbyteorder("="))
    slicer.util.updateVolumeFromArray(node, native.transpose(2, 1, 0))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(volume.affine.ravel())
    node.SetIJKToRASMatrix(matrix)
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture
def head(scene):
    return node_of(scene, make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), "LPS"))


def fake_reface(volume, options, *, models=None, progress=None, cancelled=None):
    """A stand-in for the pipeline: everything in the front third becomes the seed."""
    from RefaceLib.pipeline import RefaceResult

    if progress:
        progress(0.5, "generate")
    if cancelled and cancelled():
        raise CancelledError("The run was stopped.")
    mask = np.zeros(volume.stored.shape, dtype=bool)
    mask[:, : SIZE // 3] = True
    stored = volume.stored.copy()
    stored[mask] = options.seed
    changed = int((stored != volume.stored).sum())
    return RefaceResult(
        stored=stored,
        mask=mask,
        brain=~mask,
        landmarks={"nose_tip": (0.0, 100.0, -50.0)},
        warnings=("A warning.",),
        seconds={"parse": 0.25, "generate": 1.0},
        model={"name": "fake", "version": "1", "sha256": "00"},
        device="cpu",
        mode=options.mode,
        seed=options.seed,
        ears=options.ears,
        counts={
            "voxels_changed": changed,
            "voxels_changed_outside_mask": 0,
            "brain_voxels_changed": 0,
            "mask_voxels": int(mask.sum()),
            "mask_ml": float(mask.sum() * 0.125),
        },
    )


def voxels(node):
    return slicer.util.arrayFromVolume(node).transpose(2, 1, 0)


def test_a_volume_goes_in_and_a_new_volume_its_mask_and_a_report_come_out(reface, head):
    before = voxels(head).copy()
    output, segmentation, report = reface.RefaceLogic(fake_reface).process(head, seed=9)
    assert np.array_equal(voxels(head), before)
    assert output.GetName() == "Head refaced"
    assert (voxels(output)[:, : SIZE // 3] == 9).all()
    assert np.array_equal(voxels(output)[:, SIZE // 3 :], before[:, SIZE // 3 :])
    assert segmentation.GetName() == "Head face mask"
    assert output.GetNodeReference(reface.MASK_REFERENCE_ROLE) is segmentation
    assert (report["input"], report["output"], report["seed"]) == ("Head", "Head refaced", 9)
    assert {"read", "parse", "generate", "write", "total"} <= set(report["seconds"])
    assert report["warnings"] == ["A warning."]


def test_both_results_carry_the_provenance(reface, head):
    output, segmentation, report = reface.RefaceLogic(fake_reface).process(head, mode="deface", ears=False)
    for node in (output, segmentation):
        assert json.loads(node.GetAttribute("Reface.Report")) == report
        assert node.GetAttribute("Reface.Mode") == "deface"
        assert node.GetAttribute("Reface.Ears") == "false"


@pytest.mark.parametrize(
    ("mode", "name"), [("reface", "Head refaced"), ("deface", "Head defaced"), ("recover", "Head with a face")]
)
def test_a_new_output_is_named_after_the_mode(reface, head, mode, name):
    assert reface.RefaceLogic(fake_reface).process(head, mode=mode)[0].GetName() == name


def test_a_second_run_into_the_same_output_makes_no_further_nodes(reface, scene, head):
    logic = reface.RefaceLogic(fake_reface)
    output, segmentation, _ = logic.process(head, seed=1)
    count = scene.GetNumberOfNodes()
    again, same_segmentation, _ = logic.process(head, outputVolume=output, seed=2)
    assert again is output and same_segmentation is segmentation
    assert scene.GetNumberOfNodes() == count
    assert output.GetAttribute("Reface.Seed") == "2"
    assert voxels(output)[0, 0, 0] == 2


def test_the_input_as_output_is_refused_before_any_work(reface, head):
    worker = mock.Mock(side_effect=AssertionError("was run"))
    with pytest.raises(OutputError):
        reface.RefaceLogic(worker).process(head, outputVolume=head)


def test_no_input_is_refused_in_one_sentence(reface):
    with pytest.raises(InputError, match="No input volume"):
        reface.RefaceLogic(fake_reface).process(None)


@pytest.mark.parametrize("error", [InputError("No head."), MemoryError()])
def test_a_run_that_fails_leaves_the_scene_as_it_was(reface, scene, head, error):
    count = scene.GetNumberOfNodes()
    with pytest.raises(type(error)):
        reface.RefaceLogic(mock.Mock(side_effect=error)).process(head)
    assert scene.GetNumberOfNodes() == count


def test_a_run_that_is_cancelled_leaves_the_scene_as_it_was(reface, scene, head):
    count = scene.GetNumberOfNodes()
    with pytest.raises(CancelledError):
        reface.RefaceLogic(fake_reface).process(head, cancelled=lambda: True)
    assert scene.GetNumberOfNodes() == count


def test_options_models_progress_and_cancel_reach_the_pipeline(reface, head):
    seen = {}

    def spy(volume, options, **rest):
        seen.update(options=options, **rest)
        return fake_reface(volume, options)

    models, progress, cancelled = object(), mock.Mock(), mock.Mock()
    reface.RefaceLogic(spy).process(head, None, "recover", 3, False, "cpu", progress, cancelled, models)
    options = seen["options"]
    assert (options.mode, options.seed, options.ears, options.device) == ("recover", 3, False, "cpu")
    assert (seen["models"], seen["progress"], seen["cancelled"]) == (models, progress, cancelled)


def test_patient_tags_above_the_result_are_warned_of_in_the_report(reface, scene, head):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jane")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "4711")
    hierarchy.CreateItem(patient, head)
    output, _, report = reface.RefaceLogic(fake_reface).process(head)
    assert any("PatientID" in warning for warning in report["warnings"])
    assert "PatientID" in output.GetAttribute("Reface.Warnings")
    assert "4711" not in output.GetAttribute("Reface.Report")


def test_several_volumes_in_one_scene_are_refaced_one_by_one(reface, scene):
    logic = reface.RefaceLogic(fake_reface)
    heads = [
        node_of(scene, make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), axes, dtype), name=axes)
        for axes, dtype in (("RAS", np.uint8), ("LPS", np.int16), ("PSR", np.float32))
    ]
    for head in heads:
        output, _, _ = logic.process(head, seed=4)
        assert voxels(output).dtype == voxels(head).dtype
        assert output.GetName() == f"{head.GetName()} refaced"
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 6


def test_the_networks_reface_a_node_when_they_are_there(reface, scene, demo_volume):
    pytest.importorskip("torch", reason="torch is not installed")
    node = node_of(scene, demo_volume)
    try:
        output, segmentation, report = reface.RefaceLogic().process(node, seed=1, device="cpu")
    except WeightsError as error:
        pytest.skip(f"no weights: {error}")
    changed = voxels(output) != voxels(node)
    assert changed.sum() == report["voxels_changed"] > 10000
    assert report["voxels_changed_outside_mask"] == report["brain_voxels_changed"] == 0
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_the_module_cites_the_paper_and_names_no_invented_people(reface):
    parent = mock.MagicMock()
    reface.Reface(parent)
    assert "2305.16922" in parent.acknowledgementText
    assert parent.contributors == ["The Reface developers"]


@pytest.fixture
def widget(reface, scene):
    """The window over mocks; `slicer` has what the application would give it."""
    stand_ins = {"mrmlScene": scene, "app": mock.MagicMock(), "qMRMLNodeComboBox": mock.MagicMock()}
    with mock.patch.multiple(slicer, create=True, **stand_ins):
        widget = reface.RefaceWidget()
        widget.setup()
        widget.logic = reface.RefaceLogic(fake_reface)
        widget._ensureDependencies = mock.Mock()
        widget.seedSpinBox.value = 5
        widget.earsCheckBox.checked = True
        yield widget


def test_the_window_applies_to_the_chosen_volume_and_shows_the_result(widget, scene, head):
    widget.inputSelector.currentNode.return_value = head
    with (
        mock.patch.object(slicer.util, "tryWithErrorDisplay"),
        mock.patch.object(slicer.util, "setSliceViewerLayers") as show,
    ):
        widget.onApplyButton()
    output = show.call_args.kwargs["background"]
    assert output.GetAttribute("Reface.Seed") == "5"
    assert "Head refaced" in widget.statusLabel.text
    assert widget.applyButton.enabled


def test_the_window_cannot_apply_without_a_volume(widget):
    widget.inputSelector.currentNode.return_value = None
    widget._checkCanApply()
    assert not widget.applyButton.enabled
    assert "Choose" in widget.applyButton.toolTip


def test_the_window_can_apply_again_after_a_failure(widget, head):
    widget.inputSelector.currentNode.return_value = head
    widget.logic.process = mock.Mock(side_effect=InputError("No head."))
    with mock.patch.object(slicer.util, "tryWithErrorDisplay"), pytest.raises(InputError):
        widget.onApplyButton()
    assert widget.applyButton.enabled
    assert widget.statusLabel.text == ""


def test_the_window_offers_the_active_volume_when_it_is_entered(widget, scene, head):
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.GetSelectionNode().SetActiveVolumeID(head.GetID())
    slicer.app.applicationLogic.return_value = logic
    widget.inputSelector.currentNode.return_value = None
    widget.enter()
    widget.inputSelector.setCurrentNode.assert_called_once_with(head)


def test_importing_the_module_imports_neither_torch_nor_nibabel():
    folders = [str(Path(__file__).parent), str(REFACE_PY.parent)]
    code = (
        f"import sys; sys.path[:0] = {folders}\n"
        "from slicer_stubs import reface_module\n"
        "with reface_module():\n"
        "    print(sorted({'torch', 'nibabel', 'scipy', 'matplotlib', 'safetensors'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
