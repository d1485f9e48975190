"""`reface bids` from end to end: real heads of 2 mm, real workers, and the official validator on what is written."""

from __future__ import annotations

import csv
import json
import subprocess
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from helpers import bidsset
from helpers.commandline import contents, one_sentence
from helpers.realhead import averaged
from RefaceLib.commandline import cli
from RefaceLib.volume.io import Volume


def rows_of(out: Path) -> dict[str, dict[str, str]]:
    with (out / "reface.tsv").open(newline="") as file:
        return {row["file"].rpartition("/")[2]: row for row in csv.DictReader(file, delimiter="\t")}


@pytest.fixture(scope="module", name="root")
def root_fixture(tmp_path_factory, small_head: Volume, demo_volume: Volume) -> Path:
    """One person with two visits and more contrasts, one whose file ends too early; below a folder with an umlaut."""
    root = bidsset.begin(tmp_path_factory.mktemp("bids") / "Süd Klinik" / "heads")
    thick = averaged(demo_volume, (2, 2, 3))
    for visit in "ab":
        bidsset.add(root, f"sub-01/ses-{visit}/anat/sub-01_ses-{visit}_T1w.nii.gz", small_head, bidsset.MRI)
    bidsset.add(root, "sub-01/ses-a/anat/sub-01_ses-a_PDw.nii.gz", thick, {**bidsset.MRI, **bidsset.PERSONAL})
    series = Volume(np.asfortranarray(np.stack([thick.stored, thick.stored // 2], axis=3)), thick.affine)
    for ending, text in (("bval", "0 1000\n"), ("bvec", "0 1\n0 0\n0 0\n")):
        (root / "sub-01/ses-b/dwi").mkdir(exist_ok=True)
        (root / f"sub-01/ses-b/dwi/sub-01_ses-b_dwi.{ending}").write_text(text)
    bidsset.add(root, "sub-01/ses-b/dwi/sub-01_ses-b_dwi.nii.gz", series, bidsset.MRI)
    bidsset.cut(bidsset.add(root, "sub-02/anat/sub-02_T1w.nii.gz", small_head, bidsset.MRI))
    return bidsset.finish(root)


def test_a_data_set_in_one_command(root, tmp_path, capsys):
    out, before = tmp_path / "out", contents(root)
    command = ["bids", str(root), str(out), "participant", "--seed", "5", "--n-procs", "1"]
    assert cli.main([*command, "--device", "cpu"]) == 2
    told = capsys.readouterr()
    assert "sub-02_T1w.nii.gz: The file is truncated" in told.err and "1 of 5 volumes were not done" in told.err
    assert contents(root) == before
    rows = rows_of(out)
    statuses = {name: row["status"] for name, row in rows.items()}
    assert statuses == {
        "sub-01_ses-a_T1w.nii.gz": "refaced", "sub-01_ses-b_T1w.nii.gz": "refaced", "sub-02_T1w.nii.gz": "failed",
        "sub-01_ses-a_PDw.nii.gz": "defaced", "sub-01_ses-b_dwi.nii.gz": "defaced",
    }  # fmt: skip
    assert len({row["seed"] for row in rows.values() if row["status"] == "refaced"}) == 1
    for row in rows.values():
        if row["status"] != "failed":
            assert_kept(root / row["file"], out / row["output"], out / row["mask"], row)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("<tr ") == 5 and page.count("<img ") == 4 and "index.html" in told.out
    assert bidsset.validation_errors(out) == []
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    start = time.perf_counter()
    assert cli.main([*command, "--device", "cpu"]) == 2
    assert time.perf_counter() - start < 30
    assert all(path.stat().st_mtime_ns == when for path, when in written.items() if path.name != "run.json")


def assert_kept(source: Path, output: Path, mask: Path, row: dict[str, str]) -> None:
    """Every promise of one volume, on its very numbers."""
    before, after = (np.asanyarray(nib.load(path).dataobj) for path in (source, output))
    inside = np.asanyarray(nib.load(mask).dataobj).astype(bool)
    assert before.shape == after.shape and before.dtype == after.dtype
    assert (before[~inside] == after[~inside]).all() and (before[inside] != after[inside]).any()
    assert (nib.load(source).affine == nib.load(output).affine).all()
    assert row["voxels_changed_outside_mask"] == row["brain_voxels_changed"] == "0"
    assert min(float(row[name]) for name in row if name.startswith("removed_")) >= 0.98


def test_the_group_level_makes_the_tables_again(root, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["bids", str(root), str(out)]
    assert cli.main([*command, "group"]) == 2
    assert one_sentence(capsys.readouterr().err, "reface")
    arguments = ["participant", "--participant-label", "02", "--n-procs", "1", "--skip-bids-validation"]
    assert cli.main([*command, *arguments]) == 2
    table = (out / "reface.tsv").read_bytes()
    page = (out / "index.html").read_bytes()
    (out / "reface.tsv").unlink()
    (out / "index.html").unlink()
    private = tmp_path / "private"
    assert cli.main([*command, "group", "--n-procs", "1", "--private-report", str(private)]) == 2
    assert (out / "reface.tsv").read_bytes() == table and (out / "index.html").read_bytes() == page
    assert b"Private" in (private / "index.html").read_bytes()


def test_a_data_set_that_is_not_valid_is_refused_unless_told_otherwise(tmp_path, capsys):
    root = bidsset.begin(tmp_path / "in")
    bidsset.add(root, "sub-01/anat/sub-01_nonsense.nii.gz", np.ones((8, 8, 8), dtype=np.int16))
    assert cli.main(["bids", str(root), str(tmp_path / "out"), "participant"]) == 2
    told = capsys.readouterr().err
    assert one_sentence(told, "reface") and "is not valid BIDS" in told and "--skip-bids-validation" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments, words",
    [(["--n-procs", "0"], "a whole number from 1"), (["--resume", "--force"], "not allowed with"),
     (["--mode", "reface"], "invalid choice"), (["--participant-label", "9"], "no participant 9"),
     (["--bids-filter-file", "no.json"], "cannot be read as JSON"),
     (["--private-report", "{out}/private"], "would mix with OUT_DIR")],
)  # fmt: skip
def test_wrong_arguments_are_one_sentence(root, tmp_path, capsys, arguments, words):
    command = ["bids", str(root), str(tmp_path / "out"), "participant", "--skip-bids-validation"]
    assert cli.main([*command, *(argument.format(out=tmp_path / "out") for argument in arguments)]) == 2
    told = capsys.readouterr().err
    assert one_sentence(told, "reface") and words in told and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "source, words",
    [("none", "none does not exist"), ("file", "file is a file: give the top folder"), ("empty", "no BIDS data set")],
)
@pytest.mark.parametrize("options", [[], ["--skip-bids-validation"]])
def test_a_bids_dir_that_is_no_data_set_is_told(tmp_path, capsys, source, words, options):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    assert cli.main(["bids", str(tmp_path / source), str(tmp_path / "out"), "participant", *options]) == 2
    told = capsys.readouterr().err
    assert one_sentence(told, "reface") and words in told and not (tmp_path / "out").exists()


def test_an_out_dir_that_is_a_file_is_told(tmp_path, capsys):
    root = bidsset.phantoms(tmp_path / "in", 1)
    (tmp_path / "out").write_text("mine")
    assert cli.main(["bids", str(root), str(tmp_path / "out"), "participant"]) == 2
    assert "out is a file: give the name of a folder." in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "mine"


def test_an_error_of_the_validator_without_a_place_is_told_without_one(tmp_path, capsys, monkeypatch):
    root = bidsset.phantoms(tmp_path / "in", 1)
    found = json.dumps({"issues": {"issues": [{"severity": "error", "code": "NO_AUTHORS"}]}})
    monkeypatch.setattr("shutil.which", lambda name: name)
    monkeypatch.setattr("subprocess.run", lambda *args, **rest: subprocess.CompletedProcess(args, 1, found, ""))
    assert cli.main(["bids", str(root), str(tmp_path / "out"), "participant"]) == 2
    assert "is not valid BIDS (1 error; NO_AUTHORS): correct it" in capsys.readouterr().err


def test_packages_that_are_missing_are_told(root, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert cli.main(["bids", str(root), str(tmp_path / "out"), "participant"]) == 2
    assert "slicer-reface[bids]" in capsys.readouterr().err
