"""The part of the tour through the module Reface that shares, saves, closes, reads and reloads what was made."""

from __future__ import annotations

import contextlib
import zipfile

import driving
import numpy as np
import slicer
from refacewindow import RefaceWindow
from states import Tour, scalar_volumes
from watching import faces_in

PATIENT, NUMBER = "Quentinson^Janette", "PID-4711"


class SavingTour(RefaceWindow):
    """The states that begin with a person whose volumes were done: `first` and its result `shown`."""

    STATES = (
        "share_dialog", "saved_single", "scene_closed", "scene_reopened", "menu", "dicom_loaded", "dicom_done",
        "dicom_shared", "dark", "light", "reloaded",
    )  # fmt: skip

    def __init__(self, tour: Tour, first, shown):
        super().__init__(tour)
        self.first, self.shown = first, shown
        self._database = contextlib.ExitStack()  # the DICOM database that is open

    def share_dialog(self):
        self.parameters.inputVolume = self.first
        self.parameters.resultVolume = self.shown
        driving.wait(0.3)
        self._share(self.tour.out / "shared", "reface_share_dialog_open")

    def _share(self, folder, photograph: str):
        """Save for sharing in all ways; nothing that was written names the patient."""
        faults = []

        def act(dialog):
            named = slicer.util.childWidgetVariables(dialog)
            named.folderLineEdit.text = str(folder)
            for box in (named.filesCheckBox, named.sceneCheckBox, named.dicomCheckBox):
                box.checked = True
            driving.wait(0.5)
            self.tour.photograph(photograph, dialog)
            named.saveButton.click()

        driving.in_dialog(act, faults)
        self.ui.shareButton.click()
        for fault in faults:
            self.check(fault, False)
        self.check(f"told: {self.ui.statusLabel.text}", "Left out" in self.ui.statusLabel.text)
        names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        self.check(f"{len(names)} files are there", names)
        self._check_names_nobody(folder)

    def _check_names_nobody(self, folder):
        found = _files_with(folder, (*PATIENT.split("^"), NUMBER))
        self.check(f"no file in {folder.name} names the patient {found}", not found)

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
        """A series of the patient, out of a database that stays open."""
        slicer.mrmlScene.Clear()
        series = _of_the_patient(self.tour.out / "single" / "series", self.tour.out / "hospital")
        self._database.enter_context(_database_with(series, self.tour.out / "database"))
        slicer.util.selectModule("Reface")
        driving.wait(1.0)
        self.series = scalar_volumes()[0]
        self.parameters.inputVolume = self.series
        self.check("the series can be refaced", self.ui.applyButton.enabled)
        self.check("the search finds the patient in it", _files_with(series, (NUMBER,)))

    def dicom_done(self):
        self.done = self.run(seed=3)
        self.check_pair(self.series, self.done)
        out = self.tour.out / "series_of_a_series"
        driving.files_for(out)
        self.ui.dicomButton.click()
        self.check("a series is written", out.is_dir() and any(out.rglob("*.dcm")))
        self._check_names_nobody(out)

    def dicom_shared(self):
        """What is shared goes into another open database, which knows nobody but the label."""
        self._share(self.tour.out / "shared_series", "reface_share_series_open")
        self._database.close()
        values = slicer.util.arrayFromVolume(self.done).copy()
        folder = self.tour.out / "other_database"
        with _database_with(self.tour.out / "shared_series" / "dicom", folder) as database:
            names = [database.nameForPatient(patient) for patient in database.patients()]
            self.check(f"the database knows {names}", names == ["sub-01"])
            loaded = [node for node in scalar_volumes() if node not in (self.series, self.done)]
            self.check("one series was read", len(loaded) == 1)
            self.check("with the voxels of the result", np.array_equal(slicer.util.arrayFromVolume(loaded[0]), values))
            self._check_names_nobody(folder)
        for node in loaded:
            slicer.mrmlScene.RemoveNode(node)

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


def _of_the_patient(source, folder):
    """The files of a series with the name and the number of the patient."""
    import pydicom

    folder.mkdir(exist_ok=True)
    for path in source.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.PatientName, dataset.PatientID = PATIENT, NUMBER
        dataset.save_as(folder / path.name)
    return folder


@contextlib.contextmanager
def _database_with(series, folder):
    """An open database in a folder with the files of another one, whose patients are loaded into the scene."""
    from DICOMLib import DICOMUtils

    with DICOMUtils.TemporaryDICOMDatabase(str(folder)) as database:
        DICOMUtils.importDicom(str(series), database)
        for patient in database.patients():
            DICOMUtils.loadPatientByUID(patient)
        yield database


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
