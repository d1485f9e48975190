"""Which of several results the window of ReidentRisk shows, in words and in the views, and which one it recomputes."""

from __future__ import annotations

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.reidentrisk.fixtures import *  # noqa: E402, F403
from helpers.reidentrisk.fixtures import choose  # noqa: E402
from helpers.reidentrisk.nodes import node_of, points_node, shown  # noqa: E402
from helpers.windows import wait  # noqa: E402
from ReidentRiskLib.attack.landmarks import FIVE  # noqa: E402
from ReidentRiskLib.window import results  # noqa: E402


def two_results(widget, scene, head, defaced):
    """The tables of two comparisons, of two originals; the second one is shown."""
    other = node_of(scene, "Other", 2)
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    first = widget._parameterNode.result
    choose(widget, other, head)
    widget.onRunButton()
    wait(widget)
    return first, widget._parameterNode.result


def test_another_result_is_shown_in_words_faces_plot_table_and_landmarks(widget, app, scene, head, defaced):
    first, second = two_results(widget, scene, head, defaced)
    of_second = ["Other face (2)", "Head face (2)", "Other landmarks (2)"]
    assert shown(scene) == of_second
    for table, names in ((first, ["Head face", "Head defaced face", "Head landmarks"]), (second, of_second)):
        widget._parameterNode.result = table
        result, selection = results.find_result(table), app.logic.GetSelectionNode()
        assert shown(scene) == names
        assert selection.GetActiveTableID() == table.GetID()
        assert selection.GetActivePlotChartID() == result.charts[0].GetID()
        assert widget._parameterNode.landmarks is result.landmarks[0]
        assert widget.ui.faceSelector.items == result.names[1:]
        assert f"Original: <b>{result.names[0]}</b>" in widget.ui.summaryBrowser.html
        unlocked = [node for node in slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode", scene)]
        assert [node for node in unlocked if not node.GetLocked()] == [result.landmarks[0]]


def test_a_volume_that_is_overwritten_while_its_verdict_is_shown_is_told(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    assert "Changed since" not in widget.ui.summaryBrowser.html
    slicer.util.updateVolumeFromArray(defaced, slicer.util.arrayFromVolume(defaced) + 1)
    widget.results._tell()  # as the timer does
    assert "Changed since they were compared: &#x27;Head defaced&#x27;." in widget.ui.summaryBrowser.html
    slicer.util.updateVolumeFromArray(defaced, slicer.util.arrayFromVolume(defaced) - 1)
    widget.enter()
    assert "Changed since" not in widget.ui.summaryBrowser.html
    slicer.util.updateVolumeFromArray(defaced, slicer.util.arrayFromVolume(head))
    widget.onRecomputeButton()
    wait(widget)
    assert app.shown == [] and "Changed since" not in widget.ui.summaryBrowser.html
    assert widget.results.result.report["probes"][0]["verdict"] == "recognisable"  # it is the original's now


def test_recompute_waits_where_the_landmarks_of_the_original_were_removed(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    assert widget.ui.recomputeButton.enabled
    scene.RemoveNode(widget._parameterNode.landmarks)
    scene.RemoveNode(head)
    assert widget._parameterNode.landmarks is None and not widget.ui.recomputeButton.enabled and app.shown == []


def test_the_verdict_of_another_original_says_so(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    assert "not those of this result" not in widget.ui.summaryBrowser.html
    widget._parameterNode.reference = node_of(scene, "Other", 2)
    assert "not those of this result" in widget.ui.summaryBrowser.html
    assert "Original: <b>Head</b>" in widget.ui.summaryBrowser.html
    widget._parameterNode.reference = head
    assert "not those of this result" not in widget.ui.summaryBrowser.html


def test_recompute_keeps_to_the_inputs_of_its_result_and_removes_no_other(widget, app, scene, head, defaced):
    """It deleted the result that was shown, and compared what had been chosen since."""
    first, second = two_results(widget, scene, head, defaced)
    widget._parameterNode.result = first
    points = widget._parameterNode.landmarks
    points.SetNthControlPointPosition(0, 7.0, 8.0, 9.0)
    assert widget._parameterNode.reference.GetName() == "Other" and widget.ui.recomputeButton.enabled
    widget.onRecomputeButton()
    widget._parameterNode.result = second  # while it runs
    wait(widget)
    assert app.shown == []
    result = widget.results.result
    assert not scene.IsNodePresent(first) and scene.IsNodePresent(second)
    assert result.names == ["Head", "Head defaced"] and result.report["reference"]["landmarks"] == "given"
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(result.landmarks[0])[0], (7, 8, 9))
    assert "not those of this result" in widget.ui.summaryBrowser.html


def test_recompute_says_that_a_volume_of_its_result_is_gone(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    scene.RemoveNode(defaced)
    widget.onRecomputeButton()
    (sentence,) = app.shown
    assert "'Head defaced' was deleted after this comparison" in sentence and not widget.panel.running
    assert scene.IsNodePresent(widget._parameterNode.result)


def test_points_of_the_user_replace_no_result(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    first = widget._parameterNode.result
    widget._parameterNode.landmarks = points_node(scene, list(FIVE))
    widget.onRecomputeButton()
    wait(widget)
    assert scene.IsNodePresent(first) and widget._parameterNode.result is not first


def test_no_verdict_of_before_stands_beside_a_run_that_failed(widget, app, scene, head, defaced):
    choose(widget, head, defaced)
    widget.onRunButton()
    wait(widget)
    before = widget._parameterNode.result
    choose(widget, head, node_of(scene, "Nobody", 0))
    widget.onRunButton()
    wait(widget)
    assert len(app.shown) == 1
    html = widget.ui.summaryBrowser.html
    assert (
        "recognisable" not in html and "failed" in html and "'Nobody': No head was found" in html.replace("&#x27;", "'")
    )
    assert shown(scene) == [] and not widget.ui.layoutButton.enabled
    selection = app.logic.GetSelectionNode()
    assert not selection.GetActiveTableID() and not selection.GetActivePlotChartID()
    widget._parameterNode.result = before  # it can be chosen again
    assert "recognisable" in widget.ui.summaryBrowser.html and len(shown(scene)) == 3
