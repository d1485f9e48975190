"""What can be wrong with the names of inputs and outputs: told in one sentence, before any work."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from RefaceLib.errors import InputError, OutputError
from RefaceLib.outputs import same_file


def check_exists(path: Path) -> None:
    """Raise InputError where there is neither a file nor a folder."""
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist: check the name.")


def check_names(targets: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Raise OutputError when an output is an input as well, or two outputs are one file."""
    for index, target in enumerate(targets):
        if any(same_file(target, path) for path in inputs):
            raise OutputError(f"The output {target} is an input as well: choose another name.")
        if any(same_file(target, other) for other in targets[:index]):
            raise OutputError(f"{target} is given for two outputs: choose different names.")


def check_own_report(path: Path, key: str, program: str) -> None:
    """Raise OutputError for a JSON file that is no report of `program`, which are known by their `key`.

    Another program's file, a BIDS sidecar say, is never overwritten. A file that is not there is fine.
    """
    if not path.exists():
        return
    try:
        ours = key in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise OutputError(f"{path} exists and is no report of {program}, so it is kept: choose another name.")
