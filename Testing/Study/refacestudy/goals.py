"""What must hold for our faces, each with the figures it is judged by: yes, no, or not enough to tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refacestudy.methods import AVERAGE_FACES
from refacestudy.stats import Paired, paired

LARGEST_CHANGE = 0.05  # %, median
COSINE_MARGIN = 0.03  # above the oracle's
DIVERSITY_MARGIN = 0.15  # from the similarity of real pairs
ACCEPTED = 0.95  # of the originals' acceptance
RECOVERED = (("recover_deface", "deface"), ("recover_niimath", "niimath_deface"), ("recover_quickshear", "quickshear"))

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """``holds`` is None where a figure is missing."""

    sentence: str
    figures: str
    holds: bool | None


@dataclass(frozen=True)
class Seeds:
    """``cosines`` of two seeds of one subject, drawn apart, and of two of different ``blocks``, which are not (see
    RefaceLib.face.seeds); how much more alike the first are than two subjects, by subject (``apart``); the same of real
    strangers' faces in one head (``oracles``); and how much more alike the own original the faces of all seeds are in
    the mean than the average face (``less_average``) and than the faces of real strangers in the same head
    (``less_strangers``), by subject."""

    cosines: np.ndarray
    blocks: np.ndarray
    apart: Mapping[str, float]
    oracles: Mapping[str, float]
    less_average: Mapping[str, float]
    less_strangers: Mapping[str, float]

    def less_oracles(self) -> Paired:
        """``apart`` less ``oracles``, over the subjects that have both."""
        return paired([self.apart[name] - self.oracles[name] for name in self.apart if name in self.oracles])


def average_face(methods: Sequence[Row]) -> Row:
    """The row of the average face that ours are judged beside: the first that was measured; empty where none was."""
    by_name = {row["method"]: row for row in methods}
    rows = (by_name.get(name, {}) for name in AVERAGE_FACES)
    return next((row for row in rows if np.isfinite(_get(row, "brain_change"))), {})


def judge(methods: Sequence[Row], seeds: Seeds, segmenters: Sequence[str]) -> list[Goal]:
    """All goals, from the rows of the methods and the likeness of seeds."""
    by_name = {row["method"]: row for row in methods}
    reface, oracle, original = (by_name.get(name, {}) for name in ("reface", "oracle", "original"))
    average = average_face(methods)
    structures = ["brain", *(f"{segmenter}_{tissue}" for segmenter in segmenters for tissue in ("gm", "wm"))]
    structures = [name for name in structures if np.isfinite(_get(reface, f"{name}_change"))]
    goals = [_change(reface, average, name) for name in structures]
    for recovered, defaced in RECOVERED:
        if recovered in by_name:
            goals += [_recovered(by_name[recovered], by_name.get(defaced, {}), name) for name in structures]
    return goals + _risk(reface, oracle, average, seeds) + _leakage(reface) + _faces(reface, original, seeds)


def _change(reface: Row, average: Row, name: str) -> Goal:
    ours, theirs = _get(reface, f"{name}_change"), _get(average, f"{name}_change")
    figures = f"{ours:.3f} %; average face {theirs:.3f} %"
    limit = np.fmin(LARGEST_CHANGE, theirs)
    return Goal(
        f"reface, {_plain(name)}: change at most {LARGEST_CHANGE} % and the average face's",
        figures,
        _less(ours, limit),
    )


def _recovered(recovered: Row, defaced: Row, name: str) -> Goal:
    after, before = _get(recovered, f"{name}_change"), _get(defaced, f"{name}_change")
    sentence = (
        f"{recovered['method']}, {_plain(name)}: at most half of the change of {defaced.get('method', 'defacing')}"
    )
    return Goal(sentence, f"{after:.3f} % of {before:.3f} %", _less(after, before / 2))


def _risk(reface: Row, oracle: Row, average: Row, seeds: Seeds) -> list[Goal]:
    ours, best = _get(reface, "rank1_forced"), _get(oracle, "rank1_forced")
    cosine, limit, theirs = (_get(row, "cosine_forced") for row in (reface, oracle, average))
    overlap = _less(_get(reface, "rank1_forced_low"), _get(oracle, "rank1_forced_high"))
    # One face a head is one draw, which moves the mean by 0.015 to 0.035; so these are judged by all seeds.
    less, strangers = (paired(list(each.values())) for each in (seeds.less_average, seeds.less_strangers))
    return [
        Goal("rank-1 not above the oracle's (intervals overlap)", f"{ours:.2f}; oracle {best:.2f}", overlap),
        Goal(
            f"cosine to the own original at most the oracle's plus {COSINE_MARGIN}",
            f"{cosine:.3f}; oracle {limit:.3f}",
            _less(cosine, limit + COSINE_MARGIN),
        ),
        Goal(
            "cosine to the own original below the average face's",
            f"{cosine:.3f}; average {theirs:.3f}",
            _less(cosine, theirs),
        ),
        Goal(
            "mean cosine of all seeds to the own original below the average face's (the difference)",
            _spelled(less),
            _less(less.value, 0.0),
        ),
        Goal(
            "mean cosine of all seeds to the own original not above that of strangers' faces in the head"
            " (interval of the difference reaches 0)",
            _spelled(strangers),
            _less(strangers.low, 0.0),
        ),
    ]


def _leakage(reface: Row) -> list[Goal]:
    goals = []
    for other, name in (("oracle", "oracle's"), ("average_face", "average face's")):
        value, low, high = (_get(reface, f"mm_less_{other}{end}") for end in ("", "_low", "_high"))
        goals.append(
            Goal(
                f"surface no nearer to the own face than the {name} (interval of the difference reaches 0)",
                f"{value:+.2f} mm ({low:+.2f} to {high:+.2f})",
                _less(0.0, high),
            )
        )
    return goals


def _faces(reface: Row, original: Row, seeds: Seeds) -> list[Goal]:
    pairs, real = _get(reface, "pair_cosine"), _get(original, "pair_cosine")
    same, blocks = (float(each.mean()) if len(each) else float("nan") for each in (seeds.cosines, seeds.blocks))
    apart, oracles = (paired(list(each.values())) for each in (seeds.apart, seeds.oracles))
    less = seeds.less_oracles()
    ours, theirs = _get(reface, "accepted"), _get(original, "accepted")
    return [
        Goal(
            f"generated faces as unlike as real ones (within {DIVERSITY_MARGIN})",
            f"{pairs:.2f}; real pairs {real:.2f}",
            _less(abs(pairs - real), DIVERSITY_MARGIN),
        ),
        Goal(
            "two seeds of one subject, of four that follow each other, as unlike as two strangers' generated faces"
            " (bare cosines)",
            f"{same:.2f}; {pairs:.2f}; not judged: seeds that do not {blocks:.2f}",
            _less(same, pairs),
        ),
        Goal(
            "two seeds no more alike, beyond strangers, than real strangers' faces in one head (interval of the"
            " difference reaches 0)",
            f"{_spelled(apart)}; {_spelled(oracles)}; difference {_spelled(less)}",
            _less(less.low, 0.0),
        ),
        Goal(
            f"detector accepts at least {ACCEPTED:.0%} of what it accepts of originals",
            f"{ours:.2f}; originals {theirs:.2f}",
            _less(ACCEPTED * theirs, ours),
        ),
    ]


def _less(one: float, other: float) -> bool | None:
    """Whether one is at most the other; None where either is no number."""
    return bool(one <= other) if np.isfinite(one) and np.isfinite(other) else None


def _spelled(value: Paired) -> str:
    return f"{value.value:+.3f} ({value.low:+.3f} to {value.high:+.3f})"


def _get(row: Row, key: str) -> float:
    value = row.get(key)
    return float("nan") if value is None else float(value)


def _plain(name: str) -> str:
    return name.replace("_", " ")
