"""A result in the scene: what a run adds under one folder, and finding it again, in a scene that was saved too.

The table of scores is the handle of a result: it refers to all other nodes and carries the report.
"""

from __future__ import annotations

import html
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import slicer

from RefaceLib.window.slicerui import translator
from ReidentRiskLib.judge.calibration import load_calibration
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKERS, DETECTED
from ReidentRiskLib.judge.verdict import NOT_RECOGNISABLE, RECOGNISABLE, UNCALIBRATED, UNCERTAIN
from ReidentRiskLib.runs.facefile import FaceRecord
from ReidentRiskLib.runs.tools import network_name
from ReidentRiskLib.window import mrml
from ReidentRiskLib.window.job import Findings

_ = translator(__name__)

COLOURS = {  # background of a verdict; all are light enough for black letters
    RECOGNISABLE: "#f4a59a",
    UNCERTAIN: "#f7d98b",
    NOT_RECOGNISABLE: "#a8d8a0",
    UNCALIBRATED: "#d5d5d5",
}
RESULT = "ReidentRisk.Result"  # the attribute by which the table of a result is known
_RUN = "ReidentRisk.Run"  # the attribute by which all nodes of a result are known, a random number
IDENTIFICATION = "ReidentRisk.Identification"  # the attribute with the report of a look-up in a gallery
_ROLES = ("Surface", "Landmarks", "Pictures", "Chart")
_MOST_CHARTS = len(ATTACKERS)  # a histogram for each


@dataclass(frozen=True, eq=False)
class RiskResultNodes:
    """The nodes of a result; those of faces are of the reference and the probes, in this order (None: deleted)."""

    table: slicer.vtkMRMLTableNode
    surfaces: list[slicer.vtkMRMLModelNode | None]
    landmarks: list[slicer.vtkMRMLMarkupsFiducialNode | None]
    pictures: list[slicer.vtkMRMLVectorVolumeNode | None]
    charts: list[slicer.vtkMRMLPlotChartNode]
    report: dict[str, Any]
    identification: dict[str, Any] | None

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return sum(each.get("seconds", {}).get("total", 0.0) for each in (self.report, self.identification or {}))

    @property
    def names(self) -> list[str]:
        """Of the reference and the probes."""
        return [each["name"] for each in (self.report["reference"], *self.report["probes"])]


def add_result(
    scene: slicer.vtkMRMLScene, nodes: Sequence[slicer.vtkMRMLScalarVolumeNode], findings: Findings
) -> RiskResultNodes:
    """Add what was found about volumes (reference first) to the scene: everything, or after an error nothing.

    Faces and points share the parent transforms of their volumes.
    """
    name = findings.report["reference"]["name"]
    folder = mrml.add_folder(scene, _("Faces of {name}").format(name=name))
    try:
        faces = [_add_face(scene, folder, *each) for each in zip(nodes, findings.faces, strict=True)]
        faces[0][1].SetLocked(False)  # the landmarks of the reference are the user's to correct
        charts = _add_histograms(scene, folder, findings.report)
        table = mrml.add_table(scene, folder, _("Similarities"), findings.scores)
        table.SetAttribute(RESULT, name)
        mrml.set_provenance(table, findings.report)
        if findings.identification:
            ranks = mrml.add_table(scene, folder, _("Ranks"), findings.ranks)
            mrml.set_provenance(ranks, findings.identification)
            table.SetAttribute(IDENTIFICATION, json.dumps(findings.identification))
        for role, members in zip(_ROLES, (*zip(*faces, strict=True), charts), strict=True):
            for index, node in enumerate(members):
                table.SetNodeReferenceID(_role(role, index), node.GetID())
        run = uuid.uuid4().hex
        for node in mrml.nodes_in(scene, folder):
            node.SetAttribute(_RUN, run)
    except Exception:
        mrml.remove_folder(scene, folder)
        raise
    return _result_of(table)


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
    surfaces, landmarks, pictures = (_referred(table, role, faces) for role in _ROLES[:3])
    found = json.loads(table.GetAttribute(IDENTIFICATION) or "null")
    charts = [chart for chart in _referred(table, "Chart", _MOST_CHARTS) if chart is not None]
    return RiskResultNodes(table, surfaces, landmarks, pictures, charts, report, found)


def remove_result(table: slicer.vtkMRMLTableNode) -> None:
    """Remove every node that the run of this table added, wherever the user has put it, and folders left empty by that.

    What the user has put beside them stays.
    """
    scene, run = table.GetScene(), table.GetAttribute(_RUN)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    mine = [node for node in nodes if node is table or (run and node.GetAttribute(_RUN) == run)]
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in mine}
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
    scene: slicer.vtkMRMLScene, folder: int, volume: slicer.vtkMRMLScalarVolumeNode, face: FaceRecord
) -> tuple[slicer.vtkMRMLNode, slicer.vtkMRMLNode, slicer.vtkMRMLNode]:
    from RefaceLib.skin.surface import polydata
    from ReidentRiskLib.attack.landmarks import FIVE

    skin = polydata(face.vertices, face.normals, face.triangles)
    surface = mrml.add_surface(scene, folder, skin, _("{name} face").format(name=face.name), volume)
    landmarks = mrml.add_points(scene, folder, face.points, FIVE, _("{name} landmarks").format(name=face.name), volume)
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
            name = _("Similarities among strangers ({attacker})").format(attacker=_attackers()[attacker])
            charts.append(mrml.add_histogram(scene, folder, name, calibration, scores, network_name(model)))
    return charts


# ---- in words ----


def _attackers() -> dict[str, str]:
    return {ALIGNED: _("aligned faces"), DETECTED: _("detected faces")}


def _verdicts() -> dict[str, str]:
    return {
        RECOGNISABLE: _("recognisable"),
        UNCERTAIN: _("uncertain"),
        NOT_RECOGNISABLE: _("not recognisable"),
        UNCALIBRATED: _("no verdict"),
    }


def summary(result: RiskResultNodes) -> str:
    """What was found, as HTML: the verdict of every probe on its colour, what each attacker sees, warnings."""
    network = network_name(result.report["model"])
    lines = ["<p>" + html.escape(_("Compared by the network {network}").format(network=network)) + "</p>"]
    for probe in result.report["probes"]:
        colour, verdict = COLOURS[probe["verdict"]], _verdicts()[probe["verdict"]]
        badge = f'<span style="background-color:{colour}; color:black">&nbsp;{verdict}&nbsp;</span>'
        lines.append(f"<p><b>{html.escape(probe['name'])}</b> {badge}")
        lines += [
            f"<br>{_attackers()[attacker]}: {html.escape(found['sentence'])}"
            for attacker, found in probe["attackers"].items()
        ]
        lines.append("</p>")
    if result.identification:
        lines += [f"<p>{_look_up(result.identification)}</p>"]
    lines += [f"<p><i>{html.escape(warning)}</i></p>" for warning in _warnings(result)]
    return "".join(lines)


def _look_up(report: Mapping[str, Any]) -> str:
    sentence = _("{attacker}: {hits} of {probes} found first among {gallery} persons (by guessing {chance:.1%})")
    lines = []
    for attacker, found in report["attackers"].items():
        lines.append(
            sentence.format(
                attacker=_attackers()[attacker],
                hits=found["rank1"]["hits"],
                probes=found["rank1"]["of"],
                gallery=found["gallery"],
                chance=found["chance_rank1"],
            )
        )
        lines += [html.escape(rank) for rank in found["ranks"] or ()]
    return "<br>".join(lines)


def _warnings(result: RiskResultNodes) -> list[str]:
    every = [*result.report["warnings"], *(result.identification or {}).get("warnings", ())]
    return list(dict.fromkeys(every))
