"""Tests that need the application (ctest runs them in Slicer): that the window opens, and does what its controls say.

Not named test_*: pytest, which runs outside the application, leaves this file alone. RefaceTest, in the module itself,
sends the sample head through the networks.
"""

import unittest

import slicer


class ModuleInTheApplicationTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()
        slicer.util.selectModule("Reface")
        self.widget = slicer.modules.RefaceWidget

    def test_the_window_opens_and_asks_for_a_volume(self):
        self.assertFalse(self.widget.ui.applyButton.enabled)
        self.assertIn("input", self.widget.ui.applyButton.toolTip)

    def test_the_window_offers_the_active_volume(self):
        import numpy as np

        slicer.util.selectModule("Welcome")
        volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), dtype=np.int16))
        slicer.util.setSliceViewerLayers(background=volume)
        slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(volume.GetID())
        slicer.util.selectModule("Reface")
        self.assertEqual(self.widget.ui.inputVolumeSelector.currentNode(), volume)
        self.assertTrue(self.widget.ui.applyButton.enabled)

    def test_controls_and_parameters_follow_each_other(self):
        parameters = self.widget._parameterNode
        self.widget.ui.seedSpinBox.value = 17
        self.assertEqual(parameters.seed, 17)
        parameters.ears = False
        self.assertFalse(self.widget.ui.earsCheckBox.checked)
        self.widget.ui.modeComboBox.currentIndex = 1
        self.assertEqual(parameters.mode.value, "deface")

    def test_all_controls_fit_without_scrolling(self):
        self.assertLessEqual(self.widget.ui.applyButton.parentWidget().minimumSizeHint.height(), 720)

    def test_closing_the_scene_gives_new_parameters(self):
        self.widget._parameterNode.seed = 17
        slicer.mrmlScene.Clear()
        self.assertEqual(self.widget._parameterNode.seed, 0)
