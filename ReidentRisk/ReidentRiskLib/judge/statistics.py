"""Statistics of mated and non-mated scores: ranks, ROC and its area, rates and their intervals.

Scores are any numbers. NaN stands for a failure to acquire a face, and is below every number. A mated score is that of
a probe and its own subject, a non-mated one that of a probe and another subject.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ReidentRiskLib.judge.scores import number

FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001, 0.0001)
FALSE_ACCEPTS_NEEDED = 10  # a rate is only given where that many pairs of strangers would be accepted
CONFIDENCE = 0.95
BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Rate:
    """``hits`` of ``of``, with the exact (Clopper-Pearson) 95 % interval ``low``..``high``."""

    hits: int
    of: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.hits / self.of


def rate(hits: int, of: int) -> Rate:
    """A share with its Clopper-Pearson interval."""
    from scipy.stats import binomtest

    interval = binomtest(int(hits), int(of)).proportion_ci(CONFIDENCE, method="exact")
    return Rate(int(hits), int(of), float(interval.low), float(interval.high))


def ranks_of(mated: np.ndarray, nonmated: np.ndarray) -> np.ndarray:
    """Ranks (P,) from 1 of the own subject's score (P,) among the others' (P, N - 1).

    Of equal scores half are put before it (rounded down); without a score of its own the rank is the last.
    """
    others = np.where(np.isfinite(nonmated), nonmated, -np.inf)
    higher = (others > mated[:, None]).sum(axis=1)
    equal = (others == mated[:, None]).sum(axis=1)
    return np.where(np.isfinite(mated), 1 + higher + equal // 2, nonmated.shape[1] + 1)


def roc_curve(mated: np.ndarray, nonmated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true accept rates (T,) from no acceptance to all, at every threshold."""
    from sklearn.metrics import roc_curve as curve

    false, true, _ = curve(*_labelled(mated, nonmated), drop_intermediate=False)
    return false, true


def area(mated: np.ndarray, nonmated: np.ndarray) -> float:
    """Area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(*_labelled(mated, nonmated)))


def _labelled(mated: np.ndarray, nonmated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels (1: own) and finite scores, failures one below the least cosine."""
    labels = np.repeat([1, 0], [mated.size, nonmated.size])
    return labels, _filled(np.concatenate([mated.ravel(), nonmated.ravel()]))


def _filled(scores: np.ndarray) -> np.ndarray:
    finite = scores[np.isfinite(scores)]
    return np.where(np.isfinite(scores), scores, (finite.min() if finite.size else 0.0) - 1.0)


def area_interval(
    mated: np.ndarray, nonmated: np.ndarray, groups: np.ndarray | None = None, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap 95 % interval of the area: probes (rows of `nonmated` (P, n)) are drawn again with replacement.

    Probes of one group (P,) (a subject with several probes) are drawn together.
    """
    filled = _filled(np.concatenate([mated[:, None], nonmated], axis=1))
    own, others = filled[:, 0], np.sort(filled[:, 1:], axis=1)
    # wins[p, q]: how often the own score of probe p beats the others' scores of probe q, ties counting half
    wins = np.stack([np.searchsorted(row, own, "left") + np.searchsorted(row, own, "right") for row in others], axis=1)
    wins = wins / (2.0 * others.shape[1])
    groups = np.arange(len(own)) if groups is None else groups
    members = np.bincount(groups)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(len(members), np.full(len(members), 1 / len(members)), size=BOOTSTRAPS)
    weights = drawn[:, groups].astype(float)  # (B, P): how often each probe is in the sample
    weights /= weights.sum(axis=1, keepdims=True)
    areas = np.clip(((weights @ wins) * weights).sum(axis=1), 0.0, 1.0)
    low, high = np.quantile(areas, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def equal_error_rate(false: np.ndarray, true: np.ndarray) -> float:
    """Where as many are falsely accepted as are falsely rejected, on the line between the points of the ROC curve."""
    difference = false - (1.0 - true)  # rises from -1 to 1
    after = int(np.argmax(difference >= 0))
    before = max(after - 1, 0)
    step = difference[after] - difference[before]
    share = -difference[before] / step if step > 0 else 0.0
    return float(false[before] + share * (false[after] - false[before]))


def true_accept_rates(mated: np.ndarray, nonmated: np.ndarray) -> dict[float, Rate]:
    """True accept rate at each of FALSE_ACCEPT_RATES that the number of pairs supports (none: an empty dictionary)."""
    false, true = roc_curve(mated, nonmated)
    supported = [far for far in FALSE_ACCEPT_RATES if nonmated.size * far >= FALSE_ACCEPTS_NEEDED]
    hits = {far: round(float(true[false <= far + 1e-12].max()) * mated.size) for far in supported}
    return {far: rate(count, mated.size) for far, count in hits.items()}


def d_prime(mated: np.ndarray, nonmated: np.ndarray) -> float:
    """Distance of the means in units of the mean spread, of the pairs that have a score; NaN with fewer than two."""
    own, others = mated[np.isfinite(mated)], nonmated[np.isfinite(nonmated)]
    if len(own) < 2 or len(others) < 2:
        return float("nan")
    spread = np.sqrt(0.5 * (own.var(ddof=1) + others.var(ddof=1)))
    return float((own.mean() - others.mean()) / spread) if spread > 0 else float("nan")


def area_of_many(mated: np.ndarray, nonmated: np.ndarray) -> float:
    """As `area`, by counting: scikit-learn would take gigabytes for so many pairs. NaN is below every score."""
    ordered = np.sort(np.where(np.isfinite(nonmated), nonmated, -2.0))
    own = np.where(np.isfinite(mated), mated, -2.0)
    beaten = np.searchsorted(ordered, own, "left") + np.searchsorted(ordered, own, "right")
    return float(beaten.mean() / (2.0 * len(ordered)))


def corners(false: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points of a ROC curve (T,) between which it is straight: few, however many pairs it was made of."""
    steps = np.diff(np.stack([false, true]), axis=1)
    turns = steps[0, 1:] * steps[1, :-1] != steps[0, :-1] * steps[1, 1:]
    kept = np.concatenate([[True], turns, [True]])
    return false[kept], true[kept]


def rate_record(value: Rate | None) -> dict[str, Any] | None:
    if value is None:
        return None
    return {"value": number(value.value), "hits": value.hits, "of": value.of, "interval": _interval(value)}


def _interval(value: Rate) -> list[float | None]:
    return [number(value.low), number(value.high)]
