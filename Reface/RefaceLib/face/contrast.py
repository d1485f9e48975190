"""Contrast matching: gives painted tissue the contrast of this scan.

The brightness of fat and muscle differs between scanners, and a network paints the contrast of its training scans. The
visible scalp, temples and neck have the tissue of a face, and their quantiles correlate with the face's between heads.
Only tissue near the face is used: a coil brightens what lies near it, so the back of a head says nothing about its
front.
"""

from __future__ import annotations

import numpy as np

from RefaceLib.face.rasters import interpolated
from RefaceLib.face.skindistance import distance_to

TISSUE = 0.15  # of white matter: brighter voxels are tissue
_MUSCLE = 0.32  # no tissue becomes darker: thin walls of cavities would open
_DARKEST = 0.06  # bone and cavities in a head: no scanner shows them as dark as air
_NEAR_AIR_MM = 25.0
_NEAR_FACE_MM = 15.0
_FROM_BRAIN_MM = 6.0
_ENOUGH = 500  # voxels of 2 mm
_SLOPES = (0.5, 2.5)  # limits of the mapping's slope: noise and edges are scaled by it
# Depths (mm) at which skin is compared; not within its first half millimetre, which is the scan's blur.
_FACE_MM, _SCALP_MM = (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
_GAIN, _FEWEST = (0.8, 2.5), 200  # limits of the factor; voxels of 1 mm


def flesh(
    visible: np.ndarray, hidden: np.ndarray, view: np.ndarray, head: np.ndarray, brain: np.ndarray, spacing: float
) -> np.ndarray:
    """Where a raster of ``spacing`` mm shows soft tissue like that of the ``hidden`` face: (X, Y, Z) bool.

    ``visible`` (X, Y, Z) is the scan, 1 = white matter. ``hidden``, ``view`` (in the field of view), ``head`` and
    ``brain`` are bool.
    """
    near_air, near_face = (
        distance_to(part, spacing, 1.5 * limit) < limit
        for part, limit in ((~head, _NEAR_AIR_MM), (hidden, _NEAR_FACE_MM))
    )
    far_in = distance_to(brain, spacing, 1.5 * _FROM_BRAIN_MM) > _FROM_BRAIN_MM
    return view & ~hidden & head & near_air & near_face & far_in & (visible > TISSUE)


def match(
    picture: np.ndarray, painted: np.ndarray, shown: np.ndarray, percentiles: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Map ``picture`` so that its tissue has the ``percentiles`` (Q,) of the visible tissue, plus ``offsets`` (Q,).

    ``painted`` (N,) are values of the picture's tissue under the skin, ``shown`` (M,) those of the visible tissue (see
    ``flesh``). The mapping is piecewise linear and increasing. With too few values, ``picture`` is returned unchanged.
    """
    painted = painted[painted > TISSUE]
    if min(painted.size, shown.size) < _ENOUGH:
        return picture
    source = np.percentile(painted, percentiles)
    target = np.percentile(shown, percentiles) + offsets
    knots, levels = [0.0, TISSUE], [_DARKEST, TISSUE]
    for here, wanted in zip(source, target, strict=True):
        low, high = (levels[-1] + slope * (here - knots[-1]) for slope in _SLOPES)
        knots.append(here)
        levels.append(np.clip(wanted, low, high))
    matched = interpolated(picture, knots, levels)
    brighter = picture > knots[-1]
    matched[brighter] = picture[brighter] * (levels[-1] / knots[-1])
    return np.maximum(matched, np.minimum(picture, _MUSCLE), out=matched)


def match_skin(
    picture: np.ndarray,
    depth: np.ndarray,
    visible: np.ndarray,
    shown: np.ndarray,
    painted: np.ndarray,
    face: np.ndarray,
) -> np.ndarray:
    """Scale ``picture`` (X, Y, Z) so that skin and the fat under it are as bright, by ``depth`` (mm), as in this scan.

    ``visible`` is the scan (1 = white matter) where skin is ``shown`` (bool) near what is ``painted`` (bool). ``face``
    is 1 in the face and 0 at the ears, whose scalp is compared with scalp. The brightness of fat differs widely between
    scans. With too little visible skin, nothing changes.
    """
    gain = np.ones_like(picture)
    for share, knots in ((face, _FACE_MM), (1 - face, _SCALP_MM)):
        like = (depth > knots[0] - 0.5) & (depth < knots[-1] + 0.5) & (share > 0.5)
        there, here = (
            _profile(depth[where], values[where], knots)
            for values, where in ((visible, like & shown), (picture, like & painted))
        )
        if there is not None and here is not None:
            ratio = np.clip(there / np.maximum(here, 0.1), *_GAIN)
            more = interpolated(depth, knots, ratio) - 1
            more *= share
            gain += more
    gain *= picture
    return gain


def _profile(depth: np.ndarray, values: np.ndarray, knots: tuple[float, ...]) -> np.ndarray | None:
    """Mean ``values`` (N,) at the depths ``knots`` (mm), None with too few voxels.

    A voxel counts for the two knots next to its ``depth`` (N,), with linear weights.
    """
    place = np.interp(depth, knots, np.arange(len(knots)))
    low = np.minimum(place.astype(int), len(knots) - 2)
    upper = place - low
    counts, sums = (
        np.bincount(low, (1 - upper) * of, len(knots)) + np.bincount(low + 1, upper * of, len(knots))
        for of in (np.ones_like(values), values)
    )
    return sums / counts if counts.min() >= _FEWEST else None
