"""`reident-risk audit`: a verdict a head, the worst first, with originals and without, and runs that go on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from helpers.commandline import one_sentence
from helpers.reidentrisk.commands import PROGRAM, VIEWS, put, report
from helpers.reidentrisk.faces import DEFACED
from RefaceLib.bids.engine import Workers, do_tasks, started
from RefaceLib.common.hashing import sha256_of
from ReidentRiskLib.attack.evidence import FACE, NO_FACE, UNCLEAR, Evidence
from ReidentRiskLib.commandline import cli
from ReidentRiskLib.judge.verdict import NOT_RECOGNISABLE, RECOGNISABLE
from ReidentRiskLib.runs import looks
from ReidentRiskLib.runs.looks import Job, LookOptions, look_in_worker
from ReidentRiskLib.runs.pairs import list_dataset, with_originals

COMPARED = ["audit", "shared", "--originals", "known", "--out", "out", "--calibration", "cal.json"]


def rows(path: str = "out/audit.tsv") -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(name="shared")
def shared_fixture(reident_folder):
    """Ten heads: the third is as it was, the fourth shows another face, and the others none."""
    folder = reident_folder / "shared"
    folder.mkdir()
    for person in range(1, 11):
        put(folder / f"s{person}_T1w.nii.gz", person + DEFACED, missed=VIEWS)
    put(folder / "s3_T1w.nii.gz", 3, scan=1)
    put(folder / "s4_T1w.nii.gz", 4 + DEFACED)
    return folder


def test_each_head_is_compared_with_its_original_and_looked_up(shared, capsys):
    assert cli.main(COMPARED) == 0
    found = rows()
    assert len(found) == 10 and found[0]["head"] == "s3_T1w.nii.gz"
    assert (found[0]["verdict"], found[0]["forced_rank"], found[0]["shows"]) == (RECOGNISABLE, "1", FACE)
    assert {row["landmarks"] for row in found} == {"original"}
    told = report("out/audit.json")
    assert told["verdicts"][RECOGNISABLE] == 1 and sum(told["verdicts"].values()) == 10
    assert told["originals"] == {"subjects": 10} and told["attackers"]["gated"]["gallery"] == 10
    assert told["recognisable"]["hits"] == 1 and told["shows"] == {FACE: 1, UNCLEAR: 1, NO_FACE: 8}
    assert [row["head"] for row in told["rows"]] == [row["head"] for row in found]
    said = capsys.readouterr().out
    assert "Verdicts on 10 heads: 1 recognisable" in said and "s3_T1w.nii.gz: recognisable" in said
    assert "network fake (sha256 abababababab)" in said and "by chance 10.0%" in said


def test_without_originals_nobody_is_judged(shared, capsys):
    put(shared / "s5_T1w.nii.gz", 0)
    assert cli.main(["audit", "shared", "--out", "out"]) == 0
    found = {row["head"].split("_")[0]: row for row in rows()}
    assert {row["verdict"] for row in found.values()} == {"n/a"}
    assert (found["s3"]["shows"], found["s4"]["shows"], found["s1"]["shows"]) == (FACE, UNCLEAR, NO_FACE)
    assert found["s5"]["shows"] == "no head" and rows()[0]["head"] == "s3_T1w.nii.gz"
    told = report("out/audit.json")
    assert "model" not in told and "verdicts" not in told and "without the originals" in told["limit"]
    said = capsys.readouterr().out
    assert "Of 10 volumes, these show: a face in 1, unclear in 1, no face in 7, no head in 1." in said
    assert "Whose face it is cannot be told" in said
    assert list(Path("out/private").glob("*.npz")) == []


def test_what_a_sidecar_declares_is_in_the_table(shared):
    declared = {"DeidentificationMethod": ["Reface 0.1.0: face removed", "by hand"]}
    (shared / "s1_T1w.json").write_text(json.dumps(declared))
    assert cli.main(["audit", "shared", "--out", "out"]) == 0
    assert {row["declared"] for row in rows()} == {"n/a", "Reface 0.1.0: face removed; by hand"}


def test_one_that_cannot_be_judged_fails_alone(shared, capsys):
    (shared / "s1_T1w.nii.gz").write_bytes(b"no image")
    put(shared / "stranger.nii.gz", 7)
    put(shared.parent / "known" / "s2_T1w.nii.gz", 0)  # the original of the second
    put(shared / "s6_T1w.nii.gz", 0)  # no head is left: it is not recognised
    assert cli.main(COMPARED) == 2
    found = {row["head"].split("_")[0].split(".")[0]: row for row in rows()}
    assert found["s6"]["verdict"] == NOT_RECOGNISABLE and found["s6"]["shows"] == "no head"
    assert "no original of this subject" in found["stranger"]["sentence"]
    assert "The original cannot be used" in found["s2"]["sentence"]
    assert report("out/audit.json")["not_judged"] == 3 and report("out/audit.json")["originals"]["subjects"] == 9
    said = capsys.readouterr().err
    assert "s1_T1w.nii.gz: The file" in said and "3 of 11 heads could not be judged" in said
    assert str(shared) not in said


def test_each_head_is_parsed_once_and_an_original_that_fails_is_tried_once(shared, reident_fakes):
    put(shared.parent / "known" / "s2_T1w.nii.gz", 0)
    for name in ("a", "b"):  # other heads that were made of it
        put(shared / f"s2_{name}_T1w.nii.gz", 2 + DEFACED)
    put(shared / "s5_T1w.nii.gz", 5 + DEFACED, shift=1.0)  # in a place of its own, its own landmarks are used
    assert cli.main(COMPARED) == 2
    parsed = sorted(reident_fakes.parsed)
    originals = [0, 1, *range(3, 11)]
    assert parsed == sorted([*originals, 3, *(person + DEFACED for person in (1, 2, 2, 2, *range(4, 11)))])


def test_without_originals_no_face_recogniser_is_loaded(shared, reident_fakes):
    assert cli.main(["audit", "shared", "--out", "out"]) == 0
    assert reident_fakes.loaded == []


def test_a_link_without_content_fails_alone(reident_folder):
    """As git-annex leaves one in a data set where the content of a file is not here."""
    for root, added in (("raw", 0), ("derived", DEFACED)):
        for person in (1, 2, 3):
            target = reident_folder / root / f"sub-{person}" / "anat" / f"sub-{person}_T1w.nii.gz"
            target.parent.mkdir(parents=True)
            put(target, person + added)
        (reident_folder / root / "dataset_description.json").write_text("{}")
    link = reident_folder / "derived" / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    link.unlink()
    link.symlink_to("../../.git/annex/objects/MD5E-s1--00.nii.gz")
    arguments = ["audit", "derived", "--originals", "raw", "--out", "out", "--calibration", "cal.json"]
    assert cli.main([*arguments, "--private-report", "private.json"]) == 2
    assert [row["subject"] for row in rows() if "content is not here" in row["sentence"]] == ["sub-1"]
    assert report("out/audit.json")["not_judged"] == 1
    hashes = {entry["subject"]: entry["sha256"] for entry in report("private.json")["inputs"][:3]}
    assert hashes["sub-1"] is None and hashes["sub-2"]


def test_a_run_that_was_stopped_goes_on(shared, reident_fakes, capsys):
    def stop():
        if len(reident_fakes.embedded) > 7:
            raise KeyboardInterrupt

    reident_fakes.step = stop
    assert cli.main(COMPARED) == 130
    assert not Path("out/audit.tsv").exists() and "goes on" in capsys.readouterr().err
    reident_fakes.step = lambda: None
    before = len(reident_fakes.embedded)
    assert cli.main(COMPARED) == 0
    assert 12 <= len(reident_fakes.embedded) - before < 20
    first = rows()
    before = len(reident_fakes.embedded)
    assert cli.main([*COMPARED, "--overwrite"]) == 0
    assert len(reident_fakes.embedded) == before and rows() == first
    put(shared / "s7_T1w.nii.gz", 7, scan=1)  # the content counts
    assert cli.main([*COMPARED, "--overwrite"]) == 0
    assert len(reident_fakes.embedded) == before + 1
    assert [row["head"] for row in rows() if row["verdict"] == RECOGNISABLE] == ["s3_T1w.nii.gz", "s7_T1w.nii.gz"]


def test_what_may_be_shown_names_no_scan_and_what_is_private_is_private(shared):
    os.rename("known", "Doe^Jane")
    arguments = [each.replace("known", "Doe^Jane") for each in COMPARED]
    assert cli.main([*arguments, "--private-report", "private.json"]) == 0
    scans = [*Path("Doe^Jane").glob("*.nii.gz"), *Path("shared").glob("*.nii.gz")]
    for name in ("audit.json", "audit.tsv"):
        text = Path("out", name).read_text(encoding="utf-8")
        assert not [word for word in ("Jane", *map(sha256_of, scans)) if word in text], name
    private = report("private.json")["inputs"]
    assert {entry["role"] for entry in private} == {"shared", "original"} and len(private) == 20
    if os.name != "nt":
        assert stat.S_IMODE(Path("out/private").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit", "nothing", "--out", "out"], "does not exist"),
        (["audit", "known", "--originals", "known", "--out", "out"], "is its own original"),
        (["audit", "unknown", "--originals", "others", "--out", "out"], "None of the heads has an original"),
        (["audit", "known", "--out", "no/such/folder"], "does not exist"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(reident_folder, capsys, arguments, words):
    (reident_folder / "others").mkdir()
    put(reident_folder / "others" / "x1_T1w.nii.gz", 1)
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert one_sentence(said, PROGRAM) and words in said
    assert not (reident_folder / "out").exists()


def test_other_files_are_not_overwritten(shared, capsys):
    Path("out").mkdir()
    Path("out/audit.tsv").write_text("mine")
    assert cli.main([*COMPARED, "--overwrite"]) == 2
    assert "audit.tsv" in capsys.readouterr().err and Path("out/audit.tsv").read_text() == "mine"


# ---- which heads, and whose ----


def test_of_a_bids_data_set_anatomical_volumes_are_audited(tmp_path):
    for root in ("raw", "derived"):
        (tmp_path / root).mkdir()
        (tmp_path / root / "dataset_description.json").write_text("{}")
    names = {
        "raw": ["ses-1/anat/sub-1_ses-1_T1w", "ses-1/anat/sub-1_ses-1_T2w", "ses-2/anat/sub-1_ses-2_T1w"],
        "derived": [
            "ses-1/anat/sub-1_ses-1_desc-refaced_T1w",
            "ses-1/anat/sub-1_ses-1_desc-defaced_T2w",
            "ses-1/anat/sub-1_ses-1_desc-face_mask",
            "ses-2/anat/sub-1_ses-2_desc-refaced_T1w",
            "ses-1/dwi/sub-1_ses-1_desc-defaced_dwi",
        ],
    }
    for root, paths in names.items():
        for path in paths:
            target = tmp_path / root / "sub-1" / f"{path}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            put(target, 1)
    shared, originals = (list_dataset(tmp_path / root) for root in ("derived", "raw"))
    found = {entry.path.name: entry.original.name for entry in with_originals(shared, originals)}
    assert found == {
        "sub-1_ses-1_desc-defaced_T2w.nii.gz": "sub-1_ses-1_T2w.nii.gz",
        "sub-1_ses-1_desc-refaced_T1w.nii.gz": "sub-1_ses-1_T1w.nii.gz",
        "sub-1_ses-2_desc-refaced_T1w.nii.gz": "sub-1_ses-2_T1w.nii.gz",
    }
    assert {entry.subject for entry in shared} == {"sub-1"}
    assert [entry.path.name for entry in list_dataset(tmp_path / "raw", "*_T2w.nii.gz")] == ["sub-1_ses-1_T2w.nii.gz"]


def test_an_original_is_the_one_of_the_most_alike_name(tmp_path):
    for folder in ("shared", "known"):
        (tmp_path / folder).mkdir()
    for name in ("a_refaced", "a_x_T2w", "a_T2w_defaced", "b"):
        put(tmp_path / "shared" / f"{name}.nii.gz", 1)
    for name in ("a_T1w", "a_T2w"):
        put(tmp_path / "known" / f"{name}.nii.gz", 1)
    shared, known = (list_dataset(tmp_path / folder) for folder in ("shared", "known"))
    found = {entry.path.name: entry.original and entry.original.name for entry in with_originals(shared, known)}
    assert found == {
        "a_refaced.nii.gz": "a_T1w.nii.gz",
        "a_x_T2w.nii.gz": "a_T2w.nii.gz",
        "a_T2w_defaced.nii.gz": "a_T2w.nii.gz",
        "b.nii.gz": None,
    }


# ---- workers, and real heads ----


def test_workers_take_jobs_and_give_looks(tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(b"no image")
    tasks = [(Job(None, (tmp_path / "bad.nii.gz",)), LookOptions(tmp_path, "x"))]
    with started(Workers(1)) as client:
        ((_, seen),) = do_tasks(client, look_in_worker, tasks, ["head-0"])
    (look,) = seen.values()
    assert look.failure.startswith("The file") and look.evidence is None


@pytest.mark.parametrize("compared", [True, False])
def test_workers_make_the_same_table_and_a_lost_job_fails_alone(shared, monkeypatch, capsys, compared):
    """Real workers are tested above; here the jobs are done in this process, and the first is lost."""
    arguments = COMPARED if compared else ["audit", "shared", "--out", "out"]
    assert cli.main(arguments) == 0
    alone, asked = {row["head"]: row for row in rows()}, []

    @contextmanager
    def started_here(workers):
        asked.append(workers)
        yield None

    def lose_the_first(client, work, tasks, keys):
        assert len(set(keys)) == len(tasks)
        yield 0, "The process was ended."
        yield from ((index, work(task)) for index, task in reversed(list(enumerate(tasks))[1:]))

    monkeypatch.setattr("RefaceLib.bids.engine.started", started_here)
    monkeypatch.setattr("RefaceLib.bids.engine.do_tasks", lose_the_first)
    monkeypatch.setattr(looks, "_tools", looks._tools.__wrapped__)  # those of this test
    shutil.rmtree("out/private")
    assert cli.main([*arguments, "--overwrite", "--n-procs", "2", "--mem-mb", "6000"]) == 2
    assert asked == [Workers(2, 1, 6000 << 20)]
    found = {row["head"]: row for row in rows()}
    (lost,) = (head for head, row in found.items() if row["sentence"] == "The process was ended.")
    assert f"{lost}: The process was ended." in capsys.readouterr().err
    for head in set(alone) - {lost}:  # ranks are among one original fewer
        unlike = {key for key, value in found[head].items() if value != alone[head][key]}
        assert unlike <= {"forced_rank", "gated_rank"}


def test_evidence_is_what_tissue_and_detector_agree_on():
    def shown(tissue: float, faces: int) -> str:
        return Evidence(tissue, {}, faces, 45).shown

    assert [shown(1.0, 45), shown(0.1, 0), shown(0.1, 31)] == [FACE, NO_FACE, NO_FACE]
    assert {shown(1.0, 0), shown(0.1, 45), shown(0.4, 45), shown(0.4, 0)} == {UNCLEAR}


def test_real_heads_show_a_face_until_it_is_removed(small_head, refaced, defaced, models):
    from dataclasses import replace

    from ReidentRiskLib.attack.detector import load_detector
    from ReidentRiskLib.attack.evidence import find_evidence
    from ReidentRiskLib.attack.heads import parse_volume

    detector, shown = load_detector(), []
    for stored in (small_head.stored, refaced.stored, defaced.stored):
        head = replace(small_head, stored=np.asarray(stored))
        evidence = find_evidence(head, parse_volume(head, models), detector)
        shown.append((evidence.shown, evidence.missing["nose"] > 0.9))
    assert shown == [(FACE, False), (FACE, False), (NO_FACE, True)]
