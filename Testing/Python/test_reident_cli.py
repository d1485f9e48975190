"""The command line, with networks and pictures that take no time: what it writes, refuses and leaves behind."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ReidentRiskLib
from RefaceLib.errors import CancelledError
from RefaceLib.io import write_volume
from reident_faces import Fakes, calibration, volume
from ReidentRiskLib import cli, figures, risk
from ReidentRiskLib.views import VIEW_SETS

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

DEFACED = 100  # added to a person: the same head with another face
COMPARED = {"compare.json", "compare.csv", "compare_views.csv", "compare_faces.png", "compare_crops.png"} | {
    "compare_histogram.png"
}
IDENTIFIED = {"identify.json", "identify.csv", "identify_cmc.png", "identify_roc.png", "identify_histogram.png"}
VIEWS = len(VIEW_SETS["standard"])


DRAWN = {name: getattr(figures, name) for name in ("faces", "crops", "histogram", "cmc", "roc", "pairs")}


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    monkeypatch.delenv("REFACE_DEBUG", raising=False)
    for name in DRAWN:  # matplotlib takes a second a picture
        monkeypatch.setattr(figures, name, lambda path, *contents: path.write_bytes(b"drawn"))
    return Fakes().install(monkeypatch)


def put(path, person, **options):
    made = volume(person, **options)
    write_volume(path, made, made.stored, overwrite=True)


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """A head, versions of it, another one, nobody, and two folders of eight persons."""
    tmp_path = tmp_path_factory.mktemp("heads")
    put(tmp_path / "one.nii.gz", 1)
    put(tmp_path / "again.nii.gz", 1, scan=1)
    put(tmp_path / "defaced.nii.gz", 1 + DEFACED, missed=VIEWS)
    put(tmp_path / "moved.nii.gz", 1, scan=2, shift=9.0)
    put(tmp_path / "two.nii.gz", 2)
    put(tmp_path / "nobody.nii.gz", 0)
    (tmp_path / "notes.txt").write_text("no image")
    for name in ("me.png", "me.jpg"):
        (tmp_path / name).write_bytes(b"a photograph")
    for name, scan in (("known", 0), ("unknown", 1)):
        (tmp_path / name).mkdir()
        for person in range(1, 9):
            put(tmp_path / name / f"s{person}_T1w.nii.gz", person, scan=scan)
    entries = [calibration("forced"), calibration("gated")]
    (tmp_path / "cal.json").write_text(json.dumps(risk.calibrations_record(entries)))
    return tmp_path


@pytest.fixture
def folder(heads, tmp_path, monkeypatch):
    """A copy of `heads`, which is the current folder."""
    shutil.copytree(heads, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def report(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def table(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def one_sentence(text: str) -> bool:
    return text.startswith("reident-risk: ") and text.count("\n") == 1 and "Traceback" not in text


# ---- compare: what is written ----


def test_probes_are_compared_with_a_reference(folder, capsys):
    arguments = ["compare", "one.nii.gz", "again.nii.gz", "defaced.nii.gz", "--out", "out", "--calibration", "cal.json"]
    assert cli.main(arguments) == 0
    assert names(folder / "out") == COMPARED
    written = report("out/compare.json")
    again, defaced = written["probes"]
    assert (again["name"], again["verdict"], again["landmarks"]) == ("again.nii.gz", risk.RECOGNISABLE, "original")
    assert again["attackers"]["gated"]["acquired_views"] == VIEWS
    assert again["attackers"]["forced"]["mean_embedding"] > 0.9
    assert defaced["verdict"] in (risk.NOT_RECOGNISABLE, risk.UNCERTAIN)
    gated = defaced["attackers"]["gated"]
    assert (gated["verdict"], gated["acquired_views"], gated["mean_embedding"]) == (risk.NOT_RECOGNISABLE, 0, None)
    assert defaced["attackers"]["forced"]["acquired_views"] == VIEWS
    said = capsys.readouterr()
    assert said.err == ""
    assert "again.nii.gz: recognisable" in said.out and "no face was found in any of the 45 views" in said.out


def test_the_report_says_what_made_the_numbers(folder):
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "out", "--calibration", "cal.json"]) == 0
    written = report("out/compare.json")
    assert written["model"] == {"name": "fake", "sha256": "ab" * 32, "embedding": 16, "licence": "Apache-2.0"}
    assert written["detector"]["name"] == "fake-detector" and written["renderer"] == "fake"
    assert written["views"] == "standard" and len(written["probes"][0]["attackers"]["forced"]["per_view"]) == VIEWS
    assert written["calibration"]["forced"]["different_pairs"] == 5000
    assert written["calibration"]["forced"]["data"] == "drawn"
    assert written["thresholds"] == risk.THRESHOLDS
    assert set(written["reference"]["points"]) == {"right_eye", "left_eye", "nose_tip", "right_mouth", "left_mouth"}
    assert len(written["reference"]["sha256"]) == len(written["probes"][0]["sha256"]) == 64
    assert {Path(path).name for path in written["files"]} | {"compare.json"} == COMPARED
    assert {"reference", "probes", "total", "write"} <= set(written["seconds"])


def test_the_tables_hold_the_numbers_of_the_report(folder):
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "defaced.nii.gz", "--out", "out"]) == 0
    written, rows, views = report("out/compare.json"), table("out/compare.csv"), table("out/compare_views.csv")
    assert [(row["probe"], row["attacker"]) for row in rows] == [
        (name, attacker) for name in ("two.nii.gz", "defaced.nii.gz") for attacker in risk.ATTACKERS
    ]
    first = written["probes"][0]["attackers"]["forced"]
    assert float(rows[0]["mean_embedding"]) == first["mean_embedding"]
    assert rows[3]["mean_embedding"] == "" and rows[3]["acquired_views"] == "0"
    assert [row["view"] for row in views] == [view.name for view in VIEW_SETS["standard"]]
    assert [float(row["two.nii.gz (forced)"]) for row in views] == first["per_view"]
    assert {row["defaced.nii.gz (gated)"] for row in views} == {""}


def test_pictures_are_drawn(folder, monkeypatch):
    for name, draw in DRAWN.items():
        monkeypatch.setattr(figures, name, draw)
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "a", "--calibration", "cal.json"]) == 0
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "b"]) == 0
    pictures = [path for name in ("a", "b") for path in (folder / name).glob("*.png")]
    assert len(pictures) == 6
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in pictures)


def test_without_a_calibration_there_is_a_warning_and_no_verdict(folder, capsys):
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "out"]) == 0
    written = report("out/compare.json")
    assert written["probes"][0]["verdict"] == risk.UNCALIBRATED
    assert written["calibration"] == {"forced": None, "gated": None}
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "no calibration for the model 'fake'" in said.err
    assert "uncalibrated" in said.out


@pytest.mark.parametrize("files", [["one.nii.gz", "me.png"], ["me.jpg", "one.nii.gz"], ["me.png", "me.jpg"]])
def test_a_photograph_is_compared_without_a_verdict(folder, capsys, files):
    assert cli.main(["compare", *files, "--out", "out", "--calibration", "cal.json"]) == 0
    written = report("out/compare.json")
    (probe,) = written["probes"]
    assert probe["verdict"] == risk.UNCALIBRATED
    assert probe["attackers"]["forced"]["views"] == (VIEWS if "one.nii.gz" in files else 1)
    assert probe["attackers"]["forced"]["mean_embedding"] > 0.5  # the stand-in takes it for the first person
    assert "photograph are not calibrated" in capsys.readouterr().err
    assert len(table("out/compare_views.csv")) == VIEWS


def test_the_json_may_be_put_elsewhere(folder):
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "r.json"]) == 0
    assert names(folder / "out") == COMPARED - {"compare.json"}
    assert report("r.json")["probes"][0]["name"] == "two.nii.gz"


def test_outputs_are_replaced_only_when_that_is_allowed(folder, fakes, capsys):
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out"]) == 0
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
    fakes.embedded.clear()
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "out"]) == 2
    assert "exists already" in capsys.readouterr().err and fakes.embedded == []
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "out", "--overwrite"]) == 0
    assert report("out/compare.json")["probes"][0]["name"] == "again.nii.gz"


# ---- compare: landmarks ----


def test_the_landmarks_of_the_reference_are_those_of_probes_in_its_grid(folder, fakes, capsys):
    assert cli.main(["compare", "one.nii.gz", "defaced.nii.gz", "moved.nii.gz", "two.nii.gz", "--out", "out"]) == 0
    probes = {probe["name"]: probe["landmarks"] for probe in report("out/compare.json")["probes"]}
    assert probes == {"defaced.nii.gz": "original", "moved.nii.gz": "own", "two.nii.gz": "own"}
    said = capsys.readouterr().err
    assert "moved.nii.gz has another grid" in said and "two.nii.gz does not lie where that head lies" in said
    assert "defaced.nii.gz" not in said
    asked = [(call["name"], call["landmarks_of"]) for call in fakes.found]
    assert ("defaced.nii.gz", "one.nii.gz") in asked and ("moved.nii.gz", None) in asked


def test_every_probe_may_be_looked_at_by_itself(folder, fakes):
    assert cli.main(["compare", "one.nii.gz", "defaced.nii.gz", "--out", "out", "--own-landmarks"]) == 0
    assert report("out/compare.json")["probes"][0]["landmarks"] == "own"
    assert all(call["landmarks_of"] is None for call in fakes.found)


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
def test_landmarks_may_be_given(folder, fakes, content):
    (folder / "points.mrk.json").write_text(json.dumps(content))
    arguments = ["compare", "one.nii.gz", "again.nii.gz", "--out", "out", "--landmarks", "points.mrk.json"]
    assert cli.main(arguments) == 0
    np.testing.assert_array_equal(fakes.found[0]["points"], IN_ORDER)
    assert report("out/compare.json")["reference"]["landmarks"] == "given"
    assert fakes.found[1]["points"] is None and fakes.found[1]["landmarks_of"] == "one.nii.gz"


@pytest.mark.parametrize(
    "content",
    [
        "no json", "[]", "{}", '{"markups": []}', json.dumps({**POINTS, "nose_tip": [1, 2]}),
        json.dumps({**POINTS, "nose_tip": "x"}), json.dumps(markups("XYZ")),
        json.dumps({name: point for name, point in POINTS.items() if name != "nose_tip"}),
    ],
)  # fmt: skip
def test_landmarks_that_are_none_are_refused(folder, capsys, content):
    (folder / "points.json").write_text(content)
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--landmarks", "points.json"]) == 2
    said = capsys.readouterr().err
    assert one_sentence(said) and "points.json" in said
    assert not (folder / "out").exists()


# ---- identify ----


def test_probes_are_looked_up_in_a_gallery(folder, capsys):
    arguments = ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--calibration", "cal.json"]
    assert cli.main(arguments) == 0
    assert names(folder / "out") == IDENTIFIED
    written = report("out/identify.json")
    for attacker in risk.ATTACKERS:
        found = written["attackers"][attacker]
        assert found["rank1"]["hits"] == found["rank1"]["of"] == found["gallery"] == 8
        assert found["verdicts"] == {risk.RECOGNISABLE: 8}
    assert written["gallery"] == {"subjects": 8, "heads": 8, "source": "known"}
    rows = table("out/identify.csv")
    assert len(rows) == 16 and {row["rank"] for row in rows} == {"1"}
    assert [row["most_similar"] for row in rows[:8]] == [row["subject"] for row in rows[:8]]
    assert {row["landmarks"] for row in rows} == {"original"}
    said = capsys.readouterr()
    assert "forced alignment: 8 of 8 probes identified among 8 subjects" in said.out and said.err == ""


def test_heads_that_are_not_found_stay_in_the_denominator(folder, capsys):
    put(folder / "unknown" / "s3_T1w.nii.gz", 0)  # no head at all
    put(folder / "unknown" / "s4_T1w.nii.gz", 4, missed=VIEWS)  # no face for the detector
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "out"]) == 0
    forced, gated = (report("out/identify.json")["attackers"][name] for name in ("forced", "gated"))
    assert (forced["rank1"]["hits"], forced["rank1"]["of"], forced["failures_to_acquire"]) == (7, 8, 1)
    assert (gated["rank1"]["hits"], gated["rank1"]["of"], gated["failures_to_acquire"]) == (6, 8, 2)
    rows = {(row["subject"], row["attacker"]): row for row in table("out/identify.csv")}
    assert rows["s3", "forced"]["rank"] == rows["s4", "gated"]["rank"] == "8"
    assert rows["s3", "forced"]["verdict"] == risk.NOT_RECOGNISABLE and rows["s4", "forced"]["rank"] == "1"
    said = capsys.readouterr().err
    assert "s3_T1w.nii.gz: No head was found" in said and "counted as not identified" in said


def test_lists_name_subjects_and_originals(folder, fakes):
    (folder / "lists").mkdir()
    lines = ["path\tsubject"] + [f"../known/s{person}_T1w.nii.gz\tP {person}" for person in range(1, 9)]
    (folder / "lists" / "gallery.tsv").write_text("\n".join(lines) + "\n")
    lines = ["subject\tpath\toriginal", "P 1\t../defaced.nii.gz\t../one.nii.gz", "P 2\t../two.nii.gz\t"]
    lines += ["P 1\t../again.nii.gz\t../one.nii.gz"]
    (folder / "lists" / "probes.tsv").write_text("\r\n".join(lines) + "\r\n")
    arguments = ["identify", "--gallery", "lists/gallery.tsv", "--probes", "lists/probes.tsv", "--out", "out"]
    assert cli.main(arguments) == 0
    rows = table("out/identify.csv")
    assert [row["subject"] for row in rows[:3]] == ["P 1", "P 2", "P 1"]
    asked = {Path(call["name"]).name: call["landmarks_of"] for call in fakes.found[8:]}
    assert Path(asked["defaced.nii.gz"]).name == "one.nii.gz"
    assert Path(asked["two.nii.gz"]).name == "s2_T1w.nii.gz"  # of the gallery
    parsed = [Path(call["name"]).name for call in fakes.found]
    assert parsed.count("one.nii.gz") == 1  # once for both of its versions
    assert "one.nii.gz" not in [Path(name).name for name in fakes.embedded]  # an original is only parsed


def test_a_gallery_is_saved_and_used_again(folder, fakes, capsys):
    common = ["identify", "--probes", "unknown"]
    assert cli.main([*common, "--gallery", "known", "--out", "a", "--save-gallery", "g.npz"]) == 0
    said = capsys.readouterr().err
    assert "g.npz" in said and "biometric" in said
    assert "biometric" in report("a/identify.json")["warnings"][-1]
    if os.name != "nt":
        assert stat.S_IMODE((folder / "g.npz").stat().st_mode) == 0o600
    fakes.embedded.clear()
    assert cli.main([*common, "--gallery", "g.npz", "--out", "b", "--own-landmarks"]) == 0
    assert len(fakes.embedded) == 8  # the probes alone
    assert report("b/identify.json")["attackers"]["forced"]["rank1"]["hits"] == 8
    assert cli.main([*common, "--gallery", "g.npz", "--out", "c", "--views", "full"]) == 2
    assert "view set 'standard'" in capsys.readouterr().err
    assert not (folder / "c").exists()


def test_a_pattern_chooses_the_files_of_a_folder(folder):
    put(folder / "known" / "s1_labels.nii.gz", 5)
    arguments = ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--pattern", "*_T1w.nii.gz"]
    assert cli.main(arguments) == 0
    assert report("out/identify.json")["gallery"]["heads"] == 8


# ---- what is refused, before any work ----

REFUSED = {
    "missing reference": (["compare", "none.nii.gz", "two.nii.gz", "--out", "out"], "none.nii.gz"),
    "missing probe": (["compare", "one.nii.gz", "none.nii.gz", "--out", "out"], "none.nii.gz"),
    "a probe twice": (["compare", "one.nii.gz", "two.nii.gz", "two.nii.gz", "--out", "out"], "twice"),
    "no probe": (["compare", "one.nii.gz", "--out", "out"], "PROBE"),
    "no out": (["compare", "one.nii.gz", "two.nii.gz"], "--out"),
    "out is a file": (["compare", "one.nii.gz", "two.nii.gz", "--out", "notes.txt"], "notes.txt"),
    "out without parent": (["compare", "one.nii.gz", "two.nii.gz", "--out", "a/b"], "does not exist"),
    "unknown views": (["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--views", "many"], "many"),
    "json is no json": (["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "r.txt"], "r.txt"),
    "json is a sidecar": (
        ["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "side.json", "--overwrite"],
        "no report of reident-risk",
    ),
    "json is an input": (
        ["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "one.nii.gz", "--overwrite"],
        "input",
    ),
    "json is a table": (["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "out/compare.csv"], "two"),
    "calibration is none": (
        ["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--calibration", "side.json"],
        "side.json",
    ),
    "empty gallery": (["identify", "--gallery", "empty", "--probes", "known", "--out", "out"], "no volume"),
    "missing gallery": (["identify", "--gallery", "none.npz", "--probes", "known", "--out", "out"], "none.npz"),
    "no subject column": (["identify", "--gallery", "notes.txt", "--probes", "known", "--out", "out"], "subject"),
    "a path that is not there": (["identify", "--gallery", "bad.tsv", "--probes", "known", "--out", "out"], "line 3"),
    "an empty cell": (["identify", "--gallery", "gap.tsv", "--probes", "known", "--out", "out"], "line 2"),
    "a saved gallery again": (
        ["identify", "--gallery", "g.npz", "--probes", "known", "--out", "out", "--save-gallery", "h.npz"],
        "--save-gallery",
    ),
    "unknown model to fetch": (["models", "--fetch", "facenet"], "facenet"),
    "no heads": (["calibrate", "empty", "out"], "no volume"),
    "too few heads": (["calibrate", "known", "out"], "15"),
    "no processes": (["calibrate", "known", "out", "--jobs", "0"], "--jobs"),
    "unknown command": (["recognise"], "recognise"),
    "no command": ([], "COMMAND"),
}


@pytest.mark.parametrize("arguments, words", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_told_in_one_sentence_before_any_work(folder, fakes, capsys, arguments, words):
    (folder / "side.json").write_text('{"RepetitionTime": 2.3}')
    (folder / "empty").mkdir()
    (folder / "bad.tsv").write_text("subject\tpath\ns1\tone.nii.gz\ns2\tnone.nii.gz\n")
    (folder / "gap.tsv").write_text("subject\tpath\ns1\t\n")
    (folder / "g.npz").write_bytes(b"")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert one_sentence(captured.err) and words in captured.err and captured.out == ""
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (folder / "out").exists()
    assert fakes.embedded == []


def test_a_volume_without_a_head_is_told_by_its_name(folder, capsys):
    for arguments in (["one.nii.gz", "nobody.nii.gz"], ["nobody.nii.gz", "one.nii.gz"]):
        assert cli.main(["compare", *arguments, "--out", "out"]) == 2
        said = capsys.readouterr().err
        assert one_sentence(said) and "nobody.nii.gz: No head was found" in said
        assert not (folder / "out").exists()


# ---- what goes wrong on the way ----

ON_THE_WAY = {
    "stopped": (KeyboardInterrupt(), 130, "stopped; nothing was written"),
    "cancelled": (CancelledError("stopped"), 130, "stopped; nothing was written"),
    "memory": (MemoryError(), 1, "not enough memory"),
    "a mistake": (ValueError("shapes differ:\n(3,) (4,)"), 1, "ValueError: shapes differ: (3,) (4,)"),
}
RUNS = {
    "compare": ["compare", "one.nii.gz", "two.nii.gz", "--out", "out"],
    "identify": ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--save-gallery", "g.npz"],
}


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("place", ["the work", "the last file"])
@pytest.mark.parametrize("error, code, words", ON_THE_WAY.values(), ids=ON_THE_WAY)
def test_an_error_on_the_way_leaves_no_file(folder, fakes, monkeypatch, capsys, run, place, error, code, words):
    def fail(*arguments, **options):
        raise error

    if place == "the work":
        fakes.step = fail
    else:
        monkeypatch.setattr(f"ReidentRiskLib.{run[0]}command.write_report", fail)
    before = names(folder)
    assert cli.main(run) == code
    captured = capsys.readouterr()
    assert one_sentence(captured.err) and words in captured.err
    assert names(folder) == before


def test_former_results_survive_a_full_disk(folder, monkeypatch, capsys):
    assert cli.main(RUNS["compare"]) == 0
    before = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ReidentRiskLib.comparecommand.write_report", fail)
    assert cli.main([*RUNS["compare"], "--overwrite"]) == 2
    assert "full" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (folder / "out").iterdir()} == before


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_a_parent_that_ends_the_process_leaves_no_file_either(folder, fakes):
    former = signal.getsignal(signal.SIGTERM)
    before = names(folder)
    fakes.step = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert cli.main(RUNS["compare"]) == 130
    assert names(folder) == before
    assert signal.getsignal(signal.SIGTERM) == former


def test_a_traceback_is_shown_only_when_asked_for(folder, fakes, monkeypatch, capsys):
    monkeypatch.setenv("REFACE_DEBUG", "1")

    def fail():
        raise ValueError("odd")

    fakes.step = fail
    assert cli.main(RUNS["compare"]) == 1
    assert "Traceback" in capsys.readouterr().err


# ---- options, progress, help ----


def test_options_reach_the_networks(folder, fakes):
    options = ["--model", "arcface", "--device", "cpu", "--accept-licence", "--views", "frontal"]
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "out", *options]) == 0
    assert fakes.loaded == [("arcface", "cpu", True)]
    assert report("out/compare.json")["views"] == "frontal"
    assert len(table("out/compare_views.csv")) == 1


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_progress_for_programs_is_json_lines(folder, capsys, run):
    assert cli.main([*run, "--progress", "json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fractions = [record["progress"] for record in records[:-1]]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    assert records[-1]["done"] is True and records[-1]["report"].endswith(".json")


def test_errors_for_programs_are_json_too(folder, capsys):
    assert cli.main(["compare", "one.nii.gz", "nobody.nii.gz", "--out", "out", "--progress", "json"]) == 2
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["exit_code"] == 2 and "nobody.nii.gz" in last["error"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_drawn_on_a_terminal_only(folder, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "a", "--calibration", "cal.json"]) == 0
    assert "#" in terminal.getvalue() and terminal.getvalue().endswith("\r")
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "b", "--calibration", "cal.json"]) == 0
    assert quiet.getvalue() == ""


@pytest.mark.parametrize("command", ["", "compare", "identify", "models", "calibrate"])
def test_help_says_what_is_written(capsys, command):
    assert cli.main([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out
    for word in {
        "": ("forced alignment", "detector-gated", "1 in 100"),
        "compare": ("compare.json", "compare_faces.png", "--own-landmarks"),
        "identify": ("identify.csv", "subject", "original", "--save-gallery"),
        "models": ("--fetch", "--remove", "--accept-licence"),
        "calibrate": ("calibration.json", "biometric", "--jobs"),
    }[command]:
        assert word in said


def test_models_are_listed_with_their_licences(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("REIDENT_RISK_CACHE", str(tmp_path))
    assert cli.main(["models"]) == 0
    said = capsys.readouterr().out
    for word in ("arcface", "sface", "yunet", "non-commercial", "Apache-2.0", "not on this computer"):
        assert word in said
    assert cli.main(["models", "--remove", "sface"]) == 0
    assert "not on this computer" in capsys.readouterr().out


def test_a_licence_is_accepted_before_a_model_is_fetched(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("REIDENT_RISK_CACHE", str(tmp_path))
    monkeypatch.delenv("REIDENT_RISK_ACCEPT_LICENCE", raising=False)
    assert cli.main(["models", "--fetch", "arcface"]) == 2
    said = capsys.readouterr().err
    assert one_sentence(said) and "--accept-licence" in said


def test_help_needs_no_network_library():
    code = (
        "import sys; from ReidentRiskLib import cli; cli.main(['compare', '--help']);"
        "print(sorted({'torch', 'onnxruntime', 'sklearn', 'matplotlib', 'vtkmodules', 'nibabel'} & set(sys.modules)))"
    )
    folders = [str(Path(ReidentRiskLib.__file__).parents[1]), *sys.path]
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
    )
    assert run.stdout.splitlines()[-1] == "[]", run.stderr
