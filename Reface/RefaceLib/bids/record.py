"""What became of a person: a row a volume, and what a later run must know to leave it alone."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from RefaceLib.bids.index import IMAGES
from RefaceLib.bids.job import STATE, Job
from RefaceLib.bids.suffixes import AS_MAGNITUDE, ASKED, DEFACE, FACE
from RefaceLib.common.files import OutputSet, write_json
from RefaceLib.common.hashing import sha256_of
from RefaceLib.head.faceparts import PARTS

REFACED, RECOVERED, DEFACED = "refaced", "recovered", "defaced"
KEPT, LEFT_OUT, FAILED = "kept", "left out", "failed"
TABLE = "reface.tsv"


@dataclass(frozen=True)
class Row:
    """One row of the table: what became of one volume, or of a file that was left out.

    Paths are posix; ``file`` is in the data set, others in OUT. ``sentence`` is the error, or why the volume was kept
    or left out; ``warnings`` are sentences. ``face_removed`` are the shares by part of the face.
    """

    participant_id: str
    session_id: str
    file: str
    suffix: str
    status: str
    sentence: str = ""
    warnings: tuple[str, ...] = ()
    output: str = ""
    mask: str = ""
    picture: str = ""
    seed: int | None = None
    seconds: float | None = None
    voxels_changed: int | None = None
    voxels_changed_outside_mask: int | None = None
    brain_voxels_changed: int | None = None
    tissue_ml: float | None = None
    registered_mm: float | None = None
    registered_degrees: float | None = None
    face_removed: Mapping[str, float] = field(default_factory=dict)

    @property
    def written(self) -> bool:
        """Whether the volume is among the outputs, without its face."""
        return self.status in (REFACED, RECOVERED, DEFACED)

    @property
    def is_volume(self) -> bool:
        return self.file.endswith(IMAGES)


@dataclass(frozen=True)
class Record:
    """All rows of a person, and what tells whether the outputs are still those.

    ``fingerprint`` is of inputs, options and weights (see ``fingerprint``); ``outputs`` are paths in OUT with their
    SHA-256, ``carried`` the paths of files that were linked or copied. ``complete`` is False until every output has its
    name, and ``again`` says that another try may end otherwise.
    """

    label: str
    fingerprint: str = ""
    complete: bool = False
    again: bool = False
    rows: tuple[Row, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    carried: tuple[str, ...] = ()

    def holds(self, out: Path, fingerprint: str) -> bool:
        """Whether nothing is left to do: the same inputs and options, and every output is as it was written."""
        if self.fingerprint != fingerprint or not self.complete or self.again:
            return False
        return all((out / path).is_file() and sha256_of(out / path) == sha for path, sha in self.outputs.items())


# ---- on the disk ----


def read_record(path: Path) -> Record | None:
    """The record in a file; None where there is none, or one that cannot be understood."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(Row(**{**row, "warnings": tuple(row["warnings"])}) for row in content.pop("rows"))
        return Record(rows=rows, carried=tuple(content.pop("carried")), **content)
    except (OSError, ValueError, LookupError, TypeError):
        return None


def write_record(path: Path, record: Record) -> None:
    """Write the record, whole or not at all."""
    with OutputSet(overwrite=True) as out:
        write_json(out.stage(path), asdict(record))


def read_records(out: Path) -> list[Record]:
    """The records of all persons, by label."""
    found = (read_record(path) for path in sorted((out / STATE).glob("sub-*.json")))
    return [record for record in found if record is not None]


def fingerprint(job: Job, weights: Mapping[str, str], version: str) -> str:
    """A hash of all that decides what the outputs are: options, seed, ``weights`` (hashes by name), and the inputs.

    Of the inputs it takes the contents, not the dates; one cannot tell an input by it alone. Of what is copied as it is
    the name counts alone.
    """
    done = (FACE, DEFACE, AS_MAGNITUDE, *([ASKED] if job.options.func else []))
    scans = [scan for scan in job.person.scans if scan.action in done]
    texts = [path for path in job.person.files if path.endswith((".json", ".tsv", ".bval", ".bvec"))]
    inputs = {path: _content(job.source / path) for path in sorted([*(scan.path for scan in scans), *texts])}
    options = {**asdict(job.options), "models": None}  # the hashes of the weights tell
    named = [(scan.path, scan.action) for scan in job.person.scans]
    shared = {path.name: _content(path) for path in sorted(job.source.glob("*.json"))}  # sidecars of all persons
    parts: dict[str, Any] = {"version": version, "options": options, "weights": dict(weights), "inputs": inputs}
    parts |= {"scans": named, "shared": shared}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()


def _content(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:  # a link of git-annex without content, say
        return type(error).__name__


def lost(job: Job, sentence: str) -> Record:
    """The record of a person who could not be done, with a row a volume; outputs of before are still known.

    It is not written yet.
    """
    former = read_record(job.record) or Record(job.person.label)
    session = {scan.path: f"ses-{scan.session}" if scan.session else "" for scan in job.person.scans}
    said = job.unnamed(sentence)
    rows = tuple(
        Row(f"sub-{job.person.label}", session[scan.path], scan.path, scan.suffix, FAILED, said)
        for scan in job.person.scans
    )
    return Record(job.person.label, again=True, rows=rows, outputs=former.outputs, carried=former.carried)


# ---- the table ----


def table(rows: Iterable[Row]) -> str:
    """The rows as tab-separated values, as BIDS has them: "n/a" for what is not there."""
    names = [item.name for item in fields(Row) if item.name != "face_removed"]
    columns = [*names, *(f"removed_{part}" for part in PARTS)]
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, escapechar="\\")
    writer.writerow(columns)
    for row in rows:
        values = [getattr(row, name) for name in names] + [row.face_removed.get(part) for part in PARTS]
        writer.writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, tuple):
        value = " ".join(value)
    if value is None or value == "":
        return "n/a"
    if isinstance(value, float):
        return f"{value:g}"
    return " ".join(str(value).split()).replace("\\", "/")


def failed(rows: Sequence[Row]) -> list[Row]:
    """The rows of volumes that could not be done."""
    return [row for row in rows if row.status == FAILED]
