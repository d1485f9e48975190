"""`reident-risk identify`, with networks and pictures that take no time."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from helpers.commandline import names
from helpers.reidentrisk.commands import IDENTIFIED, VIEWS, put, report, table
from ReidentRiskLib.commandline import cli
from ReidentRiskLib.judge.scores import ATTACKERS
from ReidentRiskLib.judge.verdict import NOT_RECOGNISABLE, RECOGNISABLE


def test_probes_are_looked_up_in_a_gallery(reident_folder, capsys):
    arguments = ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--calibration", "cal.json"]
    assert cli.main(arguments) == 0
    assert names(reident_folder / "out") == IDENTIFIED
    written = report("out/identify.json")
    for attacker in ATTACKERS:
        found = written["attackers"][attacker]
        assert found["rank1"]["hits"] == found["rank1"]["of"] == found["gallery"] == 8
        assert found["verdicts"] == {RECOGNISABLE: 8}
    assert written["gallery"] == {"subjects": 8, "heads": 8, "source": "known"}
    rows = table("out/identify.csv")
    assert len(rows) == 16 and {row["rank"] for row in rows} == {"1"}
    assert [row["most_similar"] for row in rows[:8]] == [row["subject"] for row in rows[:8]]
    assert {row["landmarks"] for row in rows} == {"original"}
    said = capsys.readouterr()
    assert "aligned faces: 8 of 8 probes identified among 8 subjects" in said.out and said.err == ""


def test_heads_that_are_not_found_stay_in_the_denominator(reident_folder, capsys):
    put(reident_folder / "unknown" / "s3_T1w.nii.gz", 0)  # no head at all
    put(reident_folder / "unknown" / "s4_T1w.nii.gz", 4, missed=VIEWS)  # no face for the detector
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "out"]) == 0
    aligned, detected = (report("out/identify.json")["attackers"][name] for name in ("forced", "gated"))
    assert (aligned["rank1"]["hits"], aligned["rank1"]["of"], aligned["failures_to_acquire"]) == (7, 8, 1)
    assert (detected["rank1"]["hits"], detected["rank1"]["of"], detected["failures_to_acquire"]) == (6, 8, 2)
    rows = {(row["subject"], row["attacker"]): row for row in table("out/identify.csv")}
    assert rows["s3", "forced"]["rank"] == rows["s4", "gated"]["rank"] == "8"
    assert rows["s3", "forced"]["verdict"] == NOT_RECOGNISABLE and rows["s4", "forced"]["rank"] == "1"
    said = capsys.readouterr().err
    assert "s3_T1w.nii.gz: No head was found" in said and "counted as not identified" in said


def test_lists_name_subjects_and_originals(reident_folder, reident_fakes):
    (reident_folder / "lists").mkdir()
    lines = ["path\tsubject"] + [f"../known/s{person}_T1w.nii.gz\tP {person}" for person in range(1, 9)]
    (reident_folder / "lists" / "gallery.tsv").write_text("\n".join(lines) + "\n")
    lines = ["subject\tpath\toriginal", "P 1\t../defaced.nii.gz\t../one.nii.gz", "P 2\t../two.nii.gz\t"]
    lines += ["P 1\t../again.nii.gz\t../one.nii.gz"]
    (reident_folder / "lists" / "probes.tsv").write_text("\r\n".join(lines) + "\r\n")
    arguments = ["identify", "--gallery", "lists/gallery.tsv", "--probes", "lists/probes.tsv", "--out", "out"]
    assert cli.main(arguments) == 0
    rows = table("out/identify.csv")
    assert [row["subject"] for row in rows[:3]] == ["P 1", "P 2", "P 1"]
    asked = {Path(call["name"]).name: call["landmarks_of"] for call in reident_fakes.found[8:]}
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
    assert len(reident_fakes.embedded) == 8  # the probes alone
    assert report("b/identify.json")["attackers"]["forced"]["rank1"]["hits"] == 8
    assert cli.main([*common, "--gallery", "g.npz", "--out", "c", "--views", "full"]) == 2
    assert "view set 'standard'" in capsys.readouterr().err
    assert not (reident_folder / "c").exists()


def test_a_pattern_chooses_the_files_of_a_folder(reident_folder):
    put(reident_folder / "known" / "s1_labels.nii.gz", 5)
    arguments = ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--pattern", "*_T1w.nii.gz"]
    assert cli.main(arguments) == 0
    assert report("out/identify.json")["gallery"]["heads"] == 8
