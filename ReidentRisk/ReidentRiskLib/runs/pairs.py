"""The heads of a data set that is to be shared, and which original each of them was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from RefaceLib.common.errors import InputError
from RefaceLib.common.imagenames import file_name, image_extension, image_stem
from ReidentRiskLib.runs.headlist import Entry, list_names

_FOLDERS = ("anat", "ct")  # of a BIDS data set: where volumes are fine enough to show a face


def list_dataset(source: Path, pattern: str = "*") -> list[Entry]:
    """The heads of a BIDS data set (all in its folders `anat` and `ct` that show a face), of a folder or of a table.

    Names match `pattern`. Folders and tables are those of headlist.list_names, without photographs. Raises InputError.
    """
    if (source / "dataset_description.json").is_file():
        return _bids_heads(source, pattern)
    entries = [entry for entry in list_names(source, pattern) if image_extension(entry.path)]
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
    """Each of ``shared`` with its original among the ``originals``, where there is one of its subject.

    That is the one whose name has the most parts (between '_') in common with that of the head, and the fewest others;
    of equal ones the first. What a table names stays.
    """
    of_subject: dict[str, list[Path]] = {}
    for entry in originals:
        of_subject.setdefault(entry.subject, []).append(entry.path)

    def original(entry: Entry) -> Path | None:
        parts = _parts(entry.path)
        candidates = of_subject.get(entry.subject, [])
        return max(candidates, key=lambda path: (len(parts & _parts(path)), -len(_parts(path))), default=None)

    return [replace(entry, original=entry.original or original(entry)) for entry in shared]


def _parts(path: Path) -> set[str]:
    return set(image_stem(Path(file_name(path))).split("_"))
