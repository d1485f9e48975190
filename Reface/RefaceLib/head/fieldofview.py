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
    window = _window(values, geometry.voxel_sizes(affine))
    part = np.array(affine, dtype=float)
    part[:3, 3] = geometry.apply_affine(affine, np.array([ends.start for ends in window], dtype=float))
    return Grid(values[window].shape, part)


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
        planes = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
        start, stop = 0, len(planes)
        full = np.flatnonzero(planes.min(axis=1) != planes.max(axis=1))
        if full.size:
            first, last = full[[0, -1]]
            cm2 = (planes[[first, last]] != planes[[0, -1], :1]).sum(axis=1) * _plane_cm2(sizes, axis)
            start = first if cm2[0] > _CUT_CM2 else start
            stop = last + 1 if cm2[1] > _CUT_CM2 else stop
        window.append(slice(int(start), int(stop)))
    return tuple(window)


def _plane_cm2(sizes: np.ndarray, axis: int) -> float:
    """The area in cm2 of a voxel in a plane across the ``axis``."""
    return float(sizes.prod() / sizes[axis] / 100)
