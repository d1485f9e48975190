"""Slices of a volume in RAS mm, whatever the order and direction of its axes, and the greys to show them in."""

from __future__ import annotations

import numpy as np

from RefaceLib.volume.air import measure_air

# World axes of the three slices: the normal, what runs across and down with its sign, and the letters left and right.
# Radiological: the subject's right is on the left.
SLICES = (
    (0, (1, -1), (2, -1), "AP"),
    (2, (0, -1), (1, -1), "RL"),
    (1, (0, -1), (2, -1), "RL"),
)


def grey_window(values: np.ndarray) -> tuple[float, float]:
    """The values that are black, as air is, and white, in a volume (I, J, K)."""
    low = measure_air(values).level
    sample = values[::3, ::3, ::3]
    sample = sample[np.isfinite(sample)]
    high = float(np.percentile(sample, 99.7)) if sample.size else low
    return low, high if high > low else low + 1.0


def plane_points(
    box: np.ndarray, centre: np.ndarray, normal: int, across: tuple[int, int], down: tuple[int, int], step: float
) -> np.ndarray:
    """RAS points (rows, columns, 3) of the plane through ``centre`` (3,) at right angles to world axis ``normal``.

    They fill the ``box`` (2, 3), ``step`` mm apart. ``across`` and ``down`` are world axes with their signs.
    """
    lines = []
    for axis, sign in (down, across):
        line = np.arange(box[0, axis], box[1, axis] + 0.5 * step, step)
        lines.append(line[::sign])
    points = np.empty((len(lines[0]), len(lines[1]), 3))
    points[..., normal] = np.clip(centre[normal], box[0, normal], box[1, normal])
    points[..., down[0]] = lines[0][:, None]
    points[..., across[0]] = lines[1][None, :]
    return points


def sample_points(
    volume: np.ndarray, affine: np.ndarray, points: np.ndarray, order: int, outside: float = 0.0
) -> np.ndarray:
    """Values (rows, columns) at RAS ``points``; ``outside`` out of view and where the volume is not finite."""
    from scipy import ndimage

    inverse = np.linalg.inv(affine)
    voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
    where = np.moveaxis(voxels, -1, 0)
    sampled = ndimage.map_coordinates(volume, where, order=order, mode="grid-constant", cval=outside)
    return np.nan_to_num(sampled, nan=outside, posinf=outside, neginf=outside)
