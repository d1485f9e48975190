"""The pages by which a person judges a data set: one of all volumes, and one of each person. They need no network.

What they show is what can be published with the data set; with ``private`` the originals are shown as well.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path, PurePosixPath
from string import Template
from urllib.parse import quote

from RefaceLib import __version__
from RefaceLib.bids.index import stem_of
from RefaceLib.bids.job import PERSONS
from RefaceLib.bids.marks import Mark
from RefaceLib.bids.record import FAILED, KEPT, LEFT_OUT, Record, Row
from RefaceLib.bids.thumbnail import HEIGHT, WIDTH

INDEX = "index.html"
PASSED, LOOK = "passed", "look"
_WORST_FIRST = (FAILED, LOOK, KEPT, LEFT_OUT, PASSED)
_FOLDER = Path(__file__).parent
_PRIVATE = (
    '<p class="private">Private: these pictures show faces of persons. Keep this folder as safe as the scans.</p>'
)
_TOOLS = """\
<input type="search" id="words" placeholder="Find" aria-label="Find volumes by words">
<select id="shown" aria-label="Which volumes are shown">
<option value="all">all volumes</option><option value="look">failed or to look at</option>
<option value="unmarked">without a mark</option><option value="accepted">accepted</option>
<option value="rejected">rejected</option></select>
<button id="save">Save marks.tsv</button>
<label class="file-button">Load marks.tsv<input type="file" id="load" accept=".tsv"></label>
"""
# Columns: the title, and by what they are sorted ("": not at all).
_INDEX_COLUMNS = (
    ("Person", "text"),
    ("Session", "text"),
    ("Volume", "text"),
    ("Slices", ""),
    ("Verdict", "text"),
    ("Face removed", "text"),
    ("Warnings", "text"),
    ("Mark", "mark"),
)


def verdict(row: Row) -> str:
    """PASSED or LOOK (it has warnings) of a volume that was written; else what the row says of it."""
    return (LOOK if row.warnings else PASSED) if row.written else row.status


@dataclass(frozen=True)
class Report:
    """The pages on these ``records``; ``name`` is that of the data set, ``marks`` those that were given before.

    ``originals`` are paths of the originals' pictures, by the path of the volume: pages that have them are private.
    ``top`` are rows on files that belong to no person.
    """

    name: str
    records: Sequence[Record]
    marks: Mapping[str, Mark]
    originals: Mapping[str, str] | None = None
    top: Sequence[Row] = ()

    def pages(self) -> Iterator[tuple[str, str]]:
        """Path and text of every page: that of all volumes, then those of persons."""
        yield INDEX, self._index()
        for number, record in enumerate(self.records):
            beside = [self.records[at] if 0 <= at < len(self.records) else None for at in (number - 1, number + 1)]
            yield page_of(record), self._person(record, *beside)

    def _index(self) -> str:
        told = [(record, row) for record in self.records for row in record.rows]
        told += [(Record(""), row) for row in self.top]
        rows = [self._row(record, row, "") for record, row in told]
        head = "".join(_head(title, by) for title, by in _INDEX_COLUMNS)
        keys = "<span><kbd>o</kbd> open the person's page</span>"
        return self._page(
            "all",
            self.name,
            [row for _, row in told],
            rows,
            head=head,
            tools=_TOOLS,
            keys=keys,
            root="./",
            navigation="",
        )

    def _person(self, record: Record, before: Record | None, after: Record | None) -> str:
        rows = [self._row(record, row, "../") for row in record.rows]
        links = [f'<a rel="up" href="../{INDEX}">All volumes</a>']
        for rel, other, word in (("prev", before, "Previous"), ("next", after, "Next")):
            if other:
                name = f"sub-{other.label}"
                links.append(f'<a rel="{rel}" href="{_url(name + ".html")}">{word}: {_text(name)}</a>')
        head = "".join(_head(title, "") for title, _ in _INDEX_COLUMNS[1:])
        keys = "<span><kbd>n</kbd> <kbd>p</kbd> next, previous person</span><span><kbd>i</kbd> all volumes</span>"
        title = f"sub-{record.label} of {self.name}"
        navigation = f"<nav>{''.join(links)}</nav>"
        return self._page(
            "person", title, record.rows, rows, head=head, tools="", keys=keys, root="../", navigation=navigation
        )

    def _page(self, kind: str, title: str, told: Sequence[Row], rows: Sequence[str], **parts: str) -> str:
        style, script = _asset("quality.css"), _asset("quality.js")
        private = self.originals is not None
        return Template(_asset("quality.html")).substitute(
            parts,
            kind=f"{kind} private" if private else kind,
            private=_PRIVATE if private else "",
            title=_text(title),
            summary=_text(_summary(told)),
            rows="\n".join(rows),
            version=__version__,
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
        )

    def _row(self, record: Record, row: Row, up: str) -> str:
        """One <tr>; links begin with ``up``. On the page of all volumes, where that is "", the person has a cell."""
        file = " ".join(row.file.split())
        mark = self.marks.get(file, Mark(""))
        data = {
            "file": file,
            "sha": record.outputs.get(row.output, ""),
            "verdict": verdict(row),
            "mark": mark.mark,
            "of": mark.sha256,
        }
        attributes = "".join(f' data-{name}="{_text(value)}"' for name, value in data.items() if value or name == "sha")
        link = f'<a href="{_url(page_of(record))}">{_text(row.participant_id)}</a>' if row.participant_id else ""
        person = "" if up else f"<td>{link}</td>"
        cells = (
            person,
            f"<td>{_text(row.session_id)}</td>",
            f'<td class="file" title="{_text(file)}">{_short(row)}</td>',
            f'<td class="picture">{self._pictures(row, up)}</td>',
            f'<td class="verdict" data-sort="{_WORST_FIRST.index(verdict(row))}">{_verdict(row)}</td>',
            _removed(row, whole=bool(up)),
            f'<td class="said">{_said(row)}</td>',
            '<td class="mark"><button value="accepted">accept</button> <button value="rejected">reject</button>'
            "<small></small></td>",
        )
        return f"<tr{attributes}>{''.join(cells)}</tr>"

    def _pictures(self, row: Row, up: str) -> str:
        """The picture of the result; on private pages after that of the original."""
        after = _image(row, up + row.picture, "after") if row.picture else ""
        if self.originals is None:
            return after
        path = self.originals.get(row.file)
        original = _image(row, up + path, "original") if path else ""
        figures = (
            f"<figure>{image}<figcaption>{word}</figcaption></figure>"
            for image, word in ((original, "original"), (after, "after"))
            if image
        )
        return f"<div>{''.join(figures)}</div>"


def page_of(record: Record) -> str:
    """The path of the person's page."""
    return f"{PERSONS}/sub-{record.label}.html"


def _image(row: Row, path: str, word: str) -> str:
    told = _text(f"Three slices of {PurePosixPath(row.file).name}, {word}")
    return f'<img loading="lazy" width="{WIDTH}" height="{HEIGHT}" src="{_url(path)}" alt="{told}">'


def _short(row: Row) -> str:
    """The name of the volume without what other columns tell; it can be broken into lines."""
    path = PurePosixPath(row.file)
    name = stem_of(path.name)
    for prefix in (row.participant_id, row.session_id):
        name = name.removeprefix(f"{prefix}_") if prefix else name
    return _text(f"{path.parent.name}/{name}").replace("/", "/<wbr>").replace("_", "_<wbr>")


def _head(title: str, by: str) -> str:
    if not by:
        return f'<th scope="col"><span>{title}</span></th>'
    return f'<th scope="col" aria-sort="none" data-by="{by}"><button>{title}</button></th>'


def _summary(rows: Sequence[Row]) -> str:
    others = sum(not row.is_volume for row in rows)
    rows = [row for row in rows if row.is_volume]
    counts = Counter(verdict(row) for row in rows)
    words = {LOOK: "to look at"}
    told = ", ".join(f"{counts[name]} {words.get(name, name)}" for name in _WORST_FIRST if counts[name])
    beside = f" Of other files {others} left out, wholly or in part." if others else ""
    return f"{len(rows)} volume{'' if len(rows) == 1 else 's'}: {told or 'none'}.{beside} Reface {__version__}."


def _verdict(row: Row) -> str:
    found = verdict(row)
    done = f"<span>{_text(row.status)}</span>" if row.written else ""
    return f'<b class="{_text(found.split()[0])}">{_text(found)}</b>{done}'


def _removed(row: Row, whole: bool) -> str:
    """The least share of a part of the face that was removed, or the shares of all parts."""
    if not row.face_removed:
        return '<td class="removed" data-sort=""></td>'
    least = min(row.face_removed, key=lambda part: row.face_removed[part])
    if whole:
        parts = "".join(
            f"<div><dt>{_text(part)}</dt><dd>{_percent(share)}</dd></div>" for part, share in row.face_removed.items()
        )
        shown = f"<dl>{parts}</dl>"
    else:
        shown = f"{_percent(row.face_removed[least])} <span>{_text(least)}</span>"
    return f'<td class="removed" data-sort="{row.face_removed[least]:.6f}">{shown}</td>'


def _percent(share: float) -> str:
    """A share in percent, rounded down: 100 % is all of it."""
    return f"{int(share * 1000) / 10:.1f} %"


def _said(row: Row) -> str:
    return "".join(f"<p>{_text(sentence)}</p>" for sentence in (row.sentence, *row.warnings) if sentence)


def _text(text: str) -> str:
    """The text as it can stand in HTML, in an attribute as well."""
    return escape(str(text), quote=True)


def _url(path: str) -> str:
    """A relative path as a link to it."""
    return quote(path, errors="surrogateescape")


@lru_cache
def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """What the page's policy lets run: this text and no other."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
