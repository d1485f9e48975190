"""The states of a tour: each is brought about, photographed, and written down with what was asserted of it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Collection
from pathlib import Path

import driving
import slicer
from watching import Watch

RUN_SECONDS = 600  # that a run may take on a computer that has much else to do


class Tour:
    """Goes through states; pictures and `tour.txt` lie in `out`.

    :param head: file with a head that has its face
    :param gallery: folder with at least eight other heads, or None
    :param only: names of states, of which all others are left out; none: all states
    """

    def __init__(self, head: Path, out: Path, gallery: Path | None, only: Collection[str] = ()):
        out.mkdir(parents=True, exist_ok=True)
        self.head, self.out, self.gallery = head, out, gallery
        self.watch = Watch(out / "temporary")
        self.failed = 0
        self._only, self._met = only, set()
        self._count = 0
        self._lines: list[str] = []
        self._checks: list[tuple[bool, str]] = []

    def state(self, module: str, name: str, bring_about: Callable[[], object]) -> None:
        """One state: `bring_about` makes it and asserts what holds of it, the rest is asserted of every state."""
        self._count += 1
        if self._only and name not in self._only:
            return
        self._met.add(name)
        self._checks, began = [], time.monotonic()
        try:
            bring_about()
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            self.check(f"nothing is raised: {type(error).__name__}: {error} ({last.name}, line {last.lineno})", False)
        driving.wait(0.5)
        self.photograph(name)
        self.photograph(f"{name}_panel", slicer.util.getModuleWidget(module).parent)  # all of it, without scrolling
        for fault in driving.panel_faults(module):
            self.check(f"the panel fits: {fault}", False)
        for problem in self.watch.problems():
            self.check(problem, False)
        for message in self.watch.take_shown():
            self.check(f"no message is shown that was not expected: {message}", False)
        self._write(name, time.monotonic() - began)

    def check(self, claim: str, holds: object) -> None:
        self._checks.append((bool(holds), claim))

    def expect_message(self, *words: str) -> None:
        """One message was shown that holds these words, and no other."""
        shown = self.watch.take_shown()
        fits = len(shown) == 1 and all(word in shown[0] for word in words)
        self.check(f"the user is told: {shown or 'nothing'}", fits)

    def photograph(self, name: str, widget: object = None) -> None:
        driving.picture(self.out / f"{self._count:02d}_{name}.png", widget)

    def finish(self) -> int:
        """The exit code: 0 where everything that was asserted holds."""
        unknown = set(self._only) - self._met
        self._lines += [f"\nThere is no state {name}." for name in sorted(unknown)]
        self.failed += len(unknown) + (not self._met)
        self._lines.append(f"\n{self.failed} of the claims do not hold.")
        self._save()
        return 1 if self.failed else 0

    def _write(self, name: str, seconds: float) -> None:
        self._lines.append(f"\n{self._count:02d} {name} ({seconds:.0f} s)")
        self._lines += [f"  {'ok  ' if holds else 'FAIL'} {claim}" for holds, claim in self._checks]
        self.failed += sum(not holds for holds, _claim in self._checks)
        self._save()

    def _save(self) -> None:
        (self.out / "tour.txt").write_text("\n".join(self._lines) + "\n", encoding="utf-8")


def volume(path: Path, name: str):
    """A volume of whole numbers, as a scanner makes them and DICOM holds them."""
    import numpy as np

    node = slicer.util.loadVolume(str(path), properties={"name": name})
    values = slicer.util.arrayFromVolume(node)
    if values.dtype.kind == "f":
        slicer.util.updateVolumeFromArray(node, np.rint(values * 1000.0 / values.max()).astype(np.int16))
        node.GetDisplayNode().AutoWindowLevelOff()
        node.GetDisplayNode().AutoWindowLevelOn()
    return node


def scalar_volumes() -> list:
    """The volumes of the scene that are no pictures in colour."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in nodes if node.GetClassName() == "vtkMRMLScalarVolumeNode"]


def run_to_end(panel, seconds: float = RUN_SECONDS) -> None:
    driving.wait_until(lambda: not panel.running, seconds, "the end of the run")
    driving.wait(0.3)
