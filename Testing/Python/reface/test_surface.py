"""The skin that recognisers look at: closed, in RAS, and found on altered heads too."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.phantom import LANDMARKS, make_phantom
from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.skin.meshes import polydata
from RefaceLib.skin.surface import SMOOTHING, SMOOTHING_VOXELS, _reduced, face_surface, vertices
from RefaceLib.volume.air import measure_air

SHAPE, SPACING = (60, 75, 80), (3.2, 3.2, 3.2)


@pytest.fixture(scope="module")
def head():
    return make_phantom(SHAPE, SPACING)


@pytest.fixture(scope="module")
def surface(head):
    return face_surface(head.values(), head.affine)


def open_edges(surface) -> int:
    triangles = vertices(surface)[2]
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    counts = np.unique(edges, axis=0, return_counts=True)[1]
    return int((counts == 1).sum())


def faceless(head) -> np.ndarray:
    """The head's values with the face taken away by a plane, as QuickShear does it."""
    index = np.moveaxis(np.indices(head.stored.shape), 0, -1)
    world = index @ head.affine[:3, :3].T + head.affine[:3, 3]
    values = head.values()
    values[world[..., 1] - 0.55 * world[..., 2] > 75] = 0
    return values


def test_the_surface_is_closed_and_has_normals_of_unit_length(surface):
    assert open_edges(surface) == 0
    assert np.allclose(np.linalg.norm(vertices(surface)[1], axis=1), 1, atol=1e-3)


def test_the_surface_lies_where_the_head_is(surface):
    points = vertices(surface)[0]
    assert abs(points[:, 2].max() - 74) < 4  # top of the scalp
    assert np.linalg.norm(points - LANDMARKS["nose_tip"], axis=1).min() < 4


def test_a_defaced_head_has_a_surface_too(head, surface):
    defaced = face_surface(faceless(head), head.affine)
    points = vertices(defaced)[0]
    assert open_edges(defaced) == 0
    assert np.linalg.norm(points - LANDMARKS["nose_tip"], axis=1).min() > 15
    assert abs(points[:, 1].min() - vertices(surface)[0][:, 1].min()) < 1  # the back of the head is where it was


def test_ghosts_and_bias_leave_the_surface_where_it_is(head, surface):
    values = head.values()
    ghost = 0.06 * np.roll(values, values.shape[1] // 2, axis=1)
    bias = np.linspace(0.6, 1.5, values.shape[1])[None, :, None]
    found = vertices(face_surface(values * bias + ghost, head.affine))[0]
    assert np.abs(np.subtract(found.max(axis=0), vertices(surface)[0].max(axis=0))).max() < 5


@pytest.mark.parametrize(
    "values, error",
    [(np.zeros((20, 20, 20)), HeadNotFoundError), (np.zeros((9, 9, 9, 2)), InputError)],
    ids=["nothing", "4D"],
)
def test_what_is_no_head_is_refused(values, error):
    with pytest.raises(error):
        face_surface(values, np.eye(4))


def test_arrays_become_a_surface_and_come_back(surface):
    again = polydata(*vertices(surface))
    for one, other in zip(vertices(again), vertices(surface), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("spacing", [0.8, 1.0, 1.7, 3.2])
def test_lines_are_smoothed_and_resampled_as_scipy_does_it(spacing):
    from scipy import ndimage

    values = np.random.default_rng(0).normal(100, 20, (31, 40, 27)).astype(np.float32)
    values[3, 4, 5] = np.nan
    values[6, 7, 8] = np.inf
    affine = np.diag([spacing, 1.1 * spacing, spacing, 1.0])
    smooth, made = _reduced(values, affine)
    air = measure_air(values).level
    finite = np.maximum(np.where(np.isfinite(values), values, air), air)
    sigma = np.maximum(SMOOTHING / np.diag(affine)[:3], SMOOTHING_VOXELS)
    step = (np.array(values.shape) - 1) / (np.array(smooth.shape) - 1)
    expected = ndimage.gaussian_filter(finite, sigma, truncate=2.5)
    expected = ndimage.affine_transform(expected, step, output_shape=smooth.shape, order=1, mode="nearest")
    assert np.abs(smooth - expected).max() < 1e-3 and np.allclose(made, affine @ np.diag([*step, 1.0]))


def test_in_a_mirrored_grid_normals_look_outwards_too(head, surface):
    mirrored = face_surface(np.flip(head.values(), 0), head.affine @ _flip(head.stored.shape[0]))
    for each in (surface, mirrored):
        points, normals, triangles = vertices(each)
        middle = points.mean(axis=0)
        assert ((points - middle) * normals).sum(axis=1).mean() > 10
        corners = points[triangles].astype(float)
        turned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert ((turned * normals[triangles[:, 0]]).sum(axis=1) > 0).mean() > 0.99


def _flip(size: int) -> np.ndarray:
    """(4, 4): the place of a voxel by its place in the array whose first axis is turned round."""
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[0, 3] = size - 1
    return matrix
