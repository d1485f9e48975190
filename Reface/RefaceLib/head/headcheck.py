"""What speaks against a head that was found: a brain out of view, a uniform one, one without a head around it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.head.headparser import HeadParse
from RefaceLib.volume import geometry


def inspect_head(shape: tuple[int, ...], affine: np.ndarray, parse: HeadParse) -> list[str]:
    """Warnings about the head; HeadNotFoundError for a brain without a head around it.

    ``shape`` and ``affine`` (IJK -> RAS mm) are those of the volume: where it ends.
    """
    image, view = parse.picture, geometry.in_view(shape, affine, parse.grid)
    brain = parse.brain & view
    if brain.sum() < 0.2 * parse.brain.sum():
        raise HeadNotFoundError("Too little of the brain is in the field of view to place a face: give a whole head.")
    dark, grey, white = np.percentile(image[brain], (10, 50, 90))
    if white - dark < 0.05 * grey:
        raise HeadNotFoundError("No head was found in the volume: what was taken for a brain is uniform.")
    # Far enough out that a brain found too small does not count its own rim as scalp.
    away = ndimage.distance_transform_edt(~parse.brain, sampling=geometry.voxel_sizes(parse.grid.affine))
    scalp = image[view & (away > 14) & (away < 20)]
    if scalp.size and (scalp > 0.12 * white).mean() < 0.05:
        raise HeadNotFoundError(
            "The volume holds a brain without a head (skull-stripped): there is no face to replace."
        )
    depth = ndimage.distance_transform_edt(brain, sampling=geometry.voxel_sizes(parse.grid.affine))
    rim, core = image[(depth > 2) & (depth < 8)], image[depth > 16]
    if core.size and np.median(rim) > 0.97 * np.median(core):
        return ["The volume does not look T1-weighted: the face is made for T1 and may not match."]
    return []
