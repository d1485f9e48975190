"""The shape model on a tiny head: an ellipsoid with a bump in front, which is hidden, and one behind, which is seen."""

from __future__ import annotations

import numpy as np
import pytest

from RefaceLib.face import shapemodel
from RefaceLib.face.seeds import Chance
from RefaceLib.face.shapemodel import Atlas, Detail, ShapeModel
from RefaceLib.head import canonical

HIDDEN, SEEN = 0, 1  # modes


def _place(spacing, behind=0.0):
    grid = canonical.box(spacing, behind)
    index = np.moveaxis(np.indices(grid.shape), 0, -1) * spacing + grid.affine[:3, 3]
    return np.moveaxis(index, -1, 0)


def _distance(spacing, nose=0.0):
    """Signed distance of a ball of 70 mm with a nose at the front, on the box."""
    x, y, z = _place(spacing)
    head = x**2 + (y - 10) ** 2 + (z + 50) ** 2 < 70**2
    head |= x**2 + (y - 80) ** 2 + (z + 50) ** 2 < nose**2
    return shapemodel.signed_distance(head, spacing)


def _bump(centre, height, width=18.0):
    place = _place(shapemodel.SPACING)
    squared = sum((a - c) ** 2 for a, c in zip(place, centre, strict=True))
    return height * np.exp(-squared / (2 * width**2))


@pytest.fixture(scope="module")
def model():
    modes = np.stack([_bump((0, 80, -50), 6.0), _bump((0, -30, 0), 6.0, 30.0), _bump((50, 40, -50), 3.0)])
    return ShapeModel(_distance(shapemodel.SPACING), modes.astype(np.float32))


@pytest.fixture(scope="module")
def front():
    """The mask of the 2 mm box that hides all of the front."""
    return _place(2.0)[1] > 40


def test_a_code_comes_back_from_its_shape(model):
    code = np.array([1.2, -0.7, 0.4], dtype=np.float32)
    everywhere = np.ones(model.mean.shape, bool)
    assert np.allclose(model.project(model.shape(code), everywhere), code, atol=0.05)
    assert np.allclose(model.shape(np.zeros(3)), model.mean)


def test_without_anything_known_the_code_is_the_mean_head(model):
    nowhere = np.zeros(model.mean.shape, bool)
    assert np.allclose(model.project(model.mean + 5, nowhere), 0)


def test_a_drawn_face_fits_what_is_seen_and_is_chance_where_nothing_is(model):
    seen = _place(shapemodel.SPACING)[1] < 40
    target = model.shape(np.array([1.5, 1.5, 0]))
    codes = np.array([model.draw(np.random.default_rng(n), target, seen) for n in range(200)])
    assert codes.dtype == np.float32
    assert abs(codes[:, SEEN].mean() - 1.5) < 0.25 and codes[:, SEEN].std() < 0.6
    assert abs(codes[:, HIDDEN].mean()) < 0.3 and codes[:, HIDDEN].std() > 0.7


def test_a_seed_is_the_same_face_on_another_processor(model):
    """Networks differ in their last bits from one processor to another; the face must not."""
    modes = np.random.default_rng(0).standard_normal((40, *model.mean.shape)).astype(np.float32)
    many = ShapeModel(model.mean, modes)
    seen = np.random.default_rng(1).random(model.mean.shape) < 1e-3
    target = many.shape(np.ones(40, np.float32))
    here = many.draw(np.random.default_rng(2), target, seen)
    noise = 1e-3 * np.random.default_rng(3).standard_normal(target.shape)
    there = many.draw(np.random.default_rng(2), target + noise, _without_one(seen))
    assert np.abs(there - here).max() < 0.2
    assert np.abs(many.draw(np.random.default_rng(4), target, seen) - here).max() > 1


def _without_one(voxels):
    """All ``voxels`` (bool) but the first."""
    fewer = voxels.copy()
    fewer.flat[np.flatnonzero(voxels)[0]] = False
    return fewer


def test_chance_is_stretched_and_bounded(model):
    """Where nothing is known: later components to twice their standard deviation, so that faces differ as people's do,
    and the first, the size of head and jaw, hardly."""
    everywhere = np.ones(model.mean.shape, bool)
    many = ShapeModel(model.mean, np.zeros((40, *model.mean.shape), np.float32))
    codes = np.array([many.draw(np.random.default_rng(n), model.mean, ~everywhere) for n in range(100)])
    assert codes[:, :3].std() < 1.3 and 1.8 < codes[:, 20:].std() < 2.4 and np.abs(codes).max() == 3.5
    for n in range(20):
        assert np.abs(model.draw(np.random.default_rng(n), model.mean + 100, everywhere)).max() <= 3.5


def test_chance_is_shortened_until_the_face_is_natural(model):
    nothing = np.zeros(model.mean.shape, bool)
    free, bound = (
        model.draw(np.random.default_rng(3), model.mean, nothing, natural)
        for natural in (lambda code: True, lambda code: np.abs(code).max() < 1.5)
    )
    assert np.abs(free).max() > 2.0 and 1.3 < np.abs(bound).max() < 1.5
    assert np.allclose(bound / np.linalg.norm(bound), free / np.linalg.norm(free), atol=1e-3)
    never = model.draw(np.random.default_rng(3), model.mean, nothing, lambda code: False)
    assert np.allclose(never, free / 3, atol=1e-3)  # and a face it is


def test_a_face_that_folds_is_not_smooth():
    """A mode that presses the nose together by half at 1, and folds it at 3."""
    x, y, z = _place(shapemodel.FIELD_SPACING)
    mode = np.stack([12.0 * np.sin(x / 24.0) * np.exp(-((y - 70) ** 2) / 900), 0 * y, 0 * z])[None].astype(np.float32)
    atlas = Atlas((_ball(70) > 0).astype(np.float32), _ball(70), np.zeros_like(mode[0]), mode)
    assert [atlas.is_smooth(np.array([code])) for code in (0.0, -1.0, 1.0, -3.0, 3.0)] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_face_that_swells_is_not_smooth():
    """A mode that makes the face broader by a third at 1, and by more than twice at 4."""
    x, y, z = _place(shapemodel.FIELD_SPACING)
    mode = np.stack([0.33 * x, 0 * y, 0 * z])[None].astype(np.float32)
    atlas = Atlas((_ball(70) > 0).astype(np.float32), _ball(70), np.zeros_like(mode[0]), mode)
    assert atlas.is_smooth(np.array([1.0])) and not atlas.is_smooth(np.array([4.0]))


def test_the_same_seed_draws_the_same_code(model):
    seen = _place(shapemodel.SPACING)[1] < 40
    draw = [model.draw(np.random.default_rng(s), model.mean, seen) for s in (3, 3, 4)]
    assert np.array_equal(draw[0], draw[1]) and not np.allclose(draw[0], draw[2])


def test_seeds_that_follow_each_other_draw_faces_apart(model):
    many = ShapeModel(model.mean, np.zeros((40, *model.mean.shape), np.float32))
    nothing = np.zeros(model.mean.shape, bool)
    codes = np.array([many.draw(Chance(seed), model.mean, nothing) for seed in range(80)])
    alike = np.corrcoef(codes)
    block = np.arange(80) // 4
    same = (block[:, None] == block) & ~np.eye(80, dtype=bool)
    assert alike[same].mean() < -0.25 and abs(alike[block[:, None] != block].mean()) < 0.05


def test_the_distance_is_positive_inside_and_clipped():
    distance = _distance(2.0)
    x, y, z = _place(2.0)
    radius = np.sqrt(x**2 + (y - 10) ** 2 + (z + 50) ** 2)
    near = (np.abs(radius - 70) < 14) & (y > -30)  # the box cuts the back of the ball
    assert np.abs(distance[near] - (70 - radius[near])).max() < 3.0
    assert distance.max() == shapemodel.CLIP and distance.min() == -shapemodel.CLIP


def test_a_distance_is_trusted_where_no_hidden_skin_can_be_nearer(front):
    sure, away = shapemodel.trusted(_distance(2.0), front, 2.0)
    assert not (sure & front).any() and away[front].max() == 0
    bare, nosed = _distance(2.0), _distance(2.0, nose=25.0)
    assert np.array_equal(shapemodel.trusted(nosed, front, 2.0)[0] & sure, sure & (np.abs(nosed) < away))
    assert np.allclose(bare[sure], nosed[sure], atol=1e-3)  # the nose changes nothing that is trusted


def test_the_misfit_is_the_heads_error_where_that_is_sure_and_fades_far_from_it(model):
    shape = model.shape(np.array([1.0, 0, 0]))
    y = _place(shapemodel.SPACING)[1]
    sure, skin = y < 20, np.abs(shape) < 6
    error = shapemodel.misfit(shape, shape + 2.0, sure, shapemodel.SPACING)
    assert np.abs(error[skin & (y < 10)] - 2.0).max() < 0.2
    assert 1.0 < error[skin & (np.abs(y - 30) < 2.5)].mean() < 2.0  # carried on for a centimetre and more,
    assert error[skin & (y > 75)].mean() < 0.5 * error[skin & (np.abs(y - 30) < 2.5)].mean()  # and then it fades
    assert np.abs(shapemodel.misfit(shape, shape - 90, sure, shapemodel.SPACING)).max() <= shapemodel.LONGEST + 1e-3


def test_what_is_clipped_has_no_say_in_the_misfit(model):
    deep = np.full(model.mean.shape, shapemodel.CLIP, np.float32)
    everywhere = np.ones(model.mean.shape, bool)
    assert not shapemodel.misfit(deep - 5, deep, everywhere, shapemodel.SPACING).any()


def test_dark_bone_at_a_cut_is_not_outside():
    """The cut took the skin away, and the head mask ends before the bone: what they enclose is head."""
    x, y, z = _place(2.0)
    radius = np.sqrt(x**2 + (y - 10) ** 2 + (z + 50) ** 2)
    hidden = y > 60
    bone = (radius < 60) & (y > 52) & ~hidden
    picture = np.where((radius < 70) & ~bone, 0.8, 0.0).astype(np.float32)
    head = ((radius < 70) & ~bone) | hidden
    found = shapemodel.to_the_skin(head, np.where(hidden, 1.0, picture), 2.0)
    assert found[bone].all() and found[hidden].all()
    assert not found[(radius > 74) & ~hidden].any()


def _ball(radius, behind=0.0):
    """Depth under the skin of a ball, at 2 mm: without the steps of a distance that was measured on a raster."""
    x, y, z = _place(2.0, behind)
    return np.clip(radius - np.sqrt(x**2 + (y - 10) ** 2 + (z + 50) ** 2), -16, 16).astype(np.float32)


def _told(model, distance, mask, depth=None, detail=None, **options):
    """As ``condition``, with an atlas of the mean head whose nose comes forward with the first mode."""
    shape = canonical.box(shapemodel.FIELD_SPACING).shape
    modes = np.zeros((3, 3, *shape), np.float32)
    modes[HIDDEN, 1] = -4.0
    depth = _ball(70) if depth is None else depth
    atlas = Atlas((depth > 0).astype(np.float32), depth, np.zeros((3, *shape), np.float32), modes, detail)
    rng = np.random.default_rng(1)
    return shapemodel.condition(model, atlas, rng, distance, mask, np.ones_like(mask), **options)


def test_what_the_mask_hides_does_not_change_what_is_told(model, front):
    bare, nosed = (_told(model, _distance(2.0, nose), front, own=False) for nose in (0.0, 25.0))
    for name in ("code", "shape", "atlas"):
        assert np.array_equal(getattr(bare, name), getattr(nosed, name))
    assert bare.code.shape == (3,) and bare.shape.shape == bare.atlas.shape == canonical.box(2.0).shape == (96, 88, 88)
    assert np.abs(bare.shape).max() <= shapemodel.CLIP + 1e-4


def test_the_atlas_meets_the_visible_skin(model):
    """A head that is 4 mm larger all about: shape and picture of the atlas grow with it at the edge of the mask."""
    mask = _place(2.0)[1] > 60
    told = _told(model, _ball(74), mask, own=False)
    y = _place(2.0)[1]
    edge = (np.abs(_ball(70) + 2.5) < 1.0) & (y > 0) & (y < 40)  # 1.5 to 3.5 mm before the skin of the atlas
    assert told.shape[edge].mean() == pytest.approx(1.5, abs=0.7)
    assert told.atlas[edge].mean() > 0.6


def test_the_atlas_meets_the_skin_right_beside_the_mask(model):
    """To a part of a voxel of 2 mm: what is left is a step that everybody sees."""
    mask, y = _place(2.0)[1] > 60, _place(2.0)[1]
    for radius in (67, 74):
        ball = _ball(radius)
        told = _told(model, ball, mask, own=False)
        edge = (np.abs(ball) < 1.0) & (y > 54) & ~mask
        assert np.abs((told.shape - ball)[edge]).mean() < 0.1


def test_the_atlas_meets_the_skin_behind_the_box(model):
    """Ears reach to the end of the box: the skin behind them, where the mask ends, is met all the same."""
    steps = []
    for behind in (0.0, canonical.BEHIND):
        mask = _place(2.0, behind)[1] > -50  # all of the box
        ball = _ball(74, behind)
        told = _told(model, ball, mask, own=False)
        at_the_end = np.abs(ball[:, -88:][:, 0]) < 2.0
        steps.append(np.abs(told.shape[:, 0] - ball[:, -88:][:, 0])[at_the_end].mean())
    assert steps[0] > 2.5 and steps[1] < 1.0


def _with_sinus():
    """Depth of a ball with a frontal sinus, 5 mm under its skin, right beside the mask."""
    x, y, z = _place(2.0)
    to_sinus = np.sqrt(x**2 + (y - 54) ** 2 + (z - (-50 + np.sqrt(57**2 - 44**2))) ** 2) - 8
    return np.minimum(_ball(70), to_sinus).astype(np.float32)


def test_the_depth_under_the_outer_skin_knows_no_sinus():
    nothing = np.zeros((3, *canonical.box(shapemodel.FIELD_SPACING).shape), np.float32)
    depth, bare = _with_sinus(), _ball(70)
    solid = Atlas(depth, depth, nothing, nothing[None]).solid
    assert (depth < 0).sum() > (bare < 0).sum() + 200  # there is one
    assert np.array_equal(solid > 0, bare > 0)
    front = _place(2.0)[1] > 0  # the box cuts the back of the ball
    assert np.abs(solid - bare)[(bare < 8) & front].max() < 4.0  # mm: two steps of the raster


def test_skin_before_a_sinus_is_moved_and_does_not_tear(model):
    """A head that is 4 mm smaller: along the normals of its wall, the sinus would come through the skin."""
    mask = _place(2.0)[1] > 60
    told = _told(model, _ball(66), mask, depth=_with_sinus(), own=False)
    skin = (np.abs(_ball(66) - 2.0) < 1.0) & (_place(2.0)[1] > 40)
    assert (told.shape[skin] > 0).mean() > 0.995


def test_no_drawn_nose_is_cut_off_by_the_box(model, front, monkeypatch):
    """The first mode brings the nose forward by 4 mm a standard deviation; 15 of them would reach the front."""
    drawn = np.array([20.0, 0, 0], np.float32)
    monkeypatch.setattr(ShapeModel, "draw", lambda *arguments: drawn)
    x, y, z = _place(2.0)
    nose = np.minimum(6 - np.hypot(x, z + 50), 100 - y)
    told = _told(model, _ball(70), front, depth=np.clip(np.maximum(_ball(70), nose), -16, 16), own=False)
    assert (told.shape[:, -1] < 0).all() and 1 < told.code[HIDDEN] < 20


def test_the_own_code_of_a_head_is_told_for_reconstruction(model, front):
    code = np.array([1.0, 1.0, -0.5])
    distance = shapemodel.to_raster(model.shape(code), shapemodel.SPACING, 2.0)
    assert np.allclose(_told(model, distance, front, own=True).code, code, atol=0.1)


def _bumps():
    """A detail whose skin lies 2 mm farther out in front, and by chance more there or less."""
    bump = _bump((0, 80, -50), 1.0, 12.0).astype(np.float32)
    return Detail(2 * bump, _fifth(1.5 * bump))


def _fifth(mode):
    """The components of a detail, of which the fifth, as the first that is stretched in full, is ``mode``."""
    return np.stack([*np.zeros((4, *mode.shape), np.float32), mode.astype(np.float32)])


def test_a_drawn_face_has_a_detail_that_no_code_tells(model, front):
    plain, detailed = (_told(model, _ball(70), front, detail=detail, own=False) for detail in (None, _bumps()))
    assert np.array_equal(plain.code, detailed.code)
    x, y, z = _place(2.0)
    farther = detailed.shape - plain.shape
    skin = np.abs(plain.shape) < 3
    tip = np.hypot(x, z + 50) < 6
    chance = np.random.default_rng(1)
    chance.standard_normal(model.size)
    drawn = _bumps().draw(chance)[tip & (np.abs(y - 80) < 2)].mean()
    assert abs(drawn) > 1 and farther[skin & tip & (y > 60)].mean() == pytest.approx(drawn, abs=0.6)
    assert np.abs(farther[skin & (y < 30)]).max() < 0.1  # where the skin is seen


def test_a_head_is_reconstructed_without_a_drawn_detail(model, front):
    plain, detailed = (_told(model, _ball(70), front, detail=detail, own=True) for detail in (None, _bumps()))
    assert np.array_equal(plain.shape, detailed.shape)


def test_a_detail_sets_in_behind_the_edge_of_the_mask():
    """Also where the mask goes on behind the box. At the edge, skin that must come back to the visible one has pits."""
    nothing = np.zeros((3, *canonical.box(shapemodel.FIELD_SPACING).shape), np.float32)
    atlas = Atlas(_ball(70), _ball(70), nothing, nothing[None], _bumps())
    mask = _place(2.0, canonical.BEHIND)[1] > 40
    _, share = shapemodel._drawn_detail(atlas, np.random.default_rng(0), mask)
    y = _place(2.0)[1]
    assert share.shape == y.shape and not share[y <= 40].any() and (share[y > 56] == 1).all()
    assert 0.3 < share[(y > 46) & (y < 48)].mean() < 0.6


def test_chance_sets_in_from_the_ears_to_the_cheeks():
    """At the ears the face is the one that fits the head best; a wider one would drop to the head like a wing."""
    y = _place(2.0)[1]
    likeliest, drawn = (np.full((3, *y.shape), value, np.float32) for value in (1.0, 9.0))
    field = shapemodel._set_in(likeliest, drawn)
    assert field.shape == drawn.shape and field.dtype == np.float32
    assert (field[:, y <= 0] == 1).all() and (field[:, y >= 40] == 9).all()
    assert np.allclose(field[:, (y > 18) & (y < 22)].mean(), 5, atol=0.1)


def test_faces_are_drawn_about_the_code_that_explains_what_is_seen_with_the_same_say(model):
    seen = _place(shapemodel.SPACING)[1] < 40
    target = model.shape(np.array([1.5, 1.5, 0]))
    codes = [model.draw(np.random.default_rng(n), target, seen) for n in range(200)]
    assert np.allclose(model.project(target, seen, shapemodel._OBSERVATION_SD), np.mean(codes, axis=0), atol=0.25)


def test_a_detail_is_chance_within_bounds():
    detail = _bumps()
    drawn = np.array([detail.draw(np.random.default_rng(seed))[48, 65, 48] for seed in range(300)])  # at the bump
    assert drawn.mean() == pytest.approx(2.0, abs=0.2) and np.abs(drawn - 2).max() < 5.1
    assert np.array_equal(detail.draw(np.random.default_rng(3)), detail.draw(np.random.default_rng(3)))


def test_the_broad_part_of_a_detail_is_stretched_and_neither_a_wart_nor_what_is_lopsided():
    broad, narrow = (_bump((0, 80, -50), 1.0, width) for width in (15.0, 3.0))
    lopsided = _bump((40, 70, -50), 1.0, 15.0) - _bump((-40, 70, -50), 1.0, 15.0)
    first = broad[None].astype(np.float32)

    def spread(modes):
        """Of 200 details of one component, over that of chance itself."""
        drawn = [Detail(0 * modes[0], modes).draw(np.random.default_rng(n)).max() for n in range(200)]
        chance = [np.random.default_rng(n).standard_normal(len(modes))[-1] for n in range(200)]
        return np.std(drawn) / np.std(np.abs(np.clip(chance, 0, 2.5)))

    assert 1.6 < spread(_fifth(broad)) < 2.4 and spread(_fifth(narrow)) < 1.4 and spread(_fifth(lopsided)) < 0.8
    assert spread(first) < 1.1  # what moves cheeks most would make balls of them


def test_components_of_two_like_halves_are_stretched_more_than_lopsided_ones(model):
    """A face may be anybody's, but its halves are alike."""
    both = _bump((0, 80, -50), 1.0).astype(np.float32)
    against = (_bump((40, 70, -50), 1.0) - _bump((-40, 70, -50), 1.0)).astype(np.float32)
    many = ShapeModel(model.mean, np.stack([both, against] * 20))
    assert many.symmetric.tolist() == [True, False] * 20
    nothing = np.zeros(model.mean.shape, bool)
    codes = np.array([many.draw(np.random.default_rng(n), model.mean, nothing) for n in range(100)])
    assert codes[:, 21::2].std() < 1.5 < 2.0 < codes[:, 20::2].std()


@pytest.mark.parametrize(("spacing", "target"), [(2.0, 4.0), (4.0, 2.0), (2.0, 1.0), (8.0, 2.0)])
def test_a_field_stays_in_its_place_on_another_raster(spacing, target):
    field, expected = (0.2 * x - 0.1 * y + 0.3 * z for x, y, z in (_place(spacing), _place(target)))
    moved = shapemodel.to_raster(field, spacing, target)
    inner = tuple(slice(4, -4) for _ in range(3))
    assert moved.shape == canonical.box(target).shape
    assert np.allclose(moved[inner], expected[inner], atol=0.02)


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).random(canonical.box(2.0).shape).astype(np.float32)


def _atlas(picture, centre=(0, 0, 0), mode=(0, 0, 0)):
    shape = canonical.box(shapemodel.FIELD_SPACING).shape
    fields = [np.broadcast_to(np.reshape(v, (3, 1, 1, 1)), (3, *shape)).astype(np.float32) for v in (centre, mode)]
    return Atlas(picture, picture - 0.5, fields[0], fields[1][None])


def test_an_atlas_that_does_not_bend_shows_its_picture(picture):
    atlas = _atlas(picture, mode=(9, 9, 9))
    drawn, depth = atlas.bend(atlas.field(np.zeros(1)))
    assert drawn.shape == (96, 88, 88) and drawn.dtype == np.float32 and np.allclose(drawn, picture, atol=1e-4)
    assert np.allclose(depth, picture - 0.5, atol=1e-4)


def test_an_atlas_bends_by_millimetres_with_the_code(picture):
    atlas = _atlas(picture, centre=(2, 0, 0), mode=(0, -2, 4))
    field = atlas.field(np.ones(1))
    assert np.allclose(field, np.reshape([2, -2, 4], (3, 1, 1, 1)))
    drawn, _ = atlas.bend(field)  # 1, -1 and 2 voxels
    assert np.allclose(drawn[:-1, 1:, :-2], picture[1:, :-1, 2:], atol=1e-3)
