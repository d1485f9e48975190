"""The dialog of Save for sharing: under what label, which results of the person, in what form, into which folder."""

from __future__ import annotations

from typing import Any

from RefaceLib.common.errors import InputError
from RefaceLib.window import leftout, shared, sharing, slicerui
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

_SIZE = (460, 560)  # pixels


def ask_and_share(path: str, result: Any) -> str:
    """Show the dialog of the .ui file `path` for the results of a person; what was done, empty after Cancel."""
    dialog = ShareDialog(path, result)
    try:
        dialog.widget.exec_()
    finally:
        dialog.widget.deleteLater()
    return dialog.done


class ShareDialog:
    """The dialog and what happens when its controls are used; `done` is said once something was saved."""

    def __init__(self, path: str, result: Any):
        import qt
        import slicer

        self.done = ""
        self._nodes = sharing.results_of_person(result)
        contents = slicer.util.loadUI(path)
        self.ui = slicer.util.childWidgetVariables(contents)
        self.widget = qt.QDialog(slicer.util.mainWindow())
        self.widget.setWindowTitle(_("Save for sharing"))
        qt.QVBoxLayout(self.widget).addWidget(contents)
        self.widget.resize(*_SIZE)
        self.ui.saveButton.setDefault(True)
        self._addResults(sharing.latest_results(result))
        self.ui.labelLineEdit.text = shared.DEFAULT_LABEL
        self.ui.labelLineEdit.connect("textChanged(QString)", lambda _text: self.refresh())
        self.ui.resultsListWidget.connect("itemChanged(QListWidgetItem*)", lambda _item: self.refresh())
        self.ui.folderButton.connect("clicked()", self.onFolder)
        self.ui.saveButton.connect("clicked()", self.onSave)
        self.ui.cancelButton.connect("clicked()", self.onCancel)
        self.refresh()

    def checked(self) -> list[Any]:
        """The results that are ticked."""
        import qt

        rows = enumerate(self._nodes)
        return [node for row, node in rows if self.ui.resultsListWidget.item(row).checkState() == qt.Qt.Checked]

    def refresh(self) -> None:
        """Show what each result will be called, and what will be left out."""
        ticked, label = self.checked(), self.ui.labelLineEdit.text
        names = dict(zip(ticked, shared.shared_names(ticked, label), strict=True))
        listed = self.ui.resultsListWidget
        listed.blockSignals(True)  # a new text is a change, too
        for row, node in enumerate(self._nodes):
            name = slicerui.short_name(node.GetName())
            text = _("{name}: shared as {shared}").format(name=name, shared=names.get(node, ""))
            listed.item(row).setText(text if node in names else name)
        listed.blockSignals(False)
        gone = leftout.left_out(self._nodes[0].GetScene(), ticked)
        self.ui.leftOutBrowser.plainText = leftout.text_with_names(gone)

    def onFolder(self) -> None:
        folder = slicerui.ask_for_path(_("Choose an empty folder, or make a new one"))
        if folder:
            self.ui.folderLineEdit.text = folder

    def onCancel(self) -> None:
        self.widget.reject()

    def onSave(self) -> None:
        import slicer

        with slicer.util.tryWithErrorDisplay(_("Nothing was saved."), waitCursor=True):
            folder = self.ui.folderLineEdit.text.strip()
            if not folder:
                raise InputError(_("No folder is chosen: choose an empty one."))
            ui = self.ui
            ways = sharing.Ways(ui.filesCheckBox.checked, ui.sceneCheckBox.checked, ui.dicomCheckBox.checked)
            gone = sharing.share(self.checked(), folder, ui.labelLineEdit.text.strip(), ways)
            text = _("Saved for sharing in {folder}. Left out:\n{things}")
            things = leftout.text_with_numbers(gone) or _("nothing")
            self.done = text.format(folder=slicerui.short_name(folder), things=things)
            self.widget.accept()

    def _addResults(self, ticked: list[Any]) -> None:
        import qt

        for row, node in enumerate(self._nodes):
            self.ui.resultsListWidget.addItem(node.GetName())
            state = qt.Qt.Checked if node in ticked else qt.Qt.Unchecked
            self.ui.resultsListWidget.item(row).setCheckState(state)
