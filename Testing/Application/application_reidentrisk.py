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

    def test_the_panel_fits_400_pixels_whatever_is_ticked(self):
        import qt

        volumes = self.volumes()
        for volume in volumes:
            volume.SetName(f"sub-01_ses-02_acq-mprage_run-01_desc-refaced_T1w of {volume.GetName()} " * 2)
        slicer.util.selectModule("ReidentRisk")
        widget = slicer.modules.ReidentRiskWidget
        widget.ui.referenceSelector.setCurrentNode(volumes[0])
        for volume in volumes:
            widget.ui.probesSelector.setCheckState(volume, qt.Qt.Checked)
        slicer.app.processEvents()
        self.assertLessEqual(widget.ui.inputsCollapsibleButton.parentWidget().minimumSizeHint.width(), 400)

    def test_an_erased_gallery_is_none(self):
        self.volumes()
        slicer.util.selectModule("ReidentRisk")
        widget = slicer.modules.ReidentRiskWidget
        field = widget.ui.galleryPathLineEdit
        field.currentPath = "/nonexistent"
        self.assertEqual(widget._parameterNode.gallery, "/nonexistent")
        self.assertTrue(widget.ui.galleryProblemLabel.visible)
        for line in slicer.util.findChildren(field, className="QLineEdit"):
            line.clear()
        self.assertEqual(widget._parameterNode.gallery, "")
        self.assertFalse(widget.ui.galleryProblemLabel.visible)

    def result(self, name):
        """A result of two spheres, as a run finds it."""
        import numpy as np
        import vtk

        from RefaceLib.skin.surface import vertices
        from ReidentRiskLib.judge.calibration import read_calibrations
        from ReidentRiskLib.runs.facefile import FaceRecord
        from ReidentRiskLib.window import results
        from ReidentRiskLib.window.job import Findings, Request

        ball = vtk.vtkSphereSource()
        ball.SetRadius(90.0)
        ball.Update()
        points = np.array([[32.0, 80, 10], [-32, 80, 10], [0, 95, -20], [24, 85, -55], [-24, 85, -55]])
        pictures = np.full((2, 64, 64, 3), 128, np.uint8)
        faces = [FaceRecord(each, points, *vertices(ball.GetOutput()), pictures) for each in (name, "Other")]
        model = next(each for each in read_calibrations() if each.views == "standard")
        found = {"verdict": "uncertain", "sentence": "one of them", "mean_embedding": 0.4}
        probe = {"name": "Other", "verdict": "uncertain", "attackers": {"forced": found, "gated": found}}
        about = {"name": model.model, "sha256": model.model_sha256}
        report = {
            "model": about,
            "views": "standard",
            "reference": {"name": name, "points": dict.fromkeys("abcde")},
            "probes": [probe],
            "warnings": [],
        }
        row = {"probe": "Other", "verdict": "uncertain", "share_of_strangers": 0.05, "mean_embedding": 0.4}
        row |= {"acquired_views": 45, "views": 45, "network": about["name"]}
        scores = {key: [value] * 2 for key, value in row.items()} | {"attacker": ["forced", "gated"]}
        findings = Findings(report, faces, scores, explanation=np.full((300, 400, 3), 200, np.uint8))
        volumes = self.volumes()
        pieces = results.add_result(slicer.mrmlScene, Request(volumes[0], volumes[1:]), findings)
        while True:
            try:
                next(pieces)
            except StopIteration as end:
                return end.value

    def test_one_result_is_seen_at_a_time_and_the_camera_is_one(self):
        from ReidentRiskLib.window import faceviews

        slicer.util.selectModule("ReidentRisk")
        widget = slicer.modules.ReidentRiskWidget
        first, second = self.result("First"), self.result("Second")
        for result, other in ((first, second), (second, first), (first, second)):
            widget._parameterNode.result = result.table
            widget.ui.layoutButton.click()
            slicer.app.processEvents()
            self.assertTrue(all(each.GetDisplayNode().GetVisibility() for each in result.surfaces))
            self.assertFalse(any(each.GetDisplayNode().GetVisibility() for each in other.surfaces))
            self.assertFalse(result.landmarks[0].GetLocked())
            self.assertTrue(other.landmarks[0].GetLocked())
            self.assertIn(f"Original: {result.names[0]}", widget.ui.summaryBrowser.plainText)
            views = [faceviews.view_node(slicer.mrmlScene, tag) for tag in faceviews.VIEWS]
            logic = slicer.modules.cameras.logic()
            left, right = (logic.GetViewActiveCameraNode(view).GetPosition() for view in views)
            self.assertEqual(left, right)
        widget.ui.explainButton.click()
        slicer.app.processEvents()
        layers = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
        self.assertEqual(layers.GetBackgroundVolumeID(), first.explanation.GetID())

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
