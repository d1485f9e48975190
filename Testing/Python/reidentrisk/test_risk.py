"""Scores and what they mean, on directions whose cosines are known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from helpers.reidentrisk.faces import directions, head
from RefaceLib.common.errors import InputError
from ReidentRiskLib.judge import risk


def calibration(different=None, same=None, model="fake", views="standard", attacker="forced", **changes):
    """Different heads at 0.000, 0.001 ... 0.999, the same head at 0.80 ... 0.99, unless told otherwise."""
    different = np.arange(1000) / 1000 if different is None else different
    same = np.linspace(0.8, 0.99, 100) if same is None else same
    parts = risk.distribution(different), risk.distribution(same)
    made = risk.Calibration(model, "ab" * 32, views, attacker, *parts, {"heads": 46, "data": "drawn"})
    return dataclasses.replace(made, **changes)


# ---- scores ----


def test_a_score_is_the_cosine_of_every_view_and_of_the_means():
    first, second = head("a"), head("b")
    score = risk.score(first, second, "forced")
    expected = [float(a @ b) for a, b in zip(first.forced, second.forced, strict=True)]
    np.testing.assert_allclose(score.per_view, expected, atol=1e-6)
    means = first.forced.mean(axis=0), second.forced.mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    assert score.mean_embedding == pytest.approx(cosine, abs=1e-6)
    assert score.mean_embedding != pytest.approx(np.mean(expected), abs=1e-3)  # it is not the mean of the cosines
    assert score.maximum == pytest.approx(max(expected), abs=1e-6)
    assert (score.acquired, score.views) == (6, 6)


def test_a_head_is_as_similar_to_itself_as_can_be():
    score = risk.score(head("a"), head("a"), "gated")
    assert score.mean_embedding == pytest.approx(1.0)
    assert score.maximum <= 1.0


def test_views_without_a_face_count_for_the_detector_alone():
    whole, partly = head("a"), head("a", seed=1, missed=(0, 1, 2, 3))
    gated, forced = (risk.score(whole, partly, attacker) for attacker in ("gated", "forced"))
    assert (gated.acquired, gated.views, forced.acquired) == (2, 6, 6)
    assert np.isnan(gated.per_view[:4]).all() and np.isfinite(gated.per_view[4:]).all()
    means = whole.forced[4:].mean(axis=0), partly.forced[4:].mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    assert gated.mean_embedding == pytest.approx(cosine, abs=1e-6)
    assert gated.maximum == pytest.approx(np.nanmax(gated.per_view))


def test_where_no_face_was_found_there_is_no_score():
    score = risk.score(head("a"), head("a", missed=range(6)), "gated")
    assert score.acquired == 0
    assert np.isnan(score.mean_embedding) and np.isnan(score.maximum)


def test_faces_found_in_different_views_only_are_not_compared():
    score = risk.score(head("a", missed=(0, 1, 2)), head("a", missed=(3, 4, 5)), "gated")
    assert score.acquired == 0 and np.isnan(score.mean_embedding)


def test_the_mean_embeddings_are_over_the_views_that_both_have():
    first, second = head("a", missed=(0, 1)), head("a", seed=1, missed=(2, 3))
    means = first.forced[4:].mean(axis=0), second.forced[4:].mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    assert risk.score(first, second, "gated").mean_embedding == pytest.approx(cosine, abs=1e-6)


def test_a_photograph_is_compared_with_every_view():
    person = head("a")
    photo = head("p", centre=person.forced[2], spread=0.0, views=1, view_set="photo")
    score = risk.score(person, photo, "forced")
    np.testing.assert_allclose(score.per_view, person.forced @ person.forced[2], atol=1e-6)
    assert score.maximum == pytest.approx(1.0, abs=1e-6) and score.views == 6
    assert score.mean_embedding == pytest.approx(risk.score(photo, person, "forced").mean_embedding)


@pytest.mark.parametrize("attacker", risk.ATTACKERS)
def test_the_matrix_holds_what_two_heads_score(attacker):
    gallery = [head(name, missed=missed) for name, missed in (("a", ()), ("b", (0,)), ("c", range(6)))]
    probes = [head(name, seed=3, missed=missed) for name, missed in (("a", (1, 2)), ("d", ()))]
    matrix = risk.similarity_matrix(gallery, probes, attacker)
    assert matrix.shape == (2, 3)
    for row, probe in enumerate(probes):
        for column, reference in enumerate(gallery):
            single = risk.score(reference, probe, attacker).mean_embedding
            assert matrix[row, column] == pytest.approx(single, nan_ok=True)
    assert np.isnan(matrix).any() == (attacker == "gated")


@pytest.mark.parametrize("other", [{"model": "sface"}, {"view_set": "full"}])
def test_embeddings_of_different_kinds_are_not_compared(other):
    with pytest.raises(InputError, match="different"):
        risk.score(head("a"), head("b", **other), "forced")


# ---- calibration ----


def test_the_share_of_strangers_is_that_of_the_pairs_that_score_as_high():
    scores = np.random.default_rng(0).normal(0.3, 0.1, 5000)
    part = risk.distribution(scores)
    for value in np.quantile(scores, [0.01, 0.3, 0.9, 0.99, 0.999]):
        assert part.share_at_least(value) == pytest.approx((scores >= value).mean(), rel=0.03, abs=2 / 5000)
        assert part.share_at_most(value) == pytest.approx((scores <= value).mean(), rel=0.03, abs=2 / 5000)


def test_the_share_is_exact_at_the_ends_and_never_less_than_one_pair():
    part = risk.distribution([0.1, 0.2, 0.3, 0.4])
    assert part.share_at_least(0.4) == part.share_at_least(0.9) == pytest.approx(1 / 4)
    assert part.share_at_least(0.1) == part.share_at_least(-1.0) == 1.0
    assert part.share_at_most(0.1) == part.share_at_most(-1.0) == pytest.approx(1 / 4)
    assert part.share_at_most(0.4) == part.share_at_most(1.0) == 1.0


def test_of_equal_scores_all_are_as_high():
    part = risk.distribution([0.2] * 5 + [0.7] * 5)
    assert part.share_at_least(0.7) == pytest.approx(0.5, abs=0.01)
    assert part.share_at_least(0.2) == 1.0
    assert part.share_at_most(0.2) == pytest.approx(0.5, abs=0.01)


def test_pairs_without_a_face_stay_in_the_denominator():
    part = risk.distribution([*np.arange(100) / 100, *[np.nan] * 100])
    assert (part.n, part.failures) == (100, 100)
    assert part.share_at_least(-1) == pytest.approx(0.5)
    assert part.share_at_least(2) == pytest.approx(1 / 200)
    assert part.share_at_most(-1) > 0.5


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.002])
def test_the_value_of_a_share_has_that_share(share):
    part = calibration().different
    assert part.share_at_least(part.value_at_share(share)) == pytest.approx(share, rel=1e-3)


def test_the_levels_are_201_and_densest_at_the_top():
    assert len(risk.LEVELS) == 201
    assert (risk.LEVELS[0], risk.LEVELS[-1]) == (0.0, 1.0)
    assert (np.diff(risk.LEVELS) > 0).all()
    assert (risk.LEVELS > 0.99).sum() > 50


def test_too_few_scores_make_no_distribution():
    with pytest.raises(InputError, match="1 of 3"):
        risk.distribution([0.5, np.nan, np.nan])


def test_a_calibration_survives_its_file_and_holds_numbers_only(tmp_path):
    made = calibration()
    path = tmp_path / "c.json"
    path.write_text(json.dumps(risk.calibrations_record([made, calibration(attacker="gated")])))
    read = risk.load_calibration("fake", "standard", "forced", path=path)
    assert read.about == made.about and read.model_sha256 == made.model_sha256
    for name in ("different", "same"):
        before, after = getattr(made, name), getattr(read, name)
        np.testing.assert_allclose(after.quantiles, before.quantiles, atol=1e-5)
        assert (after.n, after.failures) == (before.n, before.failures)
        assert after.share_at_least(0.9) == pytest.approx(before.share_at_least(0.9), rel=0.01)
    assert path.stat().st_size < 40_000


def test_only_the_calibration_of_the_very_model_and_views_counts(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(risk.calibrations_record([calibration()])))

    def found(*arguments):
        return risk.load_calibration(*arguments, path=path) is not None

    assert found("fake", "standard", "forced") and found("fake", "standard", "forced", "ab" * 32)
    assert not found("fake", "standard", "forced", "cd" * 32)
    assert not found("other", "standard", "forced")
    assert not found("fake", "full", "forced")
    assert not found("fake", "standard", "gated")


def with_entry(record, **changes):
    return json.dumps({**record, "entries": [{**record["entries"][0], **changes}]})


BROKEN = {
    "no json": lambda record: "x{",
    "a list": lambda record: "[]",
    "another version": lambda record: json.dumps({**record, "format": 99}),
    "no entries": lambda record: json.dumps({"format": 1, "levels": []}),
    "a quantile missing": lambda record: json.dumps({**record, "levels": record["levels"][:-1]}),
    "quantiles that fall": lambda record: with_entry(
        record, same={**record["entries"][0]["same"], "quantiles": record["entries"][0]["same"]["quantiles"][::-1]}
    ),
    "no model": lambda record: with_entry(record, same=None),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_calibration_is_told_in_one_sentence(tmp_path, broken):
    path = tmp_path / "c.json"
    path.write_text(broken(risk.calibrations_record([calibration()])))
    with pytest.raises(InputError, match="reident-risk calibrate"):
        risk.read_calibrations(path)


def test_a_calibration_that_is_not_there_is_told():
    with pytest.raises(InputError, match="cannot be read"):
        risk.read_calibrations("/nowhere/c.json")


def test_the_shipped_calibration_can_be_read():
    for entry in risk.read_calibrations():
        assert entry.attacker in risk.ATTACKERS
        assert len(entry.model_sha256) == 64
        assert {"heads", "data", "command", "date"} <= set(entry.about)


# ---- meaning ----


def scored(value, acquired=6, views=6):
    per_view = np.full(views, np.nan)
    per_view[:acquired] = value
    mean = value if acquired else float("nan")
    return risk.Score("gated", per_view, mean, mean, acquired, views)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.999, risk.RECOGNISABLE),
        (0.9905, risk.RECOGNISABLE),  # 9.5 of 1000 score as high
        (0.9885, risk.UNCERTAIN),
        (0.901, risk.UNCERTAIN),
        (0.8995, risk.NOT_RECOGNISABLE),
        (0.2, risk.NOT_RECOGNISABLE),
        (-0.5, risk.NOT_RECOGNISABLE),
    ],
)
def test_the_verdict_follows_the_share_of_strangers(value, verdict):
    assert risk.assess(scored(value), calibration()).verdict == verdict


def test_a_face_that_was_not_found_is_not_recognisable_and_says_so():
    for known in (calibration(), None):
        found = risk.assess(scored(0.0, acquired=0), known)
        assert found.verdict == risk.NOT_RECOGNISABLE
        assert "no face was found in any of the 6 views" in found.sentence
        assert found.strangers is None


def test_without_a_calibration_the_score_is_given_and_no_verdict():
    found = risk.assess(scored(0.5), None)
    assert found.verdict == risk.UNCALIBRATED
    assert "0.50" in found.sentence and "no calibration" in found.sentence


def test_too_few_pairs_of_strangers_give_no_verdict():
    few = calibration(different=np.arange(99) / 100)
    assert risk.assess(scored(0.999), few).verdict == risk.UNCALIBRATED
    assert risk.assess(scored(0.999), calibration(different=np.arange(100) / 100)).verdict == risk.RECOGNISABLE


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.975, "as similar as 1 in 40 strangers"),
        (0.5, "as similar as 1 in 2 strangers"),
        (0.27, "as similar as 73 in 100 strangers"),
        (0.001, "less similar than nearly all strangers"),
        (0.9995, "more similar than all of 1,000 pairs of strangers"),
        (0.998, "as similar as 1 in 500 strangers"),
    ],
)
def test_the_share_is_said_in_words(value, words):
    assert risk.assess(scored(value), calibration()).sentence == words


def test_a_sentence_tells_how_often_a_face_was_found():
    assert "a face being found in 2 of 6 views" in risk.assess(scored(0.9, acquired=2), calibration()).sentence


@pytest.mark.parametrize("share", [0.0099, 0.00999999, 0.0101, 0.0996, 0.0999, 0.1001, 0.104])
def test_rounding_never_contradicts_the_verdict(share):
    one_in = int(risk.in_words(share, 10**6).split()[-2].replace(",", ""))
    assert (one_in >= 100) == (share <= 0.01)
    assert (one_in <= 10) == (share >= 0.1)


def test_the_strongest_attacker_decides():
    assert risk.strongest([risk.NOT_RECOGNISABLE, risk.RECOGNISABLE]) == risk.RECOGNISABLE
    assert risk.strongest([risk.NOT_RECOGNISABLE, risk.UNCERTAIN]) == risk.UNCERTAIN
    assert risk.strongest([risk.NOT_RECOGNISABLE, risk.UNCALIBRATED]) == risk.UNCALIBRATED
    assert risk.strongest([risk.NOT_RECOGNISABLE] * 2) == risk.NOT_RECOGNISABLE


def test_a_record_is_json_without_nan():
    made = risk.record(risk.assess(scored(0.9, acquired=2), calibration()))
    again = json.loads(json.dumps(made, allow_nan=False))
    assert again["per_view"] == [0.9, 0.9, None, None, None, None]
    assert again["share_of_strangers"] == pytest.approx(0.1)
    assert (again["acquired_views"], again["views"]) == (2, 6)
    json.dumps(risk.record(risk.assess(scored(0.0, acquired=0), None)), allow_nan=False)
    assert "per_view" not in risk.record(risk.assess(scored(0.9), None), per_view=False)


def test_the_thresholds_are_given_as_cosines():
    made = risk.calibration_record(calibration())
    assert made["recognisable_from"] == pytest.approx(0.99, abs=1e-3)
    assert made["not_recognisable_up_to"] == pytest.approx(0.9, abs=1e-3)
    assert made["different_pairs"] == 1000 and made["data"] == "drawn"
    assert risk.calibration_record(None) is None


def test_strangers_in_many_dimensions_score_about_nothing():
    faces = directions(np.random.default_rng(0), 2, 512)
    one, other = (head(name, centre=face, spread=0.1) for name, face in zip("ab", faces, strict=True))
    assert abs(risk.score(one, other, "forced").mean_embedding) < 0.2
