"""Whether a volume is what it was when it was compared: another module may have written into it, or moved it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import slicer
import vtk

from RefaceLib.window.seal import voxels_sha256

CHANGED, MOVED = "changed", "moved"
_NEAR = 0.01  # mm; files keep the places of voxels less exactly
_STEPS = 3  # of places along each axis; a transform need not be linear
_hashes: dict[str, tuple[int, str]] = {}  # of the voxels, by the ID of the volume, with the state of its image


def fingerprint(node: slicer.vtkMRMLScalarVolumeNode) -> dict[str, Any]:
    """What tells this volume from a changed one, ready for JSON; rounded to a tenth of what `change` tolerates.

    `grid` are places of voxels, RAS mm of the volume without its parent transform, `world` the same with it.
    """
    grid = _grid(node)
    to_world = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, to_world)
    world = np.array([to_world.TransformPoint(place) for place in grid])
    return {
        "voxels": _voxels(node),
        "grid": np.round(grid, 3).ravel().tolist(),
        "world": np.round(world, 3).ravel().tolist(),
    }


def change(node: slicer.vtkMRMLScalarVolumeNode, before: Mapping[str, Any]) -> str:
    """What happened to a volume since its `fingerprint` was taken: CHANGED, MOVED, or nothing ("").

    Its voxels or their grid count as CHANGED. A parent transform alone has MOVED it: volumes are compared without.
    """
    now = fingerprint(node)
    if now["voxels"] != before["voxels"] or not _same(now["grid"], before["grid"]):
        return CHANGED
    return "" if _same(now["world"], before["world"]) else MOVED


def _same(one: list[float], other: list[float]) -> bool:
    return bool(np.abs(np.subtract(one, other)).max() < _NEAR)


def _grid(node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """Places (N, 3) of voxels at the corners, on the edges, faces and in the middle."""
    size = node.GetImageData().GetDimensions() if node.GetImageData() is not None else (1, 1, 1)
    axes = [np.linspace(0, count - 1, _STEPS) for count in size]
    indices = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    to_ras = slicer.util.arrayFromVTKMatrix(_ijk_to_ras(node))
    return indices @ to_ras[:3, :3].T + to_ras[:3, 3]


def _ijk_to_ras(node: slicer.vtkMRMLScalarVolumeNode) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


def _voxels(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The hash of the voxels, anew only where VTK says that the image was modified; empty where there are none."""
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        return ""
    state = image.GetMTime()  # no two states of whatever image have the same
    if _hashes.get(node.GetID(), (None, ""))[0] != state:
        _hashes[node.GetID()] = state, voxels_sha256(node)
    return _hashes[node.GetID()][1]
