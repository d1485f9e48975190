"""Takes the noise of a scan's air out of what the networks see: they know air that is dark and nearly even."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from RefaceLib.volume.air import Air

_NOISY = 0.05  # of bright tissue: scans with less noise in air are seen as they are
_VERY_NOISY = 0.1  # with more, every voxel is seen as the median of its neighbours
# Speckles differ more than this from their neighbours, over _AROUND voxels: of bright tissue, as its noise does not
# differ; and of the variance there, of which white noise has 0.52 and edges less than 0.1.
_SPECKLED, _ALL_NOISE, _AROUND = 0.13, 0.3, 5
_MANY = 0.1  # of all voxels: with fewer, they are detail of a noisy head


def without_noise(image: np.ndarray, air: Air) -> np.ndarray:
    """``image`` (I, J, K; float32) above the level of ``air``, and its air as dark as that.

    A magnitude's noise lifts air and dark tissue: the squares of signal and noise add (Gudbjartsson and Patz, Magn.
    Reson. Med. 1995). Air of any value, as in ratios of two scans, is taken out first (see ``speckles``).
    """
    level = np.float32(air.level)
    if image.min() < level:  # padding, rings at edges, and half of a noise that goes both ways
        image = np.maximum(image, level)
    bright = _bright(image, air)
    if air.noise < _NOISY * bright:
        return image
    speckled = speckles(image, air)
    if speckled.any():
        return np.where(speckled, level, image)
    signal = image - level
    if not air.signed:
        signal = np.sqrt(np.maximum(signal**2 - 2 * np.float32(air.noise) ** 2, 0))
    if air.noise > _VERY_NOISY * bright:
        signal = ndimage.median_filter(signal, 3)
    return signal + level


def speckles(image: np.ndarray, air: Air) -> np.ndarray:
    """Where an ``image`` (I, J, K) is salt and pepper, any number as in the air of ratios of two scans (bool).

    Such voxels differ from their neighbours as noise alone does, and are many; in other scans there are none. Edges,
    and even sheets of one voxel, vary over a region by far more than from voxel to voxel. A region that was blanked, as
    a face may have been, tells nothing of the air beside it.
    """
    bright = _bright(image, air)
    if air.noise < _NOISY * bright:
        return np.zeros(image.shape, dtype=bool)
    signal = np.maximum(image - np.float32(air.level), 0)
    blank = ndimage.binary_dilation(ndimage.binary_erosion(signal == 0, iterations=2), iterations=3)
    known = (~blank).astype(np.float32)
    count = np.maximum(ndimage.uniform_filter(known, _AROUND), 1 / _AROUND**3)
    rough = signal - sum(ndimage.uniform_filter1d(signal, 3, axis=axis) for axis in range(3)) / 3
    mean, square, rough = (ndimage.uniform_filter(a * known, _AROUND) / count for a in (signal, signal**2, rough**2))
    found = (rough > (_SPECKLED * bright) ** 2) & (rough > _ALL_NOISE * (square - mean**2))
    return found if found.mean() > _MANY else np.zeros(image.shape, dtype=bool)


def _bright(image: np.ndarray, air: Air) -> float:
    return float(np.percentile(image[::2, ::2, ::2], 98)) - air.level
