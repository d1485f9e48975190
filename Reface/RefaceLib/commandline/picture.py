"""The picture of a head before and after: two portraits and three slices of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import RefaceLib
from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.head.headparser import largest_component
from RefaceLib.volume.slices import SLICES, grey_window, plane_points, sample_points

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

Landmarks = Mapping[str, Sequence[float]]

_RENDER_SIZE = 400  # pixels
_PANEL = 3.2  # inches, height of the renderings
_SLICE_STEP = 1.0  # mm between the samples of a slice
_MARGIN = 8.0  # mm of air around the head in a slice
_OUTLINE = "#ffb000"


def write_picture(
    path: str | Path,
    before: np.ndarray,
    after: np.ndarray,
    mask: np.ndarray | None,
    affine: np.ndarray,
    landmarks: Landmarks | None,
    *,
    title: str = "",
) -> None:
    """Write a PNG of both heads: left before, right after; renderings above three slices through the eyes.

    `before` and `after` are values (I, J, K), `mask` (I, J, K) bool is outlined in the slices before, `affine` (4, 4)
    is IJK -> RAS mm, `landmarks` are RAS mm by name. Axial and coronal slices have the subject's right on the left.
    Without landmarks, as for a head without a face, the portraits are framed by the bounding box of the head after.
    The left half shows the original face: the picture is as private as the original.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    affine = np.asarray(affine, float)
    window = grey_window(before)
    box, centre = _view_of([before, after], affine, mask, landmarks, window)
    surfaces = [_surface(values, affine) for values in (before, after)]
    figure = Figure(figsize=(4 * _PANEL + 0.2, _PANEL * 5 / 3 + 0.62), dpi=110, facecolor="black")
    FigureCanvasAgg(figure)
    halves = figure.add_gridspec(1, 2, left=0.005, right=0.995, top=0.905, bottom=0.005, wspace=0.02)
    if title:
        figure.suptitle(title, color="white", fontsize=10, y=0.992)
    for half, (name, values, outline) in enumerate((("before", before, mask), ("after", after, None))):
        rows = halves[half].subgridspec(2, 1, height_ratios=(3, 2), hspace=0.02)
        _draw_faces(figure, rows[0].subgridspec(1, 2, wspace=0.01), surfaces[half], surfaces[1], landmarks)
        _draw_slices(figure, rows[1].subgridspec(1, 3, wspace=0.01), values, affine, outline, box, centre, window)
        left = halves[half].get_position(figure).x0
        figure.text(left + 0.004, 0.918, name, color="white", fontsize=12, weight="bold")
    figure.savefig(path, format="png", facecolor="black", metadata={"Software": f"RefaceLib {RefaceLib.__version__}"})


def _view_of(
    heads: Sequence[np.ndarray],
    affine: np.ndarray,
    mask: np.ndarray | None,
    landmarks: Landmarks | None,
    window: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray]:
    """Box that holds all `heads` (2, 3) and point to cut through (3,), both RAS mm."""
    shape, (low, high) = heads[0].shape, window
    corners = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in shape], indexing="ij"), -1).reshape(-1, 3)
    world = corners @ affine[:3, :3].T + affine[:3, 3]
    threshold = low + 0.1 * (high - low)
    bright = np.concatenate([np.argwhere(largest_component(head[::3, ::3, ::3] > threshold)) * 3 for head in heads])
    points = bright @ affine[:3, :3].T + affine[:3, 3] if len(bright) else world
    box = np.stack([points.min(axis=0) - _MARGIN, points.max(axis=0) + _MARGIN])
    box = np.clip(box, world.min(axis=0), world.max(axis=0))
    if landmarks and "left_eye" in landmarks and "right_eye" in landmarks:
        centre = 0.5 * (np.asarray(landmarks["left_eye"], float) + np.asarray(landmarks["right_eye"], float))
    elif mask is not None and mask.any():
        centre = np.argwhere(mask).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    else:
        centre = box.mean(axis=0)
    return box, centre


def _panel(figure, place):
    axes = figure.add_subplot(place)
    axes.set_axis_off()
    return axes


def _surface(values: np.ndarray, affine: np.ndarray) -> vtkPolyData | None:
    """The skin of a head; None where there is none to draw."""
    from RefaceLib.skin.surface import face_surface

    try:
        return face_surface(values, affine)
    except HeadNotFoundError:  # the slices still tell something
        return None


def _draw_faces(
    figure, places, surface: vtkPolyData | None, framed: vtkPolyData | None, landmarks: Landmarks | None
) -> None:
    """Two portraits of `surface`, by the camera that is right for the surface `framed`."""
    from RefaceLib.skin.portrait import render_surface

    panels = [_panel(figure, places[column]) for column in range(2)]
    if surface is None:
        panels[0].text(0.5, 0.5, "no head surface", color="white", ha="center", transform=panels[0].transAxes)
        return
    for axes, view in zip(panels, ("front", "three_quarter"), strict=True):
        axes.imshow(render_surface(surface, view=view, landmarks=landmarks, framed=framed, size=_RENDER_SIZE))


def _draw_slices(figure, places, values, affine, mask, box, centre, window) -> None:
    for column, (normal, across, down, marks) in enumerate(SLICES):
        axes = _panel(figure, places[column])
        points = plane_points(box, centre, normal, across, down, _SLICE_STEP)
        axes.imshow(sample_points(values, affine, points, 1, window[0]), cmap="gray", vmin=window[0], vmax=window[1])
        if mask is not None:
            inside = sample_points(mask.astype(np.uint8), affine, points, 0)
            if inside.min() != inside.max():
                axes.contour(inside, levels=[0.5], colors=_OUTLINE, linewidths=0.8)
        for x, mark in zip((0.02, 0.98), marks, strict=True):
            side = "left" if x < 0.5 else "right"
            axes.text(x, 0.98, mark, color="white", fontsize=8, ha=side, va="top", transform=axes.transAxes)
