"""What is painted goes on from the scan, and knows nothing of what the mask hides."""

from __future__ import annotations

import numpy as np
import pytest

from RefaceLib import canonical, painter

SHAPE = canonical.box(1.0).shape


@pytest.fixture(scope="module")
def front():
    """What is hidden: all in front of the 100th plane."""
    hidden = np.zeros(SHAPE, bool)
    hidden[:, 100:] = True
    return hidden


def _continued(scan, painted, hidden, view=None):
    view = np.ones(SHAPE, bool) if view is None else view
    visible = np.where(view & ~hidden, scan, 0).astype(np.float32)
    return painter._continued(painted.astype(np.float32), visible, hidden, view)


def test_tissue_that_is_brighter_in_the_scan_goes_on_so_for_some_millimetres(front):
    profile = _continued(np.full(SHAPE, 0.9), np.full(SHAPE, 0.5), front)[96, :, 88]
    assert profile[100] > 0.75 and np.allclose(profile[110:], 0.5, atol=1e-3)
    assert (np.diff(profile[100:]) <= 1e-4).all()  # and fades


def test_skin_that_ends_elsewhere_than_the_painted_one_meets_it_at_the_edge(front):
    height = np.arange(SHAPE[2])[None, None, :]
    scan, painted = (np.broadcast_to((height < level) * 1.0, SHAPE) for level in (90, 88))
    continued = _continued(scan, painted, front)
    assert abs(float(continued[96, 100, 84:96].sum()) - 6) < 1.0  # a millimetre behind the edge: near the scan's
    assert np.allclose(continued[96, 112:, 84:96].sum(axis=1), 4, atol=1e-2)


def test_a_painting_that_fits_stays_as_it_is(front):
    scan = np.random.default_rng(0).random(SHAPE)
    assert np.abs(_continued(scan, scan, front) - scan).max() < 1e-5


def test_what_lies_outside_the_field_of_view_has_no_say(front):
    view = np.zeros(SHAPE, bool)
    view[:, 120:] = True  # nothing of what is seen is in view
    painted = np.full(SHAPE, 0.5)
    assert np.array_equal(_continued(np.full(SHAPE, 0.9), painted, front, view), painted.astype(np.float32))
