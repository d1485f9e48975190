"""Pictures of results: faces side by side, aligned crops, and where scores lie among those of strangers.

Faces and crops show who was scanned; they are as private as the scans. matplotlib draws without a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ReidentRiskLib.attack.views import PHOTO
from ReidentRiskLib.commandline import canvas
from ReidentRiskLib.judge.calibration import Calibration
from ReidentRiskLib.judge.scores import ATTACKER_NAMES
from ReidentRiskLib.judge.verdict import FEW, MANY, limits
from ReidentRiskLib.runs import colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ReidentRiskLib.attack.heads import HeadEmbedding
    from ReidentRiskLib.judge.identify import Identification

MOST_HEADS = 12  # side by side; more would be too small to see
MOST_ROWS = 40  # of names
FEW_LINES = 18  # of ranks, where there are too few for curves
SHOWN_VIEWS = 5
_PANEL = 1.9  # inches
_LINES = ((colours.STRANGERS, "-"), (colours.SAME_HEAD, "--"))  # of the attackers, whose curves may lie on each other


@dataclass(frozen=True)
class Column:
    """One head in a picture of several: its embedding with pictures and crops, and text above and below it."""

    head: HeadEmbedding
    title: str
    text: str = ""


def chosen_views(names: Sequence[str], count: int = SHOWN_VIEWS) -> list[int]:
    """Indices of about `count` views to show: spread evenly over the set, the first, middle and last among them."""
    if len(names) <= count:
        return list(range(len(names)))
    return sorted({int(index) for index in np.rint(np.linspace(0, len(names) - 1, count))})


@canvas.any_script()
def faces(path: str | Path, columns: Sequence[Column], views: Sequence[str], network: str) -> None:
    """Write a PNG of the renderings: one column a head, one row a view (`views`: the names of all V of them)."""
    _grid(path, columns, views, "pictures", network)


@canvas.any_script()
def crops(path: str | Path, columns: Sequence[Column], views: Sequence[str], network: str) -> None:
    """Write a PNG of what the network sees: aligned crops, one column a head, one row a view."""
    _grid(path, columns, views, "crops", network)


def _grid(path: str | Path, columns: Sequence[Column], views: Sequence[str], kind: str, network: str) -> None:
    shown = columns[:MOST_HEADS]
    rows = chosen_views(views)
    left, top, bottom = 1.1, 0.55, 0.95  # inches of text
    width, height = left + _PANEL * len(shown), top + _PANEL * len(rows) + bottom
    figure = canvas.figure_of(width, height, "black")
    for column, each in enumerate(shown):
        pictures = getattr(each.head, kind)
        for row, view in enumerate(rows):
            place = ((left + column * _PANEL) / width, (bottom + (len(rows) - 1 - row) * _PANEL) / height)
            single = each.head.views == PHOTO or pictures is None or len(pictures) == 1
            if pictures is not None and (row == 0 or not single):
                _picture(figure, place, pictures[0 if single else view])
        x = (left + (column + 0.5) * _PANEL) / width
        _text(figure, x, 1 - 0.5 * top / height, canvas.in_two_lines(each.title, 26), weight="bold")
        _text(figure, x, 0.6 * bottom / height, each.text)
    for row, view in enumerate(rows):
        y = (bottom + (len(rows) - 0.5 - row) * _PANEL) / height
        _text(figure, 0.5 * left / width, y, views[view].replace("_", "\n"))
    if len(columns) > len(shown):
        _text(figure, 0.5 * left / width, 0.6 * bottom / height, f"{len(columns) - len(shown)} more\nnot shown")
    _text(figure, 0.5, 0.13 * bottom / height, canvas.judged_by(network))
    canvas.save(figure, path)


@canvas.any_script()
def histogram(
    path: str | Path,
    calibrations: Mapping[str, Calibration | None],
    scores: Mapping[str, Mapping[str, float]],
    network: str,
) -> None:
    """Write a PNG of the calibration's two distributions for each attacker, and under them a row for every probe.

    `scores` are the mean-embedding cosines by attacker and name of the probe; NaN: no face was found.
    """
    shown = {attacker: list(scores.get(attacker, {}).items())[:MOST_ROWS] for attacker in calibrations}
    rows = max([1, *map(len, shown.values())])
    figure = canvas.figure_of(8.0, (2.6 + 0.21 * rows) * len(calibrations) + 0.4, layout="constrained")
    grid = figure.add_gridspec(2 * len(calibrations), 1, height_ratios=[1.5, 0.25 + 0.21 * rows] * len(calibrations))
    for index, (attacker, calibration) in enumerate(calibrations.items()):
        axes = figure.add_subplot(grid[2 * index])
        _draw_histogram(axes, attacker, calibration)
        below = figure.add_subplot(grid[2 * index + 1], sharex=axes)
        _draw_scores(below, shown[attacker], len(scores.get(attacker, {})) - len(shown[attacker]))
        for each in (axes, below) if calibration else ():
            _draw_thresholds(each, calibration)
        _title(axes, ATTACKER_NAMES[attacker])
    canvas.finish(figure, path, network)


def _draw_histogram(axes: Axes, attacker: str, calibration: Calibration | None) -> None:
    """The two distributions, each as high as the other."""
    if calibration is None:
        axes.text(0.5, 0.5, "not calibrated", ha="center", transform=axes.transAxes, color=canvas.GREY)
        axes.set_xlim(-0.2, 1.0)
    else:
        for label, part, colour in (
            (f"different heads ({calibration.different.n:,} pairs)", calibration.different, colours.STRANGERS),
            (f"the same head scanned again ({calibration.same.n:,} pairs)", calibration.same, colours.SAME_HEAD),
        ):
            edges, density = part.histogram()
            axes.stairs(density / density.max(), edges, fill=True, alpha=0.45, color=colour, label=label)
    axes.set_yticks([])
    axes.tick_params(labelbottom=False)


def _title(axes: Axes, title: str) -> None:
    """Title and legend one above the other, over the axes."""
    if not axes.get_legend_handles_labels()[0]:
        axes.set_title(title, fontsize=10)
        return
    axes.legend(
        title=title,
        title_fontsize=10,
        fontsize=7,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2,
        frameon=False,
    )


def _draw_thresholds(axes: Axes, calibration: Calibration | None) -> None:
    if calibration is None:
        return
    up_to, since = limits(calibration)
    for value, one_of, style in ((since, FEW, "-"), (up_to, MANY, ":")):
        label = f"1 of {one_of} pairs of strangers is to the right"
        axes.axvline(value, color=canvas.GREY, linestyle=style, linewidth=1, label=label)


def _draw_scores(axes: Axes, scores: Sequence[tuple[str, float]], left_out: int) -> None:
    """A row with name and score for every probe: names of any length and scores that are close stay apart."""
    for row, (_, value) in enumerate(scores):
        if np.isfinite(value):
            axes.plot([value], [row], "o", color="black", markersize=4)
        else:
            axes.text(0.01, row, "no face found", transform=axes.get_yaxis_transform(), fontsize=7, va="center")
    axes.set_ylim(max(len(scores), 1) - 0.5, -0.5)
    axes.set_yticks(range(len(scores)), [canvas.short(name, 36) for name, _ in scores], fontsize=7)
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    more = f"; {left_out} more not shown" if left_out else ""
    axes.set_xlabel(f"cosine of the mean embeddings{more}", fontsize=8)


@canvas.any_script()
def roc(path: str | Path, results: Mapping[str, Identification], network: str) -> None:
    """Write a PNG of the ROC curves of the attackers, the false accept rate on a logarithmic axis."""
    figure = canvas.figure_of(5.2, 5.0, layout="constrained")
    axes = figure.add_subplot()
    if reason := _not_told(results):
        _write_instead(axes, [reason])
        canvas.finish(figure, path, network)
        return
    for (colour, line), (attacker, result) in zip(_LINES, results.items(), strict=False):
        false, true = result.roc
        low, high = result.auc_interval
        label = f"{ATTACKER_NAMES[attacker]}: AUC {result.auc:.4f} ({low:.4f} to {high:.4f})"
        axes.plot(false, true, color=colour, linestyle=line, label=label, drawstyle="steps-post")
    least = 1.0 / max(max(result.nonmated.size for result in results.values()), 10)
    chance = np.geomspace(least, 1, 50)
    axes.plot(chance, chance, color=canvas.GREY, linestyle=":", label="chance")
    axes.set_xscale("log")
    axes.set_xlim(least, 1.0)
    axes.xaxis.set_major_formatter("{x:g}")  # the logarithmic one writes formulas
    axes.xaxis.set_minor_formatter("")
    _label_curves(axes, "false accept rate", "true accept rate")
    canvas.finish(figure, path, network)


@canvas.any_script()
def cmc(path: str | Path, results: Mapping[str, Identification], network: str, most: int = 50) -> None:
    """Write a PNG of the cumulative match curves up to rank `most`, with the intervals of rank 1.

    Of too few subjects it lists the rank of every probe.
    """
    from matplotlib.ticker import MaxNLocator

    figure = canvas.figure_of(5.2, 5.0, layout="constrained")
    axes = figure.add_subplot()
    if reason := _not_told(results):
        lines = [reason]
        for attacker, result in results.items():
            lines += [
                "",
                ATTACKER_NAMES[attacker],
                *(canvas.short(line, 60) for line in result.ranks_in_words()[:FEW_LINES]),
            ]
        _write_instead(axes, lines)
        canvas.finish(figure, path, network)
        return
    count = 1
    for (colour, line), (attacker, result) in zip(_LINES, results.items(), strict=False):
        count = max(count, len(result.subjects))
        ranks = np.arange(1, min(most, len(result.cmc)) + 1)
        first = result.rank1
        label = f"{ATTACKER_NAMES[attacker]}: rank 1 in {first.hits} of {first.of}"
        label += f", no face found in {result.failures}" if result.failures else ""
        axes.plot(ranks, result.cmc[: len(ranks)], color=colour, linestyle=line, label=label, drawstyle="steps-post")
        spread = [[first.value - first.low], [first.high - first.value]]
        axes.errorbar([1], [first.value], yerr=np.maximum(spread, 0), color=colour, capsize=3, marker="o", markersize=3)
    ranks = np.arange(1, min(most, count) + 1)
    axes.plot(ranks, ranks / count, color=canvas.GREY, linestyle=":", label=f"chance, {count} subjects")
    axes.set_xlim(0.5, len(ranks) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _label_curves(axes, "rank", "share of the probes found")
    canvas.finish(figure, path, network)


def _not_told(results: Mapping[str, Identification]) -> str | None:
    return next((result.not_told for result in results.values() if result.not_told), None)


def _write_instead(axes: Axes, lines: Sequence[str]) -> None:
    """Lines of text in place of curves."""
    axes.set_axis_off()
    axes.text(0.0, 1.0, "\n".join(lines), fontsize=7, va="top", transform=axes.transAxes, wrap=True)


def _label_curves(axes: Axes, x: str, y: str) -> None:
    """What ROC and match curves have in common: shares on the upright axis, and the legend above all curves."""
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0.0, 1.0), frameon=False)


@canvas.any_script()
def pairs(path: str | Path, results: Mapping[str, Identification], network: str) -> None:
    """Write a PNG of the histograms of mated and non-mated scores of the attackers."""
    figure = canvas.figure_of(6.5, 2.8 * len(results) + 0.3, layout="constrained")
    for row, (attacker, result) in enumerate(results.items()):
        axes = figure.add_subplot(len(results), 1, row + 1)
        every = np.concatenate([result.nonmated.ravel(), result.mated])
        every = every[np.isfinite(every)] if np.isfinite(every).any() else np.zeros(1)
        edges = np.linspace(every.min() - 0.01, every.max() + 0.01, 61)  # never of no width
        for label, scores, colour in (
            ("others", result.nonmated, colours.STRANGERS),
            ("own subject", result.mated, colours.SAME_HEAD),
        ):
            scored = scores[np.isfinite(scores)]
            name = f"{label}: {scored.size:,} of {scores.size:,} pairs"
            counts = np.histogram(scored, edges)[0]
            axes.stairs(counts / max(counts.max(), 1), edges, fill=True, alpha=0.5, color=colour, label=name)
        axes.set_xlabel("cosine of the mean embeddings", fontsize=8)
        axes.set_yticks([])
        _title(axes, ATTACKER_NAMES[attacker])
    canvas.finish(figure, path, network)


def _picture(figure: Figure, place: tuple[float, float], pixels: np.ndarray) -> None:
    """Put a panel's picture with its lower left corner at ``place``; axes about it would cost more time than it."""
    from matplotlib.image import BboxImage
    from matplotlib.transforms import Bbox, TransformedBbox

    width, height = 0.98 * _PANEL / figure.get_size_inches()
    image = BboxImage(TransformedBbox(Bbox.from_bounds(*place, width, height), figure.transFigure))
    image.set_data(pixels)
    figure.add_artist(image)


def _text(figure: Figure, x: float, y: float, text: str, weight: str = "normal") -> None:
    figure.text(x, y, canvas.drawable(text), color="white", fontsize=7, ha="center", va="center", weight=weight)
