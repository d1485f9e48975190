"""Writes new numbers into copies of the original files of a series, with headers that name nobody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import PromiseError
from RefaceLib.dicom.anonymise import Anonymiser
from RefaceLib.dicom.frames import Frame, reading
from RefaceLib.dicom.pixels import number_range, put_numbers, stored_numbers
from RefaceLib.dicom.series import Series, Stack

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, eq=False)
class Edit:
    """New numbers of the Volume of ``stack`` (I, J, K), and the ``mask`` (I, J, K; bool) of those that are used."""

    stack: Stack
    stored: np.ndarray
    mask: np.ndarray


def write_series(
    series: Series, edits: list[Edit], folder: Path, anonymiser: Anonymiser, description: str, tick: Callable[[], None]
) -> list[Path]:
    """Write all files of ``series`` into ``folder``, which is made; the files, whose names say nothing.

    Outside the masks every stored number stays. ``description`` becomes that of the series. ``tick`` is called after
    every file. Raises PromiseError where an image has no edit, since its face would stay, and InputError where a file
    cannot be read any more.
    """
    folder.mkdir()
    planes = _planes(edits)
    written = []
    for index, path in enumerate(series.paths):
        target = folder / f"IM{index + 1:06d}.dcm"
        _write_file(path, planes.get(path, {}), target, anonymiser, description)
        written.append(target)
        tick()
    return written


def _planes(edits: list[Edit]) -> dict[Path, dict[int, tuple[Frame, np.ndarray, np.ndarray]]]:
    """By file and frame: the frame, its new numbers and its mask, both (rows, columns)."""
    planes: dict[Path, dict[int, tuple[Frame, np.ndarray, np.ndarray]]] = {}
    for edit in edits:
        scaled = edit.stored.dtype.kind == "f"  # values, because each slice has its own scale
        for index, frame in enumerate(edit.stack.frames):
            numbers = edit.stored[:, :, index].T
            if scaled:
                numbers = np.rint((numbers.astype(np.float64) - frame.inter) / frame.slope)
            planes.setdefault(frame.path, {})[frame.index] = (frame, numbers, edit.mask[:, :, index].T)
    return planes


def _write_file(
    path: Path,
    planes: Mapping[int, tuple[Frame, np.ndarray, np.ndarray]],
    target: Path,
    anonymiser: Anonymiser,
    description: str,
) -> None:
    import pydicom

    with reading(path):
        dataset = pydicom.dcmread(path)
    numbers = stored_numbers(path, dataset)
    if set(planes) != set(range(len(numbers))):
        raise PromiseError(f"{path} was thrown away: {len(numbers) - len(planes)} of its images would keep their face.")
    low, high = number_range(dataset)
    new = numbers.copy()
    for index, (_, plane, mask) in planes.items():
        new[index][mask] = np.clip(plane[mask], low, high).astype(numbers.dtype)
    put_numbers(dataset, new)
    with reading(path):
        anonymiser.apply(dataset)
    dataset.SeriesDescription = description
    save(dataset, target)


def save(dataset: Dataset, target: Path) -> None:
    """Write a dataset as a new DICOM file, little endian with explicit VRs, around which nothing old is left."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    dataset.save_as(target, enforce_file_format=True, implicit_vr=False, little_endian=True)
