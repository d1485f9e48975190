"""The part of the tour that goes through the module Reface."""

from __future__ import annotations

import json
from unittest import mock

import driving
import numpy as np
import slicer
from refacewindow import RefaceWindow
from states import Tour, run_to_end, scalar_volumes, volume
from tour_saving import NUMBER, PATIENT, SavingTour
from watching import children


def go(tour: Tour) -> None:
    """All states of the window of Reface, one after the other: each begins where the last one ended."""
    part = RefaceTour(tour)
    for name in (
        "empty", "input", "running", "cancelled", "result", "slider_before", "slider_after", "mask_shown", "turntable",
        "deface_only", "recovered", "candidates", "other_candidate", "person_table", "person_done", "queue",
        "input_removed", "chosen_removed", "tumour_kept", "output_asked", "models_missing", "models_emptied",
        "sequence_refused", "no_head",
    ):  # fmt: skip
        tour.state("Reface", f"reface_{name}", getattr(part, name))
    saving = SavingTour(tour, part.first, part.shown)
    for name in saving.STATES:
        tour.state("Reface", f"reface_{name}", getattr(saving, name))


class RefaceTour(RefaceWindow):
    """The states; what is the result of one is the beginning of the next."""

    def __init__(self, tour: Tour):
        super().__init__(tour)
        self.head = self.shown = self.first = None

    # ---- the first run ----

    def empty(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("Reface")
        driving.narrow_panel()
        self.check("Apply waits for an input", not self.ui.applyButton.enabled)
        self.check("and says so", "input" in self.ui.applyButton.toolTip)
        self.check("there is no result", self.ui.resultLabel.text == "No result yet.")

    def input(self):
        self.head = volume(self.tour.head, "Head")
        self.parameters.inputVolume = self.head
        self.before = slicer.util.arrayFromVolume(self.head).copy()
        self.check("Apply can be pressed", self.ui.applyButton.enabled)
        self.check("the table has one row", self.ui.personTable.rowCount == 1)

    def running(self):
        self.press(seed=4)
        driving.wait_until(lambda: "Starting" not in self.ui.statusLabel.text, 120, "the first stage")
        self.check(f"the stage is told: {self.ui.statusLabel.text}", self.ui.statusLabel.text)
        self.check("the bar is shown", self.ui.progressBar.visible)
        self.check("Cancel can be pressed", self.ui.cancelButton.enabled)
        seen = [self.ui.progressBar, self.ui.statusLabel]
        self.check("both are on the screen", not any(each.visibleRegion().isEmpty() for each in seen))
        self.check("there is a child process", children())
        self.tour.photograph("reface_running_bar")
        self.ui.cancelButton.click()
        driving.wait_until(lambda: not self.widget.panel.running, 5, "the end after Cancel")

    def cancelled(self):
        self.check(f"told: {self.ui.statusLabel.text}", "cancelled" in self.ui.statusLabel.text)
        self.check("nothing was added", len(scalar_volumes()) == 1)

    def result(self):
        self.shown = self.run(seed=4)
        self.check("the input is as it was", np.array_equal(slicer.util.arrayFromVolume(self.head), self.before))
        report = self._report(self.shown)
        self.check("no voxel of the brain changed", report["brain_voxels_changed"] == 0)
        self.check("no voxel outside the mask changed", report["voxels_changed_outside_mask"] == 0)
        self.check_pair(self.head, self.shown)

    def slider_before(self):
        self.ui.compareSlider.value = 0
        self.check("the slices show the input", self._opacity() == 0.0)

    def slider_after(self):
        keys = self.widget.comparison._keys
        self.check("two keys are set", len(keys) == 2)
        self.ui.compareSlider.value = 100
        self.check("the slices show the result", self._opacity() == 1.0)

    def mask_shown(self):
        self.ui.maskCheckBox.checked = True
        masks = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        self.check("there is one mask", len(masks) == 1)
        display = masks[0].GetDisplayNode()
        segment = masks[0].GetSegmentation().GetNthSegmentID(0)
        self.check("it is shown", display.GetVisibility())
        self.check("as an outline", not display.GetSegmentVisibility2DFill(segment))

    def turntable(self):
        folder = self.tour.out / "turntable"
        driving.files_for(folder)
        self.tour.watch.asked.clear()
        from RefaceLib.window import turntable

        with mock.patch.object(turntable, "FRAMES", 8):
            self.ui.turntableButton.click()
        self.check("the real face is asked for", len(self.tour.watch.asked) == 1)
        self.check("there is a film", folder.is_dir() and any(folder.iterdir()))
        self.check_pair(self.head, self.shown)

    # ---- modes, faces, the person ----

    def deface_only(self):
        self.defaced = self.run(mode=self.mode("DEFACE"))
        self.check_pair(self.head, self.defaced)

    def recovered(self):
        recovered = self.run(inputVolume=self.defaced, mode=self.mode("RECOVER"))
        self.check_pair(self.defaced, recovered)

    def candidates(self):
        self.parameters.inputVolume = self.head
        self.shown = self.run(mode=self.mode("REFACE"), candidates=2, seed=7)
        self.check("the faces are shown as pictures", self.ui.candidatesFrame.visible)
        buttons = self.widget.candidates._buttons
        self.check("one for each", len(buttons) == 2 and all(not button.icon.isNull() for button in buttons))
        self.check("one is the result", sum(button.checked for button in buttons) == 1)

    def other_candidate(self):
        former = slicer.util.arrayFromVolume(self.shown).copy()
        button = next(button for button in self.widget.candidates._buttons if not button.checked)
        seed = int(button.text)
        button.click()
        self.check("the result has another face", not np.array_equal(slicer.util.arrayFromVolume(self.shown), former))
        self.check("its seed is chosen", self.parameters.seed == seed)
        self.check_pair(self.head, self.shown)
        self.parameters.candidates = 1

    def person_table(self):
        """A patient with two scans, and a volume of somebody else that the user adds."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), PATIENT)
        hierarchy.SetItemAttribute(patient, "DICOM.PatientName", PATIENT)
        hierarchy.SetItemAttribute(patient, "DICOM.PatientID", NUMBER)
        study = hierarchy.CreateStudyItem(patient, "Brain")
        self.first = volume(self.tour.head, "T1w of a very long series name MPRAGE sag 1 mm iso post contrast")
        self.second = volume(self.tour.head, "T2w")
        values = slicer.util.arrayFromVolume(self.second)
        values[values > 80] = 880 - np.clip(values[values > 80], 80, 800)
        slicer.util.arrayFromVolumeModified(self.second)
        for node in (self.first, self.second):
            hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
        small = slicer.util.addVolumeFromArray(np.zeros((8, 8, 8), dtype=np.int16), name="Somebody else")
        self.parameters.inputVolume = self.first
        driving.wait(0.5)
        self.check("the table lists both scans", self.ui.personTable.rowCount == 2)
        self.ui.tickAllButton.click()
        self.ui.addVolumeSelector.setCurrentNode(small)
        driving.wait(0.5)
        self.check("and the volume that was added", self.ui.personTable.rowCount == 3)

    def person_done(self):
        self.shown = self.run(mode=self.mode("AUTO"), seed=11)
        rows = [[self._cell(row, column) for column in range(5)] for row in range(self.ui.personTable.rowCount)]
        self.check(f"the table: {rows}", len(rows) == 3)
        self.check("both scans are done", all(row[3] in ("done", "warned") for row in rows[:2]))
        self.check("the empty volume has failed alone", rows[2][3] == "failed")
        self.check("its reason is told", len(self.ui.statusLabel.text) > 30)
        self.parameters.otherVolumes = []
        self.tour.watch.take_shown()

    def queue(self):
        """Two runs: the second one waits for the first."""
        self.press(inputVolume=self.head, seed=1)
        self.press(inputVolume=self.first, seed=2)
        driving.wait(1.0)
        states = self._cell(0, 3)
        self.check(f"the second run waits: {states}", states == "waiting")
        self.tour.photograph("reface_queue_waiting")
        run_to_end(self.widget.panel)
        self.check("the last result is of the second input", self.parameters.resultVolume.GetName().startswith("T1w"))

    def input_removed(self):
        gone = volume(self.tour.head, "Goes away")
        self.press(inputVolume=gone)
        driving.wait(2.0)
        slicer.mrmlScene.RemoveNode(gone)
        driving.wait_until(lambda: not self.widget.panel.running, 5, "the end of the run of a removed input")
        self.check(f"told: {self.ui.statusLabel.text}", "removed" in self.ui.statusLabel.text)
        self.check("no other volume takes its place", self.parameters.inputVolume is None)

    def chosen_removed(self):
        """An output, a mask and a ticked volume that go leave their places empty."""
        self.parameters.inputVolume = self.head
        other, output = volume(self.tour.head, "Other"), volume(self.tour.head, "Output")
        mask = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Chosen mask")
        self.parameters.otherVolumes = [other]
        self.parameters.outputVolume, self.parameters.maskSegmentation = output, mask
        driving.wait(0.3)
        for node in (other, output, mask):
            slicer.mrmlScene.RemoveNode(node)
        driving.wait(0.3)
        self.check("no other output takes its place", self.parameters.outputVolume is None)
        self.check("no other mask takes its place", self.parameters.maskSegmentation is None)
        self.check("nothing is ticked", list(self.parameters.otherVolumes) == [])

    # ---- choices that need care ----

    def tumour_kept(self):
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Of the clinic")
        segmentation.CreateDefaultDisplayNodes()
        segmentation.SetReferenceImageGeometryParameterFromVolumeNode(self.head)
        segmentation.GetSegmentation().AddEmptySegment("tumour", "tumour")
        tumour = np.zeros(slicer.util.arrayFromVolume(self.head).shape, dtype=np.uint8)
        tumour[tuple(slice(size // 2, size // 2 + 4) for size in tumour.shape)] = 1
        slicer.util.updateSegmentBinaryLabelmapFromArray(tumour, segmentation, "tumour", self.head)
        self.run(inputVolume=self.head, maskSegmentation=segmentation, mode=self.mode("DEFACE"))
        kept = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "tumour", self.head)
        self.check("the tumour is as it was", np.array_equal(kept > 0, tumour > 0))
        self.check("the face is beside it", segmentation.GetSegmentation().GetNumberOfSegments() == 2)
        self.parameters.maskSegmentation = None

    def output_asked(self):
        precious = volume(self.tour.head, "Precious")
        values = slicer.util.arrayFromVolume(precious).copy()
        self.parameters.outputVolume = precious
        self.tour.watch.asked.clear()
        self.tour.watch.answer = False
        self.ui.applyButton.click()
        driving.wait(0.5)
        self.tour.watch.answer = True
        self.check(f"asked: {self.tour.watch.asked}", len(self.tour.watch.asked) == 1)
        self.check("nothing runs after No", not self.widget.panel.running)
        self.check("the volume is as it was", np.array_equal(slicer.util.arrayFromVolume(precious), values))
        self.parameters.outputVolume = None

    def models_missing(self):
        self.ui.advancedSection.collapsed = False
        self.ui.modelsPathLineEdit.currentPath = "/nonexistent/models"
        driving.wait(0.3)
        self.check(f"told: {self.ui.applyButton.toolTip}", "/nonexistent" in self.ui.applyButton.toolTip)
        self.check("Apply waits", not self.ui.applyButton.enabled)

    def models_emptied(self):
        for line in slicer.util.findChildren(self.ui.modelsPathLineEdit, className="QLineEdit"):
            line.clear()
        driving.wait(0.3)
        self.check("the field is empty", self.parameters.models == "")
        self.check("Apply can be pressed", self.ui.applyButton.enabled)
        self.ui.advancedSection.collapsed = True

    def sequence_refused(self):
        sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode", "Frames")
        for value in ("0", "1"):
            sequence.SetDataNodeAtValue(self.head, value)
        browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "Browser")
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        driving.wait(0.5)
        frame = browser.GetProxyNode(sequence)
        self.parameters.inputVolume = frame
        driving.wait(0.3)
        self.check(f"refused: {self.ui.applyButton.toolTip}", "sequence" in self.ui.applyButton.toolTip)
        for node in (browser, sequence, frame):
            slicer.mrmlScene.RemoveNode(node)

    def no_head(self):
        empty = slicer.util.addVolumeFromArray(np.zeros((64, 64, 64), dtype=np.int16), name="Nothing in it")
        empty.SetSpacing(3.0, 3.0, 3.0)
        self.press(inputVolume=empty)
        run_to_end(self.widget.panel)
        self.tour.expect_message("head")

    # ---- looking ----

    @staticmethod
    def _report(node) -> dict:
        from RefaceLib.window import mrml

        return json.loads(node.GetAttribute(f"{mrml.ATTRIBUTE_PREFIX}Report"))

    @staticmethod
    def _opacity() -> float:
        return slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode().GetForegroundOpacity()

    def _cell(self, row: int, column: int) -> str:
        item = self.ui.personTable.item(row, column)
        return item.text() if item is not None else ""
