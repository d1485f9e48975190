"""Pictures for recognisers: the camera, the lights, and that VTK and numpy draw the same."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.commandline import run_python
from helpers.phantom import LANDMARKS, make_phantom
from RefaceLib.common.errors import CancelledError
from RefaceLib.skin.meshes import polydata
from RefaceLib.skin.surface import face_surface
from ReidentRiskLib.attack import opengl, render
from ReidentRiskLib.attack.render import camera, project, render_views, renderer_name
from ReidentRiskLib.attack.views import View, view_set

FRONT = View("front", 0, 0, "front")
RENDERERS = sorted({renderer_name(), "numpy"})  # numpy alone where there is no OpenGL
SIZE = 96


def posed(degrees: float = 17.0, scale: float = 0.9) -> np.ndarray:
    """A frame (4, 4) that is turned, scaled and moved."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    frame = np.eye(4)
    frame[:3, :3] = scale * np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    frame[:3, 3] = (12, -30, 45)
    return frame


@pytest.fixture(scope="module")
def surface():
    head = make_phantom((60, 75, 80), (3.2, 3.2, 3.2))
    return face_surface(head.values(), head.affine)


@pytest.fixture(scope="module")
def pictures(surface):
    """By renderer, the pictures of nine standard views."""
    views = view_set("standard")[::5]
    return {name: render_views(surface, np.eye(4), views, SIZE, renderer=name) for name in RENDERERS}


def ball(centre: np.ndarray, radius: float):
    from vtkmodules.vtkFiltersSources import vtkSphereSource

    source = vtkSphereSource()
    source.SetRadius(radius)
    source.SetCenter(*centre)
    source.SetThetaResolution(24)
    source.SetPhiResolution(24)
    source.Update()
    return source.GetOutput()


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("view", [FRONT, View("", 30, -10, "front"), View("", -45, 10, "front")], ids=str)
def test_points_are_projected_to_where_the_renderer_draws_them(renderer, view, monkeypatch):
    monkeypatch.setattr(render, "AMBIENT", 1.0)  # evenly bright, so that a ball is a disc
    monkeypatch.setitem(render.LIGHTS, "front", tuple((towards, 0.0) for towards, _ in render.LIGHTS["front"]))
    frame = posed()
    for point in ([0, 115, -55], [-30, 85, -24], [25, 90, -82]):
        centre = frame[:3, :3] @ point + frame[:3, 3]
        picture = render_views(ball(centre, 4.0), frame, [view], 400, renderer=renderer)[0, ..., 0]
        y, x = np.mgrid[:400, :400]
        middle = np.array([np.average(x, weights=picture), np.average(y, weights=picture)])
        assert np.abs(middle - project(centre[None], frame, view, 400)[0]).max() < 0.1


@pytest.mark.parametrize("view", view_set("full")[::10], ids=lambda view: view.name)
def test_points_are_projected_as_vtk_does_it(view):
    from vtkmodules.vtkRenderingCore import vtkCamera

    look = vtkCamera()
    opengl.look(look, render._stand(camera(posed(), view)))
    matrix = look.GetCompositeProjectionTransformMatrix(1.0, -1, 1)
    matrix = np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])
    points = np.random.default_rng(0).uniform(-80, 120, (50, 3))
    clip = np.c_[points, np.ones(50)] @ matrix.T
    display = (clip[:, :2] / clip[:, 3:] + 1) / 2 * SIZE  # from the lower left corner
    expected = np.c_[display[:, 0], SIZE - display[:, 1]] - 0.5
    assert np.abs(project(points, posed(), view, SIZE) - expected).max() < 1e-6


def test_the_subjects_right_is_left_of_the_picture_and_the_views_turn_as_they_say():
    points = np.array([LANDMARKS[name] for name in ("right_eye", "left_eye", "nose_tip")])
    right, left, nose = project(points, np.eye(4), FRONT)
    assert right[0] < nose[0] < left[0] and nose[1] > right[1]
    from_left = project(points, np.eye(4), View("", 30, 0, "front"))
    assert from_left[2, 0] - from_left[:2, 0].mean() < -8  # it sees the subject's left; the nose points to the left
    from_above = project(points, np.eye(4), View("", 0, 10, "front"))
    assert from_above[2, 1] - from_above[0, 1] > nose[1] - right[1] + 4


def test_the_camera_goes_with_the_head(surface):
    from RefaceLib.skin.surface import vertices
    from RefaceLib.volume.geometry import apply_affine

    points, normals, triangles = vertices(surface)
    frame = posed()
    moved = polydata(apply_affine(frame, points), normals @ frame[:3, :3].T / 0.9, triangles)
    views = [FRONT, View("", 30, 10, "key_left")]
    here = render_views(surface, np.eye(4), views, SIZE, renderer="numpy").astype(float)
    there = render_views(moved, frame, views, SIZE, renderer="numpy").astype(float)
    assert np.abs(here - there).mean() < 0.1


@pytest.mark.parametrize("renderer", RENDERERS)
def test_every_renderer_draws_what_numpy_draws(pictures, renderer):
    difference = np.abs(pictures[renderer].astype(float) - pictures["numpy"]).mean(axis=(1, 2, 3))
    assert difference.max() < 0.5  # grey levels


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_same_head_gives_the_same_bits(surface, pictures, renderer):
    again = render_views(surface, np.eye(4), view_set("standard")[::5], SIZE, renderer=renderer)
    assert np.array_equal(again, pictures[renderer])


@pytest.mark.parametrize("renderer", RENDERERS)
def test_the_face_fills_the_middle_and_light_comes_from_its_side(surface, renderer):
    views = [FRONT, View("", 0, 0, "key_left"), View("", 0, 0, "key_right")]
    front, left, right = render_views(surface, np.eye(4), views, SIZE, renderer=renderer)[..., 0].astype(float)
    for picture in (front, left, right):
        assert 0.3 < (picture > 0).mean() < 0.8 and picture.max() < 255
        assert not (picture[0].any() or picture[:, 0].any() or picture[:, -1].any())  # air around the head
    half = SIZE // 2
    assert abs(front[:, :half].mean() / front[:, half:].mean() - 1) < 0.05
    assert left[:, :half].mean() > 1.3 * left[:, half:].mean()
    assert np.abs(left - right[:, ::-1]).mean() < 4


def test_pictures_are_grey(pictures):
    assert (np.ptp(pictures["numpy"], axis=-1) == 0).all()


@pytest.mark.parametrize("renderer", RENDERERS)
def test_drawing_can_be_stopped(surface, renderer):
    seen = []

    def each(number: int) -> None:
        seen.append(number)
        if number == 6:
            raise CancelledError("stop")

    with pytest.raises(CancelledError):
        render_views(surface, np.eye(4), view_set("standard"), 32, renderer=renderer, each=each)
    assert seen == [0, 3, 6]  # the three lights of a place are drawn together


@pytest.mark.parametrize("renderer", RENDERERS)
def test_views_are_drawn_alike_alone_and_together(surface, renderer):
    views = [View("", yaw, 0, light) for light in ("key_right", "front") for yaw in (15, -15)] * 2
    together = render_views(surface, np.eye(4), views, 64, renderer=renderer)
    alone = [render_views(surface, np.eye(4), [view], 64, renderer=renderer)[0] for view in views]
    assert np.array_equal(together, alone)


# ---- which renderer ----


def uncached() -> str:
    return renderer_name.__wrapped__()


def test_numpy_draws_where_vtk_cannot(monkeypatch):
    monkeypatch.setattr(render, "_draws_in_child", lambda name: False)
    assert uncached() == "numpy"


def test_the_first_window_that_draws_is_taken(monkeypatch):
    tried = []
    monkeypatch.setattr(render, "_draws_in_child", lambda name: tried.append(name) or name.startswith("vtkOS"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("DISPLAY", ":0")
    assert uncached() == "vtkOSOpenGLRenderWindow"
    assert tried == ["vtkRenderWindow", "vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"]


def test_without_a_display_vtk_is_not_left_to_choose(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "VTK_DEFAULT_OPENGL_WINDOW"):
        monkeypatch.delenv(name, raising=False)
    assert "vtkRenderWindow" not in render._candidates()
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    assert render._candidates()[0] == "vtkRenderWindow"


def test_a_window_that_crashes_or_is_not_there_does_not_draw(monkeypatch):
    assert not render._draws_in_child("vtkNoSuchWindow")
    monkeypatch.setattr(render, "_PROBE", "import os; os.abort()")
    assert not render._draws_in_child("vtkRenderWindow")
    monkeypatch.setattr(sys, "executable", "")
    assert not render._draws_in_child("vtkRenderWindow")


def test_a_probe_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr(render, "_PROBE_SECONDS", 0.2)
    monkeypatch.setattr(render, "_PROBE", "import time; time.sleep(60)")
    assert not render._draws_in_child("vtkRenderWindow")


def test_slicers_window_is_proof_enough(monkeypatch):
    monkeypatch.setattr(render, "_draws_in_child", lambda name: pytest.fail("no child is needed"))
    slicer = SimpleNamespace(app=object(), util=SimpleNamespace(mainWindow=lambda: object()))
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    assert uncached() == "vtkRenderWindow"


@pytest.mark.skipif(renderer_name() == "numpy", reason="there is no OpenGL")
def test_the_probe_sees_what_is_drawn():
    assert opengl.probe(renderer_name())


def test_importing_needs_no_vtk_and_numpy_needs_no_driver():
    code = (
        "import sys, numpy as np; from ReidentRiskLib.attack import render, views;"
        "assert not [m for m in sys.modules if m.startswith('vtk')];"
        "from RefaceLib.skin.meshes import polydata;"
        "surface = polydata(90.0 * np.eye(3), np.ones((3, 3)), np.array([[0, 1, 2]]));"
        "assert render.render_views(surface, np.eye(4), views.view_set('frontal'), 32, renderer='numpy').any();"
        "assert not [m for m in sys.modules if 'Rendering' in m]"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(renderer_name() == "numpy", reason="there is no OpenGL")
def test_the_probe_imports_nothing_large():
    code = f"import sys; sys.exit = print; {render._PROBE}; assert not {{'torch', 'scipy'}} & set(sys.modules)"
    done = run_python("-c", code, renderer_name())
    assert (done.returncode, done.stdout.split()) == (0, ["0"]), done.stderr
