"""Paints a new face: from the visible head and the mask to a picture of the whole face box.

Nothing here sees a voxel of the face. The volume is defaced, and the frame, the intensity scale and the shape are
estimated from what is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from RefaceLib.common.progress import Cancelled, raise_if_cancelled
from RefaceLib.face import contrast, rasters, skindistance
from RefaceLib.face.conditioning import Conditioning, VisibleHead, draw_plausible
from RefaceLib.face.deface import Defaced
from RefaceLib.face.fitted import FittedConstants
from RefaceLib.face.intensity import IntensityScale
from RefaceLib.face.shapemodel import Atlas
from RefaceLib.face.weights import Models
from RefaceLib.head import canonical
from RefaceLib.head.headparser import HeadParse, brain_frame
from RefaceLib.head.noise import without_noise
from RefaceLib.networks.inference import precision
from RefaceLib.volume import geometry

_FINE_FROM = 20.0  # canonical y, mm: no eyes, nose or mouth behind it that need detail
_DETAIL_MM = (2.0, 6.0)  # depths over which its detail sets in
_AROUND_SKIN_MM = -4.0  # depth from which the fine network sees the face: air before the skin belongs to it
_SEAM_MM = 6.0  # reach into the face of the ratio of scan and painting at the mask's edge
_FACTORS = (0.8, 1.3)  # limits of that ratio
_FLESH = 0.3  # of white matter: brighter voxels are soft tissue
_REMAINDER_MM, _REMAINDER_SHARE = (1.5, 0.8), 0.05  # reach of the remainder: mean, detail; weight where it has faded
_REACH_OF_BLUR, _SLAB = 3.0, 16  # its blur, in standard deviations; voxels of 1 mm of which its detail is found at once
_SKIN_MM = (1.0, 3.0)  # depths over which the remainder sets in
# Depths over which contrast matching sets in; its blur in voxels of 2 mm, with that of the raster 1.5 mm in all.
_CONTRAST_MM, _CONTRAST_SMOOTHING = (3.0, 8.0), 0.58
_AROUND_MM = 20.0  # from the mask: visible skin within this distance is compared with the hidden one
_INNER_MM = (4.0, 10.0)  # depths over which cavities stop to count as outside
# Least brightness of skin at these depths (mm): without it, thin lids and wings of noses would have pits.
_SKIN_DEPTHS, _DIMMEST_SKIN = (-0.5, 0.5, 3.0, 4.5), (0.0, 0.4, 0.4, 0.0)


@dataclass(frozen=True, eq=False)
class Painting:
    """A painted face in the scan's own intensities: ``picture`` (192, 176, 176) float32 at 1 mm.

    ``affine`` maps picture voxels to RAS mm, ``code`` (K,) is the latent code of the face, ``scale`` the scan's.
    ``draws`` and ``plausible`` are as of Conditioning.
    """

    picture: np.ndarray
    affine: np.ndarray
    code: np.ndarray
    scale: IntensityScale
    draws: int
    plausible: bool


def paint(
    defaced: Defaced, mask: np.ndarray, brain: np.ndarray, parse: HeadParse, models: Models, seed: int,
    cancelled: Cancelled | None = None,
) -> Painting:  # fmt: skip
    """Paint a face for a defaced head.

    ``mask`` (I, J, K; bool) is what is blank in it, ``brain`` (bool) and ``parse`` were found in its values. The same
    arguments and ``seed`` give the same bits on one CPU.
    """
    # In noisy air there is no skin to be seen, and a face fitted to what looks like one is misshapen.
    values, affine = without_noise(defaced.values, defaced.air), defaced.grid.affine
    frame = brain_frame(parse.points, parse.certainty, models.fitted.defaced_brain_points)
    grid = canonical.box(1.0, canonical.BEHIND)
    world = geometry.Grid(grid.shape, frame @ grid.affine)
    scale = IntensityScale.of(values, brain & ~mask, defaced.air)
    visible = scale.normalise(geometry.resample(values, affine, world))
    view = geometry.in_view(values.shape, affine, world)
    # A voxel of the box with any share of a blank voxel is hidden: interpolation must not mix blanks into the picture.
    hidden = geometry.resample(mask.astype(np.float32), affine, world) > 1e-3
    np.clip(visible, 0, 2, out=visible)
    visible[hidden | ~view] = 0
    coarse_grid = canonical.box(2.0, canonical.BEHIND)
    coarse_world = geometry.Grid(coarse_grid.shape, frame @ coarse_grid.affine)
    head = geometry.resample(parse.head.astype(np.float32), parse.grid.affine, coarse_world) > 0.5
    inner = geometry.resample(brain.astype(np.float32), affine, coarse_world) > 0.5
    shown = _shown(visible, hidden, view, head, inner)
    conditioning, coarse = _paint_coarse(visible, hidden, view, head, models, seed, cancelled)
    shape = _under_the_skin(conditioning, models.atlas)
    behind = int(canonical.BEHIND)
    visible, hidden, view = visible[:, behind:], hidden[:, behind:], view[:, behind:]
    raise_if_cancelled(cancelled)
    depth = rasters.to_raster(shape, 2.0, 1.0)
    picture = _paint_fine(coarse, visible, hidden, depth, models)
    picture = _with_skin(picture, depth, visible, hidden, view, models.fitted)
    painted = _halve((hidden & view).astype(np.float32)) > 0.5
    picture = _match_contrast(
        picture, shape, rasters.interpolated(depth, _CONTRAST_MM, (0, 1)), painted, shown, models.fitted
    )
    picture = _match_edges(picture, visible, hidden, view)
    picture = _add_remainder(picture, visible, view & ~hidden, rasters.interpolated(depth, _SKIN_MM, (0, 1)))
    return Painting(
        scale.restore(picture), frame @ canonical.box(1.0).affine, conditioning.code, scale,
        conditioning.draws, conditioning.plausible,
    )  # fmt: skip


def _with_skin(
    picture: np.ndarray, depth: np.ndarray, visible: np.ndarray, hidden: np.ndarray, view: np.ndarray,
    fitted: FittedConstants,
) -> np.ndarray:  # fmt: skip
    """``picture`` with this scan's skin: a sharp edge without pits where ``depth`` (mm) is 0, and no haze before it.

    The generator paints skin soft, over some five millimetres, although it knows its place. The fitted factors give it
    an edge of a millimetre and, after blending, the brightness of true skin.
    """
    steep = rasters.interpolated(depth, fitted.skin_depths, fitted.skin_factors)
    steep *= picture
    matched = _match_skin(steep, depth, visible, hidden, view)
    return np.maximum(matched, rasters.interpolated(depth, _SKIN_DEPTHS, _DIMMEST_SKIN), out=matched)


def _match_skin(
    picture: np.ndarray, depth: np.ndarray, visible: np.ndarray, hidden: np.ndarray, view: np.ndarray
) -> np.ndarray:
    """Match the brightness of skin and the fat under it, by depth, to this scan's around the mask; all at 1 mm.

    Visible skin behind _FINE_FROM is compared with ears and their scalp, skin before it with the face.
    """
    y = (canonical.BOX_CORNER[1] + 0.5 + np.arange(picture.shape[1]))[None, :, None]
    face = np.interp(y, (_FINE_FROM, _FINE_FROM + 15.0), (0, 1)).astype(np.float32)
    away = skindistance.distance_to(_halve(hidden.astype(np.float32)) > 0, 2.0, 2 * _AROUND_MM)
    near = view & ~hidden & (rasters.to_raster(away, 2.0, 1.0) < _AROUND_MM)
    return contrast.match_skin(picture, depth, visible, near, hidden & view, face)


def _shown(
    visible: np.ndarray, hidden: np.ndarray, view: np.ndarray, head: np.ndarray, brain: np.ndarray
) -> np.ndarray:
    """Values (N,) of visible tissue like that of a face; ``head`` and ``brain`` at 2 mm, the others at 1 mm."""
    small, covered, seen = (_halve(a.astype(np.float32)) for a in (visible, hidden, view))
    return small[contrast.flesh(small, covered > 0, seen > 0.5, head, brain, 2.0)]


def _match_contrast(
    picture: np.ndarray, shape: np.ndarray, deep: np.ndarray, painted: np.ndarray, shown: np.ndarray,
    fitted: FittedConstants,
) -> np.ndarray:  # fmt: skip
    """Match the contrast of the tissue under the skin to this scan. Skin stays: its brightness places the surface.

    ``shape`` (mm under the skin) and ``painted`` (bool) are at 2 mm, ``picture`` and ``deep`` (0 in the skin to 1 under
    it) at 1 mm. The correction is smooth: it separates fat from muscle, but emphasises no line within them.
    """
    face = painted & (shape > _CONTRAST_MM[0])
    face[:, : int((_FINE_FROM - canonical.BOX_CORNER[1]) / 2)] = False
    matched = contrast.match(picture, _halve(picture)[face], shown, fitted.percentiles, fitted.offsets)
    change = rasters.to_raster(ndimage.gaussian_filter(_halve(matched - picture), _CONTRAST_SMOOTHING), 2.0, 1.0)
    del matched
    change *= deep
    change += picture
    return np.maximum(change, 0, out=change)


def _halve(field: np.ndarray) -> np.ndarray:
    """Mean of blocks of 2 x 2 x 2 voxels."""
    return geometry.block_mean(field, np.eye(4), 2.0)[0]


def _paint_coarse(
    visible: np.ndarray, hidden: np.ndarray, view: np.ndarray, head: np.ndarray, models: Models, seed: int,
    cancelled: Cancelled | None,
) -> tuple[Conditioning, np.ndarray]:  # fmt: skip
    """The conditioning and the generator's picture (96, 88, 88) at 2 mm. The arguments extend behind the box."""
    import torch

    mask, seen = _halve(hidden.astype(np.float32)) > 0, _halve(view.astype(np.float32)) > 0.5
    small = _halve(visible)
    # Hidden voxels count as head: the walls of the cut are no skin, and distances near them are not used.
    whole = skindistance.trim_to_skin(head | mask, np.where(mask, 1, small), 2.0)
    distance = skindistance.signed_distance(whole, 2.0)
    visible_head = VisibleHead.of(models.shape, models.atlas, distance, mask, seen)
    conditioning = draw_plausible(models.fitted.law, seed, visible_head, cancelled)
    small, mask, seen = (a[:, -conditioning.shape.shape[1] :] for a in (small, mask, seen))
    inputs = [small * ~mask, mask, conditioning.shape / skindistance.CLIP, conditioning.atlas, seen]
    with torch.inference_mode(), precision(models.device):
        tensors = [torch.from_numpy(np.ascontiguousarray(a, np.float32))[None, None].to(models.device) for a in inputs]
        picture = models.coarse(*tensors, torch.from_numpy(conditioning.code)[None].to(models.device))
    return conditioning, np.maximum(picture.float()[0, 0].cpu().numpy(), 0)


def _under_the_skin(conditioning: Conditioning, atlas: Atlas) -> np.ndarray:
    """Depth under the skin (96, 88, 88) in mm, where nostrils and lips are skin, but not sinuses, teeth and jaw.

    The drawn shape counts dark parts of the mean head as outside, but deep in a head they are no edge of the skin.
    """
    solid = rasters.warp(atlas.solid, conditioning.field)
    return conditioning.shape + (solid - conditioning.shape) * np.interp(solid, _INNER_MM, (0, 1)).astype(np.float32)


def _paint_fine(
    coarse: np.ndarray, visible: np.ndarray, hidden: np.ndarray, depth: np.ndarray, models: Models
) -> np.ndarray:
    """The picture at 1 mm (192, 176, 176), as all but ``coarse`` are, which is at 2 mm.

    Only tissue of the face passes through the network, not air and ears.
    """
    import torch

    large = rasters.to_raster(coarse, 2.0, 1.0)
    face = hidden & (depth > _AROUND_SKIN_MM)
    face[:, : int(_FINE_FROM - canonical.BOX_CORNER[1])] = False
    if not face.any():
        return large
    extent = ndimage.find_objects(face.astype(np.uint8))[0]
    window = tuple(_window(s.start, s.stop - 1, n) for s, n in zip(extent, face.shape, strict=True))
    with torch.inference_mode(), precision(models.device):
        tensors = [
            torch.from_numpy(np.ascontiguousarray(a[window], np.float32))[None, None].to(models.device)
            for a in (large, visible, hidden)
        ]
        detail = models.fine(*tensors).float()[0, 0].cpu().numpy() - large[window]
    large[window] += detail * rasters.interpolated(depth[window], _DETAIL_MM, (0, 1))
    return large


def _window(low: int, high: int, size: int, margin: int = 4, multiple: int = 4) -> slice:
    """The slice from ``low`` to ``high`` (inclusive) with a margin, its ends at multiples, clipped to 0..size."""
    start = max(0, (low - margin) // multiple * multiple)
    stop = min(size, -(-(high + 1 + margin) // multiple) * multiple)
    return slice(start, stop)


def _match_edges(picture: np.ndarray, visible: np.ndarray, hidden: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Extrapolate the ratio of scan and painting at the mask's edge into the face, against a seam in brightness.

    The correction is a bounded factor: air stays air and tissue stays tissue, so the surface stays in its place.
    """
    both = view & ~hidden & (visible > _FLESH) & (picture > _FLESH)
    sigma = _SEAM_MM / 2  # on the 2 mm raster
    near, there, here = (
        ndimage.gaussian_filter(_halve(np.where(both, a, 0)), sigma) for a in (np.float32(1), visible, picture)
    )
    factor = np.clip((there + 1e-3) / (here + 1e-3), *_FACTORS)
    factor = 1 + (factor - 1) * near / (near + 0.05)
    matched = rasters.to_raster(factor, 2.0, 1.0)
    matched *= picture
    return matched


def _add_remainder(picture: np.ndarray, visible: np.ndarray, seen: np.ndarray, under: np.ndarray) -> np.ndarray:
    """Extrapolate the difference of scan and painting at the mask's edge, so that fat and muscle continue across it.

    It reaches some millimetres into the face, its mean farther than its detail. All at 1 mm; ``visible`` is the scan
    where it is ``seen`` (bool). ``under`` (0 in the skin to 1 under it) keeps it out of the skin, which would get holes
    where the scan's skin lies slightly deeper.
    """
    left = visible - picture
    left[~seen] = 0
    small = _extrapolated(_halve(left), _halve(seen.astype(np.float32)), _REMAINDER_MM[0] / 2.0)
    remainder = rasters.to_raster(small, 2.0, 1.0)
    left -= remainder
    left[~seen] = 0
    reach = int(_REACH_OF_BLUR * _REMAINDER_MM[1] + 0.5)
    for start in range(0, len(left), _SLAB):  # what a slab needs stays in the processor's cache
        first, stop = max(0, start - reach), start + _SLAB
        part = slice(first, stop + reach)
        detail = _extrapolated(left[part], seen[part].astype(np.float32), _REMAINDER_MM[1])
        remainder[start:stop] += detail[start - first : stop - first]
    remainder *= under
    remainder += picture
    return np.maximum(remainder, 0, out=remainder)


def _extrapolated(field: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """The local weighted mean of a ``field``, fading to 0 away from voxels with ``weight``. ``sigma`` in voxels."""
    near, there = (ndimage.gaussian_filter(a, sigma, truncate=_REACH_OF_BLUR) for a in (weight, field))
    return there / (near + _REMAINDER_SHARE)
