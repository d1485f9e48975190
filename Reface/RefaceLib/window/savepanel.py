"""The buttons that save a result: for sharing, or one thing of it alone; and the warning of patient tags above it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from RefaceLib.window import export, hierarchy, sharedialog, slicerui
from RefaceLib.window.slicerui import translator

_ = translator(__name__)


class SavePanel:
    """Saves the result that is set; the buttons are enabled while there is one.

    :param shareButton: QPushButton that opens the dialog of sharedialog
    :param dialogFile: path of that dialog's .ui file
    :param single: QPushButtons for the volume, the DICOM series and the report, each alone
    :param warningLabel: QLabel for the warning of patient tags, hidden without one
    :param told: called with what was saved and left out
    :param requirements: file of the pip requirements without which no header can be de-identified
    """

    def __init__(
        self,
        shareButton: Any,
        dialogFile: str,
        single: Sequence[Any],
        warningLabel: Any,
        told: Callable[[str], None],
        requirements: str,
    ):
        self._result: Any = None
        self._buttons = (shareButton, *single)
        self._dialogFile, self._warning, self._told = dialogFile, warningLabel, told
        self._requirements = requirements
        slots = (self.onShare, self.onVolume, self.onDicom, self.onReport)
        for button, slot in zip(self._buttons, slots, strict=True):
            button.connect("clicked()", slot)

    def setResult(self, result: Any) -> None:
        """Offer to save this result; None where there is none."""
        self._result = result
        for button in self._buttons:
            button.setEnabled(result is not None)
        warning = hierarchy.patient_tags_warning(result) if result is not None else None
        self._warning.setText(warning or "")
        self._warning.setVisible(bool(warning))

    def onShare(self) -> None:
        import slicer

        with slicer.util.tryWithErrorDisplay(_("Nothing was saved."), waitCursor=False):
            slicerui.ensure_packages("Reface", self._requirements)  # a loaded scene may hold the first result here
            text = sharedialog.ask_and_share(self._dialogFile, self._result)
            if text:
                self._told(text)

    def onVolume(self) -> None:
        self._save(_("Save the result"), export.save_file, ".nii.gz", export.FILE_FILTERS)

    def onReport(self) -> None:
        self._save(_("Save the report"), export.save_report, ".json", ["JSON (*.json)"])

    def onDicom(self) -> None:
        self._save(_("Choose an empty folder for the DICOM series"), export.save_dicom)

    def _save(
        self, title: str, write: Callable[[Any, str], None], ending: str | None = None, filters: Sequence[str] = ()
    ) -> None:
        """Ask for a file (or a folder, where there is no ending), and let `write` write the result there."""
        import slicer

        with slicer.util.tryWithErrorDisplay(_("Nothing was saved."), waitCursor=False):
            name = self._result.GetName() + (ending or "")
            path = slicerui.ask_for_path(title, name if ending else None, filters)
            if path:
                slicerui.ensure_packages("Reface", self._requirements)
                write(self._result, path)
                self._told(_("Saved: {name}").format(name=slicerui.short_name(path)))
