"""The skin that recognisers look at: closed, in RAS, and found on altered heads too."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.phantom import LANDMARKS, make_phantom
from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.skin.surface import face_surface, polydata, vertices

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
