"""Where the cameras of 3D views stand, for the faces of both modules."""

from __future__ import annotations

import numpy as np
import slicer
import vtk


def stand_in_front(
    camera: slicer.vtkMRMLCameraNode, target: np.ndarray, forward: np.ndarray, up: np.ndarray, reach: float, *,
    distance: float,
) -> None:  # fmt: skip
    """Look at a `target` (RAS mm) from a `distance` (mm) before it; `reach` (mm) above and below it are seen.

    `forward` and `up` are unit vectors of the head.
    """
    was_modifying = camera.StartModify()
    camera.SetFocalPoint(*target)
    camera.SetPosition(*(target + distance * forward))
    camera.SetViewUp(*up)
    camera.SetViewAngle(2.0 * float(np.degrees(np.arctan(reach / distance))))
    camera.SetParallelScale(reach)
    camera.EndModify(was_modifying)
    camera.ResetClippingRange()


def directions(node: slicer.vtkMRMLTransformableNode, at: np.ndarray, *ways: np.ndarray) -> list[np.ndarray]:
    """Unit vectors: where the parent transform of a node has turned its `ways` (mm) at a point `at` (RAS mm) of it."""
    here, *there = in_the_world(node, at, *(at + way for way in ways))
    return [(each - here) / np.linalg.norm(each - here) for each in there]


def in_the_world(node: slicer.vtkMRMLTransformableNode, *points: np.ndarray) -> list[np.ndarray]:
    """Points, (3,) RAS mm of a node, where its parent transform has moved them."""
    to_world = vtk.vtkGeneralTransform()
    if node.GetParentTransformNode() is not None:
        node.GetParentTransformNode().GetTransformToWorld(to_world)
    return [np.array(to_world.TransformPoint(point)) for point in points]
