"""What was done to a head: the JSON report and the picture before / after."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import RefaceLib
from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.common.hashing import sha256_of
from RefaceLib.head.headparser import largest_component

if TYPE_CHECKING:
    from RefaceLib.pipeline import RefaceResult
    from RefaceLib.volume.io import Volume

STAGES = ("read", "conform", "parse", "mask", "generate", "blend", "check", "write", "total")
Landmarks = Mapping[str, Sequence[float]]


# ---- report ----


def build_report(
    result: RefaceResult,
    *,
    input: str,
    output: str,
    seconds: Mapping[str, float],
    output_file: str | Path | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """The report of one run, ready for JSON.

    `input` and `output` are names for the reader; when they are files, their SHA-256 is in the report. `output_file` is
    where the bytes of `output` are while it has not got its name yet. `seconds` (stages around the pipeline: read,
    write, total) is merged with the pipeline's own. `warnings` are put before those of the result.
    """
    counts = {key: _plain(value) for key, value in result.counts.items()}
    return {
        **_about_files(input, output, output_file),
        "mode": result.mode,
        "seed": int(result.seed),
        "ears": bool(result.ears),
        "model": dict(result.model),
        "device": result.device,
        "voxels_changed": counts.pop("voxels_changed", None),
        "voxels_changed_outside_mask": counts.pop("voxels_changed_outside_mask", None),
        "brain_voxels_changed": counts.pop("brain_voxels_changed", None),
        "mask_ml": counts.pop("mask_ml", None),
        **counts,
        "seconds": _ordered_seconds({**result.seconds, **seconds}),
        "peak_rss_mb": peak_rss_mb(),
        "warnings": list(dict.fromkeys((*warnings, *result.warnings))),
    }


def build_applied_report(
    result: RefaceResult,
    other: Volume,
    counts: Mapping[str, int],
    *,
    input: str,
    output: str,
    mask_from: str,
    output_file: str | Path | None = None,
) -> dict[str, Any]:
    """The report of a coregistered volume that was defaced with the mask of `result`, the head named `mask_from`.

    `counts` are those of RefaceLib.face.promise.
    """
    return {
        **_about_files(input, output, output_file),
        "mode": "apply-to",
        "mask_from": mask_from,
        "ears": bool(result.ears),
        "model": {"name": "none"},
        **counts,
        "warnings": list(other.warnings),
    }


def _about_files(input: str, output: str, output_file: str | Path | None) -> dict[str, Any]:
    """How every report begins."""
    return {
        "reface_version": RefaceLib.__version__,
        "input": input,
        "input_sha256": file_sha256(input),
        "output": output,
        "output_sha256": file_sha256(output_file or output),
    }


def write_report(path: str | Path, report: Mapping[str, Any]) -> None:
    """Write `report` as JSON (UTF-8, indented by 2, in the report's own order) to `path`."""
    text = json.dumps(report, indent=2, ensure_ascii=False, default=_plain)
    Path(path).write_text(text + "\n", encoding="utf-8")


def file_sha256(path: str | Path) -> str | None:
    """SHA-256 of a file in hexadecimal; None when `path` is no file (a node of a scene, say)."""
    return sha256_of(Path(path)) if Path(path).is_file() else None


def peak_rss_mb() -> float | None:
    """Largest memory that this process has had so far, in MB (2**20 bytes); None where the system does not tell."""
    try:
        if sys.platform == "win32":
            return round(_windows_peak_bytes() / 2**20, 1)
        import resource
    except (ImportError, OSError):
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # macOS counts bytes, Linux KB


def _windows_peak_bytes() -> int:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):  # PROCESS_MEMORY_COUNTERS
        _fields_ = [("cb", wintypes.DWORD), ("faults", wintypes.DWORD)] + [
            (name, ctypes.c_size_t) for name in ("peak", "now", "q1", "q2", "q3", "q4", "pagefile", "peak_pagefile")
        ]

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    query = kernel.K32GetProcessMemoryInfo
    query.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
    if not query(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
        raise OSError(ctypes.get_last_error(), "GetProcessMemoryInfo")
    return counters.peak


def _ordered_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Stages in the order of the work, others before the total."""
    order = {stage: index for index, stage in enumerate(STAGES)}
    stages = sorted(seconds, key=lambda stage: order.get(stage, order["total"] - 0.5))
    return {stage: round(float(seconds[stage]), 3) for stage in stages}


def _plain(value: Any) -> Any:
    """numpy scalars and whole floats as plain numbers, anything else that JSON does not know as text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, float, bool, str, type(None))) else str(value)


# ---- picture ----

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
    The left half shows the original face: the picture is as private as the original.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    affine = np.asarray(affine, float)
    box, centre, window = _view_of(before, affine, mask, landmarks)
    figure = Figure(figsize=(4 * _PANEL + 0.2, _PANEL * 5 / 3 + 0.62), dpi=110, facecolor="black")
    FigureCanvasAgg(figure)
    halves = figure.add_gridspec(1, 2, left=0.005, right=0.995, top=0.905, bottom=0.005, wspace=0.02)
    if title:
        figure.suptitle(title, color="white", fontsize=10, y=0.992)
    for half, name, values, outline in ((0, "before", before, mask), (1, "after", after, None)):
        rows = halves[half].subgridspec(2, 1, height_ratios=(3, 2), hspace=0.02)
        _draw_faces(figure, rows[0].subgridspec(1, 2, wspace=0.01), values, affine, landmarks)
        _draw_slices(figure, rows[1].subgridspec(1, 3, wspace=0.01), values, affine, outline, box, centre, window)
        left = halves[half].get_position(figure).x0
        figure.text(left + 0.004, 0.918, name, color="white", fontsize=12, weight="bold")
    figure.savefig(path, format="png", facecolor="black", metadata={"Software": f"RefaceLib {RefaceLib.__version__}"})


def _view_of(
    values: np.ndarray, affine: np.ndarray, mask: np.ndarray | None, landmarks: Landmarks | None
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Box of the head (2, 3) and point to cut through (3,), both RAS mm, and the grey window (low, high)."""
    corners = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in values.shape], indexing="ij"), -1).reshape(-1, 3)
    world = corners @ affine[:3, :3].T + affine[:3, 3]
    sample = values[::3, ::3, ::3]
    sample = sample[np.isfinite(sample)]
    low, high = (float(x) for x in np.percentile(sample, (1.0, 99.7))) if sample.size else (0.0, 1.0)
    bright = np.argwhere(largest_component(values[::3, ::3, ::3] > low + 0.1 * (high - low))) * 3
    head = bright @ affine[:3, :3].T + affine[:3, 3] if len(bright) else world
    box = np.stack([head.min(axis=0) - _MARGIN, head.max(axis=0) + _MARGIN])
    box = np.clip(box, world.min(axis=0), world.max(axis=0))
    if landmarks and "left_eye" in landmarks and "right_eye" in landmarks:
        centre = 0.5 * (np.asarray(landmarks["left_eye"], float) + np.asarray(landmarks["right_eye"], float))
    elif mask is not None and mask.any():
        centre = np.argwhere(mask).mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    else:
        centre = box.mean(axis=0)
    return box, centre, (low, max(high, low + 1e-6))


def _panel(figure, place):
    axes = figure.add_subplot(place)
    axes.set_axis_off()
    return axes


def _draw_faces(figure, places, values: np.ndarray, affine: np.ndarray, landmarks: Landmarks | None) -> None:
    from RefaceLib.skin.portrait import face_surface, render_surface

    panels = [_panel(figure, places[column]) for column in range(2)]
    try:
        surface = face_surface(values, affine)
    except HeadNotFoundError:  # the slices still tell something
        panels[0].text(0.5, 0.5, "no head surface", color="white", ha="center", transform=panels[0].transAxes)
        return
    for axes, view in zip(panels, ("front", "three_quarter"), strict=True):
        axes.imshow(render_surface(surface, view=view, landmarks=landmarks, size=_RENDER_SIZE))


def _draw_slices(figure, places, values, affine, mask, box, centre, window) -> None:
    # world axes across and down with their signs; radiological: the subject's right is on the left
    for column, (normal, across, down, marks) in enumerate(
        ((0, (1, -1), (2, -1), "AP"), (2, (0, -1), (1, -1), "RL"), (1, (0, -1), (2, -1), "RL"))
    ):
        axes = _panel(figure, places[column])
        points = _plane(box, centre, normal, across, down)
        axes.imshow(_sample(values, affine, points, 1), cmap="gray", vmin=window[0], vmax=window[1])
        if mask is not None:
            inside = _sample(mask.astype(np.uint8), affine, points, 0)
            if inside.min() != inside.max():
                axes.contour(inside, levels=[0.5], colors=_OUTLINE, linewidths=0.8)
        for x, mark in zip((0.02, 0.98), marks, strict=True):
            side = "left" if x < 0.5 else "right"
            axes.text(x, 0.98, mark, color="white", fontsize=8, ha=side, va="top", transform=axes.transAxes)


def _plane(
    box: np.ndarray, centre: np.ndarray, normal: int, across: tuple[int, int], down: tuple[int, int]
) -> np.ndarray:
    """RAS points (rows, columns, 3) of the plane through `centre` at right angles to world axis `normal`."""
    lines = []
    for axis, sign in (down, across):
        line = np.arange(box[0, axis], box[1, axis] + 0.5 * _SLICE_STEP, _SLICE_STEP)
        lines.append(line[::sign])
    points = np.empty((len(lines[0]), len(lines[1]), 3))
    points[..., normal] = np.clip(centre[normal], box[0, normal], box[1, normal])
    points[..., down[0]] = lines[0][:, None]
    points[..., across[0]] = lines[1][None, :]
    return points


def _sample(volume: np.ndarray, affine: np.ndarray, points: np.ndarray, order: int) -> np.ndarray:
    """Values (rows, columns) at RAS `points`; 0 out of view and where the volume is not finite."""
    from scipy import ndimage

    inverse = np.linalg.inv(affine)
    voxels = points @ inverse[:3, :3].T + inverse[:3, 3]
    sampled = ndimage.map_coordinates(volume, np.moveaxis(voxels, -1, 0), order=order, mode="grid-constant")
    return np.nan_to_num(sampled, nan=0.0, posinf=0.0, neginf=0.0)
