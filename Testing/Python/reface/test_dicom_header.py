"""What DICOM headers say afterwards: nothing of the person, and what was done to them."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pydicom
import pytest

import RefaceLib
from helpers.dicomfiles import LEFT_BEHIND, PERSON, UID, write_classic, write_enhanced
from helpers.phantom import make_phantom
from RefaceLib.common.errors import PromiseError, RefaceError
from RefaceLib.dicom.anonymise import Anonymiser
from RefaceLib.dicom.series import find_series
from RefaceLib.dicom.writer import Edit, write_files

HEAD = make_phantom((16, 18, 4), (12.0, 12.0, 40.0), "LPS")


def written(tmp_path, anonymiser=None, *, change=None, enhanced=False):
    """The datasets of a series after it was written with a quarter of its voxels changed."""
    source, target = tmp_path / "DOE^JANE", tmp_path / "out"
    target.mkdir()
    if enhanced:
        source.mkdir()
        write_enhanced(source / "doe.dcm", [HEAD, HEAD], ["M", "P"], change=change)
    else:
        write_classic(source, HEAD, change=change)
    (series,) = find_series([source])
    mask = np.zeros(HEAD.stored.shape, dtype=bool)
    mask[:8, :9] = True
    edits = [Edit(stack, np.full_like(stack.read().stored, 77), mask) for stack in series.stacks()]
    paths = write_files(series, edits, target, anonymiser or Anonymiser(), "refaced")
    return [pydicom.dcmread(path) for path in paths], b"".join(path.read_bytes() for path in paths), mask


def written_unchanged(source, target):
    """The files of the one series in `source`, written into the new folder `target` without a new number."""
    (series,) = find_series([source])
    target.mkdir()
    nothing = np.zeros(HEAD.stored.shape, dtype=bool)
    edits = [Edit(stack, stack.read().stored, nothing) for stack in series.stacks()]
    return write_files(series, edits, target, Anonymiser(), "refaced")


@pytest.mark.parametrize("enhanced", [False, True])
def test_nothing_of_the_person_is_left_in_any_byte(tmp_path, enhanced):
    anonymiser = Anonymiser()
    datasets, content, _ = written(tmp_path, anonymiser, enhanced=enhanced)
    assert [words for words in LEFT_BEHIND if words in content] == []
    assert not any(element.tag.is_private for dataset in datasets for element in dataset.iterall())
    assert anonymiser.private == {"DOE SCANNER": len(datasets)}
    assert anonymiser.cleaned == {"ReceiveCoilName": len(datasets)}


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_header_says_what_was_done(tmp_path, enhanced):
    for dataset in written(tmp_path, enhanced=enhanced)[0]:
        assert dataset.PatientIdentityRemoved == "YES" and "PS3.15" in dataset.DeidentificationMethod
        assert [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence] == ["113100", "113102"]
        assert dataset.RecognizableVisualFeatures == dataset.BurnedInAnnotation == "NO"
        assert dataset.ImageType[0] == "DERIVED" and dataset.SeriesDescription == "refaced"
        assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
        (equipment,) = dataset.ContributingEquipmentSequence
        assert equipment.ContributionDescription.startswith(f"Reface {RefaceLib.__version__}: ")
        assert "ManufacturerModelName" not in equipment and "SoftwareVersions" not in equipment
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109104"
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        for frame in dataset.get("PerFrameFunctionalGroupsSequence", []):
            assert frame.MRImageFrameTypeSequence[0].FrameType[0] == "DERIVED"


def test_new_uids_are_the_same_in_all_of_a_study_and_differ_in_the_next(tmp_path):
    datasets, *_ = written(tmp_path)
    first = datasets[0]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        (uid,) = {dataset[name].value for dataset in datasets}
        assert uid.startswith("2.25.") and len(uid) <= 64
    assert len({dataset.SOPInstanceUID for dataset in datasets}) == len(datasets)
    assert datasets[3].ReferencedImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert first.SOPClassUID == pydicom.uid.MRImageStorage
    (tmp_path / "again").mkdir()
    assert written(tmp_path / "again")[0][0].StudyInstanceUID != first.StudyInstanceUID


def test_dates_are_removed_shifted_or_kept(tmp_path):
    def date_of(dates):
        folder = tmp_path / dates
        folder.mkdir()
        datasets, *_ = written(folder, Anonymiser(dates=dates))
        assert len({dataset.get("AcquisitionDate") for dataset in datasets}) == 1
        assert datasets[0].PatientBirthDate == "" and "PatientAge" not in datasets[0]
        codes = [item.CodeValue for item in datasets[0].DeidentificationMethodCodeSequence]
        return datasets[0], codes

    removed, _ = date_of("remove")
    assert removed.StudyDate == removed.StudyTime == "" and "SeriesDate" not in removed
    kept, codes = date_of("keep")
    assert kept.StudyDate == "20010203" and kept.StudyTime == "101112" and "113106" in codes
    shifted, codes = date_of("shift")
    assert re.fullmatch(r"\d{8}", shifted.StudyDate) and shifted.StudyDate < "20010203" and "113107" in codes
    assert shifted.StudyTime == "101112" and shifted.AcquisitionDateTime == shifted.StudyDate + "101112"
    assert shifted.LongitudinalTemporalInformationModified == "MODIFIED"


def test_the_device_is_kept_on_request(tmp_path):
    def device(_, dataset):
        dataset.DeviceUID = f"{UID}.5"

    (dataset, *_), *_ = written(tmp_path, Anonymiser(keep_device=True, subject="sub-01"), change=device)
    assert dataset.DeviceUID == f"{UID}.5"
    assert (dataset.DeviceSerialNumber, dataset.StationName) == ("SN12345", "STATION1")
    assert "113109" in [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]
    assert dataset.PatientID == dataset.PatientName == "sub-01"


def test_what_the_scan_was_stays(tmp_path):
    def protocol(_, dataset):
        dataset.RepetitionTime, dataset.EchoTime, dataset.MagneticFieldStrength = "2300", "2.98", "3"

    for dataset in written(tmp_path, change=protocol)[0]:
        assert (dataset.RepetitionTime, dataset.EchoTime, dataset.MagneticFieldStrength) == (2300, 2.98, 3)


def test_graphics_over_the_image_are_removed(tmp_path):
    def overlay(_, dataset):
        dataset.add_new(0x60000010, "US", 18)
        dataset.add_new(0x60003000, "OW", b"DOE^" * 10)
        dataset.add_new(0x00880200, "SQ", [pydicom.Dataset()])  # an icon shows the face

    for dataset in written(tmp_path, change=overlay)[0]:
        assert not [element for element in dataset if element.tag.group == 0x6000]
        assert "IconImageSequence" not in dataset


def test_a_name_in_a_file_of_the_study_is_found_in_the_texts_of_others(tmp_path):
    anonymiser = Anonymiser()
    header = pydicom.Dataset()
    header.PatientName = "MUSTERMANN^ERIKA"
    anonymiser.learn(header)

    def told(_, dataset):
        dataset.ReceiveCoilName, dataset.TransmitCoilName = "for Erika", "body"

    for dataset in written(tmp_path, anonymiser, change=told)[0]:
        assert "ReceiveCoilName" not in dataset and dataset.TransmitCoilName == "body"


def test_a_date_and_an_id_in_the_texts_of_others_are_found(tmp_path):
    def told(_, dataset):
        dataset.ReceiveCoilName, dataset.TransmitCoilName = "c20010203", "PID-4711b"
        dataset.SoftwareVersions = ["5.7", "5.8"]

    for dataset in written(tmp_path, change=told)[0]:
        assert "ReceiveCoilName" not in dataset and "TransmitCoilName" not in dataset
        assert dataset.SoftwareVersions == ["5.7", "5.8"]


def test_names_and_dates_are_found_in_codes_and_in_other_spellings(tmp_path):
    def told(_, dataset):
        dataset.PatientName, dataset.PatientBirthDate = "Wi\u015bniewska^\u017baneta", "19431117"
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.BodyPartExamined, dataset.ScanOptions = "HEADWISNIEWSKA", ["FS", "PFP"]
        dataset.ReceiveCoilName, dataset.TransmitCoilName = "for Zaneta", "17.11.1943"
        dataset.SequenceName, dataset.PulseSequenceName = "WisniewskaZ", "*tfl3d1"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "WISNIEWSKA"]

    for dataset in written(tmp_path, change=told)[0]:
        gone = ("BodyPartExamined", "ReceiveCoilName", "TransmitCoilName", "SequenceName")
        assert not [name for name in gone if name in dataset]
        assert list(dataset.ScanOptions) == ["FS", "PFP"] and dataset.PulseSequenceName == "*tfl3d1"
        assert list(dataset.ImageType) == ["DERIVED", "PRIMARY", "M"] and dataset.Modality == "MR"


@pytest.mark.parametrize("name", ["Philip^Row", "SIEMENS^BRAIN", "None^Mixed", "Iso^Norm"])
def test_a_term_of_the_standard_and_a_vendor_tell_nobody(tmp_path, name):
    def told(_, dataset):
        dataset.PatientName, dataset.SpecificCharacterSet = name, "ISO_IR 192"
        dataset.Manufacturer = "Siemens Healthineers" if "SIEMENS" in name else "Philips Medical Systems"
        dataset.BodyPartExamined, dataset.InPlanePhaseEncodingDirection = "BRAIN", "ROW"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
        dataset.TransmitCoilName = "頭部"

    anonymiser = Anonymiser()
    for dataset in written(tmp_path, anonymiser, change=told)[0]:
        assert dataset.BodyPartExamined == "BRAIN" and dataset.InPlanePhaseEncodingDirection == "ROW"
        assert "NORM" in dataset.ImageType and dataset.Manufacturer.split()[-1] in ("Systems", "Healthineers")
        assert dataset.SpecificCharacterSet == "ISO_IR 192" and dataset.TransmitCoilName == "頭部"
    assert set(anonymiser.cleaned) <= {"ReceiveCoilName"}  # which names the operator in all of these files


def test_of_a_manufacturer_that_names_a_person_the_vendor_stays(tmp_path):
    def told(_, dataset):
        dataset.PatientName, dataset.Manufacturer = "Doe^Jane", "SIEMENS, by Jane"

    for dataset in written(tmp_path, change=told)[0]:
        assert dataset.Manufacturer == "Siemens"


def test_what_the_last_file_tells_is_found_in_the_first(tmp_path):
    def told(index, dataset):
        if index == HEAD.stored.shape[2] - 1:
            dataset.OperatorsName, dataset.AccessionNumber = "Musterfrau^Erika", "ACC-7788"
            dataset.AcquisitionDateTime = "20030919101112.5"
        dataset.ReceiveCoilName, dataset.TransmitCoilName = "by Musterfrau", "acc7788"
        dataset.SequenceName = "E11 2003-09-19"

    for dataset in written(tmp_path, change=told)[0]:
        assert not {"ReceiveCoilName", "TransmitCoilName", "SequenceName"} & set(dataset.dir())


def test_a_birth_date_and_uids_are_found_in_texts_though_dates_are_kept(tmp_path):
    def told(_, dataset):
        dataset.PatientBirthDate, dataset.StudyDate = "19560704", "20010203"
        dataset.ReceiveCoilName, dataset.TransmitCoilName = "04-Jul-1956", "of 3.2.2001"
        dataset.SequenceName, dataset.StationName = f"{UID}.4.5.6.7", "MRHOST77"
        dataset.PulseSequenceName = "at mrhost77"

    for dataset in written(tmp_path, Anonymiser(dates="keep"), change=told)[0]:
        assert [dataset.get(name) for name in ("ReceiveCoilName", "SequenceName", "PulseSequenceName")] == [None] * 3
        assert dataset.TransmitCoilName == "of 3.2.2001"


def test_a_private_creator_that_names_a_person_is_unknown_in_a_report(tmp_path):
    def told(_, dataset):
        dataset.OperatorsName = "Musterfrau^Erika"
        dataset.private_block(0x0099, "for Musterfrau", create=True).add_new(1, "LO", "x")

    anonymiser = Anonymiser()
    written(tmp_path, anonymiser, change=told)
    assert "Musterfrau" not in str(anonymiser.private_creators()) and "unknown" in anonymiser.private_creators()


def test_each_of_several_ids_is_found_in_the_texts_of_others(tmp_path):
    def told(_, dataset):
        dataset.OtherPatientIDs = ["HOSP-77", "XA123"]
        dataset.ReceiveCoilName, dataset.TransmitCoilName = "for hosp-77", "of xa123"

    for dataset in written(tmp_path, change=told)[0]:
        assert "ReceiveCoilName" not in dataset and "TransmitCoilName" not in dataset


def test_what_the_standard_does_not_know_is_removed_and_counted(tmp_path):
    def unknown(_, dataset):
        dataset.add_new(0x00189999, "LO", "a neighbour's name")
        dataset.ReferencedImageSequence[0].add_new(0x00189998, "DS", "1956")
        dataset.ReceiveCoilName = "head"

    anonymiser = Anonymiser()
    datasets, *_ = written(tmp_path, anonymiser, change=unknown)
    assert not any(element.tag in (0x00189999, 0x00189998) for one in datasets for element in one.iterall())
    assert anonymiser.cleaned == {"(0018,9999)": len(datasets), "(0018,9998)": len(datasets)}


def test_what_cannot_be_read_is_removed(tmp_path):
    def broken(_, dataset):
        dataset.EchoTime = "2.98"
        tag = pydicom.tag.Tag("AcquisitionDuration")
        dataset._dict[tag] = pydicom.dataelem.RawDataElement(tag, "FD", 4, b"nine", 0, False, True)

    for dataset in written(tmp_path, change=broken)[0]:
        assert "AcquisitionDuration" not in dataset and dataset.EchoTime == 2.98


# ---- pixels ----


@pytest.mark.parametrize("enhanced", [False, True])
def test_voxels_outside_the_mask_keep_their_numbers(tmp_path, enhanced):
    datasets, _, mask = written(tmp_path, enhanced=enhanced)
    planes = np.concatenate([dataset.pixel_array.reshape(-1, 18, 16) for dataset in datasets])
    for index, plane in enumerate(planes):
        k = index // 2 if enhanced else index
        expected = np.where(mask[:, :, k], 77, HEAD.stored[:, :, k]).T
        assert np.array_equal(plane, expected)


def test_new_numbers_fit_into_the_bits_that_are_stored(tmp_path):
    def six_bits(_, dataset):
        dataset.PixelData = (dataset.pixel_array % 64).tobytes()
        dataset.BitsStored, dataset.HighBit = 6, 5

    for dataset in written(tmp_path, change=six_bits)[0]:
        assert dataset.pixel_array.max() == 63 and dataset.BitsStored == 6


def test_what_was_compressed_is_written_uncompressed_and_losses_stay_said(tmp_path):
    def compressed(index, dataset):
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = "10"
        dataset.compress(pydicom.uid.RLELossless)

    source, target = tmp_path / "in", tmp_path / "out"
    write_classic(source, HEAD)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        compressed(0, dataset)
        dataset.save_as(path)
    for index, path in enumerate(written_unchanged(source, target)):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert dataset.LossyImageCompression == "01" and dataset.LossyImageCompressionRatio == 10
        assert np.array_equal(dataset.pixel_array, HEAD.stored[:, :, index].T)


def test_big_endian_becomes_little_endian(tmp_path):
    source, target = tmp_path / "in", tmp_path / "out"
    write_classic(source, HEAD)
    for path in source.iterdir():
        dataset = pydicom.dcmread(path)
        numbers = dataset.pixel_array
        dataset.PixelData = numbers.astype(">u2").tobytes()
        dataset.EffectiveEchoTime, dataset.LUTData = 2.5, b"ab"
        dataset["LUTData"].VR = "OW"
        dataset.remove_private_tags()
        list(dataset.iterall())
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    for index, path in enumerate(written_unchanged(source, target)):
        dataset = pydicom.dcmread(path)
        assert np.array_equal(dataset.pixel_array, HEAD.stored[:, :, index].T)
        assert (dataset.EffectiveEchoTime, dataset.Rows, "LUTData" in dataset) == (2.5, 18, False)


def test_an_image_without_an_edit_is_never_written(tmp_path):
    write_enhanced(tmp_path / "e.dcm", [HEAD, HEAD], ["M", "P"])
    (series,) = find_series([tmp_path / "e.dcm"])
    stack = series.stacks()[0]
    (tmp_path / "out").mkdir()
    edit = Edit(stack, HEAD.stored, np.ones(HEAD.stored.shape, dtype=bool))
    with pytest.raises(PromiseError, match="4 of its images would keep their face"):
        write_files(series, [edit], tmp_path / "out", Anonymiser(), "refaced")
    assert not list((tmp_path / "out").iterdir())


def test_damaged_bytes_never_end_in_an_error_of_the_program(tmp_path):
    """Whatever is read is written, or refused in one sentence."""
    random = np.random.default_rng(7)
    write_classic(tmp_path / "whole", HEAD)
    done = {"written": 0, "refused": 0}
    for number in range(40):
        folder, target = tmp_path / f"in{number}", tmp_path / f"out{number}"
        shutil.copytree(tmp_path / "whole", folder)
        target.mkdir()
        path = folder / "doe_002.dcm"
        content = bytearray(path.read_bytes())
        for place in random.integers(132, len(content) - 600, 3):
            content[place] = random.integers(256)
        path.write_bytes(content)
        try:
            for series in find_series([folder]):
                volumes = [(stack, stack.read().stored) for stack in series.stacks()]
                edits = [Edit(stack, stored, np.zeros(stored.shape, dtype=bool)) for stack, stored in volumes]
                write_files(series, edits, target, Anonymiser(), "refaced")
            done["written"] += 1
        except RefaceError as error:
            assert "\n" not in str(error) and str(error).endswith(".")
            done["refused"] += 1
    assert min(done.values()) > 3, done


def test_the_invented_person_is_in_the_inputs(tmp_path):
    content = write_enhanced(tmp_path / "e.dcm", [HEAD], ["M"]).read_bytes()
    assert [words for words in LEFT_BEHIND if words not in content] == []
    assert PERSON["PatientName"] and UID.encode() in content
