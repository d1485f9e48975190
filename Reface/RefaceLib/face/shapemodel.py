"""A statistical model of head shape in the canonical box: where a code becomes a face's surface.

A face is a mean head, the atlas, bent by a field of displacements: a mean field and principal components over real
heads (a probabilistic PCA: codes are standard normal). The same components, seen as the signed distance to the skin
(mm, positive inside the head, clipped), tell which codes fit the skin that lies outside the mask. A face is drawn as a
sample of that posterior: it fits forehead, temples and neck, and everything else is chance. What codes leave out of
real faces, their detail, is drawn beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from RefaceLib.face.rasters import bend, to_raster
from RefaceLib.face.seeds import Chance
from RefaceLib.face.skindistance import CLIP, enclosed
from RefaceLib.head import canonical
from RefaceLib.volume import geometry

Random = np.random.Generator | Chance

SPACING = 4.0  # mm of the model's raster; distances are smooth
FIELD_SPACING = 8.0  # mm of the raster of the atlas's displacements, which are smoother still
_OPENING = 6.0  # mm: the radius of a ball that does not pass through nostrils and lips
OBSERVATION_SD = 30.0  # mm a voxel; neighbouring voxels repeat each other, so one alone must count for very little
_OWN_SD = 6.0  # the same for a head's own code, of which all of the skin is known
BOUND = 3.5  # standard deviations: a little more than the largest codes of real heads
# Chance is stretched: registered heads are smoother than heads are, and faces drawn as often as they occur are twice as
# similar to each other as people's. The first component is stretched by the first factor, those from the last of
# _STRETCHED on by the second: the first are the size of head and jaw, and stretched they make caricatures. Lopsided
# components (every component is either symmetric or antisymmetric, as the model learned mirror images) are stretched
# less, and so is the lopsided part of a detail: a face may be anybody's, but has two like halves.
_STRETCHED, _SPREAD, _LOPSIDED = (0, 16), (1.0, 2.8), 1.4
# Of details the broad part is stretched in the same way: lumps of a centimetre, stretched, are warts, and the first
# component, by which cheeks bulge more than by any other, makes balls of them.
_BROAD_MM, _BROADENED, _BROAD_SPREAD = 5.0, (0, 4), (1.0, 2.6)
_LOPSIDED_DETAIL, _MOST_DETAIL = 0.7, 5.0
# Of its volume: the least of real heads' faces is 0.22 (median), the most 1.8, and 2.5 in the worst of fourteen.
_FOLDED, _SWOLLEN = 0.15, 2.2
_FARTHEST = 2.5  # standard deviations of a detail


def _mirrored(field: np.ndarray) -> np.ndarray:
    """A field (X, Y, Z) of the box with left and right changed over: the box is symmetric about x = 0."""
    return field[::-1]


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """``mean`` (X, Y, Z) mm and ``modes`` (K, X, Y, Z) mm a standard deviation, on ``canonical.box(4)``."""

    mean: np.ndarray
    modes: np.ndarray

    @property
    def size(self) -> int:
        return len(self.modes)

    @cached_property
    def symmetric(self) -> np.ndarray:
        """Which components (K,) move both halves of a face alike, and not against each other (bool)."""
        return np.array([float((mode * _mirrored(mode)).sum()) >= 0 for mode in self.modes])

    def shape(self, code: np.ndarray) -> np.ndarray:
        """The signed distance (X, Y, Z) of a code (K,)."""
        return self.mean + np.tensordot(code.astype(np.float32), self.modes, axes=1)

    def project(self, distance: np.ndarray, known: np.ndarray, sd: float = _OWN_SD) -> np.ndarray:
        """The code (K,) that explains the ``known`` voxels (bool) of a signed distance best, with a small prior.

        The larger the ``sd`` (mm a voxel), the less the voxels have a say.
        """
        mean, _ = self._posterior(distance, known, sd)
        return np.clip(mean, -BOUND, BOUND).astype(np.float32)

    def draw(
        self, rng: Random, distance: np.ndarray, known: np.ndarray,
        natural: Callable[[np.ndarray], bool] = lambda code: True,
    ) -> np.ndarray:  # fmt: skip
        """A random code (K,) of the posterior given the visible skin (``known`` voxels of ``distance``).

        Chance is shortened until the code is ``natural``, to a third at most.
        """
        mean, root = self._posterior(distance, known, sd=OBSERVATION_SD)
        spread = np.interp(np.arange(self.size), _STRETCHED, _SPREAD)
        spread = np.where(self.symmetric, spread, np.minimum(spread, _LOPSIDED))
        chance = spread * (root @ rng.standard_normal(self.size))
        for share in np.linspace(1, 1 / 3, 15):
            code = np.clip(mean + share * chance, -BOUND, BOUND).astype(np.float32)
            if natural(code):
                break
        return code

    def _posterior(self, distance: np.ndarray, known: np.ndarray, sd: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean (K,) and the symmetric root of the covariance (K, K) of the code given the known voxels.

        Any root would do for chance, but this one alone goes smoothly with the data: what the skin says little about
        has many directions of one variance, and eigenvectors turn among them with the last bit of a network's output.
        With them a seed would be another face on another processor.
        """
        basis = self.modes[:, known].astype(np.float64) / sd
        residual = (distance - self.mean)[known].astype(np.float64) / sd
        values, vectors = np.linalg.eigh(np.eye(self.size) + basis @ basis.T)
        mean = vectors @ ((vectors.T @ (basis @ residual)) / values)
        return mean, (vectors / np.sqrt(values)) @ vectors.T


@dataclass(frozen=True, eq=False)
class Detail:
    """What codes do not tell of the skin of faces: how far outwards of the bent atlas it lies, at places of the atlas.

    ``mean`` (X, Y, Z) mm and ``modes`` (D, X, Y, Z) mm a standard deviation, on ``canonical.box(SPACING)``; 0 away from
    the skin.
    """

    mean: np.ndarray
    modes: np.ndarray

    def draw(self, rng: Random) -> np.ndarray:
        """A random detail (96, 88, 88) in mm, at 2 mm."""
        chance = np.clip(rng.standard_normal(len(self.modes)), -_FARTHEST, _FARTHEST).astype(np.float32)
        more = np.interp(np.arange(len(chance)), _BROADENED, _BROAD_SPREAD).astype(np.float32) - 1
        drawn, stretch = np.tensordot(np.stack([chance, more * chance]), self.modes, axes=1)
        both, stretch = ((field + _mirrored(field)) / 2 for field in (drawn, stretch))
        drawn = both + self._broad(stretch) + _LOPSIDED_DETAIL * (drawn - both)
        return to_raster(self.mean + _MOST_DETAIL * np.tanh(drawn / _MOST_DETAIL), SPACING, 2.0)

    def _broad(self, field: np.ndarray) -> np.ndarray:
        """A ``field`` of the skin without what is narrower than _BROAD_MM."""
        skin = self.modes.any(axis=0).astype(np.float32)
        near, there = (ndimage.gaussian_filter(a, _BROAD_MM / SPACING) for a in (skin, field * skin))
        return there / np.maximum(near, 1e-3) * skin


@dataclass(frozen=True, eq=False)
class Atlas:
    """A sharp mean head: its ``picture`` (96, 88, 88) at 2 mm, 1 = white matter, and its ``depth`` under the skin (mm,
    signed and clipped). How it bends with a code: displacements ``centre`` (3, X, Y, Z) + codes times ``modes``
    (K, 3, X, Y, Z) in mm, on ``canonical.box(FIELD_SPACING)``; and with a ``detail``, where the model has them."""

    picture: np.ndarray
    depth: np.ndarray
    centre: np.ndarray
    modes: np.ndarray
    detail: Detail | None = None

    @cached_property
    def solid(self) -> np.ndarray:
        """The depth under the outer skin alone (mm): sinuses, the nose and the mouth are inside the head."""
        ball = geometry.ball(_OPENING, np.diag([2.0, 2.0, 2.0, 1.0]))
        pad = len(ball)
        closed = enclosed(ndimage.binary_dilation(np.pad(self.depth > 0, pad, mode="edge"), ball))
        inside = ndimage.binary_erosion(closed, ball, border_value=1)[(slice(pad, -pad),) * 3] | (self.depth > 0)
        under = ndimage.distance_transform_edt(inside, sampling=2.0) - 1.0  # from the voxel's middle to its face
        # Only where a sinus is nearer than the skin: a distance that was measured on a raster has steps.
        return np.where(inside & (under > self.depth + 2.5), np.minimum(under, CLIP), self.depth).astype(np.float32)

    def field(self, code: np.ndarray) -> np.ndarray:
        """The displacements (3, 96, 88, 88) in mm of a code (K,)."""
        return np.stack([to_raster(component, FIELD_SPACING, 2.0) for component in self._coarse_field(code)])

    def _coarse_field(self, code: np.ndarray) -> np.ndarray:
        return self.centre + np.tensordot(code.astype(np.float32), self.modes, axes=1)

    def detailed(self, code: np.ndarray, detail: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
        """The displacements (3, 96, 88, 88) of a code (K,), the skin moved outwards by a ``detail``.

        That is what Detail.draw gives, and how much of it there is at every place of the head (0..1).
        """
        field = self.field(code)
        if detail is None:
            return field
        drawn, outwards = bend(np.stack([self.solid, detail[0]]), field)
        return move_outwards(field, drawn, outwards * detail[1])

    def is_smooth(self, code: np.ndarray) -> bool:
        """Whether the face of a code (K,) has no folds and no blobs: at its skin it is pressed to no less than _FOLDED
        of its volume, and swollen to no more than _SWOLLEN.

        The determinant of the Jacobian tells, as in registration: 1 where nothing changes, 0 where space folds.
        """
        slopes = [np.gradient(component, FIELD_SPACING) for component in self._coarse_field(code)]
        jacobian = np.moveaxis(np.array(slopes), (0, 1), (-2, -1)) + np.eye(3)
        volume = np.linalg.det(jacobian[self._face])
        return bool(volume.min() > _FOLDED and volume.max() < _SWOLLEN)

    @cached_property
    def _face(self) -> np.ndarray:
        """Where the skin of the face is, on the raster of the displacements (bool)."""
        grid = canonical.box(FIELD_SPACING)
        place = [i * FIELD_SPACING + grid.affine[axis, 3] for axis, i in enumerate(np.indices(grid.shape))]
        return canonical.in_face(*place) & (np.abs(to_raster(self.depth, 2.0, FIELD_SPACING)) < FIELD_SPACING)

    def bend(self, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Picture and depth, each sampled at every voxel plus ``field`` (3, 96, 88, 88) in mm."""
        picture, depth = bend(np.stack([self.picture, self.depth]), field)
        return picture, depth


def move_outwards(field: np.ndarray, drawn: np.ndarray, error: np.ndarray) -> np.ndarray:
    """``field`` (3, X, Y, Z) with the skin of what it bends moved outwards along its normals by ``error`` (X, Y, Z) mm.

    ``drawn`` is the bent depth under the outer skin: along the normals of a sinus, skin and sinus would move against
    each other, and the skin could tear.
    """
    slope = np.stack(np.gradient(drawn, 2.0))
    return field + error * slope / np.maximum(np.sqrt((slope**2).sum(axis=0)), 0.5)
