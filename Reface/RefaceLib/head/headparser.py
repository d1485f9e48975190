"""Finds brain, head and landmarks in a head volume of any contrast, orientation and field of view.

Two small 3D U-Nets run in sequence, both on 2 mm rasters. The *localizer* sees the scan along RAS, in any pose of the
head, and finds landmarks of the brain, which give the canonical pose. The *parser* sees the head in that pose, where
everything lies nearly where it always lies, and finds brain, head and all landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.head import canonical
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.head.noise import without_noise
from RefaceLib.volume import geometry
from RefaceLib.volume.air import Air, measure_air
from RefaceLib.volume.geometry import Grid

if TYPE_CHECKING:
    from torch import Tensor

    from RefaceLib.networks.layers import HeadParserNet

SPACING = 2.0  # mm of the working rasters
_SMALLEST_BRAIN_ML = 250.0  # below it there is no head in the picture (a newborn's brain has about 350 ml)
_LARGEST_BRAIN_ML = 2300.0
_NEEDED_CERTAINTY = 0.12  # median share of the brain landmarks' heat maps within 12 mm of their peaks
# In the canonical pose the parser is sure of heads (0.64 in a baby's CT, 0.75 to 0.92 in MRI), and not of balls of
# jelly and noise (0.57 and less); brain landmarks keep to their places (6 mm in the baby's CT, 2 mm in MRI).
_PARSED_CERTAINTY, _FARTHEST_MM = 0.6, 9.0
_BRIGHT, _CONTENT_SHARE = 0.15, 0.01  # a plane with more than this share of bright voxels is not air
_MARGIN = 5  # voxels about what is not air
_DOUBT = 0.15  # a voxel that is brain with this likelihood is protected as well
_SCALES = (0.65, 1.35)  # of a head against the mean adult's: beyond it, something else was taken for a head


@dataclass(frozen=True, eq=False)
class LabelledHead:
    """Masks (bool) of a head on ``grid`` (about 2 mm, in the pose of the head), and its landmarks in RAS mm.

    ``points`` (17, 3) in the order of canonical.LANDMARKS, ``certainty`` (17,) in 0..1.
    """

    grid: Grid
    brain: np.ndarray
    head: np.ndarray
    points: np.ndarray
    certainty: np.ndarray

    def brain_ml(self) -> float:
        return float(self.brain.sum() * abs(np.linalg.det(self.grid.affine[:3, :3])) / 1000)

    def possible_brain(self) -> np.ndarray:
        """What may be brain (bool): the brain, and every voxel in doubt."""
        return self.brain


@dataclass(frozen=True, eq=False)
class HeadParse(LabelledHead):
    """A head as the parser found it; ``certainty`` is the share of a landmark's heat map near its peak.

    ``likelihood`` (float32) is above one half in the brain, and gives a smoother brain in another grid. ``picture``
    (float32) is what the parser saw, 0 in air and about 1 in bright tissue. ``turn`` (3, 3) is the rotation that puts
    the head upright where the header is wrong, else the identity. ``presumed`` (bool) is what counts as brain in doubt
    only because a brain may go on there.
    """

    likelihood: np.ndarray
    picture: np.ndarray
    turn: np.ndarray = field(default_factory=lambda: np.eye(3))
    presumed: np.ndarray | None = None

    def possible_brain(self) -> np.ndarray:
        return self.likelihood > _DOUBT


def conform(values: np.ndarray, affine: np.ndarray, air: Air | None = None) -> tuple[np.ndarray, Grid]:
    """The 2 mm RAS picture (float32, 0..1 by robust percentiles) of a volume (I, J, K), and its grid.

    ``air`` is what its air looks like, by default as measured in all of it.
    """
    grid = geometry.ras_grid(values.shape, affine, SPACING, multiple=16)
    coarse, coarse_affine = geometry.block_mean(without_noise(values, air or measure_air(values)), affine, SPACING)
    # The frame beyond the field of view has the darkest value, as air has: a zero would be bright in CT.
    low = float(np.percentile(coarse[::3, ::3, ::3], 1))
    image = geometry.resample(coarse, coarse_affine, grid, outside=low)
    return normalise(image), grid


def around_content(image: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """The part of a conformed picture that is not surrounding air (multiples of 16 voxels): less for the localizer."""
    window = []
    for axis, size in enumerate(image.shape):
        bright = (image > _BRIGHT).mean(axis=tuple(a for a in range(3) if a != axis)) > _CONTENT_SHARE
        if not bright.any():
            return image, grid
        low, high = np.flatnonzero(bright)[[0, -1]]
        length = min(-(-(high - low + 1 + 2 * _MARGIN) // 16) * 16, size)
        start = int(np.clip((low + high + 1 - length) // 2, 0, size - length))
        window.append(slice(start, start + length))
    return np.ascontiguousarray(image[tuple(window)]), grid.part(tuple(window))


def normalise(image: np.ndarray) -> np.ndarray:
    """Scale so that air is 0 and bright tissue (the 98th percentile of what is not air) is 1; cut at 1.5."""
    sample = image[::2, ::2, ::2]
    low, high = np.percentile(sample, (1, 99.8))
    bright = sample[sample > low + 0.05 * (high - low)]
    high = np.percentile(bright, 98) if bright.size else high
    return np.clip((image - low) / (high - low if high > low else 1.0), 0.0, 1.5).astype(np.float32)


def parse_in_frame(image: np.ndarray, grid: Grid, frame: np.ndarray, parser: HeadParserNet, device: str) -> HeadParse:
    """The second stage: parse a conformed picture of which the canonical pose ``frame`` is known."""
    box = canonical.head_box(SPACING)
    world = Grid(box.shape, frame @ box.affine)
    posed = normalise(geometry.resample(image, grid.affine, world))
    brain_p, head_p, heat = run_network(parser, posed, device)
    brain = without_holes(largest_component(brain_p > 0.5))
    head = without_holes(largest_component((head_p > 0.5) | brain))
    points, certainty = decode_heatmaps(heat, world)
    near = ndimage.binary_dilation(brain, iterations=4)
    likelihood = np.where(near, np.where(brain, np.maximum(brain_p, 0.51), np.minimum(brain_p, 0.49)), 0)
    parse = HeadParse(world, brain, head, points, certainty, likelihood.astype(np.float32), posed)
    _check_plausible(parse)
    return parse


def _check_plausible(parse: HeadParse) -> None:
    """Raise HeadNotFoundError where what was found in the canonical pose is no head."""
    if not _SMALLEST_BRAIN_ML < parse.brain_ml() < _LARGEST_BRAIN_ML:
        raise HeadNotFoundError(
            f"No head was found in the volume (a brain of {parse.brain_ml():.0f} ml): give a T1-weighted head MRI, and "
            "check the size of the voxels in its header."
        )
    frame = brain_frame(parse.points, parse.certainty)
    n = len(FACE_LANDMARKS)
    off = np.linalg.norm(geometry.apply_affine(frame, canonical.BRAIN_POINTS) - parse.points[n:], axis=1).mean()
    if np.median(parse.certainty[n:]) < _PARSED_CERTAINTY or off > _FARTHEST_MM:
        raise HeadNotFoundError("No head was found in the volume: the landmarks of the brain cannot be made out.")


def brain_frame(
    points: np.ndarray, certainty: np.ndarray, canonical_points: np.ndarray = canonical.BRAIN_POINTS
) -> np.ndarray:
    """The similarity (4 x 4) from canonical to RAS mm by the landmarks of the brain alone (points (17, 3) RAS mm).

    ``canonical_points`` (11, 3) mm are where the parser sees these landmarks in the canonical head; for a defaced head,
    FittedConstants.defaced_brain_points. Only the brain is used, so the frame of a generated face is independent of
    the old face. Raises HeadNotFoundError where the landmarks are uncertain or the size is not a head's.
    """
    points, certainty = points[len(FACE_LANDMARKS) :], certainty[len(FACE_LANDMARKS) :]
    seen = certainty > 0
    if np.median(certainty) < _NEEDED_CERTAINTY or seen.sum() < 4:
        raise HeadNotFoundError("No head was found in the volume: the landmarks of the brain cannot be made out.")
    frame = geometry.fit_similarity(canonical_points[seen], points[seen], certainty[seen])
    scale = np.cbrt(np.linalg.det(frame[:3, :3]))
    if not _SCALES[0] < scale < _SCALES[1]:
        raise HeadNotFoundError(
            f"No head was found in the volume: what looks like one has {scale:.2g} times the size of a head; check the "
            "size of the voxels in the header."
        )
    return frame


def run_network(net: HeadParserNet, image: np.ndarray, device: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of brain and head (the image's shape), and heat maps (L, X/2, Y/2, Z/2) that sum to 1."""
    import torch

    from RefaceLib.networks.inference import precision

    with torch.inference_mode(), precision(device):
        masks, heat = net(torch.from_numpy(image)[None, None].to(device))
        brain, head = torch.sigmoid(masks.float())[0].cpu().numpy()
        return brain, head, _to_shares(heat)


def heat_maps(net: HeadParserNet, image: np.ndarray, device: str) -> np.ndarray:
    """The heat maps of ``run_network`` alone."""
    import torch

    from RefaceLib.networks.inference import precision

    with torch.inference_mode(), precision(device):
        return _to_shares(net.heat_maps(torch.from_numpy(image)[None, None].to(device)))


def _to_shares(heat: Tensor) -> np.ndarray:
    """Heat maps (L, X, Y, Z) that sum to 1, of their logits (1, L, X, Y, Z)."""
    return heat.float().flatten(2).softmax(dim=-1).reshape(heat.shape)[0].cpu().numpy()


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest face-connected component of a boolean array (all False stays so)."""
    labels, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def without_holes(mask: np.ndarray) -> np.ndarray:
    """``mask`` (bool) and all that it encloses."""
    around = np.pad(~mask, 1, constant_values=True)
    labels, _ = ndimage.label(around)
    return (labels != labels[0, 0, 0])[1:-1, 1:-1, 1:-1]


def decode_heatmaps(heat: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Points in RAS mm (L, 3) and certainties (L,) of heat maps (L, X, Y, Z) on the halved raster of ``grid`` (2 mm).

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
