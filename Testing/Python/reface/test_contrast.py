"""Painted tissue gets the contrast of the scan's tissue."""

import numpy as np
import pytest

from RefaceLib.face import contrast
from RefaceLib.face.fitted import FittedConstants
from RefaceLib.face.weights import read_registry

FITTED = FittedConstants.of(read_registry()["fitted"])  # of the shipped weights


def _match(picture, painted, shown):
    return contrast.match(picture, painted, shown, FITTED.percentiles, FITTED.offsets)


@pytest.fixture
def painted():
    """Tissue as a network paints it: little contrast."""
    return np.random.default_rng(0).uniform(0.3, 0.7, 20_000).astype(np.float32)


@pytest.fixture
def shown():
    """The visible tissue of a scan whose muscle is dark and whose fat is bright."""
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0.55, 0.08, 15_000), rng.normal(1.0, 0.08, 5_000)])
    return np.clip(values, contrast.TISSUE, 2).astype(np.float32)


def test_painted_tissue_gets_the_quantiles_of_the_scan(painted, shown):
    flat = 0.6 * shown + 0.2  # the same tissue in another contrast
    matched = _match(flat, flat, shown)
    quantiles = [10, 25, 50, 75, 90]
    expected = np.percentile(shown, quantiles) + FITTED.offsets[:5]
    np.testing.assert_allclose(np.percentile(matched, quantiles), expected, atol=0.02)
    assert np.percentile(_match(painted, painted, shown), 95) > np.percentile(painted, 95) + 0.1


def test_brighter_stays_brighter_and_bone_stays_dark(painted, shown):
    ramp = np.linspace(0, 2, 500, dtype=np.float32)
    matched = _match(ramp, painted, shown)
    assert (np.diff(matched) >= 0).all()
    assert matched[ramp > contrast._MUSCLE].min() >= contrast._MUSCLE  # no thin wall opens
    dark = ramp <= contrast.TISSUE
    assert matched[dark].min() >= contrast._DARKEST - 1e-6 and matched[dark].max() <= contrast.TISSUE + 1e-6


def test_too_little_tissue_changes_nothing(painted, shown):
    np.testing.assert_array_equal(_match(painted, painted, shown[:100]), painted)
    np.testing.assert_array_equal(_match(painted, painted[:100], shown), painted)


def test_what_is_dark_in_a_head_is_brighter_than_air(painted, shown):
    matched = _match(np.zeros(10, np.float32), painted, shown)
    np.testing.assert_allclose(matched, contrast._DARKEST)


def _flesh(visible, head, brain, hidden=None, view=None):
    hidden = np.indices(head.shape)[1] < 6 if hidden is None else hidden
    view = np.ones_like(head) if view is None else view
    return contrast.flesh(visible, hidden, view, head, brain, 2.0)


def test_a_face_s_tissue_is_near_air_and_near_the_face_and_away_from_the_brain():
    head, brain = np.zeros((2, 40, 40, 40), bool)
    head[2:38, 2:38, 2:38] = True
    brain[16:, :, :] = head[16:, :, :]
    visible = head.astype(np.float32)
    found = _flesh(visible, head, brain)
    assert found[4, 10, 20] and not found[13:].any()  # within 6 mm of the brain
    assert not found[0].any()
    assert not found[:, :6].any() and not found[:, 14:].any()  # hidden, and 16 mm from what is hidden
    everywhere = np.pad(np.ones((58, 58, 58), bool), 1)
    middle = np.zeros_like(everywhere)
    middle[30, 30, 30] = True
    whole = _flesh(everywhere.astype(np.float32), everywhere, ~everywhere, middle | (np.indices(middle.shape)[0] < 3))
    assert whole[5, 30, 30] and not whole[30, 30, 33]  # 58 mm from the air
    assert not _flesh(visible, head, brain, view=np.zeros_like(head)).any()
    assert not _flesh(visible, head, brain, hidden=np.ones_like(head)).any()
