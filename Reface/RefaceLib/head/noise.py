"""Takes the noise of a scan's air out of what the networks see: they know air that is dark and nearly even."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from RefaceLib.volume.air import Air

_NOISY = 0.05  # of bright tissue: scans with less noise in air are seen as they are
_VERY_NOISY = 0.1  # with more, every voxel is seen as the median of its neighbours
_SPECKLED = 0.2  # of bright tissue: edges in a head differ less from their surroundings, over _AROUND voxels
_AROUND = 5
_MANY = 0.1  # of all voxels: with more speckles, the noise is in them and not in the tissue


def without_noise(image: np.ndarray, air: Air) -> np.ndarray:
    """``image`` (I, J, K; float32) above the level of ``air``, and its air as dark as that.

    A magnitude's noise lifts air and dark tissue: the squares of signal and noise add (Gudbjartsson and Patz, Magn.
    Reson. Med. 1995). Air of any value, as in ratios of two scans, differs from its neighbours more than a head does.
    """
    level = np.float32(air.level)
    if image.min() < level:  # padding, rings at edges, and half of a noise that goes both ways
        image = np.maximum(image, level)
    bright = float(np.percentile(image[::2, ::2, ::2], 98)) - level
    if air.noise < _NOISY * bright:
        return image
    signal = image - level
    neighbours = sum(ndimage.uniform_filter1d(signal, 3, axis=axis) for axis in range(3)) / 3
    speckle = ndimage.uniform_filter((signal - neighbours) ** 2, _AROUND)
    speckled = speckle > (_SPECKLED * bright) ** 2
    signal[speckled] = 0
    if not air.signed and speckled.mean() < _MANY:
        signal = np.sqrt(np.maximum(signal**2 - 2 * np.float32(air.noise) ** 2, 0))
    if air.noise > _VERY_NOISY * bright:
        signal = ndimage.median_filter(signal, 3)
    return signal + level
