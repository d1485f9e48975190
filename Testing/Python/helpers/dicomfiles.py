"""DICOM series of any volume, classic and enhanced, with a person in their headers: all of it invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage

from RefaceLib.dicom.newseries import write_new_series
from RefaceLib.dicom.writer import encoded
from RefaceLib.volume.io import Volume

UID = "1.2.999"  # of the invented scanner
PERSON = {
    "PatientName": "DOE^JANE^QUENTIN", "PatientID": "PID-4711", "PatientBirthDate": "19560704", "PatientAge": "044Y",
    "ReferringPhysicianName": "ROE^RICHARD", "InstitutionName": "St Fiction Hospital", "StationName": "STATION1",
    "AccessionNumber": "ACC-0815", "StudyID": "STUDY-1", "StudyDate": "20010203", "SeriesDate": "20010203",
    "AcquisitionDate": "20010203", "ContentDate": "20010203", "StudyTime": "101112", "DeviceSerialNumber": "SN12345",
    "StudyDescription": "Head MRI of Doe", "SeriesDescription": "t1 for Jane", "ProtocolName": "Fiction protocol",
    "ImageComments": "moved", "AcquisitionDateTime": "20010203101112",
    "ReceiveCoilName": "coil of Quentin",  # a text that the standard's table leaves
}  # fmt: skip
LEFT_BEHIND = (  # what must not be in any byte of an output
    b"DOE", b"Doe", b"JANE", b"Jane", b"QUENTIN", b"Quentin", b"ROE", b"PID-4711", b"19560704", b"20010203", b"Fiction",
    b"STATION1", b"ACC-0815", b"STUDY-1", b"SN12345", UID.encode() + b".",
)  # fmt: skip

Change = Callable[[int, Dataset], None]


def write_classic(
    folder: Path, volume: Volume, *, number: int = 1, change: Change | None = None, prefix: str = ""
) -> Path:
    """A classic series in the folder (made where it is missing); ``change`` is called with every index and dataset."""
    folder.mkdir(exist_ok=True, parents=True)
    for index, path in enumerate(write_new_series(volume, folder, "")):
        dataset = pydicom.dcmread(path)
        name_person(dataset)
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        dataset.SeriesNumber, dataset.SeriesInstanceUID = number, f"{UID}.3.{number}"
        dataset.SOPInstanceUID = f"{UID}.4.{number}.{index + 1}"
        if change:
            change(index, dataset)
        path.unlink()
        (folder / f"{prefix}doe_{index + 1:03d}.dcm").write_bytes(encoded(dataset))
    return folder


def name_person(dataset: Dataset) -> None:
    for name in ("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
                 "ContributingEquipmentSequence", "RecognizableVisualFeatures"):  # fmt: skip
        delattr(dataset, name)
    for name, value in PERSON.items():
        setattr(dataset, name, value)
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = f"{UID}.1", f"{UID}.2"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, f"{UID}.4.1.1"
    reference.PatientName = PERSON["PatientName"]  # within a sequence
    dataset.ReferencedImageSequence = [reference]
    block = dataset.private_block(0x0029, "DOE SCANNER", create=True)
    block.add_new(1, "LO", "DOE^JANE")


def write_enhanced(path: Path, volumes: list[Volume], types: list[str], *, change: Change | None = None) -> Path:
    """One enhanced multi-frame file of volumes on one grid; ``types`` are their complex components ("M", "P")."""
    folder = path.parent / f"{path.stem}_classic"
    write_classic(folder, volumes[0])
    sources = [pydicom.dcmread(each) for each in sorted(folder.iterdir())]
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()
    dataset = sources[0]
    dataset.SOPClassUID = EnhancedMRImageStorage
    shared, frames, planes = Dataset(), [], []
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=dataset.ImageOrientationPatient)]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=dataset.PixelSpacing, SliceThickness=dataset.SliceThickness)]
    for index, source in enumerate(sources):
        for stack, (volume, kind) in enumerate(zip(volumes, types, strict=True)):
            frame = Dataset()
            frame.PlanePositionSequence = [_item(ImagePositionPatient=source.ImagePositionPatient)]
            kinds = {"ComplexImageComponent": {"M": "MAGNITUDE", "P": "PHASE"}[kind]}
            frame.MRImageFrameTypeSequence = [_item(FrameType=["ORIGINAL", "PRIMARY", "T1", kind], **kinds)]
            frame.MREchoSequence = [_item(EffectiveEchoTime=2.0 + stack)]
            frame.FrameContentSequence = [_item(FrameAcquisitionDateTime="20010203101112", StackID="1")]
            frame.PixelValueTransformationSequence = [
                _item(RescaleSlope=str(1.0 + stack), RescaleIntercept="-5", RescaleType="US")
            ]
            frames.append(frame)
            planes.append(volume.stored[:, :, index].T)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], frames
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "EchoTime"):
        delattr(dataset, name)
    dataset.NumberOfFrames = len(planes)
    dataset.PixelData = np.array(planes, np.int16 if dataset.PixelRepresentation else np.uint16).tobytes()
    if change:
        change(0, dataset)
    path.write_bytes(encoded(dataset))
    return path


def _item(**values) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item
