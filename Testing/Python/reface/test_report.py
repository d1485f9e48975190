"""The JSON report and the picture."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import RefaceLib
from helpers.phantom import LANDMARKS, make_phantom
from RefaceLib.commandline import picture as picture_module
from RefaceLib.commandline.picture import write_picture
from RefaceLib.commandline.report import STAGES, build_applied_report, build_report, peak_rss_mb, unnamed
from RefaceLib.common.files import write_json
from RefaceLib.common.hashing import sha256_if_file
from RefaceLib.companion import CompanionResult
from RefaceLib.volume.slices import SLICES, grey_window, plane_points, sample_points

SHAPE, SPACING = (48, 60, 64), (4.0, 4.0, 4.0)


def make_result(mask=None, brain=None, **changes):
    result = dict(
        stored=None,
        mask=mask,
        brain=np.ones((2, 3, 4), bool) if brain is None else brain,
        landmarks=LANDMARKS,
        warnings=("The chin is outside the field of view.",),
        seconds={"blend": 0.5, "conform": 0.25, "parse": 1.0, "mask": 0.1, "generate": 2.0, "check": 0.01},
        model={"name": "reface-gan", "version": "1", "sha256": "ab" * 32},
        device="cpu",
        mode="reface",
        seed=np.int64(5),
        draws=np.int64(2),
        ears=True,
        counts={
            "voxels_changed": np.int64(1200),
            "voxels_changed_outside_mask": 0,
            "brain_voxels_changed": 0.0,
            "mask_voxels": 1300,
            "mask_ml": np.float32(83.25),
            "tissue_ml": 40.5,
        },
        face_removed={"nose": 1.0},
    )
    return SimpleNamespace(**{**result, **changes})


@pytest.fixture
def report():
    return build_report(
        make_result(),
        output="out.nii.gz",
        output_sha256="cd" * 32,
        seconds={"total": 5.0, "read": 0.5, "write": 0.75},
        also_written=[{"name": "mask.nii.gz", "sha256": "ef" * 32}],
        warnings=("The header is odd.", "The chin is cut off.", "The header is odd."),
    )


def test_the_report_has_every_promised_key(report):
    keys = "report_version output mode seed draws model device voxels_changed voxels_changed_outside_mask brain_voxels"
    keys += " brain_voxels_changed mask_ml seconds peak_rss_mb warnings reface_version ears output_sha256"
    keys += " also_written face_removed"
    assert not set(keys.split()) - set(report)
    assert set(report["model"]) == {"name", "version", "sha256"}
    assert report["reface_version"] == RefaceLib.__version__


def test_the_seconds_are_in_the_order_of_the_work(report):
    assert tuple(report["seconds"]) == STAGES


def test_every_warning_is_told_once(report):
    assert report["warnings"] == ["The header is odd.", "The chin is cut off."]


def test_a_defaced_head_has_no_seed():
    report = build_report(make_result(mode="deface"), output="o", output_sha256=None, seconds={})
    assert not {"seed", "draws"} & set(report) and report["brain_voxels"] == 24


def test_sentences_lose_the_names_of_inputs_and_keep_the_rest():
    said = ["/scans/Anna/t1.nii is odd: t1.nii.", "Part of the face is outside."]
    assert unnamed(said, [Path("/scans/Anna/t1.nii")]) == ["the input is odd: the input.", said[1]]


@pytest.mark.parametrize("name", ["MR", "e", "1", "T1"])
def test_the_name_of_an_input_is_no_part_of_other_words(name):
    said = f"Series 1 (MRI, 35 files) of {name} is a localizer of T1w: /scans/{name}/IM1 and /scans/{name}."
    (found,) = unnamed([said], [Path("/scans") / name, Path("/scans") / name / "IM1"])
    assert "(MRI, 35 files) of the input is a localizer of T1w: the input and the input." in found


def test_the_report_is_json_with_plain_numbers(report, tmp_path):
    path = tmp_path / "report.json"
    write_json(path, report)
    text = path.read_text(encoding="utf-8")
    assert text.startswith('{\n  "report_version": 2') and text.endswith("}\n")
    read = json.loads(text)
    assert (read["seed"], read["draws"]) == (5, 2) and read["voxels_changed"] == 1200 and read["mask_ml"] == 83.25
    assert read["brain_voxels_changed"] == 0
    assert "landmarks" not in read  # they would describe the face that was taken away


def test_the_peak_memory_is_that_of_this_process():
    assert 20 < peak_rss_mb() < 500_000


def test_the_hash_of_a_folder_is_none(tmp_path):
    assert sha256_if_file(tmp_path) is None


def test_the_report_of_another_volume_says_whose_mask_it_got():
    counts = {"voxels_changed": 5, "voxels_changed_outside_mask": 0, "brain_voxels_changed": 0}
    nothing = np.zeros((2, 2, 2))
    done = CompanionResult(nothing, nothing, nothing, counts, {"nose": 0.99}, 6.5, 1.25, ())
    report = build_applied_report(
        done, ears=False, output="o", output_sha256=None, mask_from="t1", warnings=("A warning.",)
    )
    assert report["mode"] == "apply-to" and report["mask_from"] == "t1" and report["warnings"] == ["A warning."]
    assert counts.items() <= report.items() and report["ears"] is False and report["face_removed"] == {"nose": 0.99}
    assert report["registered_mm"] == 6.5 and report["registered_degrees"] == 1.25


def read_picture(path) -> np.ndarray:
    from matplotlib.image import imread

    return imread(path)[..., :3]


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    head = make_phantom(SHAPE, SPACING)
    values = head.values()
    grid = np.indices(SHAPE).reshape(3, -1).T @ head.affine[:3, :3].T + head.affine[:3, 3]
    mask = ((grid[:, 1] > 70) & (grid[:, 2] < -20)).reshape(SHAPE)
    after = np.where(mask, 0, values)
    right = (np.linalg.norm(grid - [60, 0, -35], axis=1) < 12).reshape(SHAPE)  # a mark on the subject's right
    path = tmp_path_factory.mktemp("picture") / "p.png"
    write_picture(path, np.where(right, 2000, values), after, mask, head.affine, LANDMARKS, title="reface, seed 1")
    return read_picture(path)


def test_the_picture_shows_both_heads(picture):
    height, width, _ = picture.shape
    assert width > 1.8 * height
    for half in (picture[:, : width // 2], picture[:, width // 2 :]):
        assert 0.15 < (half.max(axis=2) > 0.2).mean() < 0.9


def test_the_mask_is_outlined_before_and_not_after(picture):
    orange = (picture[..., 0] > 0.7) & (picture[..., 2] < 0.3) & (picture[..., 1] > 0.4)
    middle = picture.shape[1] // 2
    assert orange[:, :middle].sum() > 100 and orange[:, middle:].sum() == 0


def test_the_subjects_right_is_on_the_left_of_the_slices():
    affine = np.diag([-2.0, 2, 2, 1])  # stored from right to left
    affine[:3, 3] = (39, -39, -39)
    values = np.zeros((40, 40, 40), np.float32)
    values[:10] = 1  # the subject's right
    box = np.array([[-39.0, -39, -39], [39, 39, 39]])
    axial = sample_points(values, affine, plane_points(box, np.zeros(3), *SLICES[1][:3], step=1.0), 1)
    assert axial[40, 5] == 1 and axial[40, -5] == 0


def test_what_is_out_of_view_is_as_dark_as_the_air(tmp_path):
    """A head that fills its volume and lies askew: corners of its box are out of view, and air may be at any value."""
    head = make_phantom(SHAPE, SPACING)
    turn = np.eye(4)
    turn[1:3, 1:3] = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    values = head.values()
    inside = np.argwhere(values > 0.2 * values.max())
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    values = values[tuple(slice(*ends) for ends in zip(low, high, strict=True))]
    pictures = []
    for offset in (0, -1000):
        write_picture(tmp_path / "p.png", values + offset, values + offset, None, turn @ head.affine, None)
        pictures.append(read_picture(tmp_path / "p.png"))
    slices = [picture[int(0.66 * picture.shape[0]) :] for picture in pictures]
    assert slices[0].max() > 0.5 and np.abs(slices[0] - slices[1]).mean() < 0.01


@pytest.mark.parametrize("padding", [-2000, -3024])
def test_air_is_black_in_a_padded_ct(padding):
    values = make_phantom(SHAPE, SPACING).values() - 1000 + np.random.default_rng(0).normal(0, 5, SHAPE)
    values[:6] = padding
    low, high = grey_window(values)
    assert low == pytest.approx(-1000, abs=15) and high > -500


def test_a_new_face_is_seen_whole_where_there_was_none(tmp_path):
    head = make_phantom(SHAPE, SPACING)
    values = head.values()
    grid = np.indices(SHAPE).reshape(3, -1).T @ head.affine[:3, :3].T + head.affine[:3, 3]
    without = np.where((grid[:, 1] > 40).reshape(SHAPE), 0, values)
    window = grey_window(without)
    alone, _ = picture_module._view_of([without], head.affine, None, None, window)
    both, _ = picture_module._view_of([without, values], head.affine, None, None, window)
    face = (values > 0.2 * values.max()).reshape(-1)
    assert alone[1, 1] < grid[face, 1].max() - 10 < both[1, 1]


def test_a_picture_needs_neither_mask_nor_landmarks_nor_a_head(tmp_path):
    values = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
    write_picture(tmp_path / "p.png", values, np.full_like(values, np.nan), None, np.eye(4), None)
    assert read_picture(tmp_path / "p.png").size
