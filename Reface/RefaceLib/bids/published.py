"""The contents of the files that go with a published data set: without fields and columns that name a person or a day.

What cannot be understood cannot be cleaned: it is left out.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from RefaceLib.bids.otherfiles import describes_columns
from RefaceLib.common.errors import InputError, RefaceError
from RefaceLib.common.personal import has_words, without_personal

Content = str | Path  # of a file that is put somewhere: its text, or the file that it is linked to or copied from

_DAY = "acq_time"  # the column of BIDS: it stays, with dates that are shifted
_SHIFTED = 1925  # BIDS: dates before this year are shifted, and tell nothing
_ISO = re.compile(r"(\d{4})-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?")
# Columns of other programs and laboratories, in lower case; heudiconv writes `operator`.
_COLUMNS = frozenset(
    """operator operators operatorname operatorsname technician technologist radiographer physician physicians
    patientname patientsname patientid subjectname firstname lastname surname givenname familyname fullname accession
    accessionnumber mrn dob date datetime birthday studyuid seriesuid uid""".split()
)
_PERSONS_TABLES = ("participants.tsv", "_scans.tsv", "_sessions.tsv")
_TEXTS = (".tsv", ".bval", ".bvec")  # and all that is not below a folder, or is code
_START = 1 << 16  # bytes that are looked at


class NotPublishedError(RefaceError):
    """A file that cannot be published; the message is the sentence why."""


def published(source: Path, path: str, gone: Collection[str] = ()) -> tuple[Content, str]:
    """The content of the file ``source``, which is at ``path`` in the data set, and a sentence on what was left out.

    ``gone`` are files of the data set that are not published: a scans.tsv loses their rows. NotPublishedError for what
    cannot be read as its name says.
    """
    if path.endswith(".json"):
        return published_json(source, path), ""
    if path.endswith(".tsv.gz"):
        _check_text(_inflated(_start_of(source)))
    elif path.endswith(_TEXTS) or "/" not in path or path.startswith("code/"):
        _check_text(_start_of(source))
    if path.endswith(_PERSONS_TABLES):
        return published_table(read_text(source), _relative(gone, path))
    return source, ""


def published_json(source: Path, path: str) -> Content:
    """A JSON file without the fields that name a person or an examination; as it is where it has none."""
    try:
        content = json.loads(read_text(source), object_pairs_hook=_unique)
        kept = without_personal(content, columns=describes_columns(path))
    except (ValueError, RecursionError) as error:
        raise NotPublishedError(
            "It cannot be read as JSON, so fields that name a person could not be found."
        ) from error
    return source if kept == content else json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object; ValueError where two fields have one key, of which the first would not be seen."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def published_table(text: str, gone: Collection[str] = ()) -> tuple[str, str]:
    """A table of scans, sessions or persons without true days and columns of names, and a sentence on those.

    ``gone``: its rows of these names in the column `filename` are left out.
    """
    rows = list(csv.DictReader(io.StringIO(text, newline=None), delimiter="\t", quoting=csv.QUOTE_NONE))
    if not rows:
        return text, ""
    names = [name for name in rows[0] if name is not None]
    dropped = [name for name in names if name.lower() == "name" or has_words(name, _COLUMNS)]
    kept = [name for name in names if name not in dropped]
    rows = [row for row in rows if (row.get("filename") or "") not in gone]
    for row in rows:
        for name in kept:
            if name.lower() == _DAY:
                row[name] = row[name] if _is_shifted(row[name] or "") else "n/a"
    said = f"It was published without the columns {', '.join(dropped)}, which may tell a person or a day."
    return tsv(kept, ([row[name] or "n/a" for name in kept] for row in rows)), said if dropped else ""


def _is_shifted(value: str) -> bool:
    found = _ISO.fullmatch(value)
    return found is not None and int(found[1]) < _SHIFTED


def _relative(gone: Collection[str], path: str) -> set[str]:
    """Names in the data set as the table at ``path`` has them."""
    folder = path.rpartition("/")[0] + "/"
    return {name.removeprefix(folder).removesuffix("/") for name in gone if name.startswith(folder)}


def _start_of(source: Path) -> bytes:
    try:
        with source.open("rb") as file:
            return file.read(_START)
    except OSError as error:
        raise InputError(f"{source} cannot be read: check its permissions.") from error


def _inflated(start: bytes) -> bytes:
    try:
        return zlib.decompressobj(wbits=31).decompress(start)
    except zlib.error:
        return b"\0"


def _check_text(start: bytes) -> None:
    if b"\0" in start or start.startswith(b"\x1f\x8b"):
        raise NotPublishedError("It is no text, as its name says that it is, so it may hold anything.")


def tsv(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Names and rows as tab-separated text."""
    return "".join("\t".join(cells) + "\n" for cells in [names, *rows])


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{path} cannot be read: check its permissions.") from error
