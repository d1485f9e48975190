"""What can be said of the heads of a data set before it is shared; the whole of `reident-risk audit` but its files.

Each head is looked at by itself (looks.py), in this process or by workers. With originals, each is compared with its
own one, and looked up among all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib.common.errors import InputError
from RefaceLib.common.files import same_file
from RefaceLib.common.imagenames import names_without_folders, sidecar_beside
from RefaceLib.common.progress import Progress, no_progress
from RefaceLib.common.sidecar import read_sidecar
from ReidentRiskLib.attack.evidence import FACE, NO_FACE, UNCLEAR
from ReidentRiskLib.judge.identify import Identification, identify
from ReidentRiskLib.judge.scores import ATTACKERS
from ReidentRiskLib.judge.verdict import (
    NOT_RECOGNISABLE,
    RECOGNISABLE,
    UNCALIBRATED,
    UNCERTAIN,
    Assessment,
    strongest,
)
from ReidentRiskLib.runs.compare import assess_all
from ReidentRiskLib.runs.looks import Job, Look, LookOptions, look_at, look_in_worker

if TYPE_CHECKING:
    from RefaceLib.bids.engine import Workers
    from ReidentRiskLib.attack.evidence import Evidence
    from ReidentRiskLib.attack.heads import HeadEmbedding
    from ReidentRiskLib.judge.calibration import Calibration
    from ReidentRiskLib.runs.headlist import Entry
    from ReidentRiskLib.runs.tools import Finders

_NO_ORIGINAL = "There is no original of this subject, so nobody can tell whose face it is."


@dataclass(frozen=True, eq=False)
class HeadAudit:
    """What was found of one head: its ``evidence`` (None: no head was found), and what attackers make of it.

    ``ranks`` are among the originals, by attacker. ``failure`` is the sentence why it could not be judged. ``declared``
    is what its sidecar says of its de-identification.
    """

    subject: str
    name: str
    evidence: Evidence | None = None
    assessments: Mapping[str, Assessment] | None = None
    ranks: Mapping[str, int] | None = None
    landmarks: str = ""
    declared: str = ""
    failure: str = ""
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str | None:
        """That of the stronger attacker; None where there was nothing to compare with."""
        return strongest(each.verdict for each in self.assessments.values()) if self.assessments else None


@dataclass(frozen=True, eq=False)
class Audit:
    """All ``heads``, the worst first; ``found`` by attacker where they were looked up among originals."""

    heads: tuple[HeadAudit, ...]
    found: Mapping[str, Identification]
    calibrations: Mapping[str, Calibration | None]
    originals: int | None
    warnings: tuple[str, ...]


def audit(
    shared: Sequence[Entry],
    originals: Sequence[Entry] | None,
    tools: Finders,
    options: LookOptions,
    calibrations: Mapping[str, Calibration | None],
    *,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit the heads ``shared``, against ``originals`` where these are given (see pairs.with_originals).

    ``workers`` None: in this process. What was looked at before, in the folder of the options, is not looked at again.
    A head that cannot be read fails alone. Raises RefaceError where the work as a whole cannot be done.
    """
    jobs = _jobs(shared, originals or ())
    looks = dict(_look_at_all(jobs, tools, options, workers, progress or no_progress))
    embedded = _Embedded(looks, tools, options)
    gallery = [
        replace(head, name=entry.subject) for entry in originals or () if (head := embedded.of(entry.path)) is not None
    ]
    names = names_without_folders([entry.path for entry in shared])
    heads = [
        _judge(entry, name, looks[entry.path], embedded, calibrations if originals is not None else None)
        for entry, name in zip(shared, names, strict=True)
    ]
    heads, found = _look_up(heads, shared, gallery, embedded)
    told = [note for head in heads for note in head.notes]
    if originals is not None and all(calibration is None for calibration in calibrations.values()):
        told.append("There is no calibration for this model and view set, and so no verdict: see calibrate.")
    return Audit(
        tuple(sorted(heads, key=_badness)),
        found,
        calibrations,
        len({head.name for head in gallery}) if originals is not None else None,
        tuple(dict.fromkeys(told)),
    )


def _badness(head: HeadAudit) -> tuple[Any, ...]:
    """Sorts heads, the worst first: recognisable ones, those nobody could judge, the others; then those with a face."""
    order = (RECOGNISABLE, UNCERTAIN, UNCALIBRATED, None, NOT_RECOGNISABLE)
    shares = [each.strangers for each in (head.assessments or {}).values() if each.strangers is not None]
    ranks = list((head.ranks or {}).values())
    shown = (FACE, UNCLEAR, None, NO_FACE).index(head.evidence.shown if head.evidence else None)
    return order.index(head.verdict), min(shares, default=1.0), min(ranks, default=0), shown, head.name


# ---- looking ----


def _jobs(shared: Sequence[Entry], originals: Sequence[Entry]) -> list[Job]:
    """A job an original, with all that was made of it; and one a head without original."""
    made: dict[Path, list[Path]] = {entry.path: [] for entry in originals}
    alone = []
    for entry in shared:
        if entry.original is None:
            alone.append(Job(None, (entry.path,)))
        else:
            made.setdefault(entry.original, []).append(entry.path)
    return [*(Job(original, tuple(paths)) for original, paths in made.items()), *alone]


def _look_at_all(
    jobs: Sequence[Job], tools: Finders, options: LookOptions, workers: Workers | None, progress: Progress
) -> Iterator[tuple[Path, Look]]:
    def done(count: int) -> None:
        progress(count / len(jobs), f"{count} of {len(jobs)} heads")

    if workers is None:
        for index, job in enumerate(jobs):
            yield from look_at(job, tools, options).items()
            done(index + 1)
        return
    from RefaceLib.bids import engine

    tasks = [(job, options) for job in jobs]
    with engine.started(workers) as client:
        ended = engine.do_tasks(client, look_in_worker, tasks, [f"head-{index}" for index in range(len(jobs))])
        for count, (index, result) in enumerate(ended, start=1):
            if isinstance(result, str):  # every try was lost
                paths = [path for path in (jobs[index].original, *jobs[index].shared) if path is not None]
                result = {path: Look(failure=result) for path in paths}
            yield from result.items()
            done(count)


class _Embedded:
    """The embeddings of what was looked at, read from the folder where they are kept."""

    def __init__(self, looks: Mapping[Path, Look], tools: Finders, options: LookOptions) -> None:
        self._looks, self._tools, self._options = looks, tools, options
        self._read: dict[Path, HeadEmbedding | None] = {}

    def of(self, path: Path) -> HeadEmbedding | None:
        """The embedding of a file; None where it has none."""
        if path not in self._read:
            self._read[path] = self._options.embedding(self._looks[path], self._tools)
        return self._read[path]


# ---- judging ----


def _judge(
    entry: Entry,
    name: str,
    look: Look,
    embedded: _Embedded,
    calibrations: Mapping[str, Calibration | None] | None,
) -> HeadAudit:
    """One head by itself, and against its original where there are ``calibrations``."""
    declared = (read_sidecar(sidecar_beside(entry.path)) or {}).get("DeidentificationMethod") or ""
    text = "; ".join(map(str, declared)) if isinstance(declared, list) else str(declared)
    head = HeadAudit(
        entry.subject,
        name,
        look.evidence,
        landmarks=look.landmarks,
        declared=text,
        failure=look.failure,
        notes=tuple(f"{name}: {note}" for note in look.notes),
    )
    if calibrations is None or look.failure:
        return head
    if entry.original is None:
        return replace(head, failure=_NO_ORIGINAL)
    original, own = embedded.of(entry.original), embedded.of(entry.path)
    if original is None or own is None:
        return replace(head, failure="Its original cannot be used, so nobody can tell whose face it is.")
    return replace(head, assessments=assess_all(original, own, calibrations))


def _look_up(
    heads: list[HeadAudit], shared: Sequence[Entry], gallery: Sequence[HeadEmbedding], embedded: _Embedded
) -> tuple[list[HeadAudit], dict[str, Identification]]:
    """The heads with their ranks among the originals, where these are of two subjects or more."""
    enrolled = {head.name for head in gallery}
    probes = {
        index: (entry.subject, replace(own, name=head.name))
        for index, (head, entry) in enumerate(zip(heads, shared, strict=True))
        if head.assessments and entry.subject in enrolled and (own := embedded.of(entry.path)) is not None
    }
    if len(enrolled) < 2 or not probes:
        return heads, {}
    found = {attacker: identify(gallery, list(probes.values()), attacker) for attacker in ATTACKERS}
    for place, index in enumerate(probes):
        ranks = {attacker: int(result.ranks[place]) for attacker, result in found.items()}
        heads[index] = replace(heads[index], ranks=ranks)
    return heads, found


def check_named(shared: Sequence[Entry], originals: Sequence[Entry]) -> None:
    """Raise InputError where not one of the heads has an original, or where one is its own original."""
    paired = [entry for entry in shared if entry.original is not None]
    if originals and not paired:
        raise InputError(
            "None of the heads has an original: their names up to the first '_' must be those of the originals."
        )
    if same := [entry for entry in paired if entry.original and same_file(entry.original, entry.path)]:
        raise InputError(f"{same[0].path} is its own original: give the folder of the originals.")
