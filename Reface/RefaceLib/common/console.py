"""What the command line shows: a bar for people, lines of JSON for programs, or nothing; and warnings at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

_BAR_WIDTH = 30


class Reporter(Protocol):
    """Takes progress as the pipeline gives it, and the one message at the end."""

    def __call__(self, fraction: float, stage: str) -> None: ...

    def close(self) -> None: ...


class Quiet:
    """Shows nothing."""

    def __call__(self, fraction: float, stage: str) -> None:
        pass

    def close(self) -> None:
        pass


class Bar:
    """One line on a terminal, drawn over and over, gone when closed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = ""

    def __call__(self, fraction: float, stage: str) -> None:
        fraction = min(max(fraction, 0.0), 1.0)
        filled = int(_BAR_WIDTH * fraction)
        line = f"{stage:<9} [{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {100 * fraction:3.0f} %"
        if line != self._shown:
            self._write(line)

    def close(self) -> None:
        if self._shown:
            self._write("")

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(len(self._shown)) + ("" if line else "\r"))
        self._stream.flush()
        self._shown = line


class JsonLines:
    """One JSON object a line: {"progress": 0.5, "stage": "generate"}; flushed, so that a parent process sees it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __call__(self, fraction: float, stage: str) -> None:
        write_json_line(self._stream, {"progress": round(float(fraction), 4), "stage": stage})

    def close(self) -> None:
        pass


def write_json_line(stream: TextIO, record: dict[str, Any]) -> None:
    stream.write(json.dumps(record, ensure_ascii=True) + "\n")
    stream.flush()


def tell_warnings(program: str, warnings: Iterable[str]) -> None:
    """One line a warning on stderr, with the name of the `program` in front."""
    for warning in warnings:
        print(f"{program}: warning: {warning}", file=sys.stderr)


def tell_done(report: Path, warnings: Sequence[str]) -> None:
    """The last line for a parent process: where the report is."""
    write_json_line(sys.stdout, {"done": True, "report": str(report), "warnings": list(warnings)})


def reporter(mode: str) -> Reporter:
    """The reporter for a mode of options.PROGRESS_MODES; "auto" is a bar on stderr when that is a terminal."""
    if mode == "json":
        return JsonLines(sys.stdout)
    if mode == "auto" and sys.stderr is not None and sys.stderr.isatty():
        return Bar(sys.stderr)
    return Quiet()
