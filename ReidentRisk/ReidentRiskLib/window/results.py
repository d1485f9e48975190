"""A result in the scene: what a run adds under one folder, and finding it again, in a scene that was saved too.

The table of scores is the handle of a result: it refers to all other nodes and carries the report.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from RefaceLib.common.errors import InputError
from RefaceLib.window.nodes import nodes_of_class
from RefaceLib.window.slicerui import translator
from ReidentRiskLib.judge.calibration import load_calibration
from ReidentRiskLib.judge.scores import ATTACKERS
from ReidentRiskLib.runs.facefile import FaceRecord
from ReidentRiskLib.runs.pointlist import OWN
from ReidentRiskLib.runs.tools import network_name
from ReidentRiskLib.window import mrml, words
from ReidentRiskLib.window.job import Findings, Request

_ = translator(__name__)

RESULT = "ReidentRisk.Result"  # the attribute by which the table of a result is known: its number in the scene
CHOICES = "ReidentRisk.Choices"  # the attribute with what was asked for beside the volumes, as JSON
IDENTIFICATION = "ReidentRisk.Identification"  # the attribute with the report of a look-up in a gallery
FINGERPRINTS = "ReidentRisk.Fingerprints"  # the attribute with what the volumes were, as JSON
_LATER = {CHOICES: "{}", FINGERPRINTS: "[]"}  # what stands for attributes that the table of another version lacks
_ROLES = ("Volume", "Surface", "Landmarks", "Pictures", "Chart")
_LESSONS = ("Explanation", "GuessWho")  # the roles of the pictures for a class
_MOST_CHARTS = len(ATTACKERS)  # a histogram for each
_NAMED = 3  # probes in the name of a result


@dataclass(frozen=True, eq=False)
class RiskResultNodes:
    """The nodes of a result; lists but `charts` are of the reference and the probes, in this order (None: deleted).

    `volumes` are those that were compared, which are not part of the result; `choices` is what was asked for beside
    them (see Request). What a volume without a head does not have is None as well. `number` is another one for each
    result of a scene, and `fingerprints` are those of the volumes when they were compared.
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
    number: int
    fingerprints: list[dict[str, Any]]

    @property
    def names(self) -> list[str]:
        """Of the reference and the probes."""
        return [each["name"] for each in (self.report["reference"], *self.report["probes"])]


def add_result(
    scene: slicer.vtkMRMLScene, request: Request, findings: Findings, number: int | None = None
) -> Generator[None, None, RiskResultNodes]:
    """Add what was found about the volumes of a request to the scene: everything, or after an error nothing.

    It is done in pieces, between which the window lives; closed before its end, it leaves nothing either. `number` is
    that of a result whose place this one takes. Faces and points share the parent transforms of their volumes.
    """
    number = number or 1 + max((result.number for result in all_results(scene)), default=0)
    title = _title(
        number, [findings.report["reference"]["name"], *(each["name"] for each in findings.report["probes"])]
    )
    folder = mrml.add_folder(scene, _("Comparison {title}").format(title=title))
    try:
        labels = list(findings.report["reference"]["points"])
        faces: list[tuple[slicer.vtkMRMLNode | None, ...]] = []
        for volume, face in zip(request.nodes, findings.faces, strict=True):
            faces.append(_add_face(scene, folder, volume, face, labels, original=not faces))
            yield
        charts = _add_histograms(scene, folder, findings.report)
        yield
        table = mrml.add_table(scene, folder, title, _score_columns(findings))
        _set_attributes(table, request, findings)
        for role, members in zip(_ROLES, (request.nodes, *zip(*faces, strict=True), charts), strict=True):
            for index, node in enumerate(members):
                if node is not None:
                    table.SetNodeReferenceID(_role(role, index), node.GetID())
        if findings.identification:
            ranks = mrml.add_table(scene, folder, _("Ranks"), _rank_columns(findings))
            mrml.set_provenance(ranks, findings.identification)
        lessons = ((findings.explanation, _("Explanation")), (findings.exercise, _("Guess who")))
        for role, (picture, name) in zip(_LESSONS, lessons, strict=True):
            if picture is not None:
                node = mrml.add_pictures(scene, folder, picture[None], name)
                table.SetNodeReferenceID(_role(role, 0), node.GetID())
        for node in mrml.nodes_in(scene, folder) if number > 1 else ():
            if node is not table:  # else it would be called as a part of another result
                node.SetName(f"{node.GetName()} ({number})")
    except BaseException:
        mrml.remove_folder(scene, folder)
        raise
    table.SetAttribute(RESULT, str(number))  # only now: until then it can be chosen nowhere
    return _result_of(table)


def _title(number: int, names: Sequence[str]) -> str:
    """Such as "2. Head - refaced, defaced": what is compared with the original, without what is in its name, too."""
    original, *probes = names
    short = [probe.removeprefix(original).strip(" _-") or probe for probe in probes]
    more = [f"+{len(short) - _NAMED}"] if len(short) > _NAMED else []
    return f"{number}. {original} - {', '.join([*short[:_NAMED], *more])}"


def _set_attributes(table: slicer.vtkMRMLTableNode, request: Request, findings: Findings) -> None:
    """What a saved scene keeps of a result beside the nodes."""
    mrml.set_provenance(table, findings.report)
    table.SetAttribute(CHOICES, json.dumps(_choices(request)))
    table.SetAttribute(FINGERPRINTS, json.dumps(list(findings.fingerprints)))
    if findings.identification:
        table.SetAttribute(IDENTIFICATION, json.dumps(findings.identification))


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
    report = mrml.report_of(table)
    faces = 1 + len(report["probes"])
    volumes, surfaces, landmarks, pictures = (_referred(table, role, faces) for role in _ROLES[:-1])
    found = json.loads(table.GetAttribute(IDENTIFICATION) or "null")
    choices, before = (json.loads(table.GetAttribute(name) or empty) for name, empty in _LATER.items())
    number = int(table.GetAttribute(RESULT))
    charts = [chart for chart in _referred(table, _ROLES[-1], _MOST_CHARTS) if chart is not None]
    explanation, exercise = (_referred(table, role, 1)[0] for role in _LESSONS)
    return RiskResultNodes(
        table,
        volumes,
        surfaces,
        landmarks,
        pictures,
        charts,
        explanation,
        exercise,
        report,
        found,
        choices,
        number,
        before,
    )


def all_results(scene: slicer.vtkMRMLScene) -> list[RiskResultNodes]:
    """The results of a scene, in the order of its nodes."""
    found = (find_result(table) for table in nodes_of_class(scene, "vtkMRMLTableNode"))
    return [result for result in found if result is not None]


def tell_apart(scene: slicer.vtkMRMLScene) -> None:
    """Give every result a number of its own: one that was read into the scene may have that of another."""
    taken: set[int] = set()
    for result in all_results(scene):
        if result.number in taken:
            _number_anew(result, 1 + max(each.number for each in all_results(scene)))
        taken.add(int(result.table.GetAttribute(RESULT)))


def _number_anew(result: RiskResultNodes, number: int) -> None:
    table, title = result.table, _title(number, result.names)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(table.GetScene())
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table))
    if hierarchy.GetItemLevel(folder) == "Folder":
        hierarchy.SetItemName(folder, hierarchy.GetItemName(folder).replace(_title(result.number, result.names), title))
    for node in mrml.nodes_in(table.GetScene(), folder) if folder else ():
        if node.GetAttribute(mrml.RUN) == table.GetAttribute(mrml.RUN):
            node.SetName(f"{node.GetName().removesuffix(f' ({result.number})')} ({number})")
    table.SetName(title)
    table.SetAttribute(RESULT, str(number))


def result_of_landmarks(landmarks: slicer.vtkMRMLMarkupsNode | None) -> RiskResultNodes | None:
    """The result whose reference has these landmarks; None for a point list of the user's."""
    if landmarks is None or landmarks.GetScene() is None:
        return None
    every = all_results(landmarks.GetScene())
    return next((result for result in every if result.landmarks[0] is landmarks), None)


def request_again(result: RiskResultNodes, landmarks: slicer.vtkMRMLMarkupsNode, **options: Any) -> Request:
    """What was asked for when the result was made, with other landmarks; `options` are further fields of the Request.

    Landmarks that were found in the original, and that nobody has moved, are found anew: its voxels may be others now.
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
    found = landmarks is result.landmarks[0] and result.report["reference"]["landmarks"] == OWN
    return Request(
        reference,
        probes,
        landmarks=None if found and mrml.as_placed(landmarks) else landmarks,
        gallery=Path(gallery) if gallery else None,
        **choices,
        **options,
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
    *,
    original: bool,
) -> tuple[slicer.vtkMRMLNode | None, ...]:
    """Its surface, landmarks and pictures; None each where no head was found.

    The landmarks of the original alone are there for the user, who may correct them.
    """
    if not len(face.points):
        return None, None, None
    from RefaceLib.skin.meshes import polydata

    skin = polydata(face.vertices, face.normals, face.triangles)
    surface = mrml.add_surface(scene, folder, skin, _("{name} face").format(name=face.name), volume)
    name = _("{name} landmarks").format(name=face.name)
    landmarks = mrml.add_points(scene, folder, face.points, labels, name, volume, hidden=not original)
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
            told = words.attacker(attacker)
            name = _("{attacker}, plot").format(
                attacker=told.capitalize()
            )  # its beginning is all that a selector shows
            title = _("Similarities among strangers ({attacker})").format(attacker=told)
            title += ",\n" + _("network {network}").format(network=network_name(model))  # one line would be cut
            charts.append(mrml.add_histogram(scene, folder, name, title, calibration, scores))
    return charts
