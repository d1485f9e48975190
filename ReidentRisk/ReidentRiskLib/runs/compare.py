"""From volumes to what their similarity means: what the command line and the window have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import RefaceLib
from RefaceLib.common.console import part
from RefaceLib.common.errors import CancelledError, HeadNotFoundError, InputError
from RefaceLib.volume.geometry import apply_affine
from RefaceLib.volume.io import Volume, read_volume
from ReidentRiskLib.attack.photo import is_photo
from ReidentRiskLib.attack.views import PHOTO
from ReidentRiskLib.judge.calibration import Calibration, load_calibration
from ReidentRiskLib.judge.scores import ATTACKERS, score_of
from ReidentRiskLib.judge.verdict import (
    THRESHOLDS,
    Assessment,
    assess,
    assessment_record,
    calibration_record,
    strongest,
)

if TYPE_CHECKING:
    from RefaceLib.face.weights import Models
    from ReidentRiskLib.attack.detector import Detector
    from ReidentRiskLib.attack.embedder import Embedder
    from ReidentRiskLib.attack.heads import Head, HeadEmbedding

Progress = Callable[[float, str], None]
Cancelled = Callable[[], bool]
Source = Path | Volume  # a file of a volume or of a photograph, or a volume

SAME_PLACE = 0.1  # mm; grids whose corners differ by less are the same

# Where the landmarks of a head come from
OWN, ORIGINAL, GIVEN, NONE = "own", "original", "given", "none"


@dataclass(frozen=True, eq=False)
class Tools:
    """Networks, loaded once for many heads: face recogniser, face detector, and RefaceLib's head parser."""

    embedder: Embedder
    detector: Detector
    parser: Models


def load_tools(
    model: str | Path | None = None,
    device: str = "auto",
    *,
    accept_licence: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Tools:
    """Load everything that embeds heads; the recogniser and the detector are downloaded at first use.

    `model`: a name of the registry or an ONNX file; None takes the best whose licence is accepted.
    """
    from RefaceLib.face.weights import load_models
    from ReidentRiskLib.attack.detector import load_detector
    from ReidentRiskLib.attack.embedder import load_embedder
    from ReidentRiskLib.attack.models import default_model

    progress = progress or (lambda fraction, stage: None)
    name = model or default_model(accept_licence)
    embedder = load_embedder(name, device, accept_licence, progress=part(progress, 0.0, 0.7), cancelled=cancelled)
    detector = load_detector(progress=part(progress, 0.7, 0.8), cancelled=cancelled)
    return Tools(embedder, detector, load_models(device))


@dataclass(frozen=True, eq=False)
class Found:
    """A head in a volume and its landmarks.

    ``landmarks`` says where they come from (OWN, ORIGINAL or GIVEN); ``grid`` is shape and affine of the volume;
    ``notes`` are sentences for the user.
    """

    name: str
    head: Head
    landmarks: str
    grid: tuple[tuple[int, ...], np.ndarray]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Face:
    """A head or a photograph and its embedding; ``found`` is None for a photograph and where no head was found."""

    name: str
    embedding: HeadEmbedding
    found: Found | None = None
    notes: tuple[str, ...] = ()

    @property
    def landmarks(self) -> str:
        return self.found.landmarks if self.found else NONE


def find_head(
    name: str, source: Source, tools: Tools, *, original: Found | None = None, points: np.ndarray | None = None
) -> Found:
    """Read a head and find its landmarks.

    `original` is the head before its face was changed: its landmarks are used where this one is in the same grid and
    place. `points` (5, 3; RAS mm, landmarks.FIVE) are the user's. Raises HeadNotFoundError, InputError.
    """
    from ReidentRiskLib.attack.heads import read_head

    volume = source if isinstance(source, Volume) else read_volume(source)
    grid, notes = (volume.stored.shape, volume.affine), list(volume.warnings)
    if points is None and original is not None:
        if same_grid(grid, original.grid):
            try:
                return Found(
                    name, read_head(volume, name=name, landmarks_of=original.head), ORIGINAL, grid, tuple(notes)
                )
            except HeadNotFoundError:
                difference = "does not lie where that head lies"
        else:
            difference = "has another grid"
        notes.append(
            f"{name} {difference}, so its own landmarks were looked for instead of using those of {original.name}."
        )
    try:
        head = read_head(volume, name=name, points=points, models=tools.parser, detector=tools.detector)
    except HeadNotFoundError as error:
        raise HeadNotFoundError(f"{name}: {error}") from error
    return Found(name, head, OWN if points is None else GIVEN, grid, tuple(notes))


def look_at(
    name: str,
    source: Source,
    tools: Tools,
    views: str = "standard",
    *,
    original: Found | None = None,
    points: np.ndarray | None = None,
    keep_pictures: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Face:
    """Embed one head (see find_head for `original` and `points`), or one photograph.

    Raises HeadNotFoundError, InputError, CancelledError.
    """
    if not isinstance(source, Volume) and is_photo(source):
        from ReidentRiskLib.attack.photo import embed_photo

        return Face(name, embed_photo(source, tools.embedder, tools.detector, name=name, keep_pictures=keep_pictures))
    from ReidentRiskLib.attack.heads import embed_head

    found = find_head(name, source, tools, original=original, points=points)
    _stop_if(cancelled)
    embedding = embed_head(
        found.head,
        tools.embedder,
        views,
        tools.detector,
        keep_pictures=keep_pictures,
        progress=_in_short(part(progress, 0.4, 1.0)) if progress else None,
        cancelled=cancelled,
    )
    return Face(name, embedding, found, found.notes)


def _in_short(progress: Progress) -> Progress:
    """Without the name of the head, which may be a long path: the first word says what is done."""
    return lambda fraction, stage: progress(fraction, stage.split()[0])


def same_grid(grid: tuple[tuple[int, ...], np.ndarray], other: tuple[tuple[int, ...], np.ndarray] | None) -> bool:
    """Whether two grids (shape, affine) have the same voxels in the same places."""
    if other is None or grid[0] != other[0]:
        return False
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in grid[0]])).reshape(3, -1).T
    apart = apply_affine(grid[1], corners) - apply_affine(other[1], corners)
    return bool(np.linalg.norm(apart, axis=1).max() < SAME_PLACE)


def not_found(name: str, tools: Tools, views: str, note: str) -> Face:
    """What stands for a volume in which no head was found, so that it stays in the denominator."""
    from ReidentRiskLib.attack.heads import HeadEmbedding
    from ReidentRiskLib.attack.views import view_set

    rows = np.full((len(view_set(views)), tools.embedder.size), np.nan, np.float32)
    return Face(name, HeadEmbedding(name, tools.embedder.name, views, rows, rows.copy()), None, (note,))


def _stop_if(cancelled: Cancelled | None) -> None:
    if cancelled and cancelled():
        raise CancelledError("The run was stopped; nothing was written.")


# ---- comparing ----


@dataclass(frozen=True, eq=False)
class Result:
    """A probe and what each attacker makes of it (`assessments` by attacker)."""

    face: Face
    assessments: Mapping[str, Assessment]

    @property
    def verdict(self) -> str:
        """That of the stronger attacker."""
        return strongest(found.verdict for found in self.assessments.values())


@dataclass(frozen=True, eq=False)
class Comparison:
    """A reference, the probes, and how similar they are; `calibrations` by attacker (None: there is none)."""

    reference: Face
    results: tuple[Result, ...]
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
    unless `own_landmarks` asks for each probe's own. `calibration` is a file in place of the shipped one. Raises
    RefaceError with one sentence.
    """
    if not probes:
        raise InputError("There is nothing to compare the reference with: give at least one probe.")
    calibrations = calibrations_for(tools, views, calibration)
    progress = progress or (lambda fraction, stage: None)
    share = 1.0 / (len(probes) + 1)
    start = time.perf_counter()
    rest = dict(keep_pictures=keep_pictures, cancelled=cancelled)
    progress(0.0, "reference")
    original = look_at(*reference, tools, views, points=points, progress=part(progress, 0.0, share), **rest)
    times = [time.perf_counter()]
    results = []
    for index, (name, source) in enumerate(probes, start=1):
        _stop_if(cancelled)
        progress(index * share, "probe")
        face = look_at(
            name,
            source,
            tools,
            views,
            original=None if own_landmarks else original.found,
            progress=part(progress, index * share, (index + 1) * share),
            **rest,
        )
        results.append(Result(face, assess_all(original.embedding, face.embedding, calibrations)))
        times.append(time.perf_counter())
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


def assess_all(
    reference: HeadEmbedding, probe: HeadEmbedding, calibrations: Mapping[str, Calibration | None]
) -> dict[str, Assessment]:
    """What each attacker makes of a probe. Scores with photographs are not calibrated: theirs are other numbers."""
    photo = PHOTO in (reference.views, probe.views)
    return {
        attacker: assess(score_of(reference, probe, attacker), None if photo else calibration)
        for attacker, calibration in calibrations.items()
    }


def calibrations_for(tools: Tools, views: str, path: Path | None = None) -> dict[str, Calibration | None]:
    """The calibrations of the attackers for a network and a view set, shipped or in the file `path`."""
    name, sha256 = tools.embedder.name, tools.embedder.sha256
    return {attacker: load_calibration(name, views, attacker, sha256, path) for attacker in ATTACKERS}


def warnings_of(
    faces: Sequence[Face], tools: Tools, views: str, calibrations: Mapping[str, Calibration | None]
) -> list[str]:
    """Sentences for the user about what was looked at, each once."""
    found = [note for face in faces for note in face.notes]
    if any(face.embedding.views == PHOTO for face in faces):
        found.append("Similarities with a photograph are not calibrated, so that there is no verdict on them.")
    if all(calibration is None for calibration in calibrations.values()):
        found.append(
            f"There is no calibration for the model '{tools.embedder.name}' with the view set '{views}', so that there "
            "is no verdict: make one with reident-risk calibrate."
        )
    return list(dict.fromkeys(found))


# ---- what is reported ----


def about(tools: Tools) -> dict[str, Any]:
    """What made the numbers: networks and renderer."""
    from ReidentRiskLib.attack.render import renderer_name

    return {
        "reident_risk_version": RefaceLib.__version__,
        "model": {
            "name": tools.embedder.name,
            "sha256": tools.embedder.sha256,
            "embedding": tools.embedder.size,
            "licence": tools.embedder.model.licence,
        },
        "detector": {"name": tools.detector.name, "sha256": tools.detector.sha256},
        "renderer": renderer_name(),
    }


def build_report(comparison: Comparison) -> dict[str, Any]:
    """A comparison ready for JSON."""
    from ReidentRiskLib.attack.views import view_set

    reference = comparison.reference
    return {
        **comparison.about,
        "views": comparison.views,
        "view_names": [view.name for view in view_set(comparison.views)],
        "thresholds": dict(THRESHOLDS),
        "calibration": {name: calibration_record(found) for name, found in comparison.calibrations.items()},
        "reference": {"name": reference.name, "landmarks": reference.landmarks, "points": _points(reference)},
        "probes": [
            {
                "name": result.face.name,
                "landmarks": result.face.landmarks,
                "verdict": result.verdict,
                "attackers": {name: assessment_record(found) for name, found in result.assessments.items()},
            }
            for result in comparison.results
        ],
        "seconds": {stage: round(seconds, 2) for stage, seconds in comparison.seconds.items()},
        "warnings": list(comparison.warnings),
    }


def _points(face: Face) -> dict[str, list[float]] | None:
    """The five points of a head, RAS mm by name."""
    from ReidentRiskLib.attack.landmarks import FIVE

    if face.found is None:
        return None
    points = face.found.head.pose.points
    return {name: [round(float(x), 2) for x in point] for name, point in zip(FIVE, points, strict=True)}


def score_columns(comparison: Comparison) -> dict[str, list[Any]]:
    """The scores as a table: columns by title, one row a probe and attacker."""
    rows = [
        {
            "probe": result.face.name,
            "attacker": attacker,
            **assessment_record(found, per_view=False),
            "landmarks": result.face.landmarks,
        }
        for result in comparison.results
        for attacker, found in result.assessments.items()
    ]
    return {title: [row[title] for row in rows] for title in rows[0]}
