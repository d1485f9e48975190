"""Puts the painted face into the native grid, inside the mask only: the bit-exact promise lives here."""

from __future__ import annotations

import numpy as np

from RefaceLib.face.deface import Defaced
from RefaceLib.face.painter import Painting
from RefaceLib.face.texture import Surroundings, add_noise, sharpened
from RefaceLib.volume import geometry

_MARGIN = 16  # voxels: so much of the scan beside the mask tells how sharp and how noisy it is


def blend(defaced: Defaced, around: Surroundings, painting: Painting, seed: int) -> np.ndarray:
    """The stored numbers (I, J, K) of ``defaced`` with the painted face in the mask.

    The painting is sampled once, gets the sharpness and the noise of this scan, and is written to mask voxels only.
    """
    if not around.mask.any():
        return defaced.stored
    around = around.turned()
    window = geometry.window_around(around.mask, 1)
    here = defaced.grid.affine[:, [2, 1, 0, 3]]
    here[:3, 3] = geometry.apply_affine(here, np.array([s.start for s in window], dtype=float))
    mask = around.mask[window]
    face = sampled(painting, geometry.Grid(mask.shape, here))[mask]
    near = around.near(_MARGIN)
    face = sharpened(face, near, painting.scale)
    numbers = defaced.codec.to_stored(add_noise(face, near, painting.scale, seed))
    out = defaced.stored.copy(order="K")
    out.T[around.mask] = numbers
    return out


def sampled(painting: Painting, grid: geometry.Grid) -> np.ndarray:
    """The painting on ``grid``, every voxel the mean over its extent, as a scanner measures it; float32."""
    parts = np.maximum(np.rint(geometry.voxel_sizes(grid.affine)), 1).astype(int)  # pieces of about 1 mm
    fine = grid.affine @ np.diag([*(1 / parts), 1.0])
    fine[:3, 3] = geometry.apply_affine(grid.affine, (1 / parts - 1) / 2)
    pieces = geometry.Grid(tuple(int(n) for n in grid.shape * parts), fine)
    values = geometry.resample(painting.picture, painting.affine, pieces, clamp=True)
    split = [n for pair in zip(grid.shape, parts, strict=True) for n in pair]
    return values.reshape(split).mean(axis=(1, 3, 5))
