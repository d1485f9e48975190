"""The skin surface and its pictures."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.commandline import run_python
from helpers.phantom import LANDMARKS, make_phantom
from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.skin.portrait import portrait_framing, render_face, render_surface
from RefaceLib.skin.raster import Camera, draw
from RefaceLib.skin.surface import face_surface, skin_threshold

SHAPE, SPACING = (48, 60, 64), (4.0, 4.0, 4.0)


def points_of(surface) -> np.ndarray:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(surface.GetPoints().GetData())


def bounds_of(surface) -> np.ndarray:
    return np.array(surface.GetBounds()).reshape(3, 2)


def turned(degrees: float) -> np.ndarray:
    """Affine (4, 4) that turns the head about the S axis towards its left."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(4)
    matrix[:2, :2] = [[c, -s], [s, c]]
    return matrix


@pytest.fixture(scope="module")
def head():
    return make_phantom(SHAPE, SPACING)


@pytest.fixture(scope="module")
def surface(head):
    return face_surface(head.values(), head.affine)


def test_the_surface_lies_on_the_skin_in_ras(surface):
    points = points_of(surface)
    assert abs(points[:, 2].max() - 74) < 5  # top of the scalp
    assert abs(points[:, 1].min() + 95) < 5  # back of the head
    assert abs(points[:, 1].max() - 106) < 6  # tip of the nose


@pytest.mark.parametrize("axcodes, shape", [("LAS", SHAPE), ("PSR", (60, 64, 48)), ("LIA", (48, 64, 60))])
def test_the_surface_is_the_same_in_any_orientation(surface, axcodes, shape):
    other = make_phantom(shape, SPACING, axcodes)
    found = face_surface(other.values(), other.affine)
    # The neck leaves the field of view, whose edge is not the same in every orientation.
    assert np.abs(bounds_of(found) - bounds_of(surface)).max() < 4.5
    assert normals_point_outwards(found)


def normals_point_outwards(surface) -> bool:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    points = points_of(surface)
    crown = points[:, 2] > 0  # convex here
    normals = vtk_to_numpy(surface.GetPointData().GetNormals())
    return float((normals[crown] * (points[crown] - [0, 0, -10])).sum(axis=1).min()) > 0


def test_normals_point_outwards(surface):
    assert normals_point_outwards(surface)


def test_nothing_inside_the_head_is_part_of_the_surface(surface):
    inside = (points_of(surface) / [67, 85, 66]) ** 2
    assert inside.sum(axis=1).min() > 0.9


def test_bias_and_noise_leave_the_surface_where_it_is(head, surface):
    values = head.values()
    bias = np.linspace(0.5, 1.6, values.shape[1])[None, :, None] * np.linspace(1.3, 0.7, values.shape[2])
    random = np.random.default_rng(1)
    noisy = np.hypot(values * bias + random.normal(0, 30, values.shape), random.normal(0, 30, values.shape))
    assert np.abs(bounds_of(face_surface(noisy, head.affine)) - bounds_of(surface)).max() < 5


def test_a_bright_thing_beside_the_head_is_left_out(head, surface):
    values = head.values().copy()
    values[1:5, 1:5, 1:5] = 900
    assert np.abs(bounds_of(face_surface(values, head.affine)) - bounds_of(surface)).max() < 1


def test_voxels_that_are_not_finite_are_air(head, surface):
    values = head.values().copy()
    values[1, 1, 1:4] = (np.nan, np.inf, -np.inf)
    assert np.abs(bounds_of(face_surface(values, head.affine)) - bounds_of(surface)).max() < 1


def test_the_threshold_lies_between_air_and_skin():
    random = np.random.default_rng(0)
    values = np.where(np.indices((40, 40, 40)).sum(0) % 40 < 20, 10.0, 400.0) + random.normal(0, 5, (40, 40, 40))
    assert 30 < skin_threshold(values) < 350


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_volume_has_no_head_surface(value):
    with pytest.raises(HeadNotFoundError, match="one value"):
        face_surface(np.full((20, 20, 20), value), np.eye(4))


def test_something_small_is_no_head():
    values = np.zeros((30, 30, 30))
    values[10:20, 10:20, 10:20] = 100
    with pytest.raises(HeadNotFoundError, match="as large as a head"):
        face_surface(values, np.eye(4))


def test_a_4d_volume_is_refused():
    with pytest.raises(InputError, match="3D"):
        face_surface(np.zeros((5, 5, 5, 2)), np.eye(4))


@pytest.mark.parametrize("view", ["front", "three_quarter", "profile"])
@pytest.mark.parametrize("landmarks", [None, LANDMARKS], ids=["box", "landmarks"])
def test_the_head_fills_the_picture(surface, view, landmarks):
    picture = render_surface(surface, view=view, landmarks=landmarks, size=96)
    assert picture.shape == (96, 96, 3) and picture.dtype == np.uint8
    shown = picture.any(axis=2)
    assert 0.3 < shown.mean() < 0.92
    assert shown[:, 48].mean() > 0.7  # it is in the middle
    assert picture.max() > 120


def test_the_front_view_is_symmetric_and_the_profile_looks_to_the_left(surface):
    front = render_surface(surface, size=96).any(axis=2)
    assert (front != front[:, ::-1]).mean() < 0.04
    profile = render_surface(surface, view="profile", size=96).any(axis=2)
    reach = profile.argmax(axis=1)[profile.any(axis=1)]
    rows = np.flatnonzero(profile.any(axis=1))
    assert 40 < rows[reach.argmin()] < 75  # what reaches farthest to the left is the nose


def test_a_turned_head_looks_at_the_camera_when_its_landmarks_are_known(head, surface):
    turn = turned(25)
    landmarks = {name: tuple((turn @ [*point, 1])[:3]) for name, point in LANDMARKS.items()}
    straight = render_surface(surface, landmarks=LANDMARKS, size=96).astype(float)
    followed = render_face(head.values(), turn @ head.affine, landmarks=landmarks, size=96).astype(float)
    assert np.abs(followed - straight).mean() < 6


@pytest.mark.parametrize(
    "landmarks",
    [
        {},
        {name: (0.0, 0.0, 0.0) for name in LANDMARKS},
        {name: (-x, y, z) for name, (x, y, z) in LANDMARKS.items()},
        {name: (x, y, -z) for name, (x, y, z) in LANDMARKS.items()},
    ],
    ids=["none", "all the same", "left and right exchanged", "upside down"],
)
def test_landmarks_that_are_no_face_are_not_followed(surface, landmarks):
    points = points_of(surface)
    assert np.allclose(portrait_framing(points, landmarks)[1], [0, 1, 0])


def test_the_background_is_black_or_white(surface):
    assert (render_surface(surface, size=48)[0, 0] == 0).all()
    assert (render_surface(surface, size=48, background="white")[0, 0] == 255).all()


def test_an_unknown_view_is_refused(surface):
    with pytest.raises(InputError, match="three_quarter"):
        render_surface(surface, view="back")


def test_the_same_head_gives_the_same_picture(head, surface):
    again = render_face(head.values(), head.affine, size=64)
    assert np.array_equal(again, render_surface(surface, size=64))


def test_drawing_needs_no_graphics_driver():
    code = (
        "import sys, numpy as np; from RefaceLib.skin.portrait import render_face;"
        "g = np.indices((40,) * 3) - 19.5;"
        "p = render_face(((g**2).sum(0) < 225) * 100.0, np.diag([4.0, 4, 4, 1]), size=32);"
        "assert p.any(); assert not [m for m in sys.modules if 'Rendering' in m]"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_what_is_nearer_hides_what_is_behind_and_backs_are_not_drawn():
    camera = Camera(np.zeros(3), np.array([0.0, 1, 0]), np.array([0.0, 0, 1]), 20.0, 1000.0)
    square = np.array([[8.0, 0, -8], [-8, 0, -8], [-8, 0, 8], [8, 0, 8]])
    points = np.concatenate([square, 0.5 * square + [0, 5, 0]])
    facing = np.array([[0, 1, 2], [0, 2, 3]])  # counter-clockwise for the camera
    normals = np.concatenate([np.tile([0.0, 1, 0], (4, 1)), np.tile([0.0, 0.2, 0.98], (4, 1))])
    style = dict(colour=(0.5, 0.5, 0.5), background=(0.0, 0.0, 0.0))
    both = draw(points, normals, np.concatenate([facing + 4, facing]), camera, 40, **style)
    far = draw(points, normals, facing, camera, 40, **style)
    assert 0.6 < far.any(axis=2).mean() < 0.68  # 16 x 16 of 20 x 20 mm
    assert (both[20, 20] != far[20, 20]).all() and (both[6, 6] == far[6, 6]).all()
    assert not draw(points, normals, facing[:, ::-1], camera, 40, **style).any()
