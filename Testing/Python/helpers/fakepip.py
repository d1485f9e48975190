"""A pip that is not there, for the tests of what is downloaded."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn


class Pip:
    """Puts a wheel of the package that is asked for, with `members` by name, where it is told; None: no wheel."""

    def __init__(self, members: Mapping[str, bytes] | None, code: int = 0, message: str = "") -> None:
        self.members, self.code, self.message = members, code, message
        self.commands: list[list[str]] = []

    def __call__(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.commands.append(list(command))
        if self.members is not None:
            folder = Path(command[command.index("--dest") + 1])
            name, version = command[-1].split("==")
            with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
                for member, content in self.members.items():
                    wheel.writestr(member, content)
        return subprocess.CompletedProcess(command, self.code, "", self.message)


def no_start(command: Sequence[str]) -> NoReturn:
    raise FileNotFoundError(command[0])


# Why no wheel comes: a runner for each.
NO_WHEEL = {
    "no start": no_start,
    "no pip": Pip(None, code=1, message="/usr/bin/python: No module named pip"),
    "offline": Pip(None, code=1, message="ERROR: Could not find a version"),
    "nothing came": Pip(None),
}


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
