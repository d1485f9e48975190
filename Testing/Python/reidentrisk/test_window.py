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
from helpers.reidentrisk.nodes import moved, node_of, points_node, shown  # noqa: E402
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


def test_a_volume_without_an_image_is_named_before_the_run(widget, app, scene, head, defaced):
    """The run was stopped for it, and the status line went on with the run before."""
    choose(widget, head, defaced, scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty"))
    assert not widget.ui.runButton.enabled and "'Empty' holds no image" in widget.ui.runButton.toolTip
    choose(widget, head, defaced)
    assert widget.ui.runButton.enabled
    widget.ui.statusLabel.setText("Done in 21 s.")
    defaced.SetAndObserveImageData(None)
    widget.onRunButton()
    assert len(app.shown) == 1 and "no image" in app.shown[0] and widget.ui.statusLabel.text == ""


def test_ticks_and_folder_become_parameters(widget, head, defaced):
    widget.ui.probesSelector.nodes = {head: 0, defaced: 1}
    widget.ui.probesSelector.emit("checkedNodesChanged()")
    widget.ui.galleryPathLineEdit.type("/heads")
    assert widget._parameterNode.probes == [defaced]
    assert widget._parameterNode.gallery == "/heads"
    assert widget.ui.galleryPathLineEdit.currentPath == "/heads"


def test_the_gallery_can_be_switched_off(widget, head, defaced, tmp_path):
    choose(widget, head, defaced)
    widget.ui.galleryPathLineEdit.type(str(tmp_path))
    assert widget.logic.request(widget._parameterNode).gallery == tmp_path
    widget.ui.galleryPathLineEdit.type("")
    assert widget.logic.request(widget._parameterNode).gallery is None and widget.ui.runButton.enabled


def test_a_gallery_that_does_not_exist_is_named_at_once(widget, head, defaced, tmp_path):
    choose(widget, head, defaced)
    label = widget.ui.galleryProblemLabel
    assert not label.visible
    widget.ui.galleryPathLineEdit.type("/nonexistent")
    assert label.visible and "/nonexistent" in label.text
    assert not widget.ui.runButton.enabled and "/nonexistent" in widget.ui.runButton.toolTip
    widget.ui.galleryPathLineEdit.type(str(tmp_path))
    assert not label.visible and widget.ui.runButton.enabled


def test_a_result_of_reface_is_not_offered_as_the_original(widget, app, scene, head):
    refaced = node_of(scene, "Something", 1)
    refaced.SetAttribute("Reface.Seed", "1")
    refaced.SetNodeReferenceID("Reface.Input", head.GetID())
    app.logic.GetSelectionNode().SetActiveVolumeID(refaced.GetID())
    widget.enter()
    assert widget._parameterNode.reference is head


@pytest.mark.parametrize("name", ["Head defaced", "head_defaced", "Head refaced", "Head_desc-refaced_T1w", "de-faced"])
def test_a_volume_that_is_called_defaced_is_not_offered_as_the_original(widget, app, scene, name):
    volume = node_of(scene, name, 1)
    app.logic.GetSelectionNode().SetActiveVolumeID(volume.GetID())
    widget.enter()
    assert widget._parameterNode.reference is None
    other, head = node_of(scene, "Another", 2), node_of(scene, "Head", 1)
    widget.enter()
    assert widget._parameterNode.reference is (head if name.startswith("Head ") else other)


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
    widget.licence.onRemoveModelsButton()
    assert widget.ui.statusLabel.text == "Removed networks: arcface."
    assert not list((tmp_path / "cache").iterdir())
    widget.licence.onRemoveModelsButton()
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


def test_the_views_are_left_alone_when_a_run_ends_while_the_user_is_elsewhere(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    widget.parent.isEntered = False
    wait(widget)
    assert app.layouts.layout == 0 and shown(scene) == [] and widget.ui.layoutButton.enabled
    widget.parent.isEntered = True
    widget.ui.layoutButton.emit("clicked(bool)", False)
    assert app.layouts.layout == faceviews.LAYOUT_ID and len(shown(scene)) == 3


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
    for person in range(2, 10):
        put(tmp_path / "known" / f"s{person}.nii.gz", person)
    choose(widget, head, defaced)
    widget._parameterNode.gallery = str(tmp_path / "known")
    ui = widget.ui
    assert not ui.guessButton.visible
    widget.onRunButton()
    wait(widget)
    assert app.shown == []
    assert "among 9 persons" in ui.summaryBrowser.html

    asked = widget.results.result.identification["guess_who"]
    assert asked["probe"] == "Head defaced" and ui.guessButton.visible
    ui.guessButton.emit("clicked(bool)", False)
    assert app.layouts.layout == faceviews.PICTURE_LAYOUT
    ui.guessSelector.setCurrentIndex(asked["answer"])
    assert ui.guessAnswerLabel.text.startswith("Yes, it is number")
    ui.guessSelector.setCurrentIndex(1 + asked["answer"] % 8)
    assert ui.guessAnswerLabel.text.startswith("No, it is number")
    ui.explainButton.emit("clicked(bool)", False)
    assert app.layouts.layout == faceviews.PICTURE_LAYOUT and widget.results.result.explanation is not None
    widget._parameterNode.result = None
    assert not ui.guessButton.visible and ui.guessAnswerLabel.text == "" and not ui.explainButton.enabled


def test_the_faces_come_back_after_the_picture_and_stay_with_the_next_result(widget, app, scene, head, defaced):
    """The picture of one result lay in a hidden view, and that of the next one took the place of its faces."""
    for kind in (slicer.vtkMRMLSliceNode, slicer.vtkMRMLSliceCompositeNode):
        node = kind()
        node.SetSingletonTag(faceviews.PICTURE_VIEW)
        node.SetLayoutName(faceviews.PICTURE_VIEW)
        scene.AddNode(node)
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    first = widget.results.result
    widget.ui.explainButton.emit("clicked(bool)", False)
    assert app.layouts.layout == faceviews.PICTURE_LAYOUT and faceviews.shown_picture(scene) is first.explanation
    widget.ui.layoutButton.emit("clicked(bool)", False)
    assert app.layouts.layout == faceviews.LAYOUT_ID and faceviews.shown_picture(scene) is head
    for back in (False, True):
        widget.ui.explainButton.emit("clicked(bool)", False)
        widget.onRunButton()
        wait(widget)
        assert app.layouts.layout == faceviews.LAYOUT_ID and faceviews.shown_picture(scene) is head
        widget._parameterNode.result = first.table if back else widget._parameterNode.result
        assert app.layouts.layout == faceviews.LAYOUT_ID


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
    names = [node.GetName() for node in (result.table, *result.surfaces, result.explanation)]
    assert names == ["1. Head - defaced", "Head face", "Head defaced face", "Explanation"]  # as before
    assert scene.GetNumberOfNodes() == count
    assert result.report["reference"]["landmarks"] == "given"
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(result.landmarks[0])[0], (7, 8, 9))


def test_landmarks_are_only_used_when_they_are_asked_for(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget._parameterNode.landmarks = points_node(scene, list(FIVE))
    widget.onRunButton()
    wait(widget)
    assert widget.results.result.report["reference"]["landmarks"] == "own"


def test_one_volume_without_a_head_does_not_stop_the_others(widget, app, scene, head, defaced):
    choose(widget, head, node_of(scene, "Nobody", 0), defaced)
    widget.onRunButton()
    wait(widget)
    assert app.shown == []
    html = widget.ui.summaryBrowser.html
    assert "<b>Nobody</b>" in html and "No head was found" in html and "<b>Head defaced</b>" in html
    assert widget.ui.faceSelector.items == ["Nobody", "Head defaced"]


def test_the_seconds_are_those_on_the_clock(module, widget, head, defaced, monkeypatch):
    """Starting the children, loading the networks and showing the result take as long as comparing."""
    clock = mock.Mock(monotonic=mock.Mock(side_effect=[100.0, 131.0]))
    monkeypatch.setattr(module, "time", clock)
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    assert widget.ui.statusLabel.text == "Done in 31 s."


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


def test_why_a_run_failed_is_not_told_after_the_next_one_that_cannot_begin(
    widget, app, head, defaced, monkeypatch, tmp_path
):
    monkeypatch.setenv("REIDENT_CHILD", "crash")
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    assert "The last comparison failed" in widget.ui.summaryBrowser.html
    widget._parameterNode.gallery = str(tmp_path / "empty")
    (tmp_path / "empty").mkdir()
    widget.onRunButton()
    assert "holds no volume" in app.shown[-1] and "failed" not in widget.ui.summaryBrowser.html


def test_the_window_lives_while_the_result_is_added_and_the_run_cannot_be_stopped_any_more(
    widget, app, scene, head, defaced
):
    """It stood still until everything was there."""
    choose(widget, head, defaced)
    widget.onRunButton()
    polls = set()
    while widget.panel.running:
        widget.panel.poll()
        polls.add(scene.GetNumberOfNodesByClass("vtkMRMLModelNode") + scene.GetNumberOfNodesByClass("vtkMRMLTableNode"))
        if scene.GetNumberOfNodesByClass("vtkMRMLModelNode"):
            assert not widget.ui.cancelButton.enabled
    assert len(polls) > 3 and widget.results.result is not None and app.shown == []


def test_closing_the_scene_ends_the_run(widget, app, scene, head, defaced, monkeypatch, temporary):
    monkeypatch.setenv("REIDENT_CHILD", "slow")
    choose(widget, head, defaced)
    widget.onRunButton()
    scene.Clear()
    assert not widget.panel.running and app.shown == []
    assert list(temporary.iterdir()) == []
    assert widget._parameterNode.reference is None and not widget.ui.runButton.enabled


def test_closing_the_scene_takes_back_what_was_told(widget, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    assert widget.ui.statusLabel.text.startswith("Done")
    scene.Clear()
    assert widget.ui.statusLabel.text == ""


@pytest.mark.parametrize("which", ["original", "compared"])
def test_the_run_ends_when_a_volume_of_it_is_deleted(widget, app, scene, head, defaced, monkeypatch, temporary, which):
    """It went on to its end, only to fail there."""
    monkeypatch.setenv("REIDENT_CHILD", "slow")
    choose(widget, head, defaced)
    widget.onRunButton()
    scene.RemoveNode(head if which == "original" else defaced)
    assert not widget.panel.running and list(temporary.iterdir()) == []
    assert "was removed, so the run was stopped" in widget.ui.statusLabel.text and app.shown == []
    assert widget._parameterNode.reference is (None if which == "original" else head)
    assert not widget.ui.runButton.enabled


def test_a_volume_that_is_not_compared_may_go_during_the_run(widget, app, scene, head, defaced):
    other = node_of(scene, "Other", 2)
    choose(widget, head, defaced)
    widget.onRunButton()
    scene.RemoveNode(other)
    wait(widget)
    assert widget.results.result is not None and app.shown == []


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
