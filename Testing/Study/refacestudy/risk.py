"""How often a head is recognised by its face, and whether a generated face gives its own subject away.

Risk is ReidentRiskLib's identification: the faces of one method are looked up in the gallery of all originals, by both
attackers. Leakage asks more: is a generated face nearer to its own subject's than to those of other people of the same
sex and of like age and size, and nearer than the oracle's or the average face is?
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree

from refacestudy import stats
from refacestudy.faces import Face
from ReidentRiskLib.judge import statistics
from ReidentRiskLib.judge.scores import ATTACKERS, similarity_matrix

_STEPS = 12  # of the registration of two faces
_TRIM = 0.9  # of the points that count: the rest lies where one of the faces ends


@dataclass(frozen=True, eq=False)
class Lookup:
    """The probes of one method against the gallery, for one attacker; ``own`` cosines and ``ranks`` are by probe."""

    attacker: str
    probes: tuple[str, ...]
    own: np.ndarray
    ranks: np.ndarray
    rank1: statistics.Rate
    auc: float
    auc_interval: tuple[float, float]
    eer: float
    d_prime: float
    chance: float
    failures: int
    scores: np.ndarray  # (P, N) probes x gallery


def look_up(
    gallery: Mapping[str, Face], probes: Mapping[str, Face], attacker: str, donors: Mapping[str, str] | None = None
) -> Lookup:
    """Look ``probes`` up in ``gallery``, both by the names of their subjects.

    ``donors``: whose real face a probe wears, by name. Such a donor is not one of the others for this probe: to be
    found as somebody else is no merit of the oracle's.
    """
    names, columns = list(probes), list(gallery)
    scores = scores_of(gallery, probes, attacker)
    for row, name in enumerate(names):
        if donors and donors.get(name) in columns:
            scores[row, columns.index(donors[name])] = np.nan
    own_column = np.array([columns.index(name) for name in names])
    is_own = np.arange(len(columns)) == own_column[:, None]
    own, others = scores[is_own], scores[~is_own].reshape(len(names), -1)
    ranks = statistics.ranks_of(own, others)
    false, true = statistics.roc_curve(own, others)
    return Lookup(
        attacker, tuple(names), own, ranks, statistics.rate((ranks == 1).sum(), len(ranks)),
        statistics.area(own, others), statistics.area_interval(own, others),
        statistics.equal_error_rate(false, true), statistics.d_prime(own, others),
        1.0 / len(columns), int((~np.isfinite(scores)).all(axis=1).sum()), scores,
    )  # fmt: skip


def scores_of(gallery: Mapping[str, Face], probes: Mapping[str, Face], attacker: str) -> np.ndarray:
    """Cosines (P, N) of the mean embeddings of probes and gallery; NaN where no face was acquired."""
    known, unknown = (
        [replace(face.embedding, name=name) for name, face in group.items()] for group in (gallery, probes)
    )
    return similarity_matrix(known, unknown, attacker)


# ---- leakage ----


@dataclass(frozen=True)
class Leak:
    """For every probe: how near its face is to its own subject's (``own``), and to those of matched others.

    Similarities are cosines, distances mm of the skin after the faces were brought to fit.
    """

    probes: tuple[str, ...]
    own_similarity: tuple[float, ...]
    other_similarity: tuple[float, ...]
    own_mm: tuple[float, ...]
    other_mm: tuple[float, ...]

    def similarity(self) -> stats.Paired:
        """Own less others: above 0, the face is more similar to its subject than to people like the subject."""
        return stats.paired(np.subtract(self.own_similarity, self.other_similarity))

    def distance(self) -> stats.Paired:
        """Own less others, mm: below 0, the skin is nearer to the subject's than to that of people like the subject."""
        return stats.paired(np.subtract(self.own_mm, self.other_mm))

    def against(self, other: Leak) -> tuple[stats.Paired, stats.Paired]:
        """Own similarity and own distance less those of another method, on the heads that both have."""
        pairs = [(i, other.probes.index(name)) for i, name in enumerate(self.probes) if name in other.probes]
        similarity = [self.own_similarity[i] - other.own_similarity[j] for i, j in pairs]
        return stats.paired(similarity), stats.paired([self.own_mm[i] - other.own_mm[j] for i, j in pairs])


def leak(
    gallery: Mapping[str, Face],
    lookup: Lookup,
    skins: Mapping[str, np.ndarray],
    alike: Mapping[str, Sequence[str]],
) -> Leak:
    """``skins``: generated skin by name (N, 3; upright mm); ``alike``: matched others of the gallery by name."""
    columns = list(gallery)
    rows = []
    for index, name in enumerate(lookup.probes):
        others = [other for other in alike.get(name, ()) if other in gallery]
        similar = [lookup.scores[index, columns.index(other)] for other in others]
        skin = skins.get(name, np.zeros((0, 3)))
        away = [face_distance(skin, gallery[other].skin) for other in others]
        rows.append((lookup.own[index], _mean(similar), face_distance(skin, gallery[name].skin), _mean(away)))
    return Leak(lookup.probes, *zip(*rows, strict=True))


def _mean(values: Sequence[float]) -> float:
    return stats.mean(values).value


def face_distance(face: np.ndarray, target: np.ndarray) -> float:
    """Mean distance (mm) of the points of a ``face`` (N, 3) to those of a ``target``, after the best rigid fit.

    Both are in upright mm. The tenth of the points that is farthest away does not count. NaN for too few points.
    """
    if min(len(face), len(target)) < 100:
        return float("nan")
    tree, moved = cKDTree(target), face.copy()
    for _ in range(_STEPS):
        away, nearest = tree.query(moved)
        near = away <= np.quantile(away, _TRIM)
        moved = _fitted(moved, moved[near], target[nearest[near]])
    away = tree.query(moved)[0]
    return float(np.sort(away)[: int(_TRIM * len(away))].mean())


def _fitted(points: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``points`` moved by the rotation and shift that take ``source`` to ``target`` (N, 3) best (Kabsch)."""
    a, b = source.mean(axis=0), target.mean(axis=0)
    u, _, vt = np.linalg.svd((target - b).T @ (source - a))
    turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return (points - a) @ turn.T + b


# ---- diversity ----


def pairwise(group: Mapping[str, Face], attacker: str = ATTACKERS[0]) -> np.ndarray:
    """Cosines of all pairs of different heads of a group, each once."""
    if len(group) < 2:
        return np.zeros(0)
    return scores_of(group, group, attacker)[np.triu_indices(len(group), 1)]


def paired_similarity(one: Mapping[str, Face], other: Mapping[str, Face], attacker: str = ATTACKERS[0]) -> np.ndarray:
    """Cosines of two faces of each head that both groups have: two seeds of one subject, say."""
    both = [name for name in one if name in other]
    if not both:
        return np.zeros(0)
    return np.diag(scores_of({n: one[n] for n in both}, {n: other[n] for n in both}, attacker))


def same_less_strangers(groups: Sequence[Mapping[str, Face]], attacker: str = ATTACKERS[0]) -> dict[str, float]:
    """How much more similar the faces of one subject are than those of two subjects, by subject.

    ``groups`` hold a face of each subject by name, a group a seed, say; strangers are compared across the seeds as
    well, and all pairs of groups count. Not below 0 but by chance, whatever makes the faces, as long as it makes each
    by itself: it is the spread of the subjects' mean faces. Forehead and the shape of the head alone give them one.
    Our seeds that follow each other are not: they are drawn apart (RefaceLib.face.seeds).
    """
    groups = [group for group in groups if group]  # a seed that was not run
    names = [name for name in groups[0] if all(name in group for group in groups)] if groups else []
    if len(names) < 2 or len(groups) < 2:
        return {}
    found = []
    for one, other in combinations(groups, 2):
        scores = scores_of({n: one[n] for n in names}, {n: other[n] for n in names}, attacker)
        strangers = np.where(np.eye(len(names), dtype=bool), np.nan, scores)
        found.append(np.diag(scores) - (np.nanmean(strangers, axis=0) + np.nanmean(strangers, axis=1)) / 2)
    return dict(zip(names, np.mean(found, axis=0).tolist(), strict=True))
