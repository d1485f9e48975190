"""Brings one head to another by a rigid transform, and tells whether both are the same head.

The brains are matched in the 2 mm pictures of two parses, of any contrasts. Edges tell who it is: brains of two persons
lie one on the other as well as two pictures of one brain (Dice 0.97 and 0.94), but their ventricles and sulci do not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.head.headparser import HeadParse
from RefaceLib.volume import geometry
from RefaceLib.volume.geometry import Grid

if TYPE_CHECKING:
    import SimpleITK as sitk

_AROUND_MM = 6.0  # of the brain that is matched with it: the fluid and the skull
_BINS = 32
_ROUGH = (2, 1.0, 2.0, 0.1)  # shrinking, smoothing (voxels), first and last step (mm) of the optimiser
_FINE = (1, 1.0, 0.5, 0.01)  # unsmoothed, mutual information prefers rasters that lie one on the other
_ITERATIONS = 100
_INSIDE = 2  # voxels in from the brain's rim, whose shape all brains share
_ASIDE_MM = 4.0  # so far aside, the edges of one brain no longer meet
# Likeness of the same heads: MRI 0.95 to 1.2; CT, PET and diffusion 0.76 to 0.87. Of others: MRI at most 0.82 where the
# contrasts are alike and 0.71 where not, CT at most 0.78.
_SAME, _OTHERS = 0.88, 0.75
_ALIKE = 0.8  # correlation of two pictures that have the same contrast


@dataclass(frozen=True, eq=False)
class Registration:
    """The rigid ``matrix`` (4 x 4) from the RAS mm of one head to those of another, and whether they are the same.

    ``mm`` is the way of the brain's centre and ``degrees`` its turn: how far the headers were apart. ``likeness`` is
    the share of edges of both brains that run alike, and how fast it falls when one is moved; ``contrast`` the
    correlation of their pictures.
    """

    matrix: np.ndarray
    mm: float
    degrees: float
    likeness: float
    contrast: float

    @property
    def same_head(self) -> bool:
        return self.likeness > (_SAME if self.contrast > _ALIKE else _OTHERS)

    @property
    def sure(self) -> bool:
        """Whether the likeness is one that other heads never have."""
        return self.likeness > _SAME


def register(first: HeadParse, first_view: Grid, other: HeadParse, other_view: Grid) -> Registration:
    """Register the brain of ``first`` with that of ``other``; the views are the grids of the two volumes.

    Mutual information (Mattes et al., IEEE TMI 2003) is maximised, from the places that the headers and the landmarks
    of both brains tell.
    """
    brains = _Brain(first, first_view), _Brain(other, other_view)
    starts = (np.eye(4), _by_landmarks(first, other))
    found = [result for start in starts if (result := _refine(*brains, start, _ROUGH))]
    rough = min(found, key=lambda result: result[0])[1] if found else starts[1]
    fine = _refine(*brains, rough, _FINE)
    matrix = fine[1] if fine else rough
    way = geometry.apply_affine(matrix, brains[0].centre) - brains[0].centre
    cosine = np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1)
    likeness, contrast = _compare(*brains, matrix)
    mm, degrees = float(np.linalg.norm(way)), float(np.degrees(np.arccos(cosine)))
    return Registration(matrix, mm, degrees, likeness, contrast)


def moved(parse: HeadParse, matrix: np.ndarray) -> HeadParse:
    """The parse in the world that ``matrix`` (4 x 4, RAS to RAS mm) leads to."""
    grid = Grid(parse.grid.shape, matrix @ parse.grid.affine)
    return replace(parse, grid=grid, points=geometry.apply_affine(matrix, parse.points))


class _Brain:
    """The picture of a parse, where it is seen, and its brain, on the grid of the parse."""

    def __init__(self, parse: HeadParse, view: Grid) -> None:
        self.grid, self.picture, self.mask = parse.grid, parse.picture, parse.brain
        self.seen = geometry.in_view(view.shape, view.affine, parse.grid)
        self.around = geometry.dilate_mm(parse.brain, _AROUND_MM, parse.grid.affine) & self.seen
        self.centre = geometry.apply_affine(parse.grid.affine, np.argwhere(parse.brain).mean(axis=0))


def _by_landmarks(first: HeadParse, other: HeadParse) -> np.ndarray:
    """The rigid transform (4 x 4) that takes the landmarks of one brain to those of the other best."""
    n = len(FACE_LANDMARKS)
    weights = np.maximum(first.certainty[n:] * other.certainty[n:], 1e-6)
    source, target = first.points[n:], other.points[n:]
    matrix = geometry.fit_similarity(source, target, weights)
    matrix[:3, :3] /= np.cbrt(np.linalg.det(matrix[:3, :3]))
    weights = weights / weights.sum()
    matrix[:3, 3] = weights @ target - matrix[:3, :3] @ (weights @ source)
    return matrix


# ---- the transform ----


def _refine(
    first: _Brain, other: _Brain, start: np.ndarray, how: tuple[int, float, float, float]
) -> tuple[float, np.ndarray] | None:
    """(the metric, less is better; the transform) after a descent from ``start``; None where too little overlaps."""
    import SimpleITK as sitk

    shrink, smooth, first_step, last_step = how
    transform = sitk.Euler3DTransform()
    transform.SetCenter(first.centre.tolist())
    transform.SetMatrix(start[:3, :3].ravel().tolist(), 1e-6)
    transform.SetTranslation((geometry.apply_affine(start, first.centre) - first.centre).tolist())
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)  # sums in another order have other last digits
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricFixedMask(_image(first.around.astype(np.uint8), first.grid))
    method.SetMetricMovingMask(_image(other.seen.astype(np.uint8), other.grid))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(transform, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(first_step, last_step, _ITERATIONS)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([shrink])
    method.SetSmoothingSigmasPerLevel([smooth])
    method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(False)
    try:
        method.Execute(_image(first.picture, first.grid), _image(other.picture, other.grid))
    except RuntimeError:  # of ITK, where no point of one brain is in the other's view
        return None
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return float(method.GetMetricValue()), matrix


def _image(values: np.ndarray, grid: Grid) -> sitk.Image:
    """An image whose physical space is RAS mm."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(values.T))
    sizes = geometry.voxel_sizes(grid.affine)
    image.SetSpacing(sizes.tolist())
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection((grid.affine[:3, :3] / sizes).ravel().tolist())
    return image


# ---- the same head or not ----


def _compare(first: _Brain, other: _Brain, matrix: np.ndarray) -> tuple[float, float]:
    """(likeness, contrast) of two brains, of which ``matrix`` brings one to the other; see Registration."""
    there = Grid(first.grid.shape, matrix @ first.grid.affine)
    brain, seen = (
        geometry.resample(mask.astype(np.float32), other.grid.affine, there) for mask in (other.mask, other.seen)
    )
    inside = ndimage.binary_erosion(first.mask, iterations=_INSIDE) & first.seen & (brain > 0.5) & (seen > 0.99)
    if not inside.any():
        return 0.0, 0.0
    picture, own = _smooth(first.picture), _edges(first.picture, inside)
    met = _run_alike(own, _edges(_at(other, there), inside))
    missed = [_run_alike(own, _edges(_at(other, aside), inside)) for aside in _around(there)]
    contrast = np.corrcoef(picture[inside], _smooth(_at(other, there))[inside])[0, 1]
    return met + (met - float(np.mean(missed))), float(np.nan_to_num(contrast))


def _around(grid: Grid) -> list[Grid]:
    """The grid, moved by _ASIDE_MM along R, A and S either way."""
    grids = []
    for axis in range(3):
        for way in (-_ASIDE_MM, _ASIDE_MM):
            affine = grid.affine.copy()
            affine[axis, 3] += way
            grids.append(Grid(grid.shape, affine))
    return grids


def _at(brain: _Brain, grid: Grid) -> np.ndarray:
    return geometry.resample(brain.picture, brain.grid.affine, grid)


def _smooth(picture: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(picture, 1.0)


def _edges(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The gradient (3, N) of a picture at the voxels ``where``."""
    return np.stack([slope[where] for slope in np.gradient(_smooth(picture))])


def _run_alike(one: np.ndarray, other: np.ndarray) -> float:
    """The squared cosine between two gradients (3, N), strong ones counting more: 1/3 by chance, 1 for one picture.

    Normalised gradient fields (Haber and Modersitzki, MICCAI 2006): they know no contrast.
    """
    size = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    product = (one * other).sum(axis=0) ** 2
    total = float(size.sum())
    return float((product[size > 0] / size[size > 0]).sum() / total) if total > 0 else 0.0
