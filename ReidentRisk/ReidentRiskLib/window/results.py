"""A result in the scene: what a run adds under one folder, and finding it again, in a scene that was saved too.

The table of scores is the handle of a result: it refers to all other nodes and carries the report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from RefaceLib.common.errors import InputError
from RefaceLib.window.slicerui import translator
from ReidentRiskLib.judge.calibration import load_calibration
from ReidentRiskLib.judge.scores import ATTACKERS
from ReidentRiskLib.runs.facefile import FaceRecord
from ReidentRiskLib.runs.tools import network_name
from ReidentRiskLib.window import mrml, words
from ReidentRiskLib.window.job import Findings, Request

_ = translator(__name__)

RESULT = "ReidentRisk.Result"  # the attribute by which the table of a result is known
CHOICES = "ReidentRisk.Choices"  # the attribute with what was asked for beside the volumes, as JSON
IDENTIFICATION = "ReidentRisk.Identification"  # the attribute with the report of a look-up in a gallery
_ROLES = ("Volume", "Surface", "Landmarks", "Pictures", "Chart")
_LESSONS = ("Explanation", "GuessWho")  # the roles of the pictures for a class
_MOST_CHARTS = len(ATTACKERS)  # a histogram for each


@dataclass(frozen=True, eq=False)
class RiskResultNodes:
    """The nodes of a result; lists but `charts` are of the reference and the probes, in this order (None: deleted).

    `volumes` are those that were compared, which are not part of the result; `choices` is what was asked for beside
    them (see Request). What a volume without a head does not have is None as well.
    """

    table: slicer.vtkMRMLTableNode
    volumes: list[slicer.vtkMRMLScalarVolumeNode | None]
    surfaces: list[slicer.vtkMRMLModelNode | None]
    landmarks: list[slicer.vtkMRMLMarkupsFiducialNode | None]
    pictures: list[slicer.vtkMRMLVectorVolumeNode | None]
    charts: list[slicer.vtkMRMLPlotChartNode]
    explanation: slicer.vtkMRMLVectorVolumeNode | None
    exercise: slicer.vtkMRMLVectorVolumeNode | None
    report: dict[str, Any]
    identification: dict[str, Any] | None
    choices: dict[str, Any]

    @property
    def names(self) -> list[str]:
        """Of the reference and the probes."""
        return [each["name"] for each in (self.report["reference"], *self.report["probes"])]


def add_result(scene: slicer.vtkMRMLScene, request: Request, findings: Findings) -> RiskResultNodes:
    """Add what was found about the volumes of a request to the scene: everything, or after an error nothing.

    Faces and points share the parent transforms of their volumes.
    """
    name = findings.report["reference"]["name"]
    folder = mrml.add_folder(scene, _("Faces of {name}").format(name=name))
    try:
        labels = list(findings.report["reference"]["points"])
        faces = [_add_face(scene, folder, *each, labels) for each in zip(request.nodes, findings.faces, strict=True)]
        charts = _add_histograms(scene, folder, findings.report)
        table = mrml.add_table(scene, folder, _("Similarities to {name}").format(name=name), _score_columns(findings))
        table.SetAttribute(RESULT, name)
        table.SetAttribute(CHOICES, json.dumps(_choices(request)))
        mrml.set_provenance(table, findings.report)
        if findings.identification:
            ranks = mrml.add_table(scene, folder, _("Ranks"), _rank_columns(findings))
            mrml.set_provenance(ranks, findings.identification)
            table.SetAttribute(IDENTIFICATION, json.dumps(findings.identification))
        for role, members in zip(_ROLES, (request.nodes, *zip(*faces, strict=True), charts), strict=True):
            for index, node in enumerate(members):
                if node is not None:
                    table.SetNodeReferenceID(_role(role, index), node.GetID())
        lessons = ((findings.explanation, _("Explanation")), (findings.exercise, _("Guess who")))
        for role, (picture, title) in zip(_LESSONS, lessons, strict=True):
            if picture is not None:
                node = mrml.add_pictures(scene, folder, picture[None], title)
                table.SetNodeReferenceID(_role(role, 0), node.GetID())
    except Exception:
        mrml.remove_folder(scene, folder)
        raise
    return _result_of(table)


def _choices(request: Request) -> dict[str, Any]:
    """What a request asks for beside the volumes, ready for JSON."""
    return {
        "model": request.model,
        "views": request.views,
        "own_landmarks": request.own_landmarks,
        "gallery": str(request.gallery) if request.gallery else None,
    }


def _score_columns(findings: Findings) -> dict[str, list[Any]]:
    """The table that is shown: numbers first, so that they are on screen; what is long is in the report."""
    scores = findings.scores
    shares = scores["share_of_strangers"]
    acquired = zip(scores["acquired_views"], scores["views"], strict=True)
    return {
        _("volume"): scores["probe"],
        _("strangers %"): [None if share in (None, "") else round(100 * share, 2) for share in shares],
        _("cosine"): [None if value in (None, "") else round(value, 3) for value in scores["mean_embedding"]],
        _("verdict"): [words.verdict(verdict) for verdict in scores["verdict"]],
        _("attacker"): [words.attacker(attacker) for attacker in scores["attacker"]],
        _("views with a face"): [f"{seen} / {views}" for seen, views in acquired],
        _("network"): scores["network"],
    }


def _rank_columns(findings: Findings) -> dict[str, list[Any]]:
    ranks = findings.ranks
    return {
        _("volume"): ranks["probe"],
        _("rank of the original"): ranks["rank"],
        _("of persons"): ranks["gallery"],
        _("most similar"): ranks["most_similar"],
        _("attacker"): [words.attacker(attacker) for attacker in ranks["attacker"]],
        _("network"): ranks["network"],
    }


def find_result(table: slicer.vtkMRMLTableNode | None) -> RiskResultNodes | None:
    """The result that a table of scores belongs to; None for any other table, and one whose report is not ours."""
    if table is None:
        return None
    try:
        return _result_of(table)
    except (ValueError, KeyError, TypeError):
        return None


def _result_of(table: slicer.vtkMRMLTableNode) -> RiskResultNodes:
    """See find_result; ValueError, KeyError or TypeError where the report of the table is not ours."""
    report = json.loads(table.GetAttribute(mrml.ATTRIBUTE_PREFIX + "Report") or "")
    faces = 1 + len(report["probes"])
    volumes, surfaces, landmarks, pictures = (_referred(table, role, faces) for role in _ROLES[:-1])
    found = json.loads(table.GetAttribute(IDENTIFICATION) or "null")
    choices = json.loads(table.GetAttribute(CHOICES) or "{}")
    charts = [chart for chart in _referred(table, _ROLES[-1], _MOST_CHARTS) if chart is not None]
    explanation, exercise = (_referred(table, role, 1)[0] for role in _LESSONS)
    return RiskResultNodes(
        table, volumes, surfaces, landmarks, pictures, charts, explanation, exercise, report, found, choices
    )


def result_of_landmarks(landmarks: slicer.vtkMRMLMarkupsNode | None) -> RiskResultNodes | None:
    """The result whose reference has these landmarks; None for a point list of the user's."""
    if landmarks is None or landmarks.GetScene() is None or not landmarks.GetAttribute(mrml.RUN):
        return None
    for node in mrml.nodes_of_runs(landmarks.GetScene(), landmarks.GetAttribute(mrml.RUN)):
        result = find_result(node) if node.GetAttribute(RESULT) else None
        if result is not None and result.landmarks[0] is landmarks:
            return result
    return None


def request_again(result: RiskResultNodes, landmarks: slicer.vtkMRMLMarkupsNode, **options: Any) -> Request:
    """What was asked for when the result was made, with other landmarks; `options` are further fields of the Request.

    Raises InputError where a volume has been deleted since.
    """
    gone = [name for name, volume in zip(result.names, result.volumes, strict=True) if volume is None]
    if gone:
        raise InputError(
            _("'{name}' was deleted after this comparison: choose volumes, and press Run.").format(name=gone[0])
        )
    choices = dict(result.choices)
    gallery = choices.pop("gallery", None)
    reference, *probes = result.volumes
    return Request(
        reference, probes, landmarks=landmarks, gallery=Path(gallery) if gallery else None, **choices, **options
    )


def asks_for_the_same(result: RiskResultNodes, request: Request) -> bool:
    """Whether a request is for the volumes and by the choices of the result."""
    volumes = [None if node is None else node.GetID() for node in request.nodes]
    return volumes == [None if node is None else node.GetID() for node in result.volumes] and (
        _choices(request) == result.choices
    )


def remove_result(table: slicer.vtkMRMLTableNode) -> None:
    """Remove every node that the run of this table added, wherever the user has put it, and folders left empty by that.

    What the user has put beside them stays.
    """
    scene, run = table.GetScene(), table.GetAttribute(mrml.RUN)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    mine = mrml.nodes_of_runs(scene, run) if run else [table]
    items = (hierarchy.GetItemByDataNode(node) for node in mine)
    folders = {hierarchy.GetItemParent(item) for item in items if item}
    mrml.remove_nodes(scene, mine)
    for folder in folders:
        if hierarchy.GetItemLevel(folder) == "Folder" and not hierarchy.GetNumberOfItemChildren(folder):
            hierarchy.RemoveItem(folder)


def _referred(table: slicer.vtkMRMLTableNode, role: str, count: int) -> list[slicer.vtkMRMLNode | None]:
    return [table.GetNodeReference(_role(role, index)) for index in range(count)]


def _role(kind: str, index: int) -> str:
    # A role for each: of several nodes in one role, those behind a deleted one move up.
    return f"{mrml.ATTRIBUTE_PREFIX}{kind}{index}"


def _add_face(
    scene: slicer.vtkMRMLScene,
    folder: int,
    volume: slicer.vtkMRMLScalarVolumeNode,
    face: FaceRecord,
    labels: Sequence[str],
) -> tuple[slicer.vtkMRMLNode | None, ...]:
    """Its surface, landmarks and pictures; None each where no head was found."""
    if not len(face.points):
        return None, None, None
    from RefaceLib.skin.meshes import polydata

    skin = polydata(face.vertices, face.normals, face.triangles)
    surface = mrml.add_surface(scene, folder, skin, _("{name} face").format(name=face.name), volume)
    landmarks = mrml.add_points(
        scene, folder, face.points, labels, _("{name} landmarks").format(name=face.name), volume
    )
    pictures = mrml.add_pictures(scene, folder, face.pictures, _("{name} renderings").format(name=face.name))
    return surface, landmarks, pictures


def _add_histograms(
    scene: slicer.vtkMRMLScene, folder: int, report: Mapping[str, Any]
) -> list[slicer.vtkMRMLPlotChartNode]:
    """A chart for each attacker whose scores are calibrated."""
    charts = []
    model = report["model"]
    for attacker in ATTACKERS:
        calibration = load_calibration(model["name"], report["views"], attacker, model["sha256"])
        if calibration is not None:
            scores = {probe["name"]: probe["attackers"][attacker]["mean_embedding"] for probe in report["probes"]}
            name = _("Similarities among strangers ({attacker})").format(attacker=words.attacker(attacker))
            charts.append(mrml.add_histogram(scene, folder, name, calibration, scores, network_name(model)))
    return charts
