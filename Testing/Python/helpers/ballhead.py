"""A tiny head for the face model: a ball with a bump in front, which is hidden, and one behind, which is seen."""

from __future__ import annotations

import numpy as np

from RefaceLib.face import shapemodel, skindistance
from RefaceLib.face.shapemodel import Detail, ShapeModel
from RefaceLib.head import canonical

HIDDEN, SEEN = 0, 1  # modes


def voxel_positions(spacing, behind=0.0):
    grid = canonical.box(spacing, behind)
    index = np.moveaxis(np.indices(grid.shape), 0, -1) * spacing + grid.affine[:3, 3]
    return np.moveaxis(index, -1, 0)


def ball_distance(spacing, nose=0.0):
    """Signed distance of a ball of 70 mm with a nose at the front, on the box."""
    x, y, z = voxel_positions(spacing)
    head = x**2 + (y - 10) ** 2 + (z + 50) ** 2 < 70**2
    head |= x**2 + (y - 80) ** 2 + (z + 50) ** 2 < nose**2
    return skindistance.signed_distance(head, spacing)


def bump_field(centre, height, width=18.0):
    place = voxel_positions(shapemodel.SPACING)
    squared = sum((a - c) ** 2 for a, c in zip(place, centre, strict=True))
    return height * np.exp(-squared / (2 * width**2))


def ball_depth(radius, behind=0.0):
    """Depth under the skin of a ball, at 2 mm: without the steps of a distance that was measured on a raster."""
    x, y, z = voxel_positions(2.0, behind)
    return np.clip(radius - np.sqrt(x**2 + (y - 10) ** 2 + (z + 50) ** 2), -16, 16).astype(np.float32)


def depth_with_sinus():
    """Depth of a ball with a frontal sinus, 5 mm under its skin, right beside the mask."""
    x, y, z = voxel_positions(2.0)
    to_sinus = np.sqrt(x**2 + (y - 54) ** 2 + (z - (-50 + np.sqrt(57**2 - 44**2))) ** 2) - 8
    return np.minimum(ball_depth(70), to_sinus).astype(np.float32)


def ball_model():
    """Shape model of the ball with three components: the bump in front, the one behind, and one at a cheek."""
    modes = np.stack(
        [bump_field((0, 80, -50), 6.0), bump_field((0, -30, 0), 6.0, 30.0), bump_field((50, 40, -50), 3.0)]
    )
    return ShapeModel(ball_distance(shapemodel.SPACING), modes.astype(np.float32))


def front_mask():
    """The mask of the 2 mm box that hides all of the front."""
    return voxel_positions(2.0)[1] > 40


def bump_detail():
    """A detail whose skin lies 2 mm farther out in front, and randomly more or less."""
    bump = bump_field((0, 80, -50), 1.0, 12.0).astype(np.float32)
    return Detail(2 * bump, fifth(1.5 * bump))


def fifth(mode):
    """The components of a detail, of which the fifth, as the first that is stretched in full, is ``mode``."""
    return np.stack([*np.zeros((4, *mode.shape), np.float32), mode.astype(np.float32)])
