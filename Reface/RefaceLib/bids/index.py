"""What is in a BIDS data set: its persons and their volumes, by the names of files alone (ancpbids)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from RefaceLib.bids import suffixes
from RefaceLib.common.errors import InputError

IMAGES = (".nii", ".nii.gz")
_ABSENT = ("Query.NONE", "<Query.NONE: 1>")  # how PyBIDS's filters are written in JSON files
_OTHER_KEYS = ("suffix", "datatype")  # of filters, beside the entities
_ANY = ("Query.ANY", "<Query.ANY: 2>", "*")
Filters = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Scan:
    """One NIfTI file: its ``path`` in the data set (posix), and what its name says; ``session`` is "" without one."""

    path: str
    session: str
    folder: str
    suffix: str
    action: str
    entities: tuple[tuple[str, str], ...] = ()

    @property
    def stem(self) -> str:
        """The path without the extension."""
        return stem_of(self.path)


def stem_of(path: str) -> str:
    """The path of a NIfTI file without its extension."""
    return path.removesuffix(".gz").removesuffix(".nii")


@dataclass(frozen=True)
class Person:
    """One participant (``label`` without "sub-"): the volumes, and all other files (paths in the data set, posix)."""

    label: str
    scans: tuple[Scan, ...]
    files: tuple[str, ...]


def read_filters(path: Path | None) -> Filters:
    """The filters of --bids-filter-file, as nipreps' applications take them: {"t1w": {"session": "01"}, ...}.

    InputError where the file holds something else, or a key that would choose nothing.
    """
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: give a filter file as fMRIPrep takes it.") from error
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise InputError(f'{path} holds no filters: give an object such as {{"t1w": {{"session": "01"}}}}.')
    groups = sorted({suffix.lower() for rule in suffixes.TABLE for suffix in rule.suffixes})
    keys = sorted({*_entity_names(), *_entity_names().values(), *_OTHER_KEYS})
    for group, wanted in content.items():
        _check_known(path, group, groups, "suffix in lower case")
        for key in wanted:
            _check_known(path, key, keys, "entity")
    return content


def _check_known(path: Path, key: str, known: Sequence[str], kind: str) -> None:
    if key not in known:
        raise InputError(f"{path} has the key {key!r}, which is no {kind}: take one of {', '.join(known)}.")


def index_dataset(
    root: Path, participants: Sequence[str] = (), sessions: Sequence[str] = (), filters: Filters | None = None
) -> list[Person]:
    """The persons of the data set ``root``, or those of the labels ``participants``, with files of the ``sessions``.

    Labels may begin with "sub-" and "ses-". Raises InputError where the folder is no data set, or has no such person
    or session.
    """
    if not (root / "dataset_description.json").is_file():
        raise InputError(f"{root} is no BIDS data set (it has no dataset_description.json): give its top folder.")
    found = sorted(path.name[4:] for path in root.glob("sub-*") if path.is_dir())
    wanted = [label.removeprefix("sub-") for label in participants]
    if missing := [label for label in wanted if label not in found]:
        raise InputError(f"The data set has no participant {missing[0]}: check --participant-label.")
    labels = [label for label in found if label in wanted or not wanted]
    if not labels:
        raise InputError(f"{root} has no participant (no folder sub-*): give the top folder of a data set.")
    chosen = [label.removeprefix("ses-") for label in sessions]
    persons = [_person(root, label, chosen, filters or {}) for label in labels]
    there = {scan.session for person in persons for scan in person.scans}
    if absent := [label for label in chosen if label not in there]:
        raise InputError(f"The data set has no volume of session {absent[0]}: check --session-label.")
    return persons


def _person(root: Path, label: str, sessions: Sequence[str], filters: Filters) -> Person:
    paths = _files(root, f"sub-{label}")
    if sessions:
        kept = {f"ses-{session}" for session in sessions}
        paths = [path for path in paths if PurePosixPath(path).parts[1] in kept]
    scans = [scan for scan in _scans(root, paths) if _passes(scan, filters)]
    images = {path for path in paths if path.endswith(IMAGES)}
    return Person(label, tuple(scans), tuple(path for path in paths if path not in images))


def _files(root: Path, folder: str) -> list[str]:
    """All files below the folder, broken links too, but hidden ones; in the order of their names."""
    found = []
    for parent, folders, names in os.walk(root / folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(parent).relative_to(root)
        found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


def _scans(root: Path, paths: Sequence[str]) -> list[Scan]:
    """The NIfTI files among the ``paths``; a name that is not BIDS has no suffix."""
    from ancpbids import DatasetOptions, load_dataset

    images = [path for path in paths if path.endswith(IMAGES)]
    # Its pickle files could run any code, and other files are of no interest here.
    dataset = load_dataset(str(root), DatasetOptions(ignore_pickle_file=True), paths=images)
    items: list[Any] = dataset.query(return_type="object")
    named = {item.get_relative_path(): item for item in items}
    scans = []
    for path in images:
        artifact, parts = named.get(path), PurePosixPath(path).parts
        suffix = getattr(artifact, "suffix", None) or ""
        entities = getattr(artifact, "entities", None) or {}
        session = next((part[4:] for part in parts[1:-1] if part.startswith("ses-")), "")
        folder = parts[-2] if len(parts) > 2 else ""
        action = suffixes.action_of(suffix, folder, entities)
        texts = tuple(sorted((key, str(value)) for key, value in entities.items()))
        scans.append(Scan(path, session, folder, suffix, action, texts))
    return scans


# ---- filters ----


def _passes(scan: Scan, filters: Filters) -> bool:
    """Whether the filter of its suffix (in lower case), if there is one, lets the volume pass."""
    wanted = filters.get(scan.suffix.lower(), {})
    names = _entity_names() if wanted else {}
    known = {**dict(scan.entities), "suffix": scan.suffix, "datatype": scan.folder, "ses": scan.session}
    return all(_matches(known.get(names.get(key, key)) or None, value) for key, value in wanted.items())


def _matches(value: str | None, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_matches(value, one) for one in wanted)
    if wanted is None or str(wanted) in _ABSENT:
        return value is None
    if str(wanted) in _ANY:
        return value is not None
    text = str(wanted)
    return value is not None and (
        fnmatch(value, text) or (value.isdigit() and text.isdigit() and int(value) == int(text))
    )


def _entity_names() -> dict[str, str]:
    """The short name of every entity of BIDS by its long one: {"session": "ses", ...}."""
    from ancpbids import model_latest

    return {entity.name: entity.value["name"] for entity in model_latest.EntityEnum}
