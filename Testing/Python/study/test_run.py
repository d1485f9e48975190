"""The study does every part once, goes on after a stop, and makes a row of whatever fails."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from helpers.phantom import make_phantom
from RefaceLib.volume.io import write_volume
from refacestudy import __main__ as study
from refacestudy import cells, faces, methods, realism, work

NAMES = ("anna", "bert", "carl")
VIEWS = len(faces.view_set(faces.VIEWS))


def write_head(path: Path) -> None:
    volume = make_phantom()
    write_volume(path, volume, volume.stored)


# ---- parts ----


def test_a_part_is_done_once_again_with_another_key_and_a_failure_is_a_record(tmp_path):
    cell, calls = cells.Cell(tmp_path / "head" / "method"), []

    def work_well(value: int) -> dict:
        calls.append(value)
        return {"value": np.float32(value)}

    def fail() -> dict:
        raise ValueError("no good")

    for key in ("one", "one", "two"):
        list(cells.perform_all([cells.Task(cell, "part", key, work_well, (3,))], 1))
    assert calls == [3, 3]
    assert cell.record("part") == {"key": "two", "status": "ok", "value": 3.0}
    ((name, record),) = cells.perform_all([cells.Task(cell, "bad", "one", fail)], 1)
    assert name == "head method bad" and record["error"] == "ValueError: no good"
    assert not list(cells.perform_all([cells.Task(cell, "bad", "one", fail)], 1))  # not tried again by itself
    assert not cell.succeeded("bad") and cell.succeeded("part")


def test_a_task_that_takes_its_process_down_fails_and_the_others_are_done(tmp_path):
    good = [cells.Task(cells.Cell(tmp_path / "h" / str(i)), "part", "k", dict) for i in range(3)]
    bad = cells.Task(cells.Cell(tmp_path / "h" / "bad"), "part", "k", os._exit, (3,))
    list(cells.perform_all([good[0], bad, *good[1:]], 2))
    assert all(task.cell.succeeded("part") for task in good)
    assert "The process ended" in bad.cell.record("part")["error"]


def test_a_record_that_was_cut_off_does_not_count(tmp_path):
    cell = cells.Cell(tmp_path)
    (tmp_path / "part.json").write_text('{"key": "one", "sta')
    assert cell.record("part") is None and not cell.done("part", "one")


# ---- methods, in processes of their own ----


def test_a_method_runs_in_a_process_of_its_own_and_its_time_and_memory_are_measured(tmp_path):
    write_head(tmp_path / "head.nii.gz")
    folder = tmp_path / "cell"
    job = {"method": "renoised", "source": str(tmp_path / "head.nii.gz"), "out": str(folder / "volume.nii.gz"),
           "mask_out": str(folder / "mask.nii.gz"), "templates": None}  # fmt: skip
    record = work.run_method(folder, job)
    assert record["seconds"] >= 0.5 * record["cpu_seconds"] > 0 and record["noise_sd"] > 0
    assert record["peak_mb"] is None or 10 < record["peak_mb"] < 20_000
    assert (folder / "volume.nii.gz").is_file()
    assert work.run_method(folder, job)["noise_sd"] == record["noise_sd"]  # and again, over its own output


def test_a_method_without_what_it_needs_says_so_in_one_sentence(tmp_path):
    write_head(tmp_path / "head.nii.gz")
    job = {"method": "average_face", "source": str(tmp_path / "head.nii.gz"), "out": str(tmp_path / "out.nii.gz"),
           "mask_out": str(tmp_path / "mask.nii.gz"), "templates": None}  # fmt: skip
    with pytest.raises(RuntimeError, match="not installed|templates are not there"):
        work.run_method(tmp_path, job)


# ---- a whole study, with stand-ins for what takes long ----


@pytest.fixture
def heads(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in NAMES:
        write_head(folder / f"{name}_T1w.nii.gz")
    (folder / "participants.tsv").write_text("participant_id\tage\tsex\nanna\t30\tF\nbert\t40\tM\ncarl\tn/a\t\n")
    return folder


@pytest.fixture
def calls(monkeypatch) -> list[tuple[str, ...]]:
    """Stand-ins that write what the real parts write; the list of what was done."""
    done: list[tuple[str, ...]] = []
    random = np.random.default_rng(5)

    def run(folder: Path, job: methods.Job) -> dict:
        done.append((folder.parent.name, job["method"], "run"))
        if job["method"] == "quickshear":
            raise RuntimeError("It does not | work.")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(job["source"], job["out"])
        Path(job["mask_out"]).write_bytes(b"mask")
        said = {"landmarks": {"chin": [0, 0, 0]}, "seconds": 2.0, "cpu_seconds": 1.0, "peak_mb": 100.0}
        return said | ({"donor": Path(job["donor"]).name.split("_")[0]} if job["method"] in methods.ORACLES else {})

    def brain(path: Path, labels: Path, is_original: bool, segmenters: list[str]) -> dict:
        done.append((path.name, "morphometry"))
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_bytes(b"labels")
        return {"brain_ml": 1000.0, "brain_change": 0.0 if is_original else 0.5, "brain_dice": 0.99, "errors": {}}

    def face(name: str, path: Path, out: Path, original: object, model: object) -> dict:
        done.append((name, out.parent.name, "face"))
        out.parent.mkdir(parents=True, exist_ok=True)
        centre = np.random.default_rng(NAMES.index(name)).standard_normal(32)
        rows = centre + np.zeros((VIEWS, 1)) + (0.0 if original is None else 0.5 * random.standard_normal(32))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        skin = random.standard_normal((300, 3)) * 30
        np.savez(out, forced=rows, gated=rows, frame=np.eye(4), points=np.zeros((5, 3)), skin=skin, model="stub")
        faces.save_picture(out.with_suffix(".png"), np.zeros((64, 64, 3), np.uint8))
        return {"model": "stub", "size": 1.0 + 0.01 * NAMES.index(name), "accepted": 1.0, "note": ""}

    def look(path: Path, *others: object) -> dict:
        out = others[-1]
        done.append((out.parent.parent.name, out.parent.name, "look"))
        np.savez(
            out, patches=random.standard_normal((40, len(realism.FEATURES))), skin=random.standard_normal((300, 3))
        )
        return {"noise_haar": 1.1, "brightness": 0.9, "surface_mm": 2.0}

    monkeypatch.setattr(work, "run_method", run)
    monkeypatch.setattr(work, "measure_brain", brain)
    monkeypatch.setattr(faces, "look_at", face)
    monkeypatch.setattr(realism, "look_at", look)
    return done


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_study_writes_its_report_and_a_method_that_fails_is_a_row_of_it(heads, tmp_path, calls, capsys):
    out = tmp_path / "out"
    given = ["reface", "reface_seed1", "quickshear", "recover_quickshear", *methods.ORACLES, "average_face"]
    assert study.main([str(heads), str(out), "--jobs", "1", "--methods", *given]) == 0
    report = (out / "report.md").read_text(encoding="utf-8")
    for heading in ("What must hold", "Morphometry", "Risk", "Leakage", "Realism", "Diversity", "Time", "What failed"):
        assert f"## {heading}" in report
    assert "| quickshear | 3: anna, bert, carl | run: RuntimeError: It does not / work. |" in report
    assert (
        "recover_quickshear | 3: anna, bert, carl | run: There is no volume to start from: quickshear failed." in report
    )
    assert all((out / name).is_file() for name in ("balance.png", "diversity.png", "faces.png"))
    by_method = {row["method"]: row for row in rows_of(out / "methods.csv")}
    assert by_method["quickshear"]["failed"] == "3" and by_method["reface"]["failed"] == "0"
    assert float(by_method["reface"]["brain_change"]) == 0.5 and float(by_method["reface"]["cpu_seconds_ratio"]) == 1.0
    assert float(by_method["original"]["rank1_forced"]) == 1.0 and float(by_method["reface"]["cosine_forced"]) < 0.99
    rows = rows_of(out / "heads.csv")
    assert len(rows) == len(NAMES) * len(by_method)
    assert {row["status"] for row in rows if row["method"] == "quickshear"} == {"failed"}
    donors = {row["head"]: {each.get("donor") for each in rows if each["head"] == row["head"]} - {""} for row in rows}
    assert all(len(found) == 2 and name not in found for name, found in donors.items())  # both of the others
    assert "anna reface run: ok" in capsys.readouterr().out


def test_a_study_goes_on_where_it_was_and_does_nothing_twice(heads, tmp_path, calls):
    command = [str(heads), str(tmp_path / "out"), "--jobs", "1", "--methods", "reface"]
    study.main([*command, "--ids", "anna"])
    first = list(calls)
    study.main([*command, "--ids", "anna"])
    assert calls == first
    study.main(command)
    assert ("anna", "reface", "run") not in calls[len(first) :] and ("bert", "reface", "run") in calls
    (tmp_path / "out" / "heads" / "anna" / "reface" / "run.json").unlink()  # as if it had been stopped there
    before = len(calls)
    study.main(command)
    assert calls[before:] == [("anna", "reface", "run")]  # the same volume again: all else holds


def test_a_part_that_was_killed_while_it_was_done_again_is_not_done(tmp_path):
    """Its old record would count again once the code is what it was, but its volume is gone."""
    cell = cells.Cell(tmp_path)
    cell.write("run", {"key": "old", "status": "ok"})
    cell.begin("run", "new")
    assert not cell.done("run", "old") and not cell.succeeded("run")


def test_what_failed_is_tried_again_only_when_asked(heads, tmp_path, calls, monkeypatch):
    command = [str(heads), str(tmp_path / "out"), "--jobs", "1", "--ids", "anna", "--methods", "quickshear"]
    study.main(command)
    study.main(command)
    tried: Callable[[], int] = lambda: calls.count(("anna", "quickshear", "run"))  # noqa: E731
    assert tried() == 1
    study.main([*command, "--retry"])
    assert tried() == 2


def test_a_study_in_which_nothing_worked_has_a_report_all_the_same(heads, tmp_path, calls, monkeypatch):
    def broken(*given: object) -> dict:
        raise OSError("no recogniser on this computer, and no way to get one")

    monkeypatch.setattr(faces, "look_at", broken)
    monkeypatch.setattr(work, "measure_brain", broken)
    monkeypatch.setattr(work, "run_method", broken)
    out = tmp_path / "out"
    assert study.main([str(heads), str(out), "--jobs", "1"]) == 0
    assert "no recogniser on this computer" in (out / "report.md").read_text(encoding="utf-8")


def test_scans_of_one_person_are_the_yardstick_of_the_volumes(heads, tmp_path, calls):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("first\tsecond\nanna\tbert\n")
    out = tmp_path / "out"
    study.main([str(heads), str(out), "--jobs", "1", "--methods", "reface"])
    record = out / "heads" / "bert" / "original" / "morphometry.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "brain_ml": 1010.0}))
    study.main([str(heads), str(out), "--jobs", "1", "--methods", "reface", "--report-only", "--rescans", str(pairs)])
    assert "| rescan | 1.000 |" in (out / "report.md").read_text(encoding="utf-8")


def test_a_wrong_name_or_an_empty_folder_is_one_sentence(heads, tmp_path, calls, capsys):
    with pytest.raises(SystemExit, match="There is no head zoe"):
        study.main([str(heads), str(tmp_path / "out"), "--ids", "zoe"])
    (tmp_path / "empty").mkdir()
    assert study.main([str(tmp_path / "empty"), str(tmp_path / "out")]) == 2
    assert "No heads" in capsys.readouterr().err
    assert not calls
