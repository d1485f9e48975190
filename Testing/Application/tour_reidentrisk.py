"""The part of the tour that goes through the module ReidentRisk."""

from __future__ import annotations

import driving
import numpy as np
import slicer
from states import RUN_SECONDS, Tour, run_to_end, scalar_volumes, volume
from watching import children, faces_in


def go(tour: Tour) -> None:
    """All states of the window of ReidentRisk, one after the other: each begins where the last one ended."""
    part = RiskTour(tour)
    names = ["empty", "inputs", "original_ticked", "running", "cancelled", "first", "other_face", "other_chart",
             "explained", "overwritten", "put_back", "second_result", "first_result_again", "recomputed"]  # fmt: skip
    names += ["gallery_missing", "gallery_emptied", "licence_asked", "no_head"]
    if tour.gallery is not None:
        names += ["gallery", "guess_who", "guess_wrong", "guess_right"]
    names += ["scene_closed", "scene_reopened", "long_names", "dark", "light", "reloaded"]
    for name in names:
        tour.state("ReidentRisk", f"risk_{name}", getattr(part, name))


class RiskTour(driving.ModuleWindow):
    """The states; what is the result of one is the beginning of the next."""

    module = "ReidentRisk"

    def __init__(self, tour: Tour):
        self.tour, self.check = tour, tour.check

    @property
    def result(self):
        return self.widget.results.result

    def choose(self, name: str, value: str) -> None:
        from ReidentRiskLib.window import parameters

        setattr(self.parameters, name, getattr(parameters, name.capitalize())[value])

    def run(self, button: str = "runButton"):
        """Press Run (or another button), and wait for the table of the result, which is none of those before."""
        former = self.parameters.result
        driving.wait(0.2)
        pressed = getattr(self.ui, button)
        self.check(f"it can be pressed ({self.ui.runButton.toolTip})", pressed.enabled)
        pressed.click()
        run_to_end(self.widget.panel, 2 * RUN_SECONDS)
        table = self.parameters.result
        self.check(f"there is a new result ({self.ui.statusLabel.text})", table is not None and table is not former)
        return table

    def check_faces(self, before: str, after: str) -> None:
        """The 3D views show the faces of volumes of these names, and no others."""
        names = [[face.GetName() for face in faces_in(view)] for view in ("1", "2")]
        fits = len(names[0]) == len(names[1]) == 1 and before in names[0][0] and after in names[1][0]
        self.check(f"the 3D views show {names} of '{before}' and '{after}'", fits)
        lists = [
            node.GetName()
            for node in slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode")
            if node.GetDisplayVisibility() and not node.GetLocked()
        ]
        self.check(f"one list of landmarks can be moved: {lists}", len(lists) == 1)

    def words(self) -> str:
        return self.ui.summaryBrowser.toPlainText()

    # ---- choices ----

    def empty(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("ReidentRisk")
        driving.narrow_panel()
        self.check("Run waits for an original", not self.ui.runButton.enabled)
        self.check(f"and says so: {self.ui.runButton.toolTip}", "original" in self.ui.runButton.toolTip)

    def inputs(self):
        """A head, what Reface makes of it, and its copy."""
        from Reface import RefaceLogic

        self.head = volume(self.tour.head, "Head")
        self.refaced = RefaceLogic().process(self.head, seed=4).volume
        self.defaced = RefaceLogic().process(self.head, mode="deface").volume
        self.parameters.reference = None
        self.widget.initializeParameterNode()
        self.check("the original is offered, not what was made of it", self.parameters.reference is self.head)
        self.parameters.probes = [self.refaced, self.defaced]
        self.choose("views", "FRONTAL")
        driving.wait(0.3)
        self.check("Run can be pressed", self.ui.runButton.enabled)

    def original_ticked(self):
        self.parameters.probes = [self.head, self.refaced]
        driving.wait(0.3)
        self.check(f"refused: {self.ui.runButton.toolTip}", not self.ui.runButton.enabled)

    def running(self):
        self.parameters.probes = [self.refaced, self.defaced]
        driving.wait(0.3)
        self.ui.runButton.click()
        driving.wait_until(lambda: "Starting" not in self.ui.statusLabel.text, 120, "the first stage")
        self.check(f"the stage is told: {self.ui.statusLabel.text}", self.ui.statusLabel.text)
        self.check("there is a child process", children())
        self.check("the bar is on the screen", not self.ui.progressBar.visibleRegion().isEmpty())
        self.tour.photograph("risk_running_bar")
        self.ui.cancelButton.click()
        driving.wait_until(lambda: not self.widget.panel.running, 5, "the end after Cancel")

    def cancelled(self):
        self.check(f"told: {self.ui.statusLabel.text}", self.ui.statusLabel.text)
        self.check("there is no result", self.parameters.result is None)

    # ---- results ----

    def result_text(self) -> None:
        self.check(f"the words: {self.words()[:400]}", len(self.words()) > 100)
        self.check("they name the original", "Head" in self.words())

    def first(self):
        self.table = self.run()
        self.result_text()
        self.check_faces("Head", "refaced")

    def other_face(self):
        self.ui.faceSelector.currentIndex = 1
        driving.wait(0.3)
        self.check_faces("Head", "defaced")

    def other_chart(self):
        self.check(f"{self.ui.chartSelector.count} charts", self.ui.chartSelector.count >= 1)
        self.ui.chartSelector.currentIndex = self.ui.chartSelector.count - 1
        driving.wait(0.3)

    def explained(self):
        self.check("the picture is offered", self.ui.explainButton.enabled)
        self.ui.explainButton.click()
        driving.wait(1.0)
        self.check("it is shown", driving.picture_in_red() == self.result.explanation.GetID())

    def overwritten(self):
        """Another module writes into a volume while its verdict is on the screen."""
        self.former = slicer.util.arrayFromVolume(self.refaced).copy()
        slicer.util.updateVolumeFromArray(self.refaced, slicer.util.arrayFromVolume(self.head))
        driving.wait(1.0)
        self.check("the panel says so", "Changed since they were compared: 'Head refaced'" in self.words())
        self.check("one verdict is outdated", self.words().count("(outdated)") == 1)
        titles = [chart.GetTitle() for chart in self.result.charts]
        self.check(f"so do the plots: {titles}", all("outdated" in title for title in titles))
        self.check("and the picture", self.result.explanation.GetAttribute("ReidentRisk.NoteRows"))
        self.ui.layoutButton.click()
        driving.wait(0.5)
        self.tour.photograph("risk_overwritten_layout")
        self.ui.explainButton.click()
        driving.wait(1.0)

    def put_back(self):
        slicer.util.updateVolumeFromArray(self.refaced, self.former)
        driving.wait(1.0)
        self.check("nothing is outdated", "outdated" not in self.words() and "Changed" not in self.words())

    def second_result(self):
        self.ui.layoutButton.click()
        self.parameters.probes = [self.defaced]
        self.second = self.run()
        self.check_faces("Head", "defaced")

    def first_result_again(self):
        self.ui.resultSelector.setCurrentNode(self.table)
        driving.wait(0.5)
        self.check("the result is the first one", self.result.table is self.table)
        self.check(f"{self.ui.faceSelector.count} faces", self.ui.faceSelector.count == 2)
        self.check_faces("Head", "refaced")
        self.check("its landmarks are chosen", self.parameters.landmarks is self.result.landmarks[0])

    def recomputed(self):
        points = self.parameters.landmarks
        position = np.array(points.GetNthControlPointPosition(2)) + (0.0, 2.0, 1.0)
        points.SetNthControlPointPosition(2, *position)
        self.table = self.run("recomputeButton")
        self.check("the other result stays", slicer.mrmlScene.IsNodePresent(self.second))
        tables = [
            node for node in slicer.util.getNodesByClass("vtkMRMLTableNode") if node.GetAttribute("ReidentRisk.Result")
        ]
        self.check(f"{len(tables)} results", len(tables) == 2)
        self.check("it compares what the first one did", self.ui.faceSelector.count == 2)
        self.check_faces("Head", "refaced")

    # ---- choices that need care ----

    def gallery_missing(self):
        self.ui.galleryPathLineEdit.currentPath = "/nonexistent/heads"
        driving.wait(0.3)
        self.check(f"told: {self.ui.galleryProblemLabel.text}", "/nonexistent" in self.ui.galleryProblemLabel.text)
        self.check("Run waits", not self.ui.runButton.enabled)

    def gallery_emptied(self):
        for line in slicer.util.findChildren(self.ui.galleryPathLineEdit, className="QLineEdit"):
            line.clear()
        driving.wait(0.3)
        self.check("there is no gallery", self.parameters.gallery == "")
        self.check("nothing is said of it", not self.ui.galleryProblemLabel.visible)
        self.check("Run can be pressed", self.ui.runButton.enabled)

    def licence_asked(self):
        from ReidentRiskLib.attack import models

        self.choose("model", "ARCFACE")
        driving.wait(0.3)
        if not models.is_accepted("arcface"):
            self.check("Run waits for consent", not self.ui.runButton.enabled)
            self.check("the licence is shown", self.ui.licenceLabel.visible)
        self.check("the tick is shown", self.ui.licenceCheckBox.visible)
        self.tour.photograph("risk_licence")
        self.choose("model", "SFACE")
        driving.wait(0.3)
        self.check("SFace needs none", not self.ui.licenceCheckBox.visible)

    def no_head(self):
        """A volume without a head is marked; the others are compared."""
        empty = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Noise")
        slicer.util.updateVolumeFromArray(empty, np.random.default_rng(1).integers(0, 9, (40, 40, 40)).astype(np.int16))
        empty.SetSpacing(5.0, 5.0, 5.0)
        self.parameters.probes = [empty, self.refaced]
        self.run()
        self.check(f"Noise is marked: {self.words()[:600]}", "Noise" in self.words())
        self.ui.faceSelector.currentIndex = 1
        driving.wait(0.3)
        self.check_faces("Head", "refaced")

    # ---- among others ----

    def gallery(self):
        self.parameters.probes = [self.refaced, self.defaced]
        self.ui.galleryPathLineEdit.currentPath = str(self.tour.gallery)
        driving.wait(0.3)
        self.ui.explainButton.click()
        driving.wait(0.5)
        self.table = self.run()
        self.check("the faces are in front, not the picture", slicer.app.layoutManager().threeDViewCount == 2)
        self.check_faces("Head", "refaced")
        self.check(f"ranks are told: {self.words()[:900]}", "rank" in self.words())

    def guess_who(self):
        self.check("the exercise is offered", self.ui.guessButton.visible)
        self.ui.guessButton.click()
        driving.wait(1.0)
        self.check("its sheet is shown", driving.picture_in_red() == self.result.exercise.GetID())

    def guess_wrong(self):
        right = self.result.identification["guess_who"]["answer"]
        self.ui.guessSelector.currentIndex = right % 8 + 1
        driving.wait(0.2)
        self.check(f"told: {self.ui.guessAnswerLabel.text}", self.ui.guessAnswerLabel.text.startswith("No"))

    def guess_right(self):
        self.ui.guessSelector.currentIndex = self.result.identification["guess_who"]["answer"]
        driving.wait(0.2)
        self.check(f"told: {self.ui.guessAnswerLabel.text}", self.ui.guessAnswerLabel.text.startswith("Yes"))
        self.ui.layoutButton.click()

    # ---- scenes, names, styles ----

    def scene_closed(self):
        self.said = self.words()
        self.scene = self.tour.out / "risk.mrb"
        self.check("the scene is saved", slicer.util.saveScene(str(self.scene)))
        slicer.mrmlScene.Clear()
        driving.wait(0.5)
        self.check("no result is shown", self.result is None and not self.words())
        self.check("no face is shown", not faces_in("1") and not faces_in("2"))
        self.check(f"nothing of the former scene is told: {self.ui.statusLabel.text}", not self.ui.statusLabel.text)

    def scene_reopened(self):
        slicer.util.loadScene(str(self.scene))
        driving.wait(1.0)
        self.check("the result is shown as it was", self.words() == self.said)
        self.ui.layoutButton.click()
        driving.wait(0.5)
        self.check_faces("Head", "refaced" if "refaced" in self.ui.faceSelector.currentText else "defaced")
        settings = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        ours = [node for node in settings if node.GetAttribute("ModuleName") == "ReidentRisk"]
        self.check(f"{len(ours)} set of settings", len(ours) == 1)

    def long_names(self):
        volumes = scalar_volumes()
        for index, node in enumerate(volumes):
            node.SetName(f"{node.GetName()} MPRAGE sag 1 mm iso post contrast after reconstruction {index}")
        self.parameters.probes = [node for node in volumes if node is not self.parameters.reference]
        driving.wait(0.5)

    def dark(self):
        driving.style("dark slicer")

    def light(self):
        driving.style("light slicer")

    def reloaded(self):
        self.check("it can be pressed", self.ui.runButton.enabled)
        self.ui.runButton.click()
        driving.wait(2.0)
        slicer.util.reloadScriptedModule("ReidentRisk")
        slicer.util.selectModule("Welcome")
        slicer.util.selectModule("ReidentRisk")
        driving.wait(1.0)
        self.check("no run is left", not self.widget.panel.running)
