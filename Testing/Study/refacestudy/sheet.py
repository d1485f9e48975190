"""Pictures of refaced heads: a strip of four for each, and a contact sheet of many strips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from RefaceLib.skin.portrait import render_surface
from RefaceLib.volume import geometry

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

Landmarks = Mapping[str, Sequence[float]]

TILE = 256  # pixels
TILES = ("original front", "refaced front", "refaced three-quarter", "refaced sagittal")
LARGEST = 1_500_000  # bytes of a contact sheet
SHEET_HEADS, SHEET_COLUMNS = 12, 2
_FINE_HEADS = 4  # of a sheet, those without labels: they are the ones of 1 mm
_SLICE_MM = 220.0


def write_strip(
    path: Path, old: vtkPolyData, new: vtkPolyData, refaced: np.ndarray, affine: np.ndarray, landmarks: Landmarks
) -> None:
    """The four tiles of a head side by side, as a grey PNG: three renderings of its surfaces, one slice."""
    tiles = [
        render_surface(surface, view=view, landmarks=landmarks, size=TILE)
        for surface, view in ((old, "front"), (new, "front"), (new, "three_quarter"))
    ]
    tiles = [tile.mean(axis=-1) for tile in tiles] + [sagittal(refaced, affine, landmarks)]
    _save(path, np.concatenate(tiles, axis=1))


def sagittal(values: np.ndarray, affine: np.ndarray, landmarks: Landmarks) -> np.ndarray:
    """Slice (TILE, TILE), 0..255, through the middle of the face: the front is to the left, as it is read."""
    middle = np.mean([landmarks["left_eye"], landmarks["right_eye"]], axis=0)
    line = (np.arange(TILE) + 0.5) / TILE * _SLICE_MM
    forward, down = np.meshgrid(middle[1] + 65.0 - line, middle[2] + 75.0 - line)
    points = np.stack([np.full_like(forward, middle[0]), forward, down])
    index = geometry.apply_affine(np.linalg.inv(affine), points.reshape(3, -1).T).T
    cut = ndimage.map_coordinates(np.nan_to_num(values), index, order=1, mode="grid-constant").reshape(TILE, TILE)
    low, high = np.percentile(values[::2, ::2, ::2], (1.0, 99.5))
    return np.clip((cut - low) / max(high - low, 1e-6), 0.0, 1.0) * 255


def choose(rows: Sequence[Mapping[str, Any]], heads: int = SHEET_HEADS) -> list[str]:
    """Names for a sheet of so many: a few heads without labels (the fine ones), else evenly of the validation list."""
    fine = [row["name"] for row in rows if "brain_dice" not in row][:_FINE_HEADS]
    coarse = [row["name"] for row in rows if "brain_dice" in row and row["validation"]]
    wanted = min(heads - len(fine), len(coarse))
    even = np.linspace(0, len(coarse) - 1, wanted).round().astype(int) if wanted else []
    return [coarse[i] for i in even] + fine


def write_sheet(path: Path, strips: Sequence[Path], *, with_originals: bool) -> None:
    """A PNG of at most LARGEST bytes with SHEET_COLUMNS heads a row; true faces only when asked for.

    Every head is captioned with its strip's file name.
    """
    from PIL import Image, ImageDraw

    pictures = []
    for strip in strips:
        picture = Image.open(strip).convert("L")
        picture = picture if with_originals else picture.crop((TILE, 0, *picture.size))
        ImageDraw.Draw(picture).text((4, 2), strip.stem, fill=255)
        pictures.append(np.asarray(picture))
    while len(pictures) % SHEET_COLUMNS:
        pictures.append(np.zeros_like(pictures[0]))
    gap = ((0, 6), (0, 12))
    padded = [np.pad(picture, gap) for picture in pictures]
    rows = [np.concatenate(padded[i : i + SHEET_COLUMNS], axis=1) for i in range(0, len(padded), SHEET_COLUMNS)]
    whole = np.concatenate(rows, axis=0)
    size = 1.0
    _save(path, whole)
    while path.stat().st_size > LARGEST:
        size *= 0.9
        small = Image.fromarray(whole).resize((int(whole.shape[1] * size), int(whole.shape[0] * size)))
        _save(path, np.asarray(small))


def _save(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(picture).astype(np.uint8)).save(path, format="PNG", optimize=True)
