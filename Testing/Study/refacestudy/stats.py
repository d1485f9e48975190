"""Numbers that sum up many: means with intervals, paired differences, the distance of two clouds of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean of ``n`` numbers and its 95 % interval by Student's t; NaN where there are too few."""

    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """The mean of ``n`` differences with its interval, the effect size (Cohen's d of pairs) and Wilcoxon's p."""

    n: int
    value: float
    low: float
    high: float
    effect: float
    p: float


def finite(values: Sequence[float | None]) -> np.ndarray:
    """Those of ``values`` that are numbers, as float64."""
    numbers = np.array([np.nan if value is None else value for value in values], float)
    return numbers[np.isfinite(numbers)]


def mean(values: Sequence[float | None]) -> Mean:
    """The mean of the finite ``values``."""
    from scipy.stats import t

    numbers = finite(values)
    if not len(numbers):
        return Mean(0, float("nan"), float("nan"), float("nan"))
    middle = float(numbers.mean())
    if len(numbers) < 2:
        return Mean(1, middle, float("nan"), float("nan"))
    half = float(t.ppf(0.5 + CONFIDENCE / 2, len(numbers) - 1) * numbers.std(ddof=1) / np.sqrt(len(numbers)))
    return Mean(len(numbers), middle, middle - half, middle + half)


def paired(differences: Sequence[float | None]) -> Paired:
    """What the finite ``differences`` of pairs say about a difference of zero."""
    from scipy.stats import wilcoxon

    numbers = finite(differences)
    middle = mean(numbers)
    spread = float(numbers.std(ddof=1)) if len(numbers) > 1 else 0.0
    effect = middle.value / spread if spread > 0 else float("nan")
    p = float(wilcoxon(numbers).pvalue) if len(numbers) > 1 and np.any(numbers != 0) else float("nan")
    return Paired(middle.n, middle.value, middle.low, middle.high, effect, p)


def median(values: Sequence[float | None]) -> float:
    """The median of the finite ``values``, NaN where there is none."""
    numbers = finite(values)
    return float(np.median(numbers)) if len(numbers) else float("nan")


def frechet(one: np.ndarray, other: np.ndarray) -> float:
    """The squared Frechet distance of two clouds (N, D) and (M, D), each taken for a normal distribution.

    It is 0 for the same mean and covariance; with few samples it is biased upwards, so compare it with that of two
    halves of one cloud. NaN where a cloud has fewer than two samples.
    """
    if min(len(one), len(other)) < 2:
        return float("nan")
    shift = one.mean(axis=0) - other.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(cloud, rowvar=False)) for cloud in (one, other))
    root = _square_root(first)
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0.0, None)).sum()
    return float(max(shift @ shift + np.trace(first) + np.trace(second) - 2.0 * cross, 0.0))


def _square_root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a symmetric, positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
