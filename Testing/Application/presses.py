"""Random presses in the window of Reface: whatever the order, nothing is raised and nothing is left behind.

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
from states import RUN_SECONDS, scalar_volumes, volume
from watching import Watch

MAX_PRESSES = 7  # of a sequence


class Presses(driving.ModuleWindow):
    """What can be pressed; each method is one press."""

    module = "Reface"

    def __init__(self, head: Path, out: Path, chance: random.Random):
        self._head, self._out, self._chance = head, out, chance
        self._saved: list[Path] = []

    @property
    def running(self) -> bool:
        return bool(self.widget.panel.running)

    def begin(self) -> None:
        """An empty scene with two heads, in the window of the module."""
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("Reface")
        for name in ("Head", "Another"):
            volume(self._head, name)
        driving.wait(0.3)
        self.change_input()

    def names(self) -> list[str]:
        """The presses; what a user does more often is there more often."""
        return [name for name, often in PRESSES.items() for _ in range(often)]

    def apply(self) -> None:
        self.ui.applyButton.click()

    def deface(self) -> None:
        self._mode("DEFACE")
        self.apply()

    def reface(self) -> None:
        self._mode("REFACE")
        self.apply()

    def cancel(self) -> None:
        self.ui.cancelButton.click()

    def wait_for_end(self) -> None:
        driving.wait_until(lambda: not self.running, RUN_SECONDS, "the end of the runs")

    def wait_a_little(self) -> None:
        driving.wait(self._chance.uniform(0.0, 3.0))

    def compare(self) -> None:
        self.ui.compareButton.click()

    def slide(self) -> None:
        self.ui.compareSlider.value = self._chance.randrange(101)

    def mask(self) -> None:
        self.ui.maskCheckBox.click()

    def new_face(self) -> None:
        self.ui.newFaceButton.click()

    def change_input(self) -> None:
        volumes = scalar_volumes()
        self.ui.inputVolumeSelector.setCurrentNode(self._chance.choice(volumes) if volumes else None)

    def tick_all(self) -> None:
        self.ui.tickAllButton.click()

    def remove_a_volume(self) -> None:
        volumes = scalar_volumes()
        if len(volumes) > 1:
            slicer.mrmlScene.RemoveNode(self._chance.choice(volumes))

    def load_a_head(self) -> None:
        volume(self._head, f"Head {self._chance.randrange(1000)}")

    def clear_scene(self) -> None:
        slicer.mrmlScene.Clear()

    def reload_module(self) -> None:
        slicer.util.reloadScriptedModule("Reface")
        slicer.util.selectModule("Welcome")
        slicer.util.selectModule("Reface")

    def elsewhere_and_back(self) -> None:
        slicer.util.selectModule(self._chance.choice(["Welcome", "Data", "ReidentRisk"]))
        driving.wait(0.3)
        slicer.util.selectModule("Reface")

    def save_scene(self) -> None:
        path = self._out / f"scene{len(self._saved) % 3}.mrb"
        slicer.util.saveScene(str(path))
        self._saved.append(path)

    def load_scene(self) -> None:
        if self._saved:
            slicer.util.loadScene(str(self._chance.choice(self._saved)), {"clear": self._chance.random() < 0.7})

    def save_result(self) -> None:
        driving.files_for(self._out / f"face{self._chance.randrange(10**9)}.nii.gz")
        self.ui.saveButton.click()

    def save_report(self) -> None:
        driving.files_for(self._out / f"report{self._chance.randrange(10**9)}.json")
        self.ui.reportButton.click()

    def _mode(self, name: str) -> None:
        from RefaceLib.window.parameters import Mode

        if self.widget._parameterNode is not None:
            self.widget._parameterNode.mode = Mode[name]


PRESSES = {
    "apply": 3, "deface": 4, "reface": 1, "cancel": 3, "wait_for_end": 4, "wait_a_little": 3, "compare": 4, "slide": 2,
    "mask": 2, "new_face": 1, "change_input": 3, "tick_all": 1, "remove_a_volume": 2, "load_a_head": 1,
    "clear_scene": 2, "reload_module": 2, "elsewhere_and_back": 2, "save_scene": 2, "load_scene": 3, "save_result": 1,
    "save_report": 1,
}  # fmt: skip


def sequence(presses: Presses, watch: Watch, chance: random.Random, lines: list[str]) -> list[str]:
    """Press a few at random, and let the runs end; what is wrong after one of them, a sentence each."""
    found = []
    presses.begin()
    for name in [chance.choice(presses.names()) for _ in range(chance.randint(2, MAX_PRESSES))]:
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
            lines.append(f"sequence {seed}")
            found = sequence(Presses(options.head.resolve(), out, chance), watch, chance, lines)
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
