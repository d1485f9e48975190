"""ReidentRiskLib.window.mrml on real MRML nodes, without the application."""

from __future__ import annotations

import json

import numpy as np
import pytest

from RefaceLib import __version__
from RefaceLib.common.errors import InputError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)

from helpers.scenes import saved_and_read  # noqa: E402
from ReidentRiskLib.judge.calibration import Calibration, distribution_of  # noqa: E402
from ReidentRiskLib.judge.scores import ALIGNED  # noqa: E402
from ReidentRiskLib.judge.verdict import verdict_of  # noqa: E402
from ReidentRiskLib.window import mrml  # noqa: E402

LABELS = ("right_eye", "left_eye", "nose_tip", "right_mouth", "left_mouth")
POINTS = np.array([[30.0, 80, -20], [-30, 80, -20], [0, 115, -55], [22, 90, -80], [-22, 90, -80]])


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


@pytest.fixture
def folder(scene):
    return mrml.add_folder(scene, "Comparison")


@pytest.fixture
def hierarchy(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def sphere():
    source = vtk.vtkSphereSource()
    source.Update()
    return source.GetOutput()


def moved_volume(scene):
    """A volume node under a transform."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node, transform


def cells(node, title):
    column = node.GetTable().GetColumnByName(title)
    return [column.GetVariantValue(row) for row in range(column.GetNumberOfTuples())]


def calibration():
    random = np.random.default_rng(0)
    parts = [distribution_of(random.normal(middle, 0.05, 3000)) for middle in (0.3, 0.9)]
    return Calibration("fake", "ab" * 32, "standard", ALIGNED, *parts, {})


# ---- the hierarchy ----


def test_everything_is_put_under_one_folder_of_the_scene(scene, folder, hierarchy):
    mrml.add_surface(scene, folder, sphere(), "Face")
    mrml.add_points(scene, folder, POINTS, LABELS, "Points")
    mrml.add_pictures(scene, folder, np.zeros((2, 4, 5, 3), np.uint8), "Pictures")
    mrml.add_table(scene, folder, "Scores", {"probe": ["a"]})
    mrml.add_histogram(scene, folder, "Histogram", "Title", calibration(), {"probe": 0.5})
    assert hierarchy.GetItemName(folder) == "Comparison"
    assert hierarchy.GetItemParent(folder) == hierarchy.GetSceneItemID()
    classes = [node.GetClassName() for node in mrml.nodes_in(scene, folder)]
    assert classes[:4] == [
        "vtkMRMLModelNode", "vtkMRMLMarkupsFiducialNode", "vtkMRMLVectorVolumeNode", "vtkMRMLTableNode",
    ]  # fmt: skip
    assert classes[4:] == ["vtkMRMLPlotChartNode"]
    for node in mrml.nodes_in(scene, folder):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder


def test_an_item_that_the_application_has_made_is_moved_into_the_folder(scene, folder, hierarchy):
    @vtk.calldata_type(vtk.VTK_OBJECT)
    def make_item(_scene, _event, node):
        if node.IsA("vtkMRMLModelNode"):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, make_item)
    node = mrml.add_surface(scene, folder, sphere(), "Face")
    assert mrml.nodes_in(scene, folder) == [node]
    assert hierarchy.GetNumberOfItemChildren(hierarchy.GetSceneItemID()) == 1


def test_a_folder_goes_with_all_that_is_in_it(scene, folder):
    others = scene.GetNumberOfNodes()
    mrml.add_histogram(scene, folder, "Histogram", "Title", calibration(), {"probe": 0.5})
    mrml.add_surface(scene, folder, sphere(), "Face")
    mrml.remove_folder(scene, folder)
    assert scene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLModelNode") == 0
    assert scene.GetNumberOfNodes() <= others
    mrml.remove_folder(scene, folder)  # a second time is no error


# ---- surfaces and points ----


def test_a_surface_becomes_a_model_where_the_volume_is(scene, folder):
    volume, transform = moved_volume(scene)
    surface = sphere()
    node = mrml.add_surface(scene, folder, surface, "Face", volume)
    assert node.GetPolyData().GetNumberOfPoints() == surface.GetNumberOfPoints()
    assert node.GetPolyData().GetBounds() == surface.GetBounds()
    assert node.GetParentTransformNode() is transform
    assert node.GetDisplayNode().GetColor() == pytest.approx(mrml.SKIN_COLOUR)


def test_points_become_labelled_markups_in_ras_that_cannot_be_moved(scene, folder):
    volume, transform = moved_volume(scene)
    node = mrml.add_points(scene, folder, POINTS, LABELS, "Points", volume)
    assert [node.GetNthControlPointLabel(index) for index in range(5)] == [
        "right eye",
        "left eye",
        "nose tip",
        "right mouth",
        "left mouth",
    ]
    np.testing.assert_allclose(slicer.util.arrayFromMarkupsControlPoints(node), POINTS)
    assert node.GetLocked() and node.GetParentTransformNode() is transform


def markups(scene, points, labels):
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mine")
    for point, label in zip(points, labels, strict=True):
        node.AddControlPoint(vtk.vtkVector3d(*point), label)
    return node


def test_points_come_back_in_the_order_of_the_labels(scene, folder):
    node = mrml.add_points(scene, folder, POINTS, LABELS, "Points")
    np.testing.assert_allclose(mrml.points_from_node(node, LABELS), POINTS)
    shuffled = [3, 1, 4, 0, 2]
    names = ["Right Mouth", "LEFT-EYE", "left mouth", "right_eye", "Nose tip"]
    node = markups(scene, POINTS[shuffled], names)
    np.testing.assert_allclose(mrml.points_from_node(node, LABELS), POINTS)


def test_points_without_such_labels_are_taken_in_order(scene):
    node = markups(scene, POINTS, [f"F-{index}" for index in range(1, 6)])
    np.testing.assert_allclose(mrml.points_from_node(node, LABELS), POINTS)


def moved(scene, *nodes, by):
    """Put nodes under a transform to the right by so many millimetres."""
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, by)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(matrix)
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())


def test_points_are_read_where_they_are_seen_in_the_volume(scene):
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head")
    node = markups(scene, POINTS, LABELS)
    moved(scene, volume, by=100.0)
    np.testing.assert_allclose(mrml.points_from_node(node, LABELS, volume), POINTS - [100, 0, 0])
    moved(scene, volume, node, by=7.0)
    np.testing.assert_allclose(mrml.points_from_node(node, LABELS, volume), POINTS)
    np.testing.assert_allclose(mrml.points_from_node(node, LABELS), POINTS + [7, 0, 0])


@pytest.mark.parametrize(
    "labels", [LABELS[:4], (*LABELS[:4], "F-5"), ("a", "b", "c", "d"), ("a", "b", "c", "d", "e", "f"), ()]
)
def test_missing_points_are_told_by_name(scene, labels):
    points = np.tile(POINTS, (2, 1))[: len(labels)]
    with pytest.raises(InputError, match="'Mine'.*right eye, left eye, nose tip"):
        mrml.points_from_node(markups(scene, points, labels), LABELS)


def test_a_point_that_is_not_placed_is_missing(scene):
    node = markups(scene, POINTS, LABELS)
    node.UnsetNthControlPointPosition(2)
    with pytest.raises(InputError, match="must hold"):
        mrml.points_from_node(node, LABELS)


# ---- pictures ----


def test_pictures_become_a_colour_volume_that_stands_upright_in_an_axial_view(scene, folder):
    pictures = np.random.default_rng(0).integers(0, 255, (3, 6, 8, 3), dtype=np.uint8)
    node = mrml.add_pictures(scene, folder, pictures, "Pictures")
    assert node.IsA("vtkMRMLVectorVolumeNode")
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), pictures)
    assert node.GetImageData().GetNumberOfScalarComponents() == 3
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    # An axial view shows the subject's right (R, +) on its left and the front (A, +) at its top.
    to_the_right, down = (np.array(matrix.MultiplyPoint(axis)[:3]) for axis in ((1, 0, 0, 0), (0, 1, 0, 0)))
    assert to_the_right[0] < 0 and down[1] < 0
    # No slice through the picture cuts a head: the outline of a mask was drawn over it.
    assert matrix.GetElement(2, 3) > 1000.0
    assert node.GetDisplayNode() is not None


def test_pictures_are_copied(scene, folder):
    pictures = np.zeros((1, 4, 4, 3), np.uint8)
    node = mrml.add_pictures(scene, folder, pictures, "Pictures")
    pictures[:] = 9
    assert slicer.util.arrayFromVolume(node).max() == 0


# ---- tables and plots ----


def test_a_table_has_numbers_where_there_are_numbers(scene, folder):
    node = mrml.add_table(
        scene,
        folder,
        "Scores",
        {"probe": ["a", "b"], "cosine": [0.25, None], "views": [45, 3], "mean": [0.5, 1.0], "verdict": ["x", None]},
    )
    assert [cell.ToString() for cell in cells(node, "probe")] == ["a", "b"]
    assert [cell.ToString() for cell in cells(node, "cosine")] == ["0.25", ""]  # not "nan", which says nothing
    assert [cell.ToInt() for cell in cells(node, "views")] == [45, 3]
    assert cells(node, "views")[0].IsInt() and cells(node, "mean")[0].IsDouble()
    assert cells(node, "verdict")[1].ToString() == ""


def chart_of(scene, folder):
    (chart,) = [node for node in mrml.nodes_in(scene, folder) if node.IsA("vtkMRMLPlotChartNode")]
    return chart, [chart.GetNthPlotSeriesNode(index) for index in range(chart.GetNumberOfPlotSeriesNodes())]


def plotted(series):
    """The x and y numbers of a series, found through its table as the plot view finds them."""
    titles = series.GetXColumnName(), series.GetYColumnName()
    return [[cell.ToDouble() for cell in cells(series.GetTableNode(), title)] for title in titles]


def test_a_histogram_shows_both_distributions_and_marks_the_scores(scene, folder):
    chart = mrml.add_histogram(scene, folder, "H", "Title", calibration(), {"p": 0.42, "blind": float("nan")})
    found, series = chart_of(scene, folder)
    assert found is chart and chart.GetTitle() == "Title"
    assert [each.GetName() for each in series][:3] == ["different heads", "the same head", "p"]
    x, y = plotted(series[2])
    assert x == [0.42, 0.42] and y == [0, 1]
    for each, middle in zip(series[:2], (0.3, 0.9), strict=True):
        x, y = map(np.array, plotted(each))
        assert y.max() == 1 and y[0] == y[-1] == 0
        assert np.trapezoid(y * x, x) / np.trapezoid(y, x) == pytest.approx(middle, abs=0.01)
    assert series[0].GetMarkerStyle() == slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone
    assert series[0].GetColor() != series[1].GetColor()


def test_probes_are_told_apart_in_a_histogram(scene, folder):
    scores = {f"probe {index}": 0.3 + index / 100 for index in range(15)}
    mrml.add_histogram(scene, folder, "H", "Title", calibration(), scores)
    series = chart_of(scene, folder)[1][:-3]
    looks = {(each.GetColor(), each.GetLineStyle()) for each in series}
    assert len(looks) == len(series) == 17


def test_the_zones_of_the_verdicts_are_marked_where_verdicts_change(scene, folder):
    mrml.add_histogram(scene, folder, "H", "Title", calibration(), {"p": 0.1})
    zones = chart_of(scene, folder)[1][-3:]
    assert [zone.GetName() for zone in zones] == ["not recognisable", "uncertain", "recognisable"]
    (low, first), (_, second), (_, high) = (plotted(zone)[0] for zone in zones)
    assert low <= 0.1 and high >= 1.0
    for edge in (first, second):
        below, above = (verdict_of(edge + step, calibration()) for step in (-1e-3, 1e-3))
        assert below != above
    assert {plotted(zone)[1][0] < 0 for zone in zones} == {True}  # below the distributions


@pytest.mark.parametrize("count", [1, 5])
def test_the_legend_leaves_the_peaks_free(scene, folder, count):
    """It is at the top on the right, where the peak of the same head is."""
    scores = {f"probe {index}": 0.3 for index in range(count)}
    chart = mrml.add_histogram(scene, folder, "H", "Title", calibration(), scores)
    low, high = chart.GetYAxisRange()
    assert not chart.GetYAxisRangeAuto() and low < 0
    assert (high - 1.0) / high >= 0.06 * (count + 5)


def test_the_report_is_kept_by_a_saved_scene(scene, folder, tmp_path):
    report = {"model": {"name": "sface", "sha256": "ab"}, "views": "standard", "warnings": ["One ü.", "Two."], "n": 1}
    node = mrml.add_table(scene, folder, "Scores", {"probe": ["a"]})
    mrml.set_provenance(node, report)
    attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames() if name != mrml.RUN}
    assert json.loads(attributes.pop("ReidentRisk.Report")) == report
    assert attributes == {
        "ReidentRisk.Version": __version__,
        "ReidentRisk.Model": "sface",
        "ReidentRisk.ModelSha256": "ab",
        "ReidentRisk.Views": "standard",
        "ReidentRisk.Warnings": "One ü. Two.",
    }
    again = saved_and_read(scene, tmp_path)
    assert json.loads(again.GetFirstNodeByName("Scores").GetAttribute("ReidentRisk.Report")) == report
