"""Fields of the canonical box: resampled to another raster, and warped by displacements."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from RefaceLib.head import canonical
from RefaceLib.volume import geometry


def to_raster(field: np.ndarray, spacing: float, target: float) -> np.ndarray:
    """Resample a field of the canonical box from ``spacing`` to ``target`` mm, a power of two apart; float32.

    A coarser raster gets the means of blocks of a field (X, Y, Z), a finer one linear interpolation of a field
    (X, Y, Z) or several (N, X, Y, Z).
    """
    if target >= spacing:
        return geometry.block_mean(field, canonical.box(spacing).affine, target)[0]
    for axis in (-1, -2, -3):  # the axis whose lines are longest in memory last: it has the most to write
        field = _finer(field, round(spacing / target), axis)
    return field


def _finer(field: np.ndarray, factor: int, axis: int) -> np.ndarray:
    """``field`` with ``factor`` voxels in place of one along an ``axis``; beyond the border its value continues."""
    shape = list(field.shape)
    shape[axis] *= factor
    finer = np.empty(shape, np.float32)
    source, target = np.moveaxis(field, axis, 0), np.moveaxis(finer, axis, 0)
    for place in range(factor):
        way = (place + 0.5) / factor - 0.5  # in voxels, from the old one to the new one in it
        share = np.float32(abs(way))
        old, new = source, target[place::factor]
        if way > 0:  # towards the voxel after it, else towards the one before it
            old, new = old[::-1], new[::-1]
        np.multiply(old[1:], 1 - share, out=new[1:])
        new[1:] += share * old[:-1]
        new[0] = old[0]
    return finer


def interpolated(
    field: np.ndarray, places: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray
) -> np.ndarray:
    """np.interp of a float32 ``field``, as float32: fast, and sparing of memory, where most of it is beyond an end."""
    found = np.where(field > places[0], np.float32(values[-1]), np.float32(values[0]))
    between = (field > places[0]) & (field < places[-1])
    found[between] = np.interp(field[between], places, values)
    return found


def warp(pictures: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Sample ``pictures`` (X, Y, Z) or (N, X, Y, Z) of the 2 mm box at every voxel plus ``field`` (3, X, Y, Z) in mm.

    Linear interpolation; beyond the box its border continues. Returns float32 of the shape of ``pictures``.
    """
    lines = np.ix_(*(np.arange(n, dtype=np.float32) for n in field.shape[1:]))
    return _sample(pictures, lines, field).reshape(pictures.shape)


def warp_at(pictures: np.ndarray, field: np.ndarray, voxels: tuple[np.ndarray, ...]) -> np.ndarray:
    """``warp`` at some ``voxels`` only, given by their indices as of np.nonzero: (V,) or (N, V)."""
    i, j, k = voxels
    found = _sample(pictures, [index.astype(np.float32) for index in voxels], field[:, i, j, k])
    return found.reshape(*pictures.shape[:-3], -1)


def _sample(pictures: np.ndarray, voxels: Sequence[np.ndarray], field: np.ndarray) -> np.ndarray:
    """Values (N, ...) at ``voxels``, their indices along each axis, plus ``field`` (3, ...) in mm."""
    import torch
    import torch.nn.functional as F

    # grid_sample counts from -1 to 1 between the centres of the first and last voxel, the last axis first.
    places = np.empty((*field.shape[1:], 3), np.float32)
    for axis, (index, size) in enumerate(zip(voxels, pictures.shape[-3:], strict=True)):
        places[..., 2 - axis] = (index + field[axis] / 2.0) * (2.0 / (size - 1)) - 1.0
    source = np.ascontiguousarray(pictures, dtype=np.float32).reshape(1, -1, *pictures.shape[-3:])
    with torch.inference_mode():
        grid = torch.from_numpy(places).reshape(1, 1, 1, -1, 3)
        return F.grid_sample(torch.from_numpy(source), grid, padding_mode="border", align_corners=True)[0].numpy()
