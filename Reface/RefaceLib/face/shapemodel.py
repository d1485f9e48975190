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
from typing import Any

import numpy as np
from scipy import ndimage

from RefaceLib.face.seeds import Chance
from RefaceLib.head import canonical
from RefaceLib.volume import geometry

Random = np.random.Generator | Chance

SKIN = 0.27  # of the brightest tissue nearby: where a head ends
_RIND = 6.0  # mm: so far is nearby, and no head mask is farther from the skin
_DIMMEST = 0.3  # of white matter: scalp is never dimmer
CLIP = 16.0  # mm: distances beyond it say nothing about the surface
SPACING = 4.0  # mm of the model's raster; distances are smooth
FIELD_SPACING = 8.0  # mm of the raster of the atlas's displacements, which are smoother still
_REACHES_MM, _SHARE = (20.0, 8.0, 4.0), 0.03  # how far a misfit is carried on, and the weight at which it has faded
_NEAR_REACHES_MM, _NEAR_SHARE = (4.0, 2.5), 0.01
LONGEST = 12.0  # mm: how far the drawn skin is moved at most to meet the visible one
RING = 12.0  # mm: how far from the mask the visible skin has a say
_CUT_MM = 2.0
_AIR_MM = 2.0  # before a nose
_OPENING = 6.0  # mm: the radius of a ball that does not pass through nostrils and lips
_OBSERVATION_SD = 30.0  # mm a voxel; neighbouring voxels repeat each other, so one alone must count for very little
_OWN_SD = 6.0  # the same for a head's own code, of which all of the skin is known
_BOUND = 3.5  # standard deviations: a little more than the largest codes of real heads
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
_SETS_IN = 15.0  # mm behind the mask's edge, from which on a detail is there in full
_SIDES = (0.0, 40.0)  # mm, canonical y, from the ears to the cheeks: there the rest of chance sets in


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
        return np.clip(mean, -_BOUND, _BOUND).astype(np.float32)

    def draw(
        self, rng: Random, distance: np.ndarray, known: np.ndarray,
        natural: Callable[[np.ndarray], bool] = lambda code: True,
    ) -> np.ndarray:  # fmt: skip
        """A random code (K,) of the posterior given the visible skin (``known`` voxels of ``distance``).

        Chance is shortened until the code is ``natural``, to a third at most.
        """
        mean, root = self._posterior(distance, known, sd=_OBSERVATION_SD)
        spread = np.interp(np.arange(self.size), _STRETCHED, _SPREAD)
        spread = np.where(self.symmetric, spread, np.minimum(spread, _LOPSIDED))
        chance = spread * (root @ rng.standard_normal(self.size))
        for share in np.linspace(1, 1 / 3, 15):
            code = np.clip(mean + share * chance, -_BOUND, _BOUND).astype(np.float32)
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
        closed = _filled(ndimage.binary_dilation(np.pad(self.depth > 0, pad, mode="edge"), ball))
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
        return _outwards(field, drawn, outwards * detail[1])

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


def bend(pictures: np.ndarray, field: np.ndarray) -> np.ndarray:
    """``pictures`` (X, Y, Z) or (N, X, Y, Z) of the 2 mm box, sampled at every voxel plus ``field`` (3, X, Y, Z) in mm;
    float32."""
    import torch
    import torch.nn.functional as F

    # grid_sample counts from -1 to 1 between the centres of the first and last voxel, the last axis first.
    lines = [np.arange(n, dtype=np.float32) for n in field.shape[1:]]
    places = np.stack([
        (line.reshape(np.roll([-1, 1, 1], axis)) + field[axis] / 2.0) * (2.0 / (len(line) - 1)) - 1.0
        for axis, line in enumerate(lines)
    ][::-1], axis=-1)  # fmt: skip
    source = torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32)).reshape(1, -1, *field.shape[1:])
    target = torch.from_numpy(places.astype(np.float32))[None]
    with torch.inference_mode():
        return F.grid_sample(source, target, padding_mode="border", align_corners=True).numpy().reshape(pictures.shape)


def to_the_skin(head: np.ndarray, picture: np.ndarray, spacing: float) -> np.ndarray:
    """``head`` (bool) cut back, from outside, to where ``picture`` (0 in air) is as bright as skin.

    A head mask ends a voxel or two outside the skin, and a face painted to fit it would stand out by as much. Skin is
    told from air by the brightest tissue nearby, because the coil and the sequence make scalps bright or dim. Nothing
    enclosed is outside: dark bone at the cut, where a face was taken away, has no skin.
    """
    around = 2 * round(_RIND / spacing) + 1
    dark = picture < SKIN * np.maximum(ndimage.maximum_filter(picture, around), _DIMMEST)
    steps = round(_RIND / spacing)
    return _filled(~ndimage.binary_dilation(~_filled(head), iterations=steps, mask=dark | ~head))


def _filled(mask: np.ndarray) -> np.ndarray:
    """``mask`` (bool) and what it encloses: all that is not connected to the array's border."""
    labels, count = ndimage.label(~mask)
    border = np.zeros(count + 1, dtype=bool)
    for axis in range(mask.ndim):
        for end in (0, -1):
            border[labels.take(end, axis)] = True
    border[0] = False  # the label of the mask itself
    return ~border[labels]


def signed_distance(head: np.ndarray, spacing: float) -> np.ndarray:
    """Distance to the skin in mm (float32), positive inside ``head`` (bool), clipped to CLIP."""
    inside = ndimage.distance_transform_edt(head, sampling=spacing)
    outside = ndimage.distance_transform_edt(~head, sampling=spacing)
    return np.clip(inside - outside, -CLIP, CLIP).astype(np.float32)


def trusted(
    distance: np.ndarray, hidden: np.ndarray, spacing: float, margin: float = _CUT_MM
) -> tuple[np.ndarray, np.ndarray]:
    """Which voxels' distance is sure though ``hidden`` voxels are unknown, and each voxel's distance to the hidden.

    A distance is sure where the skin is nearer than the next hidden voxel: no hidden skin can be nearer. It must be
    nearer by ``margin`` (mm): where a face was cut off, the cut may be taken for skin.
    """
    away = ndimage.distance_transform_edt(~hidden, sampling=spacing).astype(np.float32)
    return (~hidden) & (np.abs(distance) < away - margin), away


def misfit(
    shape: np.ndarray, distance: np.ndarray, sure: np.ndarray, spacing: float,
    reaches: tuple[float, ...] = _REACHES_MM, share: float = _SHARE,
) -> np.ndarray:  # fmt: skip
    """How far a drawn ``shape`` (mm) is from the visible skin: its error where ``sure``, and carried on from there.

    A head that is wider than drawn is so for some centimetres into the face; the rest of the error fades sooner. Each
    of the ``reaches`` (mm) carries on what those before it left.
    """
    # Deep inside and far outside both are clipped, and their difference says nothing.
    weight = (sure & (np.abs(distance) < CLIP / 2)).astype(np.float32)
    error = np.clip(distance - shape, -LONGEST, LONGEST)
    carried = np.zeros_like(error)
    for reach in reaches:
        missing, spread = (ndimage.gaussian_filter(a, reach / spacing) for a in ((error - carried) * weight, weight))
        carried = carried + missing / (spread + share)
    return carried.astype(np.float32)


def to_raster(field: np.ndarray, spacing: float, target: float) -> np.ndarray:
    """Bring a field of the canonical box from ``spacing`` to ``target`` mm, a power of two of it; float32.

    Coarser by the mean of blocks, finer by linear interpolation.
    """
    if target >= spacing:
        return geometry.block_mean(field, canonical.box(spacing).affine, target)[0]
    import torch
    import torch.nn.functional as F

    tensor = torch.from_numpy(np.ascontiguousarray(field, dtype=np.float32))[None, None]
    return F.interpolate(tensor, scale_factor=spacing / target, mode="trilinear", align_corners=False)[0, 0].numpy()


@dataclass(frozen=True, eq=False)
class Told:
    """What the generator is told of the face to paint: its ``code`` (K,), its ``shape`` (mm under the skin) and the
    bent ``atlas``, both (96, 88, 88) at 2 mm. ``field`` (3, 96, 88, 88) mm: how the atlas was bent."""

    code: np.ndarray
    shape: np.ndarray
    atlas: np.ndarray
    field: np.ndarray


def condition(
    model: ShapeModel, atlas: Atlas, rng: Random, distance: np.ndarray, mask: np.ndarray,
    view: np.ndarray, *, own: bool,
) -> Told:  # fmt: skip
    """The face that the generator is told to paint on a head of signed ``distance`` (2 mm).

    ``mask`` and ``view`` (in the field of view) are bool at 2 mm; they and ``distance`` may go on behind the box.
    ``own``: the code is the head's own, for training by reconstruction. Else it is drawn given what lies outside of
    ``mask``.
    """
    small = to_raster(distance, 2.0, SPACING)
    hidden = to_raster((mask | ~view).astype(np.float32), 2.0, SPACING) > 0.01
    sure, away = trusted(small, hidden, SPACING)
    box = np.s_[:, sure.shape[1] - model.mean.shape[1] :]
    if own:
        code = model.project(small[box], to_raster(view.astype(np.float32), 2.0, SPACING)[box] > 0.99)
        field = atlas.field(code)
    else:
        seen = (sure & (away < RING))[box]
        code = model.draw(rng, small[box], seen, atlas.is_smooth)
        code, field = _within_the_box(atlas, code, _drawn_detail(atlas, rng, mask))
        field = _set_in(atlas.field(model.project(small[box], seen, _OBSERVATION_SD)), field)
    told = meet(atlas, code, field, small, sure)
    # That raster is coarse, and hardly knows the last millimetres before the mask: what is left there would be a step.
    sure, _ = trusted(distance, mask | ~view, 2.0, margin=0.0)
    drawn = bend(atlas.solid, told.field)
    error = _misfit_of_the_box(drawn, distance, sure, 2.0, _NEAR_REACHES_MM, _NEAR_SHARE)
    return _moved(atlas, code, told.field, drawn, error)


def _drawn_detail(atlas: Atlas, rng: Random, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A random detail and its share at every voxel of the box (see Atlas.detailed), none where skin is seen.

    It sets in slowly behind the edge of the ``mask`` (2 mm): there the visible skin tells the shape, and a skin that
    must come back to it within some millimetres has pits.
    """
    if atlas.detail is None:
        return None
    behind = mask.shape[1] - atlas.depth.shape[1]
    inside = ndimage.distance_transform_edt(mask, sampling=2.0)[:, behind:]
    return atlas.detail.draw(rng), np.clip(inside / _SETS_IN, 0, 1).astype(np.float32)


def _set_in(likeliest: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Displacements (3, 96, 88, 88): the ``likeliest`` ones at the ears and behind them, those ``drawn`` in the face.

    Where the face is chance up to its end it is wider than the head, and drops to it before the ears like a wing, or
    narrower, with pits there.
    """
    y = canonical.BOX_CORNER[1] + 2.0 * (np.arange(drawn.shape[2]) + 0.5)
    return likeliest + np.interp(y, _SIDES, (0, 1)).astype(np.float32)[:, None] * (drawn - likeliest)


def _within_the_box(
    atlas: Atlas, code: np.ndarray, detail: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest code (K,) to this one whose nose does not reach the front of the box, where it would be cut off.

    And the displacements of that code with the ``detail`` (see Atlas.detailed).
    """
    step = int(FIELD_SPACING / 2.0)
    field = atlas.detailed(code, detail)
    for _ in range(8):  # the voxel that is the deepest in the nose is put right, and again
        front = bend(atlas.depth, field)[:, -1]
        x, z = np.unravel_index(front.argmax(), front.shape)
        if front[x, z] < -_AIR_MM:
            break
        forward = atlas.modes[:, 1, x // step, -1, z // step]
        code = code + forward * ((front[x, z] + _AIR_MM) / max(float((forward**2).sum()), 1e-6))
        code = np.clip(code, -_BOUND, _BOUND).astype(np.float32)
        field = atlas.detailed(code, detail)
    return code, field


def meet(atlas: Atlas, code: np.ndarray, field: np.ndarray, distance: np.ndarray, sure: np.ndarray) -> Told:
    """The atlas bent by ``field``, and then moved along the normals of its skin until it meets the skin that is known.

    ``distance`` (mm) and where it is ``sure`` (bool) are on the raster of SPACING, and may go on behind the box.
    """
    drawn = bend(atlas.solid, field)
    error = to_raster(_misfit_of_the_box(to_raster(drawn, 2.0, SPACING), distance, sure, SPACING), SPACING, 2.0)
    return _moved(atlas, code, field, drawn, error)


def _misfit_of_the_box(drawn: np.ndarray, distance: np.ndarray, *visible: Any) -> np.ndarray:
    """``misfit`` of a head ``drawn`` in the box alone, which goes on behind it as it ends there."""
    behind = distance.shape[1] - drawn.shape[1]
    whole = np.pad(drawn, ((0, 0), (behind, 0), (0, 0)), mode="reflect", reflect_type="odd")
    return misfit(np.clip(whole, -CLIP, CLIP), distance, *visible)[:, behind:]


def _moved(atlas: Atlas, code: np.ndarray, field: np.ndarray, drawn: np.ndarray, error: np.ndarray) -> Told:
    """The atlas bent by ``field``, its skin moved outwards by ``error``: see ``_outwards``."""
    field = _outwards(field, drawn, error)
    picture, shape = atlas.bend(field)
    return Told(code, shape, picture, field)


def _outwards(field: np.ndarray, drawn: np.ndarray, error: np.ndarray) -> np.ndarray:
    """``field`` (3, X, Y, Z) with the skin of what it bends moved outwards along its normals by ``error`` (X, Y, Z) mm.

    ``drawn`` is the bent depth under the outer skin: along the normals of a sinus, skin and sinus would move against
    each other, and the skin could tear.
    """
    slope = np.stack(np.gradient(drawn, 2.0))
    return field + error * slope / np.maximum(np.sqrt((slope**2).sum(axis=0)), 0.5)
