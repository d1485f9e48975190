"""Which voxels are face, and which may never be touched.

Masks are made on a 2 mm grid along RAS, where they are cheap, and brought to the native grid in the end.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from RefaceLib.head import canonical
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.head.headparser import SPACING, LabelledHead, brain_frame
from RefaceLib.volume import geometry
from RefaceLib.volume.air import measure_air

PROTECTED_MM = 4.0  # the brain, grown by this, is never face
_WEIGHT_FACE, _WEIGHT_BRAIN = 2.0, 1.0
_STIFFNESS_MM = 40.0
FILLED_ML = 20.0  # of one grey; a face has hundreds, saturated fat has less
_GREY = 0.1  # of bright tissue: brighter is no air
_SOFT, _INTACT = 0.2, 0.85  # of bright tissue: dimmer is the rim of skin; the share of such voxels along intact skin
_ALONG_MM, _BESIDE_MM = 4.0, 8.0  # along an edge; and along skin up to a cut
_RIM_MM, _BEFORE_MM = 3.0, 8.0  # from the rim of skin to tissue; air before intact skin
_LEAST_SKIN_MM2 = 3000.0  # of a piece: what is left of a head has more, a sinus or a piece of bone in a cut less
# Not one half itself: between two voxels of the grid that is a tie, which rounding would decide.
_HALF, _ROUNDING = 0.49, 0.005
_THIN_MM, _HANGING_MM = 6.0, 5.0  # the radius of a ball that is thicker than a lobe; below the ears' blocks


def face_frame(points: np.ndarray, certainty: np.ndarray) -> np.ndarray:
    """The affine (4 x 4) from canonical to RAS mm by all landmarks (17, 3): where this head's face lies."""
    canonical_points = np.concatenate([canonical.FACE_POINTS, canonical.BRAIN_POINTS])
    n = len(FACE_LANDMARKS)
    weights = certainty * np.repeat([_WEIGHT_FACE, _WEIGHT_BRAIN], [n, len(points) - n])
    seen = certainty > 0
    return geometry.fit_affine(canonical_points[seen], points[seen], weights[seen], stiffness=_STIFFNESS_MM)


def canonical_coordinates(grid: geometry.Grid, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canonical x, y, z (each float32, the grid's shape) of every voxel of ``grid``."""
    matrix = (np.linalg.inv(frame) @ grid.affine).astype(np.float32)
    i, j, k = (np.arange(n, dtype=np.float32) for n in grid.shape)
    i, j, k = i[:, None, None], j[None, :, None], k[None, None, :]
    x, y, z = (row[0] * i + row[1] * j + row[2] * k + row[3] for row in matrix[:3])
    return x, y, z


def protected(parse: LabelledHead, grid: geometry.Grid) -> np.ndarray:
    """The brain and PROTECTED_MM around it, on ``grid``."""
    # Doubtful voxels count as brain, and there is a voxel more: a native voxel between two must not slip through.
    near = geometry.dilate_mm(parse.possible_brain(), PROTECTED_MM + 2.0, parse.grid.affine)
    return geometry.resample(near.astype(np.float32), parse.grid.affine, grid) > 0.25


def face_mask(parse: LabelledHead, shape: tuple[int, ...], affine: np.ndarray, *, ears: bool) -> np.ndarray:
    """The face (and ears) of a raw head on the native grid ``shape``/``affine`` (IJK -> RAS): bool."""
    frame = face_frame(parse.points, parse.certainty)
    grid = _around_face(geometry.ras_grid(shape, affine, SPACING), frame)
    if not all(grid.shape):
        return np.zeros(shape, dtype=bool, order="F")
    places = canonical_coordinates(grid, frame)
    mask = canonical.in_face(*places)
    if ears:
        blocks = canonical.in_ears(*places)
        mask |= blocks | _lobes(parse, grid, places, blocks)
    return to_native(mask & ~protected(parse, grid), grid, shape, affine)


def _around_face(grid: geometry.Grid, frame: np.ndarray) -> geometry.Grid:
    """The part of ``grid`` where face and ears, and balls that touch them, may lie; ``frame``: canonical to RAS mm."""
    to_voxels = np.linalg.inv(grid.affine) @ frame
    ends = geometry.apply_affine(np.linalg.inv(to_voxels), geometry.box_corners((0, 0, 0), grid.shape))
    low, high = canonical.FACE_AND_EARS
    corners = geometry.box_corners(low, np.minimum(high, np.maximum(low, ends.max(axis=0))))
    corners = geometry.apply_affine(to_voxels, corners)
    reach = 2 * _THIN_MM / SPACING
    return grid.part(geometry.window_of(np.concatenate([corners - reach, corners + reach]), grid.shape))


def _lobes(
    parse: LabelledHead, grid: geometry.Grid, places: tuple[np.ndarray, np.ndarray, np.ndarray], blocks: np.ndarray
) -> np.ndarray:
    """The lobes that hang out of the ears' blocks, with the air around them (bool, on ``grid``).

    Left behind they stand out as fins. ``places`` are canonical x, y, z, ``blocks`` those of the ears. What is thin
    hangs: no ball of _THIN_MM goes into it, as it does into a jaw, but for the corners where the blocks end, which do
    not reach down to _HANGING_MM.
    """
    low = canonical.in_lobes(*places)
    under = low & ~blocks
    rest = (geometry.resample(parse.head.astype(np.float32), parse.grid.affine, grid) > 0.5) & ~blocks
    thin = rest & under & ~_opened(rest, _THIN_MM, grid.affine)
    if not thin.any():
        return thin
    x, y, z = places
    pieces, _ = ndimage.label(thin)
    hanging = pieces[thin & ~canonical.in_ears(x, y, z + _HANGING_MM)]
    attached = pieces[thin & ndimage.binary_dilation(blocks)]
    return ndimage.binary_dilation(np.isin(pieces, np.intersect1d(hanging, attached))) & under


def _opened(mask: np.ndarray, radius: float, affine: np.ndarray) -> np.ndarray:
    """What balls of ``radius`` mm within ``mask`` (bool), and within its array, fill."""
    rim = [n // 2 for n in geometry.ball(radius, affine).shape]
    balls = ~geometry.dilate_mm(~np.pad(mask, [(n, n) for n in rim]), radius, affine)
    opened = geometry.dilate_mm(balls, radius, affine)
    return opened[tuple(slice(n, n + size) for n, size in zip(rim, mask.shape, strict=True))]


def missing_mask(values: np.ndarray, affine: np.ndarray, parse: LabelledHead) -> np.ndarray:
    """The region (bool, native grid) that somebody else's defacing took out of the face.

    Defacing leaves one exact value over a solid region. Of that, what lies where a face must be, air before it
    included, is missing; its edge is grown by one voxel since ragged masks leave half-cut voxels.
    """
    grid = geometry.ras_grid(values.shape, affine, SPACING)
    x, y, z = canonical_coordinates(grid, brain_frame(parse.points, parse.certainty))
    zone = (y > 20.0) | ((y > -25.0) & (z < -45.0)) | canonical.in_ears(x, y, z)
    zone &= (z < 30.0) & (z > -146.0) & (np.abs(x) < 112.0)
    here, guarded = (to_native(m, grid, values.shape, affine) for m in (zone, protected(parse, grid)))
    fill = fill_value(values, affine, ~guarded)
    blank = (values == fill) | ~np.isfinite(values)
    same = here & blank
    steps = max(1, int(round(2.0 / geometry.voxel_sizes(affine).min())))
    solid = ndimage.binary_closing(ndimage.binary_opening(same, iterations=1), iterations=steps)
    # What is exactly blank is no brain, however near; its rim may be, and is guarded.
    rim = ndimage.binary_dilation(solid, iterations=1) & ~solid & ~guarded
    missing = ((solid & same) | (solid & ~guarded) | rim) & here
    return missing & ~_before_intact_skin(values, affine, missing, blank)


def _before_intact_skin(values: np.ndarray, affine: np.ndarray, missing: np.ndarray, blank: np.ndarray) -> np.ndarray:
    """Where ``missing`` voxels are but the ``blank`` air before skin that is there, and the rim of that skin (bool).

    In a scan whose air was blank before, that air is part of one region with what was taken away. Were it hidden, the
    skin beside the cut would be hidden as well, and a new face would not meet it. Skin ends in dim voxels, a cut does
    not: through bone and cavities it does in places, so the share of them along some millimetres tells.
    """
    out = np.zeros(missing.shape, dtype=bool)
    if not missing.any():
        return out
    sizes = geometry.voxel_sizes(affine)
    window = geometry.window_around(missing, int(np.ceil(2 * _BEFORE_MM / sizes.min())))
    picture, blank = np.nan_to_num(values[window]) - np.float32(measure_air(values).level), blank[window]
    bright = np.percentile(picture[~blank], 99) if not blank.all() else 0.0
    tissue = ~blank & (picture > _SOFT * bright)
    edge = ~blank & ndimage.binary_dilation(ndimage.binary_opening(blank))
    edge &= ndimage.binary_dilation(tissue, iterations=max(1, int(_RIM_MM / sizes.min())))
    soft, all_of_it = (ndimage.gaussian_filter(a.astype(np.float32), _ALONG_MM / sizes) for a in (edge & ~tissue, edge))
    intact = _large(edge & (soft > _INTACT * all_of_it), _LEAST_SKIN_MM2 / sizes.min() ** 2)
    if not intact.any():
        return out
    # Beside a cut the share is that of both; the rim of skin goes on up to it, and is dim, where the cut is bright.
    steps = int(np.ceil(_BESIDE_MM / sizes.min()))
    intact = ndimage.binary_dilation(intact, np.ones((3, 3, 3)), iterations=steps, mask=(edge & ~tissue) | intact)
    to_skin, to_cut = (
        ndimage.distance_transform_edt(~part, sampling=sizes) if part.any() else np.full(edge.shape, np.inf)
        for part in (intact, edge & ~intact)
    )
    out[window] = (to_skin < _BEFORE_MM) & (to_skin < to_cut)
    return out


def _large(mask: np.ndarray, voxels: float) -> np.ndarray:
    """The pieces of ``mask`` (bool), connected over corners too, of at least so many ``voxels``."""
    labels, _ = ndimage.label(mask, structure=np.ones((3, 3, 3), dtype=bool))
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return counts[labels] >= voxels


def fill_value(values: np.ndarray, affine: np.ndarray, where: np.ndarray | None = None) -> float | None:
    """The exact value that most often stands among six neighbours of the same value; None where none does.

    Not the most frequent value: that of an integer scan's noisy air would be more frequent than a filled face. And a
    large region of one grey wins over any region of air, which may have been blanked before: no tissue is that even,
    but for the white matter of scans whose brightness was made even (110 in FreeSurfer's). So only what lies
    ``where`` (bool, default: everywhere) the brain is not has a say.
    """
    core = values[1:-1, 1:-1, 1:-1]
    solid = np.isfinite(core)
    if where is not None:
        solid &= where[1:-1, 1:-1, 1:-1]
    for axis in range(3):
        for start in (0, 2):
            index = [slice(1, -1)] * 3
            index[axis] = slice(start, start + core.shape[axis])
            solid &= values[tuple(index)] == core
    numbers, counts = np.unique(core[solid], return_counts=True)
    if not len(numbers):
        return None
    if len(numbers) > 1 and numbers[-1] == np.nanmax(values):  # what is saturated is as even as what was filled
        numbers, counts = numbers[:-1], counts[:-1]
    air = measure_air(values).level
    tissue = np.percentile(values[::2, ::2, ::2][np.isfinite(values[::2, ::2, ::2])], 99)
    bright = numbers - air > _GREY * (tissue - air)
    grey = bright & (counts * abs(np.linalg.det(affine[:3, :3])) / 1000 > FILLED_ML)
    return float(numbers[np.where(grey, counts, 0).argmax() if grey.any() else counts.argmax()])


def to_native(mask: np.ndarray, grid: geometry.Grid, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Bring a mask (bool, or likelihoods) of ``grid`` to a native grid: linear interpolation, cut near one half.

    The result is in Fortran order, as volumes of files are.
    """
    out = np.zeros(shape, dtype=bool, order="F")
    voxels = np.argwhere(mask)
    if not len(voxels):
        return out
    corners = geometry.box_corners(voxels.min(axis=0) - 1, voxels.max(axis=0) + 1)
    window = geometry.window_of(geometry.apply_affine(np.linalg.inv(affine) @ grid.affine, corners), shape)
    piece = geometry.Grid(shape, affine).part(window)
    if all(piece.shape):
        # The grid ends where the field of view ends; the native rim beyond the last grid point takes its value.
        out[window] = geometry.resample(_settled(mask, grid), grid.affine, piece, clamp=True) > _HALF
    return out


def _settled(mask: np.ndarray, grid: geometry.Grid) -> np.ndarray:
    """``mask`` (bool, or likelihoods), but 0 or 1 wherever nothing between a voxel and its 26 neighbours is in doubt.

    What has one value all around need not be interpolated.
    """
    around = float(np.linalg.norm(geometry.voxel_sizes(grid.affine))) + 1e-3
    some = geometry.dilate_mm(mask > _HALF - _ROUNDING, around, grid.affine)
    others = geometry.dilate_mm(mask <= _HALF + _ROUNDING, around, grid.affine)
    return np.where(some & others, mask, some).astype(np.float32)
