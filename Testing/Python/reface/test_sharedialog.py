"""The window's part of Save for sharing, on real nodes and with stand-ins for the widgets of the dialog's .ui file."""

from __future__ import annotations

import sys
import types
import xml.etree.ElementTree as ET
from unittest import mock

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface import hospital  # noqa: E402  (needs slicer)
from helpers.reface.fixtures import *  # noqa: E402, F403
from helpers.uifiles import NO_CONTROLS, FakeWidget, read_ui, ui_path  # noqa: E402
from RefaceLib.window import hierarchy, sharedialog  # noqa: E402

DIALOG = ui_path("Reface").with_name("SaveForSharing.ui")
LONG = "AX_T1_MPRAGE_" + "VERY_LONG_" * 20 + "DOE_JANE"


class FakeItem:
    def __init__(self, text):
        self.text, self.state = text, 0

    def setText(self, text):
        self.text = text

    def setCheckState(self, state):
        self.state = state

    def checkState(self):
        return self.state


class FakeList(FakeWidget):
    def addItem(self, text):
        self.items.append(FakeItem(text))

    def item(self, row):
        return self.items[row]

    def blockSignals(self, _blocked):
        pass


@pytest.fixture(name="opened_dialog")
def opened_dialog_fixture(reface, app):
    """Opens the dialog for a result; its widgets are stand-ins."""
    widgets = read_ui(DIALOG)
    ui = types.SimpleNamespace(
        **{name: (FakeList if each.kind == "QListWidget" else FakeWidget)(each) for name, each in widgets.items()}
    )
    ui.filesCheckBox.checked, ui.sceneCheckBox.checked, ui.dicomCheckBox.checked = True, False, False
    with (
        mock.patch.object(slicer.util, "childWidgetVariables", lambda _widget: ui),
        mock.patch.object(slicer.util, "mainWindow", lambda: None, create=True),
    ):
        sys.modules["qt"].QDialog.return_value.reset_mock()
        yield lambda result: sharedialog.ShareDialog(str(DIALOG), result)


@pytest.fixture(name="done")
def done_fixture(scene):
    scan, other = hospital.scan(scene, LONG), hospital.scan(scene, "T2 of Doe")
    hospital.admit(scene, scan, other)
    hospital.refaced(scan)
    return hospital.refaced(scan, other)


def test_the_latest_results_are_ticked_and_named(opened_dialog, done):
    ui = opened_dialog(done.volume).ui
    assert [bool(item.state) for item in ui.resultsListWidget.items] == [True, False, True]
    texts = [item.text for item in ui.resultsListWidget.items]
    assert "sub-01_T1w_refaced" in texts[0] and "shared as" not in texts[1] and "sub-01_T2w_defaced" in texts[2]
    assert max(map(len, texts)) < 90
    ui.labelLineEdit.text = "p7"
    ui.labelLineEdit.emit("textChanged(QString)", "p7")
    assert "p7_T1w_refaced" in ui.resultsListWidget.items[0].text
    assert "Original volumes: AX_T1" in ui.leftOutBrowser.plainText
    ui.resultsListWidget.items[2].state = 0
    ui.resultsListWidget.emit("itemChanged(QListWidgetItem*)", None)
    assert "T2 of Doe defaced" in ui.leftOutBrowser.plainText


def test_what_is_ticked_is_saved_and_told_of(opened_dialog, app, done, tmp_path):
    dialog = opened_dialog(done.volume)
    dialog.ui.folderLineEdit.text = f" {tmp_path / 'out'}"
    dialog.ui.sceneCheckBox.checked = True
    dialog.ui.saveButton.emit("clicked()")
    assert app.shown == [] and dialog.widget.accept.called
    assert "Left out:\nOriginal volumes: 2" in dialog.done and "Doe" not in dialog.done
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"sub-01.mrb", "sub-01_T2w_defaced.nii.gz"}


def test_what_is_wrong_is_told_and_the_dialog_stays(opened_dialog, app, done, tmp_path):
    dialog = opened_dialog(done.volume)
    dialog.ui.folderLineEdit.text = ""
    dialog.onSave()
    dialog.ui.folderLineEdit.text, dialog.ui.labelLineEdit.text = str(tmp_path / "out"), "Jane_Doe"
    dialog.onSave()
    assert "No folder is chosen" in app.shown[0] and "patient's name" in app.shown[1]
    assert not dialog.widget.accept.called and dialog.done == ""


def test_a_folder_is_chosen(opened_dialog, done):
    dialog = opened_dialog(done.volume)
    with mock.patch.object(sharedialog.slicerui, "ask_for_path", return_value="/somewhere"):
        dialog.ui.folderButton.emit("clicked()")
    assert dialog.ui.folderLineEdit.text == "/somewhere"


def test_every_control_explains_itself_and_has_a_key():
    widgets = read_ui(DIALOG)
    controls = [each for each in widgets.values() if each.kind not in NO_CONTROLS]
    assert [each.name for each in controls if not each.tooltip] == []
    text = DIALOG.read_text(encoding="utf-8")
    keys = [part[0].lower() for part in text.split("&amp;")[1:]]
    assert len(set(keys)) == len(keys) == 8


# ---- in the window ----


@pytest.fixture(name="shown")
def shown_fixture(widget, done):
    widget._parameterNode.resultVolume = done.volume
    return widget


def test_the_button_opens_the_dialog_and_tells_what_was_left_out(shown, app):
    assert shown.ui.shareButton.enabled and not shown.ui.warningLabel.visible
    with mock.patch.object(sharedialog, "ask_and_share", return_value="Saved. Left out: much"):
        shown.ui.shareButton.emit("clicked()")
    assert shown.ui.statusLabel.text == "Saved. Left out: much"
    (module, requirements), _options = app.packages.call_args
    assert module == "Reface" and requirements.endswith("requirements_Reface.txt")
    with mock.patch.object(sharedialog, "ask_and_share", return_value=""):
        shown.ui.shareButton.emit("clicked()")
    assert shown.ui.statusLabel.text == "Saved. Left out: much"


@pytest.mark.parametrize(
    ("button", "name"), [("saveButton", "a.nii.gz"), ("reportButton", "a.json"), ("dicomButton", "a")]
)
def test_single_saves_are_still_there(reface, shown, app, tmp_path, button, name):
    with mock.patch.object(reface.slicerui, "ask_for_path", return_value=str(tmp_path / "out" / name)):
        getattr(shown.ui, button).emit("clicked()")
        assert "Nothing was saved" in app.shown.pop()  # there is no such folder
        (tmp_path / "out").mkdir()
        getattr(shown.ui, button).emit("clicked()")
    assert app.shown == [] and (tmp_path / "out" / name).exists()


def test_a_result_that_was_dragged_to_the_patient_is_warned_of_in_the_window_alone(shown, scene, done):
    tree = hierarchy.hierarchy_of(scene)
    tree.SetItemParent(hierarchy.item_of(done.volume), tree.GetItemByName("DOE^JANE^QUENTIN (PID-4711)"))
    shown._showResult()
    assert shown.ui.warningLabel.visible and "PatientName" in shown.ui.warningLabel.text
    assert "PatientName" not in shown.ui.resultLabel.text
    assert "PatientName" not in done.volume.GetAttribute("Reface.Report")


def test_no_long_word_in_a_label_widens_the_panel():
    """A label that wraps is as wide as its longest word, such as the name of a series, unless it may shrink."""
    free = {}
    for each in ET.parse(ui_path("Reface")).iter("widget"):
        if each.get("class") == "QLabel" and each.find("property[@name='wordWrap']") is not None:
            policy = each.find("property[@name='sizePolicy']/sizepolicy")
            free[each.get("name")] = policy is not None and policy.get("hsizetype") == "Ignored"
    assert len(free) > 4 and [name for name, ignored in free.items() if not ignored] == []


def test_cancel_saves_nothing_and_the_dialog_goes(opened_dialog, app, done, tmp_path):
    import qt

    shown = qt.QDialog.return_value
    assert sharedialog.ask_and_share(str(DIALOG), done.volume) == "" and shown.deleteLater.called
    dialog = opened_dialog(done.volume)
    dialog.ui.cancelButton.emit("clicked()")
    assert shown.reject.called and not shown.accept.called and dialog.done == ""
    shown.exec_.side_effect = RuntimeError
    with pytest.raises(RuntimeError):
        sharedialog.ask_and_share(str(DIALOG), done.volume)
    assert shown.deleteLater.call_count == 2
    shown.reset_mock(side_effect=True)
