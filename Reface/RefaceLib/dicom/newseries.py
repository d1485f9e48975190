"""A volume that came from no DICOM files as a new classic MR series, with a header that says as little as it may."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import OutputError
from RefaceLib.dicom.anonymise import Anonymiser
from RefaceLib.dicom.pixels import put_numbers
from RefaceLib.dicom.writer import encoded
from RefaceLib.volume.geometry import voxel_sizes
from RefaceLib.volume.io import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_SHEARED = 1e-3  # of a unit length; DICOM slices are at right angles to their rows and columns


def write_new_series(
    volume: Volume, folder: Path, description: str, anonymiser: Anonymiser | None = None, number: int = 1
) -> list[Path]:
    """Write ``volume`` into the ``folder``, a file a slice along its third axis; the files.

    New series with one ``anonymiser`` are of one study, in which each has a ``number`` of its own.
    Raises OutputError where its numbers do not fit into 16 bits, or its axes are not at right angles.
    """
    numbers = _sixteen_bits(volume.stored)
    template = _template(volume, numbers, description)
    directions = volume.affine[:3, :3] / voxel_sizes(volume.affine) * _RAS_TO_LPS[:, None]
    if not np.allclose(directions.T @ directions, np.eye(3), atol=_SHEARED):
        raise OutputError("The axes of this volume are not at right angles: save it as NIfTI or NRRD.")
    template.ImageOrientationPatient = [_decimal(number) for number in directions[:, :2].T.ravel()]
    anonymiser = anonymiser or Anonymiser()
    anonymiser.mark(template)
    template.StudyInstanceUID, template.SeriesNumber = anonymiser.new_uid("study of new series"), number
    written = []
    for index in range(numbers.shape[2]):
        position = (volume.affine @ [0, 0, index, 1])[:3] * _RAS_TO_LPS
        template.SOPInstanceUID = anonymiser.new_uid(f"instance {number}.{index}")
        template.InstanceNumber = index + 1
        template.ImagePositionPatient = [_decimal(number) for number in position]
        put_numbers(template, numbers[None, :, :, index].transpose(0, 2, 1))
        target = folder / f"IM{index + 1:06d}.dcm"
        target.write_bytes(encoded(template))
        written.append(target)
    return written


def _sixteen_bits(stored: np.ndarray) -> np.ndarray:
    if stored.dtype.kind == "f":
        raise OutputError("DICOM holds whole numbers only: save this volume as NIfTI or NRRD.")
    low, high = int(stored.min()), int(stored.max())
    for dtype in (np.uint16, np.int16):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return stored.astype(dtype)
    raise OutputError("DICOM holds numbers of 16 bits, and this volume has larger ones: save it as NIfTI or NRRD.")


def _template(volume: Volume, numbers: np.ndarray, description: str) -> Dataset:
    """What all slices have in common: the attributes that a classic MR image must have."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.Modality = MRImageStorage, "MR"
    for name in ("SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, name, generate_uid(prefix=None))
    for name in (
        "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientBirthDate",
        "PatientSex", "PositionReferenceIndicator", "ScanOptions", "MRAcquisitionType", "RepetitionTime", "EchoTime",
        "EchoTrainLength", "PatientPosition",
    ):  # fmt: skip
        setattr(dataset, name, None)  # must be there, may be empty
    dataset.Manufacturer, dataset.SeriesDescription = "Reface", description
    dataset.BodyPartExamined = "HEAD"  # it is no paired part, of which the side would have to be told
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.ScanningSequence, dataset.SequenceVariant = "RM", "NONE"
    sizes = [_decimal(size) for size in voxel_sizes(volume.affine)]
    dataset.PixelSpacing = [sizes[1], sizes[0]]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = sizes[2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Columns, dataset.Rows = numbers.shape[:2]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(numbers.dtype.kind == "i")
    return dataset


def _decimal(number: float) -> str:
    """A number as the 16 characters of a decimal string hold it."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(number) + 0.0)
