"""The sheet of the exercise "guess who": the face that is asked for, beside eight that are numbered."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ReidentRiskLib.commandline import canvas
from ReidentRiskLib.runs.guesswho import FACES, Exercise

_PANEL, _TOP = 2.2, 0.8  # inches


@canvas.any_script()
def sheet(path: str | Path, exercise: Exercise) -> None:
    """Write a PNG. The answer is not in it."""
    columns = FACES // 2
    width, height = _PANEL * (columns + 1.8), _TOP + 2 * _PANEL * 1.1
    figure = canvas.figure_of(width, height)
    title = "Guess who: the head on the left is one of these. Which one?"
    figure.text(0.5, 1 - 0.4 * _TOP / height, title, fontsize=14, ha="center", va="center")

    def draw(left: float, bottom: float, side: float, picture: np.ndarray, label: str) -> None:
        axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
        axes.set_axis_off()
        axes.imshow(picture)
        axes.set_title(canvas.drawable(label), fontsize=11)

    draw(0.1, 0.55 * _PANEL, 1.4 * _PANEL, exercise.asked, "?")
    for index, face in enumerate(exercise.faces):
        row, column = divmod(index, columns)
        draw(_PANEL * (1.7 + column), 0.1 + 1.1 * _PANEL * (1 - row), 0.95 * _PANEL, face, str(index + 1))
    canvas.save(figure, path)
