"""Save for sharing in the application: its dialog, what it writes, and how that loads again. See application_reface."""

import tempfile
import unittest
from pathlib import Path

import slicer

NAME = "AX_T1_MPRAGE_" + "VERY_LONG_" * 20 + "DOE^JANE"
REPORT = {
    "mode": "deface", "voxels_changed": 1, "voxels_changed_outside_mask": 0, "brain_voxels_changed": 0, "mask_ml": 1.0,
    "ears": True, "seconds": {"total": 1.0}, "warnings": [],
}  # fmt: skip


class SharingInTheApplicationTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("Reface")
        self.widget = slicer.modules.RefaceWidget
        self.result = self._result_of_a_patient()
        self.widget._parameterNode.resultVolume = self.result
        slicer.app.processEvents()

    def _result_of_a_patient(self):
        import numpy as np

        from RefaceLib.window import mrml, results, seal

        stored = np.arange(24 * 20 * 16, dtype=np.int16).reshape(16, 20, 24)
        scan = slicer.util.addVolumeFromArray(stored, name=NAME)
        scan.SetAttribute("DICOM.PatientName", "DOE^JANE")
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        self.patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "DOE^JANE (4711)")
        hierarchy.SetItemAttribute(self.patient, "DICOM.PatientName", "DOE^JANE")
        hierarchy.SetItemParent(hierarchy.GetItemByDataNode(scan), self.patient)
        voxels = mrml.volume_from_node(scan).stored
        mask = voxels > 7000
        voxels[mask] = 0
        result = mrml.add_result_volume(slicer.mrmlScene, scan, voxels, f"{NAME} defaced")
        segmentation = mrml.add_mask_segmentation(slicer.mrmlScene, scan, mask, f"{NAME} face mask")
        for node in (result, segmentation):
            mrml.set_provenance(node, REPORT)
        result.SetNodeReferenceID(results.INPUT_ROLE, scan.GetID())
        result.SetNodeReferenceID(results.MASK_ROLE, segmentation.GetID())
        seal.seal_mask(result, mask)
        return result

    def test_results_lie_apart_from_the_patient_and_long_names_do_not_widen_the_panel(self):
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        item = hierarchy.GetItemByDataNode(self.result)
        self.assertEqual(hierarchy.GetItemName(hierarchy.GetItemParent(item)), "De-identified")
        self.assertFalse(self.widget.ui.warningLabel.visible)
        hierarchy.SetItemParent(item, self.patient)
        self.widget._showResult()
        slicer.app.processEvents()
        self.assertTrue(self.widget.ui.warningLabel.visible)
        self.assertLessEqual(self.widget.parent.minimumSizeHint.width(), 400)

    def test_the_dialog_writes_what_loads_again_and_names_nobody(self):
        import qt

        folder = Path(tempfile.mkdtemp(dir=slicer.app.temporaryPath)) / "out"
        voxels = slicer.util.arrayFromVolume(self.result).copy()
        failed = []

        def fill_in():
            try:
                dialog = slicer.app.activeModalWidget()
                ui = slicer.util.childWidgetVariables(dialog)
                ui.labelLineEdit.text, ui.folderLineEdit.text = "p7", str(folder)
                ui.sceneCheckBox.checked = ui.dicomCheckBox.checked = True
                ui.saveButton.click()
            except Exception as error:
                failed.append(error)
                dialog.reject()

        qt.QTimer.singleShot(500, fill_in)
        self.widget.ui.shareButton.click()
        self.assertEqual(failed, [])
        self.assertIn("Original volumes: 1", self.widget.ui.statusLabel.text)
        written = [path for path in folder.rglob("*") if path.is_file()]
        self.assertGreater(len(written), 20)
        self.assertFalse([path for path in written if b"JANE" in path.read_bytes().upper()])
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(str(folder / "p7.mrb"))
        again = slicer.util.getNode("p7_T1w_defaced")
        self.assertTrue((slicer.util.arrayFromVolume(again) == voxels).all())
        self.assertEqual(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"), 1)
