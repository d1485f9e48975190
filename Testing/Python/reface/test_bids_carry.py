"""BIDS data sets: what is taken over beside the volumes, and that nothing is written through a link."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import nibabel as nib
import pytest

from helpers import bidsset
from helpers.commandline import contents
from helpers.phantom import make_phantom
from helpers.reface.bidswork import blank_person, job_of
from RefaceLib.bids import dataset, run
from RefaceLib.bids.carry import Taken, scans_table
from RefaceLib.bids.job import Options
from RefaceLib.common.errors import InputError, OutputError

HEAD = make_phantom((16, 20, 18), (12.0, 12.0, 12.0))


@pytest.fixture(name="root")
def root_fixture(tmp_path) -> Path:
    return bidsset.two_persons(tmp_path / "Süd Klinik" / "heads", HEAD)


def published(root: Path, out: Path, label: str = "01") -> Path:
    blank_person(job_of(root, out, label, output="dataset"))
    dataset.write_top(root, out, Options(output="dataset"))
    return out


def test_a_copy_has_everything_but_what_is_personal(root, tmp_path):
    (root / "sub-01/ses-a/eeg").mkdir()
    (root / "sub-01/ses-a/eeg/sub-01_ses-a_task-x_eeg.edf").write_bytes(b"EEG")
    (root / "sub-01/ses-a/eeg/sub-01_ses-a_photo.jpg").write_bytes(b"face")
    (root / "sourcedata").mkdir()
    (root / "sourcedata/scan.dcm").write_bytes(b"face")
    bidsset.cut(root / "sub-01/ses-b/anat/sub-01_ses-b_T2w.nii.gz")
    out = published(root, tmp_path / "out")
    linked = out / "sub-01/ses-a/eeg/sub-01_ses-a_task-x_eeg.edf"
    assert linked.samefile(root / linked.relative_to(out))
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert not [name for name in names if "photo" in name or "sourcedata" in name or "ses-b_T2w" in name]
    assert (out / "participants.tsv").read_text() == "participant_id\tage\nsub-01\t20\n"
    scans = (out / "sub-01/ses-b/sub-01_ses-b_scans.tsv").read_text()
    assert scans == "filename\tacq_time\nanat/sub-01_ses-b_T1w.nii.gz\tn/a\n"
    for path in out.rglob("*"):
        if path.is_file() and ".reface" not in path.parts:
            assert not any(word.encode() in path.read_bytes() for word in ("Südtor", "Änne", "2019-03-04", "Klinik"))
    sidecar = json.loads((out / "sub-01/ses-a/anat/sub-01_ses-a_T1w.json").read_text())
    assert sidecar["EchoTime"] == 0.01 and sidecar["DeidentificationMethodCodeSequence"][0]["CodeValue"] == "113102"
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["GeneratedBy"][-1]["Name"] == "Reface" and description["Authors"]


def test_a_copy_is_valid(root, tmp_path):
    out = published(root, tmp_path / "out")
    assert bidsset.validation_errors(out) == bidsset.validation_errors(out / "derivatives" / "reface") == []


def test_the_scans_themselves_are_never_written_to(root, tmp_path):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}
    published(root, tmp_path / "out")
    published(root, tmp_path / "out")
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}


def killed_after(count: int):
    """As Taken.put, but that the run is killed after so many files."""
    put, number = Taken.put, itertools.count(1)

    def put_or_end(taken, content, path):
        put(taken, content, path)
        if next(number) == count:
            raise KeyboardInterrupt

    return put_or_end


@pytest.mark.parametrize("files", [1, 2])
def test_a_run_that_is_killed_among_the_persons_other_files_knows_them(root, tmp_path, monkeypatch, files):
    """Their content changes before the next run, so they are not what that one would write."""
    job = job_of(root, tmp_path / "out", "01", output="dataset")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Taken, "put", killed_after(files))
        blank_person(job)
    for path in root.rglob("*_scans.tsv"):
        path.write_text(path.read_text().replace("acq_time", "acq_time\tnote").replace("\n", "\tx\n"))
    record = blank_person(job)
    assert record.complete and "note" in (tmp_path / "out" / "sub-01/ses-a/sub-01_ses-a_scans.tsv").read_text()


def test_a_run_that_is_killed_among_the_files_of_the_top_knows_them(root, tmp_path, monkeypatch):
    out, options = tmp_path / "out", Options(output="dataset")
    blank_person(job_of(root, out, "01", output="dataset"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Taken, "put", killed_after(6))
        dataset.write_top(root, out, options)
    assert (out / "dataset_description.json").is_file()
    description = json.loads((root / "dataset_description.json").read_text())
    (root / "dataset_description.json").write_text(json.dumps({**description, "Name": "Renamed"}))
    (root / "participants.tsv").write_text("participant_id\tsex\nsub-01\tF\n")
    dataset.write_top(root, out, options)
    assert json.loads((out / "dataset_description.json").read_text())["Name"] == "Renamed"
    assert "sex" in (out / "participants.tsv").read_text()


@pytest.mark.parametrize("output", ["derivatives", "dataset"])
def test_a_file_of_another_one_at_the_top_is_told_before_anything_is_written(root, tmp_path, output):
    out = tmp_path / "out"
    blank_person(job_of(root, out, "01", output=output))
    before = contents(out)
    (out / "dataset_description.json").write_text("mine")
    with pytest.raises(OutputError, match=r"dataset_description.json exists and was not written by reface bids"):
        dataset.write_top(root, out, Options(output=output))
    (out / "dataset_description.json").unlink()
    assert contents(out) == before
    dataset.write_top(root, out, Options(output=output))


@pytest.mark.parametrize("output", ["derivatives", "dataset"])
def test_all_files_of_another_one_at_the_top_are_told_before_the_work(root, tmp_path, output):
    out = tmp_path / "out"
    (out / "persons").mkdir(parents=True)
    names = ["reface.tsv", "index.html", "dataset_description.json", "persons/sub-01.html"]
    for name in names:
        (out / name).write_text("mine")
    before = contents(out)
    with pytest.raises(OutputError, match="exist and were not written by reface bids") as caught:
        run.run_participants(root, out, Options(output=output), work=pytest.fail)
    assert all(str(out / name) in str(caught.value) for name in names) and contents(out) == before


def test_a_file_of_the_top_without_content_is_told_before_the_work(root, tmp_path):
    (root / "CHANGES").write_bytes(b"/annex/objects/MD5E-s1--00\n")
    with pytest.raises(InputError, match="CHANGES is a pointer of git-annex"):
        run.run_participants(root, tmp_path / "out", Options(output="dataset"), work=pytest.fail)
    assert not (tmp_path / "out").exists()
    run.dataset.check_top(root, "derivatives")  # which takes nothing over


def annexed(root: Path, path: str, there: bool) -> Path:
    """The file at `path` as git-annex has it: a link to an object that is read-only, or is not there."""
    target, annex = root / path, root / ".git/annex/objects/ab"
    annex.mkdir(parents=True, exist_ok=True)
    held = annex / f"MD5E-{target.name}"
    os.replace(target, held)
    held.chmod(0o444)
    target.symlink_to(os.path.relpath(held, target.parent))
    if not there:
        held.unlink()
    return held


def test_annexed_files_are_read_and_never_written_through(root, tmp_path):
    image, sidecar = "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", "sub-01/ses-a/sub-01_ses-a_scans.tsv"
    held = [annexed(root, path, there=True) for path in (image, sidecar)]
    before = [path.read_bytes() for path in held]
    out = published(root, tmp_path / "out")
    assert [path.read_bytes() for path in held] == before
    assert not (out / image).is_symlink() and nib.load(out / image).shape == HEAD.stored.shape


def test_annexed_files_without_content_are_told(root, tmp_path):
    (root / "sub-01/ses-a/note.txt").write_text("")
    annexed(root, "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", there=False)
    annexed(root, "sub-01/ses-a/note.txt", there=False)
    (root / "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz").write_bytes(b"/annex/objects/MD5E-s1--00.nii.gz\n")
    record = blank_person(job_of(root, tmp_path / "out", "01", output="dataset"))
    told = {row.file.rpartition("/")[2]: row.sentence for row in record.rows if row.status == "failed"}
    assert set(told) == {"sub-01_ses-a_T1w.nii.gz", "sub-01_ses-b_T1w.nii.gz", "note.txt"}
    assert all("content is not here" in sentence and "Klinik" not in sentence for sentence in told.values())


def test_an_output_that_is_a_link_is_not_written_through(root, tmp_path):
    job = job_of(root, tmp_path / "out", "02")
    other = tmp_path / "other"
    other.write_bytes(b"kept")
    image = tmp_path / "out" / job.image(job.person.scans[0], "defaced")
    image.parent.mkdir(parents=True)
    image.symlink_to(other)
    (row,) = blank_person(job).rows
    assert row.status == "failed" and "is a link" in row.sentence
    assert other.read_bytes() == b"kept" and image.is_symlink()


@pytest.mark.parametrize(
    "folder", ["sub-02", "sub-02/anat", "persons", "persons/sub-02", "derivatives", "derivatives/reface", ".reface"]
)
def test_no_output_goes_through_a_folder_that_is_a_link(root, tmp_path, folder):
    out, before = tmp_path / "out", contents(root)
    (out / folder).parent.mkdir(parents=True)
    (out / folder).symlink_to(root / "sub-02")
    with pytest.raises(OutputError, match=rf"{folder} is a link, and no output goes through one"):
        run.run_participants(root, out, Options(output="dataset"), work=pytest.fail)
    assert contents(root) == before and [path for path in out.rglob("*") if path.is_file()] == []


def test_a_link_that_appears_during_the_run_is_not_written_through(root, tmp_path):
    job, before = job_of(root, tmp_path / "out", "02"), contents(root)
    (tmp_path / "out" / "sub-02").symlink_to(root / "sub-02")
    (row,) = blank_person(job).rows
    assert row.status == "failed" and "OUT_DIR/sub-02 is a link" in row.sentence and contents(root) == before


def test_personal_fields_of_nested_metadata_are_not_published(root, tmp_path):
    nested = {"global": {"const": {"PatientName": "Müller^Änne", "FlipAngle": 9}}}
    bidsset.write(root / "sub-01/ses-a/anat/sub-01_ses-a_T1w.json", {**nested, "StationName": "Klinik 3"})
    bidsset.write(root / "task-x_bold.json", {**nested, "TaskName": "x"})
    out = published(root, tmp_path / "out")
    sidecar = json.loads((out / "sub-01/ses-a/anat/sub-01_ses-a_T1w.json").read_text())
    assert sidecar["global"] == {"const": {"FlipAngle": 9}} and "StationName" not in sidecar
    shared = json.loads((out / "task-x_bold.json").read_text())
    assert shared == {"global": {"const": {"FlipAngle": 9}}, "TaskName": "x"}


def test_dates_that_are_shifted_stay():
    text = "filename\tacq_time\nanat/a_T1w.nii.gz\t1880-01-02T03:04:05\nanat/b_T1w.nii.gz\t2020-01-01\n"
    assert scans_table(text, []) == text.replace("2020-01-01", "n/a")
    assert scans_table(text, ["anat/a_T1w"]) == "filename\tacq_time\nanat/b_T1w.nii.gz\tn/a\n"
