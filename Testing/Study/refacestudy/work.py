"""The work of a study, part by part, in waves: what a part needs was done in a wave before."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from refacestudy import check_heads, faces, methods, morphometry, people, realism
from refacestudy.cells import Cell, Record, Task, file_hash, key_of, perform_all
from refacestudy.methods import ANYBODY, METHODS, ORACLE, ORACLES, OURS

LONGEST = 3600  # seconds of one method
ORIGINAL, DEFACE = "original", "deface"
_STRIDE = 37  # from one donor of a head to the next
PARTS = ("run", "morphometry", "face", "look")


@dataclass(frozen=True)
class Options:
    """What is asked for: methods and segmenters by name, AFNI's templates, the recogniser (name, licence accepted)."""

    methods: tuple[str, ...]
    segmenters: tuple[str, ...]
    templates: Path | None
    model: tuple[str, bool]


@dataclass(frozen=True)
class Study:
    """``names`` are the heads that go through the methods, ``gallery`` those that attackers know."""

    folder: Path
    people: dict[str, people.Person]
    names: tuple[str, ...]
    gallery: tuple[str, ...]
    options: Options

    @property
    def methods(self) -> list[str]:
        """The methods to run, with those that they start from; the original and our defacing are always needed."""
        wanted = {ORIGINAL, DEFACE, *self.options.methods}
        wanted |= {METHODS[name].source for name in wanted} - {""}
        return [name for name in METHODS if name in wanted]

    @cached_property
    def fingerprint(self) -> str:
        """Of the weights and the code that make our faces."""
        return check_heads.fingerprint()

    def cell(self, name: str, method: str) -> Cell:
        return Cell(self.folder / "heads" / name / method)

    def volume(self, name: str, method: str) -> Path:
        return self.people[name].image if method == ORIGINAL else self.cell(name, method).folder / "volume.nii.gz"

    def has_volume(self, name: str, method: str) -> bool:
        return method == ORIGINAL or self.cell(name, method).succeeded("run")

    def record(self, name: str, method: str, part: str) -> Record | None:
        """The record of a part, None where it is not done or was made of something else than what is there now."""
        makers = {"run": self._run, "morphometry": self._morphometry, "face": self._face, "look": self._look}
        task = None if part == "run" and method == ORIGINAL else makers[part](name, method)
        return task.cell.record(part) if task is not None and task.cell.done(part, task.key) else None

    def forget_failures(self) -> None:
        """Delete the records of what failed, so that it is done again."""
        for path in self.folder.glob("heads/*/*/*.json"):
            if json.loads(path.read_text(encoding="utf-8")).get("status") == "failed":
                path.unlink()

    def run(self, jobs: int, say: Callable[[str, Record], None]) -> None:
        """Do all that is not done; ``say`` hears of every part as it ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        first = [name for name in self.methods if METHODS[name].source == ORIGINAL and name not in ORACLES]
        later = [name for name in self.methods if METHODS[name].source not in ("", ORIGINAL)]
        later += [name for name in self.methods if name in ORACLES]
        generated = [name for name in self.methods if name != ORIGINAL]
        everybody = dict.fromkeys((*self.names, *self.gallery))
        waves = (
            lambda: [self._face(name, ORIGINAL) for name in everybody],
            lambda: [self._run(name, method) for name in self.names for method in first],
            lambda: [self._run(name, method) for name in self.names for method in later],
            lambda: [self._morphometry(name, ORIGINAL) for name in self.names],
            lambda: [self._look(name, ORIGINAL) for name in self.names],
            lambda: [
                part(name, method)
                for name in self.names
                for method in generated
                for part in (self._morphometry, self._face, self._look)
            ],
        )  # fmt: skip
        for wave in waves:
            for name, record in perform_all([task for task in wave() if task is not None], jobs):
                say(name, record)

    # ---- tasks: None where what they need is not there ----

    def _run(self, name: str, method: str) -> Task | None:
        source = METHODS[method].source
        if not self.has_volume(name, source):
            key = key_of("no source", source)
            reason = f"There is no volume to start from: {source} failed."
            return Task(self.cell(name, method), "run", key, _refuse, (reason,))
        cell, job = self.cell(name, method), self._job(name, method)
        made_of = [methods.RECIPE, method, file_hash(self.volume(name, source)), job.get("donor"), job["templates"]]
        made_of += [self.fingerprint] if METHODS[method].kind == OURS or method in ORACLES else []
        if method in ORACLES and not ("donor" in job and self.has_volume(name, DEFACE)):
            reason = "There is nobody among the heads whose face could be taken, or no mask."
            return Task(cell, "run", key_of(made_of), _refuse, (reason,))
        return Task(cell, "run", key_of(made_of), run_method, (cell.folder, job))

    def _job(self, name: str, method: str) -> methods.Job:
        folder = self.cell(name, method).folder
        templates = self.options.templates
        job = {
            "method": method,
            "source": str(self.volume(name, METHODS[method].source)),
            "out": str(folder / "volume.nii.gz"),
            "mask_out": str(folder / "mask.nii.gz"),
            "templates": str(templates) if templates else None,
        }
        if method in ORACLES:
            job |= {"mask": str(self._mask(name)), "pose": str(self._npz(name))}
            if donor := self._donor(name, method):
                job |= {"donor": str(self.people[donor].image), "donor_pose": str(self._npz(donor))}
        return job

    def _donor(self, name: str, method: str) -> str | None:
        """Whose face a head gets: that of the person most alike, or of anybody else, chosen by the head's name."""
        sizes = self.sizes  # from the disk, every time
        alike = people.most_alike(self.people[name], list(self.people.values()), sizes, 1)
        if method == ORACLE:
            return alike[0] if alike else None
        others = sorted(set(sizes) - {name, *alike})
        place = zlib.crc32(name.encode()) + _STRIDE * ANYBODY.index(method)
        return others[place % len(others)] if others else None

    @property
    def sizes(self) -> dict[str, float]:
        """The sizes of the heads that were looked at."""
        found = {}
        for name in self.people:
            if self.cell(name, ORIGINAL).succeeded("face"):
                found[name] = self.cell(name, ORIGINAL).record("face")["size"]
        return found

    def _mask(self, name: str) -> Path:
        return self.cell(name, DEFACE).folder / "mask.nii.gz"

    def _npz(self, name: str, method: str = ORIGINAL) -> Path:
        return self.cell(name, method).folder / "face.npz"

    def _morphometry(self, name: str, method: str) -> Task | None:
        first = self.cell(name, ORIGINAL)
        if not self.has_volume(name, method) or (method != ORIGINAL and not first.succeeded("morphometry")):
            return None
        path = self.volume(name, method)
        key = key_of(
            morphometry.RECIPE, file_hash(path), self.options.segmenters, file_hash(self.volume(name, ORIGINAL))
        )
        labels = first.folder / "labels.npz"
        arguments = (path, labels, method == ORIGINAL, list(self.options.segmenters))
        return Task(self.cell(name, method), "morphometry", key, measure_brain, arguments)

    def _face(self, name: str, method: str) -> Task | None:
        cell, first = self.cell(name, method), self.cell(name, ORIGINAL)
        if not self.has_volume(name, method) or (method != ORIGINAL and not first.succeeded("face")):
            return None
        path, image = self.volume(name, method), self.people[name].image
        key = key_of(faces.RECIPE, file_hash(path), file_hash(image), self.options.model[0])
        original = None if method == ORIGINAL else self._npz(name)
        arguments = (name, path, cell.folder / "face.npz", original, self.options.model)
        return Task(cell, "face", key, faces.look_at, arguments)

    def _look(self, name: str, method: str) -> Task | None:
        deface, first = self.cell(name, DEFACE), self.cell(name, ORIGINAL)
        if not (self.has_volume(name, method) and deface.succeeded("run") and first.succeeded("face")):
            return None
        path, image = self.volume(name, method), self.people[name].image
        key = key_of(realism.RECIPE, file_hash(path), file_hash(image), file_hash(self._mask(name)))
        landmarks = deface.record("run")["landmarks"]
        out = self.cell(name, method).folder / "look.npz"
        arguments = (path, image, self._npz(name), self._mask(name), first.folder / "labels.npz", landmarks, out)
        return Task(self.cell(name, method), "look", key, realism.look_at, arguments)


def _refuse(reason: str) -> Record:
    raise RuntimeError(reason)


def measure_brain(path: Path, labels: Path, is_original: bool, segmenters: Sequence[str]) -> dict[str, Any]:
    """Segment a volume; the original's labels are kept for the comparisons with it."""
    if is_original:
        found = morphometry.segment(path, list(segmenters))
        morphometry.save(labels, found)
        return morphometry.compared(found, found)
    first = morphometry.load(labels)
    found = morphometry.segment(path, list(segmenters), first["box"].tolist())
    return morphometry.compared(found, first)


def run_method(folder: Path, job: methods.Job) -> dict[str, Any]:
    """Run a method in a process of its own; its time (from file to file, its start included), memory and words."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    result = file.with_suffix(".result")
    for path in (result, Path(job["out"]), Path(job["mask_out"])):
        path.unlink(missing_ok=True)
    start = time.perf_counter()
    code = None
    with contextlib.suppress(subprocess.TimeoutExpired), (folder / "output.txt").open("wb") as output:
        code = subprocess.run(
            [sys.executable, "-m", methods.__name__, str(file)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},  # it imports what we import
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, timeout=LONGEST, check=False,
        ).returncode  # fmt: skip
    seconds = time.perf_counter() - start
    if not result.is_file():
        raise RuntimeError("The method took too long." if code is None else f"The method's process ended ({code}).")
    said = json.loads(result.read_text(encoding="utf-8"))
    result.unlink()
    if "error" in said:
        raise RuntimeError(said["error"])
    return {"seconds": seconds, **said}
