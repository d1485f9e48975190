"""What leaves the scene: image files, DICOM tags and reports, none of which names the patient; and the views."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest

from helpers.phantom import make_phantom
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.volume.io import read_volume

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.scenes import volume_node  # noqa: E402
from RefaceLib.window import export, faceviews, mrml, sampledata  # noqa: E402  (needs slicer)

REPORT = {
    "reface_version": "1", "mode": "reface", "seed": 3, "ears": True, "model": {"name": "m", "version": "1"},
    "voxels_changed": 5, "voxels_changed_outside_mask": 0, "brain_voxels_changed": 0, "mask_ml": 1.0,
    "seconds": {"total": 1.0}, "warnings": [],
}  # fmt: skip


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


@pytest.fixture
def result(scene):
    phantom = make_phantom((24, 20, 16), (10.0, 12.0, 14.0), "LPS")
    node = volume_node(scene, phantom, "Head refaced")
    node.CreateDefaultDisplayNodes()
    mrml.set_provenance(node, REPORT)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jane")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", "4711")
    hierarchy.CreateItem(patient, node)
    return node


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd"])
def test_a_saved_file_holds_voxels_and_place_and_nothing_else(result, tmp_path, ending):
    path = tmp_path / f"out{ending}"
    export.save_file(result, path)
    volume = read_volume(path)
    assert np.array_equal(volume.stored, slicer.util.arrayFromVolume(result).transpose(2, 1, 0))
    np.testing.assert_allclose(volume.affine, mrml.volume_from_node(result).affine, atol=1e-4)
    assert b"Reface" not in path.read_bytes() and b"4711" not in path.read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_file_that_cannot_be_written_is_told_of(result, tmp_path):
    with pytest.raises(OutputError, match="no known ending"):
        export.save_file(result, tmp_path / "out.txt")
    with pytest.raises(OutputError, match="cannot be written"):
        export.save_file(result, tmp_path / "nowhere" / "out.nrrd")
    with pytest.raises(OutputError, match="cannot be written"):
        export.save_report(result, tmp_path / "nowhere" / "out.json")


def test_the_report_is_saved_as_it_was_made(result, tmp_path):
    export.save_report(result, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == REPORT


def test_only_results_can_be_saved(scene, tmp_path):
    with pytest.raises(InputError, match="no result"):
        export.save_file(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"), tmp_path / "a.nrrd")


def test_the_dicom_header_names_nobody(result, tmp_path):
    asked = []

    def exporter(study, node, tags, folder):
        asked.append((node, tags))
        return types.SimpleNamespace(export=lambda: (tmp_path / "IMG0001.dcm").write_bytes(b"x"))

    export.save_dicom(result, tmp_path, exporter)
    ((node, tags),) = asked
    assert node is result
    assert tags["Patient Name"] == tags["Patient ID"] == export.DEIDENTIFIED
    assert tags["Patient Birth Date"] == tags["Study Date"] == tags["Series Time"] == ""
    uids = {value for name, value in tags.items() if name.endswith("UID")}
    assert len(uids) == 3 and all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)
    assert "4711" not in str(tags) and "Jane" not in str(tags) and result.GetName() not in str(tags)


def test_dicom_needs_an_empty_folder_and_whole_numbers_and_an_exporter_that_writes(scene, result, tmp_path):
    nothing = lambda *_: types.SimpleNamespace(export=lambda: False)  # noqa: E731
    with pytest.raises(OutputError, match="could not be written"):
        export.save_dicom(result, tmp_path, nothing)
    slicer.util.updateVolumeFromArray(result, slicer.util.arrayFromVolume(result).astype(np.float32))
    with pytest.raises(OutputError, match="whole numbers"):
        export.save_dicom(result, tmp_path, nothing)
    (tmp_path / "other").write_bytes(b"")
    with pytest.raises(OutputError, match="not empty"):
        export.save_dicom(result, tmp_path, nothing)


# ---- the views ----


@pytest.fixture
def heads(scene):
    """A head before and after, in a scene with slice views."""
    nodes = [volume_node(scene, make_phantom(), name) for name in ("Head", "Head refaced")]
    for name in ("Red", "Green"):
        composite = slicer.vtkMRMLSliceCompositeNode()
        composite.SetLayoutName(name)
        scene.AddNode(composite)
    scene.AddNode(slicer.vtkMRMLLayoutNode())
    for tag in faceviews.VIEW_NAMES:
        view = slicer.vtkMRMLViewNode()
        view.SetSingletonTag(tag)
        scene.AddNode(view)
    return nodes


def composites(scene):
    count = scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")
    return [scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode") for index in range(count)]


def test_before_and_after_are_over_each_other_in_slices_and_beside_each_other_in_3d(scene, heads):
    before, after = heads
    models = faceviews.show_before_after(scene, before, after)
    for composite in composites(scene):
        assert composite.GetBackgroundVolumeID() == before.GetID()
        assert composite.GetForegroundVolumeID() == after.GetID()
        assert composite.GetForegroundOpacity() == 1.0
    shown = [model.GetDisplayNode().GetNthViewNodeID(0) for model in models]
    views = [scene.GetSingletonNode(name, "vtkMRMLViewNode") for name in faceviews.VIEW_NAMES]
    assert shown == [view.GetID() for view in views] and all(view.GetLinkedControl() for view in views)
    assert all(model.GetPolyData().GetNumberOfPoints() > 100 for model in models)
    assert not any(model.GetSaveWithScene() for model in models)
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == faceviews.LAYOUT
    faceviews.compare_slices(scene, before, after, 0.25)
    assert {composite.GetForegroundOpacity() for composite in composites(scene)} == {0.25}


def test_surfaces_are_made_once_and_again_for_another_face(scene, heads):
    first = faceviews.show_before_after(scene, *heads)
    assert faceviews.show_before_after(scene, *heads) == first
    faceviews.hide_surfaces(scene, heads[1])
    assert scene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 0


# ---- sample data ----


def test_the_sample_head_is_registered_and_loaded(monkeypatch, tmp_path):
    import sys

    registered = {}
    logic = types.SimpleNamespace(registerCustomSampleDataSource=lambda **options: registered.update(options))
    monkeypatch.setitem(sys.modules, "SampleData", types.SimpleNamespace(SampleDataLogic=logic))
    sampledata.register("icon.png")
    assert (registered["category"], registered["sampleName"]) == (sampledata.CATEGORY, sampledata.NAME)
    commands = []

    def demo_head(runner):
        commands.append(runner([sys.executable, "-c", "print(1)"]).stdout.strip())
        return tmp_path / "head.nii.gz"

    monkeypatch.setattr(sampledata.demo, "demo_head", demo_head)
    monkeypatch.setattr(slicer.util, "loadVolume", lambda path, properties: (path, properties))
    assert registered["customDownloader"](None) == [(str(tmp_path / "head.nii.gz"), {"name": sampledata.NAME})]
    assert commands == ["1"]
