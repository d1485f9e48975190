"""One press of Apply: what is asked for, the files of the child processes, and what they leave behind.

The faces are made by `python -m RefaceLib`, one child a candidate. Where several candidates are wanted, a further
child, of the module that measures how alike faces are, says which one is the least like the original.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib.common.errors import RefaceError
from RefaceLib.common.imagenames import masks_beside, report_beside
from RefaceLib.common.options import FOUND
from RefaceLib.common.steps import Step
from RefaceLib.face import promise
from RefaceLib.volume.io import Volume
from RefaceLib.window import handover
from RefaceLib.window.portraits import picture_of
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

FACES_MODULE = "RefaceLib"
PORTRAITS_MODULE = "RefaceLib.window.portraits"
_COMPARING, _DRAWING = 0.2, 0.05  # shares of the progress bar that comparison and pictures of candidates take


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
    """The comparison by ReidentRisk's command line, of the aligned faces; None where that is not installed."""
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
    mode: str = "auto"
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
class OtherAnswer:
    """What became of another volume of the person: voxels and mask (I, J, K) and a report, or why it was left out."""

    stored: np.ndarray | None
    mask: np.ndarray | None
    report: dict[str, Any]

    @property
    def error(self) -> str | None:
        return self.report.get("error")


@dataclass(frozen=True, eq=False)
class Candidate:
    """One of several faces: its `values` (N,) in the mask, in the order of the array, its report, and a PNG of it."""

    seed: int
    values: np.ndarray
    report: dict[str, Any]
    picture: bytes | None


@dataclass(frozen=True, eq=False)
class RefaceAnswer:
    """What came back, checked: arrays (I, J, K) like those of the request, and the report of the kept face.

    `candidates` are all faces where there are several, that one among them.
    """

    stored: np.ndarray
    mask: np.ndarray
    others: tuple[OtherAnswer, ...]
    report: dict[str, Any]
    candidates: tuple[Candidate, ...] = ()


class RefaceFiles:
    """The files of a run in a folder of its own: the RunFiles of a StepRunner, which read() a RefaceAnswer.

    The errors of read() name files, as those of the children do; `names` holds what the user calls them.
    """

    def __init__(self, request: RefaceRequest, folder: Path, judge: Judge | None = None) -> None:
        """Write the volumes into `folder`. Raises InputError, OutputError, and RefaceError without a needed judge."""
        self._request, self._folder, self._judge = request, folder, judge
        self.names = self._names()
        self.steps = self._steps()
        handover.write_exchange(self._path("input"), request.volume[1])
        for index, (_name, volume) in enumerate(request.others):
            handover.write_exchange(self._path(f"other{index}"), volume)

    def read(self) -> RefaceAnswer:
        """What the children have left, checked. Raises PromiseError, and RefaceError where candidates have no order."""
        request, kept = self._request, self._kept()
        mask, brain = (handover.read_mask(self._path(stem), request.volume[1]) for stem in ("mask", "brain"))
        stored, report = self._read_face(kept, mask, brain)
        others = tuple(self._read_other(index) for index in range(len(request.others)))
        if len(request.seeds) == 1:
            return RefaceAnswer(stored, mask, others, report)
        candidates = tuple(self._read_candidate(index, mask, brain) for index in range(len(request.seeds)))
        report["candidates"] = {"seeds": request.seeds, "kept": "the least like the original"}
        return RefaceAnswer(stored, mask, others, report, candidates)

    def _read_face(self, index: int, mask: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
        _name, volume = self._request.volume
        stored = handover.read_result(self._path(f"face{index}"), volume)
        report = self._report(f"face{index}")
        promise.verify_report(report, promise.count_changes(volume.stored, stored, mask, brain))
        return stored, handover.node_report(report)

    def _read_candidate(self, index: int, mask: np.ndarray, brain: np.ndarray) -> Candidate:
        stored, report = self._read_face(index, mask, brain)
        report["candidates"] = {"seeds": self._request.seeds, "kept": "the one that the user chose"}
        picture = picture_of(self._path(f"face{index}"), self._path("pictures", ""))
        return Candidate(
            self._request.seeds[index], stored[mask], report, picture.read_bytes() if picture.is_file() else None
        )

    def _report(self, name: str) -> dict[str, Any]:
        return json.loads(report_beside(self._path(name)).read_text(encoding="utf-8"))

    def _path(self, name: str, suffix: str = ".nrrd") -> Path:
        return self._folder / f"{name}{suffix}"

    # ---- what the children get ----

    def _names(self) -> dict[Path, str]:
        request = self._request
        names = {"input": request.volume[0]}
        names |= {f"other{index}": name for index, (name, _volume) in enumerate(request.others)}
        names |= {f"face{index}": "The result" for index in range(len(request.seeds))}
        names |= {f"applied{index}": "The result" for index in range(len(request.others))}
        return {self._path(stem): name for stem, name in names.items()}

    def _steps(self) -> list[Step]:
        """A face for every seed and, where there are several, their comparison and pictures of them."""
        count = len(self._request.seeds)
        if count == 1:
            return [Step(FACES_MODULE, self._face_arguments(0), 1.0)]
        if self._judge is None:
            raise RefaceError("Several faces cannot be compared, because ReidentRisk is not there: ask for one.")
        share = (1.0 - _COMPARING - _DRAWING) / count
        faces = [Step(FACES_MODULE, self._face_arguments(index), share) for index in range(count)]
        paths = [self._path(f"face{index}") for index in range(count)]
        arguments = self._judge.arguments(self._path("input"), paths, self._path("judged", ""))
        drawn = [str(path) for path in (self._path("pictures", ""), *paths)]
        return [
            *faces,
            Step(self._judge.module, arguments, _COMPARING, "compare"),
            Step(PORTRAITS_MODULE, drawn, _DRAWING, "draw"),
        ]

    def _face_arguments(self, index: int) -> list[str]:
        request = self._request
        arguments = ["image", self._path("input"), self._path(f"face{index}"), "--mode", request.mode]
        arguments += ["--seed", request.seeds[index], "--device", request.device]
        arguments += [] if request.ears else ["--no-ears"]
        arguments += ["--models", request.models] if request.models else []
        if index == 0:  # the mask is the same for every face
            arguments += ["--mask-out", self._path("mask"), "--brain-out", self._path("brain")]
            for other in range(len(request.others)):
                arguments += ["--apply-to", self._path(f"other{other}"), self._path(f"applied{other}")]
            arguments += ["--apply-masks", "--apply-each"] if request.others else []
        return [str(argument) for argument in arguments]

    # ---- what they leave ----

    def _kept(self) -> int:
        """The index of the candidate that is the least like the original."""
        if self._judge is None or len(self._request.seeds) == 1:
            return 0
        result = self._path("judged", "") / self._judge.result
        try:
            return self._judge.least(json.loads(result.read_text(encoding="utf-8")))
        except (OSError, ValueError, LookupError) as error:
            raise RefaceError("The faces could not be compared: ask for one face only.") from error

    def _read_other(self, index: int) -> OtherAnswer:
        name, volume = self._request.others[index]
        path = self._path(f"applied{index}")
        if error := self._report(f"applied{index}").get("error"):
            return OtherAnswer(None, None, {"mode": "apply-to", "error": error.replace("the input", name)})
        stored = handover.read_result(path, volume)
        mask, brain = (handover.read_mask(mask, volume) for mask in masks_beside(path))
        report = self._report(f"applied{index}")
        promise.verify_report(report, promise.count_changes(volume.stored, stored, mask, brain))
        return OtherAnswer(stored, mask, handover.node_report(report))


def stage_title(stage: str) -> str:
    """What the window calls a stage of the children."""
    titles = {
        FOUND["reface"]: _("a whole head was found: it gets a new face"),
        FOUND["recover"]: _("a defaced head was found: its face is recovered"),
        "compare": _("comparing the faces with the original"),
        "draw": _("drawing the faces"),
        "read": _("reading"),
        "parse": _("finding brain and face"),
        "mask": _("choosing the voxels of the face"),
        "generate": _("making the new face"),
        "blend": _("fitting the face in"),
        "check": _("checking the result"),
        "write": _("writing"),
    }
    return titles.get(stage, _("working"))
