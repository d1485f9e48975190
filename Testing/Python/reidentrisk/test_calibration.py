"""Calibrations: shares of pairs, and their file."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.reidentrisk.faces import stepwise_calibration
from RefaceLib.common.errors import InputError
from ReidentRiskLib.judge.calibration import (
    LEVELS,
    calibration_file_content,
    distribution_of,
    load_calibration,
    read_calibrations,
)
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKERS, DETECTED


def test_the_share_of_strangers_is_that_of_the_pairs_that_score_as_high():
    scores = np.random.default_rng(0).normal(0.3, 0.1, 5000)
    part = distribution_of(scores)
    for value in np.quantile(scores, [0.01, 0.3, 0.9, 0.99, 0.999]):
        assert part.share_at_least(value) == pytest.approx((scores >= value).mean(), rel=0.03, abs=2 / 5000)
        assert part.share_at_most(value) == pytest.approx((scores <= value).mean(), rel=0.03, abs=2 / 5000)


def test_the_share_is_exact_at_the_ends_and_never_less_than_one_pair():
    part = distribution_of([0.1, 0.2, 0.3, 0.4])
    assert part.share_at_least(0.4) == part.share_at_least(0.9) == pytest.approx(1 / 4)
    assert part.share_at_least(0.1) == part.share_at_least(-1.0) == 1.0
    assert part.share_at_most(0.1) == part.share_at_most(-1.0) == pytest.approx(1 / 4)
    assert part.share_at_most(0.4) == part.share_at_most(1.0) == 1.0


def test_of_equal_scores_all_are_as_high():
    part = distribution_of([0.2] * 5 + [0.7] * 5)
    assert part.share_at_least(0.7) == pytest.approx(0.5, abs=0.01)
    assert part.share_at_least(0.2) == 1.0
    assert part.share_at_most(0.2) == pytest.approx(0.5, abs=0.01)


def test_pairs_without_a_face_stay_in_the_denominator():
    part = distribution_of([*np.arange(100) / 100, *[np.nan] * 100])
    assert (part.n, part.failures) == (100, 100)
    assert part.share_at_least(-1) == pytest.approx(0.5)
    assert part.share_at_least(2) == pytest.approx(1 / 200)
    assert part.share_at_most(-1) > 0.5


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.002])
def test_the_value_of_a_share_has_that_share(share):
    part = stepwise_calibration().different
    assert part.share_at_least(part.value_at_share(share)) == pytest.approx(share, rel=1e-3)


def test_the_levels_are_201_and_densest_at_the_top():
    assert len(LEVELS) == 201
    assert (LEVELS[0], LEVELS[-1]) == (0.0, 1.0)
    assert (np.diff(LEVELS) > 0).all()
    assert (LEVELS > 0.99).sum() > 50


def test_too_few_scores_make_no_distribution():
    with pytest.raises(InputError, match="1 of 3"):
        distribution_of([0.5, np.nan, np.nan])


@pytest.mark.parametrize("middle", [0.3, 0.9])
def test_a_histogram_is_rebuilt_from_its_quantiles(middle):
    part = distribution_of(np.random.default_rng(0).normal(middle, 0.05, 3000))
    edges, density = part.histogram()
    assert (density * np.diff(edges)).sum() == pytest.approx(1.0)
    middles = 0.5 * (edges[1:] + edges[:-1])
    mean = (density * np.diff(edges) * middles).sum()
    assert mean == pytest.approx(part.mean, abs=0.005)
    assert np.sqrt((density * np.diff(edges) * (middles - mean) ** 2).sum()) == pytest.approx(0.05, rel=0.1)


def test_a_histogram_of_one_value_does_not_divide_by_nothing():
    edges, density = distribution_of([0.7] * 201).histogram()
    assert np.isfinite(density).all() and (density * np.diff(edges)).sum() == pytest.approx(1.0)


def test_a_calibration_survives_its_file_and_holds_numbers_only(tmp_path):
    made = stepwise_calibration()
    path = tmp_path / "c.json"
    path.write_text(json.dumps(calibration_file_content([made, stepwise_calibration(attacker=DETECTED)])))
    read = load_calibration("fake", "standard", ALIGNED, path=path)
    assert read.about == made.about and read.model_sha256 == made.model_sha256
    for name in ("different", "same"):
        before, after = getattr(made, name), getattr(read, name)
        np.testing.assert_allclose(after.quantiles, before.quantiles, atol=1e-5)
        assert (after.n, after.failures) == (before.n, before.failures)
        assert after.share_at_least(0.9) == pytest.approx(before.share_at_least(0.9), rel=0.01)
    assert path.stat().st_size < 40_000


def test_only_the_calibration_of_the_very_model_and_views_counts(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(calibration_file_content([stepwise_calibration()])))

    def found(*arguments):
        return load_calibration(*arguments, path=path) is not None

    assert found("fake", "standard", ALIGNED) and found("fake", "standard", ALIGNED, "ab" * 32)
    assert not found("fake", "standard", ALIGNED, "cd" * 32)
    assert not found("other", "standard", ALIGNED)
    assert not found("fake", "full", ALIGNED)
    assert not found("fake", "standard", DETECTED)


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
    path.write_text(broken(calibration_file_content([stepwise_calibration()])))
    with pytest.raises(InputError, match="reident-risk calibrate"):
        read_calibrations(path)


def test_a_calibration_that_is_not_there_is_told():
    with pytest.raises(InputError, match="cannot be read"):
        read_calibrations("/nowhere/c.json")


def test_the_shipped_calibration_can_be_read():
    for entry in read_calibrations():
        assert entry.attacker in ATTACKERS
        assert len(entry.model_sha256) == 64
        assert {"heads", "data", "command", "date"} <= set(entry.about)
