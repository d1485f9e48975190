"""A person's volumes in the application: the menu, the table, runs that wait, the faces to choose from, scenes that are
read. See application_reface.

Runs and their answers are stand-ins: no network is needed.
"""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

import slicer


class Run:
    """A run that goes on until it is stopped."""

    def __init__(self):
        self.log = []

    def start(self):
        self.log.append("start")

    def poll(self):
        return "cancel" not in self.log

    def cancel(self):
        self.log.append("cancel")

    def stop(self):
        self.log.append("stop")


class PersonInTheApplicationTest(unittest.TestCase):
    def setUp(self):
        import numpy as np

        slicer.mrmlScene.Clear()
        slicer.util.selectModule("Reface")
        self.widget = slicer.modules.RefaceWidget
        self.ui = self.widget.ui
        hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
        self.patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Anna")
        study = hierarchy.CreateStudyItem(self.patient, "2026")
        stored = np.arange(24 * 20 * 16, dtype=np.int16).reshape(16, 20, 24)
        self.flair, self.t1, self.loose = (
            slicer.util.addVolumeFromArray(stored.copy(), name=name) for name in ("FLAIR", "T1 mprage", "T2 tse")
        )
        for node in (self.flair, self.t1):
            hierarchy.SetItemParent(hierarchy.GetItemByDataNode(node), study)
        slicer.app.processEvents()

    def _table(self):
        table = self.ui.personTable
        return [[table.item(row, column).text() for column in range(5)] for row in range(table.rowCount)]

    def _choose_person(self):
        self.widget.choosePerson([self.flair, self.t1])
        slicer.app.processEvents()

    def test_the_menu_of_a_patient_opens_the_module_with_the_table_filled(self):
        slicer.util.selectModule("Welcome")
        handler = slicer.qSlicerSubjectHierarchyPluginHandler.instance()
        plugin = handler.pluginByName("Reface")
        (action,) = plugin.itemContextMenuActions()
        handler.setCurrentItem(self.patient)
        plugin.showContextMenuActionsForItem(self.patient)
        self.assertTrue(action.visible)
        action.trigger()
        slicer.app.processEvents()
        self.assertEqual(slicer.util.selectedModule(), "Reface")
        self.assertEqual(self.ui.inputVolumeSelector.currentNode(), self.t1)
        self.assertEqual(
            [row[:3] for row in self._table()], [["T1 mprage", "T1w", "new face"], ["FLAIR", "FLAIR", "deface"]]
        )
        self.assertLessEqual(self.widget.parent.minimumSizeHint.width(), 400)

    def test_ticks_and_what_is_added_become_parameters(self):
        import qt

        self._choose_person()
        parameters = self.widget._parameterNode
        self.ui.personTable.item(1, 0).setCheckState(qt.Qt.Unchecked)
        self.assertEqual(list(parameters.otherVolumes), [])
        self.ui.addVolumeSelector.setCurrentNode(self.loose)
        self.assertEqual(list(parameters.otherVolumes), [self.loose])
        self.assertIsNone(self.ui.addVolumeSelector.currentNode())
        self.ui.tickAllButton.click()
        self.assertEqual(len(parameters.otherVolumes), 2)

    def test_the_field_of_the_model_can_be_emptied_and_names_what_is_not_there(self):
        self._choose_person()
        (line,) = slicer.util.findChildren(self.ui.modelsPathLineEdit, className="QLineEdit")
        line.setText("/nonexistent")
        self.assertIn("There is no folder /nonexistent", self.ui.modelInfoLabel.text)
        self.assertFalse(self.ui.applyButton.enabled)
        line.setText("")
        self.assertEqual(self.widget._parameterNode.models, "")
        self.assertTrue(self.ui.applyButton.enabled)

    def test_runs_wait_and_the_run_of_a_volume_that_is_removed_ends_at_once(self):
        self._choose_person()
        runs = [Run(), Run()]
        with (
            mock.patch.object(self.widget.logic, "createRunner", side_effect=runs),
            mock.patch.object(slicer.util, "errorDisplay"),
            mock.patch("RefaceLib.window.slicerui.ensure_dependencies"),
        ):
            self.ui.applyButton.click()
            self.widget._parameterNode.inputVolume = self.loose
            self.ui.applyButton.click()
            self.assertEqual(([run.log for run in runs], self._table()[0][3]), ([["start"], []], "waiting"))
            slicer.mrmlScene.RemoveNode(self.t1)
            self.assertEqual([run.log for run in runs], [["start", "stop"], ["start"]])
            slicer.mrmlScene.RemoveNode(self.loose)
            slicer.app.processEvents()
        self.assertFalse(self.widget.panel.running)
        self.assertIn("'T2 tse' was removed", self.ui.statusLabel.text)
        self.assertIsNone(self.ui.inputVolumeSelector.currentNode())

    def test_another_face_of_a_run_becomes_the_result(self):
        from RefaceLib.window import job, results

        self._choose_person()
        nodes = results.RefaceNodes(self.t1)
        result = results.show_answer(nodes, self._answer(results.make_request(nodes).volume[1], job))
        self.widget._onDone(self.widget._parameterNode, self.t1, result)
        slicer.app.processEvents()
        self.assertTrue(self.ui.candidatesFrame.visible)
        buttons = self.widget.candidates._buttons
        self.assertEqual(
            [(button.checked, button.icon.isNull()) for button in buttons], [(True, False), (False, False)]
        )
        buttons[1].click()
        self.assertEqual(slicer.util.arrayFromVolume(result.volume)[0, 0, 0], 5)
        self.assertEqual(self.widget._parameterNode.seed, 5)
        self.assertTrue(buttons[1].checked)

    def _answer(self, volume, job):
        import numpy as np

        from RefaceLib.window.portraits import write_png

        mask = np.zeros(volume.stored.shape, dtype=bool)
        mask[:, :5] = True
        picture = Path(tempfile.mkdtemp(dir=slicer.app.temporaryPath)) / "face.png"
        write_png(picture, np.full((96, 96, 3), 200, np.uint8))
        report = {
            "mode": "reface", "voxels_changed": 1, "voxels_changed_outside_mask": 0, "brain_voxels_changed": 0,
            "mask_ml": 1.0, "ears": True, "model": {"name": "none", "version": "1", "sha256": "0"},
            "seconds": {"total": 1.0}, "warnings": [], "face_removed": {}, "candidates": {"seeds": [4, 5], "kept": ""},
        }  # fmt: skip
        faces = tuple(
            job.Candidate(seed, np.full(mask.sum(), seed, np.int16), {**report, "seed": seed}, picture.read_bytes())
            for seed in (4, 5)
        )
        stored = volume.stored.copy()
        stored[mask] = 4
        return job.RefaceAnswer(stored, mask, (), faces[0].report, faces)

    def test_a_scene_that_is_read_shows_its_choices_and_leaves_no_empty_ones(self):
        self._choose_person()
        self.widget._parameterNode.seed = 17
        path = str(Path(tempfile.mkdtemp(dir=slicer.app.temporaryPath)) / "scene.mrb")
        slicer.util.saveScene(path)
        slicer.mrmlScene.Clear()
        slicer.app.processEvents()
        slicer.util.loadScene(path)
        slicer.app.processEvents()
        slicer.app.processEvents()
        selector = self.ui.parameterNodeSelector
        self.assertEqual([selector.nodeFromIndex(index).GetName() for index in range(selector.nodeCount())], ["Reface"])
        self.assertEqual((self.ui.seedSpinBox.value, len(self._table())), (17, 2))
