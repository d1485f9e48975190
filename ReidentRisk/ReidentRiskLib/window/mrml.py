"""The bridge between results and MRML nodes: surfaces, points, pictures, tables and plots under one folder.

Everything takes the scene as an argument, so that it runs in the application and under slicer-core alike. Nodes are
placed under a folder of the subject hierarchy, which the user removes or shows as a whole.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

import RefaceLib
from RefaceLib.window.slicerui import translator
from ReidentRiskLib.judge.calibration import Calibration
from ReidentRiskLib.judge.scores import number
from ReidentRiskLib.judge.verdict import zones
from ReidentRiskLib.runs import colours
from ReidentRiskLib.runs.pointlist import order_points
from ReidentRiskLib.window import words

_ = translator(__name__)

ATTRIBUTE_PREFIX = "ReidentRisk."
REPORT = "ReidentRisk.Report"  # the attribute with the report of a result, as JSON
RUN = "ReidentRisk.Run"  # the attribute by which all nodes of a result are known, a random number
SKIN_COLOUR = (0.87, 0.72, 0.62)
POINT_COLOUR = (0.23, 0.43, 0.65)
_PLACED = "ReidentRisk.Placed"  # the attribute of landmarks with the places where they were put, world, as JSON
_NEAR = 0.05  # mm; files keep places less exactly
_TEXT_SCALE = 2.0  # of the labels of landmarks, so that those of the mouth do not meet
_OCCLUDED_OPACITY = 0.7  # of landmarks that the skin covers
MARK_COLOURS = (  # of probes; none is like another, or like those of the distributions, for the colour-blind too
    (0.0, 0.62, 0.45), (0.8, 0.47, 0.65), (0.1, 0.1, 0.1), (0.34, 0.71, 0.91), (0.55, 0.1, 0.1), (0.45, 0.25, 0.6),
)  # fmt: skip
_ZONE_HEIGHT = -0.05  # of the bar of verdicts, below both distributions
_LEGEND_FONT = 11
_LEGEND_LINE, _LEGEND = 0.074, 0.7  # height of a line of the legend, and of all at most, as shares of the chart
# In an axial slice view the subject's right is on the left and the front is up: so a picture stands upright there.
PICTURE_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
PICTURE_HEIGHT = 10_000.0  # mm above the heads of the scene, so that no mask or face is drawn into a picture
PICTURE_TO_RAS[2, 3] = PICTURE_HEIGHT

Cell = str | float | int | None


def add_folder(scene: slicer.vtkMRMLScene, name: str) -> int:
    """Make a folder directly under the scene, away from the tags of patients, and return its item.

    A second one of the name is called "name (2)". What is added to it becomes part of one run: see nodes_of_runs.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    root = hierarchy.GetSceneItemID()
    unique, count = name, 1
    while hierarchy.GetItemChildWithName(root, unique):
        count += 1
        unique = f"{name} ({count})"
    item = hierarchy.CreateFolderItem(root, unique)
    hierarchy.SetItemAttribute(item, RUN, uuid.uuid4().hex)
    hierarchy.SetItemExpanded(item, True)
    return item


def remove_folder(scene: slicer.vtkMRMLScene, folder: int) -> None:
    """Remove a folder with every node in it and of its run; nothing happens when it is gone already."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    run = hierarchy.GetItemAttribute(folder, RUN)
    nodes = {node.GetID(): node for node in nodes_in(scene, folder)}
    nodes |= {node.GetID(): node for node in (nodes_of_runs(scene, run) if run else ())}
    remove_nodes(scene, nodes.values())
    if hierarchy.GetItemLevel(folder):
        hierarchy.RemoveItem(folder, True, True)


def remove_nodes(scene: slicer.vtkMRMLScene, nodes: Iterable[slicer.vtkMRMLNode]) -> None:
    """Remove nodes, and after them their display nodes: the data tree looks for those of a node that is still there."""
    for node in nodes:
        displays = []
        if node.IsA("vtkMRMLDisplayableNode"):
            displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
        for each in (node, *displays):
            if each.GetScene() is scene:  # 3D Slicer removes some of them with the node
                scene.RemoveNode(each)


def nodes_in(scene: slicer.vtkMRMLScene, folder: int) -> list[slicer.vtkMRMLNode]:
    """The nodes in a folder, in the order of the hierarchy."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(folder, items, True)
    nodes = (hierarchy.GetItemDataNode(items.GetId(index)) for index in range(items.GetNumberOfIds()))
    return [node for node in nodes if node is not None]


def nodes_of_runs(scene: slicer.vtkMRMLScene, run: str | None = None) -> list[slicer.vtkMRMLNode]:
    """The nodes of all results of the scene, or of one run, wherever the user has put them."""
    nodes = (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))
    return [node for node in nodes if (found := node.GetAttribute(RUN)) and run in (None, found)]


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
    *,
    hidden: bool = False,
) -> slicer.vtkMRMLMarkupsFiducialNode:
    """Add landmarks, (N, 3) RAS mm of the volume `source_node`, as point list that cannot be moved by accident.

    Once it is unlocked, points that are moved stay on the surface that is seen. A `hidden` list can be chosen nowhere.
    """
    node = _add(scene, folder, "vtkMRMLMarkupsFiducialNode", name, source_node, hidden=hidden)
    node.CreateDefaultDisplayNodes()
    for point, label in zip(np.asarray(points, float), labels, strict=True):
        node.AddControlPoint(vtk.vtkVector3d(*point), label.replace("_", " "))
    node.SetLocked(True)
    node.SetFixedNumberOfControlPoints(True)  # none is added or deleted by accident
    display = node.GetDisplayNode()
    display.SetSnapMode(display.SnapModeToVisibleSurface)
    display.SetSelectedColor(*POINT_COLOUR)
    display.SetTextScale(_TEXT_SCALE)
    # Those of the eyes lie on the lids, which the skin may cover. Where the points are is not changed to show them.
    display.SetOccludedVisibility(True)
    display.SetOccludedOpacity(_OCCLUDED_OPACITY)
    display.SetVisibility(False)
    node.SetAttribute(_PLACED, json.dumps(_in_the_world(node)))
    return node


def as_placed(node: slicer.vtkMRMLMarkupsNode) -> bool:
    """Whether the points lie where add_points has put them: nobody has moved them, one by one or by a transform."""
    placed = json.loads(node.GetAttribute(_PLACED) or "[]")
    now = _in_the_world(node)
    return len(now) == len(placed) and bool(np.allclose(now, placed, rtol=0, atol=_NEAR))


def _in_the_world(node: slicer.vtkMRMLMarkupsNode) -> list[list[float]]:
    places = []
    for index in range(node.GetNumberOfControlPoints()):
        place = [0.0, 0.0, 0.0]
        node.GetNthControlPointPositionWorld(index, place)
        places.append(place)
    return places


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
    node = _add(scene, folder, "vtkMRMLVectorVolumeNode", name)
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(PICTURE_TO_RAS.ravel())
    node.SetIJKToRASMatrix(matrix)
    set_pictures(node, pictures)
    node.CreateDefaultDisplayNodes()
    return node


def set_pictures(node: slicer.vtkMRMLVectorVolumeNode, pictures: np.ndarray) -> None:
    """Put other pictures, as those of add_pictures, into its volume."""
    pictures = np.ascontiguousarray(pictures, np.uint8)
    count, rows, columns = pictures.shape[:3]
    image = vtk.vtkImageData()
    image.SetDimensions(columns, rows, count)
    scalars = numpy_to_vtk(pictures.reshape(-1, 3), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)
    node.SetAndObserveImageData(image)


def add_table(
    scene: slicer.vtkMRMLScene, folder: int, name: str, columns: Mapping[str, Sequence[Cell]], *, hidden: bool = False
) -> slicer.vtkMRMLTableNode:
    """Add a table; a column of numbers becomes numbers, any other one text (None: empty, which a number cannot be)."""
    node = _add(scene, folder, "vtkMRMLTableNode", name, hidden=hidden)
    table = vtk.vtkTable()
    for title, cells in columns.items():
        numeric = all(isinstance(cell, (int, float)) for cell in cells)
        whole = numeric and all(isinstance(cell, int) for cell in cells)
        array = vtk.vtkIntArray() if whole else vtk.vtkDoubleArray() if numeric else vtk.vtkStringArray()
        array.SetName(title)
        for cell in cells:
            array.InsertNextValue(cell if numeric else "" if cell is None else str(cell))
        table.AddColumn(array)
    node.SetAndObserveTable(table)
    return node


def add_histogram(
    scene: slicer.vtkMRMLScene,
    folder: int,
    name: str,
    title: str,
    calibration: Calibration,
    scores: Mapping[str, float | None],
) -> slicer.vtkMRMLPlotChartNode:
    """Add a chart of the calibration's two distributions, each 1 at its highest, with the `scores` marked in it.

    `scores` are cosines by the name of the probe; NaN or None is left out. A bar below shows the verdicts. The `title`
    has two lines.
    """
    lines = []
    low, high = np.inf, 1.0
    for label, part, colour in zip(
        (_("different heads"), _("the same head")),
        (calibration.different, calibration.same),
        (colours.STRANGERS, colours.SAME_HEAD),
        strict=True,
    ):
        edges, density = part.histogram()
        low, high = min(low, edges[0]), max(high, edges[-1])
        # Twice every edge: the line goes along the tops of the bars.
        outline = np.concatenate([[0.0], np.repeat(density / density.max(), 2), [0.0]])
        lines.append(_Line(label, np.repeat(edges, 2), outline, colours.rgb(colour)))
    seen = [(label, value) for label, value in scores.items() if value is not None and number(value) is not None]
    for index, (label, value) in enumerate(seen):
        lines.append(_Line(label, np.full(2, value), np.array([0.0, 1.0]), *_mark(index)))
        low = min(low, value)
    lines += _zones(calibration, low, high)
    series = [_add_series(scene, folder, name, line) for line in lines]
    chart = _add(scene, folder, "vtkMRMLPlotChartNode", name)
    chart.SetTitle(title)
    chart.SetTitleFontSize(_LEGEND_FONT)
    chart.SetXAxisTitle(_("cosine of the mean embeddings"))
    chart.SetYAxisTitle(_("share of the highest"))
    for each in series:
        chart.AddAndObservePlotSeriesNodeID(each.GetID())
    # The legend is in the upper corner, where the peak of the same head would be: leave room above the peaks.
    chart.SetLegendFontSize(_LEGEND_FONT)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(2 * _ZONE_HEIGHT, 1.0 / (1.0 - min(_LEGEND, _LEGEND_LINE * (len(series) + 1))))
    return chart


def note_on_chart(chart: slicer.vtkMRMLPlotChartNode, note: str) -> None:
    """Put a note below the title of a chart of add_histogram, in place of the one that is there; empty: none."""
    chart.SetTitle("\n".join([*chart.GetTitle().split("\n")[:2], *([note] if note else [])]))


def set_provenance(node: slicer.vtkMRMLNode, report: Mapping[str, Any]) -> None:
    """Write a result's report into attributes `ReidentRisk.*`, and its JSON in REPORT."""
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
    node.SetAttribute(REPORT, json.dumps(report))


def report_of(node: slicer.vtkMRMLNode) -> Any:
    """What set_provenance wrote. Raises ValueError where there is nothing, or no JSON."""
    return json.loads(node.GetAttribute(REPORT) or "")


@dataclass(frozen=True, eq=False)
class _Line:
    """A line of a chart, through the points `across` (N,) and `up` (N,), and how it looks."""

    label: str
    across: np.ndarray
    up: np.ndarray
    colour: tuple[float, float, float]
    style: int = slicer.vtkMRMLPlotSeriesNode.LineStyleSolid
    width: int = 2


def _mark(index: int) -> tuple[tuple[float, float, float], int]:
    """Colour and style of the line of a probe: no two are alike."""
    kind = slicer.vtkMRMLPlotSeriesNode
    styles = (kind.LineStyleSolid, kind.LineStyleDash, kind.LineStyleDot, kind.LineStyleDashDot)
    round_, place = divmod(index, len(MARK_COLOURS))
    return MARK_COLOURS[place], styles[round_ % len(styles)]


def _zones(calibration: Calibration, low: float, high: float) -> list[_Line]:
    """What the verdict is at each cosine, as a bar of three parts from `low` to `high`."""
    height = np.full(2, _ZONE_HEIGHT)
    return [
        _Line(words.verdict(verdict), np.array(ends), height, colours.rgb(colours.VERDICTS[verdict]), width=10)
        for verdict, ends in zones(calibration, low, high).items()
    ]


def _add(
    scene: slicer.vtkMRMLScene,
    folder: int,
    class_name: str,
    name: str,
    source_node: slicer.vtkMRMLTransformableNode | None = None,
    *,
    hidden: bool = False,
) -> slicer.vtkMRMLNode:
    """A new node in the folder, with the parent transform of `source_node`; a `hidden` one is not in the data tree."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = getattr(slicer, class_name)()
    node.SetName(name)
    node.SetHideFromEditors(hidden)
    node.SetAttribute(RUN, hierarchy.GetItemAttribute(folder, RUN))
    node = scene.AddNode(node)
    if source_node is not None:
        node.SetAndObserveTransformNodeID(source_node.GetTransformNodeID())
    if hidden:
        return node
    item = hierarchy.GetItemByDataNode(node)
    if item:  # the application makes an item for some kinds of nodes
        hierarchy.SetItemParent(item, folder)
    else:
        hierarchy.CreateItem(folder, node)
    return node


def _add_series(scene: slicer.vtkMRMLScene, folder: int, chart: str, line: _Line) -> slicer.vtkMRMLPlotSeriesNode:
    """A line and the table of two columns that it draws, both away from the data tree."""
    cells = {"cosine": line.across.tolist(), "height": line.up.tolist()}
    table = add_table(scene, folder, f"{chart}: {line.label}", cells, hidden=True)
    series = _add(scene, folder, "vtkMRMLPlotSeriesNode", line.label, hidden=True)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("cosine")
    series.SetYColumnName("height")
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    series.SetLineWidth(line.width)
    series.SetLineStyle(line.style)
    series.SetColor(*line.colour)
    return series
