"""What a data set that is to be published takes over beside the new volumes: linked or copied, and nothing personal."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from RefaceLib.bids.job import Job
from RefaceLib.bids.otherfiles import left_out
from RefaceLib.bids.published import Content, NotPublishedError, published
from RefaceLib.bids.record import FAILED, KEPT, LEFT_OUT, Record, Row, write_record
from RefaceLib.common.errors import OutputError
from RefaceLib.common.files import OutputSet, write_error
from RefaceLib.common.hashing import sha256_of

_POINTERS = {b"/annex/objects/": "git-annex", b"version https://git-lfs": "git-lfs"}  # how such a file begins
_LARGEST_POINTER = 32_768  # bytes; git-annex's own limit


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


def check_no_links(out: Path, paths: Iterable[str]) -> None:
    """Raise OutputError where a folder on the way from OUT to one of the files at ``paths`` (posix) is a link.

    Such a file would be written into another folder, the data set itself perhaps.
    """
    for folder in sorted({folder for path in paths for folder in PurePosixPath(path).parents}):
        if folder.parts and (out / folder).is_symlink():
            raise OutputError(f"{out / folder} is a link, and no output goes through one: remove it or move it.")


def kept_error(foreign: Sequence[Path]) -> OutputError:
    """The error for files in the way that are another one's, or were changed since they were written."""
    if len(foreign) == 1:
        return OutputError(f"{foreign[0]} exists and was not written by reface bids as it is, so it is kept: move it.")
    told = f"{', '.join(map(str, foreign[:-1]))} and {foreign[-1]}"
    return OutputError(f"{told} exist and were not written by reface bids as they are, so they are kept: move them.")


@dataclass
class Taken:
    """Files that are put into the folder ``out``: ``paths`` (posix), with ``former`` those that are ours already."""

    out: Path
    former: frozenset[str]
    paths: list[str] = field(default_factory=list)

    def claim(self, contents: Mapping[str, Content]) -> None:
        """Make these ours from now on. Raises OutputError, before anything is written, where one is another's."""
        self.check(contents)
        self.former |= contents.keys()

    def check(self, contents: Mapping[str, Content]) -> None:
        """Raise OutputError where one of these could not be claimed; it names all files of others."""
        check_no_links(self.out, contents)
        foreign = []
        for path, content in contents.items():
            target = self.out / path
            others = path not in self.former or target.is_symlink()
            if others and os.path.lexists(target) and not _is_there(content, target):
                foreign.append(target)
        if foreign:
            raise kept_error(foreign)

    def put(self, content: Content, path: str) -> None:
        """A file at ``path``, which was claimed: a text, or a hard link or, of a link or from another disk, a copy."""
        target = self.out / path
        self.paths.append(path)
        if _is_there(content, target):
            return
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(target, error) from error
        if isinstance(content, Path) and not content.is_symlink() and _linked(content, target):
            return  # what a link leads to belongs to git-annex
        with OutputSet(overwrite=True) as staged:
            if isinstance(content, Path):
                shutil.copyfile(content, staged.stage(target))
            else:
                staged.stage(target).write_bytes(_encoded(content))

    def remove_others(self) -> None:
        """Remove what an earlier run has put there and this one has not."""
        for path in self.former.difference(self.paths):
            with contextlib.suppress(OSError):
                (self.out / path).unlink()


def _is_there(content: Content, target: Path) -> bool:
    """Whether the file holds this already."""
    if target.is_symlink() or not target.is_file():
        return False
    if isinstance(content, Path):
        return os.path.samefile(content, target) or _same_bytes(content, target)
    return target.read_bytes() == _encoded(content)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


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
        """The record with the files that were taken over, and a row for each that was not, or lost columns.

        It is on the disk as well, and was before the first of these files, so that a run that is killed knows them.
        """
        volumes = self.record.rows[: len(self.job.person.scans)]
        contents, others = self._chosen(volumes)
        taken = Taken(self.job.out, frozenset(self.record.carried))
        taken.claim(contents)
        record = self._keep(replace(self.record, carried=tuple(sorted(taken.former))))
        for path, content in contents.items():
            taken.put(content, path)
        taken.remove_others()
        return self._keep(replace(record, rows=(*volumes, *others), carried=tuple(sorted(taken.paths))))

    def _chosen(self, volumes: Sequence[Row]) -> tuple[dict[str, Content], list[Row]]:
        """The contents of the files that are taken over by their paths, and the rows on the others."""
        unknown = {path: why for path in self.job.person.files if (why := left_out(path))}
        rows = {name: self._row(name, LEFT_OUT, said) for name, said in unknown.values()}
        gone = {row.file for row in volumes if not row.written and row.status != KEPT}
        stems = {_stem(path) for path in gone}
        files = [row.file for row in volumes if row.status == KEPT]
        files += [path for path in self.job.person.files if path not in unknown and _stem(path) not in stems]
        contents = {}
        for path in files:
            source = self.job.source / path
            if sentence := pointer_sentence(source):
                if path not in self.record.outputs:
                    rows[path] = self._row(path, FAILED, self.job.unnamed(sentence, path))
                continue
            try:
                content, said = published(source, path, {*gone, *unknown, *rows})
            except NotPublishedError as error:  # of a volume's own sidecar, which was written anew, it says so as well
                rows[path] = self._row(path, LEFT_OUT, str(error))
                continue
            if said:
                rows[path] = self._row(path, LEFT_OUT, said)
            if path not in self.record.outputs:
                contents[path] = content
        return contents, list(rows.values())

    def _row(self, path: str, status: str, sentence: str) -> Row:
        """The row on a file that is no volume."""
        parts = PurePosixPath(path).parts
        session = parts[1] if len(parts) > 2 and parts[1].startswith("ses-") else ""
        return Row(f"sub-{self.job.person.label}", session, path, "", status, sentence)

    def _keep(self, record: Record) -> Record:
        if record != self.record:
            write_record(self.job.record, record)
            self.record = record
        return record


def _stem(path: str) -> str:
    """The path up to the first dot of its name."""
    folder, slash, name = path.rpartition("/")
    return folder + slash + name.partition(".")[0]
