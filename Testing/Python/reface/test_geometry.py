"""Grids and affines: what is sampled stays in its place in the world."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from helpers.phantom import voxel_affine
from RefaceLib.volume import geometry

OBLIQUE = voxel_affine((40, 30, 20), (0.9, 1.3, 5.0), "PIR", 12.0)
SLOPE = np.array([0.3, -0.7, 0.2])


def ramp(shape, affine):
    """A volume whose value is a linear function of where in the world a voxel is: any fault of place shows."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    return (geometry.apply_affine(affine, index) @ SLOPE + 50).astype(np.float32)


def similarity():
    matrix = geometry.fit_similarity(np.eye(4)[:, :3], np.eye(4)[:, :3])
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    matrix[:3, :3] = 1.2 * turn * np.sign(np.linalg.det(turn))
    matrix[:3, 3] = (5, -20, 70)
    return matrix


def test_voxel_sizes_are_those_that_the_affine_was_made_of():
    assert np.allclose(geometry.voxel_sizes(OBLIQUE), (0.9, 1.3, 5.0))


def test_points_come_back_through_the_inverse_affine():
    points = np.random.default_rng(0).normal(0, 50, (7, 3))
    assert np.allclose(geometry.apply_affine(np.linalg.inv(OBLIQUE), geometry.apply_affine(OBLIQUE, points)), points)


@pytest.mark.parametrize("spacing", [1.0, 2.0, 3.0, 6.0])
def test_block_means_lie_where_their_affine_says(spacing):
    shape = (40, 30, 20)
    coarse, affine = geometry.block_mean(ramp(shape, OBLIQUE), OBLIQUE, spacing)
    assert np.allclose(coarse, ramp(coarse.shape, affine), atol=1e-3)
    sizes = geometry.voxel_sizes(affine)
    assert (sizes <= np.maximum(spacing * 1.34, geometry.voxel_sizes(OBLIQUE) + 1e-9)).all()
    assert sizes[2] == pytest.approx(5.0)  # already coarse


def test_block_mean_of_a_volume_that_is_coarse_enough_is_the_volume():
    values = ramp((6, 7, 8), np.eye(4))
    coarse, affine = geometry.block_mean(values, np.eye(4), 1.2)
    assert np.array_equal(coarse, values) and np.array_equal(affine, np.eye(4))


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PIR", "SAL"])
def test_the_ras_grid_covers_the_field_of_view(axcodes):
    shape, affine = (40, 30, 20), voxel_affine((40, 30, 20), (2.0, 3.0, 4.0), axcodes, 10.0)
    grid = geometry.ras_grid(shape, affine, 2.0, multiple=16)
    assert np.array_equal(grid.affine[:3, :3], 2 * np.eye(3)) and not (np.array(grid.shape) % 16).any()
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1).T
    index = geometry.apply_affine(np.linalg.inv(grid.affine), geometry.apply_affine(affine, corners))
    assert (index > -0.5).all() and (index < np.array(grid.shape) - 0.5).all()


def test_a_long_scan_is_cut_to_its_top():
    affine = np.diag([2.0, 2, 2, 1])
    grid = geometry.ras_grid((100, 100, 400), affine, 2.0, limit=384.0)
    assert grid.shape == (100, 100, 192)
    top = geometry.apply_affine(grid.affine, np.array(grid.shape) - 1)[2]
    assert top == pytest.approx(2.0 * 399)


def test_a_volume_comes_back_from_a_working_grid():
    shape, affine = (30, 36, 32), voxel_affine((30, 36, 32), (2.0, 2.0, 2.0), "LAS", 8.0)
    grid = geometry.ras_grid(shape, affine, 2.0)
    there = geometry.resample(ramp(shape, affine), affine, grid)
    inside = geometry.in_view(shape, affine, grid)
    assert there.shape == grid.shape and there.dtype == np.float32 and inside.sum() > 20_000
    assert np.allclose(there[inside], ramp(grid.shape, grid.affine)[inside], atol=0.1)  # the edge: a little of the air
    back = geometry.resample(there, grid.affine, geometry.Grid(shape, affine), outside=-5.0)
    inner = tuple(slice(6, -6) for _ in range(3))
    assert np.allclose(back[inner], ramp(shape, affine)[inner], atol=1e-2)


def test_beyond_the_field_of_view_is_what_was_asked_for():
    values = ramp((8, 8, 8), np.eye(4))
    grid = geometry.Grid((4, 4, 4), voxel_affine((4, 4, 4), (1.0, 1.0, 1.0), fov_centre=(100.0, 3.5, 3.5)))
    assert not geometry.in_view(values.shape, np.eye(4), grid).any()
    assert (geometry.resample(values, np.eye(4), grid, outside=-3.0) == -3).all()
    clamped = geometry.resample(values, np.eye(4), grid, outside=-3.0, clamp=True)
    assert np.allclose(clamped, values[7, 2:6, 2:6])


def test_sampling_agrees_with_scipy():
    values = np.random.default_rng(0).random((9, 10, 11)).astype(np.float32)
    affine = voxel_affine(values.shape, (2.0, 3.0, 4.0), "PIR", 20.0, (0.0, 0.0, 0.0))
    grid = geometry.ras_grid(values.shape, affine, 1.7)
    points = geometry.apply_affine(np.linalg.inv(affine) @ grid.affine, np.moveaxis(np.indices(grid.shape), 0, -1))
    for order, options in ((1, {}), (0, {"nearest": True})):
        expected = ndimage.map_coordinates(values, np.moveaxis(points, -1, 0), order=order, mode="nearest")
        found = geometry.resample(values, affine, grid, clamp=True, **options)
        assert (np.abs(found - expected) > 1e-4).mean() < 1e-3  # ties between two voxels may fall either way
    last = np.array(values.shape) - 1
    well_inside, nearly = (((points >= -e) & (points <= last + e)).all(axis=-1) for e in (-0.01, 0.01))
    view = geometry.in_view(values.shape, affine, grid)
    assert view.any() and view[well_inside].all() and not view[~nearly].any()


@pytest.mark.parametrize("options", [{}, {"outside": -2.0}, {"clamp": True}, {"nearest": True}])
@pytest.mark.parametrize("spacing", [0.4, 1.0, 3.1])
def test_a_mask_is_sampled_as_by_scipy_wherever_it_ends(options, spacing):
    """Bricks of one value are not sampled: none may be taken for one that touches another value, or the edge."""
    mask = np.zeros((23, 18, 29), bool)
    mask[4:, 3:9, 11:29] = True
    turned = np.eye(4)
    turned[:3, :3] = similarity()[:3, :3] / 1.2 * spacing
    grid = geometry.Grid((52, 47, 41), turned)
    turned[:3, 3] = (np.array(mask.shape) - 1) / 2 - turned[:3, :3] @ ((np.array(grid.shape) - 1) / 2)
    found = geometry.resample(mask, np.eye(4), grid, **options)
    points = np.moveaxis(geometry.apply_affine(turned, np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
    outside = options.get("outside", 0.0)
    padded = np.pad(mask.astype(float), 1, constant_values=outside)
    mode = {"mode": "nearest"} if options.get("clamp") else {"mode": "constant", "cval": outside}
    source, at = (mask.astype(float), points) if options.get("clamp") else (padded, points + 1)
    expected = ndimage.map_coordinates(source, at, order=0 if options.get("nearest") else 1, **mode)
    assert (np.abs(found - expected) > 1e-3).mean() < (1e-3 if options.get("nearest") else 1e-9)
    assert found.flags.writeable and 0 < found.mean() - outside < 3


@pytest.mark.parametrize("steps", [1, 3])
def test_masks_grow_and_shrink_as_by_scipy(steps):
    mask = ndimage.gaussian_filter(np.random.default_rng(0).random((12, 17, 20)), 1) > 0.48
    assert np.array_equal(geometry.grown(mask, steps), ndimage.binary_dilation(mask, iterations=steps))
    assert np.array_equal(geometry.shrunk(mask, steps), ndimage.binary_erosion(mask, iterations=steps))


def test_boxes_hold_a_mask_once_and_end_where_it_does():
    mask = np.zeros((20, 21, 22), bool)
    mask[3, 4, 5] = mask[7:13, 15, 20:] = True
    boxes = list(geometry.boxes_around(mask, 10))
    count = np.zeros(mask.shape, int)
    for box in boxes:
        count[box] += 1
    assert np.array_equal(count, mask) and len(boxes) == 3


def test_a_similarity_is_recovered():
    source = np.random.default_rng(0).normal(0, 40, (8, 3))
    matrix = similarity()
    assert np.allclose(geometry.fit_similarity(source, geometry.apply_affine(matrix, source)), matrix)


def test_a_point_without_weight_has_no_say():
    source = np.random.default_rng(0).normal(0, 40, (8, 3))
    target = geometry.apply_affine(similarity(), source)
    target[3] += 500
    weights = np.ones(8)
    weights[3] = 0
    assert np.allclose(geometry.fit_similarity(source, target, weights), similarity())


def test_no_similarity_is_a_reflection():
    source = np.random.default_rng(0).normal(0, 40, (8, 3))
    assert np.linalg.det(geometry.fit_similarity(source, source * [-1, 1, 1])[:3, :3]) > 0


def test_an_affine_is_recovered_without_stiffness_and_a_similarity_with_much():
    source = np.random.default_rng(0).normal(0, 40, (17, 3))
    matrix = similarity()
    matrix[:3, :3] = matrix[:3, :3] @ (np.eye(3) + [[0, 0.1, 0], [0, 0.05, 0], [0, 0, -0.05]])
    target, weights = geometry.apply_affine(matrix, source), np.linspace(0.5, 1, 17)
    assert np.allclose(geometry.fit_affine(source, target, weights, stiffness=0.0), matrix)
    stiff = geometry.fit_affine(source, target, weights, stiffness=1e6)
    assert np.allclose(stiff, geometry.fit_similarity(source, target, weights), atol=1e-4)
    between = geometry.fit_affine(source, target, weights, stiffness=40.0)
    errors = [np.abs(geometry.apply_affine(m, source) - target).mean() for m in (matrix, between, stiff)]
    assert errors[0] < errors[1] < errors[2]


def test_a_mask_grows_by_millimetres_along_every_axis():
    mask = np.zeros((21, 21, 21), bool)
    mask[10, 10, 10] = True
    grown = geometry.dilate_mm(mask, 4.0, np.diag([1.0, 2.0, 4.0, 1.0]))
    assert (grown.sum(axis=(1, 2)) > 0).sum() == 9  # 4 voxels either side of 1 mm
    assert (grown.sum(axis=(0, 2)) > 0).sum() == 5
    assert (grown.sum(axis=(0, 1)) > 0).sum() == 3
    ball = geometry.ball(4.0, np.diag([1.0, 2.0, 4.0, 1.0]))
    assert ball.shape == (9, 5, 3) and ball.sum() == grown.sum()
    assert not geometry.dilate_mm(np.zeros((3, 3, 3), bool), 5.0, np.eye(4)).any()
