"""From nodes to the request of a run, and from its answer to nodes, all or none of which are added to the scene."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from RefaceLib.common.errors import InputError, OutputError, RefaceError
from RefaceLib.volume.io import Volume
from RefaceLib.window import faces, masks, mrml
from RefaceLib.window.job import RefaceAnswer, RefaceRequest
from RefaceLib.window.masks import MASK_ROLE
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

INPUT_ROLE = "Reface.Input"  # from a result volume to its input, to compare both
_REPORT = f"{mrml.ATTRIBUTE_PREFIX}Report"  # the attribute that makes a node a result


@dataclass(frozen=True)
class RefaceNodes:
    """What a run takes from the scene and where it puts its result (None: into new nodes).

    An `output` that is no result of Reface is only filled with `overwrite`.
    """

    input: slicer.vtkMRMLScalarVolumeNode
    others: Sequence[slicer.vtkMRMLScalarVolumeNode] = ()
    output: slicer.vtkMRMLScalarVolumeNode | None = None
    mask: slicer.vtkMRMLSegmentationNode | None = None
    overwrite: bool = False


@dataclass(frozen=True, eq=False)
class RefaceResultNodes:
    """What a run has put into the scene."""

    volume: slicer.vtkMRMLScalarVolumeNode
    mask: slicer.vtkMRMLSegmentationNode
    others: list[slicer.vtkMRMLScalarVolumeNode]
    report: dict[str, Any]


def make_request(nodes: RefaceNodes, **options: Any) -> RefaceRequest:
    """A request with copies of the nodes' voxels; `options` are mode, seed, ears, device, models, candidates.

    Raises InputError or OutputError for nodes that cannot be used.
    """
    mrml.check_input(nodes.input)
    if nodes.output is not None:
        mrml.check_output(nodes.input, nodes.output)
        if would_be_lost(nodes.output) and not nodes.overwrite:
            name = nodes.output.GetName()
            raise OutputError(
                f"The output volume '{name}' is no result of Reface, and its image would be lost: choose another."
            )
    if any(other is nodes.output for other in nodes.others):
        raise OutputError("The output volume is one of the other volumes, which are never changed: choose another.")
    others = [other for other in nodes.others if other is not nodes.input]
    request = RefaceRequest(
        volume=(f"'{nodes.input.GetName()}'", mrml.volume_from_node(nodes.input)),
        others=tuple((f"'{other.GetName()}'", _beside(nodes.input, other)) for other in others),
        **options,
    )
    return request


def would_be_lost(node: slicer.vtkMRMLScalarVolumeNode | None) -> bool:
    """Whether a volume holds an image that Reface has not made, and that an output in its place would overwrite."""
    return node is not None and node.GetImageData() is not None and not node.GetAttribute(_REPORT)


def overwrite_question(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """What the user is asked before such a volume is overwritten."""
    question = _("'{name}' is no result of Reface. Overwrite its image? It cannot be brought back.")
    return question.format(name=node.GetName())


def _beside(input_node: slicer.vtkMRMLScalarVolumeNode, other_node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """The other volume with its affine in the local coordinates of the input, wherever transforms have put both."""
    volume = mrml.volume_from_node(other_node)
    if other_node.GetParentTransformNode() is input_node.GetParentTransformNode():
        return volume
    matrix = vtk.vtkMatrix4x4()
    linear = slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(
        other_node.GetParentTransformNode(), input_node.GetParentTransformNode(), matrix
    )
    if not linear:
        raise InputError(
            f"'{other_node.GetName()}' lies under a non-linear transform that '{input_node.GetName()}' does not: "
            "harden the transform first."
        )
    between = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    return dataclasses.replace(volume, affine=between @ volume.affine)


def show_answer(nodes: RefaceNodes, answer: RefaceAnswer) -> RefaceResultNodes:
    """Put an answer into the scene of its input; InputError where the input has left the scene in the meantime."""
    scene = nodes.input.GetScene()
    if scene is None:
        raise InputError("The input volume was removed during the run, so there is no place for the result.")
    report = dict(answer.report)
    volume = _show_volume(scene, nodes, answer, report["mode"])
    mask = _show_mask(scene, nodes, volume, answer.mask)
    warning = mrml.patient_tags_warning(scene, volume)
    report["output"] = volume.GetName()
    report["warnings"] = [*([warning] if warning else []), *report["warnings"]]
    for node in (volume, mask):
        mrml.set_provenance(node, report)
    volume.SetNodeReferenceID(INPUT_ROLE, nodes.input.GetID())
    others = [other for other in nodes.others if other is not nodes.input]
    added = []
    for other, (stored, other_report) in zip(others, answer.others, strict=True):
        if other.GetScene() is not scene:
            continue
        node = mrml.add_result_volume(scene, other, stored, _("{name} defaced").format(name=other.GetName()))
        mrml.set_provenance(node, {**other_report, "output": node.GetName(), "mask_from": volume.GetName()})
        added.append(node)
    return RefaceResultNodes(volume, mask, added, report)


def _show_volume(
    scene: slicer.vtkMRMLScene, nodes: RefaceNodes, answer: RefaceAnswer, mode: str
) -> slicer.vtkMRMLScalarVolumeNode:
    if nodes.output is not None and nodes.output.GetScene() is scene:
        mrml.update_result_volume(scene, nodes.input, nodes.output, answer.stored)
        faces.remove_faces(scene, nodes.output)
        return nodes.output
    names = {"reface": _("{name} refaced"), "deface": _("{name} defaced"), "recover": _("{name} with a face")}
    name = names[mode].format(name=nodes.input.GetName())
    return mrml.add_result_volume(scene, nodes.input, answer.stored, name)


def _show_mask(
    scene: slicer.vtkMRMLScene, nodes: RefaceNodes, volume: slicer.vtkMRMLScalarVolumeNode, mask: np.ndarray
) -> slicer.vtkMRMLSegmentationNode:
    """Into the segmentation that was chosen, or that `masks` has for it, or a new one."""
    chosen = nodes.mask if nodes.mask is not None and nodes.mask.GetScene() is scene else None
    name = _("{name} face mask").format(name=nodes.input.GetName())
    existing = chosen or masks.mask_to_fill(scene, nodes.input, nodes.output, mask)
    segmentation = mrml.add_mask_segmentation(scene, nodes.input, mask, name, existing)
    masks.show_outline(segmentation)
    volume.SetNodeReferenceID(MASK_ROLE, segmentation.GetID())
    return segmentation


def result_text(node: slicer.vtkMRMLScalarVolumeNode | None) -> str:
    """What the window says about a result, in lines of plain text; empty for a volume that is none."""
    if node is None:
        return ""
    text = node.GetAttribute(_REPORT)
    if not text:
        return ""
    report = json.loads(text)
    changed = _("Voxels changed: {count}, of the brain: {brain}, outside the mask: {outside}").format(
        count=report["voxels_changed"],
        brain=report["brain_voxels_changed"],
        outside=report["voxels_changed_outside_mask"],
    )
    if report["mode"] == "apply-to":  # a companion, of which no times and no seed are reported
        first = _("{name}: defaced beside {other}").format(name=node.GetName(), other=report["mask_from"])
        return "\n".join([first, changed, *report["warnings"]])
    first = _("{name}: {mode}, {seconds} s").format(
        name=node.GetName(), mode=report["mode"], seconds=report["seconds"]["total"]
    )
    lines = [first, changed, _("Face mask: {volume} ml").format(volume=report["mask_ml"])]
    if report["mode"] != "deface":
        made = _("Model: {model}, seed {seed}")
        lines.append(made.format(model=_named(report["model"]), seed=report["seed"]))
    return "\n".join([*lines, *report["warnings"]])


def model_text(models: str) -> str:
    """What the window says about the weights in the folder `models` (empty: those of the extension)."""
    from RefaceLib.face.weights import about_generator  # imports scipy

    try:
        return _named(about_generator(Path(models) if models else None))
    except RefaceError as error:
        return str(error)


def _named(model: Mapping[str, str]) -> str:
    """Name, version and the beginning of the checksum: weights of one's own may have the name of the shipped ones."""
    return f"{model['name']} {model['version']} ({model['sha256'][:12]})"
