"""The files that the sub-commands write: checks of their names before any work, tables, and the private report.

A file is an output of ours when a report of ours lists its SHA-256. Nothing else is ever overwritten.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import RefaceLib
from RefaceLib.common.errors import OutputError
from RefaceLib.common.files import OutputSet, check_names, check_own_report, check_writable
from RefaceLib.common.hashing import sha256_if_file, sha256_of
from RefaceLib.common.imagenames import names_without_folders
from ReidentRiskLib.commandline.base import PROGRAM

if TYPE_CHECKING:
    from ReidentRiskLib.runs.headlist import Entry

VERSION_KEY = "reident_risk_version"  # by which a report of ours is known
_PRIVATE = "This file names scans of persons: keep it as safe as the scans."


def check_targets(targets: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Raise OutputError for anything that can go wrong with the names of outputs."""
    check_names(targets, inputs)
    for target in targets:
        check_writable(target, overwrite, None)


def check_outputs(
    reports: Sequence[Path], targets: Sequence[Path], inputs: Sequence[Path], earlier: Iterable[Path], overwrite: bool
) -> None:
    """``check_targets`` for ``reports`` and other ``targets``, which are ours where a report lists them.

    ``earlier`` is where reports of earlier runs may be.
    """
    check_targets([*reports, *targets], inputs, overwrite)
    _check_reports(reports)
    _check_ours(targets, earlier)


def _check_reports(paths: Iterable[Path]) -> None:
    """Raise OutputError for a report whose name is not that of a JSON file, or would replace what is no report."""
    for path in paths:
        if path.suffix.lower() != ".json":
            raise OutputError(f"{path} must end with .json: choose another name.")
        check_own_report(path, VERSION_KEY, PROGRAM)


def _check_ours(targets: Iterable[Path], reports: Iterable[Path]) -> None:
    """Raise OutputError for a file that is there and that none of the `reports` lists."""
    hashes = set().union(*(_listed(report) for report in reports))
    for target in targets:
        if target.exists() and sha256_of(target) not in hashes:
            raise OutputError(
                f"{target} exists and no report of {PROGRAM} lists it as an output, so it is kept: choose another name."
            )


def _listed(report: Path) -> set[str]:
    """The hashes in a report; none where the file is missing or no report of ours."""
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        return {str(entry["sha256"]) for entry in content["files"]} if VERSION_KEY in content else set()
    except (OSError, ValueError, LookupError, TypeError):
        return set()


@dataclass
class Written:
    """The outputs of a run on their way to the disk: where each is until it has its name."""

    out: OutputSet
    staged: dict[Path, Path] = field(default_factory=dict)

    def stage(self, path: Path) -> Path:
        """Where to write the output `path`."""
        self.staged[path] = self.out.stage(path)
        return self.staged[path]

    def files(self) -> list[dict[str, str]]:
        """Name and SHA-256 of every output, for the report."""
        return [{"name": path.name, "sha256": sha256_of(staged)} for path, staged in self.staged.items()]


def private_report(inputs: Sequence[Mapping[str, Any]], outputs: Iterable[Path]) -> dict[str, Any]:
    """What only those may have who have the scans: the paths and hashes of inputs, and the paths of outputs.

    `inputs` have the keys `path` and others, which are kept; a file whose content is elsewhere has no hash.
    """
    return {
        VERSION_KEY: RefaceLib.__version__,
        "private": _PRIVATE,
        "inputs": [
            {**entry, "path": os.path.abspath(entry["path"]), "sha256": sha256_if_file(entry["path"])}
            for entry in inputs
        ],
        "outputs": [os.path.abspath(path) for path in outputs],
    }


def inputs_of(role: str, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """What the private report says of heads in a list, whose `role` is told."""
    names = names_without_folders([entry.path for entry in entries])
    return [
        {"role": role, "subject": entry.subject, "name": name, "path": entry.path}
        for name, entry in zip(names, entries, strict=True)
    ]


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table (columns by title) as comma-separated UTF-8 text; None is an empty cell."""
    with open(path, "x", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
