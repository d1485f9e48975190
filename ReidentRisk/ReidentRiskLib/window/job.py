"""One run of the window: what is asked for, the files that the child processes get, and what they leave behind.

The children are `reident-risk compare` and, with a gallery, `reident-risk identify`. They know the volumes by the names
of temporary files; in everything that a user reads, the names of the nodes take their place.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.common.steps import Step, with_names
from RefaceLib.window.handover import write_exchange
from RefaceLib.window.mrml import check_input, volume_from_node
from RefaceLib.window.slicerui import translator
from ReidentRiskLib.runs.facefile import EXTENSION, FaceRecord, load_faces
from ReidentRiskLib.runs.guesswho import FACES
from ReidentRiskLib.window.fingerprints import fingerprint
from ReidentRiskLib.window.pngfile import read_png

if TYPE_CHECKING:
    import slicer

    from ReidentRiskLib.runs.headlist import Entry

_ = translator(__name__)

MODULE = "ReidentRiskLib"  # run as python -m MODULE
COMPARE, IDENTIFY = "compare", "identify"


@dataclass(frozen=True, eq=False)
class Request:
    """What the window asks for.

    ``landmarks`` is a point list node with the five points of the reference, in place of those that are found;
    ``gallery`` is a folder with the heads of other persons, among which the probes are looked up.
    """

    reference: slicer.vtkMRMLScalarVolumeNode | None
    probes: Sequence[slicer.vtkMRMLScalarVolumeNode]
    model: str | None = None
    views: str = "standard"
    own_landmarks: bool = False
    landmarks: slicer.vtkMRMLMarkupsNode | None = None
    gallery: Path | None = None
    device: str = "auto"
    accept_licence: bool = False

    @property
    def nodes(self) -> list[slicer.vtkMRMLScalarVolumeNode]:
        """The reference and the probes; check() makes sure that all are there."""
        return [self.reference, *self.probes]


@dataclass(frozen=True, eq=False)
class Findings:
    """What a run found: the report of the comparison, a record of every face, the table of scores.

    With a gallery there are also the report of the identification and its table. Tables are columns by their titles.
    ``explanation`` and ``exercise`` (rows, columns, 3) uint8 are pictures for a class, their rows from the top.
    ``fingerprints`` are those of the volumes when the run read them: the reference's, and one a probe.
    """

    report: dict[str, Any]
    faces: list[FaceRecord]
    scores: dict[str, list[Any]]
    identification: dict[str, Any] | None = None
    ranks: dict[str, list[Any]] = field(default_factory=dict)
    explanation: np.ndarray | None = None
    exercise: np.ndarray | None = None
    fingerprints: Sequence[Mapping[str, Any]] = ()


def check(request: Request) -> None:
    """Raise InputError, with one sentence, unless the volumes can be compared."""
    for node in request.nodes:
        check_input(node)
    if not request.probes:
        raise InputError("There is nothing to compare the reference with: choose at least one other volume.")
    if len({node.GetID() for node in request.nodes}) < len(request.nodes):
        raise InputError("A volume is given twice: choose different volumes.")


class RiskFiles:
    """The files of a run in a folder of its own: the RunFiles of a StepRunner, which read() the Findings.

    Nothing of the scene is changed. ``names`` are those of the nodes by the files of their volumes.
    """

    def __init__(self, request: Request, folder: Path) -> None:
        """Check the request and write the volumes into `folder`. Raises InputError, OutputError."""
        check(request)
        self._request = request
        self._node_names = names_of(request.nodes)
        self._folder = Path(folder)
        gallery = self._gallery()
        self._paths = [self._folder / f"volume{index}.nrrd" for index in range(len(request.nodes))]
        self._points = self._write_points()
        self._write_volumes()
        quoted = [f"'{name}'" for name in self._node_names]
        self.names = dict(zip(self._paths, quoted, strict=True))
        self.names |= dict(zip((Path(path.name) for path in self._paths), quoted, strict=True))
        heads = len(request.nodes)
        share = heads / (2 * heads + len(gallery)) if gallery else 1.0
        self.steps = [Step(MODULE, self._compare_arguments(), share)]
        if gallery:
            self.steps.append(Step(MODULE, self._identify_arguments(gallery), 1.0 - share))

    def read(self) -> Findings:
        """What the children have left. Raises InputError when it cannot be read."""
        report = self._read_json(self._out(COMPARE) / "compare.json")
        report["reference"]["name"] = self._node_names[0]
        named = [warning.replace("the reference", f"'{self._node_names[0]}'") for warning in report["warnings"]]
        report["warnings"] = named  # as in those of the look-up, so that none is said twice
        scores = self._read_table(self._out(COMPARE) / "compare.csv")
        faces = [replace(face, name=name) for face, name in zip(load_faces(self._faces), self._node_names, strict=True)]
        explanation = read_png(self._out(COMPARE) / "compare_explanation.png")
        findings = Findings(report, faces, scores, explanation=explanation, fingerprints=self._fingerprints)
        if len(self.steps) == 1:
            return findings
        found = self._read_json(self._out(IDENTIFY) / "identify.json")
        ranks = self._read_table(self._out(IDENTIFY) / "identify.csv")
        sheet = read_png(self._out(IDENTIFY) / "identify_guess_who.png") if "guess_who" in found else None
        return replace(findings, identification=found, ranks=ranks, exercise=sheet)

    # ---- what the children get ----

    @property
    def _faces(self) -> Path:
        return self._folder / f"faces{EXTENSION}"

    def _out(self, step: str) -> Path:
        return self._folder / step

    def _write_volumes(self) -> None:
        for node, path in zip(self._request.nodes, self._paths, strict=True):
            write_exchange(path, volume_from_node(node))
        self._fingerprints = [fingerprint(node) for node in self._request.nodes]

    def _write_points(self) -> Path | None:
        """The user's points, where they are seen in the reference, as the child reads them."""
        if self._request.landmarks is None:
            return None
        from ReidentRiskLib.attack.landmarks import FIVE
        from ReidentRiskLib.window.mrml import points_from_node

        points = points_from_node(self._request.landmarks, FIVE, self._request.reference)
        path = self._folder / "points.json"
        record = {name: [float(x) for x in point] for name, point in zip(FIVE, points, strict=True)}
        path.write_text(json.dumps(record), encoding="utf-8")
        return path

    def _gallery(self) -> list[Entry]:
        """The heads of other persons: those of the folder, without the files of the compared volumes themselves."""
        if self._request.gallery is None:
            return []
        from ReidentRiskLib.runs.headlist import list_heads

        storages = [node.GetStorageNode() for node in self._request.nodes]
        own = {Path(each.GetFileName()).resolve() for each in storages if each is not None and each.GetFileName()}
        others = [entry for entry in list_heads(self._request.gallery) if entry.path.resolve() not in own]
        if not others:
            raise InputError(f"{self._request.gallery} holds no head of another person: choose another folder.")
        return others

    def _compare_arguments(self) -> list[str]:
        landmarks = ["--landmarks", str(self._points)] if self._points else []
        paths = [str(path) for path in self._paths]
        titles = [f"--title={name}" for name in self._node_names[1:]]  # a name may begin with a dash
        return [COMPARE, *paths, "--faces", str(self._faces), *titles, *landmarks, *self._common(COMPARE)]

    def _identify_arguments(self, gallery: Sequence[Entry]) -> list[str]:
        subject = " ".join(self._node_names[0].split()) or "reference"
        while subject in {entry.subject for entry in gallery}:
            subject += " (original)"
        reference, *probes = self._paths
        others = [(entry.subject, entry.path.resolve(), "") for entry in gallery]
        own = (subject, reference, self._points or "")
        known = self._write_rows("gallery.tsv", ("subject", "path", "landmarks"), [*others, own])
        looked_up = [(subject, probe, reference) for probe in probes]
        unknown = self._write_rows("probes.tsv", ("subject", "path", "original"), looked_up)
        exercise = ["--guess-who"] if len({entry.subject for entry in gallery}) >= FACES - 1 else []
        return [IDENTIFY, "--gallery", str(known), "--probes", str(unknown), *exercise, *self._common(IDENTIFY)]

    def _write_rows(self, name: str, titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
        path = self._folder / name
        with open(path, "x", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter="\t").writerows([titles, *rows])
        return path

    def _common(self, step: str) -> list[str]:
        request = self._request
        options = ["--out", str(self._out(step)), "--views", request.views, "--device", request.device]
        options += ["--model", request.model] if request.model else []
        options += ["--own-landmarks"] if request.own_landmarks else []
        return [*options, "--accept-licence"] if request.accept_licence else options

    # ---- what they leave ----

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            return self._named(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise InputError("The comparison left no report: try again.") from error

    def _read_table(self, path: Path) -> dict[str, list[Any]]:
        try:
            with open(path, encoding="utf-8", newline="") as file:
                titles, *rows = csv.reader(file)
        except (OSError, ValueError) as error:
            raise InputError("The comparison left no table: try again.") from error
        columns = zip(*rows, strict=True)
        return {
            title: _cells([self._named(cell) for cell in each]) for title, each in zip(titles, columns, strict=True)
        }

    def _named(self, value: Any) -> Any:
        """The same with the names of the nodes; a name that is nothing but a path has no quotation marks."""
        if isinstance(value, Mapping):
            return {key: self._named(each) for key, each in value.items() if key != "files"}
        if isinstance(value, list):
            return [self._named(each) for each in value]
        if not isinstance(value, str):
            return value
        whole = dict(zip((path.name for path in self._paths), self._node_names, strict=True))
        return whole.get(value) or with_names(value, self.names)


def names_of(nodes: Sequence[slicer.vtkMRMLNode]) -> list[str]:
    """The names of nodes, with their ids where one name is that of several."""
    names = [node.GetName() or node.GetID() for node in nodes]
    return [
        name if names.count(name) == 1 else f"{name} ({node.GetID()})" for name, node in zip(names, nodes, strict=True)
    ]


def stage_title(stage: str) -> str:
    """What the window calls a stage of the children; an unknown one stays as it is."""
    titles = {
        "load": _("loading the networks"),
        "download": _("downloading a network"),
        "reference": _("looking at the original"),
        "probe": _("looking at the volumes"),
        "gallery": _("looking at the gallery"),
        "drawing": _("drawing faces"),
        "embedding": _("comparing faces"),
        "embedded": _("comparing faces"),
        "detecting": _("looking for faces"),
        "write": _("writing results"),
        "show": _("showing the result"),
    }
    name, *counts = stage.split()
    title = titles.get(name, stage)
    return f"{title} ({' '.join(counts)})" if name in titles and "of" in counts else title


def _cells(texts: Sequence[str]) -> list[Any]:
    """A column of a CSV file: whole numbers, numbers (empty cells: None), or text."""
    for kind in (int, float):
        try:
            return [None if text == "" else kind(text) for text in texts]
        except ValueError:
            continue
    return list(texts)
