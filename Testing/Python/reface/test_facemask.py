"""The face mask of a head that lies as the canonical head does, and what lies where in it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from helpers.phantom import make_phantom, voxel_affine
from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.head import canonical, facemask
from RefaceLib.head.canonical import FACE_LANDMARKS, LANDMARKS
from RefaceLib.head.headparser import LabelledHead, brain_frame
from RefaceLib.volume import geometry

POINTS = np.concatenate([canonical.FACE_POINTS, canonical.BRAIN_POINTS])
GRID = geometry.ras_grid((64, 64, 64), voxel_affine((64, 64, 64), (4.0, 4.0, 4.0)), 2.0)


def face(parse: LabelledHead, *, ears: bool) -> np.ndarray:
    """The face mask on the 2 mm grid itself."""
    return facemask.face_mask(parse, GRID.shape, GRID.affine, ears=ears)


def moved(shift=(0.0, 0.0, 0.0), *, points=POINTS, certainty=None) -> LabelledHead:
    """The parse of a head with an ellipsoid for a brain and the canonical landmarks, shifted by ``shift`` mm."""
    grid = geometry.Grid(GRID.shape, GRID.affine.copy())
    grid.affine[:3, 3] += shift
    index = np.moveaxis(np.indices(GRID.shape), 0, -1)
    brain = (((geometry.apply_affine(GRID.affine, index) - [0, -3, 12]) / [64, 80, 50]) ** 2).sum(axis=-1) < 1
    certainty = np.ones(len(LANDMARKS)) if certainty is None else certainty
    return LabelledHead(grid, brain, brain, points + shift, certainty)


@pytest.fixture(scope="module")
def mask():
    return face(moved(), ears=True)


def at(field, point, grid=GRID):
    index = np.rint(geometry.apply_affine(np.linalg.inv(grid.affine), np.asarray(point))).astype(int)
    return field[tuple(index)]


@pytest.mark.parametrize("name", FACE_LANDMARKS)
def test_eyes_nose_mouth_and_chin_are_face_and_so_is_the_air_before_them(name, mask):
    point = canonical.FACE_POINTS[FACE_LANDMARKS.index(name)]
    for forward in (-8.0, 0.0, 6.0, 14.0):
        assert at(mask, point + [0, forward, 0])


def test_teeth_cheeks_and_brow_are_face():
    x, y, z = np.array([[0, 78, -85], [45, 62, -55], [-45, 62, -55], [0, 92, 5]], dtype=float).T
    assert canonical.in_face(x, y, z).all()


def test_brain_neck_and_the_back_of_the_head_are_not_face():
    x, y, z = np.concatenate(
        [canonical.BRAIN_POINTS, [[0, -80, -60], [0, 20, -130], [0, 0, 70], [0, 60, 60], [0, 60, -160]]]
    ).T
    assert not canonical.in_face(x, y, z).any() and not canonical.in_ears(x, y, z).any()


def test_the_brain_and_four_millimetres_around_it_are_never_face(mask):
    parse = moved()
    assert not (mask & geometry.dilate_mm(parse.brain, 4.0, GRID.affine)).any()
    # Even of a head whose face was found where its brain is.
    wrong = moved(points=POINTS - [0, 40, -40] * (np.arange(len(POINTS)) < 6)[:, None])
    assert not (face(wrong, ears=True) & geometry.dilate_mm(parse.brain, 4.0, GRID.affine)).any()


def test_ears_are_taken_only_when_asked_for(mask):
    without = face(moved(), ears=False)
    assert not (without & ~mask).any()
    for side in (-78.0, 78.0):
        assert at(mask, (side, -10.0, -35.0)) and not at(without, (side, -10.0, -35.0))


def test_no_sliver_of_skin_is_left_between_the_face_and_the_ears():
    """Up to the eyes, every line from an ear's block to the face is in one of both."""
    y = np.arange(0.0, 70.0, 0.5)
    for x in (66.0, 75.0, 86.0, -75.0):
        for z in (-70.0, -45.0, -30.0, -21.0):
            masked = canonical.in_face(x, y, z) | canonical.in_ears(np.full_like(y, x), y, np.full_like(y, z))
            assert masked.all(), (x, z)
    above = canonical.in_face(75.0, y, 0.0) | canonical.in_ears(np.full_like(y, 75.0), y, np.zeros_like(y))
    assert not above[(y > 25) & (y < 40)].any()  # the temple keeps its skin


def with_a_head(*parts):
    """The parse of a head that is also in ``parts``: pairs of corners (R, A, S mm)."""
    parse = moved()
    places = geometry.apply_affine(GRID.affine, np.moveaxis(np.indices(GRID.shape), 0, -1))
    head = parse.brain.copy()
    for low, high in parts:
        head |= ((places >= low) & (places <= high)).all(axis=-1)
    return LabelledHead(parse.grid, parse.brain, head, parse.points, parse.certainty)


JAW, LOBE = ((-66, -60, -130), (66, 60, -40)), ((69, -14, -82), (73, -4, -50))


def test_a_lobe_that_hangs_out_of_the_ears_block_goes_with_the_ear(mask):
    found = face(with_a_head(JAW, LOBE), ears=True)
    assert at(found, (71, -9, -80)) and not at(mask, (71, -9, -80))
    assert at(found, (74.5, -9, -78))  # and the air beside it
    assert not at(found, (-71, -9, -80))  # there hangs none
    assert not at(face(with_a_head(JAW, LOBE), ears=False), (71, -9, -80))


def test_no_jaw_and_nothing_apart_from_the_ear_is_taken_for_a_lobe(mask):
    wide = ((-84, -60, -130), (84, 60, -40))
    apart = ((69, -14, -84), (73, -4, -77))
    assert np.array_equal(face(with_a_head(wide), ears=True), mask)
    assert np.array_equal(face(with_a_head(JAW, apart), ears=True), mask)


def test_the_canonical_head_is_its_own_mirror_image():
    swap = [LANDMARKS.index(n.replace("left", "?").replace("right", "left").replace("?", "right")) for n in LANDMARKS]
    assert np.array_equal(POINTS[swap], POINTS * [-1, 1, 1])
    grid = canonical.box(4.0)
    x, y, z = facemask.canonical_coordinates(grid, np.eye(4))
    for part in (canonical.in_face, canonical.in_ears):
        there = np.broadcast_to(part(x, y, z), grid.shape)
        assert there.any() and np.array_equal(there, there[::-1])


@pytest.mark.parametrize(("spacing", "shape"), [(1.0, (192, 176, 176)), (2.0, (96, 88, 88))])
def test_the_box_holds_the_face_whatever_its_spacing(spacing, shape):
    grid = canonical.box(spacing)
    assert grid.shape == shape
    corner = geometry.apply_affine(grid.affine, [-0.5, -0.5, -0.5])
    assert np.allclose(corner, canonical.BOX_CORNER)
    index = geometry.apply_affine(np.linalg.inv(grid.affine), canonical.FACE_POINTS)
    assert (index > 0).all() and (index < np.array(shape) - 1).all()


def test_the_frame_of_a_head_follows_the_head():
    shift = np.array([7.0, -30.0, 12.0])
    parse = moved(shift)
    for frame in (
        brain_frame(parse.points, parse.certainty),
        facemask.face_frame(POINTS + shift, np.ones(len(POINTS))),
    ):
        assert np.allclose(geometry.apply_affine(frame, POINTS), POINTS + shift, atol=1e-6)


def test_the_frame_of_the_generated_face_does_not_know_the_face():
    other = POINTS.copy()
    other[: len(FACE_LANDMARKS)] += np.random.default_rng(0).normal(0, 20, (6, 3))
    certainty = np.ones(len(POINTS))
    assert np.array_equal(brain_frame(other, certainty), brain_frame(POINTS, certainty))


@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_what_has_not_the_size_of_a_head_is_none(scale):
    with pytest.raises(HeadNotFoundError, match="size of a head"):
        brain_frame(POINTS * scale, np.ones(len(POINTS)))


def test_landmarks_that_nothing_is_known_of_make_no_head():
    with pytest.raises(HeadNotFoundError, match="landmarks"):
        brain_frame(POINTS, np.full(len(POINTS), 0.05))


def test_the_mask_follows_the_face():
    longer = POINTS.copy()
    longer[: len(FACE_LANDMARKS), 1] += 8  # a face that lies further in front of its brain
    frame = facemask.face_frame(longer, np.ones(len(POINTS)))
    nose = geometry.apply_affine(frame, canonical.FACE_POINTS)[2]
    assert 3 < nose[1] - canonical.FACE_POINTS[2, 1] < 9


def test_a_landmark_that_was_not_found_has_no_say():
    points, certainty = POINTS.copy(), np.ones(len(POINTS))
    points[2] = (300, 300, 300)
    certainty[2] = 0
    frame = facemask.face_frame(points, certainty)
    assert np.allclose(geometry.apply_affine(frame, POINTS), POINTS, atol=1e-6)


@pytest.mark.parametrize("axcodes", ["RAS", "PIL", "LSA"])
def test_a_mask_comes_to_any_native_grid(axcodes, mask):
    shape = (60, 70, 80)
    affine = voxel_affine(shape, (3.0, 2.5, 2.8), axcodes, 15.0)
    native = facemask.to_native(mask, GRID, shape, affine)
    index = np.moveaxis(np.indices(shape), 0, -1)
    there = geometry.apply_affine(np.linalg.inv(GRID.affine) @ affine, index)
    expected = ndimage.map_coordinates(mask.astype(np.float32), np.moveaxis(there, -1, 0), order=1, mode="nearest")
    assert native.dtype == bool and native.shape == shape and native.any()
    clear = np.abs(expected - 0.49) > 1e-4
    assert clear.mean() > 0.99 and np.array_equal(native[clear], expected[clear] > 0.49)


def test_a_tie_at_the_mask_s_edge_is_not_left_to_rounding(mask):
    affine = GRID.affine.copy()
    affine[:3, 3] += GRID.affine[0, 0] / 2  # the native voxels lie between those of the mask
    shape = tuple(n - 1 for n in mask.shape)
    more = mask.copy()
    more[-8:-4, 4:8, 4:8] = True  # far from the mask: another window, and other rounding
    native, wider = (facemask.to_native(m, GRID, shape, affine) for m in (mask, more))
    assert native.any() and not (native & ~wider).any()


def test_a_mask_beyond_the_field_of_view_is_empty(mask):
    affine = np.eye(4)
    affine[:3, 3] = (500, 500, 500)
    assert not facemask.to_native(mask, GRID, (9, 9, 9), affine).any()
    assert not facemask.to_native(np.zeros(GRID.shape, bool), GRID, (9, 9, 9), affine).any()


@pytest.fixture(scope="module")
def raw():
    return make_phantom(dtype=np.float32)


@pytest.fixture(scope="module")
def front(raw):
    """The phantom's face on its own grid."""
    return facemask.face_mask(moved(), raw.stored.shape, raw.affine, ears=False)


@pytest.mark.parametrize("fill", [0.0, 123.0, np.nan])
def test_the_region_that_another_tool_filled_is_found(fill, raw, front):
    values = raw.values()
    values[front] = fill
    missing = facemask.missing_mask(values, raw.affine, moved())
    assert missing[front].mean() > 0.95
    assert (missing & ~front).sum() < 0.5 * front.sum()
    brain = facemask.to_native(moved().brain, GRID, raw.stored.shape, raw.affine)
    assert not (missing & brain).any()


def test_white_matter_that_was_made_even_is_no_fill(raw, front):
    """As in the scans that FreeSurfer conforms and normalises, where it is 110 all over."""
    values = raw.values()
    core = ndimage.binary_erosion(moved().brain, iterations=3)
    even = facemask.to_native(core, GRID, raw.stored.shape, raw.affine)
    assert even.sum() * abs(np.linalg.det(raw.affine[:3, :3])) / 1000 > facemask.FILLED_ML
    values[even] = 110.0
    values[front] = 0.0
    assert facemask.missing_mask(values, raw.affine, moved())[front].mean() > 0.95


def test_a_head_that_nobody_defaced_misses_next_to_nothing(raw, front):
    assert facemask.missing_mask(raw.values(), raw.affine, moved()).sum() < 0.02 * front.sum()


def test_the_fill_is_the_most_frequent_value(raw, front):
    values = raw.values()
    values[front] = 55.0
    values[0, 0] = np.inf
    assert facemask.fill_value(values, raw.affine) == 55.0


@pytest.mark.parametrize(("filled", "found"), [(30, 90.0), (4, 0.0)])  # 216 ml of grey, and less than saturated fat has
def test_a_grey_fill_is_found_beside_more_air_that_was_blanked_before(filled, found):
    values = np.random.default_rng(0).uniform(50, 200, (60, 60, 60)).astype(np.float32)
    values[:, 35:] = 0
    values[20 : 20 + filled, 2 : 2 + filled, 20 : 20 + filled] = 90
    assert facemask.fill_value(values, np.diag([2.0, 2.0, 2.0, 1.0])) == found


@pytest.mark.parametrize(("noise", "kept"), [(0.0, True), (0.02, False)])
def test_blank_air_before_intact_skin_is_not_missing(noise, kept):
    """Beside the cut, in a scan whose air was blank before; and never where the cut goes through bone."""
    x, y, z = (axis * 2.0 - 79.0 for axis in np.indices((80, 80, 80)))
    head = 70.0 - np.sqrt(x**2 + y**2 + z**2)
    values = np.where(head > 2, 1.0, np.where(head > 0, 0.1, noise * np.random.default_rng(0).random(head.shape)))
    values[(np.abs(x) < 12) & (np.abs(z + 20) < 12) & (head > 2)] = 0.1  # bone
    cut = (y > 30) & (z < 10)
    values[cut] = 0.0
    blank = values == 0
    missing = blank & (z < 40) & (y > 0)
    found = facemask._before_intact_skin(values, np.diag([2.0, 2.0, 2.0, 1.0]), missing, blank)
    before = blank & (head < -2) & (head > -6) & (z > 25) & (z < 40) & (y > 0)
    assert found.any() == kept and found[before].all()
    # Up to the cut, or the skin there would be hidden, and a groove run along it.
    beside = blank & (head < -1) & (head > -4) & (z > 14) & (z < 22) & (y > 30) & (np.abs(x) < 30)
    assert beside.any() == kept and found[beside].all()
    assert not found[cut & (head > 4) & (y > 32) & (z < 6)].any()
