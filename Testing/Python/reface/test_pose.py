"""Where a volume was scanned, what its end cuts of a brain, and how far two poses lie apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.head import canonical, headcheck, pose
from RefaceLib.head.fieldofview import field_of_view
from RefaceLib.head.headparser import HeadParse
from RefaceLib.volume.geometry import Grid

BOX = canonical.head_box(2.0)


def mean_head() -> HeadParse:
    """A parse with the mean brain, in the canonical pose."""
    i, j, k = np.indices(BOX.shape)
    x, y, z = (BOX.affine[a, a] * n + BOX.affine[a, 3] for a, n in enumerate((i, j, k)))
    brain = canonical.in_brain(x, y, z)
    points = np.concatenate([canonical.FACE_POINTS, canonical.BRAIN_POINTS])
    likelihood = np.where(brain, 0.9, 0.0).astype(np.float32)
    return HeadParse(BOX, brain, brain, points, np.ones(len(points)), likelihood, brain.astype(np.float32))


def ending(axis: int, mm: float, *, low: bool) -> Grid:
    """The part of the box above (`low`) or below a canonical coordinate."""
    plane = round((mm - BOX.affine[axis, 3]) / 2.0)
    affine, shape = BOX.affine.copy(), list(BOX.shape)
    if low:
        affine[axis, 3] += 2.0 * plane
    shape[axis] = shape[axis] - plane if low else plane
    return Grid(tuple(shape), affine)


def test_the_mean_brain_has_the_volume_of_one():
    assert mean_head().brain_ml() == pytest.approx(1317, rel=0.05)  # the mean of 70 heads in this frame


@pytest.mark.parametrize("axis, mm, low, least", [(0, -40, True, 60), (1, -40, True, 60), (2, -20, True, 60)])
def test_a_brain_that_is_cut_open_is_refused(axis, mm, low, least):
    view = ending(axis, mm, low=low)
    assert pose.cut_cm2(mean_head(), view) > least
    with pytest.raises(HeadNotFoundError, match="cuts through the brain"):
        headcheck.inspect_view(np.random.default_rng(0).random(view.shape), view.affine, mean_head())


def test_a_brain_that_is_cut_far_above_the_face_is_not_refused():
    view = ending(2, 50, low=False)
    assert pose.cut_cm2(mean_head(), view) > 50
    assert pose.cut_cm2(mean_head(), view, below=45.0) == 0
    headcheck.inspect_view(np.random.default_rng(0).random(view.shape), view.affine, mean_head())


def test_brain_is_protected_beside_the_end_of_the_field_of_view_and_nowhere_else():
    parse = mean_head()
    blind = HeadParse(
        BOX, parse.brain, parse.head, parse.points, parse.certainty, np.zeros_like(parse.likelihood), parse.picture
    )
    assert not pose._with_cut_brain(blind, BOX).likelihood.any()
    guarded = pose._with_cut_brain(blind, ending(0, -60, low=True)).likelihood > 0
    x = BOX.affine[0, 0] * np.flatnonzero(guarded.any(axis=(1, 2))) + BOX.affine[0, 3]
    assert -74 <= x.min() <= -66
    assert -50 <= x.max() <= -40


def test_blank_planes_before_a_cut_are_no_part_of_the_field_of_view():
    values = np.zeros((60, 60, 60), np.float32)
    values[20:, 10:50, 10:50] = np.random.default_rng(1).random((40, 40, 40)) + 1.0
    view = field_of_view(values, np.diag([2.0, 2.0, 2.0, 1.0]))
    assert view.shape == (40, 40, 40)
    assert np.array_equal(view.affine[:3, 3], [40.0, 20.0, 20.0])


def test_blank_planes_before_a_whole_head_are_part_of_it():
    i, j, k = np.indices((60, 60, 60)) - 30
    ball = np.where(i**2 + j**2 + k**2 < 20**2, 100.0 + i, 0.0).astype(np.float32)
    assert field_of_view(ball, np.diag([2.0, 2.0, 2.0, 1.0])).shape == ball.shape


@pytest.mark.parametrize("placed, said", [(True, "says wrongly"), (False, "does not say")])
def test_a_header_that_is_wrong_is_not_called_silent(placed, said):
    turned = replace(mean_head(), turn=np.diag([-1.0, -1.0, 1.0]))
    assert f"The header {said} how the head lies" in headcheck.inspect_pose(turned, placed=placed)[0]
    assert headcheck.inspect_pose(mean_head(), placed=placed) == []
