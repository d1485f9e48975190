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


def _continued(scan, painted, hidden, view=None, under=1.0):
    view = np.ones(SHAPE, bool) if view is None else view
    visible = np.where(view & ~hidden, scan, 0).astype(np.float32)
    under = np.broadcast_to(np.float32(under), SHAPE)
    return painter._continued(painted.astype(np.float32), visible, hidden, view, under)


def test_tissue_that_is_brighter_in_the_scan_goes_on_so_for_some_millimetres(front):
    profile = _continued(np.full(SHAPE, 0.9), np.full(SHAPE, 0.5), front)[96, :, 88]
    assert profile[100] > 0.75 and np.allclose(profile[110:], 0.5, atol=1e-3)
    assert (np.diff(profile[100:]) <= 1e-4).all()  # and fades


def test_no_holes_come_into_the_skin_where_the_scans_lies_deeper(front):
    """Nor does skin come into the air."""
    depth = 90.0 - np.arange(SHAPE[2], dtype=np.float32)[None, None, :]
    scan, painted = (np.broadcast_to((depth > under) * 1.0, SHAPE) for under in (2.0, 0.0))
    continued = _continued(scan, painted, front, under=depth > 1.0)
    skin = np.broadcast_to(depth < 1.0, SHAPE) & front
    assert np.array_equal(continued[skin], painted[skin].astype(np.float32))


def test_a_painting_that_fits_stays_as_it_is(front):
    scan = np.random.default_rng(0).random(SHAPE)
    assert np.abs(_continued(scan, scan, front) - scan).max() < 1e-5


def test_what_lies_outside_the_field_of_view_has_no_say(front):
    view = np.zeros(SHAPE, bool)
    view[:, 120:] = True  # nothing of what is seen is in view
    painted = np.full(SHAPE, 0.5)
    assert np.array_equal(_continued(np.full(SHAPE, 0.9), painted, front, view), painted.astype(np.float32))
