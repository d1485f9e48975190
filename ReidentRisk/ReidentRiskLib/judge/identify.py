"""Finds probes in a gallery of heads, and says how often that works: ranks, CMC, ROC and their intervals.

Nothing drops out of a denominator: a probe in which an attacker finds no face counts as one that is not found, its
scores are below every threshold, and its rank is the worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.views import PHOTO
from ReidentRiskLib.judge.scores import check_comparable, number, rows_of, similarity_matrix
from ReidentRiskLib.judge.statistics import (
    Rate,
    area,
    area_interval,
    area_of_many,
    corners,
    d_prime,
    equal_error_rate,
    ranks_of,
    rate,
    rate_record,
    roc_curve,
    true_accept_rates,
)

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding

FEWEST_SUBJECTS = (
    10  # looked up; of fewer, no curve and no area is told: the 95 % interval of 9 hits of 9 is 66 to 100 %
)


@dataclass(frozen=True, eq=False)
class Identification:
    """How well one attacker finds P probes in a gallery of N subjects.

    ``probes`` are (subject, name of the head), ``headless`` (P,) bool says in which no head was found; ``scores``
    (P, N) are NaN where no face was acquired; ``ranks`` (P,) count from 1. ``cmc`` (N,) is the share of probes whose
    subject is among the first 1..N. ``roc`` is (false, true accept rate), each (T,). ``mated`` (P,) and ``nonmated``
    (P, N - 1) are the scores of the own subject and of others.
    """

    attacker: str
    subjects: tuple[str, ...]
    probes: tuple[tuple[str, str], ...]
    headless: np.ndarray
    scores: np.ndarray
    mated: np.ndarray
    nonmated: np.ndarray
    ranks: np.ndarray
    cmc: np.ndarray
    roc: tuple[np.ndarray, np.ndarray]
    rank1: Rate
    rank5: Rate | None
    auc: float
    auc_interval: tuple[float, float]
    eer: float
    true_accepts: dict[float, Rate]
    d_prime: float
    failures: int

    @property
    def not_told(self) -> str | None:
        """Why there are too few subjects among the probes for ROC, CMC and what is computed of them; None: enough."""
        count = len({subject for subject, _ in self.probes})
        if count >= FEWEST_SUBJECTS:
            return None
        subjects = "1 subject was" if count == 1 else f"{count} subjects were"
        return f"{subjects} looked up: AUC, EER, ROC and CMC take at least {FEWEST_SUBJECTS}"

    @property
    def chance(self) -> float:
        """Rank-1 rate of guessing."""
        return 1.0 / len(self.subjects)

    def ranks_in_words(self) -> list[str]:
        """A line a probe: "name: rank 3 of 21"."""
        count = len(self.subjects)
        return [
            f"{name}: rank {rank} of {count}"
            if np.isfinite(mated)
            else f"{name}: no {'head' if headless else 'face'} found, so rank {rank} of {count}"
            for (_, name), rank, mated, headless in zip(self.probes, self.ranks, self.mated, self.headless, strict=True)
        ]

    def best(self, probe: int) -> str | None:
        """The subject that is most similar to a probe, None where there is no score."""
        row = self.scores[probe]
        return self.subjects[int(np.nanargmax(row))] if np.isfinite(row).any() else None


def identify(
    gallery: Sequence[HeadEmbedding], probes: Sequence[tuple[str, HeadEmbedding]], attacker: str, seed: int = 0
) -> Identification:
    """Look every probe (its subject and its head) up in the gallery, whose heads are named by their subjects.

    Of several heads of one subject the most similar counts. `seed` is that of the bootstrap. Raises InputError for a
    gallery of fewer than two subjects, no probes, a probe whose subject is not in it, or embeddings of different kinds.
    """
    subjects = tuple(dict.fromkeys(head.name for head in gallery))
    if len(subjects) < 2:
        raise InputError(f"The gallery holds {len(subjects)} subject(s): give at least two.")
    if not probes:
        raise InputError("There are no probes to look up: give at least one.")
    missing = list(dict.fromkeys(subject for subject, _ in probes if subject not in subjects))
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise InputError(f"The gallery holds no head of {names}: add one, or leave the probes out.")
    heads = [head for _, head in probes]
    check_comparable([*gallery, *heads])

    every = similarity_matrix(gallery, heads, attacker)
    owner = np.array([subjects.index(head.name) for head in gallery])
    scores = np.stack([_best(every[:, owner == index]) for index in range(len(subjects))], axis=1)
    own = np.array([subjects.index(subject) for subject, _ in probes])
    known_as = tuple((subject, head.name) for subject, head in probes)
    # Any head has points to align by; only a photograph has none where it shows no face.
    headless = np.array([head.views != PHOTO and not np.isfinite(head.aligned).any() for head in heads])
    return _identification(attacker, subjects, known_as, headless, scores, own, seed)


def _best(scores: np.ndarray) -> np.ndarray:
    """Largest of the scores (P, n) of each probe; NaN where there is none."""
    best = np.where(np.isfinite(scores), scores, -np.inf).max(axis=1)
    return np.where(np.isfinite(best), best, np.nan)


def _identification(
    attacker: str,
    subjects: tuple[str, ...],
    probes: tuple[tuple[str, str], ...],
    headless: np.ndarray,
    scores: np.ndarray,
    own: np.ndarray,
    seed: int,
) -> Identification:
    count = len(subjects)
    own_mask = np.arange(count) == own[:, None]
    mated, nonmated = scores[own_mask], scores[~own_mask].reshape(len(own), count - 1)
    ranks = ranks_of(mated, nonmated)
    cmc = np.array([(ranks <= rank).mean() for rank in range(1, count + 1)])
    false, true = roc_curve(mated, nonmated)
    groups = np.unique(own, return_inverse=True)[1]
    return Identification(
        attacker=attacker,
        subjects=subjects,
        probes=probes,
        headless=headless,
        scores=scores,
        mated=mated,
        nonmated=nonmated,
        ranks=ranks,
        cmc=cmc,
        roc=(false, true),
        rank1=rate((ranks == 1).sum(), len(ranks)),
        rank5=rate((ranks <= 5).sum(), len(ranks)) if count > 5 else None,
        auc=area(mated, nonmated),
        auc_interval=area_interval(mated, nonmated, groups, seed),
        eer=equal_error_rate(false, true),
        true_accepts=true_accept_rates(mated, nonmated),
        d_prime=d_prime(mated, nonmated),
        failures=int((~np.isfinite(scores)).all(axis=1).sum()),
    )


def identification_record(result: Identification) -> dict[str, Any]:
    """An identification ready for JSON, rounded; the intervals are of 95 %.

    Of fewer than FEWEST_SUBJECTS what rests on all scores is None, `not_told` says why, and `ranks` are listed.
    """
    return {
        "probes": len(result.probes),
        "gallery": len(result.subjects),
        "failures_to_acquire": result.failures,
        "rank1": rate_record(result.rank1),
        "rank5": rate_record(result.rank5),
        "chance_rank1": number(result.chance),
        "mated_mean": _mean(result.mated),
        "nonmated_mean": _mean(result.nonmated),
        "nonmated_pairs": int(result.nonmated.size),
        "not_told": result.not_told,
        "ranks": result.ranks_in_words() if result.not_told else None,
        **(dict.fromkeys(_OF_MANY) if result.not_told else _of_many(result)),
    }


_OF_MANY = ("auc", "eer", "true_accept_rate_at", "d_prime", "cmc", "roc")  # keys of what takes many subjects


def _of_many(result: Identification) -> dict[str, Any]:
    return {
        "auc": {"value": number(result.auc), "interval": [number(bound) for bound in result.auc_interval]},
        "eer": number(result.eer),
        "true_accept_rate_at": {f"{far:g}": rate_record(value) for far, value in result.true_accepts.items()},
        "d_prime": number(result.d_prime),
        "cmc": [number(value) for value in result.cmc],
        "roc": [[number(value) for value in rates] for rates in corners(*result.roc)],
    }


def _mean(scores: np.ndarray) -> float | None:
    scored = scores[np.isfinite(scores)]
    return number(float(scored.mean())) if scored.size else None


# ---- views of the same heads against each other ----


@dataclass(frozen=True)
class ViewTest:
    """How well heads are told apart by single views.

    ``auc`` is that of pairs of views of one head against pairs of views of different heads; ``rank1`` that of single
    views looked up in a gallery made of the other half of the views.
    """

    attacker: str
    heads: int
    same_pairs: int
    different_pairs: int
    auc: float
    d_prime: float
    rank1: Rate


def compare_views(heads: Sequence[HeadEmbedding], attacker: str) -> ViewTest:
    """Test a network and a view set on different `heads`: every view against every other, and held-out views."""
    check_comparable(heads)
    rows = np.stack([rows_of(head, attacker) for head in heads])  # (H, V, D)
    count, views, size = rows.shape
    if count < 2 or views < 2:
        raise InputError("Comparing views takes at least two heads and two views: give more.")
    single = rows.astype(np.float32)  # tens of millions of pairs
    upper = np.triu_indices(views, 1)
    same = np.concatenate([(head @ head.T)[upper] for head in single])
    others = [(single[index] @ single[index + 1 :].reshape(-1, size).T).ravel() for index in range(count - 1)]
    different = np.concatenate(others)

    hits = tried = 0
    for parity in (0, 1):  # each half of the views is the gallery once
        held_out = np.arange(views) % 2 == parity
        templates = np.nansum(rows[:, ~held_out], axis=1)
        with np.errstate(invalid="ignore"):  # a head without a face in these views has no template
            templates /= np.linalg.norm(templates, axis=1, keepdims=True)
        scores = rows[:, held_out].reshape(-1, size) @ templates.T
        own = np.repeat(np.arange(count), held_out.sum())
        mask = np.arange(count) == own[:, None]
        ranks = ranks_of(scores[mask], scores[~mask].reshape(len(own), count - 1))
        hits += int((ranks == 1).sum())
        tried += len(ranks)
    auc, distance = area_of_many(same, different), d_prime(same, different)
    return ViewTest(attacker, count, len(same), len(different), auc, distance, rate(hits, tried))
