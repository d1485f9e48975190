"""Draws a triangle surface into a picture with numpy alone.

Without OpenGL on purpose: on a computer that has no graphics driver (a server, a container) VTK ends the whole process
when it is asked for a picture, and the same surface would look different from driver to driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Lights = Sequence[tuple[tuple[float, float, float], float]]

# Lights are fixed to the camera: direction towards the light (right, up, towards the viewer) and its strength.
LIGHTS = (((-0.75, 0.85, 1.0), 0.72), ((0.95, 0.10, 0.85), 0.26), ((0.0, 0.1, 1.0), 0.16), ((0.2, 1.0, -0.5), 0.22))
AMBIENT = 0.08
SUPERSAMPLING = 2  # drawn larger and averaged: smooth edges


@dataclass(frozen=True, eq=False)
class Camera:
    """Looks from `target` + `distance` * `direction` at `target` (RAS mm); `height` mm at the target fill the picture.

    `direction` and `up` are unit vectors, at right angles.
    """

    target: np.ndarray
    direction: np.ndarray
    up: np.ndarray
    height: float
    distance: float

    def axes(self) -> np.ndarray:
        """(3, 3) rows: right, up, towards the viewer."""
        return np.stack([np.cross(self.up, self.direction), self.up, self.direction])


def draw(
    points: np.ndarray,
    normals: np.ndarray,
    triangles: np.ndarray,
    camera: Camera,
    size: int,
    *,
    colour: tuple[float, float, float],
    background: tuple[float, float, float],
    rigs: Sequence[Lights] = (LIGHTS,),
    ambient: float = AMBIENT,
) -> np.ndarray:
    """Picture (size, size, 3) uint8, rows from the top, of a matte surface.

    `points` (N, 3) in mm and their unit `normals` (N, 3); `triangles` (M, 3) indices into them. Colours are 0..1.
    `rigs` are lights as LIGHTS: one for all, or three, of which each shines on one colour channel; so a grey thing is
    drawn in three lights at once. `ambient` is the brightness where none of them shines.
    """
    fine = size * SUPERSAMPLING
    axes = camera.axes().astype(np.float32)
    seen = (points - camera.target).astype(np.float32) @ axes.T
    depth = np.float32(camera.distance) - seen[:, 2]
    scale = np.float32(fine / camera.height * camera.distance) / np.maximum(depth, 1.0)
    x, y = 0.5 * fine + seen[:, 0] * scale, 0.5 * fine - seen[:, 1] * scale
    brightness = _shade(normals.astype(np.float32) @ axes.T, rigs, ambient)

    pixel, nearness, light = _fragments(x, y, 1.0 / np.maximum(depth, 1.0), brightness, triangles, fine)
    order = np.argsort(nearness, kind="stable")  # the nearest is written last
    picture = np.empty((fine * fine, 3), np.float32)
    picture[:] = background
    picture[pixel[order]] = light[order] * np.asarray(colour, np.float32)
    blocks = picture.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean(axis=(1, 3))
    return np.round(255.0 * np.clip(blocks, 0.0, 1.0)).astype(np.uint8)


def _shade(normals: np.ndarray, rigs: Sequence[Lights], ambient: float) -> np.ndarray:
    """Brightness (N, C) of matte skin with `normals` (N, 3) in camera axes, in C rigs of lights."""
    brightness = np.full((len(rigs), len(normals)), ambient, np.float32)
    for row, lights in zip(brightness, rigs, strict=True):
        for direction, strength in lights:
            towards = np.asarray(direction, np.float32) / np.linalg.norm(direction)
            row += strength * np.maximum(normals @ towards, 0.0).astype(np.float32)
    return np.ascontiguousarray(brightness.T)


def _fragments(
    x: np.ndarray, y: np.ndarray, nearness: np.ndarray, light: np.ndarray, triangles: np.ndarray, fine: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixel index, nearness and light (C numbers) of every covered pixel of every triangle that faces the viewer."""
    tx, ty = x[triangles], y[triangles]  # (M, 3)
    area = (tx[:, 1] - tx[:, 0]) * (ty[:, 2] - ty[:, 0]) - (tx[:, 2] - tx[:, 0]) * (ty[:, 1] - ty[:, 0])
    first = np.ceil(np.stack([tx.min(1), ty.min(1)], 1) - 0.5).astype(np.int32)
    last = np.floor(np.stack([tx.max(1), ty.max(1)], 1) - 0.5).astype(np.int32)
    first, last = np.maximum(first, 0), np.minimum(last, fine - 1)
    extent = (last - first).max(axis=1) + 1
    # y grows downwards, so a triangle that turns counter-clockwise in space has a negative area here
    visible = (area < -1e-6) & (last >= first).all(axis=1)

    parts = []
    side, smaller = 4, 0
    while smaller < fine:  # triangles of about one size at a time: their boxes of pixels make one array
        chosen = np.flatnonzero(visible & (extent > smaller) & (extent <= side))
        smaller, side = side, 2 * side
        block = max(1, 4_000_000 // smaller**2)
        for start in range(0, len(chosen), block):
            part = chosen[start : start + block]
            near, bright = nearness[triangles[part]], light[triangles[part]]
            parts.append(_cover(tx[part], ty[part], area[part], first[part], smaller, fine, near, bright))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((0, light.shape[1]), np.float32)
    pixel, near, bright = (np.concatenate(column) for column in zip(*parts, strict=True))
    return pixel, near, bright


def _cover(tx, ty, area, first, side, fine, nearness, light):
    """Fragments of triangles (m, 3) whose boxes of pixels start at `first` (m, 2) and are at most `side` wide."""
    offsets = np.arange(side, dtype=np.int32)
    column = (first[:, 0, None] + offsets)[:, None, :]  # (m, 1, side)
    row = (first[:, 1, None] + offsets)[:, :, None]  # (m, side, 1)
    px, py = column + np.float32(0.5), row + np.float32(0.5)
    weights = []
    for a, b in ((1, 2), (2, 0)):  # barycentric coordinates of corners 0 and 1
        ax, ay, bx, by = (v[:, None, None] for v in (tx[:, a], ty[:, a], tx[:, b], ty[:, b]))
        weights.append(((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / area[:, None, None])
    weights.append(1.0 - weights[0] - weights[1])
    inside = (np.minimum(np.minimum(weights[0], weights[1]), weights[2]) >= -1e-4) & (column < fine) & (row < fine)
    which, r, c = np.nonzero(inside)
    shares = [w[which, r, c] for w in weights]
    pixel = (first[which, 1] + r).astype(np.int64) * fine + first[which, 0] + c
    near = sum(s * nearness[which, k] for k, s in enumerate(shares))
    return pixel, near, sum(s[:, None] * light[which, k] for k, s in enumerate(shares))
