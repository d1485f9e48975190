"""The files that the sub-commands write: what is checked of their names before any work, and tables."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from RefaceLib.common.errors import OutputError
from RefaceLib.common.files import check_names, check_own_report, check_writable
from ReidentRiskLib.commandline.base import PROGRAM

_VERSION_KEY = "reident_risk_version"  # by which a report of ours is known


def check_targets(targets: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Raise OutputError for anything that can go wrong with the names of outputs."""
    check_names(targets, inputs)
    for target in targets:
        check_writable(target, overwrite, None)


def check_report(path: Path) -> None:
    """Raise OutputError for a report whose name is not that of a JSON file, or would replace what is no report."""
    if path.suffix.lower() != ".json":
        raise OutputError(f"{path} must end with .json: choose another name.")
    check_own_report(path, _VERSION_KEY, PROGRAM)


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table (columns by title) as comma-separated UTF-8 text; None is an empty cell."""
    with open(path, "x", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
