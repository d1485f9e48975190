"""The exercise "guess who" in the window: the sheet is shown, the user names a face, and is told who it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from RefaceLib.window.slicerui import translator
from ReidentRiskLib.runs.guesswho import FACES
from ReidentRiskLib.window.results import RiskResultNodes

_ = translator(__name__)


class GuessPanel:
    """Asks who is on the sheet of a result; without such a sheet it is not seen.

    :param ui: the widgets of ReidentRisk.ui
    :param showPicture: shows a picture of the result in a view
    """

    def __init__(self, ui: Any, showPicture: Callable[[Any], None]):
        self.ui = ui
        self._showPicture = showPicture
        self._result: RiskResultNodes | None = None
        ui.guessSelector.addItems([_("Which one?"), *(str(number) for number in range(1, FACES + 1))])
        ui.guessButton.connect("clicked(bool)", self.onGuessButton)
        ui.guessSelector.connect("currentIndexChanged(int)", self.onGuess)
        self.show(None)

    def show(self, result: RiskResultNodes | None) -> None:
        """Ask about this result anew."""
        self._result = result
        there = result is not None and result.exercise is not None
        for widget in (self.ui.guessLabel, self.ui.guessButton, self.ui.guessSelector):
            widget.setVisible(there)
        self.ui.guessSelector.setCurrentIndex(0)
        self.ui.guessAnswerLabel.setText("")

    def onGuessButton(self, _checked: bool = False) -> None:
        if self._result is not None and self._result.exercise is not None:
            self._showPicture(self._result.exercise)

    def onGuess(self, index: int) -> None:
        """Index 0 is no answer."""
        told = answer(self._result.identification or {}, index) if self._result is not None and index > 0 else ""
        self.ui.guessAnswerLabel.setText(told)


def answer(identification: dict[str, Any], guess: int) -> str:
    """What is said to a guess: whether it is right, and how the network did (see `guess_who` in identify.json)."""
    asked = identification.get("guess_who")
    if not asked:
        return ""
    right = _("Yes, it is number {number}.") if guess == asked["answer"] else _("No, it is number {number}.")
    network = _("The network put the original at rank {rank} of {of} persons.")
    return f"{right.format(number=asked['answer'])} {network.format(**asked)}"
