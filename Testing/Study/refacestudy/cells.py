"""What a study has done so far, on disk: one folder a head and method, one JSON file a part.

A part is done once: its record holds the key of what it was made of, and counts only while the key is the same. A
study can therefore be killed at any time and goes on where it was. A part that fails has a record that says so.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Record = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One head under one method: ``folder`` holds its volume and its records."""

    folder: Path

    def record(self, part: str) -> Record | None:
        """The record of a part, None where there is none (yet)."""
        try:
            return json.loads((self.folder / f"{part}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def done(self, part: str, key: str) -> bool:
        """Whether a part was done, well or not, with this key."""
        record = self.record(part)
        return record is not None and record.get("key") == key

    def succeeded(self, part: str) -> bool:
        record = self.record(part)
        return record is not None and record["status"] == "ok"

    def write(self, part: str, record: Record) -> None:
        """Write a record, whole or not at all, and take the mark away that it was begun."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{part}.json.{os.getpid()}"
        partial.write_text(json.dumps(plain(record), indent=1), encoding="utf-8")
        partial.replace(self.folder / f"{part}.json")
        self._mark(part).unlink(missing_ok=True)

    def begin(self, part: str, key: str) -> None:
        """Mark a part as begun. What an earlier record describes is about to be overwritten."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{part}.json").unlink(missing_ok=True)
        self._mark(part).write_text(key, encoding="utf-8")

    def begun(self, part: str) -> bool:
        """Whether a part was begun and has not ended."""
        return self._mark(part).exists()

    def forget(self, part: str) -> None:
        """Take the mark of a part away that was begun."""
        self._mark(part).unlink(missing_ok=True)

    def _mark(self, part: str) -> Path:
        return self.folder / f"{part}.begun"


@dataclass(frozen=True)
class Task:
    """One part of one cell: ``function(*arguments)`` gives its record."""

    cell: Cell
    part: str
    key: str
    function: Callable[..., Record]
    arguments: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.cell.folder.parent.name} {self.cell.folder.name} {self.part}"


def perform(task: Task) -> tuple[str, Record]:
    """Do a task and write its record; never raises. Gives the task's name and the record."""
    task.cell.begin(task.part, task.key)
    try:
        record = {"status": "ok", **task.function(*task.arguments)}
    except Exception as error:  # whatever it is, it is a result: this part failed
        record = {"status": "failed", "error": sentence(error)}
    task.cell.write(task.part, {"key": task.key, **record})
    return task.name, record


def perform_all(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[str, Record]]:
    """Do the tasks that are not done, in ``jobs`` processes; gives name and record as each one ends.

    A task that takes its process down with it has failed, and the others go on.
    """
    while missing := [task for task in tasks if not task.cell.done(task.part, task.key)]:
        if jobs == 1:
            yield from map(perform, missing)
        else:
            yield from _in_parallel(missing, jobs)


def _in_parallel(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[str, Record]]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    for task in tasks:
        task.cell.forget(task.part)  # of a run that was killed
    try:
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=1, pre_dispatch=jobs)(
            delayed(perform)(task) for task in tasks
        )
    except TerminatedWorkerError:
        begun = [task for task in tasks if task.cell.begun(task.part)]
        if not begun:  # the next round would end as this one
            raise
        for task in begun:
            if not task.cell.done(task.part, task.key):
                record = {"status": "failed", "error": "The process ended: out of memory, or a fault in a library."}
                task.cell.write(task.part, {"key": task.key, **record})
                yield task.name, record


def key_of(*parts: Any) -> str:
    """A short hash of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def file_hash(path: Path) -> str:
    """A short hash of a file; a file that did not change is not read again."""
    about = path.stat()
    return _hash_of(path, about.st_mtime_ns, about.st_size)


@cache
def _hash_of(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def sentence(error: BaseException) -> str:
    """An error on one line; the kind of it where the text alone says little."""
    text = " ".join(str(error).split())
    return text if len(text) > 40 else f"{type(error).__name__}: {text}".rstrip(": ")


def plain(value: Any) -> Any:
    """``value`` with numpy's numbers as Python's, and rounded."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()
    return round(value, 6) if isinstance(value, float) else value
