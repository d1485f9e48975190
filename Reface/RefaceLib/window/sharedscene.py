"""A scene of shared results alone: a new one that holds copies, so that nothing of the user's scene can come along."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer

from RefaceLib.common.errors import OutputError
from RefaceLib.window import export, hierarchy, masks, mrml, results, seal
from RefaceLib.window.shared import SharedResult
from RefaceLib.window.slicerui import translator

_ = translator(__name__)


def write_scene(shared: Sequence[SharedResult], path: Path, label: str) -> None:
    """Write the results as a scene with one subject "De-identified" into `path`, an .mrb. Raises OutputError.

    Voxels, local geometry, display, references between the results and public reports are kept; transforms are not.
    """
    scene = slicer.vtkMRMLScene()
    tree = hierarchy.hierarchy_of(scene)
    subject = tree.CreateSubjectItem(tree.GetSceneItemID(), f"De-identified {label}")
    copies = {}
    for one in shared:
        copies[one.node] = copy = _add_volume(scene, one)
        tree.CreateItem(subject, copy)
        if one.mask is not None:
            mask = _add_mask(scene, one, copy, one.mask)
            seal.seal_mask(copy, one.mask)
            copy.SetNodeReferenceID(results.MASK_ROLE, mask.GetID())
            tree.CreateItem(subject, mask)
    for node, copy in copies.items():
        first = copies.get(node.GetNodeReference(results.FIRST_ROLE))
        if first is not None:
            copy.SetNodeReferenceID(results.FIRST_ROLE, first.GetID())
    if not scene.WriteToMRB(str(path)):
        raise OutputError(f"{path.name} cannot be written into its folder: check the folder and the space on the disk.")


def _add_volume(scene: slicer.vtkMRMLScene, one: SharedResult) -> slicer.vtkMRMLScalarVolumeNode:
    copy = export.copy_of_volume(one.node)
    copy.SetName(one.name)
    mrml.set_provenance(copy, one.report)
    _add_parts(scene, copy, slicer.vtkMRMLScalarVolumeDisplayNode(), slicer.vtkMRMLVolumeArchetypeStorageNode())
    mrml.copy_display(one.node, copy)
    colours = copy.GetDisplayNode().GetColorNodeID() or ""
    original = one.node.GetScene().GetNodeByID(colours)
    if original is None or not original.GetSingletonTag():  # one of the user's own, whose name may say anything
        copy.GetDisplayNode().SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    return copy


def _add_mask(
    scene: slicer.vtkMRMLScene, one: SharedResult, volume: slicer.vtkMRMLScalarVolumeNode, mask: np.ndarray
) -> slicer.vtkMRMLSegmentationNode:
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName(f"{one.name}_mask")
    mrml.set_provenance(node, one.report)
    _add_parts(scene, node, slicer.vtkMRMLSegmentationDisplayNode(), slicer.vtkMRMLSegmentationStorageNode())
    mrml.add_mask_segmentation(scene, volume, mask, node.GetName(), existing=node)
    masks.show_outline(node)
    return node


def _add_parts(
    scene: slicer.vtkMRMLScene,
    node: slicer.vtkMRMLStorableNode,
    display: slicer.vtkMRMLDisplayNode,
    storage: slicer.vtkMRMLStorageNode,
) -> None:
    """Add a node with its display and storage, made here because a new scene may not know classes of modules."""
    for each in (display, storage, node):
        scene.AddNode(each)
    node.SetAndObserveDisplayNodeID(display.GetID())
    node.SetAndObserveStorageNodeID(storage.GetID())
