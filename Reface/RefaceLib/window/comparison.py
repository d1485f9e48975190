"""The controls that show a result beside what it was made of: button, slider, keys, the mask's tick, the turntable.

qt is imported inside functions, as in slicerui.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import slicer

from RefaceLib.common.errors import CancelledError, InputError, RefaceError
from RefaceLib.window import faces, faceviews, masks, skinlight, slicerui, turntable
from RefaceLib.window.slicerui import translator
from RefaceLib.window.waiting import WaitingDialog

_ = translator(__name__)

BEFORE_KEY, AFTER_KEY = ",", "."  # side by side on a keyboard; the views of Slicer use neither


class ComparePanel:
    """Shows one pair of volumes at a time, in the scene of the application.

    :param compareButton: QPushButton that shows the pair
    :param slider: QSlider from 0 (before) to 100 (after) for the slices
    :param label: QLabel that names the pair
    :param maskCheckBox: QCheckBox that shows the outline of the mask
    :param turntableButton: QPushButton that films the pair
    """

    def __init__(self, compareButton: Any, slider: Any, label: Any, maskCheckBox: Any, turntableButton: Any):
        self._button, self._slider, self._label = compareButton, slider, label
        self._mask, self._turntable = maskCheckBox, turntableButton
        maskCheckBox.setChecked(False)
        self._pair: tuple[Any, Any] | None = None
        self._seen: tuple[Any, Any] | None = None  # the pair into whose face the slices were moved
        self._keys: list[Any] = []
        compareButton.connect("clicked()", self.onCompare)
        slider.connect("valueChanged(int)", self.onSlider)
        maskCheckBox.connect("toggled(bool)", self.onMask)
        turntableButton.connect("clicked()", self.onTurntable)
        self._capture = turntable.screen_capture()
        if self._capture is None:
            turntableButton.setToolTip(_("The module Screen Capture, which draws the frames, is not installed."))
        self.setPair(None, None)

    def setPair(self, before: Any, after: Any) -> None:
        """The volume nodes that are compared: a result and what it was made of.

        With None, or a volume that has left the scene, there is nothing to compare.
        """
        there = all(volume is not None and volume.GetScene() is slicer.mrmlScene for volume in (before, after))
        former, self._pair = self._pair, (before, after) if there else None
        if self._pair is not None and self._pair != former:
            self._follow()
        for widget in (self._button, self._slider, self._mask):
            widget.setEnabled(self._pair is not None)
        self._turntable.setEnabled(self._pair is not None and self._capture is not None)
        text = _("Left: {before}. Right: {after}.")
        self._label.setText(
            text.format(before=slicerui.short_name(before.GetName()), after=slicerui.short_name(after.GetName()))
            if self._pair
            else ""
        )

    def enter(self) -> None:
        """The window of the module is shown: its keys work."""
        import qt

        window = slicer.util.mainWindow()
        if window is None or self._keys:
            return
        for key, value in ((BEFORE_KEY, 0), (AFTER_KEY, 100)):
            shortcut = qt.QShortcut(qt.QKeySequence(key), window)
            shortcut.connect("activated()", lambda value=value: self._slide(value))
            self._keys.append(shortcut)

    def exit(self) -> None:
        """Another module is shown, or this one is being closed: the keys are free again."""
        for shortcut in self._keys:
            shortcut.setEnabled(False)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._keys = []

    def present(self, result: Any) -> str:
        """Show what a run has just made, and its face in the slices; what could not be shown, or nothing.

        A result without a skin to draw is a result: it is shown in the slices alone. Where the user has gone to another
        module or to other settings meanwhile, the views stay as they are.
        """
        if self._pair is None or self._pair[1] is not result:
            return ""
        try:
            self._show()
        except RefaceError as error:
            return str(error)
        return ""

    def onCompare(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The faces cannot be shown."), waitCursor=True):
            self._show()

    def onSlider(self, percent: int) -> None:
        if self._pair is not None:
            faceviews.compare_slices(slicer.mrmlScene, *self._pair, percent / 100)

    def onMask(self, shown: bool) -> None:
        if self._pair is not None:
            mask = self._pair[1].GetNodeReference(masks.MASK_ROLE)
            masks.show_mask(slicer.mrmlScene, mask if shown else None)

    def onTurntable(self) -> None:
        """Film both heads, or the result alone: the other one may have the real face."""
        if self._capture is None:
            return
        both = slicerui.confirm(_("Film both heads? The left one may show the real face. No: film only the right one."))
        folder = slicerui.ask_for_path(_("Choose an empty folder for the film"))
        if not folder:
            return
        with slicer.util.tryWithErrorDisplay(_("The film was not made.")), contextlib.suppress(CancelledError):
            self._show()
            names = faceviews.VIEW_NAMES if both else faceviews.VIEW_NAMES[1:]
            views = [slicer.mrmlScene.GetSingletonNode(name, "vtkMRMLViewNode") for name in names]
            with WaitingDialog(_("Filming the heads")) as dialog:
                turntable.film(self._capture, views, Path(folder), progress=dialog.show, cancelled=dialog.cancelled)

    def dropRemoved(self, _scene: Any = None, _event: Any = None) -> None:
        """A node has left the scene: no head is shown or compared that is not there."""
        if slicer.mrmlScene.IsBatchProcessing():
            return
        if self._pair is not None:
            self.setPair(*self._pair)
        faces.remove_faces(slicer.mrmlScene)

    def _show(self) -> None:
        if self._pair is None:
            raise InputError(_("There is nothing to compare: the result, or what it was made of, was removed."))
        model, _after = faceviews.show_before_after(slicer.mrmlScene, *self._pair)
        self._mask.setChecked(False)
        self._slide(100)
        skinlight.light_views(slicer.app.layoutManager(), faceviews.VIEW_NAMES)
        if self._seen != self._pair:  # else the user may have moved them
            self._seen = self._pair
            slicerui.once_idle(lambda: _fit_slices(model))  # only then they have the size that the layout gives them

    def _follow(self) -> None:
        """Show the pair that is named now in place of another one, where that is in the views."""
        scene = slicer.mrmlScene
        if self._mask.checked:
            self.onMask(True)
        if faces.shown_volumes(scene) in ([], list(self._pair or ())):
            return
        if not faceviews.in_layout(scene):
            faces.hide_faces(scene)
            return
        with contextlib.suppress(RefaceError):  # of a pair without skin the slices are shown
            self._show()

    def _slide(self, percent: int) -> None:
        self._slider.setValue(percent)


def _fit_slices(model: Any) -> None:
    """Fit the slices to their views, and move them into the face of a model, unless it is gone."""
    if model.GetScene() is None:
        return
    if slicer.app.layoutManager() is not None:
        slicer.app.layoutManager().resetSliceViews()
    faceviews.centre_slices(slicer.mrmlScene, model)
