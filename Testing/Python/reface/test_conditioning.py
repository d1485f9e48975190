"""What the generator is conditioned on: the drawn face of a tiny head, fitted to its visible skin."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.ballhead import (
    HIDDEN,
    ball_depth,
    ball_distance,
    ball_model,
    bump_detail,
    depth_with_sinus,
    front_mask,
    voxel_positions,
)
from RefaceLib.face import conditioning, rasters, shapemodel, skindistance
from RefaceLib.face.shapemodel import Atlas, ShapeModel
from RefaceLib.head import canonical


@pytest.fixture(scope="module")
def model():
    return ball_model()


@pytest.fixture(scope="module")
def front():
    return front_mask()


def _residual(shape, distance, sure):
    return conditioning.VisibleSkin.of(distance, sure, shapemodel.SPACING).residual(shape)


def test_the_residual_is_the_heads_error_where_that_is_sure_and_fades_far_from_it(model):
    shape = model.shape(np.array([1.0, 0, 0]))
    y = voxel_positions(shapemodel.SPACING)[1]
    sure, skin = y < 20, np.abs(shape) < 6
    error = _residual(shape, shape + 2.0, sure)
    assert np.abs(error[skin & (y < 10)] - 2.0).max() < 0.2
    assert 1.0 < error[skin & (np.abs(y - 30) < 2.5)].mean() < 2.0  # extrapolated for a centimetre and more,
    assert error[skin & (y > 75)].mean() < 0.5 * error[skin & (np.abs(y - 30) < 2.5)].mean()  # and then it fades
    assert np.abs(_residual(shape, shape - 90, sure)).max() <= conditioning.LONGEST + 1e-3


def test_what_is_clipped_has_no_weight_in_the_residual(model):
    deep = np.full(model.mean.shape, skindistance.CLIP, np.float32)
    everywhere = np.ones(model.mean.shape, bool)
    assert not _residual(deep - 5, deep, everywhere).any()


def _condition(model, distance, mask, depth=None, detail=None, **options):
    """As ``condition``, with an atlas of the mean head whose nose comes forward with the first mode."""
    shape = canonical.box(shapemodel.FIELD_SPACING).shape
    modes = np.zeros((3, 3, *shape), np.float32)
    modes[HIDDEN, 1] = -4.0
    depth = ball_depth(70) if depth is None else depth
    atlas = Atlas((depth > 0).astype(np.float32), depth, np.zeros((3, *shape), np.float32), modes, detail)
    rng = np.random.default_rng(1)
    return conditioning.condition(model, atlas, rng, distance, mask, np.ones_like(mask), **options)


def test_what_the_mask_hides_does_not_change_the_conditioning(model, front):
    bare, nosed = (_condition(model, ball_distance(2.0, nose), front, own=False) for nose in (0.0, 25.0))
    for name in ("code", "shape", "atlas"):
        assert np.array_equal(getattr(bare, name), getattr(nosed, name))
    assert bare.code.shape == (3,) and bare.shape.shape == bare.atlas.shape == canonical.box(2.0).shape == (96, 88, 88)
    assert np.abs(bare.shape).max() <= skindistance.CLIP + 1e-4


def test_the_atlas_fits_the_visible_skin(model):
    """A head that is 4 mm larger all about: shape and picture of the atlas grow with it at the edge of the mask."""
    mask = voxel_positions(2.0)[1] > 60
    found = _condition(model, ball_depth(74), mask, own=False)
    y = voxel_positions(2.0)[1]
    edge = (np.abs(ball_depth(70) + 2.5) < 1.0) & (y > 0) & (y < 40)  # 1.5 to 3.5 mm before the skin of the atlas
    assert found.shape[edge].mean() == pytest.approx(1.5, abs=0.7)
    assert found.atlas[edge].mean() > 0.6


def test_the_atlas_fits_the_skin_right_beside_the_mask(model):
    """To a part of a voxel of 2 mm: what is left is a step that everybody sees."""
    mask, y = voxel_positions(2.0)[1] > 60, voxel_positions(2.0)[1]
    for radius in (67, 74):
        ball = ball_depth(radius)
        found = _condition(model, ball, mask, own=False)
        edge = (np.abs(ball) < 1.0) & (y > 54) & ~mask
        assert np.abs((found.shape - ball)[edge]).mean() < 0.1


def test_the_atlas_fits_the_skin_behind_the_box(model):
    """Ears reach to the end of the box: the skin behind them, where the mask ends, is met all the same."""
    steps = []
    for behind in (0.0, canonical.BEHIND):
        mask = voxel_positions(2.0, behind)[1] > -50  # all of the box
        ball = ball_depth(74, behind)
        found = _condition(model, ball, mask, own=False)
        at_the_end = np.abs(ball[:, -88:][:, 0]) < 2.0
        steps.append(np.abs(found.shape[:, 0] - ball[:, -88:][:, 0])[at_the_end].mean())
    assert steps[0] > 2.5 and steps[1] < 1.0


def test_skin_before_a_sinus_is_moved_and_does_not_tear(model):
    """A head that is 4 mm smaller: along the normals of its wall, the sinus would come through the skin."""
    mask = voxel_positions(2.0)[1] > 60
    found = _condition(model, ball_depth(66), mask, depth=depth_with_sinus(), own=False)
    skin = (np.abs(ball_depth(66) - 2.0) < 1.0) & (voxel_positions(2.0)[1] > 40)
    assert (found.shape[skin] > 0).mean() > 0.995


def test_no_drawn_nose_is_cut_off_by_the_box(model, front, monkeypatch):
    """The first mode brings the nose forward by 4 mm a standard deviation; 15 of them would reach the front."""
    drawn = np.array([20.0, 0, 0], np.float32)
    monkeypatch.setattr(ShapeModel, "draw", lambda *arguments: drawn)
    x, y, z = voxel_positions(2.0)
    nose = np.minimum(6 - np.hypot(x, z + 50), 100 - y)
    found = _condition(
        model, ball_depth(70), front, depth=np.clip(np.maximum(ball_depth(70), nose), -16, 16), own=False
    )
    assert (found.shape[:, -1] < 0).all() and 1 < found.code[HIDDEN] < 20


def test_the_own_code_of_a_head_is_used_for_reconstruction(model, front):
    code = np.array([1.0, 1.0, -0.5])
    distance = rasters.to_raster(model.shape(code), shapemodel.SPACING, 2.0)
    assert np.allclose(_condition(model, distance, front, own=True).code, code, atol=0.1)


def test_a_drawn_face_has_a_detail_that_no_code_tells(model, front):
    plain, detailed = (
        _condition(model, ball_depth(70), front, detail=detail, own=False) for detail in (None, bump_detail())
    )
    assert np.array_equal(plain.code, detailed.code)
    x, y, z = voxel_positions(2.0)
    farther = detailed.shape - plain.shape
    skin = np.abs(plain.shape) < 3
    tip = np.hypot(x, z + 50) < 6
    rng = np.random.default_rng(1)
    rng.standard_normal(model.size)
    drawn = bump_detail().draw(rng)[tip & (np.abs(y - 80) < 2)].mean()
    assert abs(drawn) > 1 and farther[skin & tip & (y > 60)].mean() == pytest.approx(drawn, abs=0.6)
    assert np.abs(farther[skin & (y < 30)]).max() < 0.1  # where the skin is seen


def test_a_head_is_reconstructed_without_a_drawn_detail(model, front):
    plain, detailed = (
        _condition(model, ball_depth(70), front, detail=detail, own=True) for detail in (None, bump_detail())
    )
    assert np.array_equal(plain.shape, detailed.shape)


def test_a_detail_sets_in_behind_the_edge_of_the_mask():
    """Also where the mask goes on behind the box. At the edge, skin that must come back to the visible one has pits."""
    nothing = np.zeros((3, *canonical.box(shapemodel.FIELD_SPACING).shape), np.float32)
    atlas = Atlas(ball_depth(70), ball_depth(70), nothing, nothing[None], bump_detail())
    mask = voxel_positions(2.0, canonical.BEHIND)[1] > 40
    head = conditioning.VisibleHead.of(ball_model(), atlas, ball_depth(70, canonical.BEHIND), mask, np.ones_like(mask))
    share = head.share_of_detail
    y = voxel_positions(2.0)[1]
    assert share.shape == y.shape and not share[y <= 40].any() and (share[y > 56] == 1).all()
    assert 0.3 < share[(y > 46) & (y < 48)].mean() < 0.6


def test_the_random_face_sets_in_from_the_ears_to_the_cheeks():
    """At the ears the face is the one that fits the head best; a wider one would drop to the head like a wing."""
    y = voxel_positions(2.0)[1]
    likeliest, drawn = (np.full((3, *y.shape), value, np.float32) for value in (1.0, 9.0))
    field = conditioning._set_in(likeliest, drawn)
    assert field.shape == drawn.shape and field.dtype == np.float32
    assert (field[:, y <= 0] == 1).all() and (field[:, y >= 40] == 9).all()
    assert np.allclose(field[:, (y > 18) & (y < 22)].mean(), 5, atol=0.1)
