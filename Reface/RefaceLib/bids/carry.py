"""What a data set that is to be published takes over beside the new volumes: linked or copied, and nothing personal."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from RefaceLib.bids.job import Job
from RefaceLib.bids.record import FAILED, KEPT, Record, Row
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.files import OutputSet, write_error
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.sidecar import read_sidecar, without_personal

_POINTERS = {b"/annex/objects/": "git-annex", b"version https://git-lfs": "git-lfs"}  # how such a file begins
_LARGEST_POINTER = 32_768  # bytes; git-annex's own limit
_SHIFTED = 1925  # BIDS: dates before this year are shifted, and tell nothing
_LEFT_OUT = ("_photo",)  # suffixes of other files that show a face


def pointer_sentence(path: Path) -> str:
    """One sentence where the content of a file is elsewhere (git-annex, datalad, git-lfs), or a link leads nowhere; ""
    where it is here."""
    if path.is_symlink() and not path.exists():
        if "annex/objects" in os.readlink(path):
            return (
                f"{path} is a link of git-annex whose content is not here: run 'datalad get' or 'git annex get' first."
            )
        return f"{path} is a link to a file that does not exist: repair the data set."
    with contextlib.suppress(OSError):
        if path.stat().st_size <= _LARGEST_POINTER:
            with path.open("rb") as file:
                start = file.read(32)
            for begins, tool in _POINTERS.items():
                if start.startswith(begins):
                    return f"{path} is a pointer of {tool} whose content is not here: get the content first."
    return ""


@dataclass
class Taken:
    """Files that are put into the folder ``out``: ``paths`` (posix), with ``former`` those of an earlier run."""

    out: Path
    former: frozenset[str]
    paths: list[str] = field(default_factory=list)

    def place(self, source: Path, path: str) -> None:
        """The file ``source`` at ``path``: a hard link or, of a link or from another disk, a copy."""
        target = self._target(path)
        if target.exists() and not target.is_symlink():
            if os.path.samefile(source, target) or _same_bytes(source, target):
                return
        self._check(target, path)
        if source.is_symlink() or not _linked(source, target):  # what a link leads to belongs to git-annex
            with OutputSet(overwrite=True) as staged:
                shutil.copyfile(source, staged.stage(target))

    def write(self, text: str, path: str) -> None:
        """A file with this text at ``path``."""
        target, content = self._target(path), text.encode("utf-8", "surrogateescape")
        if target.is_file() and not target.is_symlink() and target.read_bytes() == content:
            return
        self._check(target, path)
        with OutputSet(overwrite=True) as staged:
            staged.stage(target).write_bytes(content)

    def claim(self, paths: Iterable[str]) -> None:
        """Make these ours from now on. Raises OutputError, before anything is written, where one is not."""
        claimed = list(paths)
        for path in claimed:
            self._check(self.out / path, path)
        self.former |= set(claimed)

    def remove_others(self) -> None:
        """Remove what an earlier run has put there and this one has not."""
        for path in self.former.difference(self.paths):
            with contextlib.suppress(OSError):
                (self.out / path).unlink()

    def _target(self, path: str) -> Path:
        self.paths.append(path)
        target = self.out / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(target, error) from error
        return target

    def _check(self, target: Path, path: str) -> None:
        if os.path.lexists(target) and (path not in self.former or target.is_symlink()):
            raise OutputError(f"{target} exists and was not written by reface bids as it is, so it is kept: move it.")


def _linked(source: Path, target: Path) -> bool:
    """Whether ``target`` could become a hard link of ``source``; it is replaced, never written to."""
    waiting = target.with_name(f".reface-{secrets.token_hex(8)}")
    try:
        os.link(source, waiting)
        os.replace(waiting, target)
    except OSError:
        waiting.unlink(missing_ok=True)
        return False
    return True


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and sha256_of(one) == sha256_of(other)


@dataclass
class Carrier:
    """Takes over a person's other files, of which ``record`` tells the volumes."""

    job: Job
    record: Record

    def carry(self) -> Record:
        """The record with the files that were taken over, and a row for each whose content is not here."""
        taken = Taken(self.job.out, frozenset(self.record.carried))
        volumes = [row for row in self.record.rows if row.suffix]
        gone = {_stem(row.file) for row in volumes if not row.written and row.status != KEPT}
        files = [row.file for row in volumes if row.status == KEPT]
        files += [path for path in self.job.person.files if _stem(path) not in gone]
        missing = []
        for path in files:
            if path in self.record.outputs or _stem(path).endswith(_LEFT_OUT):
                continue
            if sentence := pointer_sentence(self.job.source / path):
                sentence = sentence.replace(str(self.job.source / path), "The file")
                missing.append(Row(f"sub-{self.job.person.label}", "", path, "", FAILED, sentence))
            else:
                self._take(taken, path, gone)
        taken.remove_others()
        return replace(self.record, rows=(*volumes, *missing), carried=tuple(sorted(taken.paths)))

    def _take(self, taken: Taken, path: str, gone: set[str]) -> None:
        source = self.job.source / path
        if path.endswith("_scans.tsv"):
            folder = Path(path).parent
            absent = [stem for stem in gone if Path(stem).is_relative_to(folder)]
            names = {Path(stem).relative_to(folder).as_posix() for stem in absent}
            taken.write(scans_table(read_text(source), names), path)
        elif path.endswith(".json"):
            take_json(taken, source, path)
        else:
            taken.place(source, path)


def take_json(taken: Taken, source: Path, path: str) -> None:
    """A JSON file without the fields that name a person or an examination; as it is where it has none."""
    fields = read_sidecar(source)
    if fields is None or without_personal(fields) == fields:
        taken.place(source, path)
    else:
        taken.write(json.dumps(without_personal(fields), indent=2, ensure_ascii=False) + "\n", path)


def scans_table(text: str, gone: Iterable[str]) -> str:
    """A scans.tsv without the rows of files whose stems (relative to it) are ``gone``, and without true dates."""
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    dropped = set(gone)
    if not rows or "filename" not in rows[0]:
        return text
    kept = [row for row in rows if _stem(row["filename"] or "") not in dropped]
    for row in kept:
        year = (row.get("acq_time") or "")[:4]
        if year.isdigit() and int(year) >= _SHIFTED:
            row["acq_time"] = "n/a"
    return tsv(list(rows[0]), ([row[name] or "n/a" for name in rows[0]] for row in kept))


def tsv(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Names and rows as tab-separated text."""
    return "".join("\t".join(cells) + "\n" for cells in [names, *rows])


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"{path} cannot be read: check its permissions.") from error


def _stem(path: str) -> str:
    """The path up to the first dot of its name."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]
