"""Presses that both windows have: scenes, volumes, other modules, the end of runs. For presses.py."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import driving
import slicer
from states import RUN_SECONDS, scalar_volumes, volume

# What a user does in either window, and how often beside what else is done.
OF_BOTH = {
    "cancel": 3, "wait_for_end": 4, "wait_a_little": 3, "remove_a_volume": 2, "load_a_head": 1, "clear_scene": 2,
    "reload_module": 2, "elsewhere_and_back": 2, "save_scene": 2, "load_scene": 3,
}  # fmt: skip


class Presses(driving.ModuleWindow):
    """What can be pressed; each method is one press. `often` says how often each is drawn.

    :param head: file with a head of 2 mm
    :param out: folder for what is saved
    :param chance: draws what is pressed, and with what
    """

    often: Mapping[str, int]

    def __init__(self, head: Path, out: Path, chance: random.Random):
        self._head, self._out, self._chance = head, out, chance
        self._saved: list[Path] = []

    @property
    def running(self) -> bool:
        return bool(self.widget.panel.running)

    def begin(self) -> None:
        """An empty scene with two heads, in the window of the module."""
        slicer.mrmlScene.Clear()
        slicer.util.selectModule(self.module)
        for name in ("Head", "Another"):
            volume(self._head, name)
        driving.wait(0.3)

    def draw(self) -> str:
        """The name of a press."""
        often = OF_BOTH | dict(self.often)
        return self._chance.choices(list(often), list(often.values()))[0]

    def cancel(self) -> None:
        self.ui.cancelButton.click()

    def wait_for_end(self) -> None:
        driving.wait_until(lambda: not self.running, RUN_SECONDS, "the end of the runs")

    def wait_a_little(self) -> None:
        driving.wait(self._chance.uniform(0.0, 3.0))

    def remove_a_volume(self) -> None:
        volumes = scalar_volumes()
        if len(volumes) > 1:
            slicer.mrmlScene.RemoveNode(self._chance.choice(volumes))

    def load_a_head(self) -> None:
        volume(self._head, f"Head {self._chance.randrange(1000)}")

    def clear_scene(self) -> None:
        slicer.mrmlScene.Clear()

    def reload_module(self) -> None:
        slicer.util.reloadScriptedModule(self.module)
        slicer.util.selectModule("Welcome")
        slicer.util.selectModule(self.module)

    def elsewhere_and_back(self) -> None:
        slicer.util.selectModule(self._chance.choice(["Welcome", "Data", "Reface", "ReidentRisk"]))
        driving.wait(0.3)
        slicer.util.selectModule(self.module)

    def save_scene(self) -> None:
        path = self._out / f"scene{len(self._saved) % 3}.mrb"
        slicer.util.saveScene(str(path))
        self._saved.append(path)

    def load_scene(self) -> None:
        if self._saved:
            slicer.util.loadScene(str(self._chance.choice(self._saved)), {"clear": self._chance.random() < 0.7})

    def _go_to_any(self, selector) -> None:
        """Choose an entry of a QComboBox."""
        if selector.enabled and selector.count:
            selector.currentIndex = self._chance.randrange(selector.count)
