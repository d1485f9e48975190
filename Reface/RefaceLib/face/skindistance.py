"""The signed distance to the skin of a head (mm, positive inside), and where it is known though a face is hidden."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SKIN = 0.27  # of the brightest tissue nearby: where a head ends
_RIND = 6.0  # mm: so far is nearby, and no head mask is farther from the skin
_DIMMEST = 0.3  # of white matter: scalp is never dimmer
CLIP = 16.0  # mm: distances beyond it say nothing about the surface
_CUT_MM = 2.0


def to_the_skin(head: np.ndarray, picture: np.ndarray, spacing: float) -> np.ndarray:
    """``head`` (bool) cut back, from outside, to where ``picture`` (0 in air) is as bright as skin.

    A head mask ends a voxel or two outside the skin, and a face painted to fit it would stand out by as much. Skin is
    told from air by the brightest tissue nearby, because the coil and the sequence make scalps bright or dim. Nothing
    enclosed is outside: dark bone at the cut, where a face was taken away, has no skin.
    """
    around = 2 * round(_RIND / spacing) + 1
    dark = picture < SKIN * np.maximum(ndimage.maximum_filter(picture, around), _DIMMEST)
    steps = round(_RIND / spacing)
    return enclosed(~ndimage.binary_dilation(~enclosed(head), iterations=steps, mask=dark | ~head))


def enclosed(mask: np.ndarray) -> np.ndarray:
    """``mask`` (bool) and what it encloses: all that is not connected to the array's border."""
    labels, count = ndimage.label(~mask)
    border = np.zeros(count + 1, dtype=bool)
    for axis in range(mask.ndim):
        for end in (0, -1):
            border[labels.take(end, axis)] = True
    border[0] = False  # the label of the mask itself
    return ~border[labels]


def signed_distance(head: np.ndarray, spacing: float) -> np.ndarray:
    """Distance to the skin in mm (float32), positive inside ``head`` (bool), clipped to CLIP."""
    inside = ndimage.distance_transform_edt(head, sampling=spacing)
    outside = ndimage.distance_transform_edt(~head, sampling=spacing)
    return np.clip(inside - outside, -CLIP, CLIP).astype(np.float32)


def trusted(
    distance: np.ndarray, hidden: np.ndarray, spacing: float, margin: float = _CUT_MM
) -> tuple[np.ndarray, np.ndarray]:
    """Which voxels' distance is sure though ``hidden`` voxels are unknown, and each voxel's distance to the hidden.

    A distance is sure where the skin is nearer than the next hidden voxel: no hidden skin can be nearer. It must be
    nearer by ``margin`` (mm): where a face was cut off, the cut may be taken for skin.
    """
    away = ndimage.distance_transform_edt(~hidden, sampling=spacing).astype(np.float32)
    return (~hidden) & (np.abs(distance) < away - margin), away
