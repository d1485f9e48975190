"""Puts the painted face into the native grid, inside the mask only: the bit-exact promise lives here."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from RefaceLib import geometry
from RefaceLib.io import Volume
from RefaceLib.painter import Painting

_TISSUE = 0.25  # of white matter: brighter is tissue
# What _noise_variance would find in white noise of variance 1: 7/6 for (voxel - mean of its six neighbours), and the
# lowest tenth of its mean over 27 voxels.
_NOISE_GAIN = 0.70


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


def blend(
    volume: Volume,
    defaced: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    head: np.ndarray,
    brain: np.ndarray,
    painting: Painting,
    seed: int,
) -> np.ndarray:
    """The stored array with the painted face in the mask.

    ``defaced``: stored array with the mask blank; ``values``: its scaled values (I, J, K) float32; ``head``,
    ``brain``: bool, what of them is visible. The painting is sampled
    once, gets the noise of this scan, and is written to mask voxels only.
    """
    if not mask.any():
        return defaced
    window = _window_around(mask, 1)
    here = volume.affine.copy()
    here[:3, 3] = geometry.apply_affine(volume.affine, np.array([s.start for s in window], dtype=float))
    picture, affine = geometry.block_mean(painting.picture, painting.affine, geometry.voxel_sizes(volume.affine).mean())
    grid = geometry.Grid(mask[window].shape, here)
    face = geometry.resample(picture, affine, grid, clamp=True)[mask[window]]
    face = add_noise(face, values, mask, head, brain, painting, seed)
    out = defaced.copy()
    out[mask] = volume.to_stored(face)
    return out


def add_noise(
    face: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    head: np.ndarray,
    brain: np.ndarray,
    painting: Painting,
    seed: int,
) -> np.ndarray:
    """Give ``face`` (N,), the mask's voxels in C order, the noise of the scan around it, in tissue and in air.

    The tissue around is that of the head without the brain, whose folds look like noise in a coarse scan.
    """
    window = _window_around(mask, 24)
    v, m, h, b = values[window], mask[window], head[window], brain[window]
    white = painting.scale.white
    composed = v.copy()
    composed[m] = face  # the window holds all of the mask, in the same order
    energy = _energy(composed)
    outside = ndimage.binary_erosion(h & ~m & ~b, iterations=2) & (v > _TISSUE * white)
    inside = ndimage.binary_erosion(m & (composed > _TISSUE * white), iterations=2)
    target, present = _noise_variance(energy[outside]), _noise_variance(energy[inside])
    tissue_sd = float(np.sqrt(max(target - present, 0.0)))
    air = v[~ndimage.binary_dilation(h, iterations=4) & ~m & np.isfinite(v)]
    air_sd = float(np.median(np.abs(air)) / 1.1774) if air.size > 100 else 0.0  # of a Rayleigh distribution
    air_sd = min(air_sd, 0.1 * white)
    rng = np.random.default_rng((seed, 1))
    share = np.clip(face / (_TISSUE * white), 0, 1)
    real, imaginary = rng.standard_normal((2, len(face)), dtype=np.float32)

    def noisy(tissue: float) -> np.ndarray:
        sd = air_sd + (tissue - air_sd) * share
        return np.sqrt((face + sd * real) ** 2 + (sd * imaginary) ** 2)

    # Texture and noise together are less quiet than the sum of both: looks at the result correct the level.
    for _ in range(3):
        composed[m] = noisy(tissue_sd)
        reached = _noise_variance(_energy(composed)[inside])
        if reached <= 1.1 * target or not tissue_sd:
            break
        tissue_sd *= 0.9 * float(np.sqrt(target / reached))
    return noisy(tissue_sd)


def _energy(a: np.ndarray) -> np.ndarray:
    """Local mean (27 voxels) of the squared difference between a voxel and its six neighbours."""
    return ndimage.uniform_filter((a - _neighbours(a)) ** 2, 3)


def _noise_variance(energy: np.ndarray) -> float:
    """The variance of the noise, from local means of the squared residual: the quietest tenth, where no edges are."""
    energy = energy[np.isfinite(energy)]
    return float(np.quantile(energy, 0.1)) / _NOISE_GAIN if energy.size > 50 else 0.0


def _neighbours(a: np.ndarray) -> np.ndarray:
    """Mean of the six neighbours of every voxel."""
    kernel = np.array([0.5, 0.0, 0.5], dtype=np.float32) / 3
    return sum(ndimage.correlate1d(a, kernel, axis=axis, mode="nearest") for axis in range(3))


def _window_around(mask: np.ndarray, margin: int) -> tuple[slice, ...]:
    window = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(slice(max(0, s.start - margin), s.stop + margin) for s in window)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where two stored arrays differ in any bit (NaN equals NaN)."""
    unsigned = f"u{before.dtype.itemsize}"
    return np.ascontiguousarray(before).view(unsigned) != np.ascontiguousarray(after).view(unsigned)


def apply_mask(mask: np.ndarray, affine: np.ndarray, other: Volume) -> np.ndarray:
    """Deface a coregistered volume: ``other.stored`` blank where its voxels' centres are in ``mask``."""
    grid = geometry.Grid(other.stored.shape, other.affine)
    there = geometry.resample(mask, affine, grid, nearest=True) > 0
    return deface(other, other.values(), there)
