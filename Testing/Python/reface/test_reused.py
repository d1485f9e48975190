"""Volumes and masks that are used again: no result loses its mask, its origin or its name for another."""

from __future__ import annotations

import numpy as np
import pytest

from RefaceLib.common.errors import InputError, OutputError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface import hospital  # noqa: E402  (needs slicer)
from helpers.reface.hospital import SHAPE  # noqa: E402
from RefaceLib.window import export, results, shared, sharing  # noqa: E402
from RefaceLib.window.job import OtherAnswer, RefaceAnswer  # noqa: E402
from RefaceLib.window.sharing import Ways  # noqa: E402


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


@pytest.fixture
def doe(scene, tmp_path, monkeypatch):
    """A scan out of the DICOM database."""
    folder = tmp_path / "in" / "doe"
    node = hospital.scan(scene, "T1w", folder, 0)
    hospital.admit(scene, node)
    monkeypatch.setattr(slicer, "dicomDatabase", hospital.database(folder), raising=False)
    return node


@pytest.fixture
def roe(scene):
    node = hospital.scan(scene, "T1w of another", seed=1)
    hospital.admit(scene, node, name="LI^NA", number="12-34-56")
    return node


def answer(node, *others):
    """Of a run whose mask is another than that of `hospital.refaced`."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, :3] = True
    stored = slicer.util.arrayFromVolume(node).transpose(2, 1, 0).copy()
    applied = tuple(
        OtherAnswer(slicer.util.arrayFromVolume(each).transpose(2, 1, 0), mask, hospital.APPLIED) for each in others
    )
    return RefaceAnswer(stored, mask, applied, hospital.REPORT)


def test_a_chosen_mask_that_another_result_refers_to_is_not_replaced(scene, doe, roe):
    chosen = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    first = hospital.refaced(doe, mask=chosen)
    before = shared.face_mask(first.volume)
    second = results.show_answer(results.RefaceNodes(roe, (), None, chosen), answer(roe))
    assert first.mask is chosen and second.mask is not chosen
    assert np.array_equal(shared.face_mask(first.volume), before)


def test_results_of_an_overwritten_result_keep_their_origin(doe, roe):
    first = hospital.refaced(doe)
    second = hospital.refaced(first.volume)
    hospital.refaced(roe, output=first.volume, overwrite=True)
    assert export.original_of(second.volume) is doe and export.original_of(first.volume) is roe


def test_no_result_is_written_over_what_it_was_made_from(doe):
    first = hospital.refaced(doe)
    second = hospital.refaced(first.volume)
    with pytest.raises(OutputError, match="made from the output volume"):
        results.check_nodes(results.RefaceNodes(second.volume, (), first.volume))


def test_the_result_of_another_volume_is_only_written_over_where_that_was_agreed(doe, roe):
    first = hospital.refaced(doe)
    assert not results.would_be_lost(first.volume, doe)
    with pytest.raises(OutputError, match="no result of this input"):
        results.check_nodes(results.RefaceNodes(roe, (), first.volume))
    assert hospital.refaced(roe, output=first.volume, overwrite=True).volume is first.volume


def test_two_runs_into_one_output_make_two_results(scene, doe, roe):
    """The second waited, while the output held nothing yet."""
    output = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    first, second = (results.RefaceNodes(node, (), output) for node in (doe, roe))
    for nodes in (first, second):
        results.check_nodes(nodes)
    assert results.show_answer(first, answer(doe)).volume is output
    made = results.show_answer(second, answer(roe))
    assert made.volume is not output and export.original_of(output) is doe and export.original_of(made.volume) is roe


def test_another_volume_that_was_cropped_during_the_run_fails_alone(doe, roe):
    done = answer(doe, roe)
    slicer.util.updateVolumeFromArray(roe, np.zeros((5, 5, 5), np.int16))
    made = results.show_answer(results.RefaceNodes(doe, (roe,)), done)
    assert made.others == [] and made.failed == [(roe, "'T1w of another' was changed during the run.")]


@pytest.fixture
def elsewhere(scene):
    """A transform by 48 mm."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(1, 3, 48.0)
    transform.SetMatrixTransformToParent(matrix)
    return transform.GetID()


def test_a_mask_in_a_chosen_segmentation_under_another_transform_is_shared(scene, doe, elsewhere):
    """It was written 48 mm beside the face."""
    expected = shared.face_mask(hospital.refaced(doe).volume)
    chosen = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    everything = slicer.vtkOrientedImageData()
    shared_grid(doe, everything)
    chosen.AddSegmentFromBinaryLabelmapRepresentation(everything, "Tumour", (1, 0, 0))
    chosen.SetAndObserveTransformNodeID(elsewhere)
    made = hospital.refaced(doe, mask=chosen)
    assert made.mask is chosen and expected.any()
    assert np.array_equal(shared.face_mask(made.volume), expected)


def test_the_mask_of_a_result_that_was_moved_alone_is_shared(doe, elsewhere):
    made = hospital.refaced(doe)
    expected = shared.face_mask(made.volume)
    made.volume.SetAndObserveTransformNodeID(elsewhere)
    assert expected.any() and np.array_equal(shared.face_mask(made.volume), expected)


def test_a_mask_that_lies_elsewhere_is_not_shared(doe, elsewhere, tmp_path):
    made = hospital.refaced(doe)
    made.volume.SetAndObserveTransformNodeID(elsewhere)
    made.volume.HardenTransform()
    with pytest.raises(InputError, match="mask of .* was changed or moved"):
        sharing.share([made.volume], tmp_path / "out", "sub-01", Ways())
    assert not (tmp_path / "out").exists()


def shared_grid(node, image):
    """Fill an image with ones on the grid of a volume."""
    image.SetExtent(node.GetImageData().GetExtent())
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    image.SetImageToWorldMatrix(matrix)
    image.GetPointData().GetScalars().Fill(1)


def test_a_segmentation_of_surfaces_takes_no_mask(scene, doe):
    """It smoothed the mask, whose result could then never be shared."""
    surfaces = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "STL")
    ball = vtk.vtkSphereSource()
    ball.Update()
    surfaces.GetSegmentation().SetSourceRepresentationName(
        slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    )
    surfaces.AddSegmentFromClosedSurfaceRepresentation(ball.GetOutput(), "Implant", (1, 0, 0))
    with pytest.raises(OutputError, match="'STL' holds surfaces"):
        results.check_nodes(results.RefaceNodes(doe, (), None, surfaces))


def test_a_result_that_was_changed_is_not_written_as_dicom(doe, tmp_path):
    """Its header would say that the face is gone."""
    made = hospital.refaced(doe)
    slicer.util.updateVolumeFromArray(made.volume, slicer.util.arrayFromVolume(doe))
    with pytest.raises(InputError, match="was changed after Reface"):
        export.save_dicom(made.volume, tmp_path / "series")
    assert not (tmp_path / "series").exists()


def test_two_results_of_one_series_are_not_shared_as_one_study(doe, tmp_path):
    """Both would have the same UIDs."""
    first = hospital.refaced(doe)
    second = hospital.refaced(first.volume)
    with pytest.raises(InputError, match="of one original"):
        sharing.share([first.volume, second.volume], tmp_path / "out", "sub-01", Ways(files=False, dicom=True))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("label", ["12-34-56", "123456", "LiNa", "x-Li_Na"])
def test_short_words_of_a_name_are_found_together(roe, label):
    made = hospital.refaced(roe)
    with pytest.raises(InputError, match="word of the patient"):
        shared.check_label(label, [made.volume])
    shared.check_label("sub-01", [made.volume])


def test_a_label_is_checked_where_the_original_was_removed(scene, doe):
    made = hospital.refaced(doe)
    scene.RemoveNode(doe)
    with pytest.raises(InputError, match="word of the patient"):
        shared.check_label("JaneDoe_4711", [made.volume])
