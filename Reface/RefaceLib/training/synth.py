"""Random pictures of heads: poses, contrasts, scanner faults and defacing, made on the fly while training.

Tensors are (X, Y, Z) on a 2 mm RAS grid unless stated; every random choice comes from the generator passed in, so a run
can be repeated. Painting label maps with random intensities is the idea of SynthSeg (Billot et al., MedIA 2023).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SPACING = 2.0


def random_pose(
    rng: np.random.Generator, *, angle: float = 18.0, scale: float = 0.14, shear: float = 0.05
) -> np.ndarray:
    """A random affine (3 x 3) near the identity; now and then a much larger rotation."""
    if rng.random() < 0.1:
        angle *= 2
    rx, ry, rz = np.deg2rad(rng.uniform(-angle, angle, 3))
    cx, sx, cy, sy, cz, sz = np.cos(rx), np.sin(rx), np.cos(ry), np.sin(ry), np.cos(rz), np.sin(rz)
    rotation = (
        np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        @ np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    )
    size = np.diag(rng.uniform(1 - scale, 1 + scale) * rng.uniform(0.96, 1.04, 3))
    return rotation @ size @ (np.eye(3) + rng.uniform(-shear, shear, (3, 3)) * (1 - np.eye(3)))


def warp(volume: Tensor, matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...], mode: str) -> Tensor:
    """Sample ``volume`` at ``matrix @ index + offset`` for every index of ``shape`` (voxel units); zero outside.

    ``volume``: (C, X, Y, Z) float; returns (C, *shape).
    """
    # grid_sample wants coordinates in -1..1 and the last axis first; sums of lines are faster than affine_grid.
    to_unit = 2.0 / np.maximum(np.array(volume.shape[1:]) - 1, 1)
    columns = torch.from_numpy((np.column_stack([matrix, offset]) * to_unit[:, None])[::-1].T.copy()).float()
    i, j, k = (torch.arange(n, dtype=torch.float32)[:, None] * c for n, c in zip(shape, columns[:3], strict=True))
    grid = (i[:, None, None] + j[None, :, None] + k[None, None] + (columns[3] - 1))[None]
    return F.grid_sample(volume[None], grid, mode=mode, padding_mode="zeros", align_corners=True)[0]


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], knots: int, sd: float) -> Tensor:
    """A smooth random field of standard deviation ``sd``: ``knots``^3 random numbers, interpolated."""
    coarse = torch.from_numpy(rng.normal(0, sd, (1, 1, knots, knots, knots))).float()
    return F.interpolate(coarse, size=shape, mode="trilinear", align_corners=True)[0, 0]


def paint_labels(rng: np.random.Generator, labels: Tensor, count: int) -> Tensor:
    """Paint class indices (X, Y, Z) with one random mean and texture a class; class 0 (air) is mostly dark."""
    mean = torch.from_numpy(rng.uniform(0.05, 1.0, count)).float()
    sd = torch.from_numpy(rng.uniform(0.0, 0.1, count)).float()
    mean[0] = 0.0 if rng.random() < 0.9 else float(rng.uniform(0, 0.3))
    sd[0] *= 0.2
    index = labels.long()
    return mean[index] + sd[index] * torch.from_numpy(rng.standard_normal(labels.shape, dtype=np.float32))


def remap_contrast(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Give a real picture (0..1.5) another contrast by a random piecewise linear curve; air stays dark mostly."""
    knots = np.sort(rng.uniform(0.15, 1.1, 3))
    x = np.concatenate([[0, 0.08], knots, [1.5]])
    y = np.concatenate([[0, rng.uniform(0, 0.2)], rng.uniform(0.05, 1.2, 4)])
    return torch.from_numpy(np.interp(image.numpy(), x, y).astype(np.float32))


def scanner_faults(rng: np.random.Generator, image: Tensor) -> Tensor:
    """Bias field, gamma, blur, thick slices, noise, cut fields of view: each now and then."""
    shape = tuple(image.shape)
    if rng.random() < 0.7:
        image = image * torch.exp(smooth_field(rng, shape, int(rng.integers(3, 6)), rng.uniform(0.05, 0.35)))
    if rng.random() < 0.4:
        image = image.clamp(min=0) ** float(np.exp(rng.normal(0, 0.25)))
    if rng.random() < 0.3:
        image = _thick_slices(rng, image)
    if rng.random() < 0.6:
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        image = (image + noise * float(rng.uniform(0.005, 0.07))).abs()
    if rng.random() < 0.3:
        image = _cut_view(rng, image)
    return image


def _thick_slices(rng: np.random.Generator, image: Tensor) -> Tensor:
    factor = [1.0, 1.0, 1.0]
    factor[int(rng.integers(3))] = rng.uniform(1.3, 3.5)
    small = [max(int(n / f), 4) for n, f in zip(image.shape, factor, strict=True)]
    coarse = F.interpolate(image[None, None], size=small, mode="area")
    return F.interpolate(coarse, size=tuple(image.shape), mode="trilinear", align_corners=False)[0, 0]


def _cut_view(rng: np.random.Generator, image: Tensor) -> Tensor:
    image = image.clone()
    axis, cut = int(rng.integers(3)), int(rng.uniform(0.03, 0.2) * image.shape[0])
    piece = image.movedim(axis, 0)
    if rng.random() < 0.5:
        piece[:cut] = 0
    else:
        piece[-cut:] = 0
    return image


def random_removal(rng: np.random.Generator, brain: Tensor, points: np.ndarray, *, kind: str | None = None) -> Tensor:
    """The voxels (bool) that some defacing tool would have taken away, never within about 4 mm of the ``brain``.

    ``points``: the six face landmarks in voxels (6, 3); NaN where unknown. Kinds: 'shell' (around the landmarks, as
    pydeface and mri_deface), 'plane' (QuickShear), 'front' (all of the face, as our own mask).
    """
    shape = tuple(brain.shape)
    known = points[np.isfinite(points).all(axis=1)]
    if len(known) < 4:
        return torch.zeros(shape, dtype=torch.bool)
    axes = torch.meshgrid(*[torch.arange(n, dtype=torch.float32) for n in shape], indexing="ij")
    centre = known.mean(axis=0)
    kind = kind or str(rng.choice(["shell", "plane", "front"]))
    rough = smooth_field(rng, shape, int(rng.integers(6, 24)), rng.uniform(0, 2.0))
    if kind == "plane":
        normal = np.array([rng.normal(0, 0.06), 1.0, rng.normal(-0.55, 0.2)])
        normal /= np.linalg.norm(normal)
        level = float((known[:2].mean(axis=0) - [0, rng.uniform(4, 14), 0]) @ normal)
        distance = sum((a * float(n) for a, n in zip(axes, normal, strict=True)), torch.zeros(())) - level
        removed = distance + 0.2 * rough > 0
    else:
        radius = np.array([rng.uniform(24, 38), rng.uniform(16, 30), rng.uniform(34, 46)])
        if kind == "front":
            radius *= 1.25
        centre = centre + np.array([0, rng.uniform(-4, 8), rng.uniform(-3, 3)])
        terms = (((a - float(c)) / float(r)) ** 2 for a, c, r in zip(axes, centre, radius, strict=True))
        squared = sum(terms, torch.zeros(()))
        removed = squared.sqrt() + 0.03 * rough < 1
        removed |= (squared.sqrt() < 1.6) & (axes[1] > float(centre[1]) + 8)
    guard = brain[None, None].float()
    for kernel in ((5, 1, 1), (1, 5, 1), (1, 1, 5)):
        guard = F.max_pool3d(guard, kernel, stride=1, padding=tuple(n // 2 for n in kernel))
    return removed & ~(guard[0, 0] > 0)


def fill_removed(rng: np.random.Generator, image: Tensor, removed: Tensor) -> Tensor:
    """Fill removed voxels as tools do: zero mostly, else a constant or noise."""
    choice = rng.random()
    if choice < 0.8:
        value: Tensor | float = 0.0
    elif choice < 0.9:
        value = float(rng.uniform(0, 1))
    else:
        value = torch.from_numpy(rng.uniform(0, rng.uniform(0.05, 1), image.shape).astype(np.float32))
    return torch.where(removed, torch.as_tensor(value, dtype=image.dtype), image)


def normalise(image: Tensor) -> Tensor:
    """As headparser.normalise, on a tensor."""
    from RefaceLib.head.headparser import normalise as numpy_normalise

    return torch.from_numpy(numpy_normalise(image.numpy()))
