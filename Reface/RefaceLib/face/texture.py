"""Gives a painted face the sharpness and the noise of this scan, measured on the visible head.

Both are measured at some thousands of voxels, by their surroundings, and changed where there is a face: most of a mask
is air.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

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
_REACH = sum(len(kernel) // 2 for kernel in _KERNELS)  # voxels
# Limits of a scale's factor in one pass, number of passes, and over-relaxation: limiting a voxel to the range of its
# neighbours takes away some of the gain, so each pass raises the missing factor to this power.
_AT_ONCE, _PASSES, _HASTE = (0.5, 3.0), 4, 2.0
_NEAR_ENOUGH = 1.12  # tolerance of the mean square: detail within this factor of its target stays
_LEAST = 1e-18  # mean square of no detail, of white matter squared
_AIR = 1e-3  # of white matter: darker voxels are painted air
_FEWEST_EDGES = 500  # voxels
_EDGES, _SMOOTH = 5000, 10_000  # voxels at which sharpness and noise are measured
_AT_A_TIME = 1 << 17  # voxels that get their noise: they stay in a processor's cache
_BOX = 64  # voxels: what is sharpened at once stays in a processor's cache
_LEAST_AIR = 100  # voxels
_NOISIEST = 0.1  # of white matter: what air is noisier is salt and pepper


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What a new face is put into, in the native grid (I, J, K): scaled ``values`` (float32) that are blank in the
    ``mask``, what is visible of ``head`` and ``brain`` (bool), and what ``air`` looks like."""

    values: np.ndarray
    mask: np.ndarray
    head: np.ndarray
    brain: np.ndarray
    air: Air

    def turned(self) -> Surroundings:
        """The same, seen with its axes in reverse order (K, J, I): arrays of a file lie so in memory."""
        return Surroundings(self.values.T, self.mask.T, self.head.T, self.brain.T, self.air)

    def near(self, margin: int) -> Surroundings:
        """What lies up to ``margin`` voxels beyond the box around the mask: views, since that may be nearly all."""
        window = geometry.window_around(self.mask, margin)
        return Surroundings(self.values[window], self.mask[window], self.head[window], self.brain[window], self.air)

    def with_face(self, signal: np.ndarray | float, black: float) -> np.ndarray:
        """The values above ``black`` (I, J, K), with the ``signal`` (N,) in the mask; values that are none are 0."""
        composed = np.nan_to_num(self.values, nan=black)
        composed -= np.float32(black)
        composed[self.mask] = signal
        return composed


def sharpened(face: np.ndarray, around: Surroundings, scale: IntensityScale) -> np.ndarray:
    """``face`` (N,), the mask's voxels in C order, with edges as sharp as those of the scan ``around`` it.

    A network paints softer than a scanner measures, and brain extraction responds: a head with a blurred face loses
    brain. Detail of every scale, from half a voxel on, is therefore made as strong at edges inside the mask as at those
    of the visible head (root mean square, without the noise's share). Blur removes the finest detail most. A single
    unsharp mask that restores it would make coarser detail too strong. No voxel leaves the range of its neighbours, so
    edges become steep without rings.
    """
    white = scale.white - scale.black
    composed = around.with_face(face - scale.black, scale.black)
    composed[speckles(around.values, around.air) & ~around.mask] = 0  # they are no edges
    tissue = composed > _TISSUE * white
    edges = geometry.grown(tissue, 1) & ~geometry.shrunk(tissue, 1)
    near = geometry.grown(around.head, 2) & ~geometry.grown(around.brain, 2)
    outside = _some(edges & near & ~geometry.grown(around.mask, 2), _EDGES)
    inside = _some(edges & geometry.shrunk(around.mask, 2), _EDGES)
    if min(len(inside), len(outside)) < _FEWEST_EDGES:
        return face
    noise = _noise_variance(_energy(_patches(composed, _scalp(around, tissue), 2)))
    least = _LEAST * white**2
    target = np.maximum(_strength(composed, outside) - noise * np.array(_SCALE_NOISE), least)
    painted = around.mask & (np.abs(composed) > _AIR * white)
    for _ in range(_PASSES):
        missing = target / np.maximum(_strength(composed, inside), least)
        missing[np.maximum(missing, 1 / missing) < _NEAR_ENOUGH] = 1
        if (missing == 1).all():
            break
        _scale_details(composed, painted, np.clip(missing ** (_HASTE / 2), *_AT_ONCE))
    return np.maximum(composed[around.mask], 0) + np.float32(scale.black)


def _scale_details(a: np.ndarray, where: np.ndarray, factors: np.ndarray) -> None:
    """Multiply the detail of each scale in ``a`` by its factor, ``where`` (bool) it is asked for, within the range of
    each voxel's neighbours."""
    before = np.pad(a, _REACH, mode="edge")
    # The picture and the smoother ones that follow it, each with its weight: the sum of their differences by factors.
    weights = np.diff([0, *factors, 1]).astype(np.float32)
    for box in geometry.boxes_around(where, _BOX):
        piece = before[tuple(slice(s.start, s.stop + 2 * _REACH) for s in box)]
        sharper = weights[0] * _without_rim(piece, _REACH)
        smooth = piece
        for kernel, weight in zip(_KERNELS, weights[1:], strict=True):
            smooth = _smoothed(smooth, kernel)
            sharper += weight * _without_rim(smooth, (smooth.shape[0] - sharper.shape[0]) // 2)
        beside = _without_rim(piece, _REACH - 1)
        limited = np.clip(sharper, _of_neighbours(beside, np.minimum), _of_neighbours(beside, np.maximum))
        a[box][where[box]] = limited[where[box]]


def _smoothed(a: np.ndarray, kernel: tuple[float, ...]) -> np.ndarray:
    """``a`` correlated with a symmetric ``kernel`` along every axis, without the rim where that has no neighbours."""
    reach = len(kernel) // 2
    for axis in range(a.ndim):
        a = a.swapaxes(axis, 0)
        count = len(a) - 2 * reach
        found = a[reach : reach + count] * np.float32(kernel[reach])
        for step in range(1, reach + 1):
            pair = a[reach - step :][:count] + a[reach + step :][:count]
            pair *= np.float32(kernel[reach - step])
            found += pair
        a = found.swapaxes(axis, 0)
    return a


def _without_rim(a: np.ndarray, width: int) -> np.ndarray:
    return a[tuple(slice(width, n - width) for n in a.shape)]


def _of_neighbours(a: np.ndarray, extreme: np.ufunc) -> np.ndarray:
    """The minimum or maximum (``extreme``: np.minimum, np.maximum) over a voxel and its 26 neighbours, for all voxels
    of ``a`` that have them. Equal to scipy's filters of size 3, but far faster."""
    for axis in range(a.ndim):
        a = a.swapaxes(axis, 0)
        found = extreme(a[:-2], a[2:])
        extreme(found, a[1:-1], out=found)
        a = found.swapaxes(axis, 0)
    return a


def _some(where: np.ndarray, most: int) -> np.ndarray:
    """The indices (N, 3) of voxels ``where`` (I, J, K; bool) something is: all, or about ``most`` spread evenly."""
    found = np.flatnonzero(where)
    return np.stack(np.unravel_index(found[:: max(1, round(len(found) / most))], where.shape), axis=1)


def _patches(a: np.ndarray, voxels: np.ndarray, reach: int) -> np.ndarray:
    """The cubes (N, edge, edge, edge) of ``a`` around ``voxels`` (N, 3), ``reach`` voxels far."""
    i, j, k = voxels.T - reach
    return sliding_window_view(a, (2 * reach + 1,) * 3)[i, j, k]


def _strength(a: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    """The mean square (len(_KERNELS),) of each scale's detail in ``a`` at some ``voxels`` (N, 3)."""
    patches = _patches(np.pad(a, _REACH, mode="edge"), voxels + _REACH, _REACH)
    details = np.einsum("nijk,sijk->ns", patches, _detail_kernels())  # unlike a matrix product, in one thread
    return (details.astype(np.float64) ** 2).mean(axis=0)


def _detail_kernels() -> np.ndarray:
    """What correlation gives the detail of each scale: kernels (len(_KERNELS), edge, edge, edge), float32."""
    line, cubes = np.eye(1, 2 * _REACH + 1, _REACH)[0], []
    for kernel in ((1.0,), *_KERNELS):
        line = np.convolve(line, kernel, mode="same")
        cubes.append(reduce(np.multiply.outer, (line, line, line)))
    return -np.diff(cubes, axis=0).astype(np.float32)


def add_noise(face: np.ndarray, around: Surroundings, scale: IntensityScale, seed: int) -> np.ndarray:
    """Give ``face`` (N,), the mask's voxels in C order, the noise of the scan ``around`` it, in tissue and in air."""
    signal = face - np.float32(scale.black)
    tissue_level = np.float32(_TISSUE * (scale.white - scale.black))
    air = _visible_air(around, scale)
    air_noise = float(np.median(np.abs(air)) / (NORMAL if around.air.signed else RAYLEIGH)) if air.size else 0.0
    air_sd = min(air_noise, _NOISIEST * (scale.white - scale.black))
    rng = np.random.default_rng((seed, 1))
    normal = rng.standard_normal((2, len(face)), dtype=np.float32)

    def noisy(signal: np.ndarray, normal: np.ndarray, tissue_sd: float) -> np.ndarray:
        share = np.clip(signal / tissue_level, 0, 1)
        sd = np.float32(air_sd) + np.float32(tissue_sd - air_sd) * share
        if around.air.signed:
            return signal + sd * normal[0]
        return np.sqrt((signal + sd * normal[0]) ** 2 + (sd * normal[1]) ** 2)

    tissue_sd = _tissue_noise(signal, normal, noisy, around, scale)
    found = np.empty_like(signal)
    for start in range(0, len(found), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        found[part] = noisy(signal[part], normal[:, part], tissue_sd)
    if air_noise > air_sd:
        # Salt and pepper, as in ratios of two scans (MP2RAGE), follows no law of noise: take values that are there.
        share = np.clip(signal / tissue_level, 0, 1)
        found = share * found + (1 - share) * rng.choice(air, len(face))
    return found + np.float32(scale.black)


def _visible_air(around: Surroundings, scale: IntensityScale) -> np.ndarray:
    """Values (N,) above black of the visible air around the mask, which is not padding; none where there is little.

    Every other voxel along each axis is looked at.
    """
    values, mask, head = (a[::2, ::2, ::2] for a in (around.values, around.mask, around.head))
    visible = ~geometry.grown(head, 2) & ~mask & np.isfinite(values)
    if around.air.padding is not None:
        visible &= values > around.air.padding
    air = values[visible] - scale.black
    return air if air.size > _LEAST_AIR else air[:0]


def _tissue_noise(
    signal: np.ndarray,
    normal: np.ndarray,
    noisy: Callable[[np.ndarray, np.ndarray, float], np.ndarray],
    around: Surroundings,
    scale: IntensityScale,
) -> float:
    """The standard deviation of the noise to add, so that painted tissue is as noisy as the visible tissue.

    The visible tissue is that of the head without the brain (see ``_scalp``).
    """
    composed = around.with_face(signal, scale.black)
    tissue = composed > _TISSUE * (scale.white - scale.black)
    inside = _some(geometry.shrunk(around.mask & tissue, 2), _SMOOTH)
    target = _noise_variance(_energy(_patches(composed, _scalp(around, tissue), 2)))
    piece = _patches(composed, inside, 2)
    sd = float(np.sqrt(max(target - _noise_variance(_energy(piece)), 0.0)))
    del composed, tissue
    number = np.cumsum(around.mask, dtype=np.int32).reshape(around.mask.shape)  # of a voxel of the mask, from 1
    ours = _patches(around.mask, inside, 2)
    numbers = _patches(number, inside, 2)[ours] - 1
    del number
    # The variances of texture and noise do not simply add: measure the result and correct the level.
    for _ in range(3):
        if not sd:
            break
        piece[ours] = noisy(signal[numbers], normal[:, numbers], sd)
        reached = _noise_variance(_energy(piece))
        if reached <= 1.1 * target:
            break
        sd *= 0.9 * float(np.sqrt(target / reached))
    return sd


def _scalp(around: Surroundings, tissue: np.ndarray) -> np.ndarray:
    """Voxels (N, 3) inside the visible ``tissue`` away from the brain, whose folds look like noise in coarse scans."""
    visible = around.head & ~around.mask & tissue & ~geometry.grown(around.brain, 2)
    return _some(geometry.shrunk(visible, 2), _SMOOTH)


def _energy(patches: np.ndarray) -> np.ndarray:
    """Of cubes of 5 voxels (N, 5, 5, 5): the mean, over the 27 in the middle, of the squared difference between a voxel
    and the mean of its six neighbours; (N,)."""
    middle = patches[:, 1:-1, 1:-1, 1:-1]
    beside = patches[:, :-2, 1:-1, 1:-1] + patches[:, 2:, 1:-1, 1:-1]
    beside += patches[:, 1:-1, :-2, 1:-1] + patches[:, 1:-1, 2:, 1:-1]
    beside += patches[:, 1:-1, 1:-1, :-2] + patches[:, 1:-1, 1:-1, 2:]
    return ((middle - beside / 6) ** 2).mean(axis=(1, 2, 3))


def _noise_variance(energy: np.ndarray) -> float:
    """The variance of the noise: the lowest tenth of the local ``energy``, where there are no edges."""
    energy = energy[np.isfinite(energy)]
    return float(np.quantile(energy, 0.1)) / _NOISE_GAIN if energy.size > 50 else 0.0
