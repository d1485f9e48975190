"""The contrast of a scan's tissue, carried over to what was painted."""

import numpy as np
import pytest

from RefaceLib import tone


@pytest.fixture
def painted():
    """Tissue as a network paints it: little contrast."""
    return np.random.default_rng(0).uniform(0.3, 0.7, 20_000).astype(np.float32)


@pytest.fixture
def shown():
    """The visible tissue of a scan whose muscle is dark and whose fat is bright."""
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0.55, 0.05, 15_000), rng.normal(1.0, 0.05, 5_000)])
    return np.clip(values, tone.TISSUE, 2).astype(np.float32)


def test_painted_tissue_gets_the_quantiles_of_the_scan(painted, shown):
    flat = 0.6 * shown + 0.2  # the same tissue in another contrast
    matched = tone.match(flat, flat, shown)
    quantiles = [10, 25, 50, 75, 90]
    expected = np.percentile(shown, quantiles) + tone._OFFSETS[:5]
    np.testing.assert_allclose(np.percentile(matched, quantiles), expected, atol=0.02)
    assert np.percentile(tone.match(painted, painted, shown), 95) > np.percentile(painted, 95) + 0.1


def test_brighter_stays_brighter_and_air_stays_air(painted, shown):
    ramp = np.linspace(0, 2, 500, dtype=np.float32)
    matched = tone.match(ramp, painted, shown)
    assert (np.diff(matched) >= 0).all()
    assert matched[ramp > tone._MUSCLE].min() >= tone._MUSCLE  # no thin wall opens
    np.testing.assert_allclose(matched[ramp <= tone.TISSUE], ramp[ramp <= tone.TISSUE], atol=1e-6)


def test_too_little_tissue_changes_nothing(painted, shown):
    np.testing.assert_array_equal(tone.match(painted, painted, shown[:100]), painted)
    np.testing.assert_array_equal(tone.match(painted, painted[:100], shown), painted)


def test_a_face_s_tissue_is_near_air_and_away_from_the_brain():
    head, brain = np.zeros((2, 40, 40, 40), bool)
    head[2:38, 2:38, 2:38] = True
    brain[16:, :, :] = head[16:, :, :]
    visible = head.astype(np.float32)
    found = tone.flesh(visible, np.ones_like(head), head, brain, 2.0)
    assert found[4, 20, 20] and not found[13:].any()  # within 6 mm of the brain
    assert not found[0].any()
    everywhere = np.pad(np.ones((58, 58, 58), bool), 1)
    whole = tone.flesh(everywhere.astype(np.float32), everywhere, everywhere, ~everywhere, 2.0)
    assert whole[5, 30, 30] and not whole[30, 30, 30]  # 58 mm from the air
    hidden = tone.flesh(visible, np.zeros_like(head), head, brain, 2.0)
    assert not hidden.any()
