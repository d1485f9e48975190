"""Puts the painted face into the native grid, inside the mask only: the bit-exact promise lives here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from RefaceLib import geometry
from RefaceLib.intensity import IntensityScale
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


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a new face is put into, in the native grid (I, J, K): scaled ``values`` (float32) that are blank in the
    ``mask``, and what is visible of ``head`` and ``brain`` (bool)."""

    values: np.ndarray
    mask: np.ndarray
    head: np.ndarray
    brain: np.ndarray


def blend(volume: Volume, defaced: np.ndarray, around: Surroundings, painting: Painting, seed: int) -> np.ndarray:
    """The stored array with the painted face in the mask; ``defaced`` is the stored array with the mask blank.

    The painting is sampled once, gets the noise of this scan, and is written to mask voxels only.
    """
    mask = around.mask
    if not mask.any():
        return defaced
    window = _window_around(mask, 1)
    here = volume.affine.copy()
    here[:3, 3] = geometry.apply_affine(volume.affine, np.array([s.start for s in window], dtype=float))
    picture, affine = geometry.block_mean(painting.picture, painting.affine, geometry.voxel_sizes(volume.affine).mean())
    grid = geometry.Grid(mask[window].shape, here)
    face = geometry.resample(picture, affine, grid, clamp=True)[mask[window]]
    out = defaced.copy()
    out[mask] = volume.to_stored(add_noise(face, around, painting.scale, seed))
    return out


def add_noise(face: np.ndarray, around: Surroundings, scale: IntensityScale, seed: int) -> np.ndarray:
    """Give ``face`` (N,), the mask's voxels in C order, the noise of the scan around it, in tissue and in air."""
    signal = face - scale.black  # noise makes magnitudes of what is above black
    tissue_level = _TISSUE * (scale.white - scale.black)
    air_sd = _air_noise(around, scale)
    real, imaginary = np.random.default_rng((seed, 1)).standard_normal((2, len(face)), dtype=np.float32)
    share = np.clip(signal / tissue_level, 0, 1)

    def noisy(tissue_sd: float) -> np.ndarray:
        sd = air_sd + (tissue_sd - air_sd) * share
        return np.sqrt((signal + sd * real) ** 2 + (sd * imaginary) ** 2)

    return noisy(_tissue_noise(signal, noisy, around, scale, tissue_level)) + scale.black


def _air_noise(around: Surroundings, scale: IntensityScale) -> float:
    """The standard deviation behind the magnitudes of the visible air about the mask."""
    window = _window_around(around.mask, 24)
    values, mask, head = (a[window] for a in (around.values, around.mask, around.head))
    air = values[~ndimage.binary_dilation(head, iterations=4) & ~mask & np.isfinite(values)] - scale.black
    level = float(np.median(np.abs(air)) / 1.1774) if air.size > 100 else 0.0  # of a Rayleigh distribution
    return min(level, 0.1 * (scale.white - scale.black))


def _tissue_noise(
    signal: np.ndarray,
    noisy: Callable[[float], np.ndarray],
    around: Surroundings,
    scale: IntensityScale,
    tissue_level: float,
) -> float:
    """The standard deviation of the noise that makes painted tissue as noisy as the tissue around it.

    The tissue around is that of the head without the brain, whose folds look like noise in a coarse scan.
    """
    composed = around.values - scale.black
    composed[around.mask] = signal
    painted = around.mask & (composed > tissue_level)
    if not painted.any():
        return 0.0
    window = _window_around(painted, 16)
    mask, head, brain = (a[window] for a in (around.mask, around.head, around.brain))
    piece = composed[window]
    outside = ndimage.binary_erosion(head & ~mask & ~brain, iterations=2) & (piece > tissue_level)
    inside = ndimage.binary_erosion(painted[window], iterations=2)
    energy = _energy(piece)
    target, present = _noise_variance(energy[outside]), _noise_variance(energy[inside])
    sd = float(np.sqrt(max(target - present, 0.0)))
    # Texture and noise together are less quiet than the sum of both: looks at the result correct the level.
    for _ in range(3):
        if not sd:
            break
        composed[around.mask] = noisy(sd)
        reached = _noise_variance(_energy(composed[window])[inside])
        if reached <= 1.1 * target:
            break
        sd *= 0.9 * float(np.sqrt(target / reached))
    return sd


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
