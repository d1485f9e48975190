"""Finds the series in a folder of DICOM files, takes each apart into stacks of slices, and reads these as volumes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.dicom.frames import TELLS, Frame, frames_of, read_header
from RefaceLib.dicom.pixels import read_numbers
from RefaceLib.volume.header import checked_fields
from RefaceLib.volume.io import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

VOLUME, LOCALIZER, CAPTURE, MOSAIC, OTHER = "volume", "localizer", "secondary capture", "mosaic", "no scan"

_SCANS = ("MR", "CT", "PT")
_SAME_PLACE_MM = 0.01
_TURNED = 1e-3  # of a direction's unit length: more is another orientation
_TILT_DEGREES = 0.5
_UNEVEN = 0.05  # of the distance of slices
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_FEW = 30  # slices; what is called a localizer and has more is a volume
# Why a series is no volume.
NO_VOLUME = {
    LOCALIZER: "is a localizer, not a volume",
    CAPTURE: "is a secondary capture or a colour picture",
    OTHER: "holds no MR, CT or PET images",
    MOSAIC: "holds mosaics (all slices of a volume tiled in one image), which cannot be written back",
}
_FIRST_OF_TEXT = 9  # the tabulator: smaller bytes are in no text
_DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
_LOCALIZER_NAMES = (
    "localizer",
    "localiser",
    "scout",
    "survey",
    "topogram",
    "surview",
    "scanogram",
    "3-plane",
    "3plane",
)


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of a volume in order, and its ``affine`` (IJK to RAS); ``name`` is what errors call its series."""

    name: str
    frames: tuple[Frame, ...]
    affine: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.frames[0].size, len(self.frames))

    def read(self) -> Volume:
        """The volume, (columns, rows, slices): stored numbers with one scale, or values (float32) where it varies."""
        numbers = read_numbers(self.frames)
        scales = {(frame.slope, frame.inter) for frame in self.frames}
        if len(scales) == 1:
            slope, inter = scales.pop()
        else:  # each slice has its own scale, as in PET
            slope, inter = 1.0, 0.0
            factors, offsets = (np.array([getattr(f, name) for f in self.frames]) for name in ("slope", "inter"))
            numbers = (numbers * factors + offsets).astype(np.float32)
        dtype, _, affine = checked_fields(self.name, numbers.dtype, numbers.shape, self.affine)
        return Volume(numbers, affine, slope, inter)

    def same_grid(self, other: Stack) -> bool:
        return self.shape == other.shape and np.allclose(self.affine, other.affine, atol=1e-3)


@dataclass(frozen=True, eq=False)
class Series:
    """Files of one series, with their headers (no pixels), in the order of their instance numbers."""

    uid: str
    files: tuple[tuple[Path, Dataset], ...]

    @property
    def first(self) -> Dataset:
        return self.files[0][1]

    @property
    def number(self) -> str:
        return str(self.first.get("SeriesNumber") or "without a number")

    @property
    def modality(self) -> str:
        return str(self.first.get("Modality") or "")

    @property
    def world(self) -> str:
        """The frame of reference: places in two series can be compared where it is the same."""
        return str(self.first.get("FrameOfReferenceUID") or "")

    @property
    def name(self) -> str:
        """What messages call the series: nothing that a person typed."""
        return f"Series {self.number} ({self.modality or 'no modality'}, {_counted(len(self.files), 'file')})"

    @property
    def paths(self) -> list[Path]:
        return [path for path, _ in self.files]

    @cached_property
    def kind(self) -> str:
        """VOLUME, or what is no volume: the keys of NO_VOLUME."""
        from pydicom.uid import UID

        header = self.first
        types = f"{header.get('ImageType', '')} {header.get('ConversionType', '')}".upper()
        sop_class = UID(str(header.get("SOPClassUID") or "")).name
        if not any(each.get("Rows") for _, each in self.files) or self.modality not in _SCANS:
            return OTHER
        if "MOSAIC" in types:
            return MOSAIC
        burned = str(header.get("BurnedInAnnotation", "")).upper() == "YES"
        if "Secondary Capture" in sop_class or burned or "SCREEN" in types or "WSD" in types or _is_colour(header):
            return CAPTURE
        return LOCALIZER if self._is_localizer(types) else VOLUME

    def _is_localizer(self, types: str) -> bool:
        if "LOCALIZER" in types:
            return True
        names = f"{self.first.get('SeriesDescription', '')} {self.first.get('ProtocolName', '')}".lower()
        try:
            frames = self.frames
        except InputError:  # which stacks() tells
            return False
        if not all(np.allclose(frames[0].orientation, frame.orientation, atol=_TURNED) for frame in frames):
            return True
        return len(frames) < _FEW and any(name in names for name in _LOCALIZER_NAMES)

    @cached_property
    def frames(self) -> list[Frame]:
        """All frames; InputError where one does not say where it lies."""
        return [frame for path, header in self.files for frame in frames_of(path, header)]

    def stacks(self) -> list[Stack]:
        """The volumes in the series: echoes, magnitude and phase, points in time.

        Raises InputError for what is no volume, and where slices are tilted, missing, or several at one place.
        """
        refuse(self)
        frames = self.frames
        if len({frame.size for frame in frames}) > 1 or len({tuple(frame.spacing.round(4)) for frame in frames}) > 1:
            raise InputError(f"{self.name} has images of several sizes: give one size a series.")
        return [Stack(self.name, tuple(part), _affine(self.name, part)) for part in _split(self.name, frames, TELLS)]


def find_series(paths: Sequence[Path]) -> list[Series]:
    """All series in the files and folders ``paths``, in the order of their numbers; other files are passed over.

    Raises InputError where there is none, where a file that should be DICOM is none, and where the files of a series
    are those of several patients.
    """
    found: dict[str, list[tuple[Path, Dataset]]] = {}
    others: list[Path] = []
    for path in _files(paths):
        header = read_header(path)
        if header is None:
            others.append(path)
        else:
            found.setdefault(str(header.SeriesInstanceUID), []).append((path, header))
    _refuse_damaged(others, {_place(path) for files in found.values() for path, _ in files})
    if not found:
        raise InputError(f"{paths[0]} holds no DICOM file: give the folder of a series, or of a study.")
    series = [Series(uid, tuple(sorted(files, key=_instance))) for uid, files in found.items()]
    for one in series:
        _refuse_several_patients(one)
    return sorted(series, key=lambda one: (_integer(one.first.get("SeriesNumber")), one.uid))


def refuse(series: Series) -> None:
    """Raise InputError with the reason where a series is no volume."""
    kind = series.kind
    if kind != VOLUME:
        advice = "give the series of a 3D scan"
        if kind == MOSAIC:
            advice = "export it as enhanced or single-slice DICOM, or convert it with dcm2niix"
        raise InputError(f"{series.name} {NO_VOLUME[kind]}: {advice}.")


def _refuse_several_patients(series: Series) -> None:
    first = _patient(series.first)
    for path, header in series.files:
        if _patient(header) != first:
            raise InputError(
                f"{series.name} has files of several patients ({path} has another name or ID than {series.paths[0]}): "
                "give those of one."
            )


def _patient(header: Dataset) -> tuple[str, str]:
    return str(header.get("PatientID") or ""), str(header.get("PatientName") or "").rstrip("^= ")


def _refuse_damaged(others: Sequence[Path], places: Collection[tuple[Path, str]]) -> None:
    """Raise InputError where one of ``others``, which are no DICOM, is named like one, or like those in ``places``."""
    for path in others:
        folder, ending = _place(path)
        with path.open("rb") as stream:
            start = stream.read(512)
        if start[128:132] == b"DICM":  # an index of files
            continue
        text = bool(start) and min(start) >= _FIRST_OF_TEXT
        if ending in _DICOM_ENDINGS or ((folder, ending) in places and not text):
            what = "is empty" if not start else "is named like a DICOM file and is none"
            raise InputError(f"{path} {what}: copy the file again, or remove it.")


def _place(path: Path) -> tuple[Path, str]:
    """The folder of a file, and how its name ends: a number, as in many exports, is no ending."""
    ending = path.suffix.lower()
    return path.parent, "" if ending[1:].isdigit() else ending


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(each for each in path.rglob("*") if each.is_file() and not each.name.startswith("."))
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(f"{path} does not exist: check the name.")
    return found


def _instance(file: tuple[Path, Dataset]) -> tuple[float, str]:
    return _integer(file[1].get("InstanceNumber")), str(file[0])


def _integer(value: Any) -> float:
    try:
        return int(value)
    except (TypeError, ValueError):
        return math.inf


def _is_colour(header: Dataset) -> bool:
    return int(header.get("SamplesPerPixel") or 1) > 1 or "PALETTE" in str(header.get("PhotometricInterpretation"))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# ---- geometry ----


def _split(name: str, frames: Sequence[Frame], tells: Sequence[str]) -> list[list[Frame]]:
    """Frames in groups with one frame a place, each sorted along the normal of the slices."""
    ordered = sorted(frames, key=lambda frame: float(frame.position @ frames[0].normal))
    along = [float(frame.position @ frames[0].normal) for frame in ordered]
    twice = sum(b - a < _SAME_PLACE_MM for a, b in itertools.pairwise(along))
    if not twice:
        return [ordered]
    for index, tell in enumerate(tells):
        groups: dict[str, list[Frame]] = {}
        for frame in frames:
            groups.setdefault(frame.tells.get(tell, ""), []).append(frame)
        if len(groups) > 1 and min(len(group) for group in groups.values()) > 1:
            return [part for group in groups.values() for part in _split(name, group, tells[index + 1 :])]
    raise InputError(
        f"{name} has {_counted(twice, 'slice')} at the place of another one, and nothing tells them apart: remove the "
        "duplicates."
    )


def _affine(name: str, frames: Sequence[Frame]) -> np.ndarray:
    """IJK to RAS of frames in order; InputError where they are no regular grid."""
    if len(frames) < 2:
        raise InputError(f"{name} has a volume of a single slice: give all slices of a 3D volume.")
    first, normal = frames[0], frames[0].normal
    positions = np.array([frame.position for frame in frames])
    steps = np.diff(positions, axis=0) @ normal
    shift = positions[-1] - positions[0]
    tilt = math.degrees(math.atan2(float(np.linalg.norm(shift - (shift @ normal) * normal)), float(shift @ normal)))
    if tilt > _TILT_DEGREES:
        raise InputError(
            f"{name} was scanned with a tilted gantry (its slices are sheared by {tilt:.1f} degrees): resample it "
            "to an upright grid first."
        )
    step = float(np.median(steps))
    gaps = np.flatnonzero(steps > 1.5 * step)
    if gaps.size:
        raise InputError(_lacking(name, frames, steps, step, gaps))
    if abs(steps - step).max() > _UNEVEN * step:
        raise InputError(
            f"{name} has slices at uneven distances ({steps.min():.2f} to {steps.max():.2f} mm): give an even series."
        )
    lps = np.eye(4)
    lps[:3, 0] = first.orientation[0] * first.spacing[0]
    lps[:3, 1] = first.orientation[1] * first.spacing[1]
    lps[:3, 2] = shift / (len(frames) - 1)
    lps[:3, 3] = first.position
    return _LPS_TO_RAS @ lps


def _lacking(name: str, frames: Sequence[Frame], steps: np.ndarray, step: float, gaps: np.ndarray) -> str:
    """What is said of slices that are missing after the frames ``gaps``."""
    lost = int(np.rint(steps[gaps] / step - 1).sum())
    before, after = frames[gaps[0]], frames[gaps[0] + 1]
    place = float(before.position @ before.normal) + step
    between = f"{before.path.name} and {after.path.name}"
    if before.path == after.path:
        between = f"frames {before.index + 1} and {after.index + 1} of {before.path.name}"
    first = "the first " if lost > 1 else ""
    where = f"{first}at {place:.1f} mm along the normal of the slices, between {between}"
    return f"{name} lacks {_counted(lost, 'slice')} ({where}): copy all files of it."
