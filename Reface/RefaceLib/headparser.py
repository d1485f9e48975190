"""Finds brain, head and landmarks in a head volume of any contrast, orientation and field of view.

A small 3D U-Net works on a 2 mm grid along RAS. Its first layer folds 2 x 2 x 2 voxels into channels, so that the
large feature maps live at 4 mm. It gives two masks at 2 mm and one heat map a landmark at 4 mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from RefaceLib import geometry
from RefaceLib.errors import HeadNotFoundError
from RefaceLib.geometry import Grid

if TYPE_CHECKING:
    from RefaceLib.networks import HeadParserNet

SPACING = 2.0  # mm of the working grid
FACE_LANDMARKS = ("left_eye", "right_eye", "nose_tip", "left_mouth", "right_mouth", "chin")
BRAIN_LANDMARKS = (
    "left_thalamus", "right_thalamus", "brain_stem", "left_cerebellum", "right_cerebellum", "left_frontal_pole",
    "right_frontal_pole", "left_occipital_pole", "right_occipital_pole", "left_temporal_pole", "right_temporal_pole",
)  # fmt: skip
LANDMARKS = FACE_LANDMARKS + BRAIN_LANDMARKS
_SMALLEST_BRAIN_ML = 250.0  # below it there is no head in the picture (a newborn's brain has about 350 ml)
_NEEDED_CERTAINTY = 0.12  # of a landmark's heat map within 12 mm of its peak


@dataclass(frozen=True, eq=False)
class HeadParse:
    """What was found: masks on ``grid`` (2 mm, axes R A S), landmarks in RAS mm.

    ``points`` (17, 3) in the order of LANDMARKS, ``certainty`` (17,) in 0..1: the share of the heat map near its peak.
    """

    grid: Grid
    brain: np.ndarray
    head: np.ndarray
    points: np.ndarray
    certainty: np.ndarray

    def brain_ml(self) -> float:
        return float(self.brain.sum()) * SPACING**3 / 1000.0


def conform(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Grid]:
    """The 2 mm RAS picture (float32, 0..1 by robust percentiles) of a volume (I, J, K), and its grid."""
    grid = geometry.ras_grid(values.shape, affine, SPACING, multiple=16)
    coarse, coarse_affine = geometry.block_mean(values, affine, SPACING)
    # The frame beyond the field of view has the darkest value, as air has: a zero would be bright in CT.
    low = float(np.percentile(coarse[::3, ::3, ::3], 1))
    image = geometry.resample(coarse, coarse_affine, grid, outside=low)
    return normalise(image), grid


def normalise(image: np.ndarray) -> np.ndarray:
    """Scale to 0..1 between the 1st percentile and the 99.5th of what lies above the middle of the range."""
    sample = image[::2, ::2, ::2]
    low, high = np.percentile(sample, (1, 99.8))
    bright = sample[sample > low + 0.05 * (high - low)]
    high = np.percentile(bright, 98) if bright.size else high
    return np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.5).astype(np.float32)


def parse_head(values: np.ndarray, affine: np.ndarray, net: HeadParserNet, device: str) -> HeadParse:
    """Parse a volume: ``values`` (I, J, K) finite float32, ``affine`` IJK -> RAS mm.

    Raises HeadNotFoundError where no brain of a plausible size, or no plausible arrangement of landmarks, is found.
    """
    image, grid = conform(values, affine)
    brain_p, head_p, heat = _run(net, image, device)
    brain = largest_component(brain_p > 0.5)
    brain = ndimage.binary_fill_holes(brain)
    head = ndimage.binary_fill_holes(largest_component((head_p > 0.5) | brain))
    points, certainty = decode_heatmaps(heat, grid)
    parse = HeadParse(grid, brain, head, points, certainty)
    if parse.brain_ml() < _SMALLEST_BRAIN_ML:
        raise HeadNotFoundError(
            f"No head was found in the volume (a brain of {parse.brain_ml():.0f} ml): give a T1-weighted head MRI."
        )
    if np.median(certainty[len(FACE_LANDMARKS) :]) < _NEEDED_CERTAINTY:
        raise HeadNotFoundError("No head was found in the volume: the landmarks of the brain cannot be made out.")
    return parse


def _run(net: HeadParserNet, image: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import torch

    from RefaceLib.inference import precision

    with torch.inference_mode(), precision(device):
        tensor = torch.from_numpy(image)[None, None].to(device)
        masks, heat = net(tensor)
        masks = torch.sigmoid(masks.float())[0].cpu().numpy()
        heat = torch.softmax(heat.float().flatten(2), dim=-1).reshape(heat.shape)[0].cpu().numpy()
    return masks[0], masks[1], heat


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected component of a boolean array (all False stays so)."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def decode_heatmaps(heat: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Points in RAS mm (L, 3) and certainties (L,) of heat maps (L, X, Y, Z) on the 4 mm raster of ``grid``.

    The point is the centre of mass within 12 mm of the peak; the certainty is the mass found there.
    """
    points, certainty = [], []
    for channel in heat:
        peak = np.array(np.unravel_index(channel.argmax(), channel.shape))
        low = np.maximum(peak - 3, 0)
        window = channel[tuple(slice(a, b) for a, b in zip(low, peak + 4, strict=True))]
        mass = float(window.sum())
        index = low + np.array(ndimage.center_of_mass(window))
        points.append(geometry.apply_affine(grid.affine, index * 2 + 0.5))
        certainty.append(mass)
    return np.array(points), np.array(certainty)
