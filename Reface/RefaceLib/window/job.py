"""One press of Apply: the child processes that it takes, one after the other, and what comes back from them.

The faces are made by `python -m RefaceLib`, one child a candidate. Where several candidates are wanted, a further
child, of the module that measures how alike faces are, says which one is the least like the original.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib.common.errors import RefaceError
from RefaceLib.common.process import ChildProcess, Outcome, Workspace
from RefaceLib.face import promise
from RefaceLib.volume.io import Volume
from RefaceLib.window import handover

FACES_MODULE = "RefaceLib"
MAX_CANDIDATES = 8
MAX_SEED = 999_999  # what the window offers; the command line takes any of 32 bits
_COMPARING = 0.25  # share of the progress bar that the comparison of candidates takes


@dataclass(frozen=True)
class Judge:
    """How candidates are compared: `python -m module arguments(reference, candidates, folder)` writes `result`.

    `requirements` is the file of the packages that it needs; `least(report)` is the index of the candidate that is the
    least like the reference, from the JSON of `result`.
    """

    module: str
    requirements: Path
    arguments: Callable[[Path, Sequence[Path], Path], list[str]]
    result: str
    least: Callable[[Mapping[str, Any]], int]


def face_judge() -> Judge | None:
    """The comparison by ReidentRisk's command line, by forced alignment; None where that is not installed."""
    spec = importlib.util.find_spec("ReidentRiskLib")
    if spec is None or spec.origin is None:
        return None
    requirements = Path(spec.origin).parents[1] / "Resources" / "requirements_ReidentRisk.txt"

    def arguments(reference: Path, faces: Sequence[Path], folder: Path) -> list[str]:
        return ["compare", *map(str, (reference, *faces)), "--out", str(folder)]

    def least(report: Mapping[str, Any]) -> int:
        scores = [probe["attackers"]["forced"]["mean_embedding"] for probe in report["probes"]]
        return int(np.argmin([np.inf if score is None else score for score in scores]))

    return Judge("ReidentRiskLib", requirements, arguments, "compare.json", least)


@dataclass(frozen=True, eq=False)
class RefaceRequest:
    """What the user asked for. `volume` and `others` are (name, Volume) pairs; names are for messages alone."""

    volume: tuple[str, Volume]
    others: tuple[tuple[str, Volume], ...] = ()
    mode: str = "reface"
    seed: int = 0
    ears: bool = True
    device: str = "auto"
    models: str = ""  # a folder of weights, empty for the shipped ones
    candidates: int = 1

    @property
    def seeds(self) -> list[int]:
        count = self.candidates if self.mode != "deface" else 1
        return [self.seed + index for index in range(count)]


@dataclass(frozen=True, eq=False)
class RefaceAnswer:
    """What came back, checked: arrays (I, J, K) like those of the request, and the report of the kept face."""

    stored: np.ndarray
    mask: np.ndarray
    others: tuple[tuple[np.ndarray, dict[str, Any]], ...]  # voxels and report of each
    report: dict[str, Any]


class RefaceJob:
    """Runs a RefaceRequest; has the methods of a ChildProcess, and like it calls back from poll().

    `on_done` takes the RefaceAnswer, `on_failed` one sentence, or None after a cancel. The temporary folder is gone
    before either is called.
    """

    def __init__(
        self,
        request: RefaceRequest,
        *,
        on_progress: Callable[[float, str], None],
        on_done: Callable[[RefaceAnswer], None],
        on_failed: Callable[[str | None], None],
        python: str | None = None,
        judge: Judge | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if len(request.seeds) > 1 and judge is None:
            raise RefaceError("Several faces cannot be compared, because ReidentRisk is not there: ask for one.")
        self._request, self._judge = request, judge
        self._on_progress, self._on_done, self._on_failed = on_progress, on_done, on_failed
        self._python, self._environment = python, environment
        self._workspace: Workspace | None = None
        self._child: ChildProcess | None = None
        self._made = 0  # candidates that are ready
        self._cancelled = False

    @property
    def running(self) -> bool:
        return self._workspace is not None

    def start(self) -> None:
        """Write the volumes for the child and start it; RefaceError when that is not possible."""
        self._workspace = Workspace()
        try:
            handover.write_exchange(self._path("input"), self._request.volume[1])
            for index, (_name, volume) in enumerate(self._request.others):
                handover.write_exchange(self._path(f"other{index}"), volume)
            self._start_face()
        except BaseException:
            self._clean()
            raise

    def poll(self) -> bool:
        """Deliver what has come; True while the job is running."""
        if self._child is not None:
            self._child.poll()
        return self.running

    def cancel(self) -> None:
        """End the run within a second; poll() then calls `on_failed(None)`."""
        self._cancelled = True
        if self._child is not None:
            self._child.cancel()

    def stop(self) -> None:
        """End the run now, without any callback."""
        if self._child is not None:
            self._child.stop()
        self._clean()

    def wait(self, cancelled: Callable[[], bool] | None = None) -> None:
        """Run to the end, for scripts and tests; cancel() once `cancelled` returns True."""
        self.start()
        while self.poll():
            if cancelled is not None and cancelled():
                self.cancel()
            time.sleep(0.02)

    def _path(self, name: str, suffix: str = ".nrrd") -> Path:
        return self._workspace.path / f"{name}{suffix}"

    def _clean(self) -> None:
        if self._workspace is not None:
            self._workspace.remove()
        self._workspace = self._child = None

    # ---- children ----

    def _start_face(self) -> None:
        first = self._made == 0
        request = self._request
        arguments = ["image", self._path("input"), self._path(f"face{self._made}"), "--mode", request.mode]
        arguments += ["--seed", request.seeds[self._made], "--device", request.device]
        arguments += [] if request.ears else ["--no-ears"]
        arguments += ["--models", request.models] if request.models else []
        if first:  # the mask is the same for every face
            arguments += ["--mask-out", self._path("mask"), "--brain-out", self._path("brain")]
            for index in range(len(request.others)):
                arguments += ["--apply-to", self._path(f"other{index}"), self._path(f"applied{index}")]
        faces = len(request.seeds)
        share = (1.0 if faces == 1 else 1.0 - _COMPARING) / faces
        self._start(FACES_MODULE, arguments, self._made * share, share, self._face_done)

    def _start(self, module: str, arguments: list[Any], begin: float, share: float, done: Callable[[], None]) -> None:
        self._child = ChildProcess(
            arguments,
            module=module,
            on_progress=lambda fraction, stage: self._on_progress(begin + share * fraction, stage),
            on_done=lambda outcome: self._ended(outcome, done),
            python=self._python,
            environment=self._environment,
        )
        self._child.start()

    def _ended(self, outcome: Outcome, done: Callable[[], None]) -> None:
        if outcome.cancelled or self._cancelled:
            self._fail(None)
        elif outcome.error:
            self._fail(self._with_names(outcome.error))
        else:
            try:
                done()
            except RefaceError as error:
                self._fail(self._with_names(str(error)))
            except BaseException:
                self._clean()
                raise

    def _fail(self, sentence: str | None) -> None:
        self._clean()
        self._on_failed(sentence)

    def _with_names(self, sentence: str) -> str:
        """The child's sentence with names of volumes in place of those of temporary files."""
        if self._workspace is None:  # of show_answer(), which knows no files
            return sentence
        names = {"input": self._request.volume[0]}
        names |= {f"other{index}": name for index, (name, _volume) in enumerate(self._request.others)}
        names |= {"face0": "The result"} | {f"applied{index}": "The result" for index in range(len(names))}
        for stem, name in names.items():
            sentence = sentence.replace(str(self._path(stem)), name)
        return sentence

    def _face_done(self) -> None:
        self._made += 1
        if self._made < len(self._request.seeds):
            self._start_face()
        elif self._made > 1:
            faces = [self._path(f"face{index}") for index in range(self._made)]
            arguments = self._judge.arguments(self._path("input"), faces, self._path("judged", ""))
            self._start(self._judge.module, arguments, 1.0 - _COMPARING, _COMPARING, self._judged)
        else:
            self._finish(0)

    def _judged(self) -> None:
        result = self._path("judged", "") / self._judge.result
        try:
            kept = self._judge.least(json.loads(result.read_text(encoding="utf-8")))
        except (OSError, ValueError, LookupError) as error:
            raise RefaceError("The faces could not be compared: ask for one face only.") from error
        self._finish(kept)

    # ---- the end ----

    def _finish(self, kept: int) -> None:
        answer = self._read(kept)
        self._clean()
        self._on_done(answer)

    def _read(self, kept: int) -> RefaceAnswer:
        name, volume = self._request.volume
        stored = handover.read_result(self._path(f"face{kept}"), volume)
        mask, brain = (handover.read_mask(self._path(stem), volume) for stem in ("mask", "brain"))
        counts = promise.count_changes(volume.stored, stored, mask, brain)
        report = json.loads(self._path(f"face{kept}", ".json").read_text(encoding="utf-8"))
        promise.verify_report(report, counts)
        others = tuple(self._read_other(index, mask, brain) for index in range(len(self._request.others)))
        report = handover.node_report(report, {"input": name})
        if len(self._request.seeds) > 1:
            report["candidates"] = {"seeds": self._request.seeds, "kept": "the least like the original"}
        return RefaceAnswer(stored, mask, others, report)

    def _read_other(self, index: int, mask: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        name, volume = self._request.others[index]
        stored = handover.read_result(self._path(f"applied{index}"), volume)
        report = json.loads(self._path(f"applied{index}", ".json").read_text(encoding="utf-8"))
        affine = self._request.volume[1].affine
        counts = promise.count_changes_elsewhere(volume.stored, stored, volume.affine, mask, brain, affine)
        promise.verify_report(report, counts)
        return stored, handover.node_report(report, {"input": name, "mask_from": self._request.volume[0]})
