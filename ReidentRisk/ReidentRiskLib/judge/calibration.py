"""The calibration: the scores of many pairs of heads, as quantiles, and their file.

The scores are those of different heads, and of one head that was scanned again. ReidentRiskLib.runs.calibrate measures
them; here they are read and looked up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib.common.errors import InputError

CALIBRATION_FILE = "calibration.json"
CALIBRATION_FORMAT = 1
CALIBRATION_KEY = "entries"  # by which the file is known
# Per cent steps for most of the scores, and ever finer ones for the highest, on which the verdicts rest: 201 in all.
LEVELS = np.concatenate([np.arange(91) / 100, 1 - np.logspace(-1, -4.5, 110)[1:], [1.0]])
_BIN = 0.01  # of a cosine, in histograms


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

    def histogram(self) -> tuple[np.ndarray, np.ndarray]:
        """Edges (N + 1,) and densities (N,) of a histogram, rebuilt from the quantiles; the densities' area is 1."""
        low, high = float(self.quantiles[0]), float(self.quantiles[-1])
        if high - low < 1e-6:
            low, high = low - 0.5e-3, high + 0.5e-3
        edges = np.linspace(low, high, 1 + int(np.clip((high - low) / _BIN, 8, 80)))
        return edges, np.diff(np.interp(edges, self.quantiles, self.levels)) / np.diff(edges)


def distribution_of(scores: np.ndarray) -> Distribution:
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
        raise InputError(
            f"{path} is not a calibration of ReidentRisk: make one with reident-risk calibrate."
        ) from error


def calibration_file_content(entries: Sequence[Calibration]) -> dict[str, Any]:
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
    rest = dict(entry)
    different, same = (_distribution(rest.pop(key), levels) for key in ("different", "same"))
    named = {key: rest.pop(key) for key in ("model", "model_sha256", "views", "attacker")}
    return Calibration(**named, different=different, same=same, about=rest)


def _distribution(record: Mapping[str, Any], levels: Sequence[float]) -> Distribution:
    quantiles = np.array(record["quantiles"], float)
    if quantiles.shape != (len(levels),) or not np.isfinite(quantiles).all() or (np.diff(quantiles) < 0).any():
        raise ValueError("quantiles")
    counts = int(record["n"]), float(record["mean"]), float(record["sd"]), int(record["failures"])
    return Distribution(np.array(levels, float), quantiles, *counts)
