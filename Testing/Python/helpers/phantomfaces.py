"""The phantom as a training head, and a face model of two of them."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.phantom import LANDMARKS, brain_mask, make_phantom
from RefaceLib.face.shapemodel import Atlas, ShapeModel
from RefaceLib.head.canonical import BRAIN_POINTS, FACE_LANDMARKS
from RefaceLib.head.headparser import LabelledHead
from RefaceLib.training import atlas, boxes
from RefaceLib.volume import geometry


class NoPool:
    """In place of a pool of processes, which would not know of the patches."""

    def __init__(self, jobs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, *arguments, chunksize):
        return map(function, *arguments)


def make_boxes() -> list[boxes.Box]:
    """The phantom in the canonical box (2 mm), and itself larger: two heads."""
    volume = make_phantom()
    grid = geometry.ras_grid(volume.stored.shape, volume.affine, 2.0)
    brain = brain_mask(grid.shape, grid.affine)
    head = geometry.resample(volume.values(), volume.affine, grid) > 150
    points = np.concatenate([[LANDMARKS[name] for name in FACE_LANDMARKS], BRAIN_POINTS])
    made = []
    for name, scale in (("a", 1.0), ("b", 1.07)):
        parse = LabelledHead(grid, brain, head, points * [scale, 1, 1], np.ones(len(points)))
        made.append(boxes.make_box(name, volume.values(), volume.affine, parse, 2.0))
    return made


def make_face_model(of: list[boxes.Box]) -> tuple[ShapeModel, Atlas]:
    """Shape model and atlas of heads, registered with few iterations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas, "_LEVELS", ((4, 8), (2, 4)))
        patch.setattr(atlas, "_SHARES", (1,))
        patch.setattr(atlas, "ProcessPoolExecutor", NoPool)
        return atlas.build_face_model(of, size=2)
