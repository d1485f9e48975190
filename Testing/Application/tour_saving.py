"""The part of the tour through the module Reface that shares, saves, closes, reads and reloads what was made."""

from __future__ import annotations

import zipfile

import driving
import slicer
from refacewindow import RefaceWindow
from states import Tour, scalar_volumes
from watching import faces_in

PATIENT = "Quentinson^Jane"


class SavingTour(RefaceWindow):
    """The states that begin with a person whose volumes were done: `first` and its result `shown`."""

    STATES = (
        "share_dialog", "saved_single", "scene_closed", "scene_reopened", "menu", "dicom_loaded", "dicom_done", "dark",
        "light", "reloaded",
    )  # fmt: skip

    def __init__(self, tour: Tour, first, shown):
        super().__init__(tour)
        self.first, self.shown = first, shown

    def share_dialog(self):
        self.parameters.inputVolume = self.first
        self.parameters.resultVolume = self.shown
        driving.wait(0.3)
        folder, faults = self.tour.out / "shared", []

        def act(dialog):
            named = slicer.util.childWidgetVariables(dialog)
            named.folderLineEdit.text = str(folder)
            for box in (named.filesCheckBox, named.sceneCheckBox, named.dicomCheckBox):
                box.checked = True
            driving.wait(0.5)
            self.tour.photograph("reface_share_dialog_open", dialog)
            named.saveButton.click()

        driving.in_dialog(act, faults)
        self.ui.shareButton.click()
        for fault in faults:
            self.check(fault, False)
        self.check(f"told: {self.ui.statusLabel.text}", "Left out" in self.ui.statusLabel.text)
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        self.check(f"{len(names)} files are there", names)
        found = _files_with(folder, ("Quentinson", "PID-4711"))
        self.check(f"no file names the patient {found}", not found)

    def saved_single(self):
        self.check(f"patient tags: {self.ui.warningLabel.text or 'no warning'}", True)
        out = self.tour.out / "single"
        out.mkdir(exist_ok=True)
        driving.files_for(out / "face.nii.gz", out / "series", out / "report.json")
        for button in (self.ui.saveButton, self.ui.dicomButton, self.ui.reportButton):
            button.click()
        self.check("the volume is there", (out / "face.nii.gz").is_file())
        self.check("the series is there", any((out / "series").rglob("*.dcm")))
        self.check("the report is there", (out / "report.json").is_file())

    def scene_closed(self):
        self.scene = self.tour.out / "scene.mrb"
        self.name = self.parameters.resultVolume.GetName()
        self.check("the scene is saved", slicer.util.saveScene(str(self.scene)))
        slicer.mrmlScene.Clear()
        driving.wait(0.5)
        self.check("there is no result", self.ui.resultLabel.text == "No result yet.")
        self.check("the seed is that of new settings", self.parameters.seed == 0)
        self.check("no face is shown", not faces_in("1") and not faces_in("2"))
        self.check(f"nothing of the former scene is told: {self.ui.statusLabel.text}", not self.ui.statusLabel.text)

    def scene_reopened(self):
        slicer.util.loadScene(str(self.scene))
        driving.wait(1.0)
        self.check("the settings are those of the scene", self.parameters.seed == 2)
        result = self.parameters.resultVolume
        self.check("the result is shown", result is not None and result.GetName() == self.name)
        self.check("there is one set of settings", len(self._settings()) == 1)
        self.check("Compare can be pressed", self.ui.compareButton.enabled)
        self.ui.compareButton.click()
        driving.wait(0.5)
        from RefaceLib.window.results import INPUT_ROLE

        self.check_pair(result.GetNodeReference(INPUT_ROLE), result)

    def menu(self):
        """Reface... in the menu of the module Data."""
        slicer.util.selectModule("Data")
        driving.wait(0.5)
        handler = slicer.qSlicerSubjectHierarchyPluginHandler.instance()
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
        item = hierarchy.GetItemByName(PATIENT)
        self.check("the patient is in the scene", item)
        handler.setCurrentItem(item)
        plugin = handler.pluginByName("Reface")
        action = plugin.itemContextMenuActions()[0]
        plugin.showContextMenuActionsForItem(item)
        self.check(f"the menu has '{action.text}'", action.visible)
        self.tour.photograph("reface_menu_data")
        action.trigger()
        driving.wait(1.0)
        self.check("the table lists the volumes of the patient", self.ui.personTable.rowCount == 2)

    # ---- DICOM ----

    def dicom_loaded(self):
        from DICOMLib import DICOMUtils

        slicer.mrmlScene.Clear()
        source = self.tour.out / "single" / "series"
        with DICOMUtils.TemporaryDICOMDatabase(str(self.tour.out / "database")) as database:
            DICOMUtils.importDicom(str(source), database)
            for patient in database.patients():
                DICOMUtils.loadPatientByUID(patient)
            slicer.util.selectModule("Reface")
            driving.wait(1.0)
            self.series = scalar_volumes()[0]
            self.parameters.inputVolume = self.series
            self.check("the series can be refaced", self.ui.applyButton.enabled)

    def dicom_done(self):
        result = self.run(seed=3)
        self.check_pair(self.series, result)
        out = self.tour.out / "series_of_a_series"
        driving.files_for(out)
        self.ui.dicomButton.click()
        self.check("a series is written", out.is_dir() and any(out.rglob("*.dcm")))

    # ---- the rest ----

    def dark(self):
        driving.style("dark slicer")

    def light(self):
        driving.style("light slicer")

    def reloaded(self):
        self.press(inputVolume=self.series, seed=8)
        driving.wait(2.0)
        slicer.util.reloadScriptedModule("Reface")
        slicer.util.selectModule("Welcome")
        slicer.util.selectModule("Reface")
        driving.wait(1.0)
        self.check("no run is left", not self.widget.panel.running)
        self.check("the settings stay", self.parameters.seed == 8)

    @staticmethod
    def _settings() -> list:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == "Reface"]


def _files_with(folder, secrets) -> list[str]:
    """The files that hold one of the secrets in their name or bytes, archives being unpacked."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        parts = [path.name.encode(), path.read_bytes()]
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                parts += [part for name in archive.namelist() for part in (name.encode(), archive.read(name))]
        if any(secret.lower().encode() in part.lower() for secret in secrets for part in parts):
            found.append(path.name)
    return found
