"""Verdicts: what a score means, in one word and in a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.reidentrisk.faces import stepwise_calibration
from ReidentRiskLib.judge.scores import DETECTED, Score
from ReidentRiskLib.judge.verdict import (
    NOT_RECOGNISABLE,
    RECOGNISABLE,
    UNCALIBRATED,
    UNCERTAIN,
    assess,
    assessment_record,
    calibration_record,
    in_words,
    strongest,
)


def scored(value, acquired=6, views=6):
    per_view = np.full(views, np.nan)
    per_view[:acquired] = value
    mean = value if acquired else float("nan")
    return Score(DETECTED, per_view, mean, mean, acquired, views)


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.999, RECOGNISABLE),
        (0.9905, RECOGNISABLE),  # 9.5 of 1000 score as high
        (0.9885, UNCERTAIN),
        (0.901, UNCERTAIN),
        (0.8995, NOT_RECOGNISABLE),
        (0.2, NOT_RECOGNISABLE),
        (-0.5, NOT_RECOGNISABLE),
    ],
)
def test_the_verdict_follows_the_share_of_strangers(value, verdict):
    assert assess(scored(value), stepwise_calibration()).verdict == verdict


def test_a_face_that_was_not_found_is_not_recognisable_and_says_so():
    for known in (stepwise_calibration(), None):
        found = assess(scored(0.0, acquired=0), known)
        assert found.verdict == NOT_RECOGNISABLE
        assert "no face was found in any of the 6 views" in found.sentence
        assert found.strangers is None


def test_without_a_calibration_the_score_is_given_and_no_verdict():
    found = assess(scored(0.5), None)
    assert found.verdict == UNCALIBRATED
    assert "0.50" in found.sentence and "no calibration" in found.sentence


def test_too_few_pairs_of_strangers_give_no_verdict():
    few = stepwise_calibration(different=np.arange(99) / 100)
    assert assess(scored(0.999), few).verdict == UNCALIBRATED
    assert assess(scored(0.999), stepwise_calibration(different=np.arange(100) / 100)).verdict == RECOGNISABLE


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.975, "1 of 40 pairs of strangers is at least this similar"),
        (0.89, "11 of 100 pairs of strangers are at least this similar"),
        (0.6, "40 of 100 pairs of strangers are at least this similar"),
        (0.06, "94 of 100 pairs of strangers are at least this similar"),
        (0.001, "nearly all pairs of strangers are at least this similar"),
        (0.9995, "at most 1 of 1,000 pairs of strangers is at least this similar"),
        (0.998, "1 of 500 pairs of strangers is at least this similar"),
    ],
)
def test_the_share_is_said_in_words(value, words):
    assert assess(scored(value), stepwise_calibration()).sentence == words


def test_a_sentence_tells_how_often_a_face_was_found():
    assert "a face being found in 2 of 6 views" in assess(scored(0.9, acquired=2), stepwise_calibration()).sentence


@pytest.mark.parametrize("share", [0.0099, 0.00999999, 0.0101, 0.0996, 0.0999, 0.1001, 0.104])
def test_rounding_never_contradicts_the_verdict(share):
    counts = [word.replace(",", "") for word in in_words(share, 10**6).split()]
    some, among = (int(count) for count in counts if count.isdecimal())
    assert (some / among <= 0.01) == (share <= 0.01)
    assert (some / among >= 0.1) == (share >= 0.1)


@pytest.mark.parametrize("share", [0.0001, 0.04, 0.3, 0.94, 0.999])
def test_the_words_never_call_a_face_similar(share):
    """'As similar as 94 in 100 strangers' was read as very similar."""
    assert in_words(share, 1000).endswith(" at least this similar")


def test_the_strongest_attacker_decides():
    assert strongest([NOT_RECOGNISABLE, RECOGNISABLE]) == RECOGNISABLE
    assert strongest([NOT_RECOGNISABLE, UNCERTAIN]) == UNCERTAIN
    assert strongest([NOT_RECOGNISABLE, UNCALIBRATED]) == UNCALIBRATED
    assert strongest([NOT_RECOGNISABLE] * 2) == NOT_RECOGNISABLE


def test_a_record_is_json_without_nan():
    made = assessment_record(assess(scored(0.9, acquired=2), stepwise_calibration()))
    again = json.loads(json.dumps(made, allow_nan=False))
    assert again["per_view"] == [0.9, 0.9, None, None, None, None]
    assert again["share_of_strangers"] == pytest.approx(0.1)
    assert (again["acquired_views"], again["views"]) == (2, 6)
    json.dumps(assessment_record(assess(scored(0.0, acquired=0), None)), allow_nan=False)
    assert "per_view" not in assessment_record(assess(scored(0.9), None), per_view=False)


def test_the_thresholds_are_given_as_cosines():
    made = calibration_record(stepwise_calibration())
    assert made["recognisable_from"] == pytest.approx(0.99, abs=1e-3)
    assert made["not_recognisable_up_to"] == pytest.approx(0.9, abs=1e-3)
    assert made["different_pairs"] == 1000 and made["data"] == "drawn"
    assert calibration_record(None) is None
