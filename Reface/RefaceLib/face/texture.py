"""Gives a painted face the sharpness and the noise of this scan, measured on the visible head."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from RefaceLib.face.intensity import IntensityScale
from RefaceLib.head.noise import speckles
from RefaceLib.volume import geometry
from RefaceLib.volume.air import NORMAL, RAYLEIGH, Air

_TISSUE = 0.25  # of white matter: brighter voxels are tissue
# What _noise_variance finds in white noise of variance 1: (voxel - mean of its six neighbours) has 7/6, of whose mean
# over 27 voxels the lowest tenth is taken.
_NOISE_GAIN = 0.70
# Binomial kernels of variance 1/4, 1/4, 1/2 and 1 (voxels squared), applied in sequence. The differences of successive
# pictures are the detail of four scales, finest first. Below, the share of white noise's variance in each scale.
_KERNELS = ((0.125, 0.75, 0.125), (0.125, 0.75, 0.125), (0.25, 0.5, 0.25), (0.0625, 0.25, 0.375, 0.25, 0.0625))
_SCALE_NOISE = (0.361, 0.047, 0.029, 0.006)
# Limits of a scale's factor in one pass, number of passes, and over-relaxation: limiting a voxel to the range of its
# neighbours takes away some of the gain, so each pass raises the missing factor to this power.
_AT_ONCE, _PASSES, _HASTE = (0.5, 3.0), 4, 2.0
_NEAR_ENOUGH = 1.12  # tolerance of the mean square: detail within this factor of its target stays
_LEAST = 1e-18  # mean square of no detail, of white matter squared
_AIR = 1e-3  # of white matter: darker voxels are painted air
_FEWEST_EDGES = 500  # voxels
_LEAST_AIR = 100  # voxels
_NOISIEST = 0.1  # of white matter: what air is noisier is salt and pepper
_MOST_THREADS = 4


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a new face is put into, in the native grid (I, J, K): scaled ``values`` (float32) that are blank in the
    ``mask``, what is visible of ``head`` and ``brain`` (bool), and what ``air`` looks like."""

    values: np.ndarray
    mask: np.ndarray
    head: np.ndarray
    brain: np.ndarray
    air: Air


def sharpened(face: np.ndarray, around: Surroundings, scale: IntensityScale) -> np.ndarray:
    """``face`` (N,), the mask's voxels in C order, with edges as sharp as those of the scan around it.

    A network paints softer than a scanner measures, and brain extraction responds: a head with a blurred face loses
    brain. Detail of every scale, from half a voxel on, is therefore made as strong at edges inside the mask as at those
    of the visible head (root mean square, without the noise's share). Blur removes the finest detail most. A single
    unsharp mask that restores it would make coarser detail too strong. No voxel leaves the range of its neighbours, so
    edges become steep without rings.
    """
    window = geometry.window_around(around.mask, 16)
    mask, head, brain = (a[window] for a in (around.mask, around.head, around.brain))
    composed = np.nan_to_num(around.values[window])
    composed[speckles(composed, around.air)] = scale.black  # they are no edges
    composed -= scale.black
    composed[mask] = face - scale.black
    tissue = composed > _TISSUE * (scale.white - scale.black)
    edges = ndimage.binary_dilation(tissue) & ~ndimage.binary_erosion(tissue)
    near = ndimage.binary_dilation(head, iterations=2) & ~ndimage.binary_dilation(brain, iterations=2)
    outside = edges & near & ~ndimage.binary_dilation(mask, iterations=2)
    inside = edges & ndimage.binary_erosion(mask, iterations=2)
    if min(inside.sum(), outside.sum()) < _FEWEST_EDGES:
        return face
    noise = _noise_variance(_energy(composed)[_scalp(head & ~mask & tissue, brain)])
    least = _LEAST * (scale.white - scale.black) ** 2
    target = np.maximum(_strength(_details(composed), outside) - noise * np.array(_SCALE_NOISE), least)
    # Most of a mask is air, which has no detail. The window is a view: changes in it are changes in ``composed``.
    painted = mask & (np.abs(composed) > _AIR * (scale.white - scale.black))
    nearer = geometry.window_around(painted, 6)  # as far as the coarsest detail reaches
    near, there, inside = (a[nearer] for a in (composed, mask, inside))
    inside = np.nonzero(inside)  # indices are faster than a mask
    for _ in range(_PASSES):
        details = _details(near)
        missing = target / np.maximum(_strength(details, inside), least)
        missing[np.maximum(missing, 1 / missing) < _NEAR_ENOUGH] = 1
        if (missing == 1).all():
            break
        factors = np.clip(missing ** (_HASTE / 2), *_AT_ONCE).astype(np.float32)
        sharper = near + sum((factor - 1) * detail for factor, detail in zip(factors, details, strict=True))
        near[there] = _within_neighbours(sharper, near)[there]
    return np.maximum(composed[mask], 0) + scale.black


def _within_neighbours(a: np.ndarray, before: np.ndarray) -> np.ndarray:
    """``a``, limited at every voxel to the range of ``before`` over the voxel and its 26 neighbours."""
    return np.clip(a, _of_neighbours(before, np.minimum), _of_neighbours(before, np.maximum))


def _of_neighbours(a: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """The minimum or maximum (``extreme``: np.minimum, np.maximum) over a voxel and its 26 neighbours.

    Equal to scipy's filters of size 3, but six times faster.
    """
    for axis in range(a.ndim):
        found = a.copy()
        here, there = (np.moveaxis(view, axis, 0) for view in (found, a))
        extreme(here[:-1], there[1:], out=here[:-1])
        extreme(here[1:], there[:-1], out=here[1:])
        a = found
    return a


def _details(a: np.ndarray) -> list[np.ndarray]:
    """The detail of each scale (see _KERNELS), shaped as ``a``. Slabs run in threads; their number changes no bit."""
    found = [np.empty_like(a) for _ in _KERNELS]
    count = min(os.cpu_count() or 1, _MOST_THREADS)
    ends = [len(a) * n // count for n in range(count + 1)]
    reach = sum(len(kernel) // 2 for kernel in _KERNELS)

    def put(low: int, high: int) -> None:
        start = max(low - reach, 0)
        slab = a[start : high + reach]
        for kernel, detail in zip(_KERNELS, found, strict=True):
            smooth = slab
            for axis in range(a.ndim):
                smooth = ndimage.correlate1d(smooth, kernel, axis=axis, mode="nearest")
            detail[low:high] = (slab - smooth)[low - start : high - start]
            slab = smooth

    with ThreadPoolExecutor(count) as pool:
        list(pool.map(put, ends[:-1], ends[1:]))
    return found


def _strength(details: list[np.ndarray], where: np.ndarray | tuple[np.ndarray, ...]) -> np.ndarray:
    """The mean square (len(_KERNELS),) of each scale's detail ``where`` (bool, or indices)."""
    return np.array([float((detail[where] ** 2).mean()) for detail in details])


def add_noise(face: np.ndarray, around: Surroundings, scale: IntensityScale, seed: int) -> np.ndarray:
    """Give ``face`` (N,), the mask's voxels in C order, the noise of the scan around it, in tissue and in air."""
    signal = face - scale.black
    tissue_level = _TISSUE * (scale.white - scale.black)
    air = _visible_air(around, scale)
    air_noise = float(np.median(np.abs(air)) / (NORMAL if around.air.signed else RAYLEIGH)) if air.size else 0.0
    air_sd = min(air_noise, _NOISIEST * (scale.white - scale.black))
    rng = np.random.default_rng((seed, 1))
    real, imaginary = rng.standard_normal((2, len(face)), dtype=np.float32)
    share = np.clip(signal / tissue_level, 0, 1)

    def noisy(tissue_sd: float) -> np.ndarray:
        sd = air_sd + (tissue_sd - air_sd) * share
        if around.air.signed:
            return signal + sd * real
        return np.sqrt((signal + sd * real) ** 2 + (sd * imaginary) ** 2)

    found = noisy(_tissue_noise(signal, noisy, around, scale, tissue_level))
    if air_noise > air_sd:
        # Salt and pepper, as in ratios of two scans (MP2RAGE), follows no law of noise: take values that are there.
        found = share * found + (1 - share) * rng.choice(air, len(face))
    return found + scale.black


def _visible_air(around: Surroundings, scale: IntensityScale) -> np.ndarray:
    """Values (N,) above black of the visible air around the mask, which is not padding; none where there is little."""
    window = geometry.window_around(around.mask, 24)
    values, mask, head = (a[window] for a in (around.values, around.mask, around.head))
    visible = ~ndimage.binary_dilation(head, iterations=4) & ~mask & np.isfinite(values)
    if around.air.padding is not None:
        visible &= values > around.air.padding
    air = values[visible] - scale.black
    return air if air.size > _LEAST_AIR else air[:0]


def _tissue_noise(
    signal: np.ndarray,
    noisy: Callable[[float], np.ndarray],
    around: Surroundings,
    scale: IntensityScale,
    tissue_level: float,
) -> float:
    """The standard deviation of the noise to add, so that painted tissue is as noisy as the visible tissue.

    The visible tissue is that of the head without the brain (see ``_scalp``).
    """
    composed = around.values - scale.black
    composed[around.mask] = signal
    painted = around.mask & (composed > tissue_level)
    if not painted.any():
        return 0.0
    window = geometry.window_around(painted, 16)
    mask, head, brain = (a[window] for a in (around.mask, around.head, around.brain))
    piece = composed[window]
    outside = _scalp(head & ~mask & (piece > tissue_level), brain)
    inside = ndimage.binary_erosion(painted[window], iterations=2)
    energy = _energy(piece)
    target, present = _noise_variance(energy[outside]), _noise_variance(energy[inside])
    sd = float(np.sqrt(max(target - present, 0.0)))
    nearer = geometry.window_around(painted[window], 2)
    piece, inside = piece[nearer], inside[nearer]  # a view: it follows changes of ``composed``
    # The variances of texture and noise do not simply add: measure the result and correct the level.
    for _ in range(3):
        if not sd:
            break
        composed[around.mask] = noisy(sd)
        reached = _noise_variance(_energy(piece)[inside])
        if reached <= 1.1 * target:
            break
        sd *= 0.9 * float(np.sqrt(target / reached))
    return sd


def _scalp(tissue: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """The inside of visible ``tissue`` (bool) away from the ``brain``, whose folds look like noise in coarse scans."""
    return ndimage.binary_erosion(tissue & ~ndimage.binary_dilation(brain, iterations=2), iterations=2)


def _energy(a: np.ndarray) -> np.ndarray:
    """Local mean (27 voxels) of the squared difference between a voxel and the mean of its six neighbours."""
    return ndimage.uniform_filter((a - _neighbours(a)) ** 2, 3)


def _noise_variance(energy: np.ndarray) -> float:
    """The variance of the noise: the lowest tenth of the local ``energy``, where there are no edges."""
    energy = energy[np.isfinite(energy)]
    return float(np.quantile(energy, 0.1)) / _NOISE_GAIN if energy.size > 50 else 0.0


def _neighbours(a: np.ndarray) -> np.ndarray:
    """Mean of the six neighbours of every voxel."""
    kernel = np.array([0.5, 0.0, 0.5], dtype=np.float32) / 3
    return sum(ndimage.correlate1d(a, kernel, axis=axis, mode="nearest") for axis in range(3))
