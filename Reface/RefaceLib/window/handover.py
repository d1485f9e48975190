"""Volumes on their way to a child process and back: raw NRRD files that keep every bit.

NRRD holds every scalar type of VTK, and its header is text in which Python's floats come back exactly; NIfTI would
round the affine to float32, and has no 64-bit types that everybody reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib.common.errors import InputError, PromiseError
from RefaceLib.volume.header import FileSource
from RefaceLib.volume.io import Volume, read_volume, write_volume
from RefaceLib.volume.nrrd import new_nrrd_header


def write_exchange(path: Path, volume: Volume) -> None:
    """Write the numbers and the affine of `volume` as uncompressed NRRD; InputError for a type that NRRD lacks."""
    stored = volume.stored
    try:
        header = new_nrrd_header(stored.dtype, stored.shape, volume.affine)
    except KeyError as error:
        raise InputError(f"A volume of type {stored.dtype} cannot be used: convert it to another type.") from error
    source = FileSource(path, "NRRD", header.replace(b"encoding: gzip", b"encoding: raw"), b"")
    write_volume(path, Volume(stored, volume.affine, source=source), stored)


def read_result(path: Path, volume: Volume) -> np.ndarray:
    """The voxels (I, J, K) that came back for `volume`; PromiseError unless grid and data type are the same."""
    result = read_volume(path)
    same_type = result.stored.dtype.newbyteorder("=") == volume.stored.dtype.newbyteorder("=")
    if result.stored.shape != volume.stored.shape or not same_type or (result.affine != volume.affine).any():
        raise PromiseError("The result was thrown away: it has another grid or data type; please report this.")
    return result.stored.astype(volume.stored.dtype, copy=False)


def read_mask(path: Path, volume: Volume) -> np.ndarray:
    """A mask, (I, J, K) bool, on the grid of `volume`."""
    mask = read_volume(path)
    if mask.stored.shape != volume.stored.shape or (mask.affine != volume.affine).any():
        raise PromiseError("The result was thrown away: its mask has another grid; please report this.")
    return mask.stored != 0


def node_report(report: dict[str, Any]) -> dict[str, Any]:
    """The child's report without the names and hashes of temporary files; nodes get theirs when they are shown."""
    gone = ("output", "output_sha256", "also_written", "mask_from")
    return {key: value for key, value in report.items() if key not in gone}
