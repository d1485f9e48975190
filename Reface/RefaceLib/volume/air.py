"""What air looks like in a scan: where its signal is zero, how noisy that is, and what number pads the field of view.

Every step is relative to the scan: another unit of its values changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

_SAMPLE = 400_000  # voxels are enough
_EXTREMES = (0.1, 98.0)  # percentiles: no more than rings at edges is darker; bright tissue
_PADDED = 0.005  # the least share of the field of view that padding fills
_APART = 4.0  # times the spread of air: padding lies farther below it
_SATURATED = 0.005  # of what is not padding: more of the largest value is a window's upper end
_BETWEEN = 0.03  # of what is not padding: no more lies nearer to it than to air
# Padding within air's noise: so many steps and at most so many spreads from its mode; so many times what is beside it.
_STEPS, _WITHIN, _SPIKE = 8, 6.0, 2.0
_FEW, _NARROW = 0.15, 0.05  # the least share of air beside padding; its largest spread, of the range to bright tissue
_NEAR_ZERO, _NEAR_SPREAD = 0.1, 3.0  # of bright tissue, and times its spread: the mode of a magnitude's noise
_NEAR_MODE, _REACHED = 0.25, 0.002  # of the mode, its darkest voxels; their least share
_ONE_SIDED, _REACH = 1.4, 2.5  # a magnitude's spread above its mode over that below: 1.6, normal noise's 1; and how
# many times the latter it reaches down: 1.9, normal noise 3
_BROAD = 0.25  # of the range up to bright tissue: air with more spread (salt and pepper) has no mode
_NEGATIVE = 0.25  # the share of air below zero from which noise goes both ways; rings at edges have less
RAYLEIGH, NORMAL = 1.1774, 0.6745  # the median of the noise's size, for a standard deviation of 1


@dataclass(frozen=True)
class Air:
    """The ``level`` of zero signal, the standard deviation ``noise`` about it, and the value of ``padding``.

    The noise is ``signed`` where it goes both ways. Otherwise it is that of a magnitude: both of its channels have that
    standard deviation, and no voxel lies below the level. ``padding`` is one exact value far below the level that fills
    part of the field of view, None where nothing does.
    """

    level: float = 0.0
    noise: float = 0.0
    padding: float | None = None
    signed: bool = False


def measure_air(values: np.ndarray, where: np.ndarray | None = None) -> Air:
    """The air in ``values`` (any shape; NaN and Inf are left out); Air() where all are the same.

    Only what lies ``where`` (bool, the same shape; default: everywhere) has a say.

    Air is the darker class of Otsu's threshold, and its level the mode of that. In a magnitude image, whose noise
    reaches down to zero, the level is exactly 0.
    """
    order: Literal["C", "F"] = "F" if values.flags.f_contiguous else "C"
    some = slice(None, None, values.size // _SAMPLE | 1)  # odd, so that all columns of the volume have a say
    flat = values.ravel(order)[some]
    known = np.isfinite(flat)
    if where is not None:
        known &= where.ravel(order)[some]
    sample = np.sort(flat[known].astype(np.float64))
    if not sample.size or sample[0] == sample[-1]:
        return Air()
    padding = _padding(sample)
    if padding is not None:
        sample = sample[sample > padding]
    dark, bright = _classes(sample)
    mode, spread = _mode_and_spread(dark)
    least = float(np.percentile(dark, _EXTREMES[0])) if spread else mode
    if _reaches_zero(dark, mode, spread, bright, padding):
        level = 0.0
    elif 0 < spread < _BROAD * (bright - mode) and not _is_one_sided(dark, mode, spread):
        return Air(0.0 if abs(mode) < 0.5 * spread else mode, spread, padding, signed=True)
    else:
        level = least
    return Air(level, float(np.median(np.abs(dark - level))) / RAYLEIGH, padding if padding != level else None)


def _reaches_zero(dark: np.ndarray, mode: float, spread: float, bright: float, padding: float | None) -> bool:
    """Whether the noise in a sorted sample ``dark`` of air is that of a magnitude above zero."""
    near = 0 <= mode < max(_NEAR_ZERO * (bright - mode), _NEAR_SPREAD * spread)
    reached = (dark <= _NEAR_MODE * mode).mean() > _REACHED or padding == 0
    return bool(near and reached and (dark < 0).mean() < _NEGATIVE)


def _is_one_sided(dark: np.ndarray, mode: float, spread: float) -> bool:
    """Whether a sorted sample ``dark`` of air ends at a least value, above which the noise of a magnitude rises."""
    above = dark[(dark > mode) & (dark < mode + 4 * spread)] - mode
    longer = above.size > 0 and float(np.median(above)) / NORMAL > _ONE_SIDED * spread
    return bool(longer and mode - np.percentile(dark, _EXTREMES[0]) < _REACH * spread)


def _padding(sample: np.ndarray) -> float | None:
    """The least value of a sorted ``sample``, where that is padding."""
    least = sample[0]
    count = int(np.searchsorted(sample, least, side="right"))
    rest = sample[count:]
    if count < _PADDED * sample.size or rest[0] == rest[-1]:
        return None
    # A window that saturates bone saturates air as well, and the darkest of the rest is soft tissue.
    if rest.size - np.searchsorted(rest, rest[-1]) > _SATURATED * rest.size:
        return None
    dark, bright = _classes(rest)
    mode, spread = _mode_and_spread(dark)
    step = float(np.diff(np.unique(rest[: max(1, rest.size // 2)])).min(initial=np.inf))
    width = max(spread, step)
    air = (np.abs(rest - mode) <= 3 * width).mean()
    if air < _FEW or spread > _NARROW * (bright - mode):
        return None
    between, next_to = (np.searchsorted(rest, place) for place in ((least + mode) / 2, least + spread / 2))
    apart = mode - least > _APART * width and between < _BETWEEN * rest.size
    within = max(spread, _STEPS * step) < mode - least < _WITHIN * spread
    stands_out = within and count > _SPIKE * next_to
    return float(least) if apart or stands_out else None


def _classes(sample: np.ndarray) -> tuple[np.ndarray, float]:
    """The darker class of a sorted ``sample`` by Otsu's threshold, and the level of bright tissue."""
    low, high = np.percentile(sample, _EXTREMES)
    if not high > low:
        return sample, float(high)
    counts, edges = np.histogram(sample, bins=256, range=(low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * centres)
    above = counts.sum() - below
    between = below * above * (sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)) ** 2
    threshold = edges[1 + int(between.argmax())]
    return sample[: max(1, np.searchsorted(sample, threshold))], float(high)


def _mode_and_spread(dark: np.ndarray) -> tuple[float, float]:
    """The mode of a sorted sample ``dark``, and the standard deviation of its noise by what is darker than the mode.

    The half-sample mode (Robertson and Cryer, Comput. Stat. 1974) is found, and steadied by the median around it.
    """
    dense = dark
    while len(dense) > 2:
        half = (len(dense) + 1) // 2
        start = int((dense[half - 1 :] - dense[: len(dense) - half + 1]).argmin())
        dense = dense[start : start + half]
    mode = float(dense.mean())
    spread = _spread_below(dark, mode)
    if spread:
        mode = float(np.median(dark[np.abs(dark - mode) <= 2 * spread]))
        spread = _spread_below(dark, mode)
    return mode, spread


def _spread_below(dark: np.ndarray, mode: float) -> float:
    below = mode - dark[: np.searchsorted(dark, mode)]
    return float(np.median(below)) / NORMAL if below.size > _REACHED * dark.size else 0.0
