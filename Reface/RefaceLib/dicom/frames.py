"""One 2D image of a DICOM file, classic or a frame of an enhanced multi-frame object: where it lies, what it means.

Read with pydicom, which 3D Slicer ships too. Readers of whole volumes (GDCM in SimpleITK, highdicom, dicom2nifti) give
rescaled values or do not tell which file and frame a voxel came from, and the voxels are to go back there.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import InputError, RefaceError
from RefaceLib.dicom.anonymise import telling_keywords

if TYPE_CHECKING:
    from pydicom import Dataset

# What tells images at one place from each other, in the order in which a series is taken apart by it.
TELLS = (
    "ImageType", "FrameType", "ComplexImageComponent", "EffectiveEchoTime", "EchoTime", "EchoNumbers",
    "InversionTimes", "InversionTime", "FlipAngle", "DiffusionBValue",
    "DiffusionGradientOrientation", "TemporalPositionIndex", "TemporalPositionIdentifier", "StackID", "ReceiveCoilName",
    "ConvolutionKernel", "AcquisitionNumber", "NominalCardiacTriggerDelayTime", "TriggerTime", "AcquisitionTime",
    "SOPInstanceUID",  # of multi-frame files, each a volume
)  # fmt: skip
_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_VALUES = ("RescaleSlope", "RescaleIntercept")
_FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_PIXEL_DATA = 0x7FE00010
_WANTED = frozenset((*TELLS, *_PLACE, *_VALUES))
# What is kept in memory of every file of a study; private elements alone may have 100 kB a file.
_HEADER = (
    *_WANTED, *_FUNCTIONAL_GROUPS, "SpecificCharacterSet", "SOPClassUID", "SeriesInstanceUID",
    "StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID", "Modality", "SeriesNumber", "InstanceNumber",
    "SeriesDescription", "ProtocolName", "ConversionType", "BurnedInAnnotation", "MRAcquisitionType", "NumberOfFrames",
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Frame:
    """Frame ``index`` of the file ``path``.

    ``position`` (3,) is the centre of its first pixel and ``orientation`` (2, 3) the directions of increasing column
    and row, all in LPS; ``spacing`` (2,) is the distance of columns and rows in mm; ``size`` (columns, rows). A value
    is stored * ``slope`` + ``inter``. ``tells`` are those of TELLS that the file has, as text.
    """

    path: Path
    index: int
    position: np.ndarray
    orientation: np.ndarray
    spacing: np.ndarray
    size: tuple[int, int]
    slope: float
    inter: float
    tells: dict[str, str]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[0], self.orientation[1])

    @property
    def kinds(self) -> set[str]:
        """The words by which the file says what kind of image it is, in capitals."""
        told = (self.tells.get(key, "") for key in ("ImageType", "FrameType", "ComplexImageComponent"))
        return set(re.findall(r"\w+", " ".join(told).upper()))


def read_header(path: Path) -> Dataset | None:
    """What is needed of the header of a DICOM file, without its pixels; None for any other file.

    None also for an index of files (DICOMDIR). Raises InputError where the file cannot be read, or names no series.
    """
    from pydicom.uid import MediaStorageDirectoryStorage

    header = _read(path, stop_before_pixels=True, specific_tags=[*_HEADER, *telling_keywords()])
    if header is None:
        return None
    with reading(path):
        kinds = header.get("SOPClassUID"), header.file_meta.get("MediaStorageSOPClassUID")
    if MediaStorageDirectoryStorage in kinds:
        return None
    if not header.get("SOPClassUID") or not header.get("SeriesInstanceUID"):
        raise InputError(f"{path} names no series (a header that is cut has none): copy the file again, or remove it.")
    return header


def read_dataset(path: Path) -> Dataset:
    """All of a DICOM file; InputError where it cannot be read any more."""
    dataset = _read(path)
    if dataset is None:
        raise InputError(f"{path} is no DICOM file any more: copy it again.")
    if dataset.original_encoding[1] is False:  # big endian: pydicom would write words other than pixels as they are
        for tag in [tag for tag in dataset.keys() if tag != _PIXEL_DATA and dataset.get_item(tag).VR == "OW"]:
            del dataset[tag]
    return dataset


def _drop_unreadable(dataset: Dataset) -> None:
    """Remove elements whose value is none of its type: what cannot be read cannot be anonymised."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
        except Exception:  # whatever pydicom meets in it
            del dataset[tag]
            continue
        for item in element.value if element.VR == "SQ" else ():
            _drop_unreadable(item)


def _read(path: Path, **options: Any) -> Dataset | None:
    """A DICOM file, with or without the preamble by which it is known; None for any other file."""
    import pydicom
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    with reading(path):
        try:
            dataset = pydicom.dcmread(path, **options)
        except InvalidDicomError:
            dataset = None
    if dataset is None:
        try:
            dataset = pydicom.dcmread(path, force=True, **options)
        except Exception:  # whatever else it is
            return None
        if "SOPClassUID" not in dataset or "SOPInstanceUID" not in dataset:
            return None
    with reading(path):
        _drop_unreadable(dataset)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what reading a DICOM file may raise into InputError."""
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom tells of every value that breaks a rule; the scanner wrote it
            yield
    except (RefaceError, InvalidDicomError, MemoryError):
        raise
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or type(error).__name__}): check the disk."
        ) from error
    except Exception as error:  # whatever a damaged file makes a decoder raise
        raise InputError(f"{path} is damaged or has pixels that cannot be decoded: copy or export it again.") from error


def frames_of(path: Path, header: Dataset) -> list[Frame]:
    """The frames of a file; InputError where one of them does not say where it lies."""
    with reading(path):
        count = int(header.get("NumberOfFrames") or 1)
        if _FUNCTIONAL_GROUPS[1] not in header:
            if count > 1:
                raise InputError(f"{path} has {count} frames but no place for each: export it as single images.")
            return [_frame(path, 0, header, _classic(header))]
        shared, each = (header.get(name) or [] for name in _FUNCTIONAL_GROUPS)
        if len(each) != count:
            raise InputError(f"{path} has {count} frames and describes {len(each)} of them: export it again.")
        common = _classic(header)
        for item in shared:
            common |= _flat(item)
        return [_frame(path, index, header, common | _flat(item)) for index, item in enumerate(each)]


def _classic(header: Dataset) -> dict[str, Any]:
    return {name: header.get(name) for name in (*TELLS, *_PLACE, *_VALUES) if header.get(name) not in (None, "")}


def _flat(item: Dataset) -> dict[str, Any]:
    """The elements of interest of a functional group and of the sequences within it, without private ones."""
    found: dict[str, Any] = {}
    for element in item:
        if element.VR == "SQ" and not element.tag.is_private:
            if element.keyword != "RealWorldValueMappingSequence":
                for nested in element.value:
                    found |= _flat(nested)
        elif element.keyword in _WANTED and not element.is_empty:
            found[element.keyword] = element.value
    return found


def _frame(path: Path, index: int, header: Dataset, about: dict[str, Any]) -> Frame:
    missing = [name for name in _PLACE if about.get(name) in (None, "")]
    if missing or not header.get("Rows") or not header.get("Columns"):
        raise InputError(f"{path} does not say where its image lies ({', '.join(missing)} missing): export it again.")
    orientation = np.array([float(number) for number in about["ImageOrientationPatient"]]).reshape(2, 3)
    position = np.array([float(number) for number in about["ImagePositionPatient"]])
    row_spacing, column_spacing = (float(number) for number in about["PixelSpacing"])
    size = int(header.Columns), int(header.Rows)
    slope, inter = float(about.get("RescaleSlope", 1.0)), float(about.get("RescaleIntercept", 0.0))
    unit = np.allclose(orientation @ orientation.T, np.eye(2), atol=1e-3)  # refuses NaN too
    if not unit or not np.isfinite(position).all() or position.shape != (3,) or not slope:
        raise InputError(f"{path} has an orientation, position or scale that cannot be used: export it again.")
    tells = {name: str(about[name]) for name in TELLS if name in about}
    return Frame(path, index, position, orientation, np.array([column_spacing, row_spacing]), size, slope, inter, tells)
