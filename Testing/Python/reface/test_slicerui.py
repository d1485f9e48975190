"""What both windows share: packages that are missing, the words for stages and times, and showing a run."""

from __future__ import annotations

import importlib.util
import sys
import types
from unittest import mock

import pytest

from RefaceLib.common.errors import RefaceError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.slicer_stubs import application_modules  # noqa: E402
from helpers.uifiles import FakeWidget, Widget  # noqa: E402
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


def test_stages_have_names_and_unknown_ones_stay():
    assert job.stage_title("generate") == "making the new face"
    assert job.stage_title("something else") == "something else"


# ---- the run ----


class ScriptedRun:
    """A run of which the test says how it goes on."""

    def __init__(self, *steps):
        self.steps, self.log = list(steps), []

    def start(self):
        self.log.append("start")

    def poll(self):
        step = self.steps.pop(0) if self.steps else None
        if callable(step):
            step()
        return bool(self.steps)

    def cancel(self):
        self.log.append("cancel")

    def stop(self):
        self.log.append("stop")


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


def test_only_one_run_at_a_time(panel):
    panel.run(ScriptedRun(None, None))
    with pytest.raises(RefaceError, match="under way"):
        panel.run(ScriptedRun())


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
