"""Probes looked up in a gallery, in cases whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.commandline import run_python
from helpers.reidentrisk.faces import VIEWS, directions, head
from RefaceLib.common.errors import InputError
from ReidentRiskLib.judge.identify import FEWEST_SUBJECTS, compare_views, identification_record, identify
from ReidentRiskLib.judge.scores import ALIGNED, DETECTED

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

COUNT = 20
NAMES = [f"s{number:02d}" for number in range(COUNT)]


def gallery(count=COUNT, **options):
    return [head(name, **options) for name in NAMES[:count]]


def probes(count=COUNT, seed=1, **options):
    """The same persons from other pictures."""
    return [(name, head(name, seed=seed, **options)) for name in NAMES[:count]]


# ---- known cases ----


def test_separated_faces_are_all_found():
    result = identify(gallery(), probes(), ALIGNED)
    assert (result.ranks == 1).all() and result.rank1.hits == result.rank1.of == COUNT
    assert (result.cmc == 1).all()
    assert (result.auc, result.eer) == (1.0, 0.0) and result.auc_interval == pytest.approx((1.0, 1.0))
    assert result.d_prime > 5
    assert result.failures == 0
    assert result.chance == 1 / COUNT
    assert [result.best(index) for index in range(COUNT)] == NAMES


def test_faces_that_have_nothing_to_do_with_their_persons_are_found_by_chance_only():
    faces = directions(np.random.default_rng(5), COUNT)
    others = [(name, head(name, centre=face)) for name, face in zip(NAMES, faces, strict=True)]
    result = identify(gallery(), others, ALIGNED)
    low, high = result.auc_interval
    assert low < 0.5 < high and 0.35 < result.eer < 0.65
    assert result.rank1.low <= result.chance <= result.rank1.high
    np.testing.assert_allclose(result.cmc, np.arange(1, COUNT + 1) / COUNT, atol=0.35)
    assert abs(result.d_prime) < 0.6


def test_a_wrong_face_in_the_place_of_one_is_the_only_one_not_found():
    swapped = probes()
    swapped[3] = (NAMES[3], head(NAMES[7], seed=9))
    result = identify(gallery(), swapped, ALIGNED)
    assert result.rank1.hits == COUNT - 1
    assert result.ranks[3] > 1 and result.best(3) == NAMES[7]
    assert result.cmc[0] == (COUNT - 1) / COUNT and result.cmc[-1] == 1


# ---- failures to acquire ----


def test_probes_without_a_face_stay_in_the_denominator_at_the_worst_rank():
    blind = [(name, head(name, seed=1, missed=range(VIEWS) if name < "s05" else ())) for name in NAMES]
    detected, aligned = (identify(gallery(), blind, attacker) for attacker in (DETECTED, ALIGNED))
    assert detected.failures == 5 and aligned.failures == 0
    assert detected.rank1.of == aligned.rank1.of == COUNT
    assert detected.rank1.hits == COUNT - 5 and aligned.rank1.hits == COUNT
    assert (detected.ranks[:5] == COUNT).all()
    assert detected.cmc[-2] == (COUNT - 5) / COUNT
    assert detected.best(0) is None
    assert all(value.of == COUNT and value.hits == COUNT - 5 for value in detected.true_accepts.values())
    assert detected.auc < 0.9 and detected.eer > 0.1


def test_when_no_face_is_found_at_all_nothing_is_known():
    blind = [(name, head(name, missed=range(VIEWS))) for name in NAMES]
    result = identify(gallery(), blind, DETECTED)
    assert result.rank1.hits == 0 and result.failures == COUNT
    assert (result.auc, result.eer) == (0.5, 0.5)
    assert np.isnan(result.d_prime)
    json.dumps(identification_record(result), allow_nan=False)


def test_a_gallery_head_without_a_face_is_never_found_but_never_in_the_way():
    heads = gallery()
    heads[2] = head(NAMES[2], missed=range(VIEWS))
    result = identify(heads, probes(), DETECTED)
    assert result.ranks[2] == COUNT and result.failures == 0
    assert result.rank1.hits == COUNT - 1


# ---- several heads of a subject ----


def test_of_several_heads_of_a_subject_the_most_similar_counts():
    two = [*gallery(), head(NAMES[0], centre=head(NAMES[1]).aligned.mean(axis=0), spread=0.01, seed=8)]
    result = identify(two, probes(), ALIGNED)
    assert result.subjects == tuple(NAMES)
    assert result.scores.shape == (COUNT, COUNT)
    assert result.ranks[0] == 1
    assert result.scores[1, 0] > 0.9  # the second head of the first subject looks like the second subject


def test_several_probes_of_a_subject_are_all_looked_up():
    result = identify(gallery(), [*probes(), *probes(seed=2)], ALIGNED)
    assert result.rank1.of == 2 * COUNT and result.nonmated.shape == (2 * COUNT, COUNT - 1)


def test_rank_five_of_five_is_not_reported():
    assert identify(gallery(5), probes(5), ALIGNED).rank5 is None
    assert identify(gallery(6), probes(6), ALIGNED).rank5.hits == 6


# ---- what is refused ----


@pytest.mark.parametrize(
    ("heads", "looked_up", "words"),
    [
        (gallery(1), probes(1), "at least two"),
        (gallery(), [], "no probe"),
        (gallery(3), probes(5), "s03, s04"),
        (gallery(), [*probes(2), ("s00", head("s00", model="sface"))], "different models"),
        (gallery(), [("s00", head("s00", view_set="full"))], "different view sets"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(heads, looked_up, words):
    with pytest.raises(InputError, match=words):
        identify(heads, looked_up, ALIGNED)


# ---- views ----


def test_views_of_separated_heads_are_told_apart():
    result = compare_views(gallery(spread=0.1), ALIGNED)
    assert (result.heads, result.rank1.of) == (COUNT, COUNT * VIEWS)
    assert result.same_pairs == COUNT * VIEWS * (VIEWS - 1) / 2
    assert result.different_pairs == COUNT * (COUNT - 1) / 2 * VIEWS**2
    assert result.auc == 1.0 and result.rank1.value == 1.0


def test_views_that_are_not_alike_are_not_told_apart():
    result = compare_views(gallery(spread=50.0), ALIGNED)
    assert 0.4 < result.auc < 0.6 and result.rank1.value < 0.4


def test_views_without_a_face_count_as_not_found():
    heads = [head(name, spread=0.1, missed=(0,) if name > "s00" else range(VIEWS)) for name in NAMES]
    result = compare_views(heads, DETECTED)
    assert result.rank1.of == COUNT * VIEWS
    assert result.rank1.hits == (COUNT - 1) * (VIEWS - 1)
    assert result.auc < 1.0


def test_a_single_view_cannot_be_held_out():
    with pytest.raises(InputError, match="two views"):
        compare_views([head(name, views=1) for name in NAMES], ALIGNED)


# ---- the record ----


def test_the_record_is_json_and_states_its_denominators():
    made = json.loads(json.dumps(identification_record(identify(gallery(), probes(), DETECTED)), allow_nan=False))
    assert made["rank1"]["hits"] == made["rank1"]["of"] == made["probes"] == made["gallery"] == COUNT
    assert made["rank1"]["interval"][1] == 1.0 and 0.8 < made["rank1"]["interval"][0] < 1.0
    assert made["chance_rank1"] == 0.05
    assert set(made["true_accept_rate_at"]) == {"0.1"}
    assert len(made["cmc"]) == COUNT
    assert made["failures_to_acquire"] == 0


def test_importing_it_imports_neither_scikit_learn_nor_scipy():
    loaded = "print(sorted({'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)))"
    code = f"import sys, ReidentRiskLib.judge.identify; {loaded}"
    run = run_python("-c", code)
    assert run.stdout.strip() == "[]", run.stderr


# ---- few ----


@pytest.mark.parametrize("count", [1, 2, FEWEST_SUBJECTS - 1])
def test_of_few_subjects_no_area_and_no_curve_is_told(count):
    """Two probes gave an "AUC 0.5000 (0.5000 to 0.5000)"."""
    made = identification_record(identify(gallery(), probes(count) + probes(count, seed=2), ALIGNED))
    assert [made[key] for key in ("auc", "eer", "true_accept_rate_at", "d_prime", "cmc", "roc")] == [None] * 6
    assert f"{count} subject" in made["not_told"] and f"at least {FEWEST_SUBJECTS}" in made["not_told"]
    assert made["rank1"]["of"] == 2 * count


def test_of_enough_subjects_everything_is_told():
    made = identification_record(identify(gallery(), probes(FEWEST_SUBJECTS), ALIGNED))
    assert made["not_told"] is None and made["auc"]["value"] == 1.0 and len(made["cmc"]) == COUNT and made["roc"]
