"""What the views show of a result: two faces from one place, or the picture that explains."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
import slicer  # noqa: E402
import vtk  # noqa: E402

from helpers.reidentrisk.nodes import add_result, moved, points_node  # noqa: E402
from helpers.reidentrisk.resultfixtures import *  # noqa: E402, F403
from RefaceLib.window import faces  # noqa: E402
from ReidentRiskLib.attack.landmarks import FIVE  # noqa: E402
from ReidentRiskLib.window import faceviews, results  # noqa: E402


@pytest.fixture
def views(scene):
    made = []
    for tag in faceviews.VIEWS:
        view = slicer.vtkMRMLViewNode()
        view.SetSingletonTag(tag)
        made.append(scene.AddNode(view))
    return made


def shown_in(node):
    display = node.GetDisplayNode()
    return list(display.GetViewNodeIDs()) if display.GetVisibility() else None


def test_two_faces_are_seen_each_in_a_view_of_its_own(result, views):
    first, second = (view.GetID() for view in views)
    for probe, other in ((1, 2), (2, 1)):
        faceviews.show_pair(result, probe)
        assert [shown_in(result.surfaces[index]) for index in (0, probe, other)] == [[first], [second], None]
        assert [shown_in(node) for node in result.landmarks] == [[first], None, None]


def test_faces_and_landmarks_of_other_results_are_hidden_first(scene, request_, findings, views):
    """After a second run the views showed two persons' faces fused, and two lists of landmarks that could be moved."""
    first, second = (add_result(scene, request_, findings) for _ in range(2))
    own = points_node(scene, list(FIVE))
    own.CreateDefaultDisplayNodes()
    for shown, other in ((first, second), (second, first), (first, second)):
        faceviews.show_pair(shown, 1)
        assert all(shown_in(node) is None for node in (*other.surfaces, *other.landmarks))
        assert all(node.GetLocked() for node in other.landmarks)
        assert shown_in(shown.landmarks[0]) and not shown.landmarks[0].GetLocked()
    assert shown_in(own) == [] and not own.GetLocked()  # of the user
    faceviews.hide_faces(scene)
    assert all(shown_in(node) is None for node in (*first.surfaces, *second.surfaces))


def test_faces_that_reface_compares_are_hidden_and_the_other_way_round(scene, result, views):
    """Both modules use the same views."""
    compared = scene.AddNewNodeByClass("vtkMRMLModelNode", "Head face")
    compared.SetAttribute("Reface.Face", "before")
    compared.CreateDefaultDisplayNodes()
    own = scene.AddNewNodeByClass("vtkMRMLModelNode", "Of the user")
    own.CreateDefaultDisplayNodes()
    faceviews.show_pair(result, 1)
    assert shown_in(compared) is None and shown_in(own) == []
    faces.hide_faces(scene)
    assert all(shown_in(node) is None for node in (*result.surfaces, *result.landmarks)) and shown_in(own) == []


def test_views_show_neither_box_nor_labels(result, views):
    faceviews.show_pair(result, 1)
    assert not any(view.GetBoxVisible() or view.GetAxisLabelsVisible() for view in views)


def test_the_layout_is_one_that_the_application_can_read(scene):
    node = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    for _ in range(2):
        assert faceviews.add_layout(node) == faceviews.LAYOUT_ID
    node.SetViewArrangement(faceviews.LAYOUT_ID)
    root = node.GetLayoutRootElement()
    assert root is not None and root.GetName() == "layout"
    for tag in (*faceviews.VIEWS, "PlotView1", "TableView1"):
        assert f'singletontag="{tag}"' in node.GetCurrentLayoutDescription()


def cameras_on(result, probe):
    made = [slicer.vtkMRMLCameraNode() for _ in range(2)]
    faceviews.look_at_faces(result, probe, made)
    return made


def pose(camera):
    return [*camera.GetPosition(), *camera.GetFocalPoint(), *camera.GetViewUp(), camera.GetParallelScale()]


def face_points(result, index):
    return slicer.util.arrayFromMarkupsControlPoints(result.landmarks[index])


def test_both_views_have_one_camera_in_front_of_the_face(result, views):
    first, second = cameras_on(result, 1)
    assert pose(first) == pytest.approx(pose(second))
    points = face_points(result, 0)
    middle = (points[:2].mean(axis=0) + points[3:].mean(axis=0)) / 2
    assert first.GetFocalPoint() == pytest.approx(middle)
    position = np.array(first.GetPosition())
    assert position[1] > points[:, 1].max() and position[[0, 2]] == pytest.approx(middle[[0, 2]])
    assert all(view.GetLinkedControl() for view in views)


def test_the_whole_face_is_seen_from_crown_to_chin(result):
    """The chin was cut off. Of a face as people have it, 115 mm above the eyes and 50 mm below the mouth is the end."""
    size = np.array([[32.0, 80, 0], [-32, 80, 0], [0, 105, -40], [24, 90, -66], [-24, 90, -66]])
    slicer.util.updateMarkupsControlPointsFromArray(result.landmarks[0], size)
    camera = cameras_on(result, 1)[0]
    seen = np.tan(np.radians(camera.GetViewAngle() / 2)) * (camera.GetPosition()[1] - camera.GetFocalPoint()[1])
    assert camera.GetFocalPoint()[2] - seen < -66 - 50 and camera.GetFocalPoint()[2] + seen > 110
    assert seen < 180 and camera.GetParallelScale() == pytest.approx(seen)


def test_a_head_elsewhere_is_seen_by_a_camera_that_moved_along(scene, result, views):
    moved(scene, result.surfaces[1], result.landmarks[1], by=100.0)
    first, second = cameras_on(result, 1)
    apart = np.array(second.GetPosition()) - first.GetPosition()
    assert apart == pytest.approx((100, 0, 0))
    assert np.array(second.GetFocalPoint()) - first.GetFocalPoint() == pytest.approx((100, 0, 0))
    assert not any(view.GetLinkedControl() for view in views)


def test_the_cameras_turn_with_a_head_that_its_parent_transform_has_turned(scene, result, views):
    """It was seen from aside."""
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(rotation_about_s(90.0))
    for node in (*result.surfaces, *result.landmarks):
        node.SetAndObserveTransformNodeID(transform.GetID())
    camera = cameras_on(result, 1)[0]
    way = np.array(camera.GetPosition()) - camera.GetFocalPoint()
    assert way / np.linalg.norm(way) == pytest.approx([-1, 0, 0], abs=1e-6)  # anterior, turned to the right


def rotation_about_s(degrees):
    turn = vtk.vtkTransform()
    turn.RotateZ(degrees)
    return turn.GetMatrix()


def test_without_landmarks_the_cameras_stay(scene, result):
    scene.RemoveNode(result.landmarks[0])
    camera = slicer.vtkMRMLCameraNode()
    before = pose(camera)
    faceviews.look_at_faces(results.find_result(result.table), 1, (camera, None))
    assert pose(camera) == before


def test_the_explanation_is_shown_alone_and_upright(scene, result):
    assert not faceviews.show_picture(scene, result.explanation)  # without a window
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
        made = scene.CreateNodeByClass(kind)  # with the orientations
        made.SetSingletonTag(faceviews.PICTURE_VIEW)
        if made.IsA("vtkMRMLSliceNode"):
            made.SetLayoutName(faceviews.PICTURE_VIEW)
        scene.AddNode(made)
    layers = scene.GetSingletonNode(faceviews.PICTURE_VIEW, "vtkMRMLSliceCompositeNode")
    layers.SetForegroundVolumeID(result.pictures[0].GetID())
    assert faceviews.show_picture(scene, result.explanation)
    assert (layers.GetBackgroundVolumeID(), layers.GetForegroundVolumeID()) == (result.explanation.GetID(), None)
    assert scene.GetSingletonNode(faceviews.PICTURE_VIEW, "vtkMRMLSliceNode").GetOrientation() == "Axial"
