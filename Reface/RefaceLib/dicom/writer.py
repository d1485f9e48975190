"""Writes new numbers into copies of the original files of a series, with headers that name nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError, PromiseError
from RefaceLib.dicom.anonymise import Anonymiser
from RefaceLib.dicom.frames import Frame, read_dataset, reading
from RefaceLib.dicom.pixels import number_range, put_numbers, stored_numbers
from RefaceLib.dicom.series import Series, Stack, find_series
from RefaceLib.volume.io import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

_SAME_VOXEL = 0.05  # voxels that two grids may lie apart


@dataclass(frozen=True, eq=False)
class Edit:
    """New numbers of the Volume of ``stack`` (I, J, K), and the ``mask`` (I, J, K; bool) of those that are used."""

    stack: Stack
    stored: np.ndarray
    mask: np.ndarray


def write_files(
    series: Series, edits: Sequence[Edit], folder: Path, anonymiser: Anonymiser, description: str
) -> list[Path]:
    """Write all files of ``series`` into ``folder``; the files, whose names say nothing.

    Outside the masks every stored number stays. ``description`` becomes that of the series. Raises PromiseError where
    an image has no edit, since its face would stay, and InputError where a file cannot be read any more.
    """
    planes = _planes(edits)
    for _, header in series.files:  # what one file tells may stand in another
        anonymiser.learn(header)
    written = []
    for index, path in enumerate(series.paths):
        target = folder / f"IM{index + 1:06d}.dcm"
        _write_file(path, planes.get(path, {}), target, anonymiser, description)
        written.append(target)
    return written


def write_into_copies(
    volume: Volume, paths: Sequence[Path], folder: Path, description: str, anonymiser: Anonymiser | None = None
) -> bool:
    """Write the values of ``volume`` into copies of ``paths``, the files of the one volume that it was made from.

    False, and nothing is written, where the files hold anything but one volume on the grid of ``volume``; its axes may
    be in another order. Where a value is that of the file, the stored number stays as it is. Series of one study share
    the ``anonymiser``. Raises InputError.
    """
    if not paths:
        return False
    series = find_series(paths)
    try:
        stacks = [stack for one in series for stack in one.stacks()]
    except InputError:  # Slicer reads more than we write back: tilted, uneven
        return False
    values = on_grid(volume, stacks[0]) if len(stacks) == 1 else None
    if values is None:
        return False
    original = stacks[0].read()
    stored = original.codec.to_stored(values)
    edit = Edit(stacks[0], stored, stored != original.stored)
    write_files(series[0], [edit], folder, anonymiser or Anonymiser(), description)
    return True


def on_grid(volume: Volume, stack: Stack) -> np.ndarray | None:
    """The values of ``volume`` in the order of the voxels of ``stack``, None where it has another grid."""
    to_stack = np.linalg.inv(stack.affine) @ volume.affine
    turn = np.rint(to_stack[:3, :3])
    if not np.allclose(to_stack[:3, :3], turn, atol=1e-3) or not np.array_equal(turn @ turn.T, np.eye(3)):
        return None
    order = abs(turn).argmax(axis=1)
    flipped = tuple(axis for axis in range(3) if turn[axis, order[axis]] < 0)
    values = np.flip(volume.values().transpose(order), flipped)
    first = np.zeros(3)  # of the volume's voxels, which is the stack's first
    for axis in flipped:
        first[order[axis]] = volume.stored.shape[order[axis]] - 1
    near = abs(to_stack[:3, :3] @ first + to_stack[:3, 3]).max() < _SAME_VOXEL
    return values if near and values.shape == stack.shape else None


def _planes(edits: Sequence[Edit]) -> dict[Path, dict[int, tuple[Frame, np.ndarray, np.ndarray]]]:
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
    dataset = read_dataset(path)
    numbers = stored_numbers(path, dataset)
    if set(planes) != set(range(len(numbers))):
        raise PromiseError(f"{path} was thrown away: {len(numbers) - len(planes)} of its images would keep their face.")
    with reading(path):
        low, high = number_range(dataset)
        new = numbers.copy()
        for index, (_, plane, mask) in planes.items():
            new[index][mask] = np.clip(plane[mask], low, high).astype(numbers.dtype)
        put_numbers(dataset, new)
        anonymiser.apply(dataset)
        dataset.SeriesDescription = description
        content = encoded(dataset)
    target.write_bytes(content)


def encoded(dataset: Dataset) -> bytes:
    """A dataset as a new DICOM file, little endian with explicit VRs, around which nothing old is left."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    content = BytesIO()
    pydicom.dcmwrite(content, dataset, enforce_file_format=True)
    return content.getvalue()
