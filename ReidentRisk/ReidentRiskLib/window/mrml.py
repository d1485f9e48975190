"""The bridge between results and MRML nodes: surfaces, points, pictures, tables and plots under one folder.

Everything takes the scene as an argument, so that it runs in the application and under slicer-core alike. Nodes are
placed under a folder of the subject hierarchy, which the user removes or shows as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

import RefaceLib
from ReidentRiskLib.judge.calibration import Calibration
from ReidentRiskLib.judge.scores import number
from ReidentRiskLib.runs.pointlist import order_points

ATTRIBUTE_PREFIX = "ReidentRisk."
SKIN_COLOUR = (0.87, 0.72, 0.62)
POINT_COLOUR = (0.23, 0.43, 0.65)
SERIES_COLOURS = ((0.23, 0.43, 0.65), (0.82, 0.46, 0.17))
MARK_COLOUR = (0.1, 0.1, 0.1)
# In an axial slice view the subject's right is on the left and the front is up: so a picture stands upright there.
PICTURE_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

Cell = str | float | int | None


def add_folder(scene: slicer.vtkMRMLScene, name: str) -> int:
    """Make a folder directly under the scene, away from the tags of patients, and return its item."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), name)
    hierarchy.SetItemExpanded(item, True)
    return item


def remove_folder(scene: slicer.vtkMRMLScene, folder: int) -> None:
    """Remove a folder with every node in it; nothing happens when it is gone already."""
    remove_nodes(scene, nodes_in(scene, folder))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    if hierarchy.GetItemLevel(folder):
        hierarchy.RemoveItem(folder, True, True)


def remove_nodes(scene: slicer.vtkMRMLScene, nodes: Iterable[slicer.vtkMRMLNode]) -> None:
    """Remove nodes and their display nodes, which would stay behind."""
    for node in nodes:
        if node.IsA("vtkMRMLDisplayableNode"):
            for index in reversed(range(node.GetNumberOfDisplayNodes())):
                scene.RemoveNode(node.GetNthDisplayNode(index))
        scene.RemoveNode(node)


def nodes_in(scene: slicer.vtkMRMLScene, folder: int) -> list[slicer.vtkMRMLNode]:
    """The nodes in a folder, in the order of the hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(folder, items, True)
    nodes = (hierarchy.GetItemDataNode(items.GetId(index)) for index in range(items.GetNumberOfIds()))
    return [node for node in nodes if node is not None]


def add_surface(
    scene: slicer.vtkMRMLScene,
    folder: int,
    surface: vtk.vtkPolyData,
    name: str,
    source_node: slicer.vtkMRMLTransformableNode | None = None,
) -> slicer.vtkMRMLModelNode:
    """Add the skin of a head (RAS mm of the volume `source_node`, whose parent transform it shares) as a model."""
    node = _add(scene, folder, "vtkMRMLModelNode", name, source_node)
    node.SetAndObservePolyData(surface)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetColor(*SKIN_COLOUR)
    display.SetScalarVisibility(False)
    display.SetVisibility(False)  # heads lie in each other: the user shows them one by one
    return node


def add_points(
    scene: slicer.vtkMRMLScene,
    folder: int,
    points: np.ndarray,
    labels: Sequence[str],
    name: str,
    source_node: slicer.vtkMRMLTransformableNode | None = None,
) -> slicer.vtkMRMLMarkupsFiducialNode:
    """Add landmarks, (N, 3) RAS mm of the volume `source_node`, as point list that cannot be moved by accident.

    Once it is unlocked, points that are moved stay on the surface that is seen.
    """
    node = _add(scene, folder, "vtkMRMLMarkupsFiducialNode", name, source_node)
    node.CreateDefaultDisplayNodes()
    for point, label in zip(np.asarray(points, float), labels, strict=True):
        node.AddControlPoint(vtk.vtkVector3d(*point), label)
    node.SetLocked(True)
    node.SetFixedNumberOfControlPoints(True)  # none is added or deleted by accident
    display = node.GetDisplayNode()
    display.SetSnapMode(display.SnapModeToVisibleSurface)
    display.SetSelectedColor(*POINT_COLOUR)
    display.SetVisibility(False)
    return node


def points_from_node(
    node: slicer.vtkMRMLMarkupsNode,
    labels: Sequence[str],
    source_node: slicer.vtkMRMLTransformableNode | None = None,
) -> np.ndarray:
    """The points (N, 3) of a point list in the order of `labels`, as they lie in the volume `source_node` (RAS mm).

    Where the user sees the point in the volume counts: parent transforms of both are taken into account. See
    pointlist.order_points; raises InputError for missing points.
    """
    to_volume = vtk.vtkGeneralTransform()
    parent = source_node.GetParentTransformNode() if source_node is not None else None
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, parent, to_volume)
    points = []
    for index in range(node.GetNumberOfControlPoints()):
        if node.GetNthControlPointPositionStatus(index) == node.PositionDefined:
            position = [0.0, 0.0, 0.0]
            node.GetNthControlPointPositionWorld(index, position)
            points.append((node.GetNthControlPointLabel(index), to_volume.TransformPoint(position)))
    return order_points(points, labels, f"The point list '{node.GetName()}'")


def add_pictures(
    scene: slicer.vtkMRMLScene, folder: int, pictures: np.ndarray, name: str
) -> slicer.vtkMRMLVectorVolumeNode:
    """Add pictures, (V, rows, columns, 3) uint8 with rows from the top, as a colour volume of one slice a picture."""
    pictures = np.ascontiguousarray(pictures, np.uint8)
    count, rows, columns, _ = pictures.shape
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, count)
    scalars = numpy_to_vtk(pictures.reshape(-1, 3), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    node = _add(scene, folder, "vtkMRMLVectorVolumeNode", name)
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(PICTURE_TO_RAS.ravel())
    node.SetIJKToRASMatrix(matrix)
    node.SetAndObserveImageData(image)
    node.CreateDefaultDisplayNodes()
    return node


def add_table(
    scene: slicer.vtkMRMLScene, folder: int, name: str, columns: Mapping[str, Sequence[Cell]]
) -> slicer.vtkMRMLTableNode:
    """Add a table; a column of numbers (None: empty) becomes numbers, any other one text."""
    node = _add(scene, folder, "vtkMRMLTableNode", name)
    table = vtk.vtkTable()
    for title, cells in columns.items():
        numeric = all(cell is None or isinstance(cell, (int, float)) for cell in cells)
        whole = numeric and all(isinstance(cell, int) for cell in cells)
        array = vtk.vtkIntArray() if whole else vtk.vtkDoubleArray() if numeric else vtk.vtkStringArray()
        array.SetName(title)
        for cell in cells:
            if numeric:
                array.InsertNextValue(float("nan") if cell is None else cell)
            else:
                array.InsertNextValue("" if cell is None else str(cell))
        table.AddColumn(array)
    node.SetAndObserveTable(table)
    return node


def add_histogram(
    scene: slicer.vtkMRMLScene,
    folder: int,
    name: str,
    calibration: Calibration,
    scores: Mapping[str, float | None],
    network: str,
) -> slicer.vtkMRMLPlotChartNode:
    """Add a chart of the calibration's two distributions, each 1 at its highest, with the `scores` marked in it.

    `scores` are cosines by the name of the probe; NaN or None is left out. The title names the `network`.
    """
    series = []
    for label, part, colour in zip(
        ("different heads", "the same head"), (calibration.different, calibration.same), SERIES_COLOURS, strict=True
    ):
        edges, density = part.histogram()
        # Twice every edge: the line goes along the tops of the bars.
        outline = np.concatenate([[0.0], np.repeat(density / density.max(), 2), [0.0]])
        columns = {"cosine": np.repeat(edges, 2), label: outline}
        series.append(_add_series(scene, folder, f"{name}: {label}", columns, label, colour))
    seen = {label: value for label, value in scores.items() if number(value) is not None}
    for label, value in seen.items():
        columns = {"cosine": np.array([value, value]), label: np.array([0.0, 1.0])}
        series.append(_add_series(scene, folder, f"{name}: {label}", columns, label, MARK_COLOUR))
    return _add_chart(scene, folder, name, network, series, "cosine of the mean embeddings", "share of the highest")


def set_provenance(node: slicer.vtkMRMLNode, report: Mapping[str, Any]) -> None:
    """Write a result's report into attributes `ReidentRisk.*`, and its JSON in `ReidentRisk.Report`."""
    model = report.get("model", {})
    values = {
        "Version": RefaceLib.__version__,
        "Model": model.get("name"),
        "ModelSha256": model.get("sha256"),
        "Views": report.get("views"),
        "Warnings": " ".join(report.get("warnings", ())),
    }
    for key, value in values.items():
        if value is not None:
            node.SetAttribute(ATTRIBUTE_PREFIX + key, str(value))
    node.SetAttribute(ATTRIBUTE_PREFIX + "Report", json.dumps(report))


def _add(
    scene: slicer.vtkMRMLScene,
    folder: int,
    class_name: str,
    name: str,
    source_node: slicer.vtkMRMLTransformableNode | None = None,
) -> slicer.vtkMRMLNode:
    """A new node in the folder, with the parent transform of `source_node`."""
    node = scene.AddNewNodeByClass(class_name, scene.GenerateUniqueName(name))
    if source_node is not None:
        node.SetAndObserveTransformNodeID(source_node.GetTransformNodeID())
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item:  # the application makes an item for some kinds of nodes
        hierarchy.SetItemParent(item, folder)
    else:
        hierarchy.CreateItem(folder, node)
    return node


def _add_series(
    scene: slicer.vtkMRMLScene,
    folder: int,
    name: str,
    columns: Mapping[str, np.ndarray],
    label: str,
    colour: tuple[float, float, float],
) -> slicer.vtkMRMLPlotSeriesNode:
    """A table of two columns and the line that it draws."""
    across, up = columns
    cells = {title: [float(value) for value in values] for title, values in columns.items()}
    table = add_table(scene, folder, f"{name} (table)", cells)
    series = _add(scene, folder, "vtkMRMLPlotSeriesNode", label)
    series.SetName(label)  # what the legend shows, in several charts the same
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(across)
    series.SetYColumnName(up)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    series.SetLineWidth(2)
    series.SetColor(*colour)
    return series


def _add_chart(
    scene: slicer.vtkMRMLScene,
    folder: int,
    name: str,
    network: str,
    series: Sequence[slicer.vtkMRMLPlotSeriesNode],
    across: str,
    up: str,
) -> slicer.vtkMRMLPlotChartNode:
    chart = _add(scene, folder, "vtkMRMLPlotChartNode", name)
    chart.SetTitle(f"{name}, network {network}")
    chart.SetXAxisTitle(across)
    chart.SetYAxisTitle(up)
    for each in series:
        chart.AddAndObservePlotSeriesNodeID(each.GetID())
    return chart
