"""Where a volume was scanned, and whether its end cuts through a head."""

from __future__ import annotations

import numpy as np

from RefaceLib.volume import geometry
from RefaceLib.volume.air import Air
from RefaceLib.volume.geometry import Grid

DIM = 0.2  # of bright tissue: what is brighter is tissue
_CUT_CM2 = 60.0  # a plane with more is no tip of a head


def field_of_view(values: np.ndarray, affine: np.ndarray) -> Grid:
    """The part of a volume (I, J, K; IJK -> RAS mm) that was scanned: a cut head may lie in a larger, blank volume."""
    return Grid(values.shape, affine).part(_window(values, geometry.voxel_sizes(affine)))


def is_cut(values: np.ndarray, affine: np.ndarray, air: Air) -> bool:
    """Whether a head in a volume (I, J, K; IJK -> RAS mm) is cut at more sides than at the neck."""
    sizes = geometry.voxel_sizes(affine)
    bright = float(np.percentile(values[::2, ::2, ::2], 98)) - air.level
    shown = values[_window(values, sizes)] - air.level > DIM * bright
    ends = [shown.take(end, axis).sum() * _plane_cm2(sizes, axis) for axis in range(3) for end in (0, -1)]
    return bool(sorted(ends)[-2] > _CUT_CM2)


def _window(values: np.ndarray, sizes: np.ndarray) -> tuple[slice, ...]:
    """The box without the blank planes before a cut: where a head is whole, it begins little by little."""
    window = []
    for axis in range(3):
        planes = np.moveaxis(values, axis, 0)
        before, behind = (_blank_before_cut(side, _plane_cm2(sizes, axis)) for side in (planes, planes[::-1]))
        window.append(slice(before, len(planes) - behind))
    return tuple(window)


def _blank_before_cut(planes: np.ndarray, voxel_cm2: float) -> int:
    """How many of the first ``planes`` are blank, up to a plane that cuts through a head; 0 where the head is whole."""
    for n, plane in enumerate(planes):
        if (plane != plane[0, 0]).any():
            return n if (plane != planes[0, 0, 0]).sum() * voxel_cm2 > _CUT_CM2 else 0
    return 0


def _plane_cm2(sizes: np.ndarray, axis: int) -> float:
    """The area in cm2 of a voxel in a plane across the ``axis``."""
    return float(sizes.prod() / sizes[axis] / 100)
