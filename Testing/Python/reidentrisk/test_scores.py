"""Scores, on directions whose cosines are known."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.reidentrisk.faces import directions, head
from RefaceLib.common.errors import InputError
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKERS, DETECTED, score_of, similarity_matrix


def test_a_score_is_the_cosine_of_every_view_and_of_the_means():
    first, second = head("a"), head("b")
    score = score_of(first, second, ALIGNED)
    expected = [float(a @ b) for a, b in zip(first.aligned, second.aligned, strict=True)]
    np.testing.assert_allclose(score.per_view, expected, atol=1e-6)
    means = first.aligned.mean(axis=0), second.aligned.mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    assert score.mean_embedding == pytest.approx(cosine, abs=1e-6)
    assert score.mean_embedding != pytest.approx(np.mean(expected), abs=1e-3)  # it is not the mean of the cosines
    assert score.maximum == pytest.approx(max(expected), abs=1e-6)
    assert (score.acquired, score.views) == (6, 6)


def test_a_head_is_as_similar_to_itself_as_can_be():
    score = score_of(head("a"), head("a"), DETECTED)
    assert score.mean_embedding == pytest.approx(1.0)
    assert score.maximum <= 1.0


def test_views_without_a_face_count_for_the_detector_alone():
    whole, partly = head("a"), head("a", seed=1, missed=(0, 1, 2, 3))
    detected, aligned = (score_of(whole, partly, attacker) for attacker in (DETECTED, ALIGNED))
    assert (detected.acquired, detected.views, aligned.acquired) == (2, 6, 6)
    assert np.isnan(detected.per_view[:4]).all() and np.isfinite(detected.per_view[4:]).all()
    means = whole.aligned[4:].mean(axis=0), partly.aligned[4:].mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    assert detected.mean_embedding == pytest.approx(cosine, abs=1e-6)
    assert detected.maximum == pytest.approx(np.nanmax(detected.per_view))


def test_where_no_face_was_found_there_is_no_score():
    score = score_of(head("a"), head("a", missed=range(6)), DETECTED)
    assert score.acquired == 0
    assert np.isnan(score.mean_embedding) and np.isnan(score.maximum)


def test_faces_found_in_different_views_only_are_not_compared():
    score = score_of(head("a", missed=(0, 1, 2)), head("a", missed=(3, 4, 5)), DETECTED)
    assert score.acquired == 0 and np.isnan(score.mean_embedding)


def test_the_mean_embeddings_are_over_the_views_that_both_have():
    first, second = head("a", missed=(0, 1)), head("a", seed=1, missed=(2, 3))
    means = first.aligned[4:].mean(axis=0), second.aligned[4:].mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    assert score_of(first, second, DETECTED).mean_embedding == pytest.approx(cosine, abs=1e-6)


def test_a_photograph_is_compared_with_every_view():
    person = head("a")
    photo = head("p", centre=person.aligned[2], spread=0.0, views=1, view_set="photo")
    score = score_of(person, photo, ALIGNED)
    np.testing.assert_allclose(score.per_view, person.aligned @ person.aligned[2], atol=1e-6)
    assert score.maximum == pytest.approx(1.0, abs=1e-6) and score.views == 6
    assert score.mean_embedding == pytest.approx(score_of(photo, person, ALIGNED).mean_embedding)


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_the_matrix_holds_what_two_heads_score(attacker):
    gallery = [head(name, missed=missed) for name, missed in (("a", ()), ("b", (0,)), ("c", range(6)))]
    probes = [head(name, seed=3, missed=missed) for name, missed in (("a", (1, 2)), ("d", ()))]
    matrix = similarity_matrix(gallery, probes, attacker)
    assert matrix.shape == (2, 3)
    for row, probe in enumerate(probes):
        for column, reference in enumerate(gallery):
            single = score_of(reference, probe, attacker).mean_embedding
            assert matrix[row, column] == pytest.approx(single, nan_ok=True)
    assert np.isnan(matrix).any() == (attacker == DETECTED)


@pytest.mark.parametrize("other", [{"model": "sface"}, {"view_set": "full"}])
def test_embeddings_of_different_kinds_are_not_compared(other):
    with pytest.raises(InputError, match="different"):
        score_of(head("a"), head("b", **other), ALIGNED)


def test_strangers_in_many_dimensions_score_about_nothing():
    faces = directions(np.random.default_rng(0), 2, 512)
    one, other = (head(name, centre=face, spread=0.1) for name, face in zip("ab", faces, strict=True))
    assert abs(score_of(one, other, ALIGNED).mean_embedding) < 0.2
