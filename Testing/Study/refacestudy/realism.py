"""Does a face look real? Noise, brightness and small patches of the volume; all without a network.

The patches are what a Frechet distance compares: numbers of 10 mm cubes at the skin, on a raster of 2 mm, in units of
the head's own tissue, so that scanner and resolution of the head say little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from RefaceLib.head import canonical
from RefaceLib.skin.surface import face_surface
from RefaceLib.volume import geometry
from RefaceLib.volume.io import read_volume
from refacestudy import faces, measures, morphometry

RECIPE = 2  # to be raised when a measure changes
SPACING = 2.0
PATCH = 5  # voxels
PATCHES = 150  # of one head
FEATURES = ("mean", "sd", "dark", "bright", "gradient", "gradient_4mm", "laplacian", "air")

Landmarks = Mapping[str, Sequence[float]]


def look_at(
    path: Path, original: Path, face: Path, mask: Path, brain: Path, landmarks: Landmarks, out: Path
) -> dict[str, Any]:
    """Measure the face in ``path`` and keep the features of its patches and the points of its skin in ``out`` (.npz).

    ``original`` is the volume before, ``face`` what faces.py stored of it, ``mask`` our face mask, by which every
    method is measured; ``brain`` is what morphometry.py stored of the original (it may be missing); ``landmarks`` are
    RAS mm.
    """
    volume, first = read_volume(path), faces.load(face)
    before = read_volume(original).values()
    within = np.asarray(read_volume(mask).stored) > 0
    values, affine = np.asarray(volume.values()), volume.affine
    row: dict[str, Any] = {"not_numbers": int((~np.isfinite(values)).sum()), "data_type": str(volume.stored.dtype)}
    values, before = np.nan_to_num(values), np.nan_to_num(before)
    row["changed_outside_mask"] = float(((values != before) & ~within).mean())
    if brain.is_file():
        row["brain_changed"] = brain_changed(values, before, morphometry.load(brain))
    level = measures.skin_level(before, affine)
    unit = float(np.median(before[(before > level) & ~within]))
    row |= {f"noise_{name}": x for name, x in measures.noise_ratios(values, affine, within, level).items()}
    solid = measures.solid_head(values, affine, level)
    row["air_step"] = measures.air_step(values, within, solid, level)
    row["tissue_ml"] = float((within & solid).sum()) * measures.voxel_ml(affine)
    row["brightness"] = _brightness(values, level, within) / unit
    old, new = face_surface(before, affine), face_surface(values, affine)
    row["surface_mm"], row["surface_forward_mm"] = measures.surface_distance(old, new, within, affine, landmarks)
    points = measures.surface_points(new)
    skin = points[measures.in_face(points, within, affine, landmarks)]
    np.savez_compressed(
        out,
        patches=patches(values / unit, solid, within, affine, first.frame),
        skin=faces.upright(measures.thinned(skin, 2500), first.frame).astype(np.float32),
    )
    return row


def brain_changed(values: np.ndarray, before: np.ndarray, brain: Mapping[str, np.ndarray]) -> float:
    """The share of the brain's voxels whose value is another one: by more than float32 can lose."""
    cut = tuple(slice(*ends) for ends in brain["box"].tolist())
    now, then = values[cut][brain["brain"]], before[cut][brain["brain"]]
    return float((np.abs(now - then) > 1e-4 * np.abs(before).max()).mean())


def _brightness(values: np.ndarray, level: float, mask: np.ndarray) -> float:
    tissue = values[mask & (values > level)]
    return float(np.median(tissue)) if tissue.size else float("nan")


def patches(
    values: np.ndarray, solid: np.ndarray, mask: np.ndarray, affine: np.ndarray, frame: np.ndarray
) -> np.ndarray:
    """Features (PATCHES, len(FEATURES)) of cubes at the skin within the mask; of fewer where there is little skin.

    ``values`` are in units of the head's tissue, ``solid`` is the head (bool), ``frame`` canonical -> RAS mm. Where
    the cubes lie is drawn by lot, the same for every method.
    """
    box = canonical.box(SPACING)
    world = geometry.Grid(box.shape, frame @ box.affine)
    coarse, coarse_affine = geometry.block_mean(values, affine, SPACING)
    picture = geometry.resample(coarse, coarse_affine, world)
    head, inside = (geometry.resample(a.astype(np.float32), affine, world) > 0.5 for a in (solid, mask))
    skin = head & ndimage.binary_dilation(~head, iterations=2) & ndimage.binary_erosion(inside, iterations=PATCH // 2)
    places = np.argwhere(skin)
    if not len(places):
        return np.zeros((0, len(FEATURES)))
    chosen = places[np.random.default_rng(0).permutation(len(places))[:PATCHES]]
    gradients = [ndimage.gaussian_gradient_magnitude(picture, sigma) for sigma in (0.7, 2.0)]
    rough = measures.laplacian_residual(picture)
    cubes, *others = (_cubes(field, chosen) for field in (picture, *gradients, rough**2, (~head).astype(np.float32)))
    dark, bright = np.percentile(cubes, (10, 90), axis=1)
    gradient, smoother, square, air = (each.mean(axis=1) for each in others)
    columns = (cubes.mean(axis=1), cubes.std(axis=1), dark, bright, gradient, smoother, np.sqrt(square), air)
    return np.stack(columns, axis=1)


def _cubes(field: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The PATCH^3 values about every one of ``places`` (N, 3): (N, PATCH^3)."""
    half = PATCH // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(field, half, mode="edge"), (PATCH,) * 3)
    return windows[tuple(places.T)].reshape(len(places), -1)
