"""What the tests of the module ReidentRisk share: volume nodes that the stand-ins for the networks know, and runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import slicer
import vtk

from helpers.reidentrisk.faces import volume
from helpers.scenes import volume_node
from ReidentRiskLib.commandline import cli
from ReidentRiskLib.window import results
from ReidentRiskLib.window.job import Findings, Request, RiskFiles

VIEWS = 45


def node_of(scene: slicer.vtkMRMLScene, name: str, person: int, **options) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume node that the stand-ins take for a scan of `person` (see faces.volume)."""
    return volume_node(scene, volume(person, **options), name)


def moved(scene: slicer.vtkMRMLScene, *nodes: slicer.vtkMRMLTransformableNode, by: float) -> slicer.vtkMRMLNode:
    """Put nodes under a transform to the right by so many millimetres."""
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, by)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(matrix)
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def points_node(scene: slicer.vtkMRMLScene, labels: list[str]) -> slicer.vtkMRMLMarkupsFiducialNode:
    """A point list with a point every millimetre to the right."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    for index, label in enumerate(labels):
        node.AddControlPoint(vtk.vtkVector3d(index, 10.0, 20.0), label)
    return node


def run(request: Request, folder: Path) -> Findings:
    """What a run of the window finds, its children being run in this process."""
    files = RiskFiles(request, folder)
    for step in files.steps:
        assert cli.main(step.arguments) == 0
    return files.read()


def add_result(*arguments: Any) -> results.RiskResultNodes:
    """All pieces of results.add_result, one after the other."""
    pieces = results.add_result(*arguments)
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            return end.value


def nodes(scene: slicer.vtkMRMLScene) -> Iterator[slicer.vtkMRMLNode]:
    return (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))


def shown(scene):
    """The names of the faces and landmarks that are seen."""
    every = [*slicer.util.getNodesByClass("vtkMRMLModelNode", scene)]
    every += slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode", scene)
    return [node.GetName() for node in every if node.GetDisplayNode().GetVisibility()]
