"""Training heads in the canonical box."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from RefaceLib.face import skindistance
from RefaceLib.face.intensity import IntensityScale
from RefaceLib.head import canonical, facemask
from RefaceLib.head.canonical import BRAIN_LANDMARKS, FACE_LANDMARKS
from RefaceLib.head.headparser import LabelledHead, brain_frame
from RefaceLib.training import heads
from RefaceLib.volume import geometry
from RefaceLib.volume.air import measure_air

EIGHT_BIT = 127.0  # a normalised picture, 0..2, times this is stored in a byte


@dataclass(frozen=True, eq=False)
class Box:
    """A head in the canonical box at ``spacing`` mm: ``image`` (uint8, see EIGHT_BIT), ``distance`` (float16 mm to the
    skin), ``brain``, ``guard`` (the brain and near it) and ``view`` (bool), ``points`` (17, 3) in canonical mm."""

    name: str
    spacing: float
    image: np.ndarray
    distance: np.ndarray
    brain: np.ndarray
    guard: np.ndarray
    view: np.ndarray
    points: np.ndarray


def make_box(name: str, values: np.ndarray, affine: np.ndarray, parse: LabelledHead, spacing: float) -> Box:
    """Bring a volume (float32 IJK, IJK -> RAS) and its parse into the canonical box."""
    frame = brain_frame(parse.points, parse.certainty)
    grid = canonical.box(spacing)
    world = geometry.Grid(grid.shape, frame @ grid.affine)
    brain = geometry.resample(parse.brain.astype(np.float32), parse.grid.affine, world) > 0.5
    head = geometry.resample(parse.head.astype(np.float32), parse.grid.affine, world) > 0.5
    native_brain = geometry.resample(parse.brain, parse.grid.affine, geometry.Grid(values.shape, affine), nearest=True)
    scale = IntensityScale.of(values, native_brain > 0, measure_air(values))
    coarse, coarse_affine = geometry.block_mean(values, affine, spacing)
    view = geometry.in_view(coarse.shape, coarse_affine, world)
    sampled = geometry.resample(coarse, coarse_affine, world)
    image = np.clip(scale.normalise(sampled), 0, 2) * view
    points = geometry.apply_affine(np.linalg.inv(frame), parse.points)
    head = skindistance.trim_to_skin(head, image, spacing)
    distance = skindistance.signed_distance(head, spacing).astype(np.float16)
    packed = np.rint(image * EIGHT_BIT).astype(np.uint8)
    guard = geometry.dilate_mm(brain, facemask.PROTECTED_MM + 1.0, grid.affine)
    return Box(name, spacing, packed, distance, brain, guard, view, points)


def labelled_box(name: str, image_path: Path, label_path: Path, face: np.ndarray, spacing: float = 2.0) -> Box:
    """The box of a head with DLMUSE labels and known face landmarks (RAS mm)."""
    values, affine = heads.load(image_path)
    parse = heads.labelled_parse(image_path, label_path, face)
    return make_box(name, values, affine, parse, spacing)


def mirrored(box: Box) -> Box:
    """The box of the head in a mirror (the canonical box is symmetric)."""
    points = (box.points * [-1, 1, 1])[heads.SWAP]
    image, distance, brain, guard, view = (a[::-1] for a in (box.image, box.distance, box.brain, box.guard, box.view))
    return Box(box.name, box.spacing, image, distance, brain, guard, view, points)


def subject_mask(box: Box, rng: np.random.Generator, *, ears: bool, jitter: float = 3.0) -> np.ndarray:
    """The face mask (bool, the box's raster) that the pipeline would make, its landmarks moved by ``jitter`` mm."""
    points = np.where(
        np.isfinite(box.points), box.points, np.concatenate([canonical.FACE_POINTS, canonical.BRAIN_POINTS])
    )
    points = points + rng.normal(0, jitter, points.shape) * (
        [[1.0]] * len(FACE_LANDMARKS) + [[0.3]] * len(BRAIN_LANDMARKS)
    )
    frame = facemask.face_frame(points, np.ones(len(points)))
    x, y, z = facemask.canonical_coordinates(canonical.box(box.spacing), frame)
    mask = canonical.in_face(x, y, z)
    if ears:
        mask |= canonical.in_ears(x, y, z)
    return mask & ~box.guard
