"""The signed distance to the skin, and where it is known beside a hidden face."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from helpers.ballhead import ball_distance, front_mask, voxel_positions
from RefaceLib.face import skindistance


@pytest.fixture(scope="module")
def front():
    return front_mask()


def test_the_distance_is_positive_inside_and_clipped():
    distance = ball_distance(2.0)
    x, y, z = voxel_positions(2.0)
    radius = np.sqrt(x**2 + (y - 10) ** 2 + (z + 50) ** 2)
    near = (np.abs(radius - 70) < 14) & (y > -30)  # the box cuts the back of the ball
    assert np.abs(distance[near] - (70 - radius[near])).max() < 3.0
    assert distance.max() == skindistance.CLIP and distance.min() == -skindistance.CLIP


def test_a_distance_is_trusted_where_no_hidden_skin_can_be_nearer(front):
    sure, away = skindistance.trusted(ball_distance(2.0), front, 2.0)
    assert not (sure & front).any() and away[front].max() == 0
    bare, nosed = ball_distance(2.0), ball_distance(2.0, nose=25.0)
    assert np.array_equal(skindistance.trusted(nosed, front, 2.0)[0] & sure, sure & (np.abs(nosed) < away))
    assert np.allclose(bare[sure], nosed[sure], atol=1e-3)  # the nose changes nothing that is trusted


def test_dark_bone_at_a_cut_is_not_outside():
    """The cut took the skin away, and the head mask ends before the bone: what they enclose is head."""
    x, y, z = voxel_positions(2.0)
    radius = np.sqrt(x**2 + (y - 10) ** 2 + (z + 50) ** 2)
    hidden = y > 60
    bone = (radius < 60) & (y > 52) & ~hidden
    picture = np.where((radius < 70) & ~bone, 0.8, 0.0).astype(np.float32)
    head = ((radius < 70) & ~bone) | hidden
    found = skindistance.trim_to_skin(head, np.where(hidden, 1.0, picture), 2.0)
    assert found[bone].all() and found[hidden].all()
    assert not found[(radius > 74) & ~hidden].any()


@pytest.mark.parametrize(("spacing", "limit"), [(2.0, 6.0), (1.0, 9.5), (4.0, 500.0)])
def test_the_distance_to_what_is_near_is_scipys(spacing, limit):
    where = np.random.default_rng(0).random((30, 25, 20)) < 0.001
    expected = np.minimum(ndimage.distance_transform_edt(~where, sampling=spacing), limit)
    np.testing.assert_allclose(skindistance.distance_to(where, spacing, limit), expected, rtol=1e-6)


def test_what_is_nowhere_is_as_far_as_the_limit():
    assert (skindistance.distance_to(np.zeros((9, 9, 9), bool), 2.0, 7.0) == 7.0).all()
