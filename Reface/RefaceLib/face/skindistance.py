"""The signed distance to the skin of a head (mm, positive inside), and where it is known although a face is hidden."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SKIN = 0.27  # a voxel is skin from this fraction of the brightest tissue nearby
_RIND = 6.0  # mm: radius of "nearby"; a head mask ends no farther from the skin
_DIMMEST = 0.3  # of white matter: scalp is never dimmer
CLIP = 16.0  # mm: larger distances carry no information about the surface
_CUT_MM = 2.0  # margin at a cut, see trusted
_FARTHEST = 24.0  # mm: farther from what is hidden, every distance is valid


def trim_to_skin(head: np.ndarray, picture: np.ndarray, spacing: float) -> np.ndarray:
    """Trim ``head`` (bool) from outside until ``picture`` (0 in air) is as bright as skin. ``spacing`` in mm.

    A head mask ends a voxel or two outside the skin, and a face fitted to it would stand out by as much. Skin and air
    are separated relative to the brightest tissue nearby, because scalps are bright or dim by coil and sequence.
    Enclosed voxels stay inside: dark bone at the cut, where a face was removed, has no skin.
    """
    around = 2 * round(_RIND / spacing) + 1
    dark = picture < SKIN * np.maximum(ndimage.maximum_filter(picture, around), _DIMMEST)
    steps = round(_RIND / spacing)
    return enclosed(~ndimage.binary_dilation(~enclosed(head), iterations=steps, mask=dark | ~head))


def enclosed(mask: np.ndarray) -> np.ndarray:
    """``mask`` (bool) with its holes filled: all voxels that are not connected to the array's border outside it."""
    labels, count = ndimage.label(~mask)
    border = np.zeros(count + 1, dtype=bool)
    for axis in range(mask.ndim):
        for end in (0, -1):
            border[labels.take(end, axis)] = True
    border[0] = False  # the label of the mask itself
    return ~border[labels]


def distance_to(where: np.ndarray, spacing: float, limit: float) -> np.ndarray:
    """Distance (mm, float32) from every voxel to the nearest one ``where`` (bool), at most ``limit``.

    It is exact: squares of distances are found axis by axis (Felzenszwalb and Huttenlocher 2012). Up to a limit of some
    voxels that is faster than scipy's distance transform.
    """
    reach = int(np.ceil(limit / spacing))
    squares = np.where(where, 0, reach**2).astype(np.int16)  # in voxels
    for axis in range(where.ndim):
        found = squares.copy()
        here, there = (np.moveaxis(a, axis, 0) for a in (found, squares))
        for step in range(1, min(reach, len(here))):
            np.minimum(here[step:], there[:-step] + step**2, out=here[step:])
            np.minimum(here[:-step], there[step:] + step**2, out=here[:-step])
        squares = found
    return np.minimum(spacing * np.sqrt(squares, dtype=np.float32), np.float32(limit))


def signed_distance(head: np.ndarray, spacing: float) -> np.ndarray:
    """Distance to the surface of ``head`` (bool) in mm (float32), positive inside, clipped to +-CLIP."""
    return distance_to(~head, spacing, CLIP) - distance_to(head, spacing, CLIP)


def trusted(
    distance: np.ndarray, hidden: np.ndarray, spacing: float, margin: float = _CUT_MM
) -> tuple[np.ndarray, np.ndarray]:
    """Where a signed ``distance`` (mm) is valid although ``hidden`` voxels (bool) are unknown.

    Returns a boolean array, and each voxel's distance (mm) to the hidden ones, up to 24. A distance is valid where
    the skin is nearer than the next hidden voxel, because no hidden skin can be nearer. It must be nearer by
    ``margin`` (mm): the cut, where a face was removed, may be mistaken for skin.
    """
    away = distance_to(hidden, spacing, _FARTHEST)
    return (~hidden) & (np.abs(distance) < away - margin), away
