"""Random training samples of the coarse stage: a head in the canonical box, a mask, and a face shape to paint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from RefaceLib import canonical, geometry, shapemodel
from RefaceLib.shapemodel import Atlas, ShapeModel
from RefaceLib.training import synth
from RefaceLib.training.boxes import EIGHT_BIT, Box, mirrored, subject_mask


@dataclass(frozen=True, eq=False)
class FaceSample:
    """Tensors (1, 1, X, Y, Z) of the 2 mm box and the ``code`` (1, K); ``own``: the shape is the head's own."""

    image: Tensor
    mask: Tensor
    shape: Tensor
    atlas: Tensor
    view: Tensor
    code: Tensor
    own: bool


def random_mask(rng: np.random.Generator, box: Box) -> np.ndarray:
    """Mostly our own face mask, jittered; else what another tool would have taken away."""
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
    told = shapemodel.condition(model, atlas, rng, box.distance.astype(np.float32), mask, box.view, own=own)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))[None, None]

    view = tensor(box.view)
    return FaceSample(
        tensor(box.image) / EIGHT_BIT * view, tensor(mask), tensor(told.shape) / shapemodel.CLIP,
        tensor(told.atlas), view, torch.from_numpy(told.code)[None], own,
    )  # fmt: skip
