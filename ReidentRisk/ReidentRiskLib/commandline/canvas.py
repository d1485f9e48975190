"""What all pictures of results have in common: a sheet without a window, text in any script, and how it is saved."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import RefaceLib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY = "#8a8a8a"
# Fonts for the scripts that matplotlib's own lacks, where they are installed.
_OTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "Microsoft YaHei", "SimHei", "PingFang SC", "Hiragino Sans GB", "Yu Gothic", "Malgun Gothic", "Arial Unicode MS",
)  # fmt: skip


@contextlib.contextmanager
def any_script() -> Iterator[None]:
    """Text is drawn as it stands, in all fonts that there are."""
    import matplotlib

    with matplotlib.rc_context({"font.family": _fonts()[0], "text.parse_math": False}):
        yield


@cache
def _fonts() -> tuple[list[str], frozenset[int]]:
    """Names of fonts, in which a character is looked for one after the other, and the characters that they have."""
    from matplotlib import font_manager

    installed = font_manager.get_font_names()
    names = ["DejaVu Sans", *(name for name in _OTHER_FONTS if name in installed)]
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in names]
    return names, frozenset(character for font in fonts for character in font.get_charmap())


def drawable(text: str) -> str:
    """The text with an escape like \\u5934 for every character that no font has, and for bytes that are no UTF-8."""
    known = _fonts()[1]
    return "".join(
        each if each == "\n" or ord(each) in known else each.encode("ascii", "backslashreplace").decode("ascii")
        for each in text
    )


def figure_of(
    width: float, height: float, colour: str = "white", layout: Literal["constrained"] | None = None
) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=110, facecolor=colour, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def short(name: str, length: int) -> str:
    """The name, ready to be drawn, its middle left out when it is wide: its end tells refaced from defaced.

    `length` counts letters; those of Chinese, Japanese and Korean are two wide.
    """
    name = drawable(name)
    if _width(name) <= length:
        return name
    start, end = name, name
    while _width(start) > (length - 1) // 2:
        start = start[:-1]
    while _width(end) > length - 1 - _width(start):
        end = end[1:]
    return f"{start}…{end}"


def in_two_lines(name: str, length: int) -> str:
    """As `short`, in up to two lines of `length` letters."""
    name = short(name, 2 * length - 1)
    first = name
    while _width(first) > length:
        first = first[:-1]
    return "\n".join(filter(None, (first, name[len(first) :])))


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def judged_by(network: str) -> str:
    return f"network: {short(network, 70)}"


def finish(figure: Figure, path: str | Path, network: str) -> None:
    """Name the network below everything else, and save."""
    figure.supxlabel(judged_by(network), fontsize=7, color=GREY)
    save(figure, path)


def save(figure: Figure, path: str | Path) -> None:
    metadata = {"Software": f"ReidentRisk {RefaceLib.__version__}"}
    figure.savefig(path, format="png", facecolor=figure.get_facecolor(), metadata=metadata)
