"""What the command line shows: a bar for people, lines of JSON for programs, or nothing; and warnings at the end."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

QUIET, NORMAL, VERBOSE = -1, 0, 1  # how much is told
_BAR_WIDTH = 30


def print_any_name() -> None:
    """Let stdout and stderr show as an escape what their encoding lacks; a file name may be any bytes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """The text with an escape for every byte of a file name that is no UTF-8, which fonts and tables cannot take."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


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


class StageLines:
    """A line a stage, for a log: its name when it begins or, with `seconds`, its name and its time when it ends."""

    def __init__(self, stream: TextIO, name: str, seconds: bool = False) -> None:
        self._stream, self._name, self._seconds = stream, name, seconds
        self._stage, self._start = "", 0.0

    def __call__(self, fraction: float, stage: str) -> None:
        if stage == self._stage:
            return
        self.close()
        self._stage, self._start = stage, time.perf_counter()
        if not self._seconds:
            self._write(stage)

    def close(self) -> None:
        if self._stage and self._seconds:
            self._write(f"{self._stage}, {time.perf_counter() - self._start:.1f} s")
        self._stage = ""

    def _write(self, text: str) -> None:
        self._stream.write(f"{self._name}: {text}\n")
        self._stream.flush()


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


def reporter(mode: str, name: str = "", verbosity: int = NORMAL) -> Reporter:
    """The reporter for a mode of options.PROGRESS_MODES; "auto" is a bar on stderr when that is a terminal.

    On what is no terminal "auto" shows a line a stage that begins with `name`, and nothing where there is no `name`.
    With the `verbosity` VERBOSE, a terminal shows these lines too, with the time of each stage; with QUIET nothing is
    shown in any mode.
    """
    seconds = verbosity == VERBOSE
    if verbosity == QUIET:
        return Quiet()
    if mode == "json":
        return JsonLines(sys.stdout)
    if mode == "auto" and sys.stderr is not None:
        if sys.stderr.isatty() and not seconds:
            return Bar(sys.stderr)
        if name:
            return StageLines(sys.stderr, name, seconds)
    return Quiet()
