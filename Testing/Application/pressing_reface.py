"""What can be pressed in the window of Reface. For presses.py."""

from __future__ import annotations

import driving
from pressing import Presses
from states import scalar_volumes


class RefacePresses(Presses):
    module = "Reface"
    often = {
        "apply": 3, "deface": 4, "reface": 1, "compare": 4, "slide": 2, "mask": 2, "new_face": 1, "change_input": 3,
        "change_output": 1, "tick_all": 1, "other_row": 2, "save_result": 1, "save_report": 1,
    }  # fmt: skip

    def begin(self) -> None:
        super().begin()
        self.change_input()

    def apply(self) -> None:
        self.ui.applyButton.click()

    def deface(self) -> None:
        self._mode("DEFACE")
        self.apply()

    def reface(self) -> None:
        self._mode("REFACE")
        self.apply()

    def compare(self) -> None:
        self.ui.compareButton.click()

    def slide(self) -> None:
        self.ui.compareSlider.value = self._chance.randrange(101)

    def mask(self) -> None:
        self.ui.maskCheckBox.click()

    def new_face(self) -> None:
        self.ui.newFaceButton.click()

    def change_input(self) -> None:
        self._choose(self.ui.inputVolumeSelector)

    def change_output(self) -> None:
        self._choose(self.ui.outputVolumeSelector)

    def tick_all(self) -> None:
        self.ui.tickAllButton.click()

    def other_row(self) -> None:
        if self.ui.personTable.rowCount:
            self.ui.personTable.setCurrentCell(self._chance.randrange(self.ui.personTable.rowCount), 0)

    def save_result(self) -> None:
        driving.files_for(self._out / f"face{self._chance.randrange(10**9)}.nii.gz")
        self.ui.saveButton.click()

    def save_report(self) -> None:
        driving.files_for(self._out / f"report{self._chance.randrange(10**9)}.json")
        self.ui.reportButton.click()

    def _choose(self, selector) -> None:
        volumes = scalar_volumes()
        selector.setCurrentNode(self._chance.choice(volumes) if volumes else None)

    def _mode(self, name: str) -> None:
        from RefaceLib.window.parameters import Mode

        if self.parameters is not None:
            self.parameters.mode = Mode[name]
