"""Conditions the generator: draws a face from the shape model and fits it to the visible skin of a head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import ndimage

from RefaceLib.face.plausibility import Law, Plausibility, measure
from RefaceLib.face.rasters import to_raster, warp
from RefaceLib.face.seeds import SeededDraws
from RefaceLib.face.shapemodel import (
    BOUND,
    FIELD_SPACING,
    SPACING,
    Atlas,
    Random,
    ShapeModel,
    move_outwards,
)
from RefaceLib.face.skindistance import CLIP, trusted
from RefaceLib.head import canonical

_REACHES_MM, _SHARE = (20.0, 8.0, 4.0), 0.03  # reach of the residual's extrapolation; weight at which it has faded
_NEAR_REACHES_MM, _NEAR_SHARE = (4.0, 2.5), 0.01  # the same on the raster of 2 mm
LONGEST = 12.0  # mm: limit of the move that fits the drawn skin to the visible one
RING = 12.0  # mm from the mask: the visible skin within this distance enters the posterior
_AIR_MM = 2.0  # least air between a nose and the front of the box
_SETS_IN = 15.0  # mm behind the mask's edge, over which detail sets in
_SIDES = (0.0, 40.0)  # mm, canonical y, from the ears to the cheeks: over this range the random face sets in

ATTEMPTS = 20  # draws of one seed until a face is plausible
_LESS = 0.05  # by so much less each further draw is stretched: on some heads hardly any face in full passes


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What the generator is conditioned on: the face to paint.

    ``code`` (K,); ``shape``, the depth under the skin in mm, and the warped ``atlas``, both (96, 88, 88) at 2 mm;
    ``field`` (3, 96, 88, 88) in mm, the displacements that warped the atlas. It is the last of ``draws``;
    ``plausible`` is False where none of them passed, and this is the best.
    """

    code: np.ndarray
    shape: np.ndarray
    atlas: np.ndarray
    field: np.ndarray
    draws: int = 1
    plausible: bool = True

    @classmethod
    def of(
        cls, atlas: Atlas, code: np.ndarray, field: np.ndarray, draws: int = 1, *, plausible: bool = True
    ) -> Conditioning:
        """The face of a ``code`` whose displacements are ``field``."""
        picture, shape = atlas.warp(field)
        return cls(code, shape, picture, field, draws, plausible)


@dataclass(frozen=True, eq=False)
class VisibleHead:
    """A head with a hidden face, as far as every draw of a face for it needs the same.

    ``distance`` (mm to the skin), ``mask`` and ``view`` (bool) are at 2 mm, ``small`` and ``sure`` the distance and
    where it is valid on the raster of SPACING, ``near`` where it is valid at 2 mm; all of them may extend behind the
    box. ``mean`` (K,) and ``root`` (K, K) are of the posterior of its code, see ShapeModel.posterior.
    """

    distance: np.ndarray
    mask: np.ndarray
    view: np.ndarray
    small: np.ndarray
    sure: np.ndarray
    near: np.ndarray
    mean: np.ndarray
    root: np.ndarray

    @classmethod
    def of(cls, model: ShapeModel, distance: np.ndarray, mask: np.ndarray, view: np.ndarray) -> VisibleHead:
        """From a signed ``distance``, the ``mask`` and what is in the field of view, all at 2 mm."""
        small = to_raster(distance, 2.0, SPACING)
        hidden = to_raster((mask | ~view).astype(np.float32), 2.0, SPACING) > 0.01
        sure, away = trusted(small, hidden, SPACING)
        # The raster of 4 mm hardly resolves the last millimetres before the mask: a residual there would be a step.
        near, _ = trusted(distance, mask | ~view, 2.0, margin=0.0)
        box = np.s_[:, sure.shape[1] - model.mean.shape[1] :]
        return cls(distance, mask, view, small, sure, near, *model.posterior(small[box], (sure & (away < RING))[box]))

    @property
    def likeliest(self) -> np.ndarray:
        """The most probable code (K,)."""
        return np.clip(self.mean, -BOUND, BOUND).astype(np.float32)

    @cached_property
    def inside(self) -> np.ndarray:
        """Distance (96, 88, 88) in mm behind the mask's edge, 0 outside the mask."""
        return self.in_box(ndimage.distance_transform_edt(self.mask, sampling=2.0))

    def in_box(self, field: np.ndarray) -> np.ndarray:
        """What of a ``field``, on either raster, is in the box."""
        spacing = 2.0 if field.shape == self.mask.shape else SPACING
        return field[:, -canonical.box(spacing).shape[1] :]


def condition(
    model: ShapeModel, atlas: Atlas, rng: Random, distance: np.ndarray, mask: np.ndarray,
    view: np.ndarray, *, own: bool,
) -> Conditioning:  # fmt: skip
    """The face to paint on a head of signed ``distance`` (mm to the skin, on the raster of 2 mm), for training.

    ``mask`` and ``view`` (in the field of view) are bool at 2 mm. All three may extend behind the box. With ``own``
    the code is the head's own, for training by reconstruction. Otherwise it is drawn given the skin outside ``mask``.
    """
    head = VisibleHead.of(model, distance, mask, view)
    if not own:
        return Conditioning.of(atlas, *draw_face(model, atlas, head, rng))
    seen = to_raster(head.in_box(view).astype(np.float32), 2.0, SPACING) > 0.99
    code = model.project(head.in_box(head.small), seen)
    return Conditioning.of(atlas, code, _fitted(atlas, head, atlas.field(code)))


def draw_plausible(model: ShapeModel, atlas: Atlas, law: Law, seed: int, head: VisibleHead) -> Conditioning:
    """The face of a ``seed`` for a head: the first of its draws that a true face may look like by the ``law``.

    Where none of ATTEMPTS does, it is the most plausible of them. The first draw is stretched in full, each
    further one a little less.
    """
    visible = [head.in_box(part) for part in (head.distance, head.mask, head.view)]

    def measured(field: np.ndarray) -> Plausibility:
        return measure(model, field, warp(atlas.solid, field), *visible)

    likeliest = measured(_fitted(atlas, head, atlas.field(head.likeliest)))
    best, rank = None, (True, np.inf)
    for attempt in range(ATTEMPTS):
        stretch = 1.0 - _LESS * attempt
        drawn = draw_face(model, atlas, head, SeededDraws(seed, attempt), stretch)
        found = measured(drawn[1])
        if law.passes(found, likeliest, attempt):
            return Conditioning.of(atlas, *drawn, attempt + 1)
        if law.rank(found) < rank or best is None:
            best, rank = drawn, law.rank(found)
    assert best is not None
    return Conditioning.of(atlas, *best, ATTEMPTS, plausible=False)


def draw_face(
    model: ShapeModel, atlas: Atlas, head: VisibleHead, rng: Random, stretch: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Code (K,) and displacements (3, 96, 88, 88; mm) of a random face; ``stretch`` as of ShapeModel.draw."""
    code = model.draw(rng, head.mean, head.root, atlas.is_smooth, stretch)
    code, field = _within_the_box(atlas, code, _drawn_detail(atlas, rng, head.inside, stretch))
    return code, _fitted(atlas, head, _set_in(atlas.field(head.likeliest), field))


def _fitted(atlas: Atlas, head: VisibleHead, field: np.ndarray) -> np.ndarray:
    """Displacements (3, 96, 88, 88; mm), fitted to the visible skin on both rasters."""
    field = fit_to_visible_skin(atlas, field, head.small, head.sure)
    drawn = warp(atlas.solid, field)
    error = _residual_of_the_box(drawn, head.distance, head.near, 2.0, _NEAR_REACHES_MM, _NEAR_SHARE)
    return move_outwards(field, drawn, error)


def _drawn_detail(
    atlas: Atlas, rng: Random, inside: np.ndarray, stretch: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """A random detail and its share at every voxel of the box (see Atlas.detailed), 0 where skin is visible.

    It sets in slowly ``inside`` the mask (mm behind its edge, 2 mm). At the edge the visible skin determines the
    shape, and a skin that must return to it within some millimetres has pits.
    """
    if atlas.detail is None:
        return None
    return atlas.detail.draw(rng, stretch), np.clip(inside / _SETS_IN, 0, 1).astype(np.float32)


def _set_in(likeliest: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Displacements (3, 96, 88, 88): the ``likeliest`` at the ears and behind them, those ``drawn`` in the face.

    A face that is random up to its end is wider than the head there and forms a wing before the ears, or is narrower
    and has pits.
    """
    y = canonical.BOX_CORNER[1] + 2.0 * (np.arange(drawn.shape[2]) + 0.5)
    return likeliest + np.interp(y, _SIDES, (0, 1)).astype(np.float32)[:, None] * (drawn - likeliest)


def _within_the_box(
    atlas: Atlas, code: np.ndarray, detail: tuple[np.ndarray, np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest code (K,) whose nose does not reach the front of the box, which would cut it off.

    Returns it and its displacements with the ``detail`` (see Atlas.detailed).
    """
    step = int(FIELD_SPACING / 2.0)
    field = atlas.detailed(code, detail)
    for _ in range(8):  # each round corrects the voxel that is deepest in the nose
        front = warp(atlas.depth, field)[:, -1]
        x, z = np.unravel_index(front.argmax(), front.shape)
        if front[x, z] < -_AIR_MM:
            break
        forward = atlas.modes[:, 1, x // step, -1, z // step]
        code = code + forward * ((front[x, z] + _AIR_MM) / max(float((forward**2).sum()), 1e-6))
        code = np.clip(code, -BOUND, BOUND).astype(np.float32)
        field = atlas.detailed(code, detail)
    return code, field


def fit_to_visible_skin(atlas: Atlas, field: np.ndarray, distance: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """Displacements ``field`` (3, 96, 88, 88; mm) that also move the skin along its normals onto the visible skin.

    ``distance`` (mm), valid where ``sure`` (bool), is on the raster of SPACING; both may extend behind the box.
    """
    drawn = warp(atlas.solid, field)
    error = to_raster(_residual_of_the_box(to_raster(drawn, 2.0, SPACING), distance, sure, SPACING), SPACING, 2.0)
    return move_outwards(field, drawn, error)


def residual(
    shape: np.ndarray, distance: np.ndarray, sure: np.ndarray, spacing: float,
    reaches: tuple[float, ...] = _REACHES_MM, share: float = _SHARE,
) -> np.ndarray:  # fmt: skip
    """The distance (mm) of a drawn ``shape`` (mm) from the visible skin where ``sure`` (bool), extrapolated from there.

    A head that is wider than drawn remains so for some centimetres into the face; the rest of the error fades sooner.
    Each of the ``reaches`` (mm) extrapolates what those before it left.
    """
    # Deep inside and far outside both are clipped, and their difference carries no information.
    weight = (sure & (np.abs(distance) < CLIP / 2)).astype(np.float32)
    error = np.clip(distance - shape, -LONGEST, LONGEST)
    extrapolated = np.zeros_like(error)
    for reach in reaches:
        missing, spread = (
            ndimage.gaussian_filter(a, reach / spacing) for a in ((error - extrapolated) * weight, weight)
        )
        extrapolated = extrapolated + missing / (spread + share)
    return extrapolated.astype(np.float32)


def _residual_of_the_box(drawn: np.ndarray, distance: np.ndarray, *visible: Any) -> np.ndarray:
    """``residual`` of a head ``drawn`` in the box alone, continued behind it by reflection."""
    behind = distance.shape[1] - drawn.shape[1]
    whole = np.pad(drawn, ((0, 0), (behind, 0), (0, 0)), mode="reflect", reflect_type="odd")
    return residual(np.clip(whole, -CLIP, CLIP), distance, *visible)[:, behind:]
