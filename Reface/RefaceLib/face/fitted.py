"""Constants that were fitted to one set of weights, from the section "fitted" of the weights' registry.

Other weights paint another contrast, and another parser sees a defaced head elsewhere. The constants of one set are
therefore wrong for another. docs/training.md explains how they are fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from RefaceLib.face.plausibility import Law
from RefaceLib.head.canonical import BRAIN_LANDMARKS, BRAIN_POINTS

_GENERATOR, _PARSERS = ("shape", "detail", "coarse", "fine"), ("localizer", "parser")
# The constants in the registry, and the weights that each was fitted to.
FITTED_TO = {
    "skin_curve": _GENERATOR,
    "contrast_offsets": _GENERATOR,
    "defaced_brain_points": _PARSERS,
    "true_faces": ("shape", "detail"),
}
_MEASURES = ("unexplained", "peaks", "unusual", "strain", "horns")  # of Plausibility, in its order


@dataclass(frozen=True, eq=False)
class FittedConstants:
    """What painting needs beside the networks.

    ``skin_factors`` (D,) at the depths ``skin_depths`` (D,; mm under the drawn skin, increasing) sharpen the painted
    skin. ``offsets`` (Q,; float32, 1 = white matter) are added to the ``percentiles`` (Q,; increasing) of the visible
    tissue. ``defaced_brain_points`` (11, 3; canonical mm, in the order of BRAIN_LANDMARKS) are where the parser sees
    the landmarks of a brain without a face. ``law`` says what true faces look like.
    """

    skin_depths: np.ndarray
    skin_factors: np.ndarray
    percentiles: np.ndarray
    offsets: np.ndarray
    defaced_brain_points: np.ndarray
    law: Law

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> FittedConstants:
        """From the section of a registry. Raises ValueError where it is incomplete or no such section."""
        try:
            return cls._of(section)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError("the section lacks a constant, or holds something else") from error

    @classmethod
    def _of(cls, section: Mapping[str, Any]) -> FittedConstants:
        depths, factors = _curve(section["skin_curve"])
        percentiles, offsets = _curve(section["contrast_offsets"])
        points = np.array([section["defaced_brain_points"][name] for name in BRAIN_LANDMARKS], dtype=float)
        if points.shape != BRAIN_POINTS.shape or not np.isfinite(points).all():
            raise ValueError("a landmark has three finite coordinates")
        return cls(depths, factors, percentiles, offsets.astype(np.float32), points, _law(section["true_faces"]))


def _law(record: Mapping[str, float]) -> Law:
    *most, limit, usual = (float(record[name]) for name in (*_MEASURES, "limit", "usual"))
    if not all(0 < number < np.inf for number in (*most, limit, usual)):
        raise ValueError("the numbers of true faces are positive and finite")
    return Law((most[0], most[1], most[2], most[3], most[4]), limit, usual)


def _curve(record: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of a curve that a registry stores as value by place."""
    places, values = np.array(list(record), dtype=float), np.array(list(record.values()), dtype=float)
    if not places.size or not np.isfinite(values).all() or not (np.diff(places) > 0).all():
        raise ValueError("a curve has finite values at increasing places")
    return places, values


def neutral() -> dict[str, Any]:
    """The section for weights to which nothing was fitted.

    Factors of 1 and offsets of 0 correct nothing, and the landmarks of a defaced brain are those of a whole head. All
    faces are true whose profile is.
    """
    return {
        "skin_curve": {"0": 1.0},
        "contrast_offsets": {"10": 0.0, "25": 0.0, "50": 0.0, "75": 0.0, "90": 0.0, "97": 0.0},
        "defaced_brain_points": points_record(BRAIN_POINTS),
        "true_faces": {**dict.fromkeys(_MEASURES, 1.0), "limit": 1e6, "usual": 1.0},
    }


def points_record(points: np.ndarray) -> dict[str, list[float]]:
    """Brain landmarks (11, 3) in mm as the registry stores them: coordinates by name, rounded to 0.1 mm."""
    return {name: [round(float(x), 1) for x in point] for name, point in zip(BRAIN_LANDMARKS, points, strict=True)}
