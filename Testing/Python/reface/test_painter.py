"""What is painted goes on from the scan, and knows nothing of what the mask hides."""

from __future__ import annotations

import numpy as np
import pytest

from RefaceLib.face import conditioning, painter, shapemodel, skindistance
from RefaceLib.face.fitted import FittedConstants, neutral
from RefaceLib.face.weights import read_registry
from RefaceLib.head import canonical

SHAPE = canonical.box(1.0).shape
FITTED = FittedConstants.of(read_registry()["fitted"])  # of the shipped weights
NEUTRAL = FittedConstants.of(neutral())


@pytest.fixture(scope="module")
def front():
    """What is hidden: all in front of the 100th plane."""
    hidden = np.zeros(SHAPE, bool)
    hidden[:, 100:] = True
    return hidden


def _with_remainder(scan, painted, hidden, view=None, under=1.0):
    view = np.ones(SHAPE, bool) if view is None else view
    visible = np.where(view & ~hidden, scan, 0).astype(np.float32)
    under = np.broadcast_to(np.float32(under), SHAPE)
    return painter._add_remainder(painted.astype(np.float32), visible, view & ~hidden, under)


def test_tissue_that_is_brighter_in_the_scan_goes_on_so_for_some_millimetres(front):
    profile = _with_remainder(np.full(SHAPE, 0.9), np.full(SHAPE, 0.5), front)[96, :, 88]
    assert profile[100] > 0.75 and np.allclose(profile[110:], 0.5, atol=1e-3)
    assert (np.diff(profile[100:]) <= 1e-4).all()  # and fades


def test_no_holes_come_into_the_skin_where_the_scans_lies_deeper(front):
    """Nor does skin come into the air."""
    depth = 90.0 - np.arange(SHAPE[2], dtype=np.float32)[None, None, :]
    scan, painted = (np.broadcast_to((depth > under) * 1.0, SHAPE) for under in (2.0, 0.0))
    continued = _with_remainder(scan, painted, front, under=depth > 1.0)
    skin = np.broadcast_to(depth < 1.0, SHAPE) & front
    assert np.array_equal(continued[skin], painted[skin].astype(np.float32))


def test_a_painting_that_fits_stays_as_it_is(front):
    scan = np.random.default_rng(0).random(SHAPE)
    assert np.abs(_with_remainder(scan, scan, front) - scan).max() < 1e-5


def test_what_lies_outside_the_field_of_view_has_no_say(front):
    view = np.zeros(SHAPE, bool)
    view[:, 120:] = True  # nothing of what is seen is in view
    painted = np.full(SHAPE, 0.5)
    assert np.array_equal(_with_remainder(np.full(SHAPE, 0.9), painted, front, view), painted.astype(np.float32))


@pytest.fixture(scope="module")
def conditioned():
    """The conditioning of a head of one flat skin with a cavity deep in it and a nostril, and its atlas."""
    grid = canonical.box(2.0)
    y = np.indices(grid.shape)[1] * 2.0
    head = y < 120.0
    head[40:56, 30:38, 40:56] = False  # its wall is 44 mm under the skin
    head[10:12, 54:60, 40:42] = False  # a nostril, four millimetres wide
    depth = skindistance.signed_distance(head, 2.0)
    coarse = canonical.box(shapemodel.FIELD_SPACING).shape
    atlas = shapemodel.Atlas(
        head.astype(np.float32), depth, np.zeros((3, *coarse), np.float32), np.zeros((1, 3, *coarse), np.float32)
    )
    code = np.zeros(1, np.float32)
    field = atlas.field(code)
    picture, shape = atlas.warp(field)
    return conditioning.Conditioning(code, shape, picture, field), atlas


def test_a_cavity_deep_in_a_head_is_no_edge_of_its_skin(conditioned):
    found, atlas = conditioned
    shape = painter._under_the_skin(found, atlas)
    assert found.shape[48, 34, 48] < -4 and shape[40:56, 30:38, 40:56].min() > 10


def test_the_skin_and_nostrils_are_edges_as_before(conditioned):
    found, atlas = conditioned
    shape = painter._under_the_skin(found, atlas)
    near_air = np.s_[:, 59:]
    np.testing.assert_allclose(shape[near_air], found.shape[near_air], atol=1e-4)
    assert (shape[10:12, 58:60, 40:42] < 0).all()


def test_contrast_comes_to_what_lies_under_the_skin_alone():
    rng = np.random.default_rng(0)
    picture = rng.uniform(0.3, 0.7, SHAPE).astype(np.float32)
    shown = np.clip(rng.normal(1.0, 0.2, 20_000), 0.2, 2).astype(np.float32)
    small = tuple(n // 2 for n in SHAPE)
    shape, painted = np.full(small, 16.0), np.ones(small, bool)
    deep = np.zeros(SHAPE, np.float32)
    deep[..., :88] = 1.0
    matched = painter._match_contrast(picture, shape, deep, painted, shown, FITTED)
    assert np.array_equal(matched[..., 88:], picture[..., 88:])
    assert np.median(matched[..., :88]) > np.median(picture) + 0.2


def test_a_correction_of_contrast_makes_no_line_stand_out_more():
    """A line of two millimetres in even tissue keeps its height, where wide tissue is pulled apart."""
    rng = np.random.default_rng(0)
    picture = np.full(SHAPE, 0.4, np.float32)
    picture[..., 88:] = 0.6
    picture[:, 60:62, :88] = 0.6
    shown = np.clip(rng.choice([0.3, 1.1], 20_000) + rng.normal(0, 0.02, 20_000), 0.2, 2).astype(np.float32)
    small = tuple(n // 2 for n in SHAPE)
    matched = painter._match_contrast(
        picture, np.full(small, 16.0), np.ones(SHAPE, np.float32), np.ones(small, bool), shown, FITTED
    )
    wide = matched[50, 100, 150] - matched[50, 100, 20]
    line = matched[50, 60, 20] - matched[50, 100, 20]
    assert wide > 0.4 and line < 0.75 * wide


def _depth():
    """Depth (mm) under a flat skin, the same all along y."""
    return np.broadcast_to(90.0 - np.arange(SHAPE[2], dtype=np.float32), SHAPE)


def test_a_skin_has_no_pits_and_no_mist_before_it(front):
    depth = _depth()
    skin = (depth > 0.5) & (depth < 3.0)
    nothing = np.zeros(SHAPE, bool)
    picture = np.where(skin, 0.1, 0.3).astype(np.float32)
    painted = painter._with_skin(picture, depth, picture, front, nothing, FITTED)
    assert painted[skin].min() >= 0.39  # a thin lid that was painted dim
    assert (painted[depth < -3] == 0).all()
    np.testing.assert_allclose(painted[depth > 5], 0.3)


def test_skin_that_no_curve_was_fitted_to_is_painted_as_the_networks_paint_it(front):
    depth = _depth()
    picture = np.full(SHAPE, 0.5, np.float32)
    sharp, plain = (
        painter._with_skin(picture, depth, picture, front, np.zeros(SHAPE, bool), fitted)
        for fitted in (FITTED, NEUTRAL)
    )
    assert np.array_equal(plain, picture) and not np.array_equal(sharp, picture)


def _hidden_at(place):
    """A block of the face ("face") or of the ears' region ("ears") that is hidden."""
    low = int({"face": 40.0, "ears": -30.0}[place] - canonical.BOX_CORNER[1])
    hidden = np.zeros(SHAPE, bool)
    hidden[60:130, low : low + 30] = True
    return hidden


@pytest.mark.parametrize("place", ["face", "ears"])
def test_skin_and_fat_become_as_bright_as_the_scans_at_every_depth(place):
    depth, hidden = _depth(), _hidden_at(place)
    scan = np.interp(depth, (0, 1, 3, 5, 8), (0.5, 0.8, 1.3, 0.9, 0.6)).astype(np.float32)
    painted = np.where(depth > 0, 0.6, 0).astype(np.float32)
    matched = painter._match_skin(painted, depth, np.where(hidden, 0, scan), hidden, np.ones(SHAPE, bool))
    column = matched[95, hidden[95].any(axis=1).argmax() + 15]
    for under in (1, 2, 3, 4):
        assert column[90 - under] == pytest.approx(scan[0, 0, 90 - under], rel=0.08)
    assert (matched[depth <= 0] == 0).all()


def test_skin_that_fits_stays_as_it_is():
    depth, hidden = _depth(), _hidden_at("face")
    scan = np.interp(depth, (0, 1, 3, 8), (0.3, 0.5, 0.7, 0.6)).astype(np.float32)
    matched = painter._match_skin(scan, depth, np.where(hidden, 0, scan), hidden, np.ones(SHAPE, bool))
    np.testing.assert_allclose(matched, scan, rtol=1e-3)


@pytest.mark.parametrize("place", ["face", "ears"])
def test_where_too_little_skin_is_to_be_seen_its_brightness_stays(place):
    depth, hidden = _depth(), _hidden_at(place)
    painted = np.where(depth > 0, 0.6, 0).astype(np.float32)
    view = hidden.copy()
    view[95, :, 85:90] = True
    matched = painter._match_skin(painted, depth, np.full(SHAPE, 1.3, np.float32) * ~hidden, hidden, view)
    assert np.array_equal(matched, painted)
