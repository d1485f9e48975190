"""The window of Reface with real child processes: what can be chosen, and how a run goes and ends."""

from __future__ import annotations

import ast
import re
import time

import pytest

from helpers.checkout import REPOSITORY
from helpers.imagefiles import assert_one_sentence
from helpers.phantom import make_phantom
from RefaceLib.common.errors import InputError, OutputError, RefaceError
from RefaceLib.common.options import FOUND

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface.fixtures import *  # noqa: E402, F403
from helpers.reface.fixtures import fake_judge, node_of, report_of  # noqa: E402
from helpers.windows import wait  # noqa: E402
from RefaceLib.window import job, mrml, results  # noqa: E402
from RefaceLib.window.parameters import MAX_WINDOW_SEED, Mode  # noqa: E402


def test_the_window_says_why_it_cannot_apply(widget, head):
    apply = widget.ui.applyButton
    assert not apply.enabled and "Choose an input" in apply.toolTip
    widget._parameterNode.inputVolume = widget._parameterNode.outputVolume = head
    assert not apply.enabled and "never changed" in apply.toolTip
    widget._parameterNode.outputVolume = None
    assert apply.enabled


def test_the_mode_is_automatic_until_another_one_is_chosen(widget):
    assert widget._parameterNode.mode is Mode.AUTO


def test_the_window_offers_the_active_volume(widget, app, head):
    app.logic.GetSelectionNode().SetActiveVolumeID(head.GetID())
    widget.enter()
    assert widget._parameterNode.inputVolume is head


def test_new_faces_become_parameters(widget):
    seeds = set()
    for _ in range(5):
        widget.ui.newFaceButton.emit("clicked()")
        seeds.add(widget._parameterNode.seed)
    assert len(seeds) > 1 and all(0 <= seed <= MAX_WINDOW_SEED for seed in seeds)


def test_weights_of_ones_own_can_be_chosen(widget, reface, head, tmp_path):
    shipped = widget.ui.modelInfoLabel.text
    assert shipped.startswith("Reface cGAN 1 (")
    field = widget.ui.modelsPathLineEdit
    field.type(str(tmp_path))
    assert widget._parameterNode.models == field.currentPath == str(tmp_path)
    assert "holds no weights of Reface" in widget.ui.modelInfoLabel.text
    field.type("")
    assert widget._parameterNode.models == "" and widget.ui.modelInfoLabel.text == shipped
    widget._parameterNode.models = str(tmp_path)
    assert field.currentPath == str(tmp_path)


def test_a_folder_of_weights_that_is_not_there_is_named_and_nothing_can_be_applied(widget, head, tmp_path):
    widget._parameterNode.inputVolume = head
    widget.ui.modelsPathLineEdit.type("/nonexistent")
    assert widget._parameterNode.models == "/nonexistent"
    assert "There is no folder /nonexistent" in widget.ui.modelInfoLabel.text
    assert not widget.ui.applyButton.enabled and "/nonexistent" in widget.ui.applyButton.toolTip


def test_a_folder_without_weights_fails_the_run_in_one_sentence(reface, app, head, tmp_path):
    with pytest.raises(RefaceError, match="holds no weights of Reface") as error:
        reface.RefaceLogic().process(head, models=str(tmp_path))
    assert_one_sentence(error)


def test_a_run_in_the_window_ends_in_a_result(widget, app, head):
    widget._parameterNode.inputVolume = head
    widget.ui.applyButton.emit("clicked()")
    assert widget.panel.running and widget.ui.cancelButton.enabled
    assert widget.ui.personTable.texts() == [["Head", "?", "new face", "under way", ""]]
    wait(widget)
    assert app.shown == [] and app.ensured.call_args.args[0] == "Reface"
    result = widget._parameterNode.resultVolume
    assert slicer.util.setSliceViewerLayers.call_args.kwargs["background"] is result
    assert widget.ui.personTable.texts() == [["Head", "?", "new face", "done, warned", "100 %, 0, 0"]]
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


def test_an_input_that_is_removed_ends_its_run_at_once_and_no_other_takes_its_place(widget, app, scene, head, runs):
    other = node_of(scene, make_phantom(), "Other")
    parameters = widget._parameterNode
    parameters.inputVolume = head

    def go_to_the_next(_scene, _event):  # as a qMRMLNodeComboBox whose node is removed
        if parameters.inputVolume is head:
            parameters.inputVolume = other

    tag = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, go_to_the_next)
    widget.onApplyButton()
    count = scene.GetNumberOfNodes()
    scene.RemoveNode(head)
    scene.RemoveObserver(tag)
    assert runs[0].log == ["start", "stop"] and not widget.panel.running
    assert "'Head' was removed, so its run was stopped" in widget.ui.statusLabel.text and app.shown == []
    assert parameters.inputVolume is None and scene.GetNumberOfNodes() == count - 1


def test_compare_needs_the_input_of_the_result(widget, app, scene, head):
    result = node_of(scene, make_phantom(), "Head refaced")
    mrml.set_provenance(result, report_of(result))
    result.SetNodeReferenceID(results.INPUT_ROLE, head.GetID())
    widget._parameterNode.resultVolume = result
    assert widget.ui.compareButton.enabled
    scene.RemoveNode(head)
    assert not widget.ui.compareButton.enabled and widget.ui.saveButton.enabled


# ---- several runs ----


def test_a_run_that_is_started_meanwhile_waits_for_its_turn(widget, app, scene, head, runs):
    other = node_of(scene, make_phantom(), "Other")
    widget._parameterNode.inputVolume = head
    widget.onApplyButton()
    assert widget.ui.applyButton.enabled and "after the run" in widget.ui.applyButton.toolTip
    widget._parameterNode.inputVolume = other
    widget.onApplyButton()
    assert [run.log for run in runs] == [["start"], []]
    assert (widget.panel.turn(head), widget.panel.turn(other)) == (0, 1)
    widget.ui.cancelButton.emit("clicked()")
    runs[0].steps = []
    widget.panel.poll()
    assert [run.log for run in runs] == [["start", "cancel"], ["start"]] and widget.panel.turn(other) == 0
    scene.Clear()
    assert runs[1].log == ["start", "stop"] and not widget.panel.running


def test_a_run_that_waits_is_forgotten_with_its_input(widget, scene, head, runs):
    other = node_of(scene, make_phantom(), "Other")
    for volume in (head, other):
        widget._parameterNode.inputVolume = volume
        widget.onApplyButton()
    scene.RemoveNode(other)
    runs[0].steps = []
    widget.panel.poll()
    assert runs[1].log == [] and not widget.panel.running


# ---- words ----


def test_what_was_found_is_said_before_anything_is_made(widget, scene, head, runs):
    widget._parameterNode.inputVolume = head
    widget.onApplyButton()
    for said, words in (("defaced head found", "a defaced head was found"), ("whole head found", "a whole head")):
        runs[0].on_progress(0.3, said)
        assert words in widget.ui.statusLabel.text and words in widget.ui.personTable.item(0, 0).toolTip()
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


def test_no_stage_of_a_child_is_shown_as_it_is_called_there(reface):
    raw = ("load", "drawing", "embedding", "compare", "reference", "3 of 4", *FOUND.values())
    assert not set(raw) & {job.stage_title(stage) for stage in raw}


def test_the_comparison_of_faces_has_one_name(tmp_path, head):
    nodes = results.RefaceNodes(head)
    request = results.make_request(nodes, candidates=2)
    steps = job.RefaceFiles(request, tmp_path, fake_judge()).steps
    assert [step.stage for step in steps] == [None, None, "compare", "draw"]


def test_the_seed_of_the_face_that_was_kept_goes_into_its_box(widget, scene, head, runs):
    widget._parameterNode.inputVolume, widget._parameterNode.seed, widget._parameterNode.candidates = head, 4, 3
    widget.onApplyButton()
    runs[0].on_done(results.RefaceResultNodes(head, None, [], [], {"seed": 6, "candidates": {"seeds": [4, 5, 6]}}))
    assert widget._parameterNode.seed == 6


def test_no_error_that_reaches_the_window_speaks_of_options_of_the_command_line():
    folder = REPOSITORY / "Reface" / "RefaceLib"
    rooms = ("common", "volume", "networks", "head", "face", "skin", "dicom", "window")
    paths = [*folder.glob("*.py"), *(path for room in rooms for path in (folder / room).glob("*.py"))]
    raised = [
        (path.name, text.value)
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and path.name != "shell.py"  # which reads the command line
        for text in ast.walk(node)
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and re.search(r"--\w", text.value)
    ]
    assert raised == []


# ---- one frame of many ----


def test_a_frame_of_a_sequence_is_refused_because_the_others_would_keep_the_face(reface, widget, scene, head):
    browser = scene.AddNode(slicer.vtkMRMLSequenceBrowserNode())
    sequence = scene.AddNode(slicer.vtkMRMLSequenceNode())
    sequence.SetDataNodeAtValue(head, "0")
    browser.AddProxyNode(head, sequence, False)
    other = node_of(scene, make_phantom(), "Other")
    for volumes in ((head,), (other, None, [head])):
        with pytest.raises(InputError, match="'Head' is one frame of a sequence, and all others would keep the face"):
            start(reface.RefaceLogic(), *volumes)
    with pytest.raises(OutputError, match="one frame of a sequence"):
        start(reface.RefaceLogic(), other, head)
    widget._parameterNode.inputVolume = head
    assert not widget.ui.applyButton.enabled and "one frame of a sequence" in widget.ui.applyButton.toolTip


def start(logic, volume, output=None, others=()):
    nothing = dict.fromkeys(("onProgress", "onDone", "onFailed"), lambda *_told: None)
    return logic.createRunner(volume, output, otherVolumes=others, **nothing)
