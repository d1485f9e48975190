"""Pictures of a study: risk against change of volume, similarities of pairs, and the faces side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
COLOURS = {"ours": "#d1762b", "peer": "#3b6ea5", "yardstick": "#7a7a7a"}
MOST_HEADS = 8  # rows of the picture of faces
_TILE = 112


def balance(path: Path, rows: Sequence[Row], kinds: Mapping[str, str], structure: str, chance: float) -> None:
    """One point a method: change of a structure (median, %) against the cosine to the own original, and rank-1."""
    figure = _figure(10.0, 4.6)
    shown = [row for row in rows if np.isfinite(row.get("cosine_forced", np.nan))]
    sides = (("cosine_forced", "mean cosine to the own original"), ("rank1_forced", "identified at rank 1"))
    for column, (key, label) in enumerate(sides, start=1):
        axes = figure.add_subplot(1, 2, column)
        for row in shown:
            x, y = row.get(f"{structure}_change", np.nan), row[key]
            if not np.isfinite(x):
                continue
            spread = [[max(y - row[f"{key}_low"], 0.0)], [max(row[f"{key}_high"] - y, 0.0)]]
            spread = np.nan_to_num(spread)
            axes.errorbar(
                [x], [y], yerr=spread, marker="o", color=COLOURS[kinds[row["method"]]], capsize=2, linewidth=0.8
            )
        axes.set_xlabel(f"|change of {structure.replace('_', ' ')}|, % (median)")
        axes.set_ylabel(label)
        axes.margins(x=0.18)
        axes.set_xlim(left=-0.01)
        _label(axes, {r["method"]: (r.get(f"{structure}_change", np.nan), r[key]) for r in shown})
        if key == "rank1_forced":
            axes.axhline(chance, color="black", linestyle=":", linewidth=1)
    figure.tight_layout()
    _save(figure, path)


def _label(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Names the points, each beside its own and none upon another."""
    width, height = np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())
    taken: list[tuple[float, float]] = []
    for name, (x, y) in sorted(points.items(), key=lambda item: item[1][1]):
        if not np.isfinite(x):
            continue
        place = y
        while any(abs(x - other) < 0.3 * width and abs(place - level) < 0.035 * height for other, level in taken):
            place += 0.005 * height
        taken.append((x, place))
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": "#a0a0a0"}
        axes.annotate(name, (x, y), (x + 0.02 * width, place), fontsize=7, va="center", arrowprops=line)


def diversity(path: Path, groups: Mapping[str, np.ndarray]) -> None:
    """How alike the faces of pairs are: one line of points and a mean a group."""
    figure = _figure(7.0, 0.55 * len(groups) + 1.0)
    axes = figure.add_subplot()
    random = np.random.default_rng(0)
    for row, values in enumerate(groups.values()):
        axes.plot(
            values, row + 0.25 * (random.random(len(values)) - 0.5), ".", markersize=3, alpha=0.4, color="#3b6ea5"
        )
        if len(values):
            axes.plot([values.mean()] * 2, [row - 0.35, row + 0.35], color="black")
    axes.set_yticks(range(len(groups)), [f"{name} ({len(values)})" for name, values in groups.items()], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("cosine of the faces of a pair")
    figure.tight_layout()
    _save(figure, path)


def faces(path: Path, pictures: Mapping[str, Mapping[str, Path]], methods: Sequence[str]) -> None:
    """One row a head, one column a method, black where there is no picture; ``pictures``: by head and method."""
    from PIL import Image, ImageDraw

    heads = list(pictures)[:MOST_HEADS]
    sheet = Image.new("RGB", (_TILE * len(methods), 14 + (_TILE + 12) * len(heads)))
    draw = ImageDraw.Draw(sheet)
    for column, method in enumerate(methods):
        draw.text((column * _TILE + 2, 1), method[:18], fill="white")
        for row, head in enumerate(heads):
            top = 14 + row * (_TILE + 12)
            if column == 0:
                draw.text((2, top + _TILE), head, fill="white")
            if (source := pictures[head].get(method)) and source.is_file():
                sheet.paste(Image.open(source).convert("RGB").resize((_TILE, _TILE)), (column * _TILE, top))
    sheet.save(path, format="PNG", optimize=True)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="png", metadata={"Software": None})
