"""The window of ReidentRisk with real child processes: what can be chosen, and how a run goes and ends."""

from __future__ import annotations

import time
from unittest import mock

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.reidentrisk.commands import put  # noqa: E402
from helpers.reidentrisk.fixtures import *  # noqa: E402, F403
from helpers.reidentrisk.fixtures import choose  # noqa: E402
from helpers.reidentrisk.nodes import moved, node_of, points_node  # noqa: E402
from helpers.windows import wait  # noqa: E402
from RefaceLib.common.errors import RefaceError  # noqa: E402
from ReidentRiskLib.attack.landmarks import FIVE  # noqa: E402
from ReidentRiskLib.window import faceviews, results, summary  # noqa: E402
from ReidentRiskLib.window.parameters import Model  # noqa: E402

# ---- what can be chosen ----


def test_the_window_says_why_it_cannot_run(widget, scene, head, defaced):
    run = widget.ui.runButton
    assert not run.enabled and "original" in run.toolTip
    choose(widget, head)
    assert not run.enabled and "Tick" in run.toolTip
    choose(widget, head, head, defaced)
    assert not run.enabled and "itself" in run.toolTip
    choose(widget, head, defaced)
    assert run.enabled and not widget.ui.recomputeButton.enabled


def test_ticks_and_folder_become_parameters(widget, head, defaced):
    widget.ui.probesSelector.nodes = {head: 0, defaced: 1}
    widget.ui.probesSelector.emit("checkedNodesChanged()")
    widget.ui.galleryPathLineEdit.emit("textChanged(QString)", "/heads")
    assert widget._parameterNode.probes == [defaced]
    assert widget._parameterNode.gallery == "/heads"
    assert widget.ui.galleryPathLineEdit.currentPath == "/heads"


def test_the_window_offers_the_active_volume(widget, app, head):
    app.logic.GetSelectionNode().SetActiveVolumeID(head.GetID())
    widget.enter()
    assert widget._parameterNode.reference is head


def test_an_arcface_run_needs_consent_that_is_remembered(module, widget, app, head, defaced):
    choose(widget, head, defaced)
    ui = widget.ui
    assert not ui.licenceCheckBox.visible and ui.runButton.enabled
    widget._parameterNode.model = Model.ARCFACE
    assert ui.licenceCheckBox.visible and ui.licenceLabel.visible and not ui.licenceCheckBox.checked
    assert "non-commercial" in ui.licenceLabel.text
    assert not ui.runButton.enabled and "licence" in ui.runButton.toolTip
    ui.licenceCheckBox.emit("toggled(bool)", True)
    assert ui.runButton.enabled and ui.licenceCheckBox.checked and not ui.licenceLabel.visible
    another = module.ReidentRiskWidget()
    another.parent = mock.MagicMock(isEntered=True)
    another.setup()
    assert ui.runButton.enabled  # consent is kept on this computer
    ui.licenceCheckBox.emit("toggled(bool)", False)
    assert not ui.runButton.enabled
    another.cleanup()


def test_consent_reaches_the_child_and_nothing_else_does_it(module, widget, app, head, defaced):
    choose(widget, head, defaced)
    widget._parameterNode.model = Model.ARCFACE
    requests = []
    widget.logic.createRunner = mock.Mock(side_effect=lambda request, **_rest: requests.append(request))
    widget.panel.run = mock.Mock()
    widget.onRunButton()
    widget.ui.licenceCheckBox.emit("toggled(bool)", True)
    widget.onRunButton()
    assert [request.accept_licence for request in requests] == [False, True]


def test_networks_can_be_removed(widget, app, head, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "arcface.onnx").write_bytes(b"x")
    widget.onRemoveModelsButton()
    assert widget.ui.statusLabel.text == "Removed networks: arcface."
    assert not list((tmp_path / "cache").iterdir())
    widget.onRemoveModelsButton()
    assert "none" in widget.ui.statusLabel.text and app.shown == []


# ---- running ----


def test_a_run_ends_in_verdict_table_plot_and_faces(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    assert widget.panel.running and not widget.ui.runButton.enabled and widget.ui.cancelButton.enabled
    wait(widget)
    assert app.shown == []
    assert app.ensured.call_args.args[0] == "ReidentRisk"
    result = results.find_result(widget._parameterNode.result)
    assert widget._parameterNode.landmarks is result.landmarks[0]
    assert widget.ui.summaryBrowser.html == summary.summary(result)
    assert widget.ui.faceSelector.items == ["Head defaced"]
    assert widget.ui.chartSelector.items == [chart.GetName() for chart in result.charts]
    assert not widget.ui.resultsCollapsibleButton.collapsed
    assert widget.ui.statusLabel.text.startswith("Done in")
    assert widget.ui.runButton.enabled and widget.ui.recomputeButton.enabled and not widget.ui.cancelButton.enabled

    assert app.layouts.layout == faceviews.LAYOUT_ID
    selection = app.logic.GetSelectionNode()
    assert selection.GetActiveTableID() == result.table.GetID()
    assert selection.GetActivePlotChartID() == result.charts[0].GetID()
    assert all(surface.GetDisplayNode().GetVisibility() for surface in result.surfaces)
    assert len(app.cameras.made) == 2


def test_another_face_and_another_plot_can_be_shown(widget, app, scene, head, defaced):
    choose(widget, head, defaced, node_of(scene, "Again", 1, scan=1))
    widget.onRunButton()
    wait(widget)
    result = widget.results.result
    widget.ui.faceSelector.emit("currentIndexChanged(int)", 1)
    assert [surface.GetDisplayNode().GetVisibility() for surface in result.surfaces] == [1, 0, 1]
    widget.ui.chartSelector.emit("currentIndexChanged(int)", 1)
    assert app.logic.GetSelectionNode().GetActivePlotChartID() == result.charts[1].GetID()


def test_a_gallery_is_looked_up(widget, app, head, defaced, tmp_path):
    (tmp_path / "known").mkdir()
    for person in (2, 3):
        put(tmp_path / "known" / f"s{person}.nii.gz", person)
    choose(widget, head, defaced)
    widget._parameterNode.gallery = str(tmp_path / "known")
    widget.onRunButton()
    wait(widget)
    assert app.shown == []
    assert "among 3 persons" in widget.ui.summaryBrowser.html


def test_corrected_landmarks_replace_the_result(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    first, count = widget._parameterNode.result, scene.GetNumberOfNodes()
    points = widget._parameterNode.landmarks
    assert not points.GetLocked()
    points.SetNthControlPointPosition(0, 7.0, 8.0, 9.0)
    widget.onRecomputeButton()
    wait(widget)
    assert app.shown == []
    result = widget.results.result
    assert not scene.IsNodePresent(first) and result.table is widget._parameterNode.result
    assert scene.GetNumberOfNodes() == count
    assert result.report["reference"]["landmarks"] == "given"
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(result.landmarks[0])[0], (7, 8, 9))


def test_landmarks_are_only_used_when_they_are_asked_for(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget._parameterNode.landmarks = points_node(scene, list(FIVE))
    widget.onRunButton()
    wait(widget)
    assert widget.results.result.report["reference"]["landmarks"] == "own"


def test_a_second_run_keeps_the_first_result(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    for _ in range(2):
        widget.onRunButton()
        wait(widget)
    assert scene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 4
    tables = [node for node in slicer.util.getNodesByClass("vtkMRMLTableNode", scene) if results.find_result(node)]
    assert len(tables) == 2
    widget._parameterNode.result = tables[0]
    assert widget.results.result.table is tables[0]


def test_faces_honour_parent_transforms(widget, app, scene, head, defaced):
    transform = moved(scene, head, by=30.0)
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    assert widget.results.result.surfaces[0].GetParentTransformNode() is transform
    assert widget.results.result.surfaces[1].GetParentTransformNode() is None


def test_cancel_leaves_the_scene_as_it_was(widget, app, scene, head, defaced, monkeypatch):
    monkeypatch.setenv("REIDENT_CHILD", "slow")
    choose(widget, head, defaced)
    count = scene.GetNumberOfNodes()
    widget.onRunButton()
    start = time.monotonic()
    widget.ui.cancelButton.emit("clicked()")
    wait(widget)
    assert time.monotonic() - start < 1.5
    assert scene.GetNumberOfNodes() == count
    assert "Stopped" in widget.ui.statusLabel.text and app.shown == []
    assert widget.ui.runButton.enabled


def test_a_crash_of_the_child_is_one_sentence_and_the_window_lives_on(widget, app, scene, head, defaced, monkeypatch):
    monkeypatch.setenv("REIDENT_CHILD", "crash")
    choose(widget, head, defaced)
    count = scene.GetNumberOfNodes()
    widget.onRunButton()
    wait(widget)
    (sentence,) = app.shown
    assert "\n" not in sentence and scene.GetNumberOfNodes() == count
    monkeypatch.delenv("REIDENT_CHILD")
    widget.onRunButton()
    wait(widget)
    assert widget.results.result is not None


def test_closing_the_scene_ends_the_run(widget, app, scene, head, defaced, monkeypatch, temporary):
    monkeypatch.setenv("REIDENT_CHILD", "slow")
    choose(widget, head, defaced)
    widget.onRunButton()
    scene.Clear()
    assert not widget.panel.running and app.shown == []
    assert list(temporary.iterdir()) == []
    assert widget._parameterNode.reference is None and not widget.ui.runButton.enabled


def test_a_volume_that_is_deleted_during_the_run_is_told(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    scene.RemoveNode(defaced)
    wait(widget)
    (sentence,) = app.shown
    assert "deleted during the run" in sentence
    assert scene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 0


def test_packages_that_are_declined_are_told_before_anything_starts(widget, app, head, defaced):
    app.ensured.side_effect = RefaceError("It needs packages.")
    choose(widget, head, defaced)
    widget.onRunButton()
    assert not widget.panel.running and app.shown == ["The faces were not compared. It needs packages."]


def test_a_result_is_shown_again_after_a_scene_is_read(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    table, html = widget._parameterNode.result, widget.ui.summaryBrowser.html
    widget._parameterNode.result = None
    assert widget.ui.summaryBrowser.html == "" and widget.ui.resultsCollapsibleButton.collapsed
    assert not widget.ui.layoutButton.enabled
    widget._parameterNode.result = table
    assert widget.ui.summaryBrowser.html == html and widget.ui.layoutButton.enabled
