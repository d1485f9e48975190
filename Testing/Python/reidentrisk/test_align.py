"""Five points onto the template: the similarity, the crop, and what a wrong order of points would do."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy import ndimage

from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.align import SIZE, TEMPLATE, crop, similarity, template, warp

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], np.uint8)


def moved(points: np.ndarray, degrees: float = 25.0, scale: float = 1.7, shift=(40.0, 25.0)) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return points @ np.array([[c, s], [-s, c]]) + shift


def dotted(points: np.ndarray, size: int = 320) -> np.ndarray:
    """A black picture with a dot of its own colour at each point."""
    y, x = np.mgrid[:size, :size]
    picture = np.zeros((size, size, 3), np.uint8)
    for (px, py), colour in zip(points, COLOURS, strict=True):
        picture[np.hypot(x - px, y - py) < 4] = colour
    return picture


def seen_at_template(picture: np.ndarray) -> np.ndarray:
    """Colours (5, 3) of a crop at the places of the template."""
    x, y = np.rint(TEMPLATE).astype(int).T
    return picture[y, x]


def test_a_known_similarity_is_found():
    matrix = similarity(TEMPLATE, moved(TEMPLATE))
    assert np.allclose(TEMPLATE @ matrix[:, :2].T + matrix[:, 2], moved(TEMPLATE))
    assert np.sqrt(np.linalg.det(matrix[:, :2])) == pytest.approx(1.7)


def test_it_is_the_best_similarity_for_points_that_do_not_fit():
    random = np.random.default_rng(0)
    target = moved(TEMPLATE) + random.normal(0, 4, (5, 2))
    # Rotation, scale and shift are linear in (a, b, tx, ty): x' = ax - by + tx, y' = bx + ay + ty.
    x, y = TEMPLATE.T
    one, none = np.ones(5), np.zeros(5)
    rows = np.vstack([np.column_stack([x, -y, one, none]), np.column_stack([y, x, none, one])])
    a, b, tx, ty = np.linalg.lstsq(rows, target.T.ravel(), rcond=None)[0]
    assert np.allclose(similarity(TEMPLATE, target), [[a, -b, tx], [b, a, ty]])


def test_a_mirrored_face_is_never_mirrored_back():
    matrix = similarity(TEMPLATE * [-1, 1], TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    "points",
    [np.full((5, 2), np.nan), np.full((5, 2), 7.0), TEMPLATE[:4], np.zeros((5, 3)), np.full((5, 2), np.inf)],
    ids=["nan", "one place", "four", "3D", "infinite"],
)
def test_points_that_cannot_be_aligned_are_refused(points):
    with pytest.raises(InputError, match=r"\.$"):
        crop(np.zeros((64, 64, 3), np.uint8), points)


def test_a_crop_shows_each_point_at_its_place_in_the_template():
    points = moved(TEMPLATE)
    picture = crop(dotted(points), points)
    assert picture.shape == (SIZE, SIZE, 3) and picture.dtype == np.uint8
    assert np.array_equal(seen_at_template(picture), COLOURS)


def test_every_other_order_of_the_points_shows():
    """Swapped sides, or any other order, must not give the crop that the right order gives."""
    points = moved(TEMPLATE)
    drawn = dotted(points)
    wrong = [list(order) for order in permutations(range(5)) if list(order) != [0, 1, 2, 3, 4]]
    same = [order for order in wrong if np.array_equal(seen_at_template(crop(drawn, points[order])), COLOURS)]
    assert same == []


def test_the_template_begins_with_the_eye_on_the_left_of_the_picture():
    right_eye, left_eye, nose, right_mouth, left_mouth = TEMPLATE
    assert right_eye[0] < nose[0] < left_eye[0] and right_mouth[0] < nose[0] < left_mouth[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


def test_a_picture_that_is_in_place_stays_as_it_is():
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    assert np.array_equal(crop(picture, TEMPLATE), picture)


def test_pixels_are_interpolated_linearly_and_black_is_outside():
    picture = np.random.default_rng(2).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    matrix = similarity(TEMPLATE, moved(TEMPLATE, 10, 1.2, (20, -8)))
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    rows = inverse[[1, 0]][:, [1, 0, 2]]  # (row, column) of the source from (row, column) of the result
    padded = np.pad(picture, ((2, 2), (2, 2), (0, 0))).astype(float)
    expected = [
        ndimage.affine_transform(padded[..., c], rows[:, :2], rows[:, 2] + 2, output_shape=(80, 100), order=1)
        for c in range(3)
    ]
    assert np.abs(warp(picture, matrix, (80, 100)) - np.stack(expected, axis=2)).max() < 0.6


@pytest.mark.parametrize("size", [80, 800], ids=["interpolated", "averaged"])
def test_a_grey_picture_of_one_channel_gives_what_three_would(size):
    grey = np.random.default_rng(3).integers(0, 256, (size, size, 1), dtype=np.uint8)
    one, three = crop(grey, template(size)), crop(np.repeat(grey, 3, axis=2), template(size))
    assert np.array_equal(np.repeat(one, 3, axis=2), three)


def test_a_large_photograph_is_averaged_and_not_sampled():
    y, x = np.mgrid[:1200, :1200]
    checked = np.repeat((((x + y) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    points = template(1200)
    middle = crop(checked, points)[8:-8, 8:-8].astype(int)
    assert np.abs(middle - 127).max() <= 4
    big = dotted(points, 1200)
    big[ndimage.grey_dilation(big.sum(axis=2) > 0, size=1)] = 255
    assert (seen_at_template(crop(big, points)) > 0).all()


@pytest.mark.parametrize(
    "picture",
    [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 3), np.float32), np.zeros((0, 50, 3), np.uint8)],
    ids=["grey", "float", "empty"],
)
def test_what_is_no_picture_is_refused(picture):
    with pytest.raises(InputError, match="picture"):
        crop(picture, TEMPLATE)
