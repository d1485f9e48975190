"""Where the mask of a run goes, and how it is shown: as a thin outline, out of the way of the face.

The rule: an input has one mask. A run fills the segmentation of an earlier run of the same input again where it holds
the same voxels, whatever the seed, or where no other result refers to it. Otherwise, as after a run without ears,
both results need a mask of their own, and the run makes a new one.
"""

from __future__ import annotations

import numpy as np
import slicer

from RefaceLib.window import mrml
from RefaceLib.window.nodes import nodes_of_class

MASK_ROLE = "Reface.Mask"  # from a result volume to the segmentation of its mask


def mask_to_fill(
    scene: slicer.vtkMRMLScene,
    source_node: slicer.vtkMRMLScalarVolumeNode,
    mask: np.ndarray,
    chosen: slicer.vtkMRMLSegmentationNode | None = None,
) -> slicer.vtkMRMLSegmentationNode | None:
    """The segmentation for `mask`, (I, J, K) bool on the source's grid, by the rule above; None: make a new one.

    One that the user has `chosen` comes first, but by the same rule.
    """
    geometry = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    of_source = [
        node for node in _masks(scene) if node.GetNodeReference(geometry) is source_node and holds_voxels(node)
    ]
    taken = {node.GetNodeReference(MASK_ROLE) for node in nodes_of_class(scene, "vtkMRMLScalarVolumeNode")}

    def free(node: slicer.vtkMRMLSegmentationNode) -> bool:
        return node not in taken

    if chosen is not None and (free(chosen) or mrml.holds_mask(chosen, source_node, mask)):
        return chosen
    same = (node for node in of_source if mrml.holds_mask(node, source_node, mask))
    return next(same, None) or next(filter(free, of_source), None)


def holds_voxels(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a segmentation keeps voxels, and not surfaces, as those of an STL file, which would smooth a mask."""
    voxels = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    return node.GetSegmentation().GetSourceRepresentationName() == voxels


def show_outline(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Show the mask in the slices as an outline that hides nothing; other segments stay as they are shown."""
    display, segment = node.GetDisplayNode(), mrml.mask_segment(node)
    display.SetSegmentVisibility2DFill(segment, False)
    display.SetSegmentVisibility2DOutline(segment, True)
    display.SetSegmentVisibility3D(segment, False)
    display.SetSegmentVisibility(segment, True)


def show_mask(scene: slicer.vtkMRMLScene, shown: slicer.vtkMRMLSegmentationNode | None) -> None:
    """Show one mask, or none, and hide all others; other segments stay as they are."""
    for node in _masks(scene):
        display = node.GetDisplayNode()
        if display is None:
            continue
        display.SetSegmentVisibility(mrml.mask_segment(node), node is shown)
        if node is shown:
            display.SetVisibility(True)


def _masks(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSegmentationNode]:
    return [node for node in nodes_of_class(scene, "vtkMRMLSegmentationNode") if mrml.mask_segment(node)]
