"""Random presses in both windows, by turns: whatever the order, nothing is raised and nothing is left behind.

    Slicer --testing --no-splash --additional-module-paths Reface ReidentRisk \
        --python-script Testing/Application/presses.py HEAD OUT [--sequences 50] [--seed 0]

After every press: no exception and no error in the log, no face in a 3D view but those of the pair that is there. After
every sequence, when its runs have ended: no child process and no temporary folder. OUT gets presses.txt with every
sequence, so that one that fails can be pressed again (--seed, --sequences), and a picture where something is wrong.
The application exits with 0 when all went well, and else with 1.
"""

from __future__ import annotations

import argparse
import random
import sys
import traceback
from pathlib import Path

import slicer

sys.path.insert(0, str(Path(__file__).parent))

import driving
from pressing import Presses
from pressing_reface import RefacePresses
from pressing_reidentrisk import RiskPresses
from watching import Watch

MAX_PRESSES = 12  # of a sequence
WINDOWS = (RefacePresses, RiskPresses)  # by turns


def sequence(presses: Presses, watch: Watch, chance: random.Random, lines: list[str]) -> list[str]:
    """Press a few at random, and let the runs end; what is wrong after one of them, a sentence each."""
    found = []
    presses.begin()
    for name in [presses.draw() for _ in range(chance.randint(2, MAX_PRESSES))]:
        lines.append(f"  {name}")
        try:
            getattr(presses, name)()
        except Exception as error:
            found.append(f"{name}: {type(error).__name__}: {error}")
        driving.wait(0.2)
        found += [f"{name}: {problem}" for problem in watch.problems(running=presses.running)]
        lines += [f"    told: {message}" for message in watch.take_shown()]
    try:
        presses.wait_for_end()
        driving.wait(0.3)
    except TimeoutError as error:
        found.append(str(error))
    return found + [f"at the end: {problem}" for problem in watch.problems()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("head", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sequences", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the first sequence; the others count on")
    options = parser.parse_args()
    out, lines, failed = options.out.resolve(), [], 0
    try:
        out.mkdir(parents=True, exist_ok=True)
        watch = Watch(out / "temporary")
        for seed in range(options.seed, options.seed + options.sequences):
            chance = random.Random(seed)
            presses = WINDOWS[seed % len(WINDOWS)](options.head.resolve(), out, chance)
            lines.append(f"sequence {seed}, {presses.module}")
            found = sequence(presses, watch, chance, lines)
            lines += [f"  FAIL {problem}" for problem in found]
            failed += bool(found)
            if found:
                driving.picture(out / f"sequence_{seed}.png")
            (out / "presses.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        lines.append(f"{failed} of {options.sequences} sequences failed.")
        (out / "presses.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except BaseException:
        traceback.print_exc()
        failed = 1
    slicer.util.exit(1 if failed else 0)


main()
