"""The names of outputs, and which of the files that exist are outputs of ours.

A file is ours when a report of ours lists its SHA-256. Nothing else is ever overwritten.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.files import same_file
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.imagenames import image_extension, image_stem, report_beside

VERSION_KEY = "reface_version"  # by which a report of ours is known
_ENDINGS = {"deface": "_defaced", "recover": "_recovered"}


def default_output(path: Path, mode: str, folder: Path | None = None) -> Path:
    """The output for the input `path`, in `folder` or beside it: `a_refaced.nii.gz` for `a.nii.gz`."""
    extension = image_extension(path) or ".nii.gz"  # reading tells what is wrong with any other input
    return (folder or path.parent) / f"{image_stem(path)}{_ENDINGS.get(mode, '_refaced')}{extension}"


def pair_up(
    paths: Sequence[Path], mode: str, folder: Path | None = None, known: Sequence[Path] = (), report: Path | None = None
) -> list[tuple[Path, Path]]:
    """(input, output) of every head from the names that were given.

    Two names without `folder` are INPUT and OUTPUT, when the second is no file yet, is an output of ours, or is among
    the `known` inputs, which is refused elsewhere. InputError for two scans. `report` is where the report was put.
    """
    if folder is None and len(paths) == 2:
        first, second = paths
        if second.is_dir():
            raise InputError(f"{second} is a folder: give the name of a file in it, or --out-dir {second}.")
        if second.exists() and not is_ours(second, [report]) and not any(same_file(second, p) for p in (first, *known)):
            raise InputError(
                f"{second} exists already and is no output of reface, so it is kept: choose another OUTPUT, or give "
                "--out-dir to reface both."
            )
        return [(first, second)]
    return [(path, default_output(path, mode, folder)) for path in paths]


def is_ours(path: Path, reports: Iterable[Path | None] = ()) -> bool:
    """Whether the report beside the file, or one of the `reports`, lists the SHA-256 of the file."""
    hashes: set[str] = set()
    for report in (report_beside(path), *reports):
        hashes |= listed_hashes(report) if report else set()
    return bool(hashes) and path.is_file() and sha256_of(path) in hashes


def check_folder_ours(folder: Path, report: Path) -> None:
    """Raise OutputError for a folder with a file that the ``report`` does not list as an output of ours."""
    hashes = listed_hashes(report)
    for path in folder.rglob("*"):
        if not path.is_dir() and sha256_of(path) not in hashes:
            raise OutputError(
                f"{folder} holds files that no report of reface lists as outputs, so it is kept: choose another name."
            )


def check_ours(path: Path, reports: Iterable[Path | None]) -> None:
    """Raise OutputError for a file that is there and is no output of ours."""
    if path.exists() and not is_ours(path, reports):
        raise OutputError(
            f"{path} exists and no report of reface lists it as an output, so it is kept: choose another name."
        )


def listed_hashes(report: Path) -> set[str]:
    """The hashes in a report; none where the file is missing or no report of ours."""
    try:
        content = json.loads(report.read_text(encoding="utf-8"))
        if VERSION_KEY not in content:
            return set()
        return {str(content["output_sha256"]), *(str(entry["sha256"]) for entry in content.get("also_written", ()))}
    except (OSError, ValueError, LookupError, TypeError):
        return set()
