"""Puts the painted face into the native grid, inside the mask only: the bit-exact promise lives here."""

from __future__ import annotations

import numpy as np

from RefaceLib.face.painter import Painting
from RefaceLib.face.texture import Surroundings, add_noise, sharpened
from RefaceLib.volume import geometry
from RefaceLib.volume.io import Volume


def deface(volume: Volume, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The stored array with the mask blank (the number for the volume's darkest value). ``values`` is changed alike."""
    blank = blank_value(values, mask)
    values[mask] = blank
    stored = volume.stored.copy()
    stored[mask] = volume.to_stored(np.array([blank], dtype=np.float32))[0]
    return stored


def blank_value(values: np.ndarray, mask: np.ndarray) -> float:
    """What air looks like: 0 where the scan outside the mask has no negative values, else its minimum (CT)."""
    outside = values[~mask]
    outside = outside[np.isfinite(outside)]
    lowest = float(outside.min()) if outside.size else 0.0
    return min(lowest, 0.0) if lowest <= 0 else lowest if lowest > 1 else 0.0


def blend(volume: Volume, defaced: np.ndarray, around: Surroundings, painting: Painting, seed: int) -> np.ndarray:
    """The stored array with the painted face in the mask; ``defaced`` is the stored array with the mask blank.

    The painting is sampled once, gets the sharpness and the noise of this scan, and is written to mask voxels only.
    """
    mask = around.mask
    if not mask.any():
        return defaced
    window = geometry.window_around(mask, 1)
    here = volume.affine.copy()
    here[:3, 3] = geometry.apply_affine(volume.affine, np.array([s.start for s in window], dtype=float))
    face = sampled(painting, geometry.Grid(mask[window].shape, here))[mask[window]]
    face = sharpened(face, around, painting.scale)
    out = defaced.copy()
    out[mask] = volume.to_stored(add_noise(face, around, painting.scale, seed))
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


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where two stored arrays differ in any bit (NaN equals NaN)."""
    unsigned = f"u{before.dtype.itemsize}"
    return np.ascontiguousarray(before).view(unsigned) != np.ascontiguousarray(after).view(unsigned)


def apply_mask(mask: np.ndarray, affine: np.ndarray, other: Volume) -> np.ndarray:
    """Deface a coregistered volume: ``other.stored`` blank where its voxels' centres are in ``mask``."""
    grid = geometry.Grid(other.stored.shape, other.affine)
    there = geometry.resample(mask, affine, grid, nearest=True) > 0
    return deface(other, other.values(), there)
