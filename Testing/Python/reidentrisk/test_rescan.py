"""Simulated further scans of a head."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from helpers.phantom import make_phantom
from RefaceLib.volume import geometry
from ReidentRiskLib.runs import rescan
from ReidentRiskLib.runs.rescan import scan_again


@pytest.fixture(scope="module")
def phantom():
    return make_phantom((48, 56, 56), (4.0, 4.0, 4.0), "LPS")


def centre_of_mass(made):
    values = made.values()
    index = np.indices(values.shape).reshape(3, -1).T[values.ravel() > 0.3 * values.max()]
    return geometry.apply_affine(made.affine, index).mean(axis=0)


def test_a_further_scan_shows_the_same_head_in_another_place(phantom):
    again = scan_again(phantom, np.random.default_rng(1))
    assert again.stored.dtype == np.float32 and np.isfinite(again.stored).all()
    moved = np.linalg.norm(centre_of_mass(again) - centre_of_mass(phantom))
    assert 0.5 < moved < 20
    sizes = geometry.voxel_sizes(again.affine) / 4.0
    assert (abs(sizes - 1) <= 0.1).all() and not np.allclose(sizes, 1, atol=1e-3)
    tissue = [np.percentile(each.values(), 90) for each in (phantom, again)]
    assert tissue[1] == pytest.approx(tissue[0], rel=0.2)


def test_a_further_scan_covers_what_the_scan_covers(phantom):
    again = scan_again(phantom, np.random.default_rng(2))
    extent = [np.array(each.stored.shape) * geometry.voxel_sizes(each.affine) for each in (phantom, again)]
    assert (extent[1] >= extent[0] - 1e-6).all() and (extent[1] < extent[0] + 5).all()
    middles = [geometry.apply_affine(each.affine, (np.array(each.stored.shape) - 1) / 2) for each in (phantom, again)]
    np.testing.assert_allclose(*middles, atol=1e-6)


def test_the_move_is_that_of_a_rigid_head_within_its_limits():
    for seed in range(20):
        move = rescan._move(np.random.default_rng(seed), np.array([0.0, 10.0, -20.0]))
        np.testing.assert_allclose(move[:3, :3] @ move[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(move[:3, :3]) == pytest.approx(1.0)
        assert np.degrees(np.arccos((np.trace(move[:3, :3]) - 1) / 2)) < 10 * np.sqrt(3) + 0.5
        assert (abs(geometry.apply_affine(move, np.array([0.0, 10.0, -20.0])) - [0, 10, -20]) <= 6).all()


@pytest.fixture
def still(monkeypatch):
    """No move and no other grid."""
    monkeypatch.setattr(rescan, "_move", lambda random, middle: np.eye(4))
    monkeypatch.setattr(rescan, "_SPACING", 0.0)


def test_without_a_move_bias_and_noise_the_scan_is_the_same(phantom, monkeypatch, still):
    monkeypatch.setattr(rescan, "_BIAS", 0.0)
    monkeypatch.setattr(rescan, "_NOISE", (0.0, 0.0))
    again = scan_again(phantom, np.random.default_rng(0))
    np.testing.assert_allclose(again.affine, phantom.affine)
    air = np.percentile(phantom.values(), 1)
    np.testing.assert_allclose(again.stored, air + abs(phantom.values() - air), atol=0.5)


def test_the_head_goes_where_it_is_moved(phantom, monkeypatch, still):
    there = np.eye(4)
    there[:3, 3] = 8.0, -4.0, 12.0
    monkeypatch.setattr(rescan, "_move", lambda random, middle: there)
    monkeypatch.setattr(rescan, "_BIAS", 0.0)
    again = scan_again(phantom, np.random.default_rng(0))
    np.testing.assert_allclose(again.affine, phantom.affine)
    np.testing.assert_allclose(again.stored[5:-5, 5:-5, 8:-8], phantom.stored[7:-3, 4:-6, 5:-11], atol=150)
    np.testing.assert_allclose(centre_of_mass(again) - centre_of_mass(phantom), there[:3, 3], atol=1.0)


def flat(phantom):
    """600 in the head, 0 around it."""
    return dataclasses.replace(phantom, stored=np.where(phantom.stored > 100, 600, 0).astype(np.int16))


def test_the_bias_is_smooth_and_as_strong_as_said(phantom, monkeypatch, still):
    monkeypatch.setattr(rescan, "_NOISE", (0.0, 0.0))
    image = flat(phantom)
    again = scan_again(image, np.random.default_rng(4)).stored
    change = np.log(again[image.stored > 0] / 600)
    assert 0.02 < change.std() and 0.05 < abs(change).max() < 0.151
    steps = np.diff(rescan._bias((40, 40, 40), np.random.default_rng(0)), axis=0)
    assert 0 < abs(steps).max() < 0.02


def test_the_noise_is_as_strong_as_said(phantom, monkeypatch, still):
    monkeypatch.setattr(rescan, "_BIAS", 0.0)
    image = flat(phantom)
    inside = image.stored > 0
    levels = [scan_again(image, np.random.default_rng(seed)).stored[inside].std() / 600 for seed in range(5)]
    assert 0.009 < min(levels) < max(levels) < 0.026 and max(levels) > 1.2 * min(levels)
    air = scan_again(image, np.random.default_rng(0)).stored[~inside]
    assert air.min() >= 0 and air.mean() == pytest.approx(1.25 * levels[0] * 600, rel=0.1)  # Rayleigh


def test_further_scans_of_a_number_are_always_the_same(phantom):
    scans = [scan_again(phantom, np.random.default_rng([seed, 5])) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(scans[0].stored, scans[1].stored)
    assert scans[0].stored.shape != scans[2].stored.shape or not np.array_equal(scans[0].stored, scans[2].stored)
