"""The heads of a data set that is to be shared, and which original each of them was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from RefaceLib.common.errors import InputError
from RefaceLib.common.imagenames import file_name, image_extension, image_stem
from ReidentRiskLib.runs.headlist import Entry, list_heads

_FOLDERS = ("anat", "ct")  # of a BIDS data set: where volumes are fine enough to show a face
_DERIVED = "desc-"  # what a derivative's name says beside that of its source


def list_dataset(source: Path, pattern: str = "*") -> list[Entry]:
    """The heads of a BIDS data set (all in its folders `anat` and `ct` that show a face), of a folder or of a table.

    Names match `pattern`. Folders and tables are those of headlist.list_heads, without photographs. Raises InputError.
    """
    if (source / "dataset_description.json").is_file():
        return _bids_heads(source, pattern)
    entries = [entry for entry in list_heads(source, pattern) if image_extension(entry.path)]
    if not entries:
        raise InputError(f"{source} names no volume, but photographs alone: give heads.")
    return entries


def _bids_heads(root: Path, pattern: str) -> list[Entry]:
    from RefaceLib.bids.index import index_dataset
    from RefaceLib.bids.suffixes import DEFACE, FACE

    entries = [
        Entry(f"sub-{person.label}", root / scan.path)
        for person in index_dataset(root)
        for scan in person.scans
        if scan.folder in _FOLDERS and scan.action in (FACE, DEFACE) and Path(scan.path).match(pattern)
    ]
    if not entries:
        raise InputError(f"{root} has no volume in 'anat' or 'ct' that matches '{pattern}': check the data set.")
    return entries


def with_originals(shared: Sequence[Entry], originals: Sequence[Entry]) -> list[Entry]:
    """Each of ``shared`` with its original among the ``originals``, where there is one.

    That is the volume of the same name, but for the entity `desc`; else the first of the same subject and suffix
    (what follows the last '_'); else the first of the subject. What a table names stays.
    """
    by_name = {(entry.subject, *_words(entry.path)): entry.path for entry in reversed(originals)}
    by_suffix = {(entry.subject, _words(entry.path)[-1]): entry.path for entry in reversed(originals)}
    by_subject = {entry.subject: entry.path for entry in reversed(originals)}

    def original(entry: Entry) -> Path | None:
        words = _words(entry.path)
        return (
            entry.original
            or by_name.get((entry.subject, *words))
            or by_suffix.get((entry.subject, words[-1]))
            or by_subject.get(entry.subject)
        )

    return [replace(entry, original=original(entry)) for entry in shared]


def _words(path: Path) -> tuple[str, ...]:
    """The parts of a BIDS name but for `desc`."""
    stem = image_stem(Path(file_name(path)))
    return tuple(word for word in stem.split("_") if not word.startswith(_DERIVED))
