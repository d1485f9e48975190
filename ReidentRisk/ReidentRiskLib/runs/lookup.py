"""From lists of heads to an identification: embeds gallery and probes, looks the probes up, and reports it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.common.imagenames import file_name, names_without_folders
from RefaceLib.common.progress import Cancelled, Progress, no_progress, part
from ReidentRiskLib.attack.landmarks import FIVE
from ReidentRiskLib.attack.views import PHOTO, frontal_view
from ReidentRiskLib.judge.calibration import Calibration
from ReidentRiskLib.judge.identify import Identification, identification_record, identify
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKERS, number, score_of
from ReidentRiskLib.judge.verdict import (
    NO_HEAD,
    THRESHOLDS,
    VERDICTS,
    assess,
    assessment_record,
    calibration_record,
    no_head,
)
from ReidentRiskLib.runs.faces import embed_source, find_head, missing_face, warnings_of
from ReidentRiskLib.runs.guesswho import FACES, Exercise, make_exercise
from ReidentRiskLib.runs.pointlist import read_points
from ReidentRiskLib.runs.tools import about, network_name

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding
    from ReidentRiskLib.runs.faces import Face, LocatedHead
    from ReidentRiskLib.runs.headlist import Entry
    from ReidentRiskLib.runs.tools import Tools


@dataclass(frozen=True, eq=False)
class LookUp:
    """Who was found: `results` by attacker; `heads` of the gallery, named by subjects; `columns` of the table.

    `exercise` is one for a class, where it was asked for and there are faces enough.
    """

    results: Mapping[str, Identification]
    heads: tuple[HeadEmbedding, ...]
    columns: Mapping[str, Sequence[Any]]
    about: Mapping[str, Any]
    views: str
    calibrations: Mapping[str, Calibration | None]
    warnings: tuple[str, ...]
    exercise: Exercise | None = None


def look_up(
    gallery: Sequence[Entry],
    probes: Sequence[Entry],
    tools: Tools,
    views: str = "standard",
    *,
    heads: Sequence[HeadEmbedding] = (),
    own_landmarks: bool = False,
    calibrations: Mapping[str, Calibration | None],
    guess_who: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> LookUp:
    """Look `probes` up in a `gallery`, or in `heads` that are embedded already.

    A file of the gallery that holds no head is left out, with a warning. A probe's landmarks are those of its original,
    where it is in the same grid and place: the one that is named, or else the first head of its subject in the gallery;
    `own_landmarks` asks for its own. A probe in which no head is found counts as not identified. `guess_who` asks for
    the exercise. Raises RefaceError with one sentence.
    """
    progress = progress or no_progress
    share = len(gallery) / (len(gallery) + len(probes))
    embedder = _SourceEmbedder(tools, views, cancelled, keep_fronts=guess_who)
    enrolled = embedder.enrol(gallery, part(progress, 0.0, share))
    asked = {entry.subject for entry in probes}  # who keep their places, with no score, where no head of theirs is left
    heads = (
        *heads,
        *(
            replace(face.embedding, name=entry.subject)
            for entry, face in zip(gallery, enrolled, strict=True)
            if not face.lost or entry.subject in asked
        ),
    )
    faces = embedder.embed_probes(probes, gallery, own_landmarks, part(progress, share, 1.0))
    looked_up = [
        (entry.subject, replace(face.embedding, name=face.name)) for entry, face in zip(probes, faces, strict=True)
    ]
    results = {attacker: identify(heads, looked_up, attacker) for attacker in ATTACKERS}
    exercise = embedder.exercise(gallery, probes, faces) if guess_who else None
    warnings = warnings_of([*enrolled, *faces], tools, views, calibrations)
    if guess_who and exercise is None:
        warnings.append(f"There is no exercise: it takes a head that was found, and {FACES - 1} others in the gallery.")
    rows = _rows(network_name(about(tools)["model"]), probes, faces, heads, results, calibrations)
    return LookUp(
        results,
        heads,
        {title: [row[title] for row in rows] for title in rows[0]},
        about(tools),
        views,
        calibrations,
        tuple(warnings),
        exercise,
    )


class _SourceEmbedder:
    """Embeds heads one after the other, and keeps the landmarks of those that are originals."""

    def __init__(self, tools: Tools, views: str, cancelled: Cancelled | None, *, keep_fronts: bool = False) -> None:
        self._tools = tools
        self._views = views
        self._cancelled = cancelled
        self._originals: dict[Path, LocatedHead | None] = {}
        self._keep_fronts = keep_fronts
        self._fronts: dict[Path, np.ndarray] = {}  # pictures that look one in the eye

    def enrol(self, entries: Sequence[Entry], progress: Progress) -> list[Face]:
        faces, names = [], names_without_folders([entry.path for entry in entries])
        for index, entry in enumerate(entries):
            progress(index / len(entries), f"gallery {index + 1} of {len(entries)}")
            faces.append(self._enrol(names[index], entry))
            self._originals[entry.path] = faces[-1].located
        return faces

    def _enrol(self, name: str, entry: Entry) -> Face:
        """A head of the gallery; what is none, as a map of labels or a damaged file, does not end the work for all."""
        try:
            return self._embed(name, entry, None)
        except InputError as error:
            note = f"{name} is not in the gallery: {str(error).removeprefix(f'{name}: ')}"
            return missing_face(name, self._tools, self._views, str(error), note)

    def embed_probes(
        self, probes: Sequence[Entry], gallery: Sequence[Entry], own_landmarks: bool, progress: Progress
    ) -> list[Face]:
        first = {entry.subject: entry.path for entry in reversed(gallery)}
        faces, names = [], names_without_folders([entry.path for entry in probes])
        for index, entry in enumerate(probes):
            progress(index / len(probes), f"probe {index + 1} of {len(probes)}")
            original = entry.original or first.get(entry.subject)
            faces.append(self._embed_probe(names[index], entry, None if own_landmarks else self._original(original)))
        return faces

    def _embed_probe(self, name: str, entry: Entry, original: LocatedHead | None) -> Face:
        try:
            return self._embed(name, entry, original)
        except HeadNotFoundError as error:
            note = f"{str(error).rstrip('.')}; it is counted as not identified."
            return missing_face(name, self._tools, self._views, str(error).removeprefix(f"{name}: "), note)

    def _original(self, path: Path | None) -> LocatedHead | None:
        if path is None:
            return None
        if path not in self._originals:
            self._originals[path] = find_head(file_name(path), path, self._tools)
        return self._originals[path]

    def _embed(self, name: str, entry: Entry, original: LocatedHead | None) -> Face:
        points = read_points(entry.landmarks, FIVE) if entry.landmarks else None
        face = embed_source(
            name,
            entry.path,
            self._tools,
            self._views,
            original=original,
            points=points,
            keep_pictures=self._keep_fronts,
            cancelled=self._cancelled,
        )
        return self._with_front_alone(entry, face)

    def _with_front_alone(self, entry: Entry, face: Face) -> Face:
        """Of many heads all pictures would fill the memory."""
        pictures = face.embedding.pictures
        if pictures is None:
            return face
        self._fronts[entry.path] = pictures[frontal_view(self._views) if len(pictures) > 1 else 0]
        return replace(face, embedding=replace(face.embedding, pictures=None, crops=None, found=None))

    def exercise(self, gallery: Sequence[Entry], probes: Sequence[Entry], faces: Sequence[Face]) -> Exercise | None:
        """The first head of each subject that was drawn, and the probes."""
        known = {entry.subject: self._fronts[entry.path] for entry in reversed(gallery) if entry.path in self._fronts}
        asked = [
            (entry.subject, face.name, self._fronts.get(entry.path)) for entry, face in zip(probes, faces, strict=True)
        ]
        return make_exercise(asked, known, np.random.default_rng())


def _rows(
    network: str,
    probes: Sequence[Entry],
    faces: Sequence[Face],
    heads: Sequence[HeadEmbedding],
    results: Mapping[str, Identification],
    calibrations: Mapping[str, Calibration | None],
) -> list[dict[str, Any]]:
    """The table: one row a probe and attacker, with the similarity to the own subject and to the most similar one."""
    rows = []
    for attacker, result in results.items():
        for index, (entry, face) in enumerate(zip(probes, faces, strict=True)):
            own = [head for head in heads if head.name == entry.subject]
            scores = [score_of(head, face.embedding, attacker) for head in own]
            score = max(scores, key=lambda each: np.nan_to_num(each.mean_embedding, nan=-2.0))
            photo = PHOTO in (face.embedding.views, *(head.views for head in own))
            assessment = assess(score, None if photo else calibrations[attacker])
            if face.lost:
                assessment = no_head(assessment, face.lost)
            best = result.best(index)
            row = {
                "network": network,
                "subject": entry.subject,
                "probe": face.name,
                "attacker": attacker,
                "rank": int(result.ranks[index]),
                "gallery": len(result.subjects),
                "most_similar": best,
                "most_similar_mean_embedding": number(np.nanmax(result.scores[index])) if best else None,
                **assessment_record(assessment, per_view=False),
                "landmarks": face.landmarks,
            }
            rows.append(row)
    return rows


def build_report(lookup: LookUp) -> dict[str, Any]:
    """An identification ready for JSON."""
    attackers = {}
    for attacker, result in lookup.results.items():
        chosen = [
            verdict
            for verdict, name in zip(lookup.columns["verdict"], lookup.columns["attacker"], strict=True)
            if name == attacker
        ]
        counts = {verdict: chosen.count(verdict) for verdict in (*VERDICTS, NO_HEAD) if verdict in chosen}
        attackers[attacker] = {**identification_record(result), "verdicts": counts}
    first = next(iter(lookup.results.values()))
    return {
        **lookup.about,
        "views": lookup.views,
        "thresholds": dict(THRESHOLDS),
        "calibration": {name: calibration_record(each) for name, each in lookup.calibrations.items()},
        "gallery": {"subjects": len(first.subjects), "heads": len(lookup.heads)},
        "probes": {"heads": len(first.probes)},
        "attackers": attackers,
        **({"guess_who": _asked(lookup, lookup.exercise)} if lookup.exercise else {}),
        "warnings": list(lookup.warnings),
    }


def _asked(lookup: LookUp, exercise: Exercise) -> dict[str, Any]:
    """Who is asked for, the number of the right face, and how the network did: the rank `of` so many persons."""
    aligned = lookup.results[ALIGNED]
    index = next(index for index, (_, name) in enumerate(aligned.probes) if name == exercise.probe)
    rank = int(aligned.ranks[index])
    return {"probe": exercise.probe, "answer": exercise.answer, "rank": rank, "of": len(aligned.subjects)}
