"""Random training samples for the head parser."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from RefaceLib.head import canonical
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.head.headparser import SPACING
from RefaceLib.training import synth
from RefaceLib.training.heads import SWAP, ParserSample
from RefaceLib.volume import geometry

CROP = (80, 96, 96)  # voxels of 2 mm that the localizer is trained on


def random_sample(
    rng: np.random.Generator, sample: ParserSample, *, posed: bool, strength: float = 1.0
) -> tuple[Tensor, Tensor, np.ndarray]:
    """One picture: image (1, X, Y, Z), masks (2, X, Y, Z: brain, head), points (17, 3) in voxels, NaN where unknown.

    ``posed``: in the canonical head box, nearly (for the parser); else a crop in any pose (for the localizer).
    ``strength`` scales how often contrasts are changed, faces removed, and scans made faulty.
    """
    shape = canonical.head_box(SPACING).shape if posed else CROP
    matrix, offset = _near_canonical(rng, sample) if posed else _random_placement(rng, sample)
    points = (sample.points - offset) @ np.linalg.inv(matrix).T
    if np.linalg.det(matrix) < 0:
        points = points[SWAP]
    stack = torch.from_numpy(np.stack([sample.brain, sample.head]).astype(np.float32))
    masks = synth.warp(stack, matrix, offset, shape, "bilinear") > 0.5
    image = _picture(rng, sample, matrix, offset, shape, 0.35 * strength)
    if rng.random() < 0.45 * min(1.0, 2 * strength):
        removed = synth.random_removal(rng, masks[0], points[: len(FACE_LANDMARKS)])
        image = synth.fill_removed(rng, image, removed)
        masks[1] &= ~removed
    image = synth.scanner_faults(rng, image) if rng.random() < 0.85 * strength else image
    return synth.normalise(image)[None], masks.float(), points


def _near_canonical(rng: np.random.Generator, sample: ParserSample) -> tuple[np.ndarray, np.ndarray]:
    """The canonical pose, as wrong as the localizer may be."""
    known = np.isfinite(sample.points[len(FACE_LANDMARKS) :]).all(axis=1)
    frame = geometry.fit_similarity(canonical.BRAIN_POINTS[known], sample.points[len(FACE_LANDMARKS) :][known])
    jitter = np.eye(4)
    jitter[:3, :3] = synth.random_pose(rng, angle=6.0, scale=0.07, shear=0.02)
    if rng.random() < 0.5:
        jitter[:3, :3] = jitter[:3, :3] @ np.diag([-1.0, 1, 1])
    jitter[:3, 3] = rng.normal(0, 5.0, 3)
    full = frame @ jitter @ canonical.head_box(SPACING).affine
    return full[:3, :3], full[:3, 3]


def _random_placement(rng: np.random.Generator, sample: ParserSample) -> tuple[np.ndarray, np.ndarray]:
    matrix = synth.random_pose(rng)
    if rng.random() < 0.5:
        matrix = matrix @ np.diag([-1.0, 1, 1])
    # The crop is laid about a point between the brain and the face, shifted at random.
    box = np.argwhere(sample.brain[::2, ::2, ::2]) * 2.0
    centre = (box.min(axis=0) + box.max(axis=0)) / 2 + np.array([0, 4.0, -16.0])
    centre = centre + rng.uniform(-1, 1, 3) * np.array([8, 14, 16])
    return matrix, centre - matrix @ ((np.array(CROP) - 1) / 2)


def _picture(
    rng: np.random.Generator,
    sample: ParserSample,
    matrix: np.ndarray,
    offset: np.ndarray,
    shape: tuple[int, ...],
    remapped: float,
) -> Tensor:
    source = torch.from_numpy(sample.image.astype(np.float32))[None]
    if sample.classes:
        classes = synth.warp(source, matrix, offset, shape, "nearest")[0]
        return synth.paint_labels(rng, classes.round(), sample.classes)
    image = synth.warp(source / 160, matrix, offset, shape, "bilinear")[0]
    return synth.remap_contrast(rng, image) if rng.random() < remapped else image


def heat_targets(points: np.ndarray, shape: tuple[int, ...], sigma: float = 1.5) -> tuple[Tensor, Tensor]:
    """Gaussian heat maps (L, X/2, Y/2, Z/2) that sum to 1, and which of them count (L,): known and inside the crop."""
    half = [n // 2 for n in shape]
    maps, valid = [], []
    for point in (points - 0.5) / 2:
        inside = np.isfinite(point).all() and (point > 0).all() and (point < np.array(half) - 1).all()
        valid.append(bool(inside))
        centre = point if inside else np.zeros(3)
        lines = [
            torch.exp(-((torch.arange(n) - float(c)) ** 2) / (2 * sigma**2)) for n, c in zip(half, centre, strict=True)
        ]
        heat = lines[0][:, None, None] * lines[1][None, :, None] * lines[2][None, None, :]
        maps.append((heat / heat.sum()).float())
    return torch.stack(maps), torch.tensor(valid)
