"""The measures of Testing/Study find what was put there, on heads and arrays that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from helpers.phantom import LANDMARKS, make_phantom
from RefaceLib.skin.surface import face_surface
from RefaceLib.volume.io import Volume
from refacestudy import measures, sheet, table

RNG_SEED = 3
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


def rough_block(inside: float, outside: float) -> tuple[np.ndarray, np.ndarray]:
    """A block of tissue in air with white noise of two levels, and the mask (its upper half)."""
    values = np.zeros((48, 48, 48), np.float32)
    values[6:42, 6:42, 6:42] = 100.0
    mask = np.zeros(values.shape, bool)
    mask[:, :, 24:] = True
    noise = np.random.default_rng(RNG_SEED).standard_normal(values.shape, dtype=np.float32)
    return values + noise * np.where(mask, inside, outside), mask


@pytest.fixture(scope="module")
def head() -> Volume:
    return make_phantom()


@pytest.fixture(scope="module")
def coordinates(head: Volume) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return measures.face_coordinates(head.stored.shape, head.affine, LANDMARKS)


def depth_of_the_chin() -> float:
    eyes = (np.array(LANDMARKS["left_eye"]) + LANDMARKS["right_eye"]) / 2
    return float(np.linalg.norm(np.array(LANDMARKS["chin"]) - eyes))


# ---- overlap ----


def test_dice_is_one_for_the_same_zero_for_the_disjoint_and_two_thirds_for_a_half():
    whole = np.zeros((4, 4, 4), bool)
    whole[:2] = True
    half = whole.copy()
    half[1] = False
    assert measures.dice(whole, whole) == 1.0
    assert measures.dice(whole, ~whole) == 0.0
    assert measures.dice(whole, half) == pytest.approx(2 / 3)
    assert np.isnan(measures.dice(whole & False, whole & False))


def test_a_mask_of_one_millimetre_keeps_its_volume_at_two():
    x = np.indices((40, 40, 40)) - 19.5
    ball = (x**2).sum(axis=0) < 15**2
    coarse = measures.at_spacing(ball, np.eye(4), 2.0)
    assert coarse.sum() * 8 == pytest.approx(ball.sum(), rel=0.05)
    assert measures.at_spacing(ball, AFFINE, 2.0) is ball


@pytest.mark.parametrize("dtype", [np.uint8, np.dtype(">i2"), np.float32])
def test_one_changed_voxel_is_found_whatever_the_data_type(dtype):
    one = np.arange(27).reshape(3, 3, 3).astype(dtype)
    other = one.copy()
    other[0, 1, 2] += 1
    assert np.argwhere(~measures.same_bits(one, other)).tolist() == [[0, 1, 2]]


def test_a_number_that_is_none_is_the_same_as_itself_and_minus_zero_is_not_zero():
    one, other = np.array([np.nan, 0.0], np.float32), np.array([np.nan, -0.0], np.float32)
    assert measures.same_bits(one, other).tolist() == [True, False]


# ---- noise ----


@pytest.mark.parametrize("name", measures.NOISE_ESTIMATORS)
def test_white_noise_keeps_its_standard_deviation(name):
    noise = 7.0 * np.random.default_rng(RNG_SEED).standard_normal((40, 40, 40))
    ramp = np.linspace(0, 300, 40)[:, None, None]
    residual = measures.NOISE_ESTIMATORS[name](noise + ramp)[1:-1, 1:-1, 1:-1]
    assert measures.robust_sd(residual) == pytest.approx(7.0, rel=0.03)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_the_ratio_of_the_noise_is_found_by_both_estimators(ratio):
    values, mask = rough_block(3.0 * ratio, 3.0)
    ratios = measures.noise_ratios(values, AFFINE, mask, 50.0)
    assert set(ratios) == set(measures.NOISE_ESTIMATORS)
    for found in ratios.values():
        assert found == pytest.approx(ratio, rel=0.1)


def test_smooth_noise_is_told_from_white_noise_of_the_same_strength():
    values, mask = rough_block(0.0, 3.0)
    noise = ndimage.gaussian_filter(np.random.default_rng(9).standard_normal(values.shape), 1.0)
    values[mask] += 3.0 * (noise / noise.std())[mask]
    ratios = measures.noise_ratios(values, AFFINE, mask, 50.0)
    assert max(ratios.values()) < 0.5 and ratios["haar"] < ratios["laplacian"]


def test_quiet_tissue_is_two_voxels_from_air_and_from_the_border_of_the_mask():
    values, mask = rough_block(3.0, 3.0)
    inside, outside = measures.quiet_tissue(values, AFFINE, mask, 50.0)
    assert inside.any() and outside.any()
    assert np.argwhere(inside)[:, 2].min() >= 26 and np.argwhere(outside)[:, 2].max() <= 21
    assert not (inside | outside)[:7].any()


def test_too_few_voxels_give_no_noise_level():
    assert np.isnan(measures.robust_sd(np.zeros(10)))


def test_a_slab_of_brighter_air_is_seen():
    values, mask = rough_block(0.0, 0.0)
    head = values > 50
    assert np.isnan(measures.air_step(values, mask, np.ones_like(mask), 50.0))  # no air
    values, mask, head = (np.pad(array, 8) for array in (values, mask, head))
    mask[..., 32:] = True
    assert measures.air_step(values, mask, head, 50.0) == 0.0
    values[mask & ~head] = 4.0
    assert measures.air_step(values, mask, head, 50.0) == pytest.approx(4.0)


# ---- head and surfaces ----


def test_the_head_is_found_solid(head):
    values = head.values()
    solid = measures.solid_head(values, head.affine, measures.skin_level(values, head.affine))
    assert 3000 < solid.sum() * measures.voxel_ml(head.affine) < 6500
    holes = ndimage.binary_fill_holes(solid) & ~solid
    assert not holes.any()


def test_a_face_that_was_moved_is_away_by_so_much(head):
    values, affine = head.values(), head.affine
    moved = affine.copy()
    moved[1, 3] += 3.0  # mm forward
    one, other = face_surface(values, affine), face_surface(values, moved)
    everywhere = np.ones(values.shape, bool)
    away, forward = measures.surface_distance(one, other, everywhere, affine, LANDMARKS)
    assert 0.8 < away < 3.0 and forward > 0.5
    back = measures.surface_distance(other, one, everywhere, affine, LANDMARKS)
    assert back == (pytest.approx(away, rel=0.05), pytest.approx(-forward, rel=0.05))
    same = measures.surface_distance(one, one, everywhere, affine, LANDMARKS)
    assert same == (pytest.approx(0, abs=1e-3), pytest.approx(0, abs=1e-3))


def test_only_the_face_in_the_mask_is_compared(head):
    affine, shape = head.affine, head.stored.shape
    nose, crown = np.array([LANDMARKS["nose_tip"]]), np.array([[0.0, 0.0, 74.0]])
    assert measures.in_face(nose, np.ones(shape, bool), affine, LANDMARKS).all()
    assert not measures.in_face(nose, np.zeros(shape, bool), affine, LANDMARKS).any()
    assert not measures.in_face(crown, np.ones(shape, bool), affine, LANDMARKS).any()
    surface = face_surface(head.values(), affine)
    nothing = measures.surface_distance(surface, surface, np.zeros(shape, bool), affine, LANDMARKS)
    assert np.isnan(nothing).all()
    assert measures.distance_elsewhere(surface, surface, np.zeros(shape, bool), affine) == pytest.approx(0, abs=1e-3)


# ---- as other tools deface ----


def test_coordinates_of_the_face_are_upright_with_it(head, coordinates):
    def at(point):
        index = np.rint(np.linalg.inv(head.affine) @ [*point, 1])[:3].astype(int)
        return np.array([axis[tuple(index)] for axis in coordinates])

    assert np.abs(at((0.0, 66.0, -35.0))).max() < 5  # between the eyes
    assert at(LANDMARKS["nose_tip"])[1] > 25 and at(LANDMARKS["chin"])[2] < -65 and at((40.0, 66.0, -35.0))[0] > 30


def test_other_tools_take_the_face_and_leave_the_brain(head, coordinates):
    brain = np.zeros(head.stored.shape, bool)
    index = np.moveaxis(np.indices(brain.shape), 0, -1) @ head.affine[:3, :3].T + head.affine[:3, 3]
    brain[((index / (65.0, 82.5, 60.0)) ** 2).sum(axis=-1) < 1] = True
    depth = depth_of_the_chin()
    taken = {
        "shell": measures.shell(*coordinates, depth),
        "plane": measures.plane(brain, *coordinates),
        "ragged": measures.ragged(*coordinates, depth),
    }
    for name, mask in taken.items():
        for landmark in ("nose_tip", "left_mouth", "right_mouth"):
            point = np.rint(np.linalg.inv(head.affine) @ [*LANDMARKS[landmark], 1])[:3].astype(int)
            assert mask[tuple(point)], (name, landmark)
        assert (mask & brain).sum() < 0.02 * brain.sum(), name
    assert not (taken["plane"] & brain).any()
    assert np.array_equal(taken["ragged"], measures.ragged(*coordinates, depth))


def test_recovery_tells_what_was_found_and_filled():
    before = np.zeros((10, 10, 10), bool)
    before[2:8, 2:8, 2:8] = True
    lost, found, face = (np.zeros_like(before) for _ in range(3))
    lost[:, 5:] = True
    face[:, 7:] = True
    found[:, 6:] = True
    found[2:4, 2, 2] = True
    shares = measures.recovery(lost, found, face, before, before, np.diag([10.0, 10.0, 10.0, 1.0]))
    assert (shares["lost_ml"], shares["extra_ml"]) == (pytest.approx(108), pytest.approx(2))
    assert shares["found"] == pytest.approx(2 / 3) and shares["found_face"] == 1.0
    assert shares["restored"] == pytest.approx(2 / 3)  # a fill that looks like tissue was not put back
    assert measures.recovery(lost, found, face, before, before & ~lost, AFFINE)["restored_face"] == 0.0


# ---- the table and the sheet ----


def row(name: str, validation: bool = True, **measured: float) -> dict:
    return {"name": name, "validation": validation, "status": "ok", **measured}


def test_rows_that_break_a_promise_are_listed_by_name():
    rows = [
        row("good", brain_dice=0.98, dlmuse_in_mask=0, noise_haar=1.1, mask_ml=500.0),
        row("bad", brain_dice=0.95, dlmuse_in_mask=3, noise_haar=float("nan"), mask_ml=500.0),
        row("trained", validation=False, brain_dice=0.95, dlmuse_in_mask=0, noise_haar=2.0),
        {"name": "lost", "validation": False, "status": "failed", "error": "HeadNotFoundError: none"},
    ]
    broken = table.broken(rows)
    assert broken == {
        "every run succeeds": ["lost (HeadNotFoundError: none)"],
        "no DLMUSE voxel is in the mask": ["bad (3)"],
        "brain Dice at 2 mm is at least 0.97": ["bad (0.95)"],
        "noise within 30 % (Haar)": ["bad (no number)"],
    }
    text = table.markdown(rows)
    assert all(sentence in text for sentence in broken)
    assert "| brain Dice | 3 | 0.9500 | 0.9500 |" in text
    assert "Every promise held" in table.markdown(rows[:1])


def test_the_csv_has_every_measure_of_any_row(tmp_path):
    table.write_csv(tmp_path / "heads.csv", [row("a", brain_dice=0.5), row("b", mask_ml=3.0)])
    lines = (tmp_path / "heads.csv").read_text().splitlines()
    assert lines == ["name,validation,status,brain_dice,mask_ml", "a,True,ok,0.5,", "b,True,ok,,3.0"]


def test_a_contact_sheet_holds_twelve_heads_of_both_kinds():
    rows = [row(f"coarse{i:02}", brain_dice=0.98) for i in range(20)]
    rows += [row(f"fine{i}", validation=i < 2) for i in range(6)] + [row("trained", False, brain_dice=0.98)]
    names = sheet.choose(rows)
    assert len(names) == len(set(names)) == 12
    assert sum(name.startswith("fine") for name in names) == 4 and "trained" not in names
    assert {"coarse00", "coarse19", "fine0", "fine1"} <= set(names)


def test_a_contact_sheet_shows_no_true_face_unless_asked(tmp_path):
    from PIL import Image

    strip = np.zeros((sheet.TILE, 4 * sheet.TILE), np.uint8)
    strip[:, : sheet.TILE] = 200  # the tile of the true face
    strips = []
    for name in ("a", "b", "c"):
        strips.append(tmp_path / f"{name}.png")
        Image.fromarray(strip).save(strips[-1])
    sheet.write_sheet(tmp_path / "sheet.png", strips, with_originals=False)
    below_the_captions = np.asarray(Image.open(tmp_path / "sheet.png"))[20 : sheet.TILE]
    assert below_the_captions.max() == 0
    sheet.write_sheet(tmp_path / "sheet.png", strips, with_originals=True)
    assert np.asarray(Image.open(tmp_path / "sheet.png"))[20 : sheet.TILE].max() == 200


def test_a_contact_sheet_is_small_enough_for_the_repository(tmp_path, monkeypatch):
    from PIL import Image

    monkeypatch.setattr(sheet, "LARGEST", 100_000)
    noise = np.random.default_rng(0).integers(0, 255, (sheet.TILE, 4 * sheet.TILE), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    sheet.write_sheet(tmp_path / "sheet.png", [tmp_path / "a.png"] * 2, with_originals=False)
    assert (tmp_path / "sheet.png").stat().st_size <= 100_000
