"""Ranks, curves and intervals against cases whose answers are known, and against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest

from ReidentRiskLib.judge.statistics import (
    area,
    area_interval,
    d_prime,
    equal_error_rate,
    ranks_of,
    rate,
    roc_curve,
    true_accept_rates,
)

pytest.importorskip("sklearn", reason="scikit-learn is not installed")


def scores(separation, count=200, others=30, seed=0):
    """Normal scores, the own ones higher by `separation` standard deviations."""
    random = np.random.default_rng(seed)
    return random.normal(separation, 1, count), random.normal(0, 1, (count, others))


def test_the_curves_follow_the_separation_of_normal_scores():
    from scipy.stats import norm

    mated, nonmated = scores(2.0, 4000, 20)
    false, true = roc_curve(mated, nonmated)
    assert d_prime(mated, nonmated) == pytest.approx(2.0, abs=0.05)
    assert area(mated, nonmated) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.01)
    assert equal_error_rate(false, true) == pytest.approx(norm.cdf(-1), abs=0.01)
    at = true_accept_rates(mated, nonmated)[0.01]
    assert at.value == pytest.approx(norm.sf(norm.isf(0.01) - 2), abs=0.03)


@pytest.mark.parametrize(
    ("own", "others", "rank"),
    [
        (0.9, [0.1, 0.2, 0.3], 1),
        (0.25, [0.1, 0.2, 0.3], 2),
        (0.0, [0.1, 0.2, 0.3], 4),
        (0.5, [0.5, 0.1, 0.1], 1),  # one other is just as similar
        (0.5, [0.5, 0.5, 0.1], 2),
        (0.5, [0.5, 0.5, 0.5], 2),  # all the same: in the middle
        (np.nan, [0.1, 0.2, 0.3], 4),
        (np.nan, [np.nan, np.nan, np.nan], 4),
        (0.1, [np.nan, 0.2, np.nan], 2),
        (-0.9, [np.nan, np.nan, np.nan], 1),
    ],
)
def test_a_rank_counts_those_that_are_more_similar(own, others, rank):
    assert ranks_of(np.array([own]), np.array([others]))[0] == rank


def test_areas_and_intervals_are_those_of_the_libraries():
    from sklearn.metrics import roc_auc_score

    mated, nonmated = scores(1.0)
    nonmated[3, 4] = mated[5]  # ties count half
    labels = [1] * mated.size + [0] * nonmated.size
    expected = roc_auc_score(labels, [*mated, *nonmated.ravel()])
    assert area(mated, nonmated) == pytest.approx(expected, abs=1e-12)


def test_the_bootstrap_is_centred_on_the_area_and_as_wide_as_scipys():
    from scipy.stats import bootstrap

    mated, nonmated = scores(1.0, 60, 12)

    def area_of_rows(rows):
        return area(mated[rows], nonmated[rows])

    theirs = bootstrap(
        (np.arange(60),), area_of_rows, n_resamples=400, method="percentile", vectorized=False,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    low, high = area_interval(mated, nonmated)
    assert low == pytest.approx(theirs.low, abs=0.015) and high == pytest.approx(theirs.high, abs=0.015)
    assert low < area(mated, nonmated) < high


def test_probes_of_one_subject_are_drawn_together():
    mated, nonmated = scores(1.0, 20, 12)
    many = np.repeat(mated, 10), np.repeat(nonmated, 10, axis=0)
    together = area_interval(*many, groups=np.repeat(np.arange(20), 10))
    assert together == pytest.approx(area_interval(mated, nonmated))  # ten copies tell nothing new
    apart = area_interval(*many)
    assert apart[1] - apart[0] < 0.6 * (together[1] - together[0])


@pytest.mark.parametrize(("hits", "of"), [(0, 50), (1, 50), (25, 50), (50, 50), (3, 4)])
def test_intervals_of_rates_are_clopper_pearson(hits, of):
    from scipy.stats import beta

    found = rate(hits, of)
    assert found.low == pytest.approx(beta.ppf(0.025, hits, of - hits + 1) if hits else 0.0)
    assert found.high == pytest.approx(beta.ppf(0.975, hits + 1, of - hits) if hits < of else 1.0)
    assert found.value == hits / of


def test_none_of_n_has_an_upper_bound_of_about_three_in_n():
    assert rate(0, 159).high == pytest.approx(3.7 / 159, rel=0.02)


def test_true_accept_rates_are_given_only_where_the_pairs_support_them():
    assert set(true_accept_rates(*scores(2.0, 10, 9))) == set()
    assert set(true_accept_rates(*scores(2.0, 10, 10))) == {0.1}
    assert set(true_accept_rates(*scores(2.0, 40, 25))) == {0.1, 0.01}
    assert set(true_accept_rates(*scores(2.0, 200, 100))) == {0.1, 0.01, 0.001}


def test_a_true_accept_rate_holds_at_its_false_accept_rate():
    mated, nonmated = scores(2.0, 100, 40)
    for far, found in true_accept_rates(mated, nonmated).items():
        threshold = np.quantile(nonmated, 1 - far, method="inverted_cdf")
        assert found.hits == pytest.approx((mated > threshold).sum(), abs=1)
