"""The small picture of a volume for quality control: three slices through the face mask, with its outline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from RefaceLib.session import mean_frame
from RefaceLib.volume.geometry import apply_affine
from RefaceLib.volume.io import Volume
from RefaceLib.volume.slices import SLICES, grey_window, plane_points, sample_points

STEP = 1.6  # mm between pixels
SIDE = 160  # pixels of a slice: all pictures have one scale
WIDTH, HEIGHT = len(SLICES) * SIDE, SIDE
_MARGIN = 8.0  # mm in front of the mask and below it
_OUTLINE = (255, 176, 0)
_LETTER, _LETTER_SIZE = (150, 200, 255), 15
_QUALITY = 75  # of the JPEG file, which has 20 kB then


def write_thumbnail(path: str | Path, volume: Volume, mask: np.ndarray | None) -> None:
    """Write a JPEG file of ``volume`` (its mean, where it has frames): sagittal, axial and coronal slice.

    The slices go through the centre of the ``mask`` (I, J, K; bool; None: of the volume), whose outline is drawn. They
    lie along the axes of RAS mm. The subject's right is on the left, and letters say so. What is shown depends on these
    two alone, and where on the mask alone, so that pictures before and after agree.
    """
    values = mean_frame(volume).values()
    window = grey_window(values)
    box, centre = _view_of(mask, values.shape, volume.affine)
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=_LETTER_SIZE)
    for column, (normal, across, down, letters) in enumerate(SLICES):
        points = plane_points(box, centre, normal, across, down, STEP)[:SIDE, :SIDE]
        picture.paste(Image.fromarray(_panel(values, mask, volume.affine, points, window)), (column * SIDE, 0))
        for letter, x, anchor in zip(letters, (4, SIDE - 4), ("la", "ra"), strict=True):
            draw.text((column * SIDE + x, 3), letter, fill=_LETTER, anchor=anchor, font=font)
    picture.save(path, format="JPEG", quality=_QUALITY, subsampling=0)


def _view_of(mask: np.ndarray | None, shape: tuple[int, ...], affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The box that is shown (2, 3), and the point through which it is cut (3,), both in RAS mm.

    The mask is at the front of the head and at its lower end.
    """
    size = STEP * (SIDE - 1)
    if mask is None or not mask.any():
        centre = apply_affine(affine, (np.asarray(shape, float)[None] - 1) / 2)[0]
        return np.stack([centre - size / 2, centre + size / 2]), centre
    points = apply_affine(affine, np.argwhere(mask))
    centre, low, high = points.mean(axis=0), points.min(axis=0), points.max(axis=0)
    start = np.array([centre[0] - size / 2, high[1] + _MARGIN - size, low[2] - _MARGIN])
    return np.stack([start, start + size]), centre


def _panel(
    values: np.ndarray, mask: np.ndarray | None, affine: np.ndarray, points: np.ndarray, window: tuple[float, float]
) -> np.ndarray:
    """The pixels (rows, columns, 3; uint8) at these ``points``."""
    low, high = window
    grey = sample_points(values, affine, points, 1, low)
    pixels = np.repeat(np.clip((grey - low) * (255 / (high - low)), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if mask is not None:
        inside = sample_points(mask.astype(np.uint8), affine, points, 0) > 0
        pixels[inside & ~ndimage.binary_erosion(inside, border_value=1)] = _OUTLINE
    return pixels
