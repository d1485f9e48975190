"""From nodes to the request of a run, and from its answer to nodes, all or none of which are added to the scene."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from RefaceLib.common.errors import InputError, OutputError, RefaceError
from RefaceLib.volume.io import Volume
from RefaceLib.window import faces, hierarchy, masks, mrml, seal, slicerui
from RefaceLib.window.job import Candidate, OtherAnswer, RefaceAnswer, RefaceRequest
from RefaceLib.window.masks import MASK_ROLE
from RefaceLib.window.nodes import nodes_of_class
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

INPUT_ROLE = "Reface.Input"  # from a result volume to its input, to compare both
FIRST_ROLE = "Reface.First"  # from the result of another volume of the session to that of the first one


@dataclass(frozen=True)
class RefaceNodes:
    """What a run takes from the scene and where it puts its result (None: into new nodes).

    An `output` that is no result of the input is only filled with `overwrite`.
    """

    input: slicer.vtkMRMLScalarVolumeNode
    others: Sequence[slicer.vtkMRMLScalarVolumeNode] = ()
    output: slicer.vtkMRMLScalarVolumeNode | None = None
    mask: slicer.vtkMRMLSegmentationNode | None = None
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class RefaceResultNodes:
    """What a run has put into the scene; `failed` are the other volumes without a result, each with the reason."""

    volume: slicer.vtkMRMLScalarVolumeNode
    mask: slicer.vtkMRMLSegmentationNode
    others: list[slicer.vtkMRMLScalarVolumeNode]
    failed: list[tuple[slicer.vtkMRMLScalarVolumeNode, str]]
    report: dict[str, Any]
    choices: Choices | None = None


@dataclass(frozen=True, eq=False)
class Choices:
    """The faces of a run that made several, each of which can take the place of the one that was kept.

    `mask` (I, J, K; bool) is where they differ, on the grid of `volume`.
    """

    volume: slicer.vtkMRMLScalarVolumeNode
    mask: np.ndarray
    candidates: tuple[Candidate, ...]

    @property
    def current(self) -> int | None:
        """Which of the faces the volume has; None when it was removed, or has the result of another run."""
        report = mrml.report_of(self.volume) if self.volume.GetScene() else {}
        seeds = [candidate.seed for candidate in self.candidates]
        if report.get("candidates", {}).get("seeds") != seeds or report["seed"] not in seeds:
            return None
        return seeds.index(report["seed"])


def check_nodes(nodes: RefaceNodes) -> None:
    """Raise InputError or OutputError for nodes that cannot be used."""
    mrml.check_input(nodes.input)
    for other in nodes.others:
        mrml.check_input(other)
    if nodes.output is not None:
        mrml.check_output(nodes.input, nodes.output)
        if _descends(nodes.input, nodes.output):
            raise OutputError("The input was made from the output volume, which would be lost: choose another output.")
        if would_be_lost(nodes.output, nodes.input) and not nodes.overwrite:
            name = nodes.output.GetName()
            raise OutputError(
                f"The output volume '{name}' is no result of this input, and its image would be lost: choose another."
            )
    if nodes.mask is not None and not masks.holds_voxels(nodes.mask):
        text = _("The segmentation '{name}' holds surfaces, which would smooth the mask: choose another one as Mask.")
        raise OutputError(text.format(name=nodes.mask.GetName()))
    if any(other is nodes.output for other in nodes.others):
        raise OutputError("The output volume is one of the other volumes, which are never changed: choose another.")


def _descends(node: slicer.vtkMRMLNode, origin: slicer.vtkMRMLNode) -> bool:
    """Whether a volume is the result of another one, or the result of its result."""
    seen: set[str] = set()
    while (before := node.GetNodeReference(INPUT_ROLE)) is not None and before.GetID() not in seen:
        if before is origin:
            return True
        seen.add(before.GetID())
        node = before
    return False


def input_problem(node: slicer.vtkMRMLScalarVolumeNode, beside: slicer.vtkMRMLScalarVolumeNode | None = None) -> str:
    """Why a volume cannot be an input, or one `beside` it, in one sentence; empty where it can."""
    try:
        mrml.check_input(node)
        if beside is not None:
            _between(beside, node)
    except InputError as error:
        return str(error)
    return ""


def usable(
    volumes: Sequence[slicer.vtkMRMLScalarVolumeNode],
) -> tuple[list[slicer.vtkMRMLScalarVolumeNode], dict[slicer.vtkMRMLScalarVolumeNode, str]]:
    """Of the volumes of a person, the input first: those that a run can use, and why not for each other one."""
    first, *others = volumes
    problems = {other: problem for other in others if (problem := input_problem(other, first))}
    return [first, *(other for other in others if other not in problems)], problems


def make_request(nodes: RefaceNodes, **options: Any) -> RefaceRequest:
    """A request with copies of the nodes' voxels; `options` are mode, seed, ears, device, models, candidates.

    Raises InputError or OutputError for nodes that cannot be used.
    """
    check_nodes(nodes)
    others = [other for other in nodes.others if other is not nodes.input]
    request = RefaceRequest(
        volume=(f"'{nodes.input.GetName()}'", mrml.volume_from_node(nodes.input)),
        others=tuple((f"'{other.GetName()}'", _beside(nodes.input, other)) for other in others),
        **options,
    )
    return request


def would_be_lost(
    node: slicer.vtkMRMLScalarVolumeNode | None, input_node: slicer.vtkMRMLScalarVolumeNode | None
) -> bool:
    """Whether a volume holds an image that is no earlier result of the input, whose new one would overwrite it."""
    if node is None or node.GetImageData() is None:
        return False
    return not mrml.is_result(node) or node.GetNodeReference(INPUT_ROLE) is not input_node


def overwrite_question(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """What the user is asked before such a volume is overwritten."""
    question = _("'{name}' is no result of this input. Overwrite its image? It cannot be brought back.")
    return question.format(name=node.GetName())


def _beside(input_node: slicer.vtkMRMLScalarVolumeNode, other_node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The other volume with its affine in the local coordinates of the input, wherever transforms have put both."""
    volume, between = mrml.volume_from_node(other_node), _between(input_node, other_node)
    return dataclasses.replace(volume, affine=between @ volume.affine)


def _between(input_node: slicer.vtkMRMLScalarVolumeNode, other_node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """From the local coordinates of another volume to those of the input, (4, 4); InputError where none is linear."""
    if other_node.GetParentTransformNode() is input_node.GetParentTransformNode():
        return np.eye(4)
    start, end = other_node.GetParentTransformNode(), input_node.GetParentTransformNode()
    linear = start.IsTransformToNodeLinear(end) if start is not None else end.IsTransformToWorldLinear()
    if not linear:  # asked first: the matrix of another one is an error in the log
        raise InputError(
            f"'{other_node.GetName()}' lies under a non-linear transform that '{input_node.GetName()}' does not: "
            "harden the transform first."
        )
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(start, end, matrix)
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def show_answer(nodes: RefaceNodes, answer: RefaceAnswer) -> RefaceResultNodes:
    """Put an answer into the scene of its input; InputError where the input has left the scene in the meantime.

    The report that its nodes keep names no node: a name of a DICOM series may be that of the patient.
    """
    scene = nodes.input.GetScene()
    if scene is None:
        raise InputError("The input volume was removed during the run, so there is no place for the result.")
    if not mrml.is_like(nodes.input, answer.stored):
        raise InputError(_("'{name}' was changed during the run.").format(name=nodes.input.GetName()))
    report = dict(answer.report)
    volume = _show_volume(scene, nodes, answer, report["mode"])
    chosen = nodes.mask if nodes.mask is not None and nodes.mask.GetScene() is scene else None
    mask = _complete(volume, nodes.input, report, answer.mask, chosen)
    others = [other for other in nodes.others if other is not nodes.input]
    added, failed = [], []
    for other, done in zip(others, answer.others, strict=True):
        if other.GetScene() is not scene:
            continue
        if done.stored is None:
            failed.append((other, str(done.error)))
        elif not mrml.is_like(other, done.stored):
            failed.append((other, _("'{name}' was changed during the run.").format(name=other.GetName())))
        else:
            added.append(_show_other(nodes.input, volume, other, done))
    masks.show_mask(scene, mask)
    choices = Choices(volume, answer.mask, answer.candidates) if answer.candidates else None
    return RefaceResultNodes(volume, mask, added, failed, report, choices)


def take_candidate(choices: Choices, index: int) -> None:
    """Put another face of the run into the result; every face was checked when it came from its child process.

    Raises InputError where the result was changed since.
    """
    volume, candidate = choices.volume, choices.candidates[index]
    seal.check_seal(volume)
    scene = volume.GetScene()
    stored = mrml.volume_from_node(volume).stored
    stored[choices.mask] = candidate.values
    mrml.replace_voxels(volume, stored)
    faces.remove_faces(scene, volume)
    for node in (volume, volume.GetNodeReference(MASK_ROLE)):
        if node is not None:
            mrml.set_provenance(node, candidate.report)


def _show_other(
    input_node: slicer.vtkMRMLScalarVolumeNode,
    first: slicer.vtkMRMLScalarVolumeNode,
    other: slicer.vtkMRMLScalarVolumeNode,
    done: OtherAnswer,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add the result of another volume than the input, beside the `first` result, which is that of the input."""
    assert done.stored is not None and done.mask is not None
    name = _("{name} defaced").format(name=other.GetName())
    node = mrml.add_result_volume(other.GetScene(), other, done.stored, name, beside=input_node)
    _complete(node, other, done.report, done.mask)
    node.SetNodeReferenceID(FIRST_ROLE, first.GetID())
    return node


def _show_volume(
    scene: slicer.vtkMRMLScene, nodes: RefaceNodes, answer: RefaceAnswer, mode: str
) -> slicer.vtkMRMLScalarVolumeNode:
    taken = would_be_lost(nodes.output, nodes.input) and not nodes.overwrite  # by a run that ended meanwhile
    if nodes.output is not None and nodes.output.GetScene() is scene and not taken:
        _pass_on_input(nodes.output)
        mrml.update_result_volume(scene, nodes.input, nodes.output, answer.stored)
        faces.remove_faces(scene, nodes.output)
        return nodes.output
    names = {"reface": _("{name} refaced"), "deface": _("{name} defaced"), "recover": _("{name} with a face")}
    name = names[mode].format(name=nodes.input.GetName())
    return mrml.add_result_volume(scene, nodes.input, answer.stored, name)


def _pass_on_input(output: slicer.vtkMRMLScalarVolumeNode) -> None:
    """The results of a volume that is overwritten become those of its own input."""
    former = output.GetNodeReference(INPUT_ROLE)
    for node in nodes_of_class(output.GetScene(), "vtkMRMLScalarVolumeNode"):
        if node.GetNodeReference(INPUT_ROLE) is output:
            node.SetNodeReferenceID(INPUT_ROLE, former.GetID() if former is not None else None)


def _complete(
    volume: slicer.vtkMRMLScalarVolumeNode,
    source: slicer.vtkMRMLScalarVolumeNode,
    report: dict[str, Any],
    mask: np.ndarray,
    chosen: slicer.vtkMRMLSegmentationNode | None = None,
) -> slicer.vtkMRMLSegmentationNode:
    """Give a result its report, its source and its mask, which goes where `masks` says; the node of the mask."""
    scene = source.GetScene()
    existing = masks.mask_to_fill(scene, source, mask, chosen)
    name = _("{name} face mask").format(name=source.GetName())
    segmentation = mrml.add_mask_segmentation(scene, source, mask, name, existing)
    if existing is None:
        hierarchy.place_result(volume, segmentation)
    masks.show_outline(segmentation)
    for node in (volume, segmentation):
        mrml.set_provenance(node, report)
    seal.seal_mask(volume, mask)
    volume.SetNodeReferenceID(INPUT_ROLE, source.GetID())
    volume.SetNodeReferenceID(MASK_ROLE, segmentation.GetID())
    return segmentation


def done_text(result: RefaceResultNodes) -> str:
    """What the window says when a run has ended well, in one or two sentences."""
    ready = _("'{name}' is ready.").format(name=slicerui.short_name(result.volume.GetName()))
    if not result.failed:
        return ready
    names = ", ".join(f"'{slicerui.short_name(volume.GetName())}'" for volume, _sentence in result.failed)
    return " ".join([ready, _("Not defaced: {names} (the table says why).").format(names=names)])


def result_text(node: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """What the window says about a result, in lines of plain text; empty for a volume that is none."""
    report = mrml.report_of(node)
    if node is None or not report:
        return ""
    gone = promise_text(report)
    changed = _("Voxels changed: {count}, of the brain: {brain}, outside the mask: {outside}").format(
        count=report["voxels_changed"],
        brain=report["brain_voxels_changed"],
        outside=report["voxels_changed_outside_mask"],
    )
    if report["mode"] == "apply-to":  # a companion, of which no times and no seed are reported
        alone = report.get("registered_mm") is None
        beside = _("{name}: defaced by itself") if alone else _("{name}: defaced beside {other}")
        first = beside.format(name=slicerui.short_name(node.GetName()), other=_name_of_first(node))
        return "\n".join([first, gone, changed, *report["warnings"]])
    first = _("{name}: {mode}, {seconds:.0f} s").format(
        name=slicerui.short_name(node.GetName()), mode=report["mode"], seconds=report["seconds"]["total"]
    )
    lines = [first, gone, changed, _("Face mask: {volume:.0f} ml").format(volume=report["mask_ml"])]
    if report["mode"] != "deface":
        made = _("Model: {model}, seed {seed}")
        lines.append(made.format(model=_named(report["model"]), seed=report["seed"]))
    return "\n".join([*lines, *report["warnings"]])


def _name_of_first(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    first = node.GetNodeReference(FIRST_ROLE)
    return slicerui.short_name(first.GetName()) if first is not None else _("another volume")


def promise_text(report: Mapping[str, Any]) -> str:
    """How much of the face is gone, of the part of which most is left."""
    least = least_removed(report)
    if least >= 1:
        return _("All of the face is gone.")
    return _("Of each part of the face, {share} or more is gone.").format(share=share_text(least))


def least_removed(report: Mapping[str, Any]) -> float:
    """The share (0..1) of that part of the face which is gone least, among those that were to go.

    Ears may be left as they are. How far another tool's mask reached to cheeks and ears was its choice.
    """
    kept = {"face", "ears"} if report["mode"] == "recover" else set() if report["ears"] else {"ears"}
    return min((share for part, share in report.get("face_removed", {}).items() if part not in kept), default=1.0)


def share_text(share: float) -> str:
    """A share in percent, which is never rounded up: "99.9 %", "100 %"."""
    tenths = int(share * 1000 + 1e-9)
    return f"{tenths // 10} %" if tenths % 10 == 0 else f"{tenths / 10} %"


def about_models(models: str) -> tuple[str, str]:
    """What the weights in the folder `models` (empty: those of the extension) are called, or why they cannot be used.

    One of both texts is empty.
    """
    from RefaceLib.face.weights import about_generator  # imports scipy

    if problem := slicerui.path_problem(models):
        return "", problem
    try:
        return _named(about_generator(Path(models) if models else None)), ""
    except RefaceError as error:
        return "", str(error)


def _named(model: Mapping[str, str]) -> str:
    """Name, version and the beginning of the checksum: weights of one's own may have the name of the shipped ones."""
    return f"{model['name']} {model['version']} ({model['sha256'][:12]})"
