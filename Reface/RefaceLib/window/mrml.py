"""The one bridge between MRML nodes and arrays.

Everything takes the scene and the nodes as arguments, so that it runs in the application and under slicer-core alike;
nothing here needs Qt, a module manager or `slicer.mrmlScene`.

Geometry is the node's own: `Volume.affine` is the IJK to RAS matrix of the node *without* its parent transform, and
results get the same matrix and the same parent transform. So a face is looked for in the scanner's coordinates,
whatever the user has done with the volume since; a non-linear parent transform needs no resampling; and the result
moves along with the input.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

import RefaceLib
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.window import hierarchy, seal
from RefaceLib.window.nodes import nodes_of_class

if TYPE_CHECKING:
    from RefaceLib.volume.io import Volume

ATTRIBUTE_PREFIX = "Reface."
_REPORT = f"{ATTRIBUTE_PREFIX}Report"  # the attribute that makes a node a result
SEGMENT_NAME = "Face"
SEGMENT_TAG = "Reface.Segment"  # marks the segment of a mask, whatever it and others are called
SEGMENT_COLOR = (0.87, 0.56, 0.42)


def active_volume(scene: slicer.vtkMRMLScene, selection: Any) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the active volume of the application, or None.

    `selection` is the selection node, or the application logic that holds it (`slicer.app.applicationLogic()`).
    """
    if hasattr(selection, "GetSelectionNode"):
        selection = selection.GetSelectionNode()
    volume_id = selection.GetActiveVolumeID() if selection is not None else None
    node = scene.GetNodeByID(volume_id) if volume_id else None
    return node if node is not None and node.IsA("vtkMRMLScalarVolumeNode") else None


def check_input(node: slicer.vtkMRMLNode | None) -> None:
    """Raise InputError unless the node is a scalar volume with one component, an image and a scene."""
    if node is None:
        raise InputError("No input volume is selected: choose the head scan to work on.")
    name = node.GetName()
    if node.GetClassName() != "vtkMRMLScalarVolumeNode":
        raise InputError(f"'{name}' is a {node.GetNodeTagName()} node: choose a scalar volume, such as a T1 head.")
    if node.GetScene() is None:
        raise InputError(f"The volume '{name}' is in no scene: add it to one first.")
    image = node.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise InputError(f"The volume '{name}' holds no image: load one into it first.")
    if is_frame(node):
        raise InputError(
            f"The volume '{name}' is one frame of a sequence, and all others would keep the face: choose a volume that "
            "is not played from a sequence."
        )
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        raise InputError(f"The volume '{name}' has {components} numbers per voxel: choose one with a single one.")


def is_frame(node: slicer.vtkMRMLNode) -> bool:
    """Whether a sequence browser shows the frames of a sequence in this node, one after the other."""
    browsers = nodes_of_class(node.GetScene(), "vtkMRMLSequenceBrowserNode")
    return any(browser.IsProxyNode(node.GetID()) for browser in browsers)


def check_output(source_node: slicer.vtkMRMLScalarVolumeNode, output_node: slicer.vtkMRMLNode) -> None:
    """Raise OutputError unless the result of `source_node` may be written into `output_node`: never into the input."""
    name = output_node.GetName()
    if output_node is source_node:
        raise OutputError("The output volume is the input volume, which is never changed: choose another or a new one.")
    if output_node.GetClassName() != "vtkMRMLScalarVolumeNode":
        raise OutputError(f"'{name}' is a {output_node.GetNodeTagName()} node: choose a scalar volume as output.")
    if output_node.GetScene() is not source_node.GetScene():
        raise OutputError(f"The output volume '{name}' is not in the scene of the input volume: choose one that is.")
    if is_frame(output_node):
        raise OutputError(f"The output volume '{name}' is one frame of a sequence: choose another or a new one.")


def volume_from_node(node: slicer.vtkMRMLScalarVolumeNode) -> Volume:
    """Return a copy of the node's voxels and its local geometry (no parent transform).

    The array is (I, J, K) with the node's scalar type; the affine takes its indices to the node's RAS millimetres.
    Raises InputError.
    """
    from RefaceLib.volume.io import Volume

    check_input(node)
    image = node.GetImageData()
    return Volume(stored=np.array(_voxels(image), order="K"), affine=_affine(node, image))


def add_result_volume(
    scene: slicer.vtkMRMLScene,
    source_node: slicer.vtkMRMLScalarVolumeNode,
    stored: np.ndarray,
    name: str,
    beside: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume with the voxels `stored`, (I, J, K) of the source's scalar type, that is otherwise like the source.

    Geometry, parent transform, unit and display (window and level as the user sees them now) are the source's; nothing
    else is: what a reader left in attributes may name the patient (`DICOM.*`, keys of NRRD headers). Its place is not
    under the patient, but that of hierarchy.place_result, with `beside`.
    """
    image = _image_like(source_node, stored)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    _become_result(node, source_node, image, beside)
    return node


def update_result_volume(
    scene: slicer.vtkMRMLScene,
    source_node: slicer.vtkMRMLScalarVolumeNode,
    output_node: slicer.vtkMRMLScalarVolumeNode,
    stored: np.ndarray,
) -> None:
    """Make a volume node that exists a result as add_result_volume adds it; it keeps its ID and its name.

    All else that it had goes, also where it was saved: its file on the disk is not written over with the scene. Raises
    OutputError when `output_node` is the input or no scalar volume of the scene.
    """
    check_output(source_node, output_node)
    image = _image_like(source_node, stored)
    was_modifying = output_node.StartModify()
    try:
        _strip(scene, output_node)
        _become_result(output_node, source_node, image)
    finally:
        output_node.EndModify(was_modifying)


def _become_result(
    node: slicer.vtkMRMLScalarVolumeNode,
    source_node: slicer.vtkMRMLScalarVolumeNode,
    image: vtk.vtkImageData,
    beside: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> None:
    """Give a volume that has nothing yet an image, and what a result takes over from its source."""
    node.CopyOrientation(source_node)
    node.SetVoxelValueQuantity(source_node.GetVoxelValueQuantity())
    node.SetVoxelValueUnits(source_node.GetVoxelValueUnits())
    node.SetAndObserveTransformNodeID(source_node.GetTransformNodeID())
    node.SetAndObserveImageData(image)
    copy_display(source_node, node)
    hierarchy.place_result(source_node, node, beside)


def _strip(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Take all attributes, references and the description from a volume and its item in the subject hierarchy.

    Its display and storage leave the scene, unless another node has them too.
    """
    hierarchy.strip_item(node)
    count, stored = node.GetNumberOfDisplayNodes(), node.GetNumberOfStorageNodes()
    parts = [node.GetNthDisplayNode(index) for index in range(count)]
    parts += [node.GetNthStorageNode(index) for index in range(stored)]
    for attribute in node.GetAttributeNames():
        node.RemoveAttribute(attribute)
    roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
    for role in roles:
        node.RemoveNodeReferenceIDs(role)
    node.SetDescription("")
    others = nodes_of_class(scene, "vtkMRMLDisplayableNode")
    for part in filter(None, parts):
        if not any(scene.IsNodeReferencingNodeID(other, part.GetID()) for other in others):
            scene.RemoveNode(part)


def replace_voxels(node: slicer.vtkMRMLScalarVolumeNode, stored: np.ndarray) -> None:
    """Give a volume a new image with the voxels `stored`, (I, J, K) of its scalar type; all else stays."""
    node.SetAndObserveImageData(_image_like(node, stored))


def add_mask_segmentation(
    scene: slicer.vtkMRMLScene,
    source_node: slicer.vtkMRMLScalarVolumeNode,
    mask: np.ndarray,
    name: str,
    existing: slicer.vtkMRMLSegmentationNode | None = None,
) -> slicer.vtkMRMLSegmentationNode:
    """Add a segmentation with one segment "Face": `mask`, (I, J, K) bool, in the source's grid and parent transform.

    With `existing`, its segment of an earlier mask is replaced, or one is added. Its other segments stay, and with
    them its parent transform and its reference geometry: then the mask is carried over into its coordinates.
    """
    labelmap = slicer.vtkOrientedImageData()
    _fill(labelmap, source_node.GetImageData(), vtk.VTK_UNSIGNED_CHAR, np.asarray(mask, dtype=bool).astype(np.uint8))
    ijk_to_ras = vtk.vtkMatrix4x4()
    source_node.GetIJKToRASMatrix(ijk_to_ras)
    labelmap.SetImageToWorldMatrix(ijk_to_ras)

    node = existing
    if node is None:
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    former = mask_segment(node)
    if former:
        node.GetSegmentation().RemoveSegment(former)
    if node.GetSegmentation().GetNumberOfSegments() == 0:
        # The parent transform first: the reference geometry is made relative to it.
        node.SetAndObserveTransformNodeID(source_node.GetTransformNodeID())
        node.SetReferenceImageGeometryParameterFromVolumeNode(source_node)
    elif node.GetParentTransformNode() is not source_node.GetParentTransformNode():
        _move(labelmap, source_node, node)
    segment = node.AddSegmentFromBinaryLabelmapRepresentation(labelmap, SEGMENT_NAME, SEGMENT_COLOR, former)
    node.GetSegmentation().GetSegment(segment).SetTag(SEGMENT_TAG, "mask")
    return node


def mask_segment(node: slicer.vtkMRMLSegmentationNode) -> str:
    """The identifier of the segment that add_mask_segmentation has made in a segmentation; empty without one."""
    segments = node.GetSegmentation()
    return next((name for name in segments.GetSegmentIDs() if segments.GetSegment(name).HasTag(SEGMENT_TAG)), "")


def holds_mask(
    node: slicer.vtkMRMLSegmentationNode, source_node: slicer.vtkMRMLScalarVolumeNode, mask: np.ndarray
) -> bool:
    """Whether the mask in a segmentation, as it is now, is `mask`, (I, J, K) bool on the source's grid."""
    have = mask_on(node, source_node, in_the_world=True)
    return have is not None and np.array_equal(have, mask)


def mask_on(
    node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode, *, in_the_world: bool
) -> np.ndarray | None:
    """The mask in a segmentation on the grid of a volume, (I, J, K) bool; None where there is none.

    Their places are compared in the world, where parent transforms have moved them, or without these.
    """
    segment = mask_segment(node)
    have, grid, found = (slicer.vtkOrientedImageData() for _ in range(3))
    if not segment or not node.GetBinaryLabelmapRepresentation(segment, have):
        return None
    if in_the_world and node.GetParentTransformNode() is not volume_node.GetParentTransformNode():
        _move(have, node, volume_node)
    grid.SetExtent(volume_node.GetImageData().GetExtent())
    ijk_to_ras = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(ijk_to_ras)
    grid.SetImageToWorldMatrix(ijk_to_ras)
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    return _voxels(found) > 0 if resample(have, grid, found) else None


def _move(
    image: vtk.vtkImageData, start: slicer.vtkMRMLTransformableNode, end: slicer.vtkMRMLTransformableNode
) -> None:
    """Bring an oriented image from the local coordinates of one node into those of another."""
    between = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(
        start.GetParentTransformNode(), end.GetParentTransformNode(), between
    )
    slicer.vtkOrientedImageDataResample.TransformOrientedImage(image, between)


def is_like(node: slicer.vtkMRMLScalarVolumeNode, stored: np.ndarray) -> bool:
    """Whether a volume has the shape and the type of the array `stored`, (I, J, K)."""
    voxels = _voxels(node.GetImageData())
    return voxels.shape == stored.shape and np.can_cast(stored.dtype, voxels.dtype, casting="equiv")


def set_provenance(node: slicer.vtkMRMLNode, report: dict[str, Any]) -> None:
    """Write the report of a run (`build_report`) into attributes `Reface.*`, and its JSON in `Reface.Report`.

    A saved scene keeps the attributes; an image file written from the node does not. A volume is sealed with the voxels
    that it has now.
    """
    model = report.get("model", {})
    values = {
        "Version": RefaceLib.__version__,
        "Model": " ".join(str(model[key]) for key in ("name", "version") if model.get(key)),
        "ModelSha256": model.get("sha256"),
        "Seed": report.get("seed"),
        "Mode": report.get("mode"),
        "Ears": report.get("ears"),
        "VoxelsChanged": report.get("voxels_changed"),
        "BrainVoxelsChanged": report.get("brain_voxels_changed"),
        "MaskMl": report.get("mask_ml"),
        "Seconds": report.get("seconds", {}).get("total"),
        "Warnings": " ".join(report.get("warnings", ())),
    }
    for key, value in values.items():
        if value is not None:
            node.SetAttribute(ATTRIBUTE_PREFIX + key, str(value).lower() if isinstance(value, bool) else str(value))
    node.SetAttribute(_REPORT, json.dumps(report))
    if node.IsA("vtkMRMLScalarVolumeNode") and node.GetImageData() is not None:
        seal.seal(node)


def report_of(node: slicer.vtkMRMLNode | None) -> dict[str, Any]:
    """The report that set_provenance left in a result; an empty one where a node is none."""
    return json.loads(node.GetAttribute(_REPORT) or "{}") if node is not None else {}


def is_result(node: slicer.vtkMRMLNode) -> bool:
    return bool(node.GetAttribute(_REPORT))


def _affine(node: slicer.vtkMRMLVolumeNode, image: vtk.vtkImageData) -> np.ndarray:
    """Return the (4, 4) float64 matrix from array indices to the node's local RAS millimetres."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    affine = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
    # IJK counts from the image's extent, which need not begin at 0; an array's indices do.
    affine[:3, 3] += affine[:3, :3] @ np.array(image.GetExtent()[::2], dtype=float)
    return affine


def _voxels(image: vtk.vtkImageData) -> np.ndarray:
    """Return the scalars as a (I, J, K) view on VTK's memory."""
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions(), order="F")


def _fill(image: vtk.vtkImageData, like: vtk.vtkImageData, scalar_type: int, values: np.ndarray) -> None:
    """Give `image` the extent of `like`, the VTK scalar type and the voxels `values`, (I, J, K)."""
    image.SetExtent(like.GetExtent())
    image.AllocateScalars(scalar_type, 1)
    voxels = _voxels(image)
    if values.shape != voxels.shape or not np.can_cast(values.dtype, voxels.dtype, casting="equiv"):
        have, need = f"{values.dtype} {values.shape}", f"{voxels.dtype} {voxels.shape}"
        raise ValueError(f"The array is {have}, but the volume needs {need}.")
    voxels[...] = values


def _image_like(source_node: slicer.vtkMRMLScalarVolumeNode, stored: np.ndarray) -> vtk.vtkImageData:
    """Return a new image of the source's extent and VTK scalar type with the voxels `stored`, (I, J, K)."""
    image = vtk.vtkImageData()
    _fill(image, source_node.GetImageData(), source_node.GetImageData().GetScalarType(), stored)
    return image


def copy_display(source_node: slicer.vtkMRMLScalarVolumeNode, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Show a node with the very window, level, thresholds and colours of the source.

    Automatic window and level are fixed at the source's values: computed anew for another face they would differ,
    and two scans that should be compared would look different all over.
    """
    source = source_node.GetScalarVolumeDisplayNode()
    if node.GetScalarVolumeDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetScalarVolumeDisplayNode()
    if source is None:
        return
    was_modifying = display.StartModify()
    try:
        display.SetAndObserveColorNodeID(source.GetColorNodeID())
        display.SetInterpolate(source.GetInterpolate())
        display.SetInvertDisplayScalarRange(source.GetInvertDisplayScalarRange())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(source.GetWindow(), source.GetLevel())
        display.SetAutoThreshold(False)
        display.SetThreshold(source.GetLowerThreshold(), source.GetUpperThreshold())
        display.SetApplyThreshold(source.GetApplyThreshold())
    finally:
        display.EndModify(was_modifying)
