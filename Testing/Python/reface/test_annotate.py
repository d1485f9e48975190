"""Landmarks of the training heads: alignment of the brains, registration to the mean face, and the way back."""

from __future__ import annotations

import sys
from importlib import resources

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.phantom import make_phantom
from RefaceLib.common.errors import InputError
from RefaceLib.training import annotate, heads
from RefaceLib.volume import geometry
from RefaceLib.volume.geometry import Grid


def similarity(angles, scale, shift) -> np.ndarray:
    """4 x 4, from Euler angles in degrees, a factor and millimetres."""
    matrix = np.eye(4)
    matrix[:3, :3] = scale * Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


POSES = [
    similarity((0, 0, 0), 1.0, (0, 0, 0)),
    similarity((8, -3, 2), 1.1, (4, 20, -9)),
    similarity((-5, 2, 6), 0.95, (-7, 3, 30)),
    similarity((2, 4, -9), 1.02, (1, -8, 2)),
]


def spread(points) -> float:
    """The largest distance (mm) from the mean over heads, of points (heads, N, 3)."""
    return float(np.linalg.norm(points - np.mean(points, axis=0), axis=-1).max())


def ellipsoid(centre, shape=(30, 34, 38)) -> np.ndarray:
    """A soft-edged bright ellipsoid about ``centre`` (voxels), float32."""
    index = np.moveaxis(np.indices(shape), 0, -1)
    radius = np.sqrt((((index - np.array(centre)) / (8, 9, 11)) ** 2).sum(axis=-1))
    return (1 / (1 + np.exp((radius - 1) * 10))).astype(np.float32)


# ---- alignment ----


def test_alignment_undoes_the_pose_and_the_size_of_every_head() -> None:
    shape = np.random.default_rng(0).normal(0, 40, (30, 3))
    posed = np.array([geometry.apply_affine(pose, shape) for pose in POSES])
    matrices, mean = annotate.align(posed)
    aligned = [geometry.apply_affine(m, p) for m, p in zip(matrices, posed, strict=True)]
    assert spread(posed) > 10
    assert spread(aligned) < 1e-9
    assert np.allclose(mean, np.mean(aligned, axis=0))
    assert np.allclose(mean.mean(axis=0), 0)


def test_alignment_finds_the_similarity_between_two_heads() -> None:
    shape = np.random.default_rng(1).normal(0, 40, (30, 3))
    matrices, _ = annotate.align(np.array([shape, geometry.apply_affine(POSES[1], shape)]))
    assert np.allclose(np.linalg.inv(matrices[1]) @ matrices[0], POSES[1])


def test_only_regions_that_every_head_has_are_used() -> None:
    full = {label: np.full(3, float(label)) for label in range(1, 7)}
    centres = annotate.shared_centres([full, {label: full[label] for label in (6, 5, 3, 2)}])
    assert centres.shape == (2, 4, 3)
    assert centres[0, :, 0].tolist() == centres[1, :, 0].tolist() == [2, 3, 5, 6]


def test_label_maps_without_common_regions_are_refused() -> None:
    with pytest.raises(InputError, match="1 regions in common"):
        annotate.shared_centres([{1: np.zeros(3), 2: np.zeros(3)}, {2: np.zeros(3)}])


# ---- registration ----


def test_a_point_is_carried_by_voxels_along_its_own_axis() -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (-10, 5, 7)
    field = np.zeros((8, 9, 10, 3), dtype=np.float32)
    field[4, 5, 6] = (1, -2, 0.5)
    points = geometry.apply_affine(affine, np.array([[4, 5, 6], [1, 1, 1]]))
    carried = annotate.carry(points, field, Grid(field.shape[:3], affine))
    assert np.allclose(carried - points, [[2, -6, 2], [0, 0, 0]])


def test_recentring_moves_a_picture_the_way_the_field_points() -> None:
    picture = np.zeros((8, 8, 8), dtype=np.float32)
    picture[3, 4, 5] = 1
    moved = annotate.recentred(picture, np.full((8, 8, 8, 3), (2, -1, 0), dtype=np.float32))
    assert np.argwhere(moved > 0.5).tolist() == [[5, 3, 5]]


def test_landmarks_of_an_ellipsoid_follow_it_to_where_it_was_moved() -> None:
    centre, shift = np.array([14.0, 17.0, 18.0]), np.array([1.5, -2.0, 3.0])
    fixed, moving = ellipsoid(centre), ellipsoid(centre + shift)
    field, warped = annotate.register(fixed, moving)
    assert field.shape == (*fixed.shape, 3)
    assert np.abs(warped - fixed).mean() < 0.1 * np.abs(moving - fixed).mean()
    poles = centre + np.array([[8, 0, 0], [-8, 0, 0], [0, 9, 0], [0, -9, 0], [0, 0, 11], [0, 0, -11]])
    grid = Grid(fixed.shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    moved = annotate.carry(poles * 2, field, grid) - poles * 2
    assert np.abs(moved.mean(axis=0) - shift * 2).max() < 0.5  # mm
    # At a pole only the movement across the surface can be seen.
    across = moved[np.arange(6), [0, 0, 1, 1, 2, 2]]
    assert np.abs(across - np.repeat(shift * 2, 2)).max() < 1.0


# ---- all of it ----


@pytest.fixture
def posed_heads(tmp_path):
    """A folder with the same head in four poses, its "regions" the octants of a block in the middle of the brain."""
    head = make_phantom()
    voxels = np.moveaxis(np.indices(head.stored.shape), 0, -1)
    centre = geometry.apply_affine(np.linalg.inv(head.affine), np.zeros(3))
    inside = (np.abs(voxels - centre) < 10).all(axis=-1)
    labels = (inside * (1 + (voxels > centre) @ [1, 2, 4])).astype(np.uint8)
    for number, pose in enumerate(POSES):
        nib.save(nib.Nifti1Image(head.stored, pose @ head.affine), tmp_path / f"h{number}_T1w.nii.gz")
        nib.save(nib.Nifti1Image(labels, pose @ head.affine), tmp_path / f"h{number}_dlmuse.nii.gz")
    return tmp_path


def test_the_landmarks_of_a_head_move_with_the_head(posed_heads, monkeypatch) -> None:
    pictures = []

    def no_displacement(fixed, moving):
        pictures.append(moving)
        return np.zeros((*moving.shape, 3), dtype=np.float32), moving

    monkeypatch.setattr(annotate, "register", no_displacement)
    table = annotate.annotate(posed_heads)
    assert list(table) == ["h0", "h1", "h2", "h3"]
    for name, pose in zip(table, POSES, strict=True):
        assert np.allclose(table[name], geometry.apply_affine(pose, table["h0"]), atol=1e-3)
    assert all(np.abs(picture - pictures[0]).max() < 1e-3 for picture in pictures)
    assert pictures[0].max() > 0.5


def test_the_table_is_read_back_as_it_was_written(tmp_path) -> None:
    table = {name: np.round(np.random.default_rng(2).normal(0, 60, (6, 3)), 1) for name in ("one", "two")}
    annotate.write_table(tmp_path / "landmarks.tsv", table)
    again = heads.read_landmarks(tmp_path / "landmarks.tsv")
    assert list(again) == ["one", "two"]
    assert all(np.allclose(again[name], table[name]) for name in table)


def test_the_shipped_table_is_what_is_written_of_it(tmp_path) -> None:
    shipped = resources.files("RefaceLib.training").joinpath("landmarks.tsv").read_bytes()
    annotate.write_table(tmp_path / "again.tsv", heads.read_landmarks())
    assert (tmp_path / "again.tsv").read_bytes() == shipped


def test_a_folder_without_heads_is_told_in_a_sentence(tmp_path, capsys) -> None:
    assert annotate.main([str(tmp_path), str(tmp_path / "out.tsv"), "--jobs", "1"]) == 2
    assert "There are no heads with labels" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_simpleitk_that_is_missing_is_told_in_a_sentence(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    assert annotate.main([str(tmp_path), str(tmp_path / "out.tsv")]) == 2
    assert "SimpleITK is missing: install it" in capsys.readouterr().err
