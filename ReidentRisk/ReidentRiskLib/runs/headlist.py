"""Lists of heads, from a folder or a table: whose head each file is."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from RefaceLib.bids.carry import pointer_sentence
from RefaceLib.common.errors import InputError
from RefaceLib.common.imagenames import file_name, image_extension, image_stem
from ReidentRiskLib.attack.photo import is_photo


@dataclass(frozen=True)
class Entry:
    """Whose head, its file (a volume or a photograph), and where its landmarks are taken from if not from itself.

    That is another head, the ``original``, or a file of five points (see pointlist.read_points), ``landmarks``.
    """

    subject: str
    path: Path
    original: Path | None = None
    landmarks: Path | None = None


def list_heads(source: Path, pattern: str = "*") -> list[Entry]:
    """The heads of a folder or of a TSV file. Raises InputError, also where a file's content is elsewhere (git-annex).

    In a folder, the subject is a file's name up to the first '_' or the extension; volumes and photographs that match
    `pattern` are taken. A TSV file has the columns subject and path, and may have the columns original and landmarks;
    its relative paths are relative to it.
    """
    entries = list_names(source, pattern)
    for entry in entries:
        for path in (entry.path, entry.original, entry.landmarks):
            if path is not None and (elsewhere := pointer_sentence(path)):
                raise InputError(elsewhere)
    return entries


def list_names(source: Path, pattern: str = "*") -> list[Entry]:
    """As ``list_heads``, but files whose content is elsewhere are listed as well: each may fail alone."""
    if not source.exists():
        raise InputError(f"{source} does not exist: check the name.")
    if not source.is_dir():
        return _read_tsv(source)
    entries = [Entry(_subject_of(path), path) for path in sorted(source.glob(pattern)) if _is_image(path)]
    if not entries:
        which = "" if pattern == "*" else f" whose name matches '{pattern}'"
        raise InputError(f"{source} holds no volume{which}: check the folder{' and the pattern' if which else ''}.")
    return entries


def _is_image(path: Path) -> bool:
    return not path.is_dir() and (bool(image_extension(path)) or is_photo(path))


def _subject_of(path: Path) -> str:
    name = file_name(path).removesuffix(path.name[len(image_stem(path)) :])
    return name.split("_")[0] or name


def _read_tsv(path: Path) -> list[Entry]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, delimiter="\t")
            rows, titles = list(table), table.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: save it as tab-separated text (UTF-8).") from error
    if not {"subject", "path"} <= set(titles):
        raise InputError(f"{path} must have the columns subject and path, separated by tabs, and one head per line.")
    if not rows:
        raise InputError(f"{path} names no head: give one per line.")
    return [_entry(path, row, line) for line, row in enumerate(rows, start=2)]


def _entry(table: Path, row: dict[str, str | None], line: int) -> Entry:
    if not row["subject"] or not row["path"]:
        raise InputError(f"{table} lacks a subject or a path in line {line}: complete it.")
    others = {name: table.parent / _file(file) for name in ("original", "landmarks") if (file := row.get(name))}
    entry = Entry(row["subject"], table.parent / _file(row["path"]), **others)
    for named in (entry.path, entry.original, entry.landmarks):
        if named is not None and not (named.is_file() or named.is_symlink()):
            raise InputError(f"{named}, named in line {line} of {table}, does not exist: check the name.")
    return entry


def _file(text: str) -> str:
    """The name of a file as the system has it: a table is UTF-8, and the locale of the process may not be."""
    return os.fsdecode(text.encode("utf-8"))
