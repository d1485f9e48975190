"""The plausibility of a drawn face, on a ball with a nose: what strains, bulges or changes its profile is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.ballhead import ball_depth, ball_distance, ball_model, bump_detail, front_mask, voxel_positions
from RefaceLib.face import conditioning, rasters, shapemodel
from RefaceLib.face.conditioning import VisibleHead
from RefaceLib.face.plausibility import Gauge, Law, Plausibility
from RefaceLib.face.seeds import SeededDraws
from RefaceLib.face.shapemodel import Atlas
from RefaceLib.head import canonical

LAW = Law(most=(4.3, 6.69, 13.5, 0.633, 0.103), limit=0.76, usual=0.6)
TRUE = Plausibility(unexplained=2.0, peaks=3.0, unusual=8.0, strain=0.25, horns=0.07, profile=(15.0, 5.0))


@pytest.fixture(scope="module")
def model():
    """The model of the ball, its mean without the steps of a raster."""
    return replace(ball_model(), mean=rasters.to_raster(ball_depth(70), 2.0, shapemodel.SPACING))


@pytest.fixture(scope="module")
def ball():
    """What a face is measured by: a ball that nothing warped."""
    mask = front_mask()
    return {
        "field": np.zeros((3, *mask.shape), np.float32),
        "drawn": ball_depth(70),
        "distance": ball_depth(70),
        "mask": mask,
        "view": np.ones_like(mask),
    }


def measure(model, field, drawn, **head):
    """The plausibility of what is ``drawn`` without, and strained by, a warp ``field``."""
    unmoved = np.zeros_like(field)
    gauge = Gauge(model, **head)
    return replace(gauge.measure(drawn, unmoved), strain=gauge._strain(field, drawn))


def test_a_head_that_is_the_models_mean_is_explained_and_has_no_strain(model, ball):
    found = measure(model, **ball)
    assert found.unexplained < 0.01 and found.unusual < 0.01 and found.strain == 0.0
    assert found.horns == pytest.approx(1 / 70, abs=0.01)


def test_a_skin_that_no_code_draws_is_unexplained(model, ball):
    x, _y, z = voxel_positions(2.0)
    stepped = ball["drawn"] + 6.0 * (np.sin(x / 8) * np.sin(z / 8) > 0)
    assert 2.0 < measure(model, **{**ball, "drawn": stepped}).unexplained < 6.0


def test_only_the_hidden_skin_counts(model, ball):
    """Behind the mask a head may look as it likes: it is its own."""
    other = np.where(ball["mask"], ball["drawn"], ball["drawn"] + 3.0 * np.sin(voxel_positions(2.0)[0] / 5))
    assert measure(model, **{**ball, "drawn": other}) == measure(model, **ball)


def test_strain_is_that_of_the_warp(model, ball):
    """A warp that stretches x by a fifth has the strain ln 1.2 everywhere."""
    field = ball["field"].copy()
    field[0] = 0.2 * voxel_positions(2.0)[0]
    assert measure(model, **{**ball, "field": field}).strain == pytest.approx(np.log(1.2), rel=1e-3)


def test_a_horn_at_a_temple_is_curved(model, ball):
    x, y, z = voxel_positions(2.0)
    centre = np.array([45.0, 10.0 + np.sqrt(70**2 - 45**2 - 40**2), -10.0])
    horn = 7.0 - np.sqrt(sum((a - c) ** 2 for a, c in zip((x, y, z), centre, strict=True)))
    found = measure(model, **{**ball, "drawn": np.maximum(ball["drawn"], horn).astype(np.float32)})
    assert found.horns > 4 * measure(model, **ball).horns


def test_the_profile_is_how_far_nose_and_lips_stand_out(model, ball):
    x, y, z = voxel_positions(2.0)
    radius = np.sqrt(x**2 + (z + 55) ** 2)
    face = np.where(np.abs(x) < 40, 70.0 - y, ball["drawn"])  # a flat face with a nose of 20 mm and lips of 5
    face = np.maximum(face, np.minimum(90.0 - y, 10.0 - radius))
    face = np.maximum(face, np.minimum(75.0 - y, 6.0 - np.abs(z + 85)))
    nose, lips = measure(model, **{**ball, "drawn": np.clip(face, -16, 16).astype(np.float32)}).profile
    assert nose == pytest.approx(15.0, abs=1.0) and lips == pytest.approx(5.0, abs=1.0)


def test_what_is_out_of_view_has_no_profile_and_is_no_fault(model, ball):
    air = np.full_like(ball["drawn"], -16.0)
    found = measure(model, **{**ball, "drawn": air, "distance": air})
    assert np.isnan(found.profile).all() and found.has_profile


@pytest.mark.parametrize("name", ["unexplained", "peaks", "unusual", "strain", "horns"])
def test_each_number_alone_can_make_a_face_implausible(name):
    assert LAW.passes(TRUE, TRUE)
    worse = replace(TRUE, **{name: 60 * getattr(TRUE, name)})
    assert LAW.score(worse) > LAW.score(TRUE) and not LAW.passes(worse, TRUE) and LAW.rank(TRUE) < LAW.rank(worse)


@pytest.mark.parametrize("profile", [(1.0, 5.0), (15.0, -4.0)])
def test_lips_beyond_the_nose_or_a_chin_beyond_the_lips_do_not_pass(profile):
    other = replace(TRUE, profile=profile)
    assert not LAW.passes(other, TRUE) and LAW.rank(TRUE) < LAW.rank(other)


def test_skin_about_the_mask_that_is_unusual_is_half_no_fault_of_the_face():
    scored = replace(TRUE, strain=1.9)
    unusual = replace(TRUE, strain=1.0)
    assert not LAW.passes(scored, TRUE) and LAW.passes(scored, unusual)


def test_the_limit_rises_with_the_attempts():
    scored = replace(TRUE, strain=1.9)
    assert [LAW.passes(scored, TRUE, attempt) for attempt in (0, 19)] == [False, True]


# ---- the draws of a seed ----


@pytest.fixture(scope="module")
def head(model, atlas):
    mask = front_mask()
    return VisibleHead.of(model, atlas, ball_distance(2.0), mask, np.ones_like(mask))


@pytest.fixture(scope="module")
def atlas():
    shape = canonical.box(shapemodel.FIELD_SPACING).shape
    modes = np.zeros((3, 3, *shape), np.float32)
    modes[0, 1] = -4.0
    depth = ball_depth(70)
    return Atlas((depth > 0).astype(np.float32), depth, np.zeros((3, *shape), np.float32), modes, bump_detail())


def _passing(monkeypatch, *, after):
    """Let the draws pass after so many failures, each less bad than those before it."""
    made = 0

    def rank(self, found):
        nonlocal made
        made += 1
        return False, -float(made)

    monkeypatch.setattr(Law, "passes", lambda self, found, likeliest, attempt: attempt >= after)
    monkeypatch.setattr(Law, "rank", rank)


def test_a_face_that_passes_is_the_first_draw(head, monkeypatch):
    _passing(monkeypatch, after=0)
    found = conditioning.draw_plausible(LAW, 8, head)
    code, field = conditioning.draw_face(head, SeededDraws(8))
    assert found.draws == 1 and found.plausible
    assert np.array_equal(found.code, code) and np.array_equal(found.field, field)


def test_a_face_that_fails_is_drawn_again(head, monkeypatch):
    _passing(monkeypatch, after=2)
    found = conditioning.draw_plausible(LAW, 8, head)
    assert found.draws == 3 and found.plausible
    assert not np.array_equal(found.code, conditioning.draw_face(head, SeededDraws(8))[0])
    again, _ = conditioning.draw_face(head, SeededDraws(8, 2), stretch=0.9)
    assert np.array_equal(found.code, again)


def test_a_face_is_drawn_apart_from_those_that_were_kept_in_its_block(head, monkeypatch):
    _passing(monkeypatch, after=1)
    found = conditioning.draw_plausible(LAW, 9, head)
    first = SeededDraws(8, 1)
    conditioning.draw_face(head, first, stretch=0.95)
    expected, _ = conditioning.draw_face(head, SeededDraws(9, 1, [first]), stretch=0.95)
    assert found.draws == 2 and np.array_equal(found.code, expected)
    assert not np.array_equal(expected, conditioning.draw_face(head, SeededDraws(9, 1), stretch=0.95)[0])


def test_the_best_of_all_draws_is_taken_where_none_passes(head, monkeypatch):
    monkeypatch.setattr(conditioning, "ATTEMPTS", 4)
    _passing(monkeypatch, after=99)
    found = conditioning.draw_plausible(LAW, 8, head)
    last, _ = conditioning.draw_face(head, SeededDraws(8, 3), stretch=0.85)
    assert found.draws == 4 and not found.plausible and np.array_equal(found.code, last)
