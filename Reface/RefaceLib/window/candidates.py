"""The faces of a run as small pictures: the one that the user presses becomes the result, without another run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from RefaceLib.window import results
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

PIXELS, A_ROW = 72, 4


class CandidateRow:
    """A button with a picture for every face of the last run that made several.

    :param frame: QFrame with a QGridLayout, which is shown while there is something to choose
    :param onTaken: called with the seed of the face that has become the result
    """

    def __init__(self, frame: Any, onTaken: Callable[[int], None]):
        self._frame, self._onTaken = frame, onTaken
        self._choices: results.Choices | None = None
        self._buttons: list[Any] = []
        frame.setVisible(False)

    def offer(self, choices: results.Choices | None) -> None:
        """Offer the faces of a run, which takes the place of those of an earlier one; None: it made only one."""
        self._choices = choices
        for button in self._buttons:
            button.setParent(None)
            button.deleteLater()
        candidates = choices.candidates if choices is not None else ()
        self._buttons = [self._button(index, candidate) for index, candidate in enumerate(candidates)]

    def show(self, volume: Any) -> None:
        """Show the faces of this result, as long as it is theirs; nothing else overwrites what was made since."""
        choices = self._choices
        shown = choices is not None and choices.volume is volume and choices.current is not None
        self._frame.setVisible(shown)
        for index, button in enumerate(self._buttons if shown and choices is not None else ()):
            button.setChecked(choices is not None and index == choices.current)

    def _button(self, index: int, candidate: Any) -> Any:
        import qt

        button = qt.QToolButton()
        button.setCheckable(True)
        button.setText(str(candidate.seed))
        button.setToolTip(_("The face of seed {seed}. Press to make it the result.").format(seed=candidate.seed))
        if candidate.picture:
            picture = qt.QPixmap()
            picture.loadFromData(qt.QByteArray(candidate.picture))
            button.setIcon(qt.QIcon(picture))
            button.setIconSize(qt.QSize(PIXELS, PIXELS))
            button.setToolButtonStyle(qt.Qt.ToolButtonTextUnderIcon)
        button.connect("clicked()", lambda: self._take(index))
        self._frame.layout().addWidget(button, index // A_ROW, index % A_ROW)
        return button

    def _take(self, index: int) -> None:
        choices = self._choices
        if choices is None or choices.current is None:
            return
        with slicer.util.tryWithErrorDisplay(_("The face was not taken."), waitCursor=True):
            results.take_candidate(choices, index)
            self._onTaken(choices.candidates[index].seed)
