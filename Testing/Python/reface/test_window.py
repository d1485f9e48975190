"""The window of Reface with real child processes: what can be chosen, and how a run goes and ends."""

from __future__ import annotations

import ast
import re
import time
from unittest import mock

import numpy as np
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
from helpers.scenes import add_views, volume_node  # noqa: E402
from helpers.windows import wait  # noqa: E402
from RefaceLib.window import comparison, job, mrml, results  # noqa: E402
from RefaceLib.window.masks import MASK_ROLE  # noqa: E402
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


def test_a_folder_without_weights_is_named_and_nothing_can_be_applied(widget, head, tmp_path):
    widget._parameterNode.inputVolume = head
    for folder, problem in (("/nonexistent", "There is no folder"), (str(tmp_path), "no weights of Reface")):
        widget.ui.modelsPathLineEdit.type(folder)
        assert widget._parameterNode.models == folder
        for text in (widget.ui.modelInfoLabel.text, widget.ui.applyButton.toolTip):
            assert problem in text and folder in text
        assert not widget.ui.applyButton.enabled


def test_a_folder_without_weights_fails_the_run_in_one_sentence(reface, app, head, tmp_path):
    with pytest.raises(RefaceError, match="holds no weights of Reface") as error:
        reface.RefaceLogic().process(head, models=str(tmp_path))
    assert_one_sentence(error)


def test_a_run_in_the_window_ends_in_a_result(widget, app, head):
    widget._parameterNode.inputVolume = head
    widget.ui.applyButton.emit("clicked()")
    assert widget.panel.running and widget.ui.cancelButton.enabled
    assert widget.ui.personTable.texts() == [["Head", "", "new face", "under way", ""]]
    wait(widget)
    assert app.shown == [] and app.ensured.call_args.args[0] == "Reface"
    result = widget._parameterNode.resultVolume
    assert result.GetName() == "Head refaced"
    assert widget.ui.personTable.texts() == [["Head", "", "new face", "warned", "100 %"]]
    text = widget.ui.resultLabel.text
    for words in ("Head refaced", "of the brain: 0", "ml", "fake 1 (00), seed 0", "A warning."):
        assert words in text
    buttons = (
        "applyButton",
        "compareButton",
        "compareSlider",
        "maskCheckBox",
        "saveButton",
        "dicomButton",
        "reportButton",
    )
    for name in buttons:
        assert getattr(widget.ui, name).enabled, name
    assert not widget.ui.cancelButton.enabled


def run(widget, head, **parameters):
    """Apply in the window, to its end; the result."""
    widget._parameterNode.inputVolume = head
    for name, value in parameters.items():
        setattr(widget._parameterNode, name, value)
    widget.ui.applyButton.emit("clicked()")
    wait(widget)
    return widget._parameterNode.resultVolume


def shown(scene):
    """The names of the skins that the 3D views show."""
    models = [
        scene.GetNthNodeByClass(index, "vtkMRMLModelNode")
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLModelNode"))
    ]
    return [model.GetName() for model in models if model.GetDisplayVisibility()]


def test_after_a_run_both_heads_are_shown_and_no_earlier_one(widget, app, scene, head):
    add_views(scene)
    for seed, name in ((1, "Head refaced"), (2, "Head refaced_1")):
        result = run(widget, head, seed=seed)
        assert shown(scene) == ["Head face", f"{name} face"] and app.shown == []
        assert widget.ui.compareLabel.text == f"Left: Head. Right: {name}."
        composite = scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode")
        assert (composite.GetBackgroundVolumeID(), composite.GetForegroundVolumeID()) == (head.GetID(), result.GetID())
        widget.ui.compareSlider.emit("valueChanged(int)", 25)
        assert composite.GetForegroundOpacity() == 0.25


def test_a_result_of_a_result_is_compared_with_that_result(widget, scene, head):
    add_views(scene)
    defaced = run(widget, head, mode=Mode.DEFACE)
    recovered = run(widget, defaced, mode=Mode.RECOVER)
    assert shown(scene) == ["Head defaced face", "Head defaced with a face face"]
    assert widget.ui.compareLabel.text == f"Left: Head defaced. Right: {recovered.GetName()}."


def test_result_and_views_go_with_the_input(widget, app, scene, head):
    """The panel named one person's heads, and the views showed another's."""
    add_views(scene)
    other = node_of(scene, make_phantom(), "Other")
    first, second = run(widget, head), run(widget, other)
    parameters = widget._parameterNode
    for source, result in ((head, first), (other, second)):
        parameters.inputVolume = source
        assert parameters.resultVolume is result and source.GetName() in widget.ui.compareLabel.text
        assert shown(scene) == [f"{source.GetName()} face", f"{source.GetName()} refaced face"]
    scene.GetFirstNodeByClass("vtkMRMLLayoutNode").SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    parameters.resultVolume = first
    assert shown(scene) == []  # the user has other views: they stay, without the wrong face
    parameters.inputVolume = node_of(scene, make_phantom(), "New")
    assert parameters.resultVolume is None and widget.ui.resultLabel.text == "No result yet."


def test_a_result_that_shows_no_skin_is_ready_all_the_same(widget, app, scene, head):
    slicer.util.arrayFromVolume(head)[:] = 0
    run(widget, head)
    assert app.shown == [] and shown(scene) == []
    assert widget.ui.statusLabel.text.startswith("'Head refaced' is ready. The volume has one value")


def test_a_run_that_ends_while_the_user_is_elsewhere_leaves_the_views_alone(widget, app, scene, head):
    add_views(scene)
    widget._parameterNode.inputVolume = head
    widget.ui.applyButton.emit("clicked()")
    widget.exit()
    wait(widget)
    assert widget.ui.statusLabel.text == "'Head refaced' is ready." and app.shown == shown(scene) == []
    assert scene.GetFirstNodeByClass("vtkMRMLSliceCompositeNode").GetForegroundVolumeID() is None
    widget.enter()
    widget.ui.compareButton.emit("clicked()")
    assert shown(scene) == ["Head face", "Head refaced face"]


def test_no_head_is_shown_that_was_removed(widget, app, scene, head):
    add_views(scene)
    result = run(widget, head)
    scene.RemoveNode(head)
    assert shown(scene) == ["Head refaced face"]
    assert not widget.ui.compareButton.enabled and widget.ui.compareLabel.text == ""
    widget.ui.compareSlider.emit("valueChanged(int)", 10)
    widget.ui.compareButton.emit("clicked()")
    assert len(app.shown) == 1 and "was removed" in app.shown[0]
    scene.RemoveNode(result)
    assert shown(scene) == []


def test_a_volume_that_is_being_removed_is_neither_a_result_nor_compared(widget, scene, head):
    """In the event of its removal the references of the application still lead to it."""
    result = run(widget, head)
    gone = slicer.vtkMRMLScalarVolumeNode()
    widget.comparison.setPair(gone, result)
    assert not widget.ui.compareButton.enabled
    with mock.patch.object(type(widget._parameterNode), "resultVolume", gone):
        assert widget.resultVolume is None


def test_the_tick_shows_the_outline_of_the_mask_and_compare_takes_it_away(widget, scene, head):
    mask = run(widget, head).GetNodeReference(MASK_ROLE)
    segment, display = mrml.mask_segment(mask), mask.GetDisplayNode()
    assert not display.GetSegmentVisibility(segment)
    widget.ui.maskCheckBox.emit("toggled(bool)", True)
    assert display.GetSegmentVisibility(segment) and not display.GetSegmentVisibility2DFill(segment)
    widget.ui.compareButton.emit("clicked()")
    assert not display.GetSegmentVisibility(segment) and widget.ui.maskCheckBox.checked is False


def test_keys_go_to_before_and_after_while_the_module_is_shown(widget, app, head, monkeypatch):
    import qt

    keys = {}

    def shortcut(key, _window):
        keys[key] = made = mock.Mock()
        return made

    monkeypatch.setattr(qt, "QKeySequence", lambda key: key)
    monkeypatch.setattr(qt, "QShortcut", shortcut)
    monkeypatch.setattr(slicer.util, "mainWindow", mock.Mock)
    widget.enter()
    assert sorted(keys) == sorted([comparison.BEFORE_KEY, comparison.AFTER_KEY])
    for key, value in ((comparison.BEFORE_KEY, 0), (comparison.AFTER_KEY, 100)):
        signal, slot = keys[key].connect.call_args.args
        slot()
        assert (signal, widget.ui.compareSlider.value) == ("activated()", value)
    widget.exit()
    assert all(made.deleteLater.called for made in keys.values())


@pytest.mark.parametrize(("both", "views"), [(True, 2), (False, 1)])
def test_a_turntable_films_both_heads_or_the_result_alone(widget, app, scene, head, monkeypatch, tmp_path, both, views):
    add_views(scene)
    run(widget, head)
    film = mock.Mock(side_effect=lambda *_arguments, progress, cancelled: progress(0.5, "turning") or cancelled())
    monkeypatch.setattr(comparison.turntable, "film", film)
    dialog = mock.Mock(wasCanceled=False)
    monkeypatch.setattr(slicer.util, "createProgressDialog", lambda **_options: dialog, raising=False)
    monkeypatch.setattr(slicer.app, "processEvents", mock.Mock(), raising=False)
    monkeypatch.setattr(widget.comparison, "_capture", mock.sentinel.module)
    monkeypatch.setattr(comparison.slicerui, "confirm", lambda question: both)
    monkeypatch.setattr(comparison.slicerui, "ask_for_path", lambda title: str(tmp_path))
    widget.ui.turntableButton.emit("clicked()")
    module, filmed, folder = film.call_args.args
    assert (module, folder) == (mock.sentinel.module, tmp_path)
    assert [view.GetLayoutName() for view in filmed] == ["1", "2"][-views:] and app.shown == []
    assert (dialog.value, dialog.labelText) == (50, "turning") and dialog.close.called


def test_without_screen_capture_the_turntable_says_why_not(widget, head):
    run(widget, head)
    assert not widget.ui.turntableButton.enabled and "Screen Capture" in widget.ui.turntableButton.toolTip


@pytest.mark.parametrize("agreed", [False, True])
def test_an_original_is_overwritten_only_where_the_user_agrees(widget, app, scene, head, monkeypatch, agreed):
    other = volume_node(scene, make_phantom((12, 12, 12), (5.0, 5.0, 5.0), "LPS"), "T2")
    before, asked = other.GetImageData(), []
    monkeypatch.setattr(slicer.util, "confirmYesNoDisplay", lambda text: asked.append(text) or agreed, raising=False)
    result = run(widget, head, outputVolume=other)
    assert len(asked) == 1 and "'T2' is no result" in asked[0]
    assert (other.GetImageData() is before) == (not agreed) and result is (other if agreed else None)
    run(widget, head)
    assert len(asked) == (1 if agreed else 2)  # a result may be made anew


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


def test_closing_the_scene_takes_back_what_was_told_of_its_volumes(widget, scene, head):
    run(widget, head)
    assert "is ready" in widget.ui.statusLabel.text
    scene.Clear()
    assert widget.ui.statusLabel.text == ""


def test_the_slices_are_fitted_once_the_layout_has_given_the_views_their_size(widget, app, scene, head, monkeypatch):
    """Fitted at once, they had the size of the layout before, and the nose was cut off."""
    add_views(scene)
    manager, waiting = mock.MagicMock(name="layoutManager"), []
    monkeypatch.setattr(slicer.app, "layoutManager", lambda: manager)
    monkeypatch.setattr(comparison.slicerui, "once_idle", waiting.append)
    run(widget, head)
    assert app.shown == [] and not manager.resetSliceViews.called
    for function in waiting:
        function()
    assert manager.resetSliceViews.call_count == 1
    assert scene.GetFirstNodeByClass("vtkMRMLSliceNode").GetSliceToRAS().GetElement(2, 3) != 0.0


def test_compare_moves_the_slices_into_the_face_of_another_pair(widget, scene, head, monkeypatch):
    """The other volume lay elsewhere, and its slices were black."""
    add_views(scene)
    waiting = []
    monkeypatch.setattr(comparison.slicerui, "once_idle", waiting.append)
    moved = node_of(scene, make_phantom(), "Elsewhere")
    moved.SetOrigin(*(np.array(moved.GetOrigin()) + (0.0, 0.0, 49.0)))
    made = [run(widget, head), run(widget, moved)]
    heights = []
    for result in made:
        widget._parameterNode.resultVolume = result
        widget.ui.compareButton.emit("clicked()")
        while waiting:
            waiting.pop(0)()
        heights.append(scene.GetFirstNodeByClass("vtkMRMLSliceNode").GetSliceToRAS().GetElement(2, 3))
    assert abs(heights[1] - heights[0] - 49.0) < 10.0


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


def test_no_other_node_takes_the_place_of_one_that_is_removed(widget, app, scene, head):
    """The selectors went on to the next volume, an original, and to the next segmentation."""
    other, output = (node_of(scene, make_phantom(), name) for name in ("Other", "Mine"))
    mask = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mask")
    parameters, raised = widget._parameterNode, []
    parameters.inputVolume, parameters.otherVolumes = head, [other]
    parameters.outputVolume, parameters.maskSegmentation, parameters.resultVolume = output, mask, output

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def go_to_the_next(_scene, _event, removed):  # as a qMRMLNodeComboBox whose node is removed
        if parameters.outputVolume is removed:
            parameters.outputVolume = head

    tag = scene.AddObserver(scene.NodeAboutToBeRemovedEvent, go_to_the_next)
    shown = widget.person.show
    widget.person.show = lambda *given: _noting(raised, shown, *given)
    for node in (other, output, mask):
        scene.RemoveNode(node)
    scene.RemoveObserver(tag)
    assert parameters.outputVolume is parameters.maskSegmentation is parameters.resultVolume is None
    assert parameters.otherVolumes == [] and raised == []


def _noting(raised, function, *given):
    """VTK prints what an observer raises, and goes on."""
    try:
        function(*given)
    except Exception as error:
        raised.append(error)


def test_an_input_that_was_changed_during_its_run_is_told_of_by_its_cause(widget, app, scene, head, monkeypatch):
    show = results.show_answer

    def cropped(nodes, done):
        slicer.util.updateVolumeFromArray(head, np.zeros((5, 5, 5), np.int16))
        return show(nodes, done)

    monkeypatch.setattr(results, "show_answer", cropped)
    run(widget, head)
    assert app.shown == ["'Head' was changed during the run."] == [widget.ui.statusLabel.text]
    assert scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1


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
    widget.onApplyButton()
    widget._parameterNode.inputVolume = node_of(scene, make_phantom(), "Other")
    runs[1].on_done(results.RefaceResultNodes(head, None, [], [], {"seed": 8, "candidates": {"seeds": [6, 7, 8]}}))
    assert widget._parameterNode.seed == 6  # it is for another head by now


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
        if isinstance(text, ast.Constant)
        and isinstance(text.value, str)
        and re.search(r"--\w|\bmode \w+ or\b", text.value)
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
