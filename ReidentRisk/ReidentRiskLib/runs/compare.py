"""Probes compared with a reference: what the command line and the window report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.common.progress import Cancelled, Progress, no_progress, part, raise_if_cancelled
from ReidentRiskLib.attack.views import PHOTO
from ReidentRiskLib.judge.calibration import Calibration
from ReidentRiskLib.judge.scores import score_of
from ReidentRiskLib.judge.verdict import (
    THRESHOLDS,
    Assessment,
    assess,
    assessment_record,
    calibration_record,
    no_head,
    strongest,
)
from ReidentRiskLib.runs.faces import Face, Source, embed_source, missing_face, warnings_of
from ReidentRiskLib.runs.tools import Tools, about, calibrations_for, network_name

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """A probe and what each attacker makes of it (`assessments` by attacker)."""

    face: Face
    assessments: Mapping[str, Assessment]

    @property
    def verdict(self) -> str:
        """That of the stronger attacker."""
        return strongest(assessment.verdict for assessment in self.assessments.values())


@dataclass(frozen=True, eq=False)
class Comparison:
    """A reference, the probes, and how similar they are; `calibrations` by attacker (None: there is none)."""

    reference: Face
    results: tuple[ProbeResult, ...]
    about: Mapping[str, Any]
    views: str
    calibrations: Mapping[str, Calibration | None]
    warnings: tuple[str, ...]
    seconds: Mapping[str, float] = field(default_factory=dict)


def compare(
    reference: tuple[str, Source],
    probes: Sequence[tuple[str, Source]],
    tools: Tools,
    views: str = "standard",
    *,
    own_landmarks: bool = False,
    points: np.ndarray | None = None,
    calibration: Path | None = None,
    keep_pictures: bool = True,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Comparison:
    """Compare each of `probes` with `reference`, all as (name, source).

    The landmarks of the reference (or `points` (5, 3) of it, RAS mm) are used for probes in the same grid and place,
    unless `own_landmarks` asks for each probe's own. `calibration` is a file in place of the shipped one. A probe in
    which no head is found gets NO_HEAD in place of a verdict, with the cause. Raises RefaceError with one sentence;
    also where no probe has a head.
    """
    if not probes:
        raise InputError("There is nothing to compare the reference with: give at least one probe.")
    calibrations = calibrations_for(tools, views, calibration)
    progress = progress or no_progress
    share = 1.0 / (len(probes) + 1)
    start = time.perf_counter()
    progress(0.0, "reference")
    embed = partial(embed_source, tools=tools, views=views, keep_pictures=keep_pictures, cancelled=cancelled)
    original = embed(*reference, points=points, progress=part(progress, 0.0, share))
    times = [time.perf_counter()]
    results: list[ProbeResult] = []
    errors: list[HeadNotFoundError] = []
    for index, (name, source) in enumerate(probes, start=1):
        raise_if_cancelled(cancelled)
        progress(index * share, "probe")
        try:
            face = embed(
                name,
                source,
                original=None if own_landmarks else original.located,
                progress=part(progress, index * share, (index + 1) * share),
            )
            results.append(ProbeResult(face, assess_all(original.embedding, face.embedding, calibrations)))
        except HeadNotFoundError as error:
            errors.append(error)
            results.append(_without_a_head(name, str(error), original, tools, views, calibrations))
        times.append(time.perf_counter())
    if len(errors) == len(probes):
        raise errors[0]
    faces = [original, *(result.face for result in results)]
    return Comparison(
        original,
        tuple(results),
        about(tools),
        views,
        calibrations,
        tuple(warnings_of(faces, tools, views, calibrations)),
        {"reference": times[0] - start, "probes": times[-1] - times[0], "total": times[-1] - start},
    )


def _without_a_head(
    name: str,
    error: str,
    reference: Face,
    tools: Tools,
    views: str,
    calibrations: Mapping[str, Calibration | None],
) -> ProbeResult:
    """A probe that cannot be judged: no score, and the cause in place of what a score means."""
    face = missing_face(name, tools, views, error.removeprefix(f"{name}: "))
    nothing = assess_all(reference.embedding, face.embedding, calibrations)
    return ProbeResult(face, {attacker: no_head(each, face.lost) for attacker, each in nothing.items()})


def assess_all(
    reference: HeadEmbedding, probe: HeadEmbedding, calibrations: Mapping[str, Calibration | None]
) -> dict[str, Assessment]:
    """What each attacker makes of a probe. Scores with photographs are not calibrated: theirs are other numbers."""
    photo = PHOTO in (reference.views, probe.views)
    return {
        attacker: assess(score_of(reference, probe, attacker), None if photo else calibration)
        for attacker, calibration in calibrations.items()
    }


# ---- what is reported ----


def build_report(comparison: Comparison) -> dict[str, Any]:
    """A comparison ready for JSON."""
    from ReidentRiskLib.attack.views import view_set

    reference = comparison.reference
    return {
        **comparison.about,
        "views": comparison.views,
        "view_names": [view.name for view in view_set(comparison.views)],
        "thresholds": dict(THRESHOLDS),
        "calibration": {name: calibration_record(calibration) for name, calibration in comparison.calibrations.items()},
        "reference": {"name": reference.name, "landmarks": reference.landmarks, "points": _points(reference)},
        "probes": [
            {
                "name": result.face.name,
                "landmarks": result.face.landmarks,
                "verdict": result.verdict,
                "attackers": {name: assessment_record(assessment) for name, assessment in result.assessments.items()},
            }
            for result in comparison.results
        ],
        "seconds": {stage: round(seconds, 2) for stage, seconds in comparison.seconds.items()},
        "warnings": list(comparison.warnings),
    }


def _points(face: Face) -> dict[str, list[float]] | None:
    """The five points of a head, RAS mm by name."""
    from ReidentRiskLib.attack.landmarks import FIVE

    if face.located is None:
        return None
    points = face.located.head.pose.points
    return {name: [round(float(x), 2) for x in point] for name, point in zip(FIVE, points, strict=True)}


def score_columns(comparison: Comparison) -> dict[str, list[Any]]:
    """The scores as a table: columns by title, one row a probe and attacker."""
    rows = [
        {
            "network": network_name(comparison.about["model"]),
            "probe": result.face.name,
            "attacker": attacker,
            **assessment_record(assessment, per_view=False),
            "landmarks": result.face.landmarks,
        }
        for result in comparison.results
        for attacker, assessment in result.assessments.items()
    ]
    return {title: [row[title] for row in rows] for title in rows[0]}
