"""What can be pressed in the window of ReidentRisk. For presses.py."""

from __future__ import annotations

import slicer
from pressing import Presses
from states import scalar_volumes


class RiskPresses(Presses):
    module = "ReidentRisk"
    often = {
        "run": 9, "recompute": 3, "choose_result": 3, "other_face": 2, "other_chart": 2, "show_in_views": 2,
        "explain": 3, "guess_who": 2, "answer": 1, "change_original": 2, "tick_volumes": 4, "move_a_landmark": 2,
        "landmarks": 1, "own_landmarks": 1, "other_gallery": 1,
    }  # fmt: skip

    def begin(self) -> None:
        from ReidentRiskLib.window.parameters import Views

        super().begin()
        self.parameters.views = Views.FRONTAL  # one picture of each face: the quickest
        self.change_original()
        self.tick_volumes()

    def run(self) -> None:
        self.ui.runButton.click()

    def recompute(self) -> None:
        self.ui.recomputeButton.click()

    def choose_result(self) -> None:
        tables = [node for node in slicer.util.getNodesByClass("vtkMRMLTableNode") if _is_result(node)]
        if tables:
            self.ui.resultSelector.setCurrentNode(self._chance.choice(tables))

    def other_face(self) -> None:
        self._go_to_any(self.ui.faceSelector)

    def other_chart(self) -> None:
        self._go_to_any(self.ui.chartSelector)

    def show_in_views(self) -> None:
        self.ui.layoutButton.click()

    def explain(self) -> None:
        self.ui.explainButton.click()

    def guess_who(self) -> None:
        self.ui.guessButton.click()

    def answer(self) -> None:
        self._go_to_any(self.ui.guessSelector)

    def change_original(self) -> None:
        volumes = scalar_volumes()
        self.ui.referenceSelector.setCurrentNode(self._chance.choice(volumes) if volumes else None)

    def tick_volumes(self) -> None:
        """Some of the volumes, mostly without the original, which would keep the run from starting."""
        if self.parameters is not None:
            others = [node for node in scalar_volumes() if node is not self.parameters.reference]
            chosen = others if self._chance.random() < 0.8 else scalar_volumes()
            self.parameters.probes = self._chance.sample(chosen, min(len(chosen), self._chance.choice([0, 1, 1, 2])))

    def move_a_landmark(self) -> None:
        points = self.parameters.landmarks if self.parameters is not None else None
        if points is not None and points.GetNumberOfControlPoints():
            x, y, z = points.GetNthControlPointPosition(0)
            points.SetNthControlPointPosition(0, x, y + 1.0, z)

    def landmarks(self) -> None:
        lists = slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
        if lists:
            self.ui.landmarksSelector.setCurrentNode(self._chance.choice(lists))

    def own_landmarks(self) -> None:
        self.ui.ownLandmarksCheckBox.click()

    def other_gallery(self) -> None:
        """A folder that is there or not: no head is looked up, as that takes half a minute."""
        self.ui.galleryPathLineEdit.currentPath = self._chance.choice(["", "/nonexistent/heads"])


def _is_result(table) -> bool:
    return table.GetAttribute("ReidentRisk.Result") is not None
