"""Series in folders of DICOM files: which are volumes, where their voxels lie, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MediaStorageDirectoryStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from helpers.dicomfiles import UID, write_classic, write_enhanced
from helpers.imagefiles import assert_one_sentence
from helpers.phantom import make_phantom
from RefaceLib.common.errors import InputError
from RefaceLib.dicom.series import CAPTURE, LOCALIZER, MOSAIC, OTHER, VOLUME, find_series
from RefaceLib.volume.io import Volume

SHAPE, SPACING = (20, 24, 12), (9.0, 8.0, 14.0)
HEAD = make_phantom(SHAPE, SPACING, "LPS")


def only(path):
    (series,) = find_series([path])
    return series


def refusal(path) -> str:
    with pytest.raises(InputError) as error:
        only(path).stacks()
    assert_one_sentence(error)
    return str(error.value)


# ---- volumes ----


@pytest.mark.parametrize("axcodes", ["LPS", "RAS", "ASR", "PIL", "SAL"])
@pytest.mark.parametrize("oblique", [0.0, 12.0])
def test_a_classic_series_becomes_the_volume_that_it_was(tmp_path, axcodes, oblique):
    head = make_phantom(SHAPE, SPACING, axcodes, oblique=oblique)
    write_classic(tmp_path, head)
    (stack,) = only(tmp_path).stacks()
    volume = stack.read()
    # The third axis runs along the normal of the slices; in a left-handed grid that is backwards.
    backwards = np.linalg.det(head.affine) < 0
    assert np.array_equal(volume.stored, head.stored[:, :, ::-1] if backwards else head.stored)
    flip = np.diag([1.0, 1.0, -1.0, 1.0]) if backwards else np.eye(4)
    flip[2, 3] = SHAPE[2] - 1 if backwards else 0
    np.testing.assert_allclose(volume.affine, head.affine @ flip, atol=1e-4)


def test_the_order_of_files_does_not_matter(tmp_path):
    def shuffled(index, dataset):
        dataset.InstanceNumber = (index * 7) % SHAPE[2] + 1

    write_classic(tmp_path, HEAD, change=shuffled)
    assert np.array_equal(only(tmp_path).stacks()[0].read().stored, HEAD.stored)


def test_values_are_rescaled_and_a_scale_of_each_slice_is_kept(tmp_path):
    def scaled(index, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(1 + index / 2), "-3"

    write_classic(tmp_path / "a", HEAD, change=lambda _, dataset: scaled(4, dataset))
    volume = only(tmp_path / "a").stacks()[0].read()
    assert (volume.slope, volume.inter) == (3.0, -3.0) and volume.stored.dtype.kind in "iu"
    write_classic(tmp_path / "b", HEAD, change=scaled)
    volume = only(tmp_path / "b").stacks()[0].read()
    np.testing.assert_allclose(volume.stored, HEAD.stored * (1 + np.arange(SHAPE[2]) / 2) - 3, rtol=1e-6)


def test_an_enhanced_file_is_taken_apart_into_its_volumes(tmp_path):
    other = Volume(HEAD.stored // 2, HEAD.affine)
    write_enhanced(tmp_path / "e.dcm", [HEAD, other], ["M", "P"])
    stacks = only(tmp_path).stacks()
    assert len(stacks) == 2 and stacks[0].same_grid(stacks[1])
    for stack, head, slope in zip(stacks, (HEAD, other), (1.0, 2.0), strict=True):
        volume = stack.read()
        assert np.array_equal(volume.stored, head.stored) and (volume.slope, volume.inter) == (slope, -5.0)
        np.testing.assert_allclose(volume.affine, HEAD.affine, atol=1e-4)


def test_echoes_of_a_classic_series_are_volumes_of_their_own(tmp_path):
    for echo in (1, 2):

        def change(index, dataset, echo=echo):
            dataset.EchoTime = str(10 * echo)
            dataset.SOPInstanceUID = f"{UID}.9.{echo}.{index}"

        write_classic(tmp_path, Volume(HEAD.stored // echo, HEAD.affine), change=change, prefix=str(echo))
    found = [stack.read().stored for stack in only(tmp_path).stacks()]
    assert len(found) == 2 and np.array_equal(found[0], HEAD.stored) and np.array_equal(found[1], HEAD.stored // 2)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_compressed_files_are_read(tmp_path, syntax):
    head = make_phantom((64, 64, 4), (4.0, 4.0, 40.0), "LPS")
    write_classic(tmp_path, head)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.compress(syntax)
        dataset.save_as(path)
    assert np.array_equal(only(tmp_path).stacks()[0].read().stored, head.stored)


def test_jpeg_lossless_is_read(tmp_path):
    """What scanners compress with most; ITK writes it."""
    write_classic(tmp_path, HEAD)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        image = sitk.GetImageFromArray(dataset.pixel_array[None].astype(np.uint16))
        sitk.WriteImage(image, str(tmp_path.parent / "j.dcm"), useCompression=True, compressor="JPEG")
        compressed = pydicom.dcmread(tmp_path.parent / "j.dcm")
        dataset.file_meta.TransferSyntaxUID = compressed.file_meta.TransferSyntaxUID
        dataset.PixelData = compressed.PixelData
        dataset["PixelData"].is_undefined_length = True
        assert dataset.file_meta.TransferSyntaxUID == JPEGLosslessSV1
        dataset.save_as(path)
    assert np.array_equal(only(tmp_path).stacks()[0].read().stored, HEAD.stored)


def test_other_files_are_passed_over(tmp_path):
    write_classic(tmp_path, HEAD)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "README").write_text("no image")
    (tmp_path / ".DS_Store").write_bytes(b"\0\1\2")
    index = pydicom.Dataset()
    index.file_meta = pydicom.dataset.FileMetaDataset()
    index.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID, index.FileSetID = f"{UID}.9", "CD"
    index.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    assert len(only(tmp_path).files) == SHAPE[2]


@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 9], ids=["empty", "noise"])
@pytest.mark.parametrize("ending", [".dcm", "", ".7"])
def test_a_file_that_should_be_a_slice_and_is_none_is_refused(tmp_path, content, ending):
    """A slice at the end of a series would be missing without a word."""
    write_classic(tmp_path, HEAD)
    for path in tmp_path.iterdir():
        path.rename(path.with_suffix(ending))
    broken = tmp_path / f"doe_012{ending}"
    broken.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{broken} is ")) as error:
        find_series([tmp_path])
    assert_one_sentence(error)


@pytest.mark.parametrize("name", ["SOPInstanceUID", "PatientID", "SeriesInstanceUID"])
def test_a_file_that_ends_within_its_header_is_named(tmp_path, name):
    write_classic(tmp_path, HEAD)
    path = tmp_path / "doe_003.dcm"
    dataset = pydicom.dcmread(path)
    path.write_bytes(path.read_bytes()[: dataset.get_item(name, keep_deferred=True).value_tell])
    with pytest.raises(InputError, match="doe_003.dcm names no series") as error:
        find_series([tmp_path])
    assert_one_sentence(error)


def test_a_header_that_ends_after_the_series_is_no_reason_to_leave_the_series_out(tmp_path):
    write_classic(tmp_path, HEAD)
    path = tmp_path / "doe_001.dcm"
    place = pydicom.dcmread(path).get_item("SamplesPerPixel").value_tell
    path.write_bytes(path.read_bytes()[:place])
    assert only(tmp_path).kind == VOLUME and "doe_001.dcm does not say where" in refusal(tmp_path)


@pytest.mark.parametrize(("name", "value"), [("PatientID", "PID-4712"), ("PatientName", "ROE^JOHN")])
def test_a_series_of_two_patients_is_refused(tmp_path, name, value):
    def other(index, dataset):
        if index == 7:
            setattr(dataset, name, value)

    write_classic(tmp_path, HEAD, change=other)
    with pytest.raises(InputError, match="files of several patients .*doe_008.dcm has another name or ID") as error:
        find_series([tmp_path])
    assert_one_sentence(error)


def test_files_without_a_preamble_are_read(tmp_path):
    write_classic(tmp_path, HEAD)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        del dataset.file_meta, dataset.preamble
        dataset.save_as(path, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    assert np.array_equal(only(tmp_path).stacks()[0].read().stored, HEAD.stored)


# ---- refusals ----


def test_a_folder_without_dicom_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="holds no DICOM file") as error:
        find_series([tmp_path])
    assert_one_sentence(error)


def test_missing_slices_are_counted(tmp_path):
    write_classic(tmp_path, HEAD)
    for number in (5, 6):
        (tmp_path / f"doe_{number:03d}.dcm").unlink()
    place = pydicom.dcmread(tmp_path / "doe_004.dcm").ImagePositionPatient[2] + SPACING[2]
    where = f"at {place:.1f} mm along the normal of the slices, between doe_004.dcm and doe_007.dcm"
    assert f"lacks 2 slices (the first {where}): copy all files of it." in refusal(tmp_path)


def test_a_missing_frame_is_told_by_its_neighbours(tmp_path):
    def gap(_, dataset):
        for item in dataset.PerFrameFunctionalGroupsSequence[5:]:
            item.PlanePositionSequence[0].ImagePositionPatient[2] += SPACING[2]

    write_enhanced(tmp_path / "e.dcm", [HEAD], ["M"], change=gap)
    assert "between frames 5 and 6 of e.dcm): copy" in refusal(tmp_path)


def test_two_slices_at_one_place_are_refused(tmp_path):
    write_classic(tmp_path, HEAD)
    dataset = pydicom.dcmread(tmp_path / "doe_003.dcm")
    dataset.SOPInstanceUID += ".1"
    dataset.save_as(tmp_path / "again.dcm")
    assert "has 1 slice at the place of another one" in refusal(tmp_path)


def test_a_tilted_gantry_is_refused(tmp_path):
    def tilted(index, dataset):
        dataset.ImagePositionPatient[1] += 2.0 * index

    write_classic(tmp_path, HEAD, change=tilted)
    assert "tilted gantry (its slices are sheared by 8.1 degrees)" in refusal(tmp_path)


def test_uneven_slices_are_refused(tmp_path):
    def uneven(index, dataset):
        dataset.ImagePositionPatient[2] += 3.0 * (index == 5)

    write_classic(tmp_path, HEAD, change=uneven)
    assert "uneven distances (11.00 to 17.00 mm)" in refusal(tmp_path)


def test_a_mosaic_is_refused_by_name(tmp_path):
    def mosaic(_, dataset):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]

    write_classic(tmp_path, HEAD, change=mosaic)
    assert only(tmp_path).kind == MOSAIC and "holds mosaics" in refusal(tmp_path)


def test_localizers_are_known_by_their_type_their_directions_and_their_name(tmp_path):
    def typed(_, dataset):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    def turned(index, dataset):
        if index % 2:
            dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]

    def named(_, dataset):
        dataset.SeriesDescription = "3-plane scout"

    for name, change in (("type", typed), ("turned", turned), ("name", named)):
        write_classic(tmp_path / name, HEAD, change=change)
        assert only(tmp_path / name).kind == LOCALIZER
        assert "is a localizer" in refusal(tmp_path / name)


def test_a_secondary_capture_and_a_report_are_no_volumes(tmp_path):
    def capture(_, dataset):
        dataset.SOPClassUID = SecondaryCaptureImageStorage

    def report(_, dataset):
        for name in ("Rows", "Columns", "PixelData"):
            delattr(dataset, name)

    write_classic(tmp_path / "c", HEAD, change=capture)
    assert only(tmp_path / "c").kind == CAPTURE and "secondary capture" in refusal(tmp_path / "c")
    write_classic(tmp_path / "r", HEAD, change=report)
    assert only(tmp_path / "r").kind == OTHER and "holds no MR, CT or PET images" in refusal(tmp_path / "r")


def test_a_slice_without_a_place_and_one_alone_are_refused(tmp_path):
    def placeless(_, dataset):
        del dataset.ImagePositionPatient

    write_classic(tmp_path / "p", HEAD, change=placeless)
    with pytest.raises(InputError, match="ImagePositionPatient missing") as error:
        only(tmp_path / "p").stacks()
    assert_one_sentence(error)
    write_classic(tmp_path / "one", HEAD)
    for path in sorted((tmp_path / "one").iterdir())[1:]:
        path.unlink()
    assert "a single slice" in refusal(tmp_path / "one")


def test_images_of_several_sizes_are_refused(tmp_path):
    def small(index, dataset):
        if index == 3:
            dataset.Rows -= 1
            dataset.PixelData = dataset.PixelData[: -2 * dataset.Columns]

    write_classic(tmp_path, HEAD, change=small)
    assert "images of several sizes" in refusal(tmp_path)


def test_multi_frame_files_of_one_series_are_volumes_of_their_own(tmp_path):
    for number in (1, 2):

        def change(_, dataset, number=number):
            dataset.SOPInstanceUID = f"{UID}.8.{number}"

        write_enhanced(tmp_path / f"{number}.dcm", [Volume(HEAD.stored // number, HEAD.affine)], ["M"], change=change)
    found = [stack.read().stored for stack in only(tmp_path).stacks()]
    assert len(found) == 2 and np.array_equal(found[0], HEAD.stored) and np.array_equal(found[1], HEAD.stored // 2)


def test_graphics_in_the_pixels_are_told_of(tmp_path):
    def graphics(_, dataset):
        dataset.add_new(0x60000102, "US", 15)

    write_classic(tmp_path, HEAD, change=graphics)
    with pytest.raises(InputError, match="graphics in unused bits") as error:
        only(tmp_path).stacks()[0].read()
    assert_one_sentence(error)


def test_damaged_pixels_are_told_of(tmp_path):
    def cut(index, dataset):
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2 if index == 3 else None]

    write_classic(tmp_path, HEAD, change=cut)
    assert only(tmp_path).kind == VOLUME
    with pytest.raises(InputError, match="damaged") as error:
        only(tmp_path).stacks()[0].read()
    assert_one_sentence(error)
