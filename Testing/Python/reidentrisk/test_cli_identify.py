"""`reident-risk identify`, with networks and pictures that take no time."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from helpers.commandline import names, one_sentence, run_python
from helpers.reidentrisk.commands import IDENTIFIED, PROGRAM, VIEWS, put, report, table
from RefaceLib.common.hashing import sha256_of
from ReidentRiskLib.commandline import cli
from ReidentRiskLib.judge.scores import ATTACKERS
from ReidentRiskLib.judge.verdict import NO_HEAD, RECOGNISABLE


def test_probes_are_looked_up_in_a_gallery(reident_folder, capsys):
    arguments = ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--calibration", "cal.json"]
    assert cli.main(arguments) == 0
    assert names(reident_folder / "out") == IDENTIFIED
    written = report("out/identify.json")
    for attacker in ATTACKERS:
        found = written["attackers"][attacker]
        assert found["rank1"]["hits"] == found["rank1"]["of"] == found["gallery"] == 10
        assert found["verdicts"] == {RECOGNISABLE: 10}
    assert written["gallery"] == {"subjects": 10, "heads": 10}
    rows = table("out/identify.csv")
    assert len(rows) == 20 and {row["rank"] for row in rows} == {"1"}
    assert [row["most_similar"] for row in rows[:10]] == [row["subject"] for row in rows[:10]]
    assert {row["landmarks"] for row in rows} == {"original"}
    said = capsys.readouterr()
    assert "aligned faces: 10 of 10 probes identified among 10 subjects" in said.out and said.err == ""


def test_heads_that_are_not_found_stay_in_the_denominator(reident_folder, capsys):
    put(reident_folder / "unknown" / "s3_T1w.nii.gz", 0)  # no head at all
    put(reident_folder / "unknown" / "s4_T1w.nii.gz", 4, missed=VIEWS)  # no face for the detector
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "out"]) == 0
    aligned, detected = (report("out/identify.json")["attackers"][name] for name in ("forced", "gated"))
    assert (aligned["rank1"]["hits"], aligned["rank1"]["of"], aligned["failures_to_acquire"]) == (9, 10, 1)
    assert (detected["rank1"]["hits"], detected["rank1"]["of"], detected["failures_to_acquire"]) == (8, 10, 2)
    rows = {(row["subject"], row["attacker"]): row for row in table("out/identify.csv")}
    assert rows["s3", "forced"]["rank"] == rows["s4", "gated"]["rank"] == "10"
    # As `compare` says it: that nobody is recognised in a file without a head is no merit of a de-identification.
    assert rows["s3", "forced"]["verdict"] == rows["s3", "gated"]["verdict"] == NO_HEAD
    assert rows["s3", "forced"]["sentence"].startswith("No head was found") and rows["s4", "forced"]["rank"] == "1"
    assert aligned["verdicts"][NO_HEAD] == detected["verdicts"][NO_HEAD] == 1
    said = capsys.readouterr().err
    assert "s3_T1w.nii.gz: No head was found" in said and "counted as not identified" in said


def test_a_file_of_the_gallery_that_is_no_head_is_left_out_and_named(reident_folder, capsys):
    """It ended the work for all others, at its very end."""
    put(reident_folder / "known" / "s90_T1w.nii.gz", 0)  # no head at all
    (reident_folder / "known" / "s91_T1w.nii.gz").write_bytes(b"damaged")
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "out"]) == 0
    written = report("out/identify.json")
    assert written["gallery"] == {"subjects": 10, "heads": 10}
    assert written["attackers"]["forced"]["rank1"]["hits"] == 10
    said = capsys.readouterr().err
    assert "s90_T1w.nii.gz is not in the gallery: No head was found" in said and "s91_T1w.nii.gz is not in" in said


def test_an_empty_folder_is_named_without_a_pattern(reident_folder, capsys):
    (reident_folder / "empty").mkdir()
    assert cli.main(["identify", "--gallery", "empty", "--probes", "unknown", "--out", "out"]) == 2
    assert "empty holds no volume: check the folder." in capsys.readouterr().err


def test_lists_name_subjects_and_originals(reident_folder, reident_fakes):
    (reident_folder / "lists").mkdir()
    lines = ["path\tsubject"] + [f"../known/s{person}_T1w.nii.gz\tP {person}" for person in range(1, 11)]
    (reident_folder / "lists" / "gallery.tsv").write_text("\n".join(lines) + "\n")
    lines = ["subject\tpath\toriginal", "P 1\t../defaced.nii.gz\t../one.nii.gz", "P 2\t../two.nii.gz\t"]
    lines += ["P 1\t../again.nii.gz\t../one.nii.gz"]
    (reident_folder / "lists" / "probes.tsv").write_text("\r\n".join(lines) + "\r\n")
    arguments = ["identify", "--gallery", "lists/gallery.tsv", "--probes", "lists/probes.tsv", "--out", "out"]
    assert cli.main(arguments) == 0
    rows = table("out/identify.csv")
    assert [row["subject"] for row in rows[:3]] == ["P 1", "P 2", "P 1"]
    asked = {Path(call["name"]).name: call["landmarks_of"] for call in reident_fakes.found[10:]}
    assert Path(asked["defaced.nii.gz"]).name == "one.nii.gz"
    assert Path(asked["two.nii.gz"]).name == "s2_T1w.nii.gz"  # of the gallery
    parsed = [Path(call["name"]).name for call in reident_fakes.found]
    assert parsed.count("one.nii.gz") == 1  # once for both of its versions
    assert "one.nii.gz" not in [Path(name).name for name in reident_fakes.embedded]  # an original is only parsed


def test_a_gallery_is_saved_and_used_again(reident_folder, reident_fakes, capsys):
    common = ["identify", "--probes", "unknown"]
    assert cli.main([*common, "--gallery", "known", "--out", "a", "--save-gallery", "g.npz"]) == 0
    said = capsys.readouterr().err
    assert "g.npz" in said and "biometric" in said
    assert "biometric" in report("a/identify.json")["warnings"][-1]
    if os.name != "nt":
        assert stat.S_IMODE((reident_folder / "g.npz").stat().st_mode) == 0o600
    reident_fakes.embedded.clear()
    assert cli.main([*common, "--gallery", "g.npz", "--out", "b", "--own-landmarks"]) == 0
    assert len(reident_fakes.embedded) == 10  # the probes alone
    assert report("b/identify.json")["attackers"]["forced"]["rank1"]["hits"] == 10
    assert cli.main([*common, "--gallery", "g.npz", "--out", "c", "--views", "full"]) == 2
    assert "view set 'standard'" in capsys.readouterr().err
    assert not (reident_folder / "c").exists()


def test_a_pattern_chooses_the_files_of_a_folder(reident_folder):
    put(reident_folder / "known" / "s1_labels.nii.gz", 5)
    arguments = ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--pattern", "*_T1w.nii.gz"]
    assert cli.main(arguments) == 0
    assert report("out/identify.json")["gallery"]["heads"] == 10


def test_of_two_probes_ranks_are_listed_and_no_area_is_told(reident_folder, capsys):
    arguments = ["identify", "--gallery", "known", "--probes", "unknown", "--probe-pattern", "s[12]_*", "--out", "out"]
    assert cli.main([*arguments, "--pattern", "*"]) == 0
    said = capsys.readouterr().out
    assert "AUC 0" not in said and "2 subjects were looked up: AUC, EER, ROC and CMC take at least 10." in said
    assert said.count("  s1_T1w.nii.gz: rank 1 of 10\n") == said.count("  s2_T1w.nii.gz: rank 1 of 10\n") == 2
    assert names(reident_folder / "out") == IDENTIFIED
    assert report("out/identify.json")["attackers"]["gated"]["roc"] is None


def test_the_network_is_named_at_the_terminal_and_in_the_table(reident_folder, capsys):
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "out"]) == 0
    assert "Faces were compared by the network fake (sha256 abababababab)." in capsys.readouterr().out
    assert {row["network"] for row in table("out/identify.csv")} == {"fake (sha256 abababababab)"}


def test_what_may_be_published_names_no_folder_and_no_scan(reident_folder):
    (reident_folder / "Doe^Jane").mkdir()
    for folder in ("known", "unknown"):
        os.rename(folder, f"Doe^Jane/{folder}")
    put(reident_folder / "Doe^Jane" / "unknown" / "s3_T1w.nii.gz", 0)  # of which there is a warning
    arguments = ["identify", "--gallery", "Doe^Jane/known", "--probes", "Doe^Jane/unknown", "--out", "out"]
    assert cli.main([*arguments, "--save-gallery", "Doe^Jane/g.npz", "--private-report", "private.json"]) == 0
    scans = sorted(Path("Doe^Jane").rglob("*.nii.gz"))
    for name in ("identify.json", "identify.csv"):
        text = (reident_folder / "out" / name).read_text(encoding="utf-8")
        assert not [word for word in ("Jane", *map(sha256_of, scans)) if word in text], name
    assert report("out/identify.json")["gallery"]["saved"] == "g.npz"
    private = report("private.json")["inputs"]
    assert sorted(entry["path"] for entry in private) == [str(reident_folder / scan) for scan in scans]
    assert {(entry["role"], entry["subject"]) for entry in private} >= {("gallery", "s1"), ("probe", "s1")}


def test_what_is_no_output_of_ours_is_never_overwritten(reident_folder, capsys):
    (reident_folder / "g.npz").write_bytes(b"mine")
    common = ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--overwrite"]
    assert cli.main([*common, "--save-gallery", "g.npz"]) == 2
    said = capsys.readouterr().err
    assert one_sentence(said, PROGRAM) and "g.npz" in said
    assert (reident_folder / "g.npz").read_bytes() == b"mine"
    (reident_folder / "g.npz").unlink()
    assert cli.main([*common, "--save-gallery", "g.npz"]) == cli.main([*common, "--save-gallery", "g.npz"]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no locale of ASCII")
def test_a_table_names_files_in_any_locale(reident_folder):
    names = [b"\xe5\xbc\xa0.nii.gz", b"\xe6\x9d\x8e.nii.gz"]
    for old, new in zip((b"one.nii.gz", b"two.nii.gz"), names, strict=True):
        os.rename(old, new)
    lines = ["subject\tpath", *(f"{name.decode()[0]}\t{name.decode()}" for name in names)]
    (reident_folder / "heads.tsv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["identify", "--gallery", "heads.tsv", "--probes", "heads.tsv", "--out", "out"]
    ascii_alone = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run_python("-m", "helpers.reidentrisk.child", *arguments, environment=ascii_alone)
    assert done.returncode == 0, done.stderr
    rows = table("out/identify.csv")
    assert [(row["subject"], row["probe"]) for row in rows[:2]] == [(each.decode()[0], each.decode()) for each in names]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("command", ["identify", "calibrate"])
def test_a_link_without_content_is_told_and_not_left_out(reident_folder, capsys, command):
    """As git-annex leaves one where the content of a file is not here."""
    (reident_folder / "known" / "s0_T1w.nii.gz").symlink_to("../.git/annex/objects/MD5E-s1--00.nii.gz")
    arguments = {
        "identify": ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out"],
        "calibrate": ["calibrate", "known", "out", "--model", "sface"],
    }
    assert cli.main(arguments[command]) == 2
    said = capsys.readouterr().err
    assert one_sentence(said, PROGRAM) and "s0_T1w.nii.gz is a link of git-annex" in said
