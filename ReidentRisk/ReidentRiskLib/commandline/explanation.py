"""One picture that explains verdicts to a class: the faces, what the attacker did, and where they lie among strangers.

It shows faces, and is as private as the scans.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ReidentRiskLib.attack.views import frontal_view
from ReidentRiskLib.commandline import canvas
from ReidentRiskLib.judge.scores import ALIGNED, DETECTED, rows_of
from ReidentRiskLib.judge.verdict import (
    NO_HEAD,
    Assessment,
    places_in_words,
    zones,
)
from ReidentRiskLib.runs import colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ReidentRiskLib.attack.heads import HeadEmbedding
    from ReidentRiskLib.judge.calibration import Calibration
    from ReidentRiskLib.runs.compare import Comparison, ProbeResult

MOST_PROBES = 4  # a row each; more would be too small to read
_WIDTH, _TOP, _ROW = 13.0, 1.5, 3.0  # inches
_STEPS = {
    ALIGNED: "Step 2: it knew where eyes, nose and mouth are, and cut out that place, face or no face.",
    DETECTED: "Step 2: it let a detector look for a face, and cut it out where one was found ({acquired} of {views}).",
}


@canvas.any_script()
def explanation(path: str | Path, comparison: Comparison, titles: Sequence[str] = ()) -> None:
    """Write a PNG with a row for each probe (at most MOST_PROBES), of the attacker that came farthest.

    `titles` are of the probes, in place of their names.
    """
    from ReidentRiskLib.runs.tools import network_name

    results = comparison.results[:MOST_PROBES]
    height = _TOP + _ROW * len(results) + 0.3
    figure = canvas.figure_of(_WIDTH, height)
    front = frontal_view(comparison.views)
    figure.text(0.02, 1 - 0.35 / height, "How recognisable is the face?", fontsize=15, weight="bold", va="center")
    _text(figure, 0.02, 1 - 0.6 / height, _what_was_done(results), 10)
    names = titles or [result.face.name for result in results]
    for row, (result, name) in enumerate(zip(results, names, strict=False)):
        bottom = (0.3 + _ROW * (len(results) - 1 - row)) / height
        _draw_row(figure, bottom, _ROW / height, comparison, result, name, front)
    left_out = len(comparison.results) - len(results)
    network = network_name(comparison.about["model"])
    _text(
        figure, 0.02, 0.25 / height, canvas.judged_by(network) + (f"; {left_out} more not shown" if left_out else ""), 7
    )
    canvas.save(figure, path)


def _what_was_done(results: Sequence[ProbeResult]) -> str:
    views = max((each.score.views for result in results for each in result.assessments.values()), default=1)
    several = f"{views} pictures from the front and the sides, in several lights"
    pictures = "a picture from the front" if views == 1 else several
    return (
        f"What the attacker did: 1. It drew the skin of each scan, {pictures}. 2. It cut out the faces.\n"
        "3. A face-recognition network made a row of numbers of each. 4. It compared "
        "the rows of two scans: the cosine is 1 for equal ones.\nA cosine means nothing by itself. So it is compared "
        "with that of strangers, and with that of one head that was scanned twice."
    )


def _draw_row(
    figure: Figure, bottom: float, height: float, comparison: Comparison, result: ProbeResult, name: str, front: int
) -> None:
    """The original, the probe, what the network saw of both, and where the probe lies."""
    attacker, found = _strongest(result)
    faces = (comparison.reference, result.face)
    titles = ("the original", canvas.in_two_lines(name, 26))
    for column, (face, title) in enumerate(zip(faces, titles, strict=True)):
        place = (0.02 + 0.15 * column, bottom + 0.12 * height, 0.145, 0.72 * height)
        _picture(figure, place, face.embedding.pictures, front, title)
    seen = _seen([face.embedding for face in faces], attacker, front)
    for part, (crop, title) in enumerate(zip(seen, ("what the network saw", ""), strict=True)):
        place = (0.325, bottom + (0.48 - 0.36 * part) * height, 0.09, 0.34 * height)
        _picture(figure, place, crop, 0, title)
    axes = figure.add_axes((0.45, bottom + 0.2 * height, 0.24, 0.62 * height))
    _draw_places(axes, comparison.calibrations.get(attacker), found.score.mean_embedding)
    words = [f"{result.verdict}".upper(), *_words(attacker, found)]
    lines = [line for sentence in words for line in textwrap.wrap(sentence, 46)]
    _text(figure, 0.71, bottom + 0.84 * height, "\n".join(lines), 9)


def _seen(heads: Sequence[HeadEmbedding], attacker: str, front: int) -> list[np.ndarray | None]:
    """The crops (1, 112, 112, 3) that the attacker compared, from the front, or else where both heads have one.

    None for a head of which there are none.
    """
    every = [head.crops if attacker == ALIGNED else head.found for head in heads]
    acquired = np.logical_and(*(np.isfinite(rows_of(head, attacker)).all(axis=1) for head in heads))
    view = front if acquired[front % len(acquired)] or not acquired.any() else int(np.argmax(acquired))
    return [None if crops is None else crops[[view if len(crops) > view else 0]] for crops in every]


def _strongest(result: ProbeResult) -> tuple[str, Assessment]:
    return next((name, each) for name, each in result.assessments.items() if each.verdict == result.verdict)


def _words(attacker: str, found: Assessment) -> list[str]:
    if found.verdict == NO_HEAD:
        return [found.sentence]
    score = found.score
    sentences = [_STEPS[attacker].format(acquired=score.acquired, views=score.views)]
    if score.acquired:
        sentences.append(f"The cosine is {score.mean_embedding:.2f}.")
    return [*sentences, *(places_in_words(found) or [f"{found.sentence[:1].upper()}{found.sentence[1:]}."])]


def _draw_places(axes: Axes, calibration: Calibration | None, cosine: float) -> None:
    """Strangers and rescans, each as high as the other, over the zones of the verdicts, and a line for the probe."""
    axes.set_yticks([])
    axes.tick_params(labelsize=7)
    axes.set_xlabel("cosine", fontsize=8)
    if calibration is None:
        axes.text(0.5, 0.5, "not calibrated", ha="center", transform=axes.transAxes, color=canvas.GREY)
        return
    parts = (
        ("pairs of strangers", calibration.different, colours.STRANGERS),
        ("scans of one head", calibration.same, colours.SAME_HEAD),
    )
    for label, part, colour in parts:
        edges, density = part.histogram()
        axes.stairs(density / density.max(), edges, fill=True, alpha=0.6, color=colour, label=label)
    if np.isfinite(cosine):
        axes.axvline(cosine, color="black", linewidth=2, label="this volume")
    low, high = axes.get_xlim()
    for verdict, (begin, end) in zones(calibration, low, high).items():
        axes.axvspan(begin, end, ymax=0.08, color=colours.VERDICTS[verdict], label=verdict)
    axes.set_xlim(low, high)
    axes.legend(fontsize=6, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)


def _picture(figure: Figure, place: tuple[float, float, float, float], pictures: Any, front: int, title: str) -> None:
    axes = figure.add_axes(place)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8)
    if pictures is None:
        axes.text(0.5, 0.5, "no head found", ha="center", va="center", transform=axes.transAxes, color=canvas.GREY)
        return
    axes.imshow(pictures[front if len(pictures) > front else 0])


def _text(figure: Figure, x: float, y: float, text: str, size: float) -> None:
    figure.text(x, y, canvas.drawable(text), fontsize=size, va="top")
