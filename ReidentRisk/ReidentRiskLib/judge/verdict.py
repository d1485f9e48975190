"""What a score means: its place among the scores of strangers, a verdict and a sentence.

A cosine means nothing by itself: it depends on the network and on how the heads were drawn. It is compared with a
calibration. The share of the pairs of strangers that score as high as this pair is what the verdict rests on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ReidentRiskLib.judge.calibration import Calibration, Distribution
from ReidentRiskLib.judge.scores import Score, number

RECOGNISABLE, UNCERTAIN, NOT_RECOGNISABLE, UNCALIBRATED = VERDICTS = (
    "recognisable", "uncertain", "not recognisable", "uncalibrated",
)  # fmt: skip
NO_HEAD = "no head"  # what stands in place of a verdict where there is nothing to judge
RECOGNISABLE_SHARE = 0.01  # at most this share of strangers' pairs scores as high
NOT_RECOGNISABLE_SHARE = 0.1  # at least this share does
FEW, MANY = round(1 / RECOGNISABLE_SHARE), round(1 / NOT_RECOGNISABLE_SHARE)  # one of so many pairs
THRESHOLDS = {
    RECOGNISABLE: f"at most 1 of {FEW} pairs of strangers is at least this similar",
    UNCERTAIN: f"fewer than 1 of {MANY}, but more than 1 of {FEW} pairs of strangers are at least this similar",
    NOT_RECOGNISABLE: f"at least 1 of {MANY} pairs of strangers is at least this similar, or no face was found",
    UNCALIBRATED: "there is no calibration for this model and view set",
}


@dataclass(frozen=True, eq=False)
class Assessment:
    """A score and what it means; the shares are None where there is no calibration or no score.

    ``strangers``: share of the pairs of different heads that score as high. ``itself``: share of the pairs of scans of
    one head that score as low.
    """

    score: Score
    calibration: Calibration | None
    strangers: float | None
    itself: float | None
    verdict: str
    sentence: str


def verdict_of(value: float, calibration: Calibration | None) -> str:
    """One of VERDICTS for a mean-embedding cosine; NaN says that this attacker acquired no face."""
    if not np.isfinite(value):
        return NOT_RECOGNISABLE
    if calibration is None or calibration.different.n * RECOGNISABLE_SHARE < 1:  # too few pairs for any such share
        return UNCALIBRATED
    share = calibration.different.share_at_least(value)
    if share <= RECOGNISABLE_SHARE:
        return RECOGNISABLE
    return NOT_RECOGNISABLE if share >= NOT_RECOGNISABLE_SHARE else UNCERTAIN


def assess(value: Score, calibration: Calibration | None) -> Assessment:
    """Say what a score means, given the calibration of its model, view set and attacker."""
    cosine = value.mean_embedding
    verdict = verdict_of(cosine, calibration)
    strangers = itself = None
    if calibration is not None and np.isfinite(cosine):
        strangers = calibration.different.share_at_least(cosine)
        itself = calibration.same.share_at_most(cosine)
    return Assessment(value, calibration, strangers, itself, verdict, _sentence(value, calibration, strangers, verdict))


def no_head(nothing: Assessment, cause: str) -> Assessment:
    """An assessment of `nothing`, where no head was found: NO_HEAD in place of the verdict, and the cause."""
    return replace(nothing, verdict=NO_HEAD, sentence=cause)


def limits(calibration: Calibration) -> tuple[float, float]:
    """The cosines up to which a face is NOT_RECOGNISABLE, and from which it is RECOGNISABLE."""
    different = calibration.different
    return different.value_at_share(NOT_RECOGNISABLE_SHARE), different.value_at_share(RECOGNISABLE_SHARE)


def zones(calibration: Calibration, low: float, high: float) -> dict[str, tuple[float, float]]:
    """The verdicts along all cosines from `low` to `high`, or farther: each with the cosines where it begins and ends.

    They touch each other, and the lowest comes first.
    """
    up_to, since = limits(calibration)
    return {
        NOT_RECOGNISABLE: (min(low, up_to), up_to),
        UNCERTAIN: (up_to, since),
        RECOGNISABLE: (since, max(high, since)),
    }


def strongest(verdicts: Iterable[str]) -> str:
    """The verdict that counts when there are several attackers: that of the most successful one."""
    order = (RECOGNISABLE, UNCERTAIN, UNCALIBRATED, NOT_RECOGNISABLE, NO_HEAD)
    return min(verdicts, key=order.index)


def in_words(share: float, pairs: int) -> str:
    """A share of the pairs of strangers as people say it: "1 of 40 pairs of strangers is at least this similar".

    Rounding never crosses a threshold of the verdict.
    """
    one, many = "pairs of strangers is at least this similar", "pairs of strangers are at least this similar"
    if share <= 1.0 / pairs:
        return f"at most 1 of {pairs:,} {one}"
    if share >= 0.995:
        return f"nearly all {many}"
    if share >= NOT_RECOGNISABLE_SHARE:
        return f"{round(100 * share)} of 100 {many}"
    one_in = round(1.0 / share)
    if share > RECOGNISABLE_SHARE:
        one_in = min(max(one_in, MANY + 1), FEW - 1)
    return f"1 of {one_in:,} {one}"


def places_in_words(assessment: Assessment) -> list[str]:
    """Where a score lies among strangers and among scans of one head, as percentiles in words; empty without them.

    "93 of 100 pairs of strangers are less alike.", "Nearly all pairs of scans of one head are more alike."
    """
    if assessment.calibration is None or assessment.strangers is None or assessment.itself is None:
        return []
    different, same = assessment.calibration.different, assessment.calibration.same
    less = 1.0 - assessment.strangers
    if RECOGNISABLE_SHARE < assessment.strangers < NOT_RECOGNISABLE_SHARE:  # rounding crosses no threshold
        less = min(max(less, 1.01 - NOT_RECOGNISABLE_SHARE), 0.99 - RECOGNISABLE_SHARE)
    return [
        f"{_of_100(less, different)} pairs of strangers are less alike.",
        f"{_of_100(1.0 - assessment.itself, same)} pairs of scans of one head are more alike.",
    ]


def _of_100(share: float, pairs: Distribution) -> str:
    """A share of pairs, of which all but one count as nearly all, however few there are."""
    if share >= min(0.995, 1.0 - 1.5 / (pairs.n + pairs.failures)):
        return "Nearly all"
    return f"{round(100 * share)} of 100" if share >= 0.005 else "Hardly any"


def _sentence(value: Score, calibration: Calibration | None, strangers: float | None, verdict: str) -> str:
    if value.acquired == 0:
        where = "the view" if value.views == 1 else f"any of the {value.views} views"
        return f"no face was found in {where}, so there is nothing to compare"
    partly = "" if value.acquired == value.views else f", a face being found in {value.acquired} of {value.views} views"
    if calibration is None or strangers is None:
        return f"a similarity of {value.mean_embedding:.2f}, for which there is no calibration{partly}"
    pairs = calibration.different.n + calibration.different.failures
    return f"{in_words(strangers, pairs)}{partly}"


def assessment_record(assessment: Assessment, *, per_view: bool = True) -> dict[str, Any]:
    """An assessment ready for JSON, rounded; NaN becomes None. `per_view` False leaves the cosine of every view out."""
    value = assessment.score
    result: dict[str, Any] = {
        "verdict": assessment.verdict,
        "sentence": assessment.sentence,
        "mean_embedding": number(value.mean_embedding),
        "maximum": number(value.maximum),
        "acquired_views": value.acquired,
        "views": value.views,
        "share_of_strangers": number(assessment.strangers, 7),
        "share_of_same_head": number(assessment.itself, 7),
    }
    if per_view:
        result["per_view"] = [number(cosine) for cosine in value.per_view]
    return result


def calibration_record(calibration: Calibration | None) -> dict[str, Any] | None:
    """What a result says about the calibration it rests on: its origin, and the thresholds as cosines."""
    if calibration is None:
        return None
    up_to, since = limits(calibration)
    return {
        "different_pairs": calibration.different.n,
        "different_pairs_without_a_face": calibration.different.failures,
        "different_mean": number(calibration.different.mean),
        "same_pairs": calibration.same.n,
        "same_mean": number(calibration.same.mean),
        "recognisable_from": number(since),
        "not_recognisable_up_to": number(up_to),
        **calibration.about,
    }
