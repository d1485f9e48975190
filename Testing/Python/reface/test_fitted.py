"""Constants that belong to one set of weights: read from its registry, neutral for weights without any."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from RefaceLib.face.fitted import FITTED_TO, FittedConstants, neutral, points_record
from RefaceLib.face.plausibility import Plausibility
from RefaceLib.face.weights import NAMES, read_registry
from RefaceLib.head import canonical
from RefaceLib.head.headparser import brain_frame
from RefaceLib.volume import geometry


@pytest.fixture
def section():
    """The section of the shipped weights, which a test may change."""
    return copy.deepcopy(read_registry()["fitted"])


def test_the_registry_has_every_constant_and_no_other(section):
    assert set(section) == set(FITTED_TO) == set(neutral())
    assert {name for files in FITTED_TO.values() for name in files} == set(NAMES)


def test_the_shipped_constants_are_read_in_the_precision_in_which_they_were_fitted(section):
    found = FittedConstants.of(section)
    assert found.skin_depths.tolist() == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert found.skin_factors.tolist() == [0.0, 0.03, 0.36, 1.05, 1.18, 1.06, 1.02, 1.0]
    assert found.percentiles.tolist() == [10, 25, 50, 75, 90, 97] and found.offsets.dtype == np.float32
    assert np.array_equal(found.offsets, np.array([-0.03, 0.01, 0.03, 0.06, 0.1, 0.1], np.float32))
    assert points_record(found.defaced_brain_points) == section["defaced_brain_points"]


def test_where_a_defaced_brain_is_seen_is_nearly_where_brains_are(section):
    seen, there = FittedConstants.of(section).defaced_brain_points, canonical.BRAIN_POINTS
    assert seen.shape == there.shape and 1 < np.linalg.norm(seen - there, axis=1).max() < 3
    assert np.allclose(seen[:2, 0].sum(), 0)  # left and right alike
    points = np.concatenate([canonical.FACE_POINTS, seen])
    frame = brain_frame(points, np.ones(len(points)), seen)
    assert np.allclose(frame, np.eye(4), atol=1e-6)
    nose = geometry.apply_affine(brain_frame(points, np.ones(len(points))), canonical.FACE_POINTS[2])
    assert 0.5 < canonical.FACE_POINTS[2, 1] - nose[1] < 2  # taken for those of a whole head, the face lies too deep


def test_neutral_constants_correct_nothing():
    found = FittedConstants.of(neutral())
    assert (np.interp([-9.0, 0.0, 9.0], found.skin_depths, found.skin_factors) == 1).all() and not found.offsets.any()
    assert np.array_equal(found.defaced_brain_points, canonical.BRAIN_POINTS)
    slab = Plausibility(unexplained=20.0, peaks=20.0, unusual=60.0, strain=3.0, horns=1.0)
    assert found.law.passes(slab, slab) and not FittedConstants.of(read_registry()["fitted"]).law.passes(slab, slab)


@pytest.mark.parametrize("name", ["unexplained", "horns", "limit", "usual"])
@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan"), float("inf"), None])
def test_a_number_of_true_faces_that_is_not_positive_is_refused(name, wrong, section):
    section["true_faces"][name] = wrong
    with pytest.raises(ValueError):
        FittedConstants.of(section)


@pytest.mark.parametrize("name", FITTED_TO)
@pytest.mark.parametrize("wrong", [None, {}, [1, 2], {"x": 1.0}, {"0": "much"}, {"0": None}, {"1": 1.0, "0": 1.0}])
def test_a_section_with_a_constant_that_is_none_is_refused(name, wrong, section):
    section[name] = wrong
    with pytest.raises(ValueError):
        FittedConstants.of(section)


@pytest.mark.parametrize("wrong", [None, {}, [], "fitted"])
def test_what_is_no_section_is_refused(wrong):
    with pytest.raises(ValueError):
        FittedConstants.of(wrong)


@pytest.mark.parametrize("place", [[0.0, 1.0], [0.0, 1.0, float("nan")], 3.0])
def test_a_landmark_that_is_no_point_is_refused(place, section):
    section["defaced_brain_points"]["brain_stem"] = place
    with pytest.raises(ValueError):
        FittedConstants.of(section)
