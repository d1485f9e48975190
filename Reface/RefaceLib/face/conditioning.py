"""Conditions the generator: draws a face from the shape model and fits it to the visible skin of a head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from RefaceLib.common.progress import Cancelled, raise_if_cancelled
from RefaceLib.face.plausibility import Gauge, Law, Plausibility
from RefaceLib.face.rasters import to_raster, warp, warp_at
from RefaceLib.face.seeds import SeededDraws, block_before
from RefaceLib.face.shapemodel import (
    BOUND,
    FIELD_SPACING,
    SPACING,
    Atlas,
    Random,
    ShapeModel,
    move_outwards,
)
from RefaceLib.face.skindistance import CLIP, distance_to, trusted
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
class VisibleSkin:
    """The visible skin on one raster, as far as the residual of every drawn shape needs the same.

    ``distance`` (mm) may extend behind the box, ``weight`` (float32) is 1 where it is valid. Each of the ``sigmas``
    (voxels) smooths what those before it left; ``spreads`` are the smoothed weights.
    """

    distance: np.ndarray
    weight: np.ndarray
    sigmas: tuple[float, ...]
    spreads: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls, distance: np.ndarray, sure: np.ndarray, spacing: float,
        reaches: tuple[float, ...] = _REACHES_MM, share: float = _SHARE,
    ) -> VisibleSkin:  # fmt: skip
        """From a signed ``distance`` (mm), and where it is ``sure`` (bool), on a raster of ``spacing`` mm."""
        # Deep inside and far outside both are clipped, and their difference carries no information.
        weight = (sure & (np.abs(distance) < CLIP / 2)).astype(np.float32)
        sigmas = tuple(reach / spacing for reach in reaches)
        spreads = tuple(ndimage.gaussian_filter(weight, sigma) + np.float32(share) for sigma in sigmas)
        return cls(distance, weight, sigmas, spreads)

    def residual(self, shape: np.ndarray) -> np.ndarray:
        """The distance (mm) of the visible skin from a drawn ``shape`` (mm) of the box, extrapolated from there.

        A head that is wider than drawn remains so for some centimetres into the face; the rest of the error fades
        sooner. Behind the box the shape continues by reflection.
        """
        behind = self.distance.shape[1] - shape.shape[1]
        whole = np.pad(shape, ((0, 0), (behind, 0), (0, 0)), mode="reflect", reflect_type="odd") if behind else shape
        error = np.clip(self.distance - np.clip(whole, -CLIP, CLIP), -LONGEST, LONGEST)
        extrapolated = np.zeros_like(error, np.float32)
        for sigma, spread in zip(self.sigmas, self.spreads, strict=True):
            extrapolated += ndimage.gaussian_filter((error - extrapolated) * self.weight, sigma) / spread
        return extrapolated[:, behind:]


@dataclass(frozen=True, eq=False)
class VisibleHead:
    """A head with a hidden face, as far as every draw of a face for it needs the same.

    ``distance`` (mm to the skin), ``mask`` and ``view`` (bool) are at 2 mm, ``far`` and ``near`` its visible skin on
    the raster of SPACING and at 2 mm; all of them may extend behind the box. ``mean`` (K,) and ``root`` (K, K) are of
    the posterior of its code, see ShapeModel.posterior.
    """

    model: ShapeModel
    atlas: Atlas
    distance: np.ndarray
    mask: np.ndarray
    view: np.ndarray
    far: VisibleSkin
    near: VisibleSkin
    mean: np.ndarray
    root: np.ndarray

    @classmethod
    def of(
        cls, model: ShapeModel, atlas: Atlas, distance: np.ndarray, mask: np.ndarray, view: np.ndarray
    ) -> VisibleHead:
        """From a signed ``distance``, the ``mask`` and what is in the field of view, all at 2 mm."""
        small = to_raster(distance, 2.0, SPACING)
        hidden = to_raster((mask | ~view).astype(np.float32), 2.0, SPACING) > 0.01
        sure, away = trusted(small, hidden, SPACING)
        # The raster of 4 mm hardly resolves the last millimetres before the mask: a residual there would be a step.
        near, _ = trusted(distance, mask | ~view, 2.0, margin=0.0)
        box = np.s_[:, sure.shape[1] - model.mean.shape[1] :]
        return cls(
            model, atlas, distance, mask, view, VisibleSkin.of(small, sure, SPACING),
            VisibleSkin.of(distance, near, 2.0, _NEAR_REACHES_MM, _NEAR_SHARE),
            *model.posterior(small[box], (sure & (away < RING))[box]),
        )  # fmt: skip

    @cached_property
    def likeliest(self) -> np.ndarray:
        """The displacements (3, 96, 88, 88) of the most probable code."""
        return self.atlas.field(np.clip(self.mean, -BOUND, BOUND).astype(np.float32))

    @cached_property
    def share_of_detail(self) -> np.ndarray:
        """How much of a drawn detail every voxel (96, 88, 88) gets, 0 where skin is visible to 1.

        It sets in slowly behind the edge of the mask. At the edge the visible skin determines the shape, and a skin
        that must return to it within some millimetres has pits.
        """
        return self.in_box(distance_to(~self.mask, 2.0, _SETS_IN) / np.float32(_SETS_IN))

    def in_box(self, field: np.ndarray) -> np.ndarray:
        """What of a ``field``, on either raster, is in the box."""
        spacing = 2.0 if field.shape == self.mask.shape else SPACING
        return field[:, -canonical.box(spacing).shape[1] :]

    def fitted(self, field: np.ndarray) -> np.ndarray:
        """Displacements (3, 96, 88, 88; mm), fitted to the visible skin on both rasters."""
        field = fit_to_visible_skin(self.atlas, field, self.far)
        drawn = warp(self.atlas.solid, field)
        return move_outwards(field, drawn, self.near.residual(drawn))


def condition(
    model: ShapeModel, atlas: Atlas, rng: Random, distance: np.ndarray, mask: np.ndarray,
    view: np.ndarray, *, own: bool,
) -> Conditioning:  # fmt: skip
    """The face to paint on a head of signed ``distance`` (mm to the skin, on the raster of 2 mm), for training.

    ``mask`` and ``view`` (in the field of view) are bool at 2 mm. All three may extend behind the box. With ``own``
    the code is the head's own, for training by reconstruction. Otherwise it is drawn given the skin outside ``mask``.
    """
    head = VisibleHead.of(model, atlas, distance, mask, view)
    if not own:
        return Conditioning.of(atlas, *draw_face(head, rng))
    seen = to_raster(head.in_box(view).astype(np.float32), 2.0, SPACING) > 0.99
    code = model.project(head.in_box(head.far.distance), seen)
    return Conditioning.of(atlas, code, head.fitted(atlas.field(code)))


def draw_plausible(law: Law, seed: int, head: VisibleHead, cancelled: Cancelled | None = None) -> Conditioning:
    """The face of a ``seed`` for a head: the first of its draws that a true face may look like by the ``law``.

    Where none of ATTEMPTS does, it is the most plausible of them. The first draw is stretched in full, each
    further one a little less. The seeds of its block before it come first: their faces are those that it is to differ
    from. CancelledError between two draws.
    """
    gauge = Gauge(head.model, *(head.in_box(part) for part in (head.distance, head.mask, head.view)))
    likeliest = gauge.measure(head.atlas.solid, head.fitted(head.likeliest))
    before: list[SeededDraws] = []
    for other in block_before(seed):
        before.append(_first_plausible(law, other, before, head, gauge, likeliest, cancelled)[0])
    _draws, face, attempts, plausible = _first_plausible(law, seed, before, head, gauge, likeliest, cancelled)
    return Conditioning.of(head.atlas, *face, attempts, plausible=plausible)


def _first_plausible(
    law: Law, seed: int, before: list[SeededDraws], head: VisibleHead, gauge: Gauge, likeliest: Plausibility,
    cancelled: Cancelled | None,
) -> tuple[SeededDraws, tuple[np.ndarray, np.ndarray], int, bool]:  # fmt: skip
    """The kept draws of a ``seed``, their code and displacements, how many were made, and whether the last passed."""
    best, rank = None, (True, np.inf)
    for attempt in range(ATTEMPTS):
        raise_if_cancelled(cancelled)
        draws = SeededDraws(seed, attempt, tuple(before))
        face = draw_face(head, draws, 1.0 - _LESS * attempt)
        found = gauge.measure(head.atlas.solid, face[1])
        if law.passes(found, likeliest, attempt):
            return draws, face, attempt + 1, True
        if law.rank(found) < rank or best is None:
            best, rank = (draws, face), law.rank(found)
    assert best is not None
    return *best, ATTEMPTS, False


def draw_face(head: VisibleHead, rng: Random, stretch: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Code (K,) and displacements (3, 96, 88, 88; mm) of a random face; ``stretch`` as of ShapeModel.draw."""
    atlas = head.atlas
    code = head.model.draw(rng, head.mean, head.root, atlas.is_smooth, stretch)
    detail = None if atlas.detail is None else (atlas.detail.draw(rng, stretch), head.share_of_detail)
    code, field = _within_the_box(atlas, code, detail)
    return code, head.fitted(_set_in(head.likeliest, field))


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
    wide, long, high = field.shape[1:]
    plane = tuple(a.ravel() for a in np.mgrid[:wide, long - 1 : long, :high])
    for _ in range(8):  # each round corrects the voxel that is deepest in the nose
        front = warp_at(atlas.depth, field, plane).reshape(wide, high)
        x, z = np.unravel_index(front.argmax(), front.shape)
        if front[x, z] < -_AIR_MM:
            break
        forward = atlas.modes[:, 1, x // step, -1, z // step]
        code = code + forward * ((front[x, z] + _AIR_MM) / max(float((forward**2).sum()), 1e-6))
        code = np.clip(code, -BOUND, BOUND).astype(np.float32)
        field = atlas.detailed(code, detail)
    return code, field


def fit_to_visible_skin(atlas: Atlas, field: np.ndarray, visible: VisibleSkin) -> np.ndarray:
    """Displacements ``field`` (3, 96, 88, 88; mm) that also move the skin along its normals onto the ``visible`` one.

    That is on the raster of SPACING.
    """
    drawn = warp(atlas.solid, field)
    error = to_raster(visible.residual(to_raster(drawn, 2.0, SPACING)), SPACING, 2.0)
    return move_outwards(field, drawn, error)
