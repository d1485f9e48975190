"""A painted face becomes as sharp as the scan around it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from RefaceLib.face import texture
from RefaceLib.face.intensity import IntensityScale
from RefaceLib.face.texture import Surroundings
from RefaceLib.volume.air import Air

SCALE = IntensityScale(0.0, 100.0)


def _ball(blur=0.0, noise=0.0):
    """A ball of tissue with an even pattern of fat (of 2 mm voxels), as sharp as ``blur`` (voxels) leaves it."""
    x, y, z = np.indices((60, 60, 60)) - 29.5
    ball = (x**2 + y**2 + z**2 < 24**2) * (50.0 + 25.0 * np.sign(np.sin(x / 4) * np.sin(y / 4) * np.sin(z / 4)))
    ball = ndimage.gaussian_filter(ball, np.hypot(0.5, blur)) if blur else ndimage.gaussian_filter(ball, 0.5)
    return (ball + noise * np.random.default_rng(0).standard_normal(ball.shape)).astype(np.float32)


def _sharpened(painted, noise=0.0):
    """The front of the ball as it was painted, and as it is sharpened: two volumes, and the mask."""
    scan = _ball(noise=noise)
    mask = np.zeros(scan.shape, bool)
    mask[:, 30:] = True
    brain = ndimage.binary_erosion(_ball() > 20, iterations=14) & ~mask
    values = np.where(mask, 0, scan).astype(np.float32)
    around = Surroundings(values, mask, (_ball() > 20) & ~mask, brain, Air())
    before, after = values.copy(), values.copy()
    before[mask] = painted[mask]
    after[mask] = texture.sharpened(painted[mask], around, SCALE)
    return before, after, mask


def _sharpness(values, where):
    detail = values - ndimage.gaussian_filter(values, 0.7)
    return np.sqrt((detail[where] ** 2).mean())


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_a_soft_face_becomes_as_sharp_as_the_scan_less_its_noise(noise):
    before, after, mask = _sharpened(_ball(0.5), noise)
    inside = ndimage.binary_erosion(mask, iterations=2)
    true = _sharpness(_ball(), inside)
    assert _sharpness(before, inside) < 0.75 * true
    assert _sharpness(after, inside) == pytest.approx(true, rel=0.15)
    assert np.array_equal(after[~mask], before[~mask]) and after[mask].min() >= 0


def _striped():
    """The ball as a network may paint it: soft, with a texture some voxels wide that the scan does not have."""
    stripes = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((60, 60, 60)), 1.0)
    return np.clip(_ball(0.7) + 90.0 * stripes * (_ball() > 20), 0, None).astype(np.float32)


def test_every_scale_of_detail_becomes_as_strong_as_in_the_scan():
    """Bringing the finest detail back must not make what is coarser stronger than it should be."""
    before, after, mask = _sharpened(_striped())
    edges = ndimage.binary_dilation(_ball() > 25) & ~ndimage.binary_erosion(_ball() > 25)
    inside = edges & ndimage.binary_erosion(mask, iterations=2)
    true, soft, sharp = (texture._strength(texture._details(a), inside) for a in (_ball(), before, after))
    assert soft[0] < 0.6 * true[0]
    assert sharp == pytest.approx(true, rel=0.25)


def test_a_face_that_is_sharp_is_left_as_it_is():
    before, after, mask = _sharpened(_ball())
    assert np.abs(after - before).max() < 1.5


def test_a_blur_is_sharpened_without_rings():
    """What is lost is lost: no voxel becomes much brighter or darker than those about it were."""
    soft = _ball(1.5)
    before, after, mask = _sharpened(soft)
    inside = ndimage.binary_erosion(mask, iterations=4)
    low, high = ndimage.minimum_filter(before, 5), ndimage.maximum_filter(before, 5)
    more = 0.25 * (high - low)
    assert (after >= low - more)[inside].all() and (after <= high + more)[inside].all()
    assert _sharpness(after, inside) > 1.5 * _sharpness(before, inside)


@pytest.mark.parametrize(
    ("extreme", "truth"), [(np.minimum, ndimage.minimum_filter), (np.maximum, ndimage.maximum_filter)]
)
def test_the_extremes_of_neighbours_are_those_of_scipy(extreme, truth):
    a = np.random.default_rng(0).random((5, 6, 7)).astype(np.float32)
    assert np.array_equal(texture._of_neighbours(a, extreme), truth(a, 3))


@pytest.mark.parametrize("shape", [(21, 9, 8), (3, 20, 2)])
def test_detail_does_not_depend_on_the_number_of_threads(shape, monkeypatch):
    a = np.random.default_rng(0).random(shape).astype(np.float32)
    monkeypatch.setattr(texture.os, "cpu_count", lambda: 1)
    alone = texture._details(a)
    monkeypatch.setattr(texture.os, "cpu_count", lambda: 4)
    assert all(np.array_equal(*pair) for pair in zip(alone, texture._details(a), strict=True))


def test_where_there_is_little_to_compare_with_nothing_is_sharpened():
    mask = np.zeros((20, 20, 20), bool)
    mask[8:12, 8:12, 8:12] = True
    around = Surroundings(np.zeros(mask.shape, np.float32), mask, np.zeros_like(mask), np.zeros_like(mask), Air())
    face = np.random.default_rng(0).random(int(mask.sum())).astype(np.float32)
    assert texture.sharpened(face, around, SCALE) is face
