"""What a file says around its voxels, and the checks that the headers of all formats share.

The bytes are kept verbatim, so that a file can be written again with other voxels and nothing else changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from RefaceLib.common.errors import InputError

LEFT_RIGHT_UNKNOWN = (
    "The header does not say how the volume lies in the head, so left and right cannot be known; check the result."
)
CONTRADICTION = "The header contradicts itself"  # so begins the warning of one that does

MAX_HEADER = 1 << 28  # bytes; a header that claims more than this is damaged
_MAX_ORIGIN = 1e6  # mm; also refuses NaN
_VOXEL_SIZES = (0.01, 100.0)  # mm; beyond these a grid of 1 mm voxels would have no size that one can compute on


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says before its data.

    ``shape`` is (I, J, K), or (I, J, K, T) where frames were asked for; axes of size 1 beyond these are dropped.
    ``affine`` is (4, 4) float64, IJK to RAS mm; a value is stored * ``slope`` + ``inter``; ``raw`` is every byte before
    the data; ``data_gzip`` says that the data alone are compressed (NRRD).
    """

    raw: bytes
    dtype: np.dtype
    shape: tuple[int, ...]
    affine: np.ndarray
    slope: float = 1.0
    inter: float = 0.0
    warnings: tuple[str, ...] = ()
    data_gzip: bool = False


@dataclass(frozen=True, eq=False)
class FileSource:
    """Where a volume came from: the bytes around its data, to be written again as they were."""

    path: Path
    format: str  # a value of FORMATS
    header: bytes  # every byte before the data
    trailer: bytes  # every byte after the data
    data_gzip: bool = False


def checked_fields(
    name: str, dtype: np.dtype, shape: tuple[int, ...], affine: np.ndarray, frames: bool = False
) -> tuple[np.dtype, tuple[int, ...], np.ndarray]:
    """``dtype``, the sizes of the first three axes, and ``affine`` as float64.

    With ``frames`` all axes beyond the third become a fourth one. Raises InputError when they do not describe one
    grey-scale volume (or several frames of it) that has a place.
    """
    shape = tuple(int(n) for n in shape)
    if min(shape, default=0) < 1:
        raise InputError(f"{name} has no voxels (a dimension of size 0): export the image again.")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise InputError(f"{name} is a 2D image: give a 3D volume of a head.")
    count = math.prod(shape[3:])
    if count > 1 and not frames:
        raise InputError(f"{name} holds {count} values for each place (4D or colour): give one 3D volume of it.")
    if dtype.kind not in "iuf":
        kind = "complex numbers" if dtype.kind == "c" else "colours or other compound values"
        raise InputError(f"{name} holds {kind}: give a grey-scale volume.")
    grid = (*shape[:3], count) if count > 1 else shape[:3]
    return dtype, grid, _checked_affine(name, np.array(affine, dtype=np.float64))


def _checked_affine(name: str, affine: np.ndarray) -> np.ndarray:
    usable = bool((abs(affine) < _MAX_ORIGIN).all())
    if usable:
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        usable = abs(np.linalg.det(affine[:3, :3])) > 1e-4 * np.prod(lengths)
    if not usable:
        raise InputError(f"{name} has an orientation matrix that cannot be used: repair its header.")
    if lengths.min() < _VOXEL_SIZES[0] or lengths.max() > _VOXEL_SIZES[1]:
        sizes = " x ".join(f"{length:.3g}" for length in lengths)
        raise InputError(f"{name} has voxels of {sizes} mm, which no head scan has: correct the units in its header.")
    return affine


def complete(block: bytes, size: int) -> bytes:
    """``block``; EOFError when it has fewer than ``size`` bytes, because the file ended."""
    if len(block) < size:
        raise EOFError
    return block


def broken_header(name: str, format_: str) -> InputError:
    """The error for a header that cannot be understood."""
    return InputError(f"{name} has a broken {format_} header: export or convert the image again.")


def not_an_image(name: str, format_: str) -> InputError:
    """The error for a file that does not begin as its format does."""
    return InputError(f"{name} is not a valid {format_} image: check the file, or copy it again.")
