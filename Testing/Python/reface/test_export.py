"""What leaves the scene: image files, DICOM tags and reports, none of which names the patient."""

from __future__ import annotations

import errno
import json
import types
from pathlib import Path

import numpy as np
import pydicom
import pytest

from helpers.dicomfiles import LEFT_BEHIND, write_classic
from helpers.phantom import make_phantom
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.dicom.series import find_series
from RefaceLib.volume.io import Volume, read_volume

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.scenes import volume_node  # noqa: E402
from RefaceLib.window import export, mrml, results, sampledata, seal  # noqa: E402  (needs slicer)

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
    with pytest.raises(OutputError, match="nowhere does not exist"):
        export.save_file(result, tmp_path / "nowhere" / "out.nrrd")
    with pytest.raises(OutputError, match="nowhere does not exist"):
        export.save_report(result, tmp_path / "nowhere" / "out.json")


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(result, tmp_path, monkeypatch):
    image, report = tmp_path / "a.nii.gz", tmp_path / "r.json"
    for path in (image, report):
        path.write_bytes(b"good")

    class Full(slicer.vtkMRMLVolumeArchetypeStorageNode):
        """The writer of a full disk says that all went well."""

        def WriteData(self, _node):
            Path(self.GetFileName()).write_bytes(b"half")
            return 1

    def full(path, _content):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(slicer, "vtkMRMLVolumeArchetypeStorageNode", Full)
    monkeypatch.setattr(export, "write_json", full, raising=False)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="a.nii.gz cannot be written"):
        export.save_file(result, image)
    with pytest.raises(OutputError, match="full"):
        export.save_report(result, report)
    assert [image.read_bytes(), report.read_bytes()] == [b"good"] * 2 and len(list(tmp_path.iterdir())) == 2


def test_the_report_is_saved_as_it_was_made(result, tmp_path):
    export.save_report(result, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == REPORT


def test_only_results_can_be_saved(scene, tmp_path):
    with pytest.raises(InputError, match="no result"):
        export.save_file(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"), tmp_path / "a.nrrd")


def read_series(folder):
    (series,) = find_series([folder])
    (stack,) = series.stacks()
    return series, stack.read()


def test_a_result_from_elsewhere_becomes_a_new_series_that_names_nobody(result, tmp_path):
    export.save_dicom(result, tmp_path / "out")
    series, volume = read_series(tmp_path / "out")
    node = mrml.volume_from_node(result)
    assert np.array_equal(volume.stored, node.stored) and volume.stored.dtype == np.uint16
    np.testing.assert_allclose(volume.affine, node.affine, atol=1e-4)
    header = pydicom.dcmread(series.paths[0])
    assert header.PatientName == header.PatientID == "ANONYMOUS" and header.PatientIdentityRemoved == "YES"
    assert header.StudyDate == header.PatientBirthDate == "" and header.SeriesDescription == "refaced"
    content = b"".join(path.read_bytes() for path in series.paths)
    assert b"4711" not in content and b"Jane" not in content and result.GetName().encode() not in content


def test_a_result_of_a_series_goes_into_copies_of_its_files(scene, result, tmp_path, monkeypatch):
    """Slicer may have turned the axes round and rescaled the values; the stored numbers come back all the same."""

    def scaled(_, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RepetitionTime = "2.5", "-7", "2300"

    head = make_phantom((24, 20, 16), (10.0, 12.0, 14.0), "LPS")
    write_classic(tmp_path / "in", head, change=scaled)
    source, volume = read_series(tmp_path / "in")
    values = volume.values()
    values[3:9, 2:5] = 402.0
    turned = Volume(values[::-1, :, ::-1].copy(), volume.affine @ turned_back(values.shape))
    node = volume_node(scene, turned, "Head refaced")
    mrml.set_provenance(node, REPORT)
    original = volume_node(scene, turned, "Head")
    original.SetAttribute("DICOM.instanceUIDs", " ".join(str(header.SOPInstanceUID) for _, header in source.files))
    files = {str(header.SOPInstanceUID): str(path) for path, header in source.files}
    database = types.SimpleNamespace(isOpen=True, fileForInstance=files.get)
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node.SetNodeReferenceID(results.INPUT_ROLE, original.GetID())
    export.save_dicom(node, tmp_path / "out")
    written, after = read_series(tmp_path / "out")
    expected = volume.stored.copy()
    expected[3:9, 2:5] = np.rint((402 + 7) / 2.5)
    assert np.array_equal(after.stored, expected)
    np.testing.assert_allclose(after.affine, volume.affine, atol=1e-6)
    header = pydicom.dcmread(written.paths[0])
    assert header.RepetitionTime == 2300 and header.PatientID == "ANONYMOUS"
    content = b"".join(path.read_bytes() for path in written.paths)
    assert [words for words in LEFT_BEHIND if words in content] == []


def turned_back(shape):
    """The matrix that takes indices of the array with its first and third axis reversed to those of the array."""
    matrix = np.diag([-1.0, 1.0, -1.0, 1.0])
    matrix[[0, 2], 3] = shape[0] - 1, shape[2] - 1
    return matrix


def test_files_on_another_grid_or_gone_from_the_database_are_not_used(scene, result, tmp_path, monkeypatch):
    write_classic(tmp_path / "in", make_phantom((24, 20, 16), (9.0, 9.0, 9.0), "LPS"))
    source, _ = read_series(tmp_path / "in")
    original = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    original.SetAttribute("DICOM.instanceUIDs", " ".join(str(header.SOPInstanceUID) for _, header in source.files))
    result.SetNodeReferenceID(results.INPUT_ROLE, original.GetID())
    files = {str(header.SOPInstanceUID): str(path) for path, header in source.files}
    for number, found in enumerate((files.get, lambda uid: "")):
        monkeypatch.setattr(
            slicer, "dicomDatabase", types.SimpleNamespace(isOpen=True, fileForInstance=found), raising=False
        )
        export.save_dicom(result, tmp_path / str(number))
        assert np.array_equal(read_series(tmp_path / str(number))[1].stored, mrml.volume_from_node(result).stored)


def test_dicom_needs_an_empty_folder_and_whole_numbers(scene, result, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other").write_bytes(b"")
    with pytest.raises(OutputError, match="not empty"):
        export.save_dicom(result, tmp_path / "full")
    slicer.util.updateVolumeFromArray(result, slicer.util.arrayFromVolume(result).astype(np.float32))
    seal.seal(result)
    with pytest.raises(OutputError, match="whole numbers"):
        export.save_dicom(result, tmp_path / "out")
    slicer.util.updateVolumeFromArray(result, np.full((16, 20, 24), 70000, dtype=np.int32))
    seal.seal(result)
    with pytest.raises(OutputError, match="16 bits"):
        export.save_dicom(result, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


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


def test_a_database_that_is_closed_is_not_asked(scene, monkeypatch):
    """Each file that is asked for is an error in the log of 3D Slicer."""
    original = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    original.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
    asked = []
    database = types.SimpleNamespace(isOpen=False, fileForInstance=asked.append)
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    assert export.original_files(original) == [] and asked == []
