"""Tests that need the application (ctest runs them in Slicer): that the window opens, and does what its controls say.

Not named test_*: pytest, which runs outside the application, leaves this file alone. RefaceTest, in the module itself,
sends the sample head through the networks.
"""

import unittest

import slicer

REPORT = {
    "mode": "deface", "voxels_changed": 1, "voxels_changed_outside_mask": 0, "brain_voxels_changed": 0, "mask_ml": 1.0,
    "ears": True, "seconds": {"total": 1.0}, "warnings": [],
}  # fmt: skip


def ball_head(name):
    """A volume with a ball as large as a head."""
    import numpy as np

    size = 48
    away = np.indices((size,) * 3) - size / 2
    volume = slicer.util.addVolumeFromArray((100 * (np.linalg.norm(away, axis=0) < 20)).astype(np.int16), name=name)
    volume.SetSpacing(5.0, 5.0, 5.0)
    return volume


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
        self.widget.ui.modeComboBox.currentIndex = 2
        self.assertEqual(parameters.mode.value, "deface")

    def test_all_controls_fit_without_scrolling(self):
        self.assertLessEqual(self.widget.ui.applyButton.parentWidget().minimumSizeHint.height(), 720)

    def test_one_pair_of_heads_is_shown_alike_and_filmed(self):
        import tempfile
        from pathlib import Path

        from RefaceLib.window import faceviews, mrml, results, turntable

        heads = [ball_head(name) for name in ("Before", "After", "Another")]
        cameras = slicer.modules.cameras.logic()
        for before, after in (heads[:2], heads[1:]):
            mrml.set_provenance(after, REPORT)
            after.SetNodeReferenceID(results.INPUT_ROLE, before.GetID())
            self.widget._parameterNode.resultVolume = after
            self.assertTrue(self.widget.ui.compareButton.enabled)
            self.widget.ui.compareButton.click()
            views = [slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLViewNode") for name in faceviews.VIEW_NAMES]
            first, second = (cameras.GetViewActiveCameraNode(view) for view in views)
            self.assertEqual(first.GetPosition(), second.GetPosition())
            self.assertEqual(first.GetViewAngle(), second.GetViewAngle())
            shown = [model for model in slicer.util.getNodesByClass("vtkMRMLModelNode") if model.GetDisplayVisibility()]
            names = [model.GetName() for model in shown if model.GetAttribute("Reface.Face")]
            self.assertEqual(names, [f"{before.GetName()} face", f"{after.GetName()} face"])
        self.assertEqual(len(self.widget.comparison._keys), 2)
        with tempfile.TemporaryDirectory() as folder:
            film = Path(folder) / "film"
            turntable.film(turntable.screen_capture(), views, film, frames=3)
            self.assertIn(len(list(film.iterdir())), (1, 3))  # a video, or its frames

    def test_closing_the_scene_gives_new_parameters(self):
        self.widget._parameterNode.seed = 17
        slicer.mrmlScene.Clear()
        self.assertEqual(self.widget._parameterNode.seed, 0)
