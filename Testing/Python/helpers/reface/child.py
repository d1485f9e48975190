"""`reface` with a stand-in for the networks, as a child process: python -m helpers.reface.child ARGUMENTS.

REFACE_CHILD says how it goes: nothing (well), "slow" (it waits in the middle of the work), "stubborn" (and does not let
itself be interrupted), "crash" (it is killed), "segfault", "memory", "liar" (the brain is changed, and the report does
not say so). The face is its seed. `judge` in place of `image` compares faces: the least similar one has the
number of REFACE_JUDGE.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib import companion, pipeline
from RefaceLib.commandline import cli
from RefaceLib.common.console import write_json_line
from RefaceLib.common.errors import HeadNotFoundError, OtherHeadError
from RefaceLib.companion import CompanionResult
from RefaceLib.face import deface, weights
from RefaceLib.volume import geometry
from RefaceLib.volume.geometry import Grid
from RefaceLib.volume.io import Volume

STRANGER, NO_HEAD = 30_001, 30_002
HOW = os.environ.get("REFACE_CHILD", "")


def step() -> None:
    if HOW in ("crash", "segfault"):
        os.kill(os.getpid(), signal.SIGKILL if HOW == "crash" else signal.SIGSEGV)
    if HOW == "memory":
        raise MemoryError
    while HOW == "slow":
        time.sleep(0.05)
    while HOW == "stubborn":
        try:
            time.sleep(0.05)
        except BaseException:
            continue


def reface_volume(volume: Any, options: Any, *, progress: Any = None, **_rest: Any) -> Any:
    """The front third of the head (axis J) becomes the seed, or 0 when there is to be no face."""
    if progress:  # a companion is defaced by itself without
        progress(0.5, "generate")
    step()
    if volume.stored.max() == NO_HEAD:
        raise HeadNotFoundError("No head was found in the volume.")
    third = volume.stored.shape[1] // 3
    mask = np.zeros(volume.stored.shape, dtype=bool)
    mask[:, :third] = True
    brain = np.zeros_like(mask)
    brain[2:-2, -third:, 2:-2] = True
    stored = volume.stored.copy()
    stored[mask] = 0 if options.mode == "deface" else options.seed
    counts = {**pipeline.check(volume, stored, mask, brain), "tissue_ml": 1.0}
    mode = "reface" if options.mode == "auto" else options.mode
    if HOW == "liar":
        stored[brain] += 1
    return pipeline.RefaceResult(
        stored=stored, mask=mask, brain=brain, landmarks={}, warnings=("A warning.",), seconds={"generate": 1.0},
        model={"name": "fake", "version": "1", "sha256": "00"}, device="cpu", mode=mode, seed=options.seed, draws=1,
        ears=options.ears, counts=counts, face_removed={"face": 1.0}, parse=None,
    )  # fmt: skip


def deface_companion(other: Volume, volume: Volume, result: Any, models: Any) -> CompanionResult:
    """Blank where the mask of the first volume lies; a volume of the highest value NO_HEAD or STRANGER is refused."""
    if other.stored.max() in (NO_HEAD, STRANGER):
        raise OtherHeadError("The volume does not show the head of the first one.")
    grid = Grid(other.stored.shape, other.affine)
    mask, brain = (geometry.resample(a, volume.affine, grid, nearest=True) > 0 for a in (result.mask, result.brain))
    stored = deface.deface(other, other.values(), mask).stored
    counts = pipeline.check(other, stored, mask, brain)
    return CompanionResult(stored, mask, brain, counts, {"face": 1.0}, 0.5, 0.25, other.warnings)


def judge(arguments: list[str]) -> int:
    *faces, folder = map(Path, arguments[1:-2])  # before --progress json
    assert all(face.is_file() for face in faces)
    folder.mkdir()
    write_json_line(sys.stdout, {"progress": 0.5, "stage": "compare"})
    (folder / "judged.json").write_text(json.dumps({"least": int(os.environ["REFACE_JUDGE"])}))
    return 0


if __name__ == "__main__":
    pipeline.reface_volume = reface_volume
    companion.deface_companion = deface_companion
    load_models = weights.load_models  # of a folder of one's own alone
    weights.load_models = lambda device, folder=None: load_models(device, folder) if folder else None
    sys.exit(judge(sys.argv[1:]) if sys.argv[1] == "judge" else cli.main())
