"""`reident-risk compare`, with networks and pictures that take no time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.commandline import contents, names, one_sentence
from helpers.reidentrisk.commands import COMPARED, PROGRAM, VIEWS, put, report, table
from RefaceLib.common.hashing import sha256_of
from ReidentRiskLib.attack.views import VIEW_SETS
from ReidentRiskLib.commandline import cli, explanation
from ReidentRiskLib.judge.scores import ATTACKERS
from ReidentRiskLib.judge.verdict import NO_HEAD, NOT_RECOGNISABLE, RECOGNISABLE, THRESHOLDS, UNCALIBRATED, UNCERTAIN


def test_probes_are_compared_with_a_reference(reident_folder, capsys):
    arguments = ["compare", "one.nii.gz", "again.nii.gz", "defaced.nii.gz", "--out", "out", "--calibration", "cal.json"]
    assert cli.main(arguments) == 0
    assert names(reident_folder / "out") == COMPARED
    written = report("out/compare.json")
    again, defaced = written["probes"]
    assert (again["name"], again["verdict"], again["landmarks"]) == ("again.nii.gz", RECOGNISABLE, "original")
    assert again["attackers"]["gated"]["acquired_views"] == VIEWS
    assert again["attackers"]["forced"]["mean_embedding"] > 0.9
    assert defaced["verdict"] in (NOT_RECOGNISABLE, UNCERTAIN)
    detected = defaced["attackers"]["gated"]
    assert (detected["verdict"], detected["acquired_views"], detected["mean_embedding"]) == (NOT_RECOGNISABLE, 0, None)
    assert defaced["attackers"]["forced"]["acquired_views"] == VIEWS
    said = capsys.readouterr()
    assert said.err == ""
    assert "again.nii.gz: recognisable" in said.out and "no face was found in any of the 45 views" in said.out


def test_a_probe_without_a_head_does_not_stop_the_others(reident_folder, capsys):
    arguments = ["compare", "one.nii.gz", "nobody.nii.gz", "again.nii.gz", "--out", "out", "--calibration", "cal.json"]
    assert cli.main(arguments) == 0
    nobody, again = report("out/compare.json")["probes"]
    assert (nobody["verdict"], nobody["landmarks"], again["verdict"]) == (NO_HEAD, "none", RECOGNISABLE)
    for found in nobody["attackers"].values():
        assert found["sentence"].startswith("No head was found") and found["mean_embedding"] is None
    rows = table("out/compare.csv")
    assert [row["verdict"] for row in rows] == [NO_HEAD, NO_HEAD, RECOGNISABLE, RECOGNISABLE]
    assert "nobody.nii.gz: no head" in capsys.readouterr().out


def test_there_is_a_title_for_each_probe(reident_folder, monkeypatch, capsys):
    told = []
    monkeypatch.setattr(
        explanation, "explanation", lambda path, _found, titles: (told.append(titles), path.write_bytes(b""))
    )
    arguments = ["compare", "one.nii.gz", "two.nii.gz", "again.nii.gz", "--out", "out", "--title=-a", "--title=b"]
    assert cli.main(arguments) == 0 and told == [("-a", "b")]
    capsys.readouterr()
    assert cli.main([*arguments, "--title=c", "--overwrite"]) == 2
    assert one_sentence(capsys.readouterr().err, PROGRAM)


def test_the_report_says_what_made_the_numbers(reident_folder):
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "out", "--calibration", "cal.json"]) == 0
    written = report("out/compare.json")
    assert written["model"] == {"name": "fake", "sha256": "ab" * 32, "embedding": 16, "licence": "Apache-2.0"}
    assert written["detector"]["name"] == "fake-detector" and written["renderer"] == "fake"
    assert written["views"] == "standard" and len(written["probes"][0]["attackers"]["forced"]["per_view"]) == VIEWS
    assert written["calibration"]["forced"]["different_pairs"] == 5000
    assert written["calibration"]["forced"]["data"] == "drawn"
    assert written["thresholds"] == THRESHOLDS
    assert set(written["reference"]["points"]) == {"right_eye", "left_eye", "nose_tip", "right_mouth", "left_mouth"}
    assert written["reference"]["name"] == "reference" and written["report_version"] == 2
    assert {entry["name"] for entry in written["files"]} | {"compare.json"} == COMPARED
    for entry in written["files"]:
        assert entry["sha256"] == sha256_of(reident_folder / "out" / entry["name"])
    assert {"reference", "probes", "total", "write"} <= set(written["seconds"])


def test_the_tables_hold_the_numbers_of_the_report(reident_folder):
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "defaced.nii.gz", "--out", "out"]) == 0
    written, rows, views = report("out/compare.json"), table("out/compare.csv"), table("out/compare_views.csv")
    assert [(row["probe"], row["attacker"]) for row in rows] == [
        (name, attacker) for name in ("two.nii.gz", "defaced.nii.gz") for attacker in ATTACKERS
    ]
    first = written["probes"][0]["attackers"]["forced"]
    assert float(rows[0]["mean_embedding"]) == first["mean_embedding"]
    assert rows[3]["mean_embedding"] == "" and rows[3]["acquired_views"] == "0"
    assert [row["view"] for row in views] == [view.name for view in VIEW_SETS["standard"]]
    assert [float(row["two.nii.gz (forced)"]) for row in views] == first["per_view"]
    assert {row["defaced.nii.gz (gated)"] for row in views} == {""}


def test_without_a_calibration_there_is_a_warning_and_no_verdict(reident_folder, capsys):
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "out"]) == 0
    written = report("out/compare.json")
    assert written["probes"][0]["verdict"] == UNCALIBRATED
    assert written["calibration"] == {"forced": None, "gated": None}
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "no calibration for the model 'fake'" in said.err
    assert "uncalibrated" in said.out


@pytest.mark.parametrize("files", [["one.nii.gz", "me.png"], ["me.jpg", "one.nii.gz"], ["me.png", "me.jpg"]])
def test_a_photograph_is_compared_without_a_verdict(reident_folder, capsys, files):
    assert cli.main(["compare", *files, "--out", "out", "--calibration", "cal.json"]) == 0
    written = report("out/compare.json")
    (probe,) = written["probes"]
    assert probe["verdict"] == UNCALIBRATED
    assert probe["attackers"]["forced"]["views"] == (VIEWS if "one.nii.gz" in files else 1)
    assert probe["attackers"]["forced"]["mean_embedding"] > 0.5  # the stand-in takes it for the first person
    assert "photograph are not calibrated" in capsys.readouterr().err
    assert len(table("out/compare_views.csv")) == VIEWS


def test_the_json_may_be_put_elsewhere(reident_folder):
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "r.json"]) == 0
    assert names(reident_folder / "out") == COMPARED - {"compare.json"}
    assert report("r.json")["probes"][0]["name"] == "two.nii.gz"


def test_outputs_are_replaced_only_when_that_is_allowed(reident_folder, reident_fakes, capsys):
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out"]) == 0
    before = contents(reident_folder / "out")
    reident_fakes.embedded.clear()
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "out"]) == 2
    assert "exists already" in capsys.readouterr().err and reident_fakes.embedded == []
    assert contents(reident_folder / "out") == before
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "out", "--overwrite"]) == 0
    assert report("out/compare.json")["probes"][0]["name"] == "again.nii.gz"


def test_what_is_no_output_of_ours_is_never_overwritten(reident_folder, reident_fakes, capsys):
    (reident_folder / "out").mkdir()
    (reident_folder / "out" / "compare.csv").write_text("mine")
    common = ["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--overwrite"]
    assert cli.main(common) == 2
    said = capsys.readouterr().err
    assert one_sentence(said, PROGRAM) and "compare.csv" in said and "is kept" in said
    assert reident_fakes.embedded == [] and contents(reident_folder / "out").popitem()[1] == b"mine"
    (reident_folder / "out" / "compare.csv").unlink()
    assert cli.main(common) == cli.main(common) == 0
    (reident_folder / "out" / "compare_faces.png").write_bytes(b"edited")
    assert cli.main([*common, "--json", "other.json"]) == 2
    (reident_folder / "side.json").write_text("{}")
    assert cli.main([*common, "--private-report", "side.json"]) == 2
    assert (reident_folder / "side.json").read_text() == "{}"


def test_what_may_be_published_names_no_folder_no_original_and_no_scan(reident_folder, capsys):
    """Folders and originals are called after patients."""
    patient = reident_folder / "Doe^Jane"
    patient.mkdir()
    put(patient / "Jane_T1.nii.gz", 1)
    put(patient / "refaced.nii.gz", 1, scan=1, shift=9.0)
    put(reident_folder / "refaced.nii.gz", 2)
    scans = ["Doe^Jane/Jane_T1.nii.gz", str(patient / "refaced.nii.gz"), "refaced.nii.gz"]
    arguments = ["compare", *scans, "--out", "out", "--private-report", "private.json"]
    assert cli.main(arguments) == 0
    written = report("out/compare.json")
    assert [probe["name"] for probe in written["probes"]] == ["refaced.nii.gz (1)", "refaced.nii.gz (2)"]
    assert "has another grid than the reference" in " ".join(written["warnings"])
    hashes = [sha256_of(Path(scan)) for scan in scans]
    for name in ("compare.json", "compare.csv", "compare_views.csv"):
        text = (reident_folder / "out" / name).read_text(encoding="utf-8")
        assert not [word for word in ("Jane", str(reident_folder), *hashes) if word in text], name
    private = report("private.json")
    assert [entry["sha256"] for entry in private["inputs"]] == hashes
    assert [entry["path"] for entry in private["inputs"]] == [str(reident_folder / scan) for scan in scans]
    assert [entry["name"] for entry in private["inputs"]] == ["reference", "refaced.nii.gz (1)", "refaced.nii.gz (2)"]
    assert str(reident_folder / "out" / "compare.csv") in private["outputs"] and "safe" in private["private"]
    assert "Jane_T1.nii.gz" in capsys.readouterr().err  # a person who has the scans is told by their names


def test_the_network_is_named_at_the_terminal_and_in_every_table(reident_folder, capsys):
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out"]) == 0
    network = "fake (sha256 abababababab)"
    assert f"Faces were compared by the network {network}." in capsys.readouterr().out
    for name in ("compare.csv", "compare_views.csv"):
        assert {row["network"] for row in table(f"out/{name}")} == {network}


# ---- landmarks ----


def test_the_landmarks_of_the_reference_are_those_of_probes_in_its_grid(reident_folder, reident_fakes, capsys):
    assert cli.main(["compare", "one.nii.gz", "defaced.nii.gz", "moved.nii.gz", "two.nii.gz", "--out", "out"]) == 0
    probes = {probe["name"]: probe["landmarks"] for probe in report("out/compare.json")["probes"]}
    assert probes == {"defaced.nii.gz": "original", "moved.nii.gz": "own", "two.nii.gz": "own"}
    said = capsys.readouterr().err
    assert "moved.nii.gz has another grid" in said and "two.nii.gz does not lie where one.nii.gz lies" in said
    assert "defaced.nii.gz" not in said
    asked = [(call["name"], call["landmarks_of"]) for call in reident_fakes.found]
    assert ("defaced.nii.gz", "one.nii.gz") in asked and ("moved.nii.gz", None) in asked


def test_every_probe_may_be_looked_at_by_itself(reident_folder, reident_fakes):
    assert cli.main(["compare", "one.nii.gz", "defaced.nii.gz", "--out", "out", "--own-landmarks"]) == 0
    assert report("out/compare.json")["probes"][0]["landmarks"] == "own"
    assert all(call["landmarks_of"] is None for call in reident_fakes.found)


POINTS = {
    "left_eye": [-30, 80, -20], "right_eye": [30, 80, -20], "nose_tip": [0, 115, -55],
    "left_mouth": [-22, 90, -80], "right_mouth": [22, 90, -80],
}  # fmt: skip
IN_ORDER = [POINTS[name] for name in ("right_eye", "left_eye", "nose_tip", "right_mouth", "left_mouth")]


def markups(system="LPS", **changes):
    sign = -1 if system == "LPS" else 1
    controls = [
        {"label": name, "position": [sign * x, sign * y, z], "positionStatus": "defined"}
        for name, (x, y, z) in {**POINTS, **changes}.items()
    ]
    return {"markups": [{"type": "Fiducial", "coordinateSystem": system, "controlPoints": controls}]}


@pytest.mark.parametrize("content", [markups("LPS"), markups("RAS"), POINTS], ids=["lps", "ras", "plain"])
def test_landmarks_may_be_given(reident_folder, reident_fakes, content):
    (reident_folder / "points.mrk.json").write_text(json.dumps(content))
    arguments = ["compare", "one.nii.gz", "again.nii.gz", "--out", "out", "--landmarks", "points.mrk.json"]
    assert cli.main(arguments) == 0
    np.testing.assert_array_equal(reident_fakes.found[0]["points"], IN_ORDER)
    assert report("out/compare.json")["reference"]["landmarks"] == "given"
    assert reident_fakes.found[1]["points"] is None and reident_fakes.found[1]["landmarks_of"] == "one.nii.gz"


@pytest.mark.parametrize(
    "content",
    [
        "no json", "[]", "{}", '{"markups": []}', json.dumps({**POINTS, "nose_tip": [1, 2]}),
        json.dumps({**POINTS, "nose_tip": "x"}), json.dumps(markups("XYZ")),
        json.dumps({name: point for name, point in POINTS.items() if name != "nose_tip"}),
    ],
)  # fmt: skip
def test_landmarks_that_are_none_are_refused(reident_folder, capsys, content):
    (reident_folder / "points.json").write_text(content)
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--landmarks", "points.json"]) == 2
    said = capsys.readouterr().err
    assert one_sentence(said, PROGRAM) and "points.json" in said
    assert not (reident_folder / "out").exists()


# ---- options ----


def test_options_reach_the_networks(reident_folder, reident_fakes):
    options = ["--model", "arcface", "--device", "cpu", "--accept-licence", "--views", "frontal"]
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out", *options]) == 0
    assert reident_fakes.loaded == [("arcface", "cpu", True)]
    assert report("out/compare.json")["views"] == "frontal"
    assert len(table("out/compare_views.csv")) == 1
