"""The file of faces that the window reads, and what else `reident-risk` writes and reads for it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.reidentrisk.commands import report
from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.landmarks import FIVE
from ReidentRiskLib.commandline import cli
from ReidentRiskLib.judge.identify import corners
from ReidentRiskLib.runs import facefile
from ReidentRiskLib.runs.facefile import FaceRecord, load_faces, save_faces

SKIN = np.eye(3), np.eye(3), np.array([[0, 1, 2]])


@pytest.fixture
def skins(monkeypatch):
    """A skin of one triangle for the heads of the stand-ins."""
    monkeypatch.setattr("RefaceLib.skin.surface.vertices", lambda surface: SKIN)


def record(name: str) -> FaceRecord:
    return FaceRecord(name, np.arange(15.0).reshape(5, 3), *SKIN, np.full((2, 4, 4, 3), 7, np.uint8))


def test_faces_come_back_as_they_were(tmp_path):
    records = [record("one"), record("zwei, ü")]
    save_faces(tmp_path / "faces.npz", records)
    again = load_faces(tmp_path / "faces.npz")
    assert [each.name for each in again] == ["one", "zwei, ü"]
    for array in ("points", "vertices", "normals", "triangles", "pictures"):
        np.testing.assert_array_equal(getattr(again[1], array), getattr(records[1], array))
    with pytest.raises(FileExistsError):
        save_faces(tmp_path / "faces.npz", records)


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "faces.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="not a file of faces"):
        load_faces(path)


def test_compare_writes_the_faces_that_a_window_shows(reident_folder, skins):
    heads = ["one.nii.gz", "defaced.nii.gz", "me.png"]
    assert cli.main(["compare", *heads, "--out", "out", "--faces", "out/faces.npz"]) == 0
    faces = load_faces("out/faces.npz")
    assert [face.name for face in faces] == heads
    np.testing.assert_array_equal(faces[0].points, np.arange(15.0).reshape(5, 3))
    np.testing.assert_array_equal(faces[1].triangles, SKIN[2])
    assert faces[1].pictures.shape == (45, 32, 32, 3)
    assert faces[2].points.shape == faces[2].vertices.shape == (0, 3)


def test_faces_are_never_written_over_another_output(reident_folder, skins, capsys):
    arguments = ["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--faces", "out/compare.csv"]
    assert cli.main(arguments) == 2
    assert "two outputs" in capsys.readouterr().err


def test_a_table_of_heads_may_name_landmarks(reident_folder, reident_fakes):
    points = {name: [float(index), 2.0, 3.0] for index, name in enumerate(FIVE)}
    (reident_folder / "points.json").write_text(json.dumps(points))
    rows = ["subject\tpath\tlandmarks", "a\tone.nii.gz\tpoints.json", "b\ttwo.nii.gz\t"]
    (reident_folder / "gallery.tsv").write_text("\n".join(rows))
    (reident_folder / "probes.tsv").write_text("subject\tpath\na\tdefaced.nii.gz\n")
    arguments = ["identify", "--gallery", "gallery.tsv", "--probes", "probes.tsv", "--out", "out"]
    assert cli.main(arguments) == 0
    given, other, probe = reident_fakes.found
    np.testing.assert_array_equal(given["points"], list(points.values()))
    assert other["points"] is None
    assert probe["landmarks_of"] == given["name"]


def test_the_report_of_an_identification_holds_its_roc_curve(reident_folder):
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "out"]) == 0
    false, true = report("out/identify.json")["attackers"]["forced"]["roc"]
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert 2 <= len(false) == len(true) <= 2 * 8 + 2


def test_a_curve_of_few_points_is_the_same_curve():
    false, true = np.array([0, 0, 0, 0.1, 0.2, 0.2, 1.0]), np.array([0, 0.2, 0.5, 0.5, 0.5, 1, 1])
    short = corners(false, true)
    np.testing.assert_array_equal(short, [[0, 0, 0.2, 0.2, 1], [0, 0.5, 0.5, 1, 1]])
    np.testing.assert_array_equal(corners(*short), short)


def test_faces_of_a_photograph_are_empty():
    from types import SimpleNamespace

    face = SimpleNamespace(name="me", located=None, embedding=SimpleNamespace(pictures=None))
    made = facefile.record_of(face)
    assert made.points.shape == (0, 3) and len(made.pictures) == 0
