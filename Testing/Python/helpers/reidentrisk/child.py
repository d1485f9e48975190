"""`reident-risk` with stand-ins for the networks, as a child process: python -m helpers.reidentrisk.child ARGUMENTS.

REIDENT_CHILD says how it goes: nothing (well), "slow" (it waits in the middle of the work), "stubborn" (and does not
let itself be interrupted), "crash" (it is killed), "second" (it fails when it looks up a gallery).
"""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest

from helpers.reidentrisk.commands import draw_nothing
from helpers.reidentrisk.faces import Fakes, calibration
from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.views import VIEW_SETS
from ReidentRiskLib.commandline import cli
from ReidentRiskLib.judge.scores import ATTACKERS

HOW = os.environ.get("REIDENT_CHILD", "")
SKIN = np.array([[0.0, 80.0, 0.0], [70.0, 0.0, 0.0], [0.0, 0.0, 90.0]]), np.eye(3), np.array([[0, 1, 2]])


def calibrate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration and a skin for the stand-ins."""
    entries = [calibration(attacker, views=views) for attacker in ATTACKERS for views in VIEW_SETS]
    monkeypatch.setattr("ReidentRiskLib.judge.calibration.read_calibrations", lambda path=None: entries)
    monkeypatch.setattr("RefaceLib.skin.surface.vertices", lambda surface: SKIN)


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
        calibrate(monkeypatch)
        draw_nothing(monkeypatch)
        return cli.main()


if __name__ == "__main__":
    sys.exit(main())
