"""Tests that need the application (ctest runs them in Slicer): that the module is found, opens and works on nodes.

Not named test_*: pytest, which runs outside the application, leaves this file alone.
"""

import unittest

import slicer


class ModuleInTheApplicationTest(unittest.TestCase):
    def setUp(self):
        slicer.mrmlScene.Clear()

    def test_the_module_is_found_and_its_window_opens(self):
        slicer.util.selectModule("Reface")
        widget = slicer.modules.RefaceWidget
        self.assertFalse(widget.applyButton.enabled)

    def test_the_window_offers_the_active_volume(self):
        import numpy as np

        slicer.util.selectModule("Welcome")
        volume = slicer.util.addVolumeFromArray(np.zeros((4, 5, 6), dtype=np.int16))
        slicer.util.setSliceViewerLayers(background=volume)
        slicer.app.applicationLogic().GetSelectionNode().SetActiveVolumeID(volume.GetID())
        slicer.util.selectModule("Reface")
        widget = slicer.modules.RefaceWidget
        self.assertEqual(widget.inputSelector.currentNode(), volume)
        self.assertTrue(widget.applyButton.enabled)

    def test_the_tests_of_the_module_pass(self):
        from Reface import RefaceTest

        RefaceTest().test_nodesOfAResult()
