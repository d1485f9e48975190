"""Before and after in the views: one pair at a time, framed on the face, and nothing of an earlier pair beside it."""

from __future__ import annotations

import types

import numpy as np
import pytest

from helpers.imagefiles import assert_one_sentence
from helpers.phantom import LANDMARKS, make_phantom
from RefaceLib.common.errors import CancelledError, HeadNotFoundError, OutputError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from helpers.scenes import add_views, volume_node  # noqa: E402
from RefaceLib.window import faces, faceviews, masks, mrml, skinlight, turntable  # noqa: E402  (needs slicer)

CROWN = (0.0, 0.0, 76.0)


@pytest.fixture
def scene():
    made = slicer.vtkMRMLScene()
    add_views(made)
    return made


@pytest.fixture
def heads(scene):
    """A head before and after."""
    return [volume_node(scene, make_phantom(), name) for name in ("Head", "Head refaced")]


def nodes(scene, kind):
    return [scene.GetNthNodeByClass(index, kind) for index in range(scene.GetNumberOfNodesByClass(kind))]


def seen(scene, name):
    """The models that a 3D view shows."""
    view = scene.GetSingletonNode(name, "vtkMRMLViewNode").GetID()
    displays = [(model, model.GetDisplayNode()) for model in nodes(scene, "vtkMRMLModelNode")]
    return [model for model, display in displays if display.GetVisibility() and display.IsDisplayableInView(view)]


def where(camera):
    return (
        camera.GetPosition(), camera.GetFocalPoint(), camera.GetViewUp(), camera.GetViewAngle(),
        camera.GetParallelScale(),
    )  # fmt: skip


def in_the_view(camera, point):
    """Where a point, RAS mm, is in a square view: -1 to 1 across and up."""
    matrix = camera.GetCamera().GetCompositeProjectionTransformMatrix(1.0, -1.0, 1.0)
    across, up, _depth, scale = matrix.MultiplyPoint((*point, 1.0))
    return across / scale, up / scale


def test_before_and_after_are_over_each_other_in_slices_and_beside_each_other_in_3d(scene, heads):
    before, after = heads
    models = faceviews.show_before_after(scene, before, after)
    composites = nodes(scene, "vtkMRMLSliceCompositeNode")
    for composite in composites:
        assert composite.GetBackgroundVolumeID() == before.GetID()
        assert composite.GetForegroundVolumeID() == after.GetID()
        assert composite.GetForegroundOpacity() == 1.0
    assert [seen(scene, name) for name in faceviews.VIEW_NAMES] == [[model] for model in models]
    assert all(model.GetPolyData().GetNumberOfPoints() > 100 for model in models)
    assert not any(model.GetSaveWithScene() for model in models)
    assert scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement() == faceviews.LAYOUT
    faceviews.compare_slices(scene, before, after, 0.25)
    assert {composite.GetForegroundOpacity() for composite in composites} == {0.25}


def test_both_views_have_one_camera_that_holds_the_face_and_no_box_and_no_labels(scene, heads):
    faceviews.show_before_after(scene, *heads)
    first, second = nodes(scene, "vtkMRMLCameraNode")
    assert where(first) == where(second)
    for point in (CROWN, *LANDMARKS.values()):
        assert max(map(abs, in_the_view(first, point))) < 0.95
    assert in_the_view(first, LANDMARKS["chin"])[1] < in_the_view(first, LANDMARKS["nose_tip"])[1] < 0.1
    assert in_the_view(first, CROWN)[1] - in_the_view(first, LANDMARKS["chin"])[1] > 1.2  # it fills the view
    left, right = (in_the_view(first, LANDMARKS[f"{side}_eye"])[0] for side in ("left", "right"))
    assert right < 0 < left or left < 0 < right
    for view in nodes(scene, "vtkMRMLViewNode"):
        assert view.GetLinkedControl() and not view.GetBoxVisible() and not view.GetAxisLabelsVisible()


def test_the_camera_goes_where_a_parent_transform_has_put_the_head(scene, heads):
    turned = vtk.vtkTransform()
    turned.Translate(300.0, -40.0, 10.0)
    turned.RotateZ(90.0)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(turned.GetMatrix())
    for head in heads:
        head.SetAndObserveTransformNodeID(transform.GetID())
    faceviews.show_before_after(scene, *heads)
    camera = nodes(scene, "vtkMRMLCameraNode")[0]
    for point in (CROWN, *LANDMARKS.values()):
        assert max(map(abs, in_the_view(camera, turned.TransformPoint(point)))) < 0.95
    looks = np.subtract(camera.GetFocalPoint(), camera.GetPosition())
    forward = np.array(turned.TransformVector(0.0, 1.0, 0.0))
    assert looks @ forward < -0.99 * np.linalg.norm(looks)


def test_another_pair_leaves_nothing_of_the_first_in_the_views(scene, heads):
    others = [volume_node(scene, make_phantom(), name) for name in ("T2", "T2 defaced")]
    faceviews.show_before_after(scene, *heads)
    models = faceviews.show_before_after(scene, *others)
    assert [seen(scene, name) for name in faceviews.VIEW_NAMES] == [[model] for model in models]
    assert [model.GetName() for model in models] == ["T2 face", "T2 defaced face"]
    assert len(nodes(scene, "vtkMRMLModelNode")) == 2


def test_faces_of_reidentrisk_give_way_and_models_of_others_stay(scene, heads):
    found = {}
    for name, attribute in (("risk", "ReidentRisk.Run"), ("tumour", "Someone.Else")):
        found[name] = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
        found[name].SetAttribute(attribute, "1")
        found[name].CreateDefaultDisplayNodes()
    faceviews.show_before_after(scene, *heads)
    assert not found["risk"].GetDisplayVisibility() and found["tumour"].GetDisplayVisibility()


def test_of_a_result_of_a_result_its_own_input_is_the_face_before(scene, heads):
    """Head, defaced, recovered: the recovered head stands beside the defaced one."""
    whole, defaced = heads
    stored = mrml.volume_from_node(whole).stored
    values = slicer.util.arrayFromVolume(defaced)
    values[:, : values.shape[1] // 3] = 0
    points = [model.GetPolyData().GetNumberOfPoints() for model in faceviews.show_before_after(scene, whole, defaced)]
    recovered = mrml.add_result_volume(scene, defaced, stored, "Head defaced with a face")
    models = faceviews.show_before_after(scene, defaced, recovered)
    assert points[0] != points[1]
    assert [model.GetPolyData().GetNumberOfPoints() for model in models] == points[::-1]


def test_a_skin_is_made_once_and_again_when_its_voxels_have_changed(scene, heads):
    first = [model.GetPolyData() for model in faceviews.show_before_after(scene, *heads)]
    assert [model.GetPolyData() for model in faceviews.show_before_after(scene, *heads)] == first
    values = slicer.util.arrayFromVolume(heads[1])
    values[:, : values.shape[1] // 3] = 0
    slicer.util.arrayFromVolumeModified(heads[1])
    again = [model.GetPolyData() for model in faceviews.show_before_after(scene, *heads)]
    assert again[0] is first[0] and again[1] is not first[1]


def test_a_volume_that_has_another_face_or_is_gone_leaves_no_skin(scene, heads):
    faceviews.show_before_after(scene, *heads)
    faces.remove_faces(scene, heads[1])
    assert [model.GetName() for model in nodes(scene, "vtkMRMLModelNode")] == ["Head face"]
    scene.RemoveNode(heads[0])
    faces.remove_faces(scene)
    assert nodes(scene, "vtkMRMLModelNode") == []


def test_a_result_without_a_skin_is_shown_in_the_slices_alone(scene, heads):
    faceviews.show_before_after(scene, *heads)
    slicer.util.arrayFromVolume(heads[1])[:] = 0
    slicer.util.arrayFromVolumeModified(heads[1])
    with pytest.raises(HeadNotFoundError):
        faceviews.show_before_after(scene, *heads)
    assert {each.GetForegroundVolumeID() for each in nodes(scene, "vtkMRMLSliceCompositeNode")} == {heads[1].GetID()}
    assert [seen(scene, name) for name in faceviews.VIEW_NAMES] == [[], []]


def test_the_slices_go_to_the_face(scene, heads):
    model, _after = faceviews.show_before_after(scene, *heads)
    faceviews.centre_slices(scene, model)
    eyes, nose = LANDMARKS["left_eye"], LANDMARKS["nose_tip"]
    for node in nodes(scene, "vtkMRMLSliceNode"):
        matrix = node.GetSliceToRAS()
        normal, place = ([matrix.GetElement(row, column) for row in range(3)] for column in (2, 3))
        assert abs(np.dot(normal, np.subtract(place, (0.0, eyes[1], nose[2])))) < 25.0


# ---- masks ----


def test_the_mask_is_an_outline_and_compare_hides_it(scene, heads):
    mask = np.zeros(mrml.volume_from_node(heads[0]).stored.shape, dtype=bool)
    mask[:, :9] = True
    node = mrml.add_mask_segmentation(scene, heads[0], mask, "Mask")
    masks.show_outline(node)
    display, segment = node.GetDisplayNode(), mrml.mask_segment(node)
    assert display.GetSegmentVisibility(segment) and display.GetSegmentVisibility2DOutline(segment)
    assert not display.GetSegmentVisibility2DFill(segment)
    faceviews.show_before_after(scene, *heads)
    assert not display.GetSegmentVisibility(segment)
    masks.show_mask(scene, node)
    assert display.GetSegmentVisibility(segment) and not display.GetSegmentVisibility2DFill(segment)


# ---- the turntable ----


class Capture:
    """The logic of Screen Capture as the film needs it: pictures of one grey each."""

    AXIS_YAW = "yaw"
    videoFormatPresets = ({"extraVideoOptions": "-codec libx264"},)

    def __init__(self, ffmpeg=False, error=None):
        self.ffmpeg, self.error, self.calls = ffmpeg, error, []
        self.ScreenCaptureLogic = lambda: self
        self.stopped = False

    def requestCancel(self):
        self.stopped = True

    def capture3dViewRotation(self, view, start, end, count, axis, folder, pattern):
        if self.error:
            raise ValueError(self.error)
        self.calls.append((view, start, end, count, axis))
        for index in range(count):
            if self.stopped:
                raise ValueError("User requested cancel.")
            self.logCallback(f"Write {pattern % index}")
            image = vtk.vtkImageData()
            image.SetDimensions(4, 6, 1)
            image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
            vtk_to_numpy(image.GetPointData().GetScalars())[:] = 10 * len(self.calls) + index
            writer = vtk.vtkPNGWriter()
            writer.SetFileName(f"{folder}/{pattern % index}")
            writer.SetInputData(image)
            writer.Write()

    def isFfmpegPathValid(self):
        return False

    def findFfmpeg(self):
        return self.ffmpeg

    def createVideo(self, rate, options, folder, pattern, name):
        with open(f"{folder}/{name}", "wb") as file:
            file.write(f"{rate} {options}".encode())
        if self.ffmpeg == "without H.264":
            raise ValueError("ffmpeg returned with error")

    def deleteTemporaryFiles(self, folder, pattern, count):
        import os

        for index in range(count):
            os.remove(f"{folder}/{pattern % index}")


def test_both_heads_turn_once_side_by_side(tmp_path):
    capture = Capture()
    turntable.film(capture, ["left", "right"], tmp_path / "film", frames=4)
    assert capture.calls == [("left", 0.0, 270.0, 4, "yaw"), ("right", 0.0, 270.0, 4, "yaw")]
    paths = sorted((tmp_path / "film").iterdir())
    assert [path.name for path in paths] == [turntable.FRAME % index for index in range(4)]
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(paths[2]))
    reader.Update()
    picture = vtk_to_numpy(reader.GetOutput().GetPointData().GetScalars())[:, 0].reshape(6, 8)
    assert (picture[:, :4] == 12).all() and (picture[:, 4:] == 22).all()


@pytest.mark.parametrize(("ffmpeg", "names"), [(True, ["turntable.mp4"]), ("without H.264", ["frame_00000.png"])])
def test_the_film_is_a_video_where_ffmpeg_can_make_one(tmp_path, ffmpeg, names):
    turntable.film(Capture(ffmpeg), ["right"], tmp_path / "film", frames=1)
    assert [path.name for path in (tmp_path / "film").iterdir()] == names


def test_a_film_that_cannot_be_made_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="not visible") as caught:
        turntable.film(Capture(error="Selected 3D view is not visible."), ["left"], tmp_path / "film")
    assert_one_sentence(caught)
    assert list(tmp_path.iterdir()) == []


def test_the_film_tells_how_far_it_is(tmp_path):
    told = []
    turntable.film(Capture(True), ["left", "right"], tmp_path / "film", 4, lambda *each: told.append(each))
    fractions = [fraction for fraction, _stage in told]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and len(told) == 3 * 4 + 1
    assert [*dict.fromkeys(stage for _fraction, stage in told)] == [
        "Turning the heads", "Putting the pictures side by side", "Making a video",
    ]  # fmt: skip


@pytest.mark.parametrize("after", [1, 6, 10])
def test_a_film_that_is_stopped_leaves_nothing(tmp_path, after):
    """While the first view turns, the second one, and while pictures are put side by side."""
    told = []
    with pytest.raises(CancelledError, match="nothing was written"):
        turntable.film(
            Capture(True), ["left", "right"], tmp_path / "film", 4, lambda *each: told.append(each),
            lambda: len(told) >= after,
        )  # fmt: skip
    assert len(told) == after and list(tmp_path.iterdir()) == []


def test_without_screen_capture_there_is_no_turntable():
    assert turntable.screen_capture() is None


# ---- the light ----


def test_the_views_of_the_faces_are_lit_once(scene):
    views = nodes(scene, "vtkMRMLViewNode")
    other = slicer.vtkMRMLViewNode()
    other.SetLayoutName("3")
    windows = [vtk.vtkRenderWindow() for _ in range(3)]
    for window in windows:
        window.AddRenderer(vtk.vtkRenderer())

    def widget(index):
        view = types.SimpleNamespace(
            mrmlViewNode=lambda: [*views, other][index],
            renderWindow=lambda: windows[index],
            scheduleRender=lambda: None,
        )
        return types.SimpleNamespace(threeDView=lambda: view)

    manager = types.SimpleNamespace(threeDViewCount=3, threeDWidget=widget)
    for _ in range(2):
        skinlight.light_views(manager, faceviews.VIEW_NAMES)
    lights = [window.GetRenderers().GetFirstRenderer().GetLights().GetNumberOfItems() for window in windows]
    assert lights[0] == lights[1] > 2 and lights[2] == 0
    skinlight.light_views(None, faceviews.VIEW_NAMES)
