"""What both windows share: packages that are missing, the words for stages and times, and showing a run."""

from __future__ import annotations

import importlib.util
import sys
import types
from unittest import mock

import pytest

from RefaceLib.common.errors import OutputError, RefaceError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.slicer_stubs import application_modules  # noqa: E402
from helpers.uifiles import FakeWidget, Widget  # noqa: E402
from helpers.windows import ScriptedRun  # noqa: E402
from RefaceLib.window import job, slicerui  # noqa: E402  (its functions need slicer)


@pytest.fixture(autouse=True)
def application():
    """Stand-ins for qt and slicer.i18n, and for what shows errors: their texts."""
    shown = []
    with (
        mock.patch.dict(sys.modules, application_modules()),
        mock.patch.object(slicer.util, "errorDisplay", shown.append),
    ):
        yield shown


# ---- packages ----


@pytest.fixture
def packaging(monkeypatch):
    """slicer.packaging, which remembers what it was to install."""
    made = types.SimpleNamespace(load_requirements=lambda path: [str(path)], pip_ensure=mock.Mock())
    monkeypatch.setitem(sys.modules, "slicer.packaging", made)
    return made


@pytest.fixture
def no_torch(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))


def pytorch(monkeypatch, **install):
    logic = types.SimpleNamespace(installTorch=mock.Mock(**install))
    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=lambda: logic))
    return logic.installTorch


def test_packages_are_asked_for_in_the_name_of_the_module(packaging):
    slicerui.ensure_dependencies("Reface", "a.txt", "b.txt")
    assert packaging.pip_ensure.call_args_list == [
        mock.call(["a.txt"], requester="Reface"),
        mock.call(["b.txt"], requester="Reface"),
    ]


@pytest.mark.parametrize("error", [RuntimeError("declined"), OSError("offline")])
def test_packages_that_are_refused_or_cannot_be_fetched_are_told_of(packaging, error):
    packaging.pip_ensure.side_effect = error
    with pytest.raises(RefaceError, match="Reface needs packages that were not installed.*internet"):
        slicerui.ensure_dependencies("Reface", "a.txt")


def test_torch_comes_from_the_pytorch_extension(packaging, no_torch, monkeypatch):
    install = pytorch(monkeypatch, return_value=object())
    slicerui.ensure_dependencies("Reface", "a.txt")
    install.assert_called_once_with(askConfirmation=True, torchVersionRequirement=slicerui.TORCH_REQUIREMENT)
    assert packaging.pip_ensure.called


@pytest.mark.parametrize("install", [{"return_value": None}, {"side_effect": OSError("offline")}])
def test_torch_that_is_not_installed_is_told_of(packaging, no_torch, monkeypatch, install):
    pytorch(monkeypatch, **install)
    with pytest.raises(RefaceError, match="needs PyTorch, which was not installed"):
        slicerui.ensure_dependencies("Reface", "a.txt")
    assert not packaging.pip_ensure.called


def test_what_needs_no_torch_asks_for_none(packaging, no_torch, monkeypatch):
    install = pytorch(monkeypatch, return_value=object())
    slicerui.ensure_packages("Reface", "a.txt")
    assert packaging.pip_ensure.called and not install.called


def test_a_missing_pytorch_extension_is_told_of(packaging, no_torch, monkeypatch):
    monkeypatch.setitem(sys.modules, "PyTorchUtils", None)
    with pytest.raises(RefaceError, match="needs the PyTorch extension: install it in the Extensions Manager"):
        slicerui.ensure_dependencies("Reface", "a.txt")


def test_slicers_python_is_found_in_its_home(tmp_path, monkeypatch):
    python = tmp_path / "bin" / "PythonSlicer"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    monkeypatch.setattr(slicer, "app", types.SimpleNamespace(slicerHome=str(tmp_path)), raising=False)
    assert slicerui.python_executable() == str(python)
    python.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slicerui.python_executable() == sys.executable


# ---- words ----


def test_times_are_told_in_seconds_and_minutes():
    assert slicerui.time_text(None) == ""
    assert slicerui.time_text(0.2) == "about 1 s left"
    assert slicerui.time_text(150) == "about 2 min left"


def test_stages_have_names_and_unknown_ones_are_not_shown_raw():
    assert job.stage_title("generate") == "making the new face"
    assert job.stage_title("something else") == "working"


# ---- paths ----


KINDS = ("NIfTI (*.nii.gz *.nii)", "NRRD (*.nrrd)")


@pytest.mark.parametrize(
    ("name", "kind", "filters", "path"),
    [
        ("report", "JSON (*.json)", ["JSON (*.json)"], "report.json"),
        ("report.json", "JSON (*.json)", ["JSON (*.json)"], "report.json"),
        ("v1.2", KINDS[0], KINDS, "v1.2.nii.gz"),
        ("head", KINDS[1], KINDS, "head.nrrd"),
        ("head.NII", KINDS[0], KINDS, "head.NII"),
        ("head", "", KINDS, "head.nii.gz"),
    ],
)
def test_a_name_without_an_ending_gets_that_of_the_chosen_kind(tmp_path, name, kind, filters, path):
    assert slicerui.with_ending(str(tmp_path / name), kind, filters) == str(tmp_path / path)


def test_a_longer_name_that_is_there_already_is_not_overwritten(tmp_path):
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(OutputError, match="report.json exists already"):
        slicerui.with_ending(str(tmp_path / "report"), "JSON (*.json)", ["JSON (*.json)"])


def test_the_dialog_tells_the_kind(application):
    import qt

    dialog = qt.QFileDialog.return_value
    dialog.exec_.return_value, dialog.selectedFiles.return_value = 1, ["/new/head"]
    dialog.selectedNameFilter.return_value = KINDS[1]
    with mock.patch.object(slicer.util, "mainWindow", create=True):
        assert slicerui.ask_for_path("Save", "a/b.nii.gz", KINDS) == "/new/head.nrrd"
        assert qt.QFileDialog.call_args.args[2] == "a_b.nii.gz"
        dialog.exec_.return_value = 0
        assert slicerui.ask_for_path("Save", "b.nii.gz", KINDS) == ""


# ---- the run ----


@pytest.fixture
def panel():
    widgets = [FakeWidget(Widget(name, "", "", None)) for name in ("bar", "label", "cancel")]
    made = slicerui.RunPanel(*widgets, mock.Mock(), job.stage_title)
    made.widgets = types.SimpleNamespace(bar=widgets[0], label=widgets[1], cancel=widgets[2])
    return made


def test_a_run_shows_stage_and_share(panel):
    panel.run(ScriptedRun(lambda: panel.show(0.25, "generate"), None))
    assert panel.running and panel.widgets.cancel.enabled and panel.widgets.bar.visible
    panel.poll()
    assert (panel.widgets.bar.value, panel.widgets.label.text) == (25, "making the new face")
    panel.poll()
    assert not panel.running and not panel.widgets.cancel.enabled and not panel.widgets.bar.visible
    assert panel._onRunning.call_args_list == [mock.call(True), mock.call(False)]


def test_runs_take_turns(panel):
    first, second = ScriptedRun(None, None), ScriptedRun(None, None)
    panel.run(first, ["a", "b"])
    panel.run(second, ["b", "c"])
    assert (first.log, second.log) == (["start"], []) and [panel.turn(each) for each in "abcd"] == [0, 0, 1, None]
    panel.show(0.5, "generate")
    assert panel.widgets.label.text == "making the new face - 1 waiting"
    panel.poll()
    panel.poll()
    assert second.log == ["start"] and panel.running and panel.widgets.bar.visible and panel.widgets.cancel.enabled


def test_a_run_that_cannot_start_when_its_turn_comes_is_told_of_and_the_next_one_starts(panel, application):
    last = ScriptedRun(None, None)
    panel.run(ScriptedRun())
    panel.run(mock.Mock(start=mock.Mock(side_effect=RefaceError("No space."))))
    panel.run(last)
    panel.poll()
    assert application == ["No space."] and last.log == ["start"] and panel.running


def test_stop_ends_the_runs_that_wait_too(panel):
    first, second = ScriptedRun(None, None), ScriptedRun(None, None)
    panel.run(first)
    panel.run(second)
    panel.stop()
    assert (first.log, second.log) == (["start", "stop"], []) and not panel.running


def test_cancel_is_passed_on_once(panel):
    run = ScriptedRun(None, None)
    panel.run(run)
    panel.widgets.cancel.emit("clicked()")
    assert run.log == ["start", "cancel"] and not panel.widgets.cancel.enabled


def test_stop_ends_a_run_at_once(panel):
    run = ScriptedRun(None, None)
    panel.run(run)
    panel.stop()
    assert run.log == ["start", "stop"] and not panel.running


@pytest.mark.parametrize(
    ("error", "words"), [(RefaceError("It is gone."), "It is gone."), (ValueError("x"), "could not be shown")]
)
def test_an_error_at_the_end_is_told_and_ends_the_run(panel, application, error, words):
    run = ScriptedRun(mock.Mock(side_effect=error), None)
    panel.run(run)
    panel.poll()
    assert not panel.running and run.log == ["start", "stop"]
    assert len(application) == 1 and words in application[0]


# ---- labels ----


def test_a_panel_gets_the_height_of_its_texts_unless_it_has_gone(monkeypatch):
    waiting = []
    monkeypatch.setattr(slicerui, "once_idle", waiting.append)
    panel, label, when_idle = mock.Mock(width=300), mock.Mock(), slicerui.WhenIdle()
    panel.heightForWidth.return_value = 512
    labels = slicerui.Labels(panel, when_idle)
    labels.write(label, "a text of several lines")
    label.setText.assert_called_once_with("a text of several lines")
    waiting.pop()()
    panel.setMinimumHeight.assert_called_once_with(512)
    labels.write(label, "another")
    when_idle.close()  # as at the end of the application, where the widgets are destroyed before what waits is called
    waiting.pop()()
    panel.setMinimumHeight.assert_called_once_with(512)
