"""`reident-risk` with stand-ins for the networks, as a child process: python -m reident_child ARGUMENTS.

REIDENT_CHILD says how it goes: nothing (well), "slow" (it waits in the middle of the work), "stubborn" (and does not
let itself be interrupted), "crash" (it is killed), "second" (it fails when it looks up a gallery).
"""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

import reident_commands
import reident_nodes
from RefaceLib.errors import InputError
from reident_faces import Fakes
from ReidentRiskLib import cli, figures

HOW = os.environ.get("REIDENT_CHILD", "")


def step() -> None:
    if HOW == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if HOW == "second" and "identify" in sys.argv:
        raise InputError("This cannot be done.")
    while HOW == "slow":
        time.sleep(0.05)
    while HOW == "stubborn":
        try:
            time.sleep(0.05)
        except BaseException:
            continue


def main() -> int:
    with pytest.MonkeyPatch.context() as monkeypatch:
        fakes = Fakes().install(monkeypatch)
        fakes.step = step
        reident_nodes.calibrate(monkeypatch)
        for name in reident_commands.DRAWN:
            monkeypatch.setattr(figures, name, lambda path, *contents: path.write_bytes(b"drawn"))
        return cli.main()


if __name__ == "__main__":
    sys.exit(main())
