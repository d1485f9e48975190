"""`reface benchmark --against niimath`: what a whole run costs, beside one of another tool that replaces faces."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from RefaceLib.common.errors import InputError
from RefaceLib.common.files import check_exists

PAIRS = 5


class Cost(NamedTuple):
    """Processor (user and system) and wall seconds of one process, with its children, and its peak memory in MB."""

    processor: float
    wall: float
    memory: float


@dataclass(frozen=True)
class Niimath:
    """`niimath -reface`, the average face of AFNI's afni_refacer: its ``program`` (a name or a path) and templates."""

    program: str
    template: Path | None
    shell: Path | None
    weight: Path | None

    def command(self) -> Callable[[Path, Path], list[str]]:
        """The command line for an input and an output; InputError where the program or a template is not there."""
        program = shutil.which(self.program)
        if program is None:
            raise InputError(f"There is no program {self.program}: install niimath, or give its path after --against.")
        files = {"--template": self.template, "--shell": self.shell, "--weight": self.weight}
        if missing := [option for option, path in files.items() if path is None]:
            raise InputError(f"--against niimath needs {' and '.join(missing)}: files of AFNI's afni_refacer.")
        templates = [path for path in files.values() if path]
        for path in templates:
            check_exists(path)
        return lambda head, out: [program, str(head), "-reface", *map(str, templates), str(out)]


def compare(head: Path, device: str, theirs: Callable[[Path, Path], list[str]], pairs: int = PAIRS) -> list[str]:
    """Reface a head by both programs in turn, each a process of its own; the lines of the result.

    ``theirs`` is what Niimath.command gives. Medians over the ``pairs``; a ratio is the median of those of the pairs,
    so that a machine that is busy at times changes it little.
    """
    if not hasattr(os, "wait4"):
        raise InputError("What a process costs can be measured on Linux and macOS only: leave --against out.")
    check_exists(head)
    ours_costs, their_costs = [], []
    with tempfile.TemporaryDirectory(prefix="reface-benchmark-") as folder:
        for pair in range(pairs):
            out = Path(folder) / f"{pair}.nii.gz"
            ours = [sys.executable, "-m", "RefaceLib", "image", str(head), str(out), "--device", device]
            ours_costs.append(measured("reface", [*ours, "--mode", "reface", "--seed", "0", "-q"], out))
            out = Path(folder) / f"{pair}-other.nii.gz"
            their_costs.append(measured("niimath", theirs(head, out), out))
    return summary(head.name, ours_costs, their_costs)


def measured(name: str, command: Sequence[str], out: Path) -> Cost:
    """What a ``command`` costs that writes ``out``; InputError, with the end of its messages, where it does not."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or not out.is_file():
            said.seek(0)
            lines = said.read().decode(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "it told nothing")
            raise InputError(f"{name} wrote no face, so nothing can be compared ({last[-200:]}).")
    memory = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KB
    return Cost(usage.ru_utime + usage.ru_stime, wall, memory)


def summary(head: str, ours: Sequence[Cost], theirs: Sequence[Cost]) -> list[str]:
    """A table of the costs of the runs, pair by pair in both lists: the medians of each, and of their ratios."""
    ratios = [Cost(*(a / b for a, b in zip(one, other, strict=True))) for one, other in zip(ours, theirs, strict=True)]
    lines = [f"{head}: medians of {len(ours)} whole runs of each, in turn"]
    lines.append(f"  {'':<16}{'processor':>12}{'wall':>12}{'peak memory':>14}")
    for name, runs in (("reface", ours), ("niimath -reface", theirs)):
        processor, wall, memory = map(statistics.median, zip(*runs, strict=True))
        lines.append(f"  {name:<16}{processor:>10.2f} s{wall:>10.2f} s{memory:>11.0f} MB")
    processor, wall, memory = map(statistics.median, zip(*ratios, strict=True))
    return [*lines, f"  {'ratio':<16}{processor:>12.2f}{wall:>12.2f}{memory:>14.2f}"]
