"""The shape model of a tiny head: codes, details and the atlas."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.ballhead import (
    HIDDEN,
    SEEN,
    ball_depth,
    ball_model,
    bump_detail,
    bump_field,
    depth_with_sinus,
    fifth,
    voxel_positions,
)
from RefaceLib.face import shapemodel
from RefaceLib.face.seeds import SeededDraws
from RefaceLib.face.shapemodel import Atlas, Detail, ShapeModel
from RefaceLib.head import canonical


@pytest.fixture(scope="module")
def model():
    return ball_model()


def test_a_code_comes_back_from_its_shape(model):
    code = np.array([1.2, -0.7, 0.4], dtype=np.float32)
    everywhere = np.ones(model.mean.shape, bool)
    assert np.allclose(model.project(model.shape(code), everywhere), code, atol=0.05)
    assert np.allclose(model.shape(np.zeros(3)), model.mean)


def test_without_anything_known_the_code_is_the_mean_head(model):
    nowhere = np.zeros(model.mean.shape, bool)
    assert np.allclose(model.project(model.mean + 5, nowhere), 0)


def test_a_drawn_face_fits_what_is_seen_and_is_random_where_nothing_is(model):
    seen = voxel_positions(shapemodel.SPACING)[1] < 40
    target = model.shape(np.array([1.5, 1.5, 0]))
    codes = np.array([model.draw(np.random.default_rng(n), *model.posterior(target, seen)) for n in range(200)])
    assert codes.dtype == np.float32
    assert abs(codes[:, SEEN].mean() - 1.5) < 0.25 and codes[:, SEEN].std() < 0.6
    assert abs(codes[:, HIDDEN].mean()) < 0.3 and codes[:, HIDDEN].std() > 0.7


def test_a_seed_is_the_same_face_on_another_processor(model):
    """Networks differ in their last bits from one processor to another; the face must not."""
    modes = np.random.default_rng(0).standard_normal((40, *model.mean.shape)).astype(np.float32)
    many = ShapeModel(model.mean, modes)
    seen = np.random.default_rng(1).random(model.mean.shape) < 1e-3
    target = many.shape(np.ones(40, np.float32))
    here = many.draw(np.random.default_rng(2), *many.posterior(target, seen))
    noise = 1e-3 * np.random.default_rng(3).standard_normal(target.shape)
    there = many.draw(np.random.default_rng(2), *many.posterior(target + noise, _without_one(seen)))
    assert np.abs(there - here).max() < 0.2
    assert np.abs(many.draw(np.random.default_rng(4), *many.posterior(target, seen)) - here).max() > 1


def _without_one(voxels):
    """All ``voxels`` (bool) but the first."""
    fewer = voxels.copy()
    fewer.flat[np.flatnonzero(voxels)[0]] = False
    return fewer


def test_draws_are_stretched_and_bounded(model):
    """Where nothing is known: later components to twice their standard deviation, so that faces differ as people's do,
    and the first, the size of head and jaw, hardly."""
    everywhere = np.ones(model.mean.shape, bool)
    many = ShapeModel(model.mean, np.zeros((40, *model.mean.shape), np.float32))
    codes = np.array(
        [many.draw(np.random.default_rng(n), *many.posterior(model.mean, ~everywhere)) for n in range(100)]
    )
    assert codes[:, :3].std() < 1.3 and 1.8 < codes[:, 20:].std() < 2.4 and np.abs(codes).max() == 3.5
    for n in range(20):
        assert np.abs(model.draw(np.random.default_rng(n), *model.posterior(model.mean + 100, everywhere))).max() <= 3.5


def test_a_draw_is_shortened_until_the_face_is_natural(model):
    nothing = np.zeros(model.mean.shape, bool)
    free, bound = (
        model.draw(np.random.default_rng(3), *model.posterior(model.mean, nothing), natural)
        for natural in (lambda code: True, lambda code: np.abs(code).max() < 1.5)
    )
    assert np.abs(free).max() > 2.0 and 1.3 < np.abs(bound).max() < 1.5
    assert np.allclose(bound / np.linalg.norm(bound), free / np.linalg.norm(free), atol=1e-3)
    never = model.draw(np.random.default_rng(3), *model.posterior(model.mean, nothing), lambda code: False)
    assert np.allclose(never, free / 3, atol=1e-3)  # and a face it is


def test_a_face_that_folds_is_not_smooth():
    """A mode that presses the nose together by half at 1, and folds it at 3."""
    x, y, z = voxel_positions(shapemodel.FIELD_SPACING)
    mode = np.stack([12.0 * np.sin(x / 24.0) * np.exp(-((y - 70) ** 2) / 900), 0 * y, 0 * z])[None].astype(np.float32)
    atlas = Atlas((ball_depth(70) > 0).astype(np.float32), ball_depth(70), np.zeros_like(mode[0]), mode)
    assert [atlas.is_smooth(np.array([code])) for code in (0.0, -1.0, 1.0, -3.0, 3.0)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_face_that_swells_is_not_smooth():
    """A mode that makes the face broader by a third at 1, and by more than twice at 4."""
    x, y, z = voxel_positions(shapemodel.FIELD_SPACING)
    mode = np.stack([0.33 * x, 0 * y, 0 * z])[None].astype(np.float32)
    atlas = Atlas((ball_depth(70) > 0).astype(np.float32), ball_depth(70), np.zeros_like(mode[0]), mode)
    assert atlas.is_smooth(np.array([1.0])) and not atlas.is_smooth(np.array([4.0]))


def test_the_same_seed_draws_the_same_code(model):
    seen = voxel_positions(shapemodel.SPACING)[1] < 40
    draw = [model.draw(np.random.default_rng(s), *model.posterior(model.mean, seen)) for s in (3, 3, 4)]
    assert np.array_equal(draw[0], draw[1]) and not np.allclose(draw[0], draw[2])


def test_seeds_that_follow_each_other_draw_faces_apart(model):
    many = ShapeModel(model.mean, np.zeros((40, *model.mean.shape), np.float32))
    nothing = np.zeros(model.mean.shape, bool)
    draws: list[SeededDraws] = []
    codes = []
    for seed in range(80):
        draws.append(SeededDraws(seed, before=draws[seed - seed % 4 :]))
        codes.append(many.draw(draws[-1], *many.posterior(model.mean, nothing)))
    alike = np.corrcoef(codes)
    block = np.arange(80) // 4
    same = (block[:, None] == block) & ~np.eye(80, dtype=bool)
    assert alike[same].mean() < -0.25 and abs(alike[block[:, None] != block].mean()) < 0.05


def test_the_depth_under_the_outer_skin_knows_no_sinus():
    nothing = np.zeros((3, *canonical.box(shapemodel.FIELD_SPACING).shape), np.float32)
    depth, bare = depth_with_sinus(), ball_depth(70)
    solid = Atlas(depth, depth, nothing, nothing[None]).solid
    assert (depth < 0).sum() > (bare < 0).sum() + 200  # there is one
    assert np.array_equal(solid > 0, bare > 0)
    front = voxel_positions(2.0)[1] > 0  # the box cuts the back of the ball
    assert np.abs(solid - bare)[(bare < 8) & front].max() < 4.0  # mm: two steps of the raster


def test_faces_are_drawn_about_the_code_that_explains_what_is_seen_with_the_same_say(model):
    seen = voxel_positions(shapemodel.SPACING)[1] < 40
    target = model.shape(np.array([1.5, 1.5, 0]))
    codes = [model.draw(np.random.default_rng(n), *model.posterior(target, seen)) for n in range(200)]
    assert np.allclose(model.project(target, seen, shapemodel.OBSERVATION_SD), np.mean(codes, axis=0), atol=0.25)


def test_a_detail_is_random_within_bounds():
    detail = bump_detail()
    drawn = np.array([detail.draw(np.random.default_rng(seed))[48, 65, 48] for seed in range(300)])  # at the bump
    assert drawn.mean() == pytest.approx(2.0, abs=0.2) and np.abs(drawn - 2).max() < 5.1
    assert np.array_equal(detail.draw(np.random.default_rng(3)), detail.draw(np.random.default_rng(3)))


def test_the_broad_part_of_a_detail_is_stretched_and_neither_a_wart_nor_what_is_lopsided():
    broad, narrow = (bump_field((0, 80, -50), 1.0, width) for width in (15.0, 3.0))
    lopsided = bump_field((40, 70, -50), 1.0, 15.0) - bump_field((-40, 70, -50), 1.0, 15.0)
    first = broad[None].astype(np.float32)

    def spread(modes):
        """Of 200 details of one component, over that of the random numbers."""
        drawn = [Detail(0 * modes[0], modes).draw(np.random.default_rng(n)).max() for n in range(200)]
        numbers = [np.random.default_rng(n).standard_normal(len(modes))[-1] for n in range(200)]
        return np.std(drawn) / np.std(np.abs(np.clip(numbers, 0, 2.5)))

    assert 1.6 < spread(fifth(broad)) < 2.4 and spread(fifth(narrow)) < 1.4 and spread(fifth(lopsided)) < 0.8
    assert spread(first) < 1.1  # what moves cheeks most would make balls of them


def test_components_of_two_like_halves_are_stretched_more_than_lopsided_ones(model):
    """A face may be anybody's, but its halves are alike."""
    both = bump_field((0, 80, -50), 1.0).astype(np.float32)
    against = (bump_field((40, 70, -50), 1.0) - bump_field((-40, 70, -50), 1.0)).astype(np.float32)
    many = ShapeModel(model.mean, np.stack([both, against] * 20))
    assert many.symmetric.tolist() == [True, False] * 20
    nothing = np.zeros(model.mean.shape, bool)
    codes = np.array([many.draw(np.random.default_rng(n), *many.posterior(model.mean, nothing)) for n in range(100)])
    assert codes[:, 21::2].std() < 1.5 < 2.0 < codes[:, 20::2].std()


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).random(canonical.box(2.0).shape).astype(np.float32)


def _atlas(picture, centre=(0, 0, 0), mode=(0, 0, 0)):
    shape = canonical.box(shapemodel.FIELD_SPACING).shape
    fields = [np.broadcast_to(np.reshape(v, (3, 1, 1, 1)), (3, *shape)).astype(np.float32) for v in (centre, mode)]
    return Atlas(picture, picture - 0.5, fields[0], fields[1][None])


def test_an_atlas_that_is_not_warped_shows_its_picture(picture):
    atlas = _atlas(picture, mode=(9, 9, 9))
    drawn, depth = atlas.warp(atlas.field(np.zeros(1)))
    assert drawn.shape == (96, 88, 88) and drawn.dtype == np.float32 and np.allclose(drawn, picture, atol=1e-4)
    assert np.allclose(depth, picture - 0.5, atol=1e-4)


def test_a_code_warps_the_atlas_by_millimetres(picture):
    atlas = _atlas(picture, centre=(2, 0, 0), mode=(0, -2, 4))
    field = atlas.field(np.ones(1))
    assert np.allclose(field, np.reshape([2, -2, 4], (3, 1, 1, 1)))
    drawn, _ = atlas.warp(field)  # 1, -1 and 2 voxels
    assert np.allclose(drawn[:-1, 1:, :-2], picture[1:, :-1, 2:], atol=1e-3)
