"""The marks that a reader of the quality pages has given to volumes: the table marks.tsv at the top of OUT."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from RefaceLib.common.errors import InputError

MARKS = "marks.tsv"
ACCEPTED, REJECTED = "accepted", "rejected"


@dataclass(frozen=True)
class Mark:
    """One row: ``mark`` is ACCEPTED or REJECTED, ``sha256`` that of the output that was judged, "" without one."""

    mark: str
    sha256: str = ""


def read_marks(out: Path) -> dict[str, Mark]:
    """The marks in OUT, by the path of the volume in the data set; none where there is no table.

    Raises InputError where the file is no such table.
    """
    path = out / MARKS
    wrong = InputError(f"{path} is no table of marks as the page index.html saves it: correct it or remove it.")
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise wrong from error
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    if rows and not {"file", "mark"} <= rows[0].keys():
        raise wrong
    marks = {}
    for row in rows:
        if row["mark"] not in (ACCEPTED, REJECTED):
            raise wrong
        sha = row.get("sha256") or ""
        marks[row["file"]] = Mark(row["mark"], "" if sha == "n/a" else sha)
    return marks
