"""How similar two faces are, and what that means: scores, and their place among the scores of strangers.

A score is a cosine of two embeddings. What it means depends on the network and on how the heads were drawn, so it is
compared with a calibration: the scores of many pairs of different heads, shipped as quantiles. The share of those pairs
that score as high as this pair is what the verdict rests on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import InputError

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding

ATTACKERS = ("forced", "gated")  # aligned by the points of the original; only where a detector finds a face
ATTACKER_NAMES = {"forced": "forced alignment", "gated": "detector-gated"}
PHOTO = "photo"  # the "view set" of a photograph, which is compared with every view of a head

RECOGNISABLE, UNCERTAIN, NOT_RECOGNISABLE, UNCALIBRATED = VERDICTS = (
    "recognisable", "uncertain", "not recognisable", "uncalibrated",
)  # fmt: skip
RECOGNISABLE_SHARE = 0.01  # at most this share of strangers' pairs scores as high
NOT_RECOGNISABLE_SHARE = 0.1  # at least this share does
THRESHOLDS = {
    RECOGNISABLE: "at most 1 in 100 pairs of different heads scores as high",
    UNCERTAIN: "fewer than 1 in 10, but more than 1 in 100 pairs of different heads score as high",
    NOT_RECOGNISABLE: "at least 1 in 10 pairs of different heads scores as high, or this attacker found no face",
    UNCALIBRATED: "there is no calibration for this model and view set",
}

CALIBRATION_FILE = "calibration.json"
CALIBRATION_FORMAT = 1
# Per cent steps for most of the scores, and ever finer ones for the highest, on which the verdicts rest: 201 in all.
LEVELS = np.concatenate([np.arange(91) / 100, 1 - np.logspace(-1, -4.5, 110)[1:], [1.0]])


# ---- scores ----


@dataclass(frozen=True, eq=False)
class Score:
    """Cosines of two heads for one attacker.

    ``per_view`` (V,) is NaN where a face was not acquired; ``mean_embedding`` compares the means over the ``acquired``
    of ``views`` views in which both faces were; it and ``maximum`` (over views) are NaN where there is no such view.
    """

    attacker: str
    per_view: np.ndarray
    mean_embedding: float
    maximum: float
    acquired: int
    views: int


def rows_of(head: HeadEmbedding, attacker: str) -> np.ndarray:
    """The head's embeddings (V, D) for an attacker, float64 and of length 1; NaN rows where no face was acquired."""
    if attacker not in ATTACKERS:
        raise ValueError(f"attacker must be one of {ATTACKERS}, not {attacker!r}")
    rows = np.asarray(head.forced if attacker == "forced" else head.gated, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check_comparable(heads: Iterable[HeadEmbedding]) -> None:
    """Raise InputError unless all are of one model and one view set; a photograph goes with any view set."""
    heads = list(heads)
    models = sorted({head.model for head in heads})
    if len(models) > 1:
        raise InputError(f"The embeddings are of different models ({', '.join(models)}): embed all with one model.")
    views = sorted({head.views for head in heads} - {PHOTO})
    if len(views) > 1:
        raise InputError(f"The embeddings are of different view sets ({', '.join(views)}): embed all with one set.")


def score(reference: HeadEmbedding, probe: HeadEmbedding, attacker: str) -> Score:
    """Compare two heads, view by view and as a whole; a photograph is compared with every view of a head.

    Raises InputError for embeddings of different models or view sets.
    """
    check_comparable([reference, probe])
    per_view = (rows_of(reference, attacker) * rows_of(probe, attacker)).sum(axis=1)
    per_view = np.clip(per_view, -1.0, 1.0)
    seen = np.isfinite(per_view)
    return Score(
        attacker=attacker,
        per_view=per_view,
        mean_embedding=float(similarity_matrix([reference], [probe], attacker)[0, 0]),
        maximum=float(per_view[seen].max()) if seen.any() else float("nan"),
        acquired=int(seen.sum()),
        views=len(per_view),
    )


def similarity_matrix(
    references: Sequence[HeadEmbedding], probes: Sequence[HeadEmbedding], attacker: str
) -> np.ndarray:
    """Cosines (P, R) of the mean embeddings of P probes and R references, as Score.mean_embedding has them.

    The means are over the views in which both faces were acquired, which is what a clever attacker would compare; NaN
    where there is none.
    """
    views = max(len(head.forced) for head in (*references, *probes))
    first, first_seen = _stacked(references, attacker, views)
    second, second_seen = _stacked(probes, attacker, views)
    if first_seen.all() and second_seen.all():
        return np.clip(_unit(second.mean(axis=1)) @ _unit(first.mean(axis=1)).T, -1.0, 1.0)
    matrix = np.empty((len(probes), len(references)))
    for column, (rows, seen) in enumerate(zip(first, first_seen, strict=True)):
        common = second_seen & seen  # (P, V)
        reference_sums = common.astype(float) @ rows
        probe_sums = np.einsum("pv,pvd->pd", common.astype(float), second)
        matrix[:, column] = (_unit(reference_sums) * _unit(probe_sums)).sum(axis=1)
    return np.clip(matrix, -1.0, 1.0)


def _stacked(heads: Sequence[HeadEmbedding], attacker: str, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, views, D) with zeros where no face was acquired, and where one was (N, views)."""
    every = [rows_of(head, attacker) for head in heads]
    rows = np.stack([np.broadcast_to(each, (views, each.shape[1])) if len(each) == 1 else each for each in every])
    seen = np.isfinite(rows).all(axis=2)
    return np.where(seen[..., None], rows, 0.0), seen


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) at length 1; NaN where there is no direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.full_like(vectors, np.nan), where=lengths > 0)


# ---- calibration ----


@dataclass(frozen=True, eq=False)
class Distribution:
    """Scores of many pairs of heads, as numbers only.

    ``quantiles`` (Q,) of the ``n`` pairs that have a score, at ``levels`` (Q,) from 0 to 1; ``failures`` counts the
    pairs without a score (no face acquired), which are below every score.
    """

    levels: np.ndarray
    quantiles: np.ndarray
    n: int
    mean: float
    sd: float
    failures: int = 0

    def share_at_least(self, value: float) -> float:
        """The share of all pairs that score `value` or more; never less than one pair, however high the score.

        It is exact at the scores that the quantiles were made of, where the levels are dense enough.
        """
        # Of equal quantiles the first counts: all pairs with that very score are as high.
        values, first = np.unique(self.quantiles, return_index=True)
        below = float(np.interp(value, values, self.levels[first], left=0.0, right=1.0))
        return ((1.0 - below) * (self.n - 1) + 1) / (self.n + self.failures)

    def share_at_most(self, value: float) -> float:
        """The share of all pairs that score `value` or less; never less than one pair."""
        values, first = np.unique(-self.quantiles[::-1], return_index=True)
        above = float(np.interp(-value, values, (1.0 - self.levels[::-1])[first], left=0.0, right=1.0))
        return ((1.0 - above) * (self.n - 1) + 1 + self.failures) / (self.n + self.failures)

    def value_at_share(self, share: float) -> float:
        """The score that is reached by `share` of all pairs: the inverse of share_at_least."""
        below = 1.0 - (share * (self.n + self.failures) - 1) / max(self.n - 1, 1)
        return float(np.interp(below, self.levels, self.quantiles))

    def below(self, edges: np.ndarray) -> np.ndarray:
        """Share of the scored pairs that lie below each of `edges` (for a histogram)."""
        return np.interp(edges, self.quantiles, self.levels, left=0.0, right=1.0)


def distribution(scores: np.ndarray) -> Distribution:
    """What a calibration keeps of `scores` (any shape; NaN: no face was acquired)."""
    scores = np.asarray(scores, float).ravel()
    scored = scores[np.isfinite(scores)]
    if len(scored) < 2:
        raise InputError(f"Only {len(scored)} of {len(scores)} pairs of heads have a score: give more heads.")
    quantiles = np.quantile(scored, LEVELS)
    return Distribution(
        LEVELS, quantiles, len(scored), float(scored.mean()), float(scored.std(ddof=1)), len(scores) - len(scored)
    )


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of different heads and of the same head scanned again, for one model, view set and attacker.

    ``about`` says how it was made (``heads``, ``data``, ``command``, ``date``).
    """

    model: str
    model_sha256: str
    views: str
    attacker: str
    different: Distribution
    same: Distribution
    about: Mapping[str, Any]


def resources_folder() -> Path:
    """Where the module's resources are: in the installed package, or beside it in the source tree and in Slicer."""
    here = Path(__file__).parents[1]  # ReidentRiskLib
    installed = here / "Resources"
    return installed if installed.is_dir() else here.parent / "Resources"


def load_calibration(
    model: str, views: str, attacker: str, sha256: str | None = None, path: str | Path | None = None
) -> Calibration | None:
    """The shipped calibration (or that in `path`), None where there is none for this model, view set and attacker.

    With `sha256`, that of the model's file, a calibration of another file under the same name does not count. Raises
    InputError when the file cannot be read.
    """
    for entry in read_calibrations(path):
        wanted = (entry.model, entry.views, entry.attacker) == (model, views, attacker)
        if wanted and sha256 in (None, entry.model_sha256):
            return entry
    return None


def read_calibrations(path: str | Path | None = None) -> list[Calibration]:
    """Every calibration in a file (default: the shipped one; none where it is missing). Raises InputError."""
    if path is None:
        path = resources_folder() / CALIBRATION_FILE
        if not path.is_file():
            return []
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content["format"] != CALIBRATION_FORMAT:
            raise InputError(f"{path} is of another version of ReidentRisk: make it again with reident-risk calibrate.")
        return [_calibration(entry, content["levels"]) for entry in content["entries"]]
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the name.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no calibration of ReidentRisk: make one with reident-risk calibrate.") from error


def calibrations_record(entries: Sequence[Calibration]) -> dict[str, Any]:
    """What read_calibrations reads, ready for JSON: numbers and text, no embedding."""
    return {
        "format": CALIBRATION_FORMAT,
        "levels": [round(float(level), 7) for level in LEVELS],
        "entries": [
            {
                "model": entry.model,
                "model_sha256": entry.model_sha256,
                "views": entry.views,
                "attacker": entry.attacker,
                "different": _distribution_record(entry.different),
                "same": _distribution_record(entry.same),
                **entry.about,
            }
            for entry in entries
        ],
    }


def _distribution_record(part: Distribution) -> dict[str, Any]:
    return {
        "n": part.n,
        "failures": part.failures,
        "mean": round(part.mean, 5),
        "sd": round(part.sd, 5),
        "quantiles": [round(float(value), 5) for value in part.quantiles],
    }


def _calibration(entry: Mapping[str, Any], levels: Sequence[float]) -> Calibration:
    named = ("model", "model_sha256", "views", "attacker")
    about = {key: value for key, value in entry.items() if key not in (*named, "different", "same")}
    parts = []
    for record in (entry["different"], entry["same"]):
        quantiles = np.array(record["quantiles"], float)
        if quantiles.shape != (len(levels),) or not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
            raise ValueError("quantiles")
        counts = int(record["n"]), float(record["mean"]), float(record["sd"]), int(record["failures"])
        parts.append(Distribution(np.array(levels, float), quantiles, *counts))
    return Calibration(*(entry[key] for key in named), *parts, about)


# ---- what it means ----


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


def share_of_strangers(value: float, calibration: Calibration) -> float:
    """The share of the pairs of different heads that score at least `value`; not less than one pair of them."""
    return calibration.different.share_at_least(value)


def verdict_of(value: float, calibration: Calibration | None) -> str:
    """One of VERDICTS for a mean-embedding cosine; NaN says that this attacker acquired no face."""
    if not np.isfinite(value):
        return NOT_RECOGNISABLE
    if calibration is None or calibration.different.n * RECOGNISABLE_SHARE < 1:  # too few pairs for any such share
        return UNCALIBRATED
    share = share_of_strangers(value, calibration)
    if share <= RECOGNISABLE_SHARE:
        return RECOGNISABLE
    return NOT_RECOGNISABLE if share >= NOT_RECOGNISABLE_SHARE else UNCERTAIN


def assess(value: Score, calibration: Calibration | None) -> Assessment:
    """Say what a score means, given the calibration of its model, view set and attacker."""
    cosine = value.mean_embedding
    verdict = verdict_of(cosine, calibration)
    strangers = itself = None
    if calibration is not None and np.isfinite(cosine):
        strangers = share_of_strangers(cosine, calibration)
        itself = calibration.same.share_at_most(cosine)
    return Assessment(value, calibration, strangers, itself, verdict, _sentence(value, calibration, strangers, verdict))


def strongest(verdicts: Iterable[str]) -> str:
    """The verdict that counts when there are several attackers: that of the most successful one."""
    order = (RECOGNISABLE, UNCERTAIN, UNCALIBRATED, NOT_RECOGNISABLE)
    return min(verdicts, key=order.index)


def in_words(share: float, pairs: int) -> str:
    """A share of strangers as people say it: "as similar as 1 in 40 strangers".

    Rounding never crosses a threshold of the verdict.
    """
    if share <= 1.0 / pairs:
        return f"more similar than all of {pairs:,} pairs of strangers"
    if share >= 0.995:
        return "less similar than nearly all strangers"
    if share > 0.5:
        return f"as similar as {round(100 * share)} in 100 strangers"
    one_in = round(1.0 / share)
    if RECOGNISABLE_SHARE < share < NOT_RECOGNISABLE_SHARE:
        one_in = min(max(one_in, round(1 / NOT_RECOGNISABLE_SHARE) + 1), round(1 / RECOGNISABLE_SHARE) - 1)
    return f"as similar as 1 in {one_in:,} strangers"


def _sentence(value: Score, calibration: Calibration | None, strangers: float | None, verdict: str) -> str:
    if value.acquired == 0:
        where = "the view" if value.views == 1 else f"any of the {value.views} views"
        return f"no face was found in {where}, so there is nothing to compare"
    partly = "" if value.acquired == value.views else f", a face being found in {value.acquired} of {value.views} views"
    if calibration is None or strangers is None:
        return f"a similarity of {value.mean_embedding:.2f}, for which there is no calibration{partly}"
    pairs = calibration.different.n + calibration.different.failures
    return f"{in_words(strangers, pairs)}{partly}"


def record(assessment: Assessment, *, per_view: bool = True) -> dict[str, Any]:
    """An assessment ready for JSON, rounded; NaN becomes None. `per_view` False leaves the cosine of every view out."""
    value = assessment.score
    result = {
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
    return {
        "different_pairs": calibration.different.n,
        "different_pairs_without_a_face": calibration.different.failures,
        "different_mean": number(calibration.different.mean),
        "same_pairs": calibration.same.n,
        "same_mean": number(calibration.same.mean),
        "recognisable_from": number(calibration.different.value_at_share(RECOGNISABLE_SHARE)),
        "not_recognisable_up_to": number(calibration.different.value_at_share(NOT_RECOGNISABLE_SHARE)),
        **calibration.about,
    }


def number(value: float | None, digits: int = 5) -> float | None:
    """A number for JSON: rounded, None for NaN."""
    return None if value is None or not np.isfinite(value) else round(float(value), digits)
