"""Tests that need the application (ctest runs them in Slicer): that the window of ReidentRisk opens and can be used.

Not named test_*: pytest, which runs outside the application, leaves this file alone. The sample head goes through the
module in ReidentRiskTest, the test class of the module itself.
"""

import unittest

import slicer


class ReidentRiskInTheApplicationTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("Welcome")

    def volumes(self):
        import numpy as np

        names = ("Original", "Refaced")
        return [slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), dtype=np.int16), name=name) for name in names]

    def test_the_window_offers_the_active_volume_and_runs_when_one_is_ticked(self):
        import qt

        original, refaced = self.volumes()
        slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(original.GetID())
        slicer.util.selectModule("ReidentRisk")
        ui = slicer.modules.ReidentRiskWidget.ui
        self.assertEqual(ui.referenceSelector.currentNode(), original)
        self.assertFalse(ui.runButton.enabled)
        ui.probesSelector.setCheckState(refaced, qt.Qt.Checked)
        self.assertTrue(ui.runButton.enabled)

    def test_every_control_is_seen_without_scrolling(self):
        slicer.util.mainWindow().resize(1400, 900)
        slicer.util.selectModule("ReidentRisk")
        slicer.app.processEvents()
        ui = slicer.modules.ReidentRiskWidget.ui
        for control in (ui.referenceSelector, ui.probesSelector, ui.modelSelector, ui.viewsSelector, ui.runButton):
            self.assertTrue(control.visible and not control.visibleRegion().isEmpty())

    def test_parameters_come_back_with_the_scene(self):
        import os

        original, refaced = self.volumes()
        logic = slicer.modules.ReidentRiskWidget.logic
        node = logic.getParameterNode()
        node.reference, node.probes, node.gallery = original, [refaced], "heads"
        path = os.path.join(slicer.util.tempDirectory(), "scene.mrb")
        self.assertTrue(slicer.util.saveScene(path))
        slicer.mrmlScene.Clear()
        slicer.util.loadScene(path)
        node = logic.getParameterNode()
        self.assertEqual(node.reference.GetName(), "Original")
        self.assertEqual([volume.GetName() for volume in node.probes], ["Refaced"])
        self.assertEqual(node.gallery, "heads")

    def test_the_layout_has_two_faces_a_plot_and_a_table(self):
        from ReidentRiskLib.window import faceviews

        manager = slicer.app.layoutManager()
        manager.setLayout(faceviews.add_layout(manager.layoutLogic().GetLayoutNode()))
        for tag in faceviews.VIEWS:
            self.assertIsNotNone(faceviews.view_node(slicer.mrmlScene, tag))
        self.assertGreaterEqual(manager.plotViewCount, 1)
        self.assertGreaterEqual(manager.tableViewCount, 1)
