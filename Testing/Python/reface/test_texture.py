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
    around = Surroundings(values, mask, (_ball() > 20) & ~mask, brain, Air()).near(16)
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
    true, soft, sharp = (texture._strength(a, np.argwhere(inside)) for a in (_ball(), before, after))
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


def _details(a):
    """The detail of every scale, by scipy."""
    found = []
    for kernel in texture._KERNELS:
        smooth = a
        for axis in range(3):
            smooth = ndimage.correlate1d(smooth, kernel, axis=axis, mode="nearest")
        found.append(a - smooth)
        a = smooth
    return found


def test_the_strength_of_detail_is_the_mean_square_that_scipy_finds():
    a = np.random.default_rng(0).random((24, 19, 22)).astype(np.float32)
    voxels = np.random.default_rng(1).integers(5, np.array(a.shape) - 5, (200, 3))
    truth = [(detail[tuple(voxels.T)] ** 2).mean() for detail in _details(a)]
    assert texture._strength(a, voxels) == pytest.approx(truth, rel=1e-4)


def test_detail_is_scaled_where_asked_for_and_stays_within_the_range_of_the_neighbours(monkeypatch):
    monkeypatch.setattr(texture, "_BOX", 5)
    a = np.random.default_rng(0).random((24, 19, 22)).astype(np.float32)
    where, factors = np.zeros(a.shape, bool), (2.5, 0.5, 1.0, 3.0)
    where[5:-5, 5:-5, 5:-5] = np.random.default_rng(1).random((14, 9, 12)) > 0.6
    sharper = a + sum((factor - 1) * detail for factor, detail in zip(factors, _details(a), strict=True))
    sharper = np.clip(sharper, ndimage.minimum_filter(a, 3), ndimage.maximum_filter(a, 3))
    scaled = a.copy()
    texture._scale_details(scaled, where, np.array(factors))
    assert np.allclose(scaled[where], sharper[where], atol=1e-5)
    assert np.array_equal(scaled[~where], a[~where])


@pytest.mark.parametrize("noise", [3.0, 8.0])
def test_a_face_becomes_as_noisy_as_the_head(noise):
    scan, mask = _ball(1.0, noise), np.zeros((60, 60, 60), bool)
    mask[:, 30:] = True
    head = _ball() > 20
    around = Surroundings(np.where(mask, 0, scan), mask, head & ~mask, np.zeros_like(mask), Air(signed=True))
    noisy = texture.add_noise(_ball(1.0)[mask], around, SCALE, 1)
    inside = ndimage.binary_erosion(head, iterations=3)[mask]
    assert (noisy - _ball(1.0)[mask])[inside].std() == pytest.approx(noise, rel=0.15)
    assert np.array_equal(noisy, texture.add_noise(_ball(1.0)[mask], around, SCALE, 1))


def test_where_there_is_little_to_compare_with_nothing_is_sharpened():
    mask = np.zeros((20, 20, 20), bool)
    mask[8:12, 8:12, 8:12] = True
    around = Surroundings(np.zeros(mask.shape, np.float32), mask, np.zeros_like(mask), np.zeros_like(mask), Air())
    face = np.random.default_rng(0).random(int(mask.sum())).astype(np.float32)
    assert texture.sharpened(face, around, SCALE) is face
