"""What the tests of both command lines share: what a folder holds, what an error looks like, how a run can fail."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from RefaceLib.common.errors import CancelledError

# What may happen in the middle of the work, the exit code, and words of what is said.
FAILURES = {
    "stopped": (KeyboardInterrupt(), 130, "stopped; nothing was written"),
    "cancelled": (CancelledError("stopped"), 130, "stopped; nothing was written"),
    "memory": (MemoryError(), 1, "not enough memory"),
    "a mistake": (ValueError("shapes differ:\n(3,) (4,)"), 1, "ValueError: shapes differ: (3,) (4,)"),
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def step(*arguments, **options):
        raise error

    return step


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below the folder with its bytes."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_sentence(text: str, program: str) -> bool:
    """Whether `text`, what `program` wrote on stderr, is one error without a traceback."""
    return text.startswith(f"{program}: ") and text.count("\n") == 1 and "Traceback" not in text


def run_python(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run another Python, which finds what this one finds, with the variables of `environment` set."""
    path = os.pathsep.join(path for path in sys.path if path)
    variables = {**os.environ, "PYTHONPATH": path, **(environment or {})}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, errors="replace")
