"""The layout that shows two faces side by side above the plot and the table, and who is seen where in it."""

from __future__ import annotations

import slicer

from ReidentRiskLib.window.results import RiskResultNodes

LAYOUT_ID = 27163  # any number above those of the application, which are below 1000
REFERENCE_VIEW, PROBE_VIEW = VIEWS = ("1", "2")  # of the views that the application has anyway
_VIEW_ANGLE = 30.0  # degrees, as of a new camera
_DISTANCE = 2.2  # of the camera from the middle of the head, in sizes of the head


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
  <item splitSize="600">{_view("PlotViewNode", "PlotView1", "P")}</item>
  <item splitSize="400">{_view("TableViewNode", "TableView1", "T")}</item>
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

    The landmarks are shown with them.
    """
    scene = result.table.GetScene()
    for index, (surface, points) in enumerate(zip(result.surfaces, result.landmarks, strict=True)):
        tag = {0: REFERENCE_VIEW, probe: PROBE_VIEW}.get(index)
        view = view_node(scene, tag) if tag else None
        for node in (surface, points):
            display = node.GetDisplayNode() if node is not None else None
            if display is None:
                continue
            display.SetVisibility(tag is not None)
            display.RemoveAllViewNodeIDs()
            if view is not None:
                display.AddViewNodeID(view.GetID())


def show_chart(application: slicer.vtkMRMLApplicationLogic, chart: slicer.vtkMRMLPlotChartNode | None) -> None:
    """Show a chart in the plot views. (ShowChartInLayout of the Plots module would leave our layout.)"""
    application.GetSelectionNode().SetActivePlotChartID(chart.GetID() if chart is not None else None)
    application.PropagatePlotChartSelection()


def show_table(application: slicer.vtkMRMLApplicationLogic, table: slicer.vtkMRMLTableNode) -> None:
    """Show a table in the table views."""
    application.GetSelectionNode().SetActiveTableID(table.GetID())
    application.PropagateTableSelection()


def look_at_face(camera: slicer.vtkMRMLCameraNode, surface: slicer.vtkMRMLModelNode | None) -> None:
    """Put the camera in front of a face, where the parent transform has moved it; no face, no change."""
    if surface is None or surface.GetPolyData() is None or surface.GetPolyData().GetNumberOfPoints() == 0:
        return
    bounds = [0.0] * 6
    surface.GetRASBounds(bounds)
    middle = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
    size = max(bounds[2 * axis + 1] - bounds[2 * axis] for axis in range(3))
    camera.SetFocalPoint(*middle)
    camera.SetPosition(middle[0], middle[1] + _DISTANCE * size, middle[2])  # anterior of it
    camera.SetViewUp(0.0, 0.0, 1.0)
    camera.SetViewAngle(_VIEW_ANGLE)
    camera.ResetClippingRange()
