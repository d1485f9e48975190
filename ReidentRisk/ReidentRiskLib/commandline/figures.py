"""Pictures of results: faces side by side, aligned crops, and where scores lie among those of strangers.

Faces and crops show who was scanned; they are as private as the scans. matplotlib draws without a window.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import RefaceLib
from RefaceLib.common.console import printable
from ReidentRiskLib.attack.views import PHOTO
from ReidentRiskLib.judge.calibration import Calibration
from ReidentRiskLib.judge.scores import ATTACKER_NAMES
from ReidentRiskLib.judge.verdict import NOT_RECOGNISABLE_SHARE, RECOGNISABLE_SHARE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ReidentRiskLib.attack.heads import HeadEmbedding
    from ReidentRiskLib.judge.identify import Identification

MOST_HEADS = 12  # in one picture; more would be too small to see
SHOWN_VIEWS = 5
_PANEL = 1.9  # inches
_BLUE, _ORANGE, _GREY = "#3b6ea5", "#d1762b", "#8a8a8a"
_LINES = ((_BLUE, "-"), (_ORANGE, "--"))  # of the attackers, whose curves may lie on each other


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


def faces(path: str | Path, columns: Sequence[Column], views: Sequence[str]) -> None:
    """Write a PNG of the renderings: one column a head, one row a view (`views`: the names of all V of them)."""
    _grid(path, columns, views, "pictures")


def crops(path: str | Path, columns: Sequence[Column], views: Sequence[str]) -> None:
    """Write a PNG of what the network sees: aligned crops, one column a head, one row a view."""
    _grid(path, columns, views, "crops")


def _grid(path: str | Path, columns: Sequence[Column], views: Sequence[str], kind: str) -> None:
    shown = columns[:MOST_HEADS]
    rows = chosen_views(views)
    left, top, bottom = 1.1, 0.55, 0.75  # inches of text
    width, height = left + _PANEL * len(shown), top + _PANEL * len(rows) + bottom
    figure = _figure(width, height, "black")
    for column, each in enumerate(shown):
        pictures = getattr(each.head, kind)
        for row, view in enumerate(rows):
            place = ((left + column * _PANEL) / width, (bottom + (len(rows) - 1 - row) * _PANEL) / height)
            axes = figure.add_axes((*place, _PANEL / width * 0.98, _PANEL / height * 0.98))
            axes.set_axis_off()
            single = each.head.views == PHOTO or pictures is None or len(pictures) == 1
            if pictures is not None and (row == 0 or not single):
                axes.imshow(pictures[0 if single else view])
        x = (left + (column + 0.5) * _PANEL) / width
        _text(figure, x, 1 - 0.5 * top / height, _short(each.title, 26), weight="bold")
        _text(figure, x, 0.5 * bottom / height, each.text)
    for row, view in enumerate(rows):
        y = (bottom + (len(rows) - 0.5 - row) * _PANEL) / height
        _text(figure, 0.5 * left / width, y, views[view].replace("_", "\n"))
    if len(columns) > len(shown):
        _text(figure, 0.5 * left / width, 0.5 * bottom / height, f"{len(columns) - len(shown)} more\nnot shown")
    _save(figure, path)


def histogram(
    path: str | Path, calibrations: Mapping[str, Calibration | None], scores: Mapping[str, Mapping[str, float]]
) -> None:
    """Write a PNG of the calibration's two distributions for each attacker, with the scores marked in them.

    `scores` are the mean-embedding cosines by attacker and name of the probe; a NaN is written out, not drawn.
    """
    figure = _figure(8.0, 3.1 * len(calibrations))
    for row, (attacker, calibration) in enumerate(calibrations.items()):
        axes = figure.add_subplot(len(calibrations), 1, row + 1)
        _draw_histogram(axes, attacker, calibration, scores.get(attacker, {}))
    with _any_script():
        figure.tight_layout()
    _save(figure, path)


def _draw_histogram(axes: Axes, attacker: str, calibration: Calibration | None, scores: Mapping[str, float]) -> None:
    """The distributions, each as high as the other, and under the legend the scores with their names."""
    if calibration is None:
        axes.text(0.5, 0.5, "not calibrated", ha="center", transform=axes.transAxes, color=_GREY)
        axes.set_xlim(-0.2, 1.0)
    else:
        for label, part, colour in (
            (f"different heads ({calibration.different.n:,} pairs)", calibration.different, _BLUE),
            (f"the same head scanned again ({calibration.same.n:,} pairs)", calibration.same, _ORANGE),
        ):
            edges, density = part.histogram()
            axes.stairs(density / density.max(), edges, fill=True, alpha=0.45, color=colour, label=label)
        for share, style in ((RECOGNISABLE_SHARE, "-"), (NOT_RECOGNISABLE_SHARE, ":")):
            value = calibration.different.value_at_share(share)
            axes.axvline(value, color=_GREY, linestyle=style, linewidth=1, label=f"1 in {round(1 / share)} strangers")
    drawn = {name: value for name, value in scores.items() if np.isfinite(value)}
    for index, (name, value) in enumerate(list(drawn.items())[:MOST_HEADS]):
        height = 1.1 - 0.15 * (index % 6)
        axes.plot([value, value], [0, height], color="black", linewidth=1)
        side = "right" if value > 0.5 else "left"
        axes.annotate(f" {_short(name, 30)} ", (value, height), ha=side, va="center", fontsize=7, parse_math=False)
    axes.set_ylim(0, 1.45)
    axes.set_title(ATTACKER_NAMES[attacker], fontsize=10)
    missing = len(scores) - len(drawn)
    note = f"; no face found in {missing} of {len(scores)}" if missing else ""
    axes.set_xlabel(f"cosine of the mean embeddings{note}", fontsize=8)
    axes.set_yticks([])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7, loc="upper center", ncols=4, columnspacing=1.0, handlelength=1.5)


def roc(path: str | Path, results: Mapping[str, Identification]) -> None:
    """Write a PNG of the ROC curves of the attackers, the false accept rate on a logarithmic axis."""
    figure = _figure(5.2, 4.6)
    axes = figure.add_subplot()
    for (colour, line), (attacker, result) in zip(_LINES, results.items(), strict=False):
        false, true = result.roc
        low, high = result.auc_interval
        label = f"{ATTACKER_NAMES[attacker]}: AUC {result.auc:.4f} ({low:.4f} to {high:.4f})"
        axes.plot(false, true, color=colour, linestyle=line, label=label, drawstyle="steps-post")
    least = 1.0 / max(max(result.nonmated.size for result in results.values()), 10)
    chance = np.geomspace(least, 1, 50)
    axes.plot(chance, chance, color=_GREY, linestyle=":", label="chance")
    axes.set_xscale("log")
    axes.set_xlim(least, 1.0)
    _save_curves(figure, axes, "false accept rate", "true accept rate", path)


def cmc(path: str | Path, results: Mapping[str, Identification], most: int = 50) -> None:
    """Write a PNG of the cumulative match curves up to rank `most`, with the intervals of rank 1."""
    figure = _figure(5.2, 4.6)
    axes = figure.add_subplot()
    count = 1
    for (colour, line), (attacker, result) in zip(_LINES, results.items(), strict=False):
        count = max(count, len(result.subjects))
        ranks = np.arange(1, min(most, len(result.cmc)) + 1)
        first = result.rank1
        label = f"{ATTACKER_NAMES[attacker]}: rank 1 in {first.hits} of {first.of}"
        axes.plot(ranks, result.cmc[: len(ranks)], color=colour, linestyle=line, label=label, drawstyle="steps-post")
        spread = [[first.value - first.low], [first.high - first.value]]
        axes.errorbar([1], [first.value], yerr=np.maximum(spread, 0), color=colour, capsize=3, marker="o", markersize=3)
        if result.failures:
            axes.plot([], [], " ", label=f"  no face found in {result.failures} of {len(result.probes)}")
    ranks = np.arange(1, min(most, count) + 1)
    axes.plot(ranks, ranks / count, color=_GREY, linestyle=":", label=f"chance, {count} subjects")
    axes.set_xlim(0.5, len(ranks) + 0.5)
    _save_curves(figure, axes, "rank", "share of the probes found", path)


def _save_curves(figure: Figure, axes: Axes, x: str, y: str, path: str | Path) -> None:
    """What ROC and match curves have in common: shares on the upright axis, and the legend where no curve goes."""
    axes.set_ylim(0.0, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(fontsize=8, loc="lower right")
    figure.tight_layout()
    _save(figure, path)


def pairs(path: str | Path, results: Mapping[str, Identification]) -> None:
    """Write a PNG of the histograms of mated and non-mated scores of the attackers."""
    figure = _figure(6.5, 2.8 * len(results))
    for row, (attacker, result) in enumerate(results.items()):
        axes = figure.add_subplot(len(results), 1, row + 1)
        every = np.concatenate([result.nonmated.ravel(), result.mated])
        every = every[np.isfinite(every)] if np.isfinite(every).any() else np.zeros(1)
        edges = np.linspace(every.min() - 0.01, every.max() + 0.01, 61)  # never of no width
        for label, scores, colour in (("others", result.nonmated, _BLUE), ("own subject", result.mated, _ORANGE)):
            scored = scores[np.isfinite(scores)]
            name = f"{label}: {scored.size:,} of {scores.size:,} pairs"
            counts = np.histogram(scored, edges)[0]
            axes.stairs(counts / max(counts.max(), 1), edges, fill=True, alpha=0.5, color=colour, label=name)
        axes.set_title(ATTACKER_NAMES[attacker], fontsize=10)
        axes.set_xlabel("cosine of the mean embeddings", fontsize=8)
        axes.set_yticks([])
        axes.legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    _save(figure, path)


def _figure(width: float, height: float, colour: str = "white") -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, facecolor=colour)
    FigureCanvasAgg(figure)
    return figure


def _text(figure: Figure, x: float, y: float, text: str, weight: str = "normal") -> None:
    figure.text(x, y, text, color="white", fontsize=7, ha="center", va="center", weight=weight, parse_math=False)


def _short(name: str, length: int) -> str:
    """The name, its middle left out when it is long: its end tells refaced from defaced."""
    name = printable(name)
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[-(length - 1 - head) :]}"


def _save(figure: Figure, path: str | Path) -> None:
    metadata = {"Software": f"ReidentRisk {RefaceLib.__version__}"}
    with _any_script():
        figure.savefig(path, format="png", facecolor=figure.get_facecolor(), metadata=metadata)


@contextlib.contextmanager
def _any_script() -> Iterator[None]:
    """Names in a script that the font lacks are drawn as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
