"""The window of Reface with real child processes: what can be chosen, and how a run goes and ends."""

from __future__ import annotations

import time

import pytest

from helpers.imagefiles import assert_one_sentence
from RefaceLib.common.errors import RefaceError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface.fixtures import *  # noqa: E402, F403
from helpers.windows import wait  # noqa: E402
from RefaceLib.window.parameters import MAX_WINDOW_SEED  # noqa: E402


def test_the_window_says_why_it_cannot_apply(widget, head):
    apply = widget.ui.applyButton
    assert not apply.enabled and "Choose an input" in apply.toolTip
    widget._parameterNode.inputVolume = widget._parameterNode.outputVolume = head
    assert not apply.enabled and "never changed" in apply.toolTip
    widget._parameterNode.outputVolume = None
    assert apply.enabled


def test_the_window_offers_the_active_volume(widget, app, head):
    app.logic.GetSelectionNode().SetActiveVolumeID(head.GetID())
    widget.enter()
    assert widget._parameterNode.inputVolume is head


def test_ticked_volumes_and_new_faces_become_parameters(widget, head):
    widget.ui.otherVolumesSelector.nodes = {head: 1}
    widget.ui.otherVolumesSelector.emit("checkedNodesChanged()")
    assert widget._parameterNode.otherVolumes == [head]
    seeds = set()
    for _ in range(5):
        widget.ui.newFaceButton.emit("clicked()")
        seeds.add(widget._parameterNode.seed)
    assert len(seeds) > 1 and all(0 <= seed <= MAX_WINDOW_SEED for seed in seeds)


def test_weights_of_ones_own_can_be_chosen(widget, reface, head, tmp_path):
    shipped = widget.ui.modelInfoLabel.text
    assert shipped.startswith("Reface cGAN 1 (")
    widget.ui.modelsPathLineEdit.emit("currentPathChanged(QString)", str(tmp_path))
    assert widget._parameterNode.models == widget.ui.modelsPathLineEdit.currentPath == str(tmp_path)
    assert "holds no weights of Reface" in widget.ui.modelInfoLabel.text
    widget._parameterNode.models = ""
    assert widget.ui.modelsPathLineEdit.currentPath == "" and widget.ui.modelInfoLabel.text == shipped


def test_a_folder_without_weights_fails_the_run_in_one_sentence(reface, app, head, tmp_path):
    with pytest.raises(RefaceError, match="holds no weights of Reface") as error:
        reface.RefaceLogic().process(head, models=str(tmp_path))
    assert_one_sentence(error)


def test_a_run_in_the_window_ends_in_a_result(widget, app, head):
    widget._parameterNode.inputVolume = head
    widget.ui.applyButton.emit("clicked()")
    assert widget.panel.running and not widget.ui.applyButton.enabled and widget.ui.cancelButton.enabled
    wait(widget)
    assert app.shown == [] and app.ensured.call_args.args[0] == "Reface"
    result = widget._parameterNode.resultVolume
    assert slicer.util.setSliceViewerLayers.call_args.kwargs["background"] is result
    text = widget.ui.resultLabel.text
    for words in ("Head refaced", "of the brain: 0", "ml", "fake 1 (00), seed 0", "A warning."):
        assert words in text
    for name in ("applyButton", "compareButton", "compareSlider", "saveButton", "dicomButton", "reportButton"):
        assert getattr(widget.ui, name).enabled, name
    assert not widget.ui.cancelButton.enabled


def test_packages_that_are_not_installed_are_told_of_and_nothing_runs(widget, app, head):
    app.ensured.side_effect = RefaceError("Reface needs the PyTorch extension.")
    widget._parameterNode.inputVolume = head
    widget.onApplyButton()
    assert "needs the PyTorch extension" in app.shown[0] and not widget.panel.running


def test_cancel_in_the_window_tells_that_nothing_was_added(widget, app, scene, head, monkeypatch):
    monkeypatch.setenv("REFACE_CHILD", "slow")
    widget._parameterNode.inputVolume = head
    count = scene.GetNumberOfNodes()
    widget.onApplyButton()
    widget.ui.cancelButton.emit("clicked()")
    start = time.monotonic()
    wait(widget)
    assert time.monotonic() - start < 1.0
    assert "Nothing was added" in widget.ui.statusLabel.text and app.shown == []
    assert scene.GetNumberOfNodes() == count and widget.ui.applyButton.enabled


def test_a_crash_is_told_in_one_sentence_and_the_window_lives(widget, app, head, monkeypatch):
    monkeypatch.setenv("REFACE_CHILD", "segfault")
    widget._parameterNode.inputVolume = head
    widget.onApplyButton()
    wait(widget)
    assert len(app.shown) == 1 and "crashed" in app.shown[0]
    assert widget.ui.applyButton.enabled


def test_closing_the_scene_ends_the_run(widget, app, scene, head, monkeypatch):
    monkeypatch.setenv("REFACE_CHILD", "stubborn")
    widget._parameterNode.inputVolume = head
    widget.onApplyButton()
    child = widget.panel._run.runner._child._process
    scene.Clear()
    assert not widget.panel.running and child.poll() is not None
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert not widget.ui.applyButton.enabled


def test_an_input_that_is_removed_during_the_run_is_told_of(widget, app, scene, head):
    widget._parameterNode.inputVolume = head
    widget.onApplyButton()
    scene.RemoveNode(head)
    wait(widget)
    assert len(app.shown) == 1 and "removed during the run" in app.shown[0]
