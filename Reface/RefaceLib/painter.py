"""Paints a new face: the visible head and the mask in, the picture of a whole face box out.

Nothing here ever sees a voxel of the face: the volume comes defaced, and the frame, the scale of intensities and the
shape are all taken from what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from RefaceLib import canonical, geometry, shapemodel
from RefaceLib.errors import CancelledError
from RefaceLib.headparser import HeadParse, brain_frame
from RefaceLib.inference import precision
from RefaceLib.intensity import IntensityScale
from RefaceLib.weights import Models

_SEAM_MM = 5.0  # how far the difference at the mask's edge is carried into the face


@dataclass(frozen=True, eq=False)
class Painting:
    """A painted face in the scan's own intensities: ``picture`` (192, 176, 176) float32 at 1 mm, placed by
    ``affine`` (picture voxels -> RAS mm), and ``code`` (K,), the latent code that chose the face."""

    picture: np.ndarray
    affine: np.ndarray
    code: np.ndarray
    scale: IntensityScale


def paint(
    values: np.ndarray, affine: np.ndarray, mask: np.ndarray, parse: HeadParse, models: Models, seed: int,
    cancelled: Callable[[], bool] | None = None,
) -> Painting:  # fmt: skip
    """Paint a face for a *defaced* volume.

    ``values`` (I, J, K) float32 with the mask already blank, ``affine`` IJK -> RAS mm, ``mask`` (I, J, K) bool,
    ``parse`` of these defaced values. The same arguments and ``seed`` give the same bits on one CPU.
    """
    frame = brain_frame(parse.points, parse.certainty)
    grid = canonical.box(1.0)
    world = geometry.Grid(grid.shape, frame @ grid.affine)
    scale = IntensityScale.of(values, _nearest(parse.brain, parse, values.shape, affine) & ~mask)
    sampled = geometry.resample(values, affine, world)
    view = geometry.in_view(values.shape, affine, world)
    # Any share of a blank voxel makes a voxel of the box hidden: interpolation must not mix blanks into the picture.
    hidden = geometry.resample(mask.astype(np.float32), affine, world) > 1e-3
    visible = np.where(view & ~hidden, np.clip(scale.normalise(sampled), 0, 2), 0).astype(np.float32)
    head = geometry.resample(parse.head.astype(np.float32), parse.grid.affine, geometry.Grid(
        canonical.box(2.0).shape, frame @ canonical.box(2.0).affine)) > 0.5  # fmt: skip
    code, shape, coarse = _paint_coarse(visible, hidden, view, head, models, seed)
    if cancelled and cancelled():
        raise CancelledError("The run was stopped; nothing was written.")
    picture = _paint_fine(coarse, visible, hidden, shape, models)
    picture = _match_edges(picture, visible, hidden, view) * _tissue_share(shape)
    return Painting(scale.restore(picture), world.affine, code, scale)


def _nearest(mask: np.ndarray, parse: HeadParse, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    return geometry.resample(mask, parse.grid.affine, geometry.Grid(shape, affine), nearest=True) > 0


def _halve(field: np.ndarray) -> np.ndarray:
    """Mean of blocks of 2 x 2 x 2."""
    return geometry.block_mean(field, np.eye(4), 2.0)[0]


def _paint_coarse(
    visible: np.ndarray, hidden: np.ndarray, view: np.ndarray, head: np.ndarray, models: Models, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The code, and shape (mm) and picture (96, 88, 88) at 2 mm."""
    import torch

    mask, seen = _halve(hidden.astype(np.float32)) > 0, _halve(view.astype(np.float32)) > 0.5
    distance = shapemodel.signed_distance(head, 2.0)
    code, shape = shapemodel.condition(models.shape, np.random.default_rng(seed), distance, mask, seen, own=False)
    atlas = models.atlas.draw(code)
    inputs = [_halve(visible) * ~mask, mask, shape / shapemodel.CLIP, atlas, seen]
    with torch.inference_mode(), precision(models.device):
        tensors = [torch.from_numpy(np.ascontiguousarray(a, np.float32))[None, None].to(models.device) for a in inputs]
        picture = models.coarse(*tensors, torch.from_numpy(code)[None].to(models.device))
    painted = np.maximum(picture.float()[0, 0].cpu().numpy(), 0)
    return code, shape, _clear_skin(painted, atlas, shape)


def _clear_skin(picture: np.ndarray, atlas: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Take the skin (4 mm under the drawn surface, fading over 4 more) from the atlas, as bright as it was painted.

    The network's texture is right inside a head, but at the skin it makes lumps, and skin is what people see.
    """
    gain = (ndimage.gaussian_filter(picture, 3.0) + 0.02) / (ndimage.gaussian_filter(atlas, 3.0) + 0.02)
    share = np.clip(1 - (shape - 4.0) / 4.0, 0, 1)
    # A touch of smoothing takes the raster of the coarse network's exit away; the scan's own noise comes later.
    picture = ndimage.gaussian_filter(picture, 0.55)
    return share * atlas * np.clip(gain, 0.3, 3.0) + (1 - share) * picture


def _paint_fine(
    coarse: np.ndarray, visible: np.ndarray, hidden: np.ndarray, shape: np.ndarray, models: Models
) -> np.ndarray:
    """The picture at 1 mm (192, 176, 176); only the part around the mask goes through the network.

    What the network adds is smoothed over three voxels: that takes away the raster of its depth-to-space step, whose
    period is two voxels, exactly. The skin is left as it is, as in ``_clear_skin``.
    """
    import torch

    large = shapemodel.to_raster(coarse, 2.0, 1.0)
    if not hidden.any():
        return large
    extent = ndimage.find_objects(hidden.astype(np.uint8))[0]
    window = tuple(_window(s.start, s.stop - 1, n) for s, n in zip(extent, hidden.shape, strict=True))
    with torch.inference_mode(), precision(models.device):
        tensors = [
            torch.from_numpy(np.ascontiguousarray(a[window], np.float32))[None, None].to(models.device)
            for a in (large, visible, hidden)
        ]
        detail = models.fine(*tensors).float()[0, 0].cpu().numpy() - large[window]
    for axis in range(3):
        detail = ndimage.correlate1d(detail, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
    large[window] += detail * np.clip((shapemodel.to_raster(shape, 2.0, 1.0)[window] - 2.0) / 4.0, 0, 1)
    return large


def _tissue_share(shape: np.ndarray) -> np.ndarray:
    """1 in the drawn head and to 3 mm above its skin, 0 from 6 mm on, at 1 mm: no mist is left before the face."""
    return np.clip((shapemodel.to_raster(shape, 2.0, 1.0) + 6.0) / 3.0, 0, 1)


def _window(low: int, high: int, size: int, margin: int = 12, multiple: int = 4) -> slice:
    """The slice from ``low`` to ``high`` (inclusive) with a margin, its ends at multiples, within 0..size."""
    start = max(0, (low - margin) // multiple * multiple)
    stop = min(size, -(-(high + 1 + margin) // multiple) * multiple)
    return slice(start, stop)


def _match_edges(picture: np.ndarray, visible: np.ndarray, hidden: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Carry the difference between scan and painting at the mask's edge a little way into the face: no seam.

    The difference is spread by a normalised Gaussian (2 mm raster), and only onto painted tissue: air stays air.
    """
    weight = _halve((view & ~hidden).astype(np.float32))
    error = _halve(np.where(view & ~hidden, visible - picture, 0))
    sigma = _SEAM_MM / 2
    spread = ndimage.gaussian_filter(weight, sigma)
    correction = ndimage.gaussian_filter(error, sigma) / (spread + 0.05)
    tissue = np.clip(picture / 0.3, 0, 1)
    return np.maximum(picture + tissue * shapemodel.to_raster(correction, 2.0, 1.0), 0)
