"""Random training samples of the coarse stage: a head in the canonical box, a mask, and a face shape to paint.

Every sample has a truth. For a head's own shape it is the head. For a drawn shape it is the head with its face warped
from its own code to the drawn one, as the face model warps the atlas.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from RefaceLib.face import rasters, shapemodel, skindistance
from RefaceLib.face.conditioning import Conditioning, VisibleSkin, condition, fit_to_visible_skin
from RefaceLib.face.rasters import warp
from RefaceLib.face.shapemodel import Atlas, ShapeModel
from RefaceLib.head import canonical
from RefaceLib.training import synth
from RefaceLib.training.boxes import EIGHT_BIT, Box, mirrored, subject_mask
from RefaceLib.volume import geometry


@dataclass(frozen=True, eq=False)
class FaceSample:
    """Tensors (1, 1, X, Y, Z) of the 2 mm box and the ``code`` (1, K); ``own``: the shape is the head's own.

    ``image`` is what is to be painted; out of ``mask`` it is the head as it is.
    """

    image: Tensor
    mask: Tensor
    shape: Tensor
    atlas: Tensor
    view: Tensor
    code: Tensor
    own: bool


def random_mask(rng: np.random.Generator, box: Box) -> np.ndarray:
    """Mostly our own face mask, jittered; otherwise the region that another tool would have removed."""
    if rng.random() < 0.75:
        return subject_mask(box, rng, ears=rng.random() < 0.75)
    points = geometry.apply_affine(np.linalg.inv(canonical.box(box.spacing).affine), box.points[:6])
    removed = synth.random_removal(rng, torch.from_numpy(box.brain.copy()), points).numpy()
    return removed if removed.sum() > 2000 else subject_mask(box, rng, ears=True)


def random_face(rng: np.random.Generator, box: Box, model: ShapeModel, atlas: Atlas, *, own: bool) -> FaceSample:
    """A training sample of ``box`` or its mirror image."""
    if rng.random() < 0.5:
        box = mirrored(box)
    mask = random_mask(rng, box)
    image, view = box.image.astype(np.float32) / EIGHT_BIT * box.view, box.view
    distance = box.distance.astype(np.float32)
    head = (model, atlas, rng, distance, mask, view)
    conditioning = condition(*head, own=own)
    if not own:
        mine = condition(*head, own=True)
        warped, seen, depth = warp(np.stack([image, view, distance]), from_to(mine.field, conditioning.field))
        image, view, distance = (
            np.where(mask, a, b) for a, b in ((warped, image), (seen > 0.99, view), (depth, distance))
        )
    # A code does not determine all of a face. A generator conditioned on skin that is not there learns to blur it.
    known, small = (rasters.to_raster(a, 2.0, shapemodel.SPACING) for a in (view.astype(np.float32), distance))
    visible = VisibleSkin.of(small, known > 0.99, shapemodel.SPACING)
    field = fit_to_visible_skin(atlas, conditioning.field, visible)
    conditioning = Conditioning.of(atlas, conditioning.code, field)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]

    return FaceSample(
        tensor(image * view), tensor(mask), tensor(conditioning.shape) / skindistance.CLIP, tensor(conditioning.atlas),
        tensor(view), torch.from_numpy(conditioning.code)[None], own,
    )  # fmt: skip


def from_to(mine: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Displacements (3, X, Y, Z) in mm that warp a head as the atlas from ``mine`` to ``other`` (fields alike).

    Voxel x of the warped head shows the head at x + u, where the atlas is the same: x + other(x) = x + u + mine(x + u).
    """
    way = other - mine
    for _ in range(2):
        way = other - warp(mine, way)
    return way
