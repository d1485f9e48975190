"""The layout that shows two faces side by side above the plot and the table, and who is seen where in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import slicer

from RefaceLib.window import faces
from RefaceLib.window.cameras import directions, stand_in_front
from RefaceLib.window.nodes import nodes_of_class
from ReidentRiskLib.window import mrml
from ReidentRiskLib.window.results import RiskResultNodes

LAYOUT_ID = 27163  # any number above those of the application, which are below 1000
REFERENCE_VIEW, PROBE_VIEW = VIEWS = ("1", "2")  # of the views that the application has anyway
PICTURE_LAYOUT = slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
PICTURE_VIEW = "Red"
_VIEW_ANGLE = 30.0  # degrees, as of a new camera
_SEEN = 4.6  # height of what is seen, in distances between eyes and mouth: from the crown to below the chin
_APART = 20.0  # mm between two faces; those that are closer are seen by the very same camera


def _view(kind: str, tag: str, label: str, more: str = "") -> str:
    label = f'<property name="viewlabel" action="default">{label}</property>'
    return f'<view class="vtkMRML{kind}" singletontag="{tag}"{more}>{label}</view>'


LAYOUT = f"""
<layout type="vertical" split="true">
 <item splitSize="600"><layout type="horizontal">
  <item>{_view("ViewNode", REFERENCE_VIEW, "1")}</item>
  <item>{_view("ViewNode", PROBE_VIEW, "2", ' type="secondary"')}</item>
 </layout></item>
 <item splitSize="400"><layout type="horizontal" split="true">
  <item splitSize="500">{_view("PlotViewNode", "PlotView1", "P")}</item>
  <item splitSize="500">{_view("TableViewNode", "TableView1", "T")}</item>
 </layout></item>
</layout>
"""


def add_layout(node: slicer.vtkMRMLLayoutNode) -> int:
    """Make the layout known to the scene's layout node, once; its number."""
    if not node.IsLayoutDescription(LAYOUT_ID):
        node.AddLayoutDescription(LAYOUT_ID, LAYOUT)
    return LAYOUT_ID


def view_node(scene: slicer.vtkMRMLScene, tag: str) -> slicer.vtkMRMLViewNode | None:
    """The 3D view of VIEWS; None before the application has made it for the layout."""
    return scene.GetSingletonNode(tag, "vtkMRMLViewNode")


def show_pair(result: RiskResultNodes, probe: int) -> None:
    """Show the face of the reference in the first view and that of the probe (from 1) in the second, no others.

    Faces and landmarks of every other result, and those that Reface compares, are hidden. The landmarks of the
    reference are seen, and can be moved.
    """
    scene, reference = result.table.GetScene(), result.landmarks[0]
    hide_faces(scene)
    compared = result.surfaces[probe] if 0 < probe < len(result.surfaces) else None
    _show_in(scene, REFERENCE_VIEW, result.surfaces[0])
    _show_in(scene, REFERENCE_VIEW, reference)
    _show_in(scene, PROBE_VIEW, compared)
    if reference is not None:
        reference.SetLocked(False)
    for tag in VIEWS:
        view = view_node(scene, tag)
        if view is not None:
            view.SetBoxVisible(False)
            view.SetAxisLabelsVisible(False)


def hide_faces(scene: slicer.vtkMRMLScene) -> None:
    """Hide the faces and landmarks of all results, and the faces of Reface; hidden landmarks cannot be moved."""
    faces.hide_faces(scene)
    for node in nodes_of_class(scene, "vtkMRMLMarkupsNode"):
        if node.GetAttribute(mrml.RUN):
            node.SetLocked(True)


def _show_in(scene: slicer.vtkMRMLScene, tag: str, node: slicer.vtkMRMLDisplayableNode | None) -> None:
    """Show a node in the 3D view of VIEWS alone; in all where there is no such view."""
    display = node.GetDisplayNode() if node is not None else None
    if display is not None:
        view = view_node(scene, tag)
        display.SetViewNodeIDs([view.GetID()] if view is not None else [])
        display.SetVisibility(True)


def show_chart(application: slicer.vtkMRMLApplicationLogic, chart: slicer.vtkMRMLPlotChartNode | None) -> None:
    """Show a chart in the plot views. (ShowChartInLayout of the Plots module would leave our layout.)"""
    application.GetSelectionNode().SetActivePlotChartID(chart.GetID() if chart is not None else None)
    application.PropagatePlotChartSelection()


def show_table(application: slicer.vtkMRMLApplicationLogic, table: slicer.vtkMRMLTableNode | None) -> None:
    """Show a table in the table views."""
    application.GetSelectionNode().SetActiveTableID(table.GetID() if table is not None else None)
    application.PropagateTableSelection()


def show_picture(scene: slicer.vtkMRMLScene, picture: slicer.vtkMRMLVectorVolumeNode) -> bool:
    """Show a picture of mrml.add_pictures upright in the slice view of PICTURE_VIEW; whether there is such a view."""
    slices = scene.GetSingletonNode(PICTURE_VIEW, "vtkMRMLSliceNode")
    layers = scene.GetSingletonNode(PICTURE_VIEW, "vtkMRMLSliceCompositeNode")
    if slices is None or layers is None:
        return False
    slices.SetOrientationToAxial()
    layers.SetBackgroundVolumeID(picture.GetID())
    layers.SetForegroundVolumeID(None)
    layers.SetLabelVolumeID(None)
    return True


def shown_picture(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLNode | None:
    """What lies in the view of show_picture, None where nothing does."""
    layers = scene.GetSingletonNode(PICTURE_VIEW, "vtkMRMLSliceCompositeNode")
    return scene.GetNodeByID(layers.GetBackgroundVolumeID() or "") if layers is not None else None


def hide_picture(scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode | None) -> None:
    """Take what show_picture has shown out of its view, and put a volume, or nothing, in its place."""
    layers = scene.GetSingletonNode(PICTURE_VIEW, "vtkMRMLSliceCompositeNode")
    if layers is not None:
        layers.SetBackgroundVolumeID(volume.GetID() if volume is not None else None)


# ---- cameras ----


def look_at_faces(result: RiskResultNodes, probe: int, cameras: Sequence[slicer.vtkMRMLCameraNode | None]) -> None:
    """Put both cameras (those of VIEWS) in front of their faces, alike: a face is as large in one view as in the other.

    The views are linked where the faces lie in one place; a face elsewhere has a camera moved along with it.
    """
    reference = _eyes_and_mouth(result, 0)
    if reference is None:
        return
    other = _eyes_and_mouth(result, probe)
    moved = np.zeros(3) if other is None else other.mean(axis=0) - reference.mean(axis=0)
    together = bool(np.linalg.norm(moved) < _APART)
    reach = _SEEN / 2 * float(np.linalg.norm(reference[0] - reference[1]))
    distance = reach / math.tan(math.radians(_VIEW_ANGLE / 2))
    forward, up = directions(result.landmarks[0], np.zeros(3), np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]))
    middle = reference.mean(axis=0)
    for camera, shift in zip(cameras, (np.zeros(3), np.zeros(3) if together else moved), strict=True):
        if camera is not None:
            stand_in_front(camera, middle + shift, forward, up, reach, distance=distance)
    for tag in VIEWS:
        view = view_node(result.table.GetScene(), tag)
        if view is not None:
            view.SetLinkedControl(together)


def _eyes_and_mouth(result: RiskResultNodes, index: int) -> np.ndarray | None:
    """The middle of the eyes and that of the mouth (2, 3), RAS mm of the world; None where there is no such face."""
    node = result.landmarks[index] if 0 <= index < len(result.landmarks) else None
    if node is None or node.GetNumberOfControlPoints() < 5:
        return None
    points = np.zeros((5, 3))
    for number, point in enumerate(points):
        node.GetNthControlPointPositionWorld(number, point)
    return np.stack([points[:2].mean(axis=0), points[3:].mean(axis=0)])
