"""The statistical face model in the canonical box: a code becomes the displacements that warp the atlas to a face.

A face is a mean head, the atlas, warped by a displacement field: a mean field and principal components over real
heads. The model is a probabilistic PCA, so codes are standard normal. The same components of the signed distance to
the skin (mm, positive inside, clipped) give the posterior of a code given the skin outside the mask. A face is a sample
of that posterior: it fits forehead, temples and neck, and is random elsewhere. Detail, which the codes leave out of
real faces, is drawn separately.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from RefaceLib.face.rasters import to_raster, warp
from RefaceLib.face.seeds import SeededDraws
from RefaceLib.face.skindistance import CLIP, distance_to, enclosed
from RefaceLib.head import canonical

Random = np.random.Generator | SeededDraws

SPACING = 4.0  # mm, raster of the shape model: distances are smooth
FIELD_SPACING = 8.0  # mm, raster of the atlas's displacements: they are smoother
_OPENING = 6.0  # mm: radius of a ball that does not pass through nostrils and lips
_BLOCK = 4096  # voxels that are added up at once
OBSERVATION_SD = 30.0  # mm per voxel: neighbouring voxels are correlated, so each must count for very little
_OWN_SD = 6.0  # the same for a head's own code, for which all of the skin is known
BOUND = 3.5  # standard deviations: slightly more than the largest codes of real heads
# Random draws are stretched: registration smooths heads, and unstretched draws are twice as similar to each other as
# real faces. The first component is stretched by the first factor of _SPREAD, those from the last of _STRETCHED on by
# the second, with interpolation between: the first are the size of head and jaw, and stretched make caricatures.
# Asymmetric components are stretched less, and so is the asymmetric part of a detail, because the halves of a face are
# alike. (Every component is either symmetric or antisymmetric, because the model learned mirror images.)
_STRETCHED, _SPREAD, _ASYMMETRIC = (0, 16), (1.0, 2.8), 1.4
# The broad part of a detail is stretched in the same way. Stretched, lumps of a centimetre become warts. The first
# component moves the cheeks most, and stretched turns them into balls.
_BROAD_MM, _BROADENED, _BROAD_SPREAD = 5.0, (0, 4), (1.0, 2.6)
_ASYMMETRIC_DETAIL, _MOST_DETAIL = 0.7, 5.0  # share; mm
# Local volume of a warp: the least in real heads' faces is 0.22 (median), the largest 1.8, and 2.5 in the worst of 14.
_FOLDED, _SWOLLEN = 0.15, 2.2
_FARTHEST = 2.5  # standard deviations, limit of a detail's components


def _mirrored(field: np.ndarray) -> np.ndarray:
    """A field (X, Y, Z) of the box with left and right exchanged: the box is symmetric about x = 0."""
    return field[::-1]


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """Signed distances to the skin: ``mean`` (X, Y, Z) in mm and ``modes`` (K, X, Y, Z) in mm per standard deviation.

    Both on ``canonical.box(SPACING)``.
    """

    mean: np.ndarray
    modes: np.ndarray

    @property
    def size(self) -> int:
        return len(self.modes)

    @cached_property
    def symmetric(self) -> np.ndarray:
        """Which components (K,) are symmetric: they move both halves of a face alike (bool)."""
        return np.array([float((mode * _mirrored(mode)).sum()) >= 0 for mode in self.modes])

    def shape(self, code: np.ndarray) -> np.ndarray:
        """The signed distance (X, Y, Z) in mm of a code (K,)."""
        return self.mean + np.tensordot(code.astype(np.float32), self.modes, axes=1)

    def project(self, distance: np.ndarray, known: np.ndarray, sd: float = _OWN_SD) -> np.ndarray:
        """The mean (K,) of the posterior of the code given the ``known`` voxels (bool) of a signed distance (mm).

        The larger ``sd`` (mm per voxel), the less weight the voxels have against the prior.
        """
        return self.projector(known, sd)(distance)

    def projector(self, known: np.ndarray, sd: float = _OWN_SD) -> Callable[[np.ndarray], np.ndarray]:
        """``project`` for any number of distances of which the same voxels are ``known``."""
        basis = self.modes[:, known]
        inverse = np.linalg.inv(np.eye(self.size) + _products(basis) / sd**2) / sd**2
        parts = range(0, basis.shape[1], _BLOCK)

        def project(distance: np.ndarray) -> np.ndarray:
            residual = (distance - self.mean)[known].astype(np.float32)
            # Short sums are exact enough in float32, and einsum adds alike with any number of threads.
            sums = (np.einsum("kn,n->k", basis[:, n : n + _BLOCK], residual[n : n + _BLOCK]) for n in parts)
            return np.clip(inverse @ sum(sums, np.zeros(self.size)), -BOUND, BOUND).astype(np.float32)

        return project

    def draw(
        self, rng: Random, mean: np.ndarray, root: np.ndarray,
        natural: Callable[[np.ndarray], bool] = lambda code: True, stretch: float = 1.0,
    ) -> np.ndarray:  # fmt: skip
        """A random code (K,) of the ``posterior`` of this ``mean`` and ``root``.

        The deviation from the mean is stretched in full with a ``stretch`` of 1 and not at all with 0. It is shortened
        until the code is ``natural``, to no less than a third.
        """
        spread = np.interp(np.arange(self.size), _STRETCHED, _SPREAD)
        spread = np.where(self.symmetric, spread, np.minimum(spread, _ASYMMETRIC))
        deviation = (1 + stretch * (spread - 1)) * (root @ rng.standard_normal(self.size))
        for share in np.linspace(1, 1 / 3, 15):
            code = np.clip(mean + share * deviation, -BOUND, BOUND).astype(np.float32)
            if natural(code):
                break
        return code

    def posterior(
        self, distance: np.ndarray, known: np.ndarray, sd: float = OBSERVATION_SD
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean (K,) and symmetric square root of the covariance (K, K) of the code given the visible skin.

        That is the ``known`` voxels (bool) of a signed ``distance`` (mm); ``sd`` as of ``project``.
        Any root gives the right distribution, but only the symmetric one is a smooth function of the data. Where the
        skin constrains little, many directions share one variance, and eigenvectors rotate among them with the last bit
        of a network's output. With eigenvectors, a seed would give a different face on another processor.
        """
        basis = self.modes[:, known]
        residual = (distance - self.mean)[known].astype(float) / sd**2
        values, vectors = np.linalg.eigh(np.eye(self.size) + _products(basis) / sd**2)
        mean = vectors @ ((vectors.T @ np.einsum("kn,n->k", basis, residual)) / values)
        return mean, (vectors / np.sqrt(values)) @ vectors.T


def _products(basis: np.ndarray) -> np.ndarray:
    """The scalar products (K, K) of all pairs of rows of a ``basis`` (K, N), in float64 and by blocks of columns."""
    blocks = (basis[:, n : n + _BLOCK].astype(float) for n in range(0, basis.shape[1], _BLOCK))
    return sum((block @ block.T for block in blocks), np.zeros((len(basis), len(basis))))


@dataclass(frozen=True, eq=False)
class Detail:
    """What codes leave out of the skin of faces: its distance outwards of the warped atlas, in the atlas's space.

    ``mean`` (X, Y, Z) in mm and ``modes`` (D, X, Y, Z) in mm per standard deviation, on ``canonical.box(SPACING)``;
    0 away from the skin.
    """

    mean: np.ndarray
    modes: np.ndarray

    def draw(self, rng: Random, stretch: float = 1.0) -> np.ndarray:
        """A random detail (96, 88, 88) in mm, at 2 mm; ``stretch`` as of ShapeModel.draw."""
        numbers = np.clip(rng.standard_normal(len(self.modes)), -_FARTHEST, _FARTHEST).astype(np.float32)
        more = np.interp(np.arange(len(numbers)), _BROADENED, _BROAD_SPREAD).astype(np.float32) - 1
        drawn, broader = np.tensordot(np.stack([numbers, more * numbers]), self.modes, axes=1)
        both, broader = ((field + _mirrored(field)) / 2 for field in (drawn, broader))
        drawn = both + stretch * self._broad(broader) + _ASYMMETRIC_DETAIL * (drawn - both)
        return to_raster(self.mean + _MOST_DETAIL * np.tanh(drawn / _MOST_DETAIL), SPACING, 2.0)

    def _broad(self, field: np.ndarray) -> np.ndarray:
        """A ``field`` of the skin without structures narrower than _BROAD_MM."""
        skin = self.modes.any(axis=0).astype(np.float32)
        near, there = (ndimage.gaussian_filter(a, _BROAD_MM / SPACING) for a in (skin, field * skin))
        return there / np.maximum(near, 1e-3) * skin


@dataclass(frozen=True, eq=False)
class Atlas:
    """A sharp mean head and the displacements that warp it.

    ``picture`` (96, 88, 88) at 2 mm, 1 = white matter; ``depth`` alike, the signed and clipped distance to the skin in
    mm. The displacements of a code are ``centre`` (3, X, Y, Z) plus the code times ``modes`` (K, 3, X, Y, Z), in mm on
    ``canonical.box(FIELD_SPACING)``. ``detail`` is None for a model without it.
    """

    picture: np.ndarray
    depth: np.ndarray
    centre: np.ndarray
    modes: np.ndarray
    detail: Detail | None = None

    @cached_property
    def solid(self) -> np.ndarray:
        """Depth (96, 88, 88) under the outer skin in mm: sinuses, nasal cavity and mouth count as inside."""
        pad = round(_OPENING)  # voxels: twice as far
        head = np.pad(self.depth > 0, pad, mode="edge")
        closed = enclosed(distance_to(head, 2.0, 2 * _OPENING) <= _OPENING)
        inside = (distance_to(~closed, 2.0, 2 * _OPENING) > _OPENING)[(slice(pad, -pad),) * 3] | (self.depth > 0)
        under = distance_to(~inside, 2.0, 1.5 * CLIP) - 1.0  # from the voxel's centre to its face
        # Only where a sinus is nearer than the skin: a distance measured on a raster has steps.
        return np.where(inside & (under > self.depth + 2.5), np.minimum(under, CLIP), self.depth).astype(np.float32)

    def field(self, code: np.ndarray) -> np.ndarray:
        """The displacements (3, 96, 88, 88) in mm of a code (K,)."""
        return to_raster(self._coarse_field(code), FIELD_SPACING, 2.0)

    def _coarse_field(self, code: np.ndarray) -> np.ndarray:
        return self.centre + np.tensordot(code.astype(np.float32), self.modes, axes=1)

    def detailed(self, code: np.ndarray, detail: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
        """The displacements (3, 96, 88, 88) in mm of a code (K,), with the skin moved outwards by a ``detail``.

        ``detail`` is what Detail.draw returns, and its share (0..1) at every voxel of the head; None for none.
        """
        field = self.field(code)
        if detail is None:
            return field
        drawn, outwards = warp(np.stack([self.solid, detail[0]]), field)
        return move_outwards(field, drawn, outwards * detail[1])

    def is_smooth(self, code: np.ndarray) -> bool:
        """Whether the face of a code (K,) has neither folds nor blobs.

        The criterion is the determinant of the Jacobian at the skin, as in registration: 1 where volume is preserved,
        0 where space folds. It must be between _FOLDED and _SWOLLEN.
        """
        slopes = [np.gradient(component, FIELD_SPACING) for component in self._coarse_field(code)]
        jacobian = np.moveaxis(np.array(slopes), (0, 1), (-2, -1)) + np.eye(3)
        volume = np.linalg.det(jacobian[self._face])
        return bool(volume.min() > _FOLDED and volume.max() < _SWOLLEN)

    @cached_property
    def _face(self) -> np.ndarray:
        """The skin of the face (bool) on the raster of the displacements."""
        grid = canonical.box(FIELD_SPACING)
        place = [i * FIELD_SPACING + grid.affine[axis, 3] for axis, i in enumerate(np.indices(grid.shape))]
        return canonical.in_face(*place) & (np.abs(to_raster(self.depth, 2.0, FIELD_SPACING)) < FIELD_SPACING)

    def warp(self, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Picture and depth, each sampled at every voxel plus ``field`` (3, 96, 88, 88) in mm."""
        picture, depth = warp(np.stack([self.picture, self.depth]), field)
        return picture, depth


def move_outwards(field: np.ndarray, drawn: np.ndarray, error: np.ndarray) -> np.ndarray:
    """``field`` (3, X, Y, Z) in mm, changed so that the warped skin moves outwards by ``error`` (X, Y, Z) in mm.

    It moves along the normals of ``drawn``, the warped depth under the *outer* skin. Along the normals of a sinus, skin
    and sinus would move against each other, and the skin could tear.
    """
    slopes = np.gradient(drawn, 2.0)
    length = np.sqrt(slopes[0] ** 2 + slopes[1] ** 2 + slopes[2] ** 2)
    share = error / np.maximum(length, 0.5)
    return np.stack([component + share * slope for component, slope in zip(field, slopes, strict=True)])
