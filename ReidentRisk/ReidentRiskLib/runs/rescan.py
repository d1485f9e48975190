"""Simulated further scans of a head: moved a little, on another grid, with other noise and another bias of the coil."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from RefaceLib.volume import geometry
from RefaceLib.volume.io import Volume

RECIPE = "1"  # of the simulated scans; another number makes kept embeddings void

_TURN = 10.0  # degrees about each axis, at most
_SHIFT = 6.0  # mm along each axis, at most
_SPACING = 0.1  # share by which voxels become larger or smaller, at most
_BIAS = 0.15  # logarithm of the coil's bias field, at most
_NOISE = (0.01, 0.025)  # standard deviation as a share of bright tissue


def scan_again(volume: Volume, random: np.random.Generator) -> Volume:
    """The head of `volume` in another scan (float32): moved, on another grid, with another bias field and more noise.

    The move is within _TURN degrees and _SHIFT mm, as of somebody who lies down in the scanner again.
    """
    from scipy import ndimage

    values = volume.values()
    values[~np.isfinite(values)] = 0
    spacing = geometry.voxel_sizes(volume.affine)
    grid, affine = _new_grid(values.shape, volume.affine, spacing * random.uniform(1 - _SPACING, 1 + _SPACING))
    middle = geometry.apply_affine(affine, (np.array(grid) - 1) / 2)
    move = _move(random, middle)
    back = np.linalg.inv(volume.affine) @ np.linalg.inv(move) @ affine
    air = float(np.percentile(values, 1))
    picture = ndimage.affine_transform(values, back[:3, :3], back[:3, 3], grid, order=3, mode="constant", cval=air)
    picture *= np.exp(_bias(grid, random))
    bright = float(np.percentile(picture[picture > picture.mean()], 90)) - air
    sigma = random.uniform(*_NOISE) * bright
    signal_, noise = picture - air, random.normal(0.0, sigma, (2, *grid)).astype(np.float32)
    magnitude = np.hypot(signal_ + noise[0], noise[1])  # as receivers measure it
    return Volume((air + magnitude).astype(np.float32), affine)


def _new_grid(shape: Sequence[int], affine: np.ndarray, spacing: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """A grid of another `spacing` (mm) over the same field of view."""
    old = geometry.voxel_sizes(affine)
    grid = tuple(int(n) for n in np.ceil(np.array(shape) * old / spacing))
    changed = affine @ np.diag([*(spacing / old), 1.0])
    middle = geometry.apply_affine(affine, (np.array(shape) - 1) / 2)
    changed[:3, 3] += middle - geometry.apply_affine(changed, (np.array(grid) - 1) / 2)
    return grid, changed


def _move(random: np.random.Generator, middle: np.ndarray) -> np.ndarray:
    """A rigid move (4, 4) in RAS mm about the point `middle`."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", random.uniform(-_TURN, _TURN, 3), degrees=True).as_matrix()
    move = np.eye(4)
    move[:3, :3] = turn
    move[:3, 3] = middle - turn @ middle + random.uniform(-_SHIFT, _SHIFT, 3)
    return move


def _bias(grid: Sequence[int], random: np.random.Generator) -> np.ndarray:
    """A smooth field (float32) between -_BIAS and _BIAS: a polynomial of the second degree."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in grid], indexing="ij", sparse=True)
    terms = (x, y, z, x * y, y * z, x * z, x * x, y * y, z * z)
    weighted = (np.float32(weight) * term for weight, term in zip(random.normal(size=len(terms)), terms, strict=True))
    field = sum(weighted, np.zeros((), np.float32))
    field = field - field.mean()
    return field * np.float32(_BIAS / max(float(np.abs(field).max()), 1e-6))
