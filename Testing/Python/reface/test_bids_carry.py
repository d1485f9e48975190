"""BIDS data sets: what is taken over beside the volumes, and that nothing is written through a link."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import pytest

from helpers import bidsset
from helpers.commandline import contents
from helpers.phantom import make_phantom
from helpers.reface.bidswork import blank_person, job_of
from RefaceLib.bids import dataset, run
from RefaceLib.bids.carry import Taken
from RefaceLib.bids.job import Options
from RefaceLib.bids.otherfiles import left_out
from RefaceLib.bids.published import published_table
from RefaceLib.bids.record import Row, write_record
from RefaceLib.commandline.bids import BidsCommand
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
    (root / "sub-01/ses-a/note.tsv").write_text("")
    annexed(root, "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", there=False)
    annexed(root, "sub-01/ses-a/note.tsv", there=False)
    (root / "sub-01/ses-b/anat/sub-01_ses-b_T1w.nii.gz").write_bytes(b"/annex/objects/MD5E-s1--00.nii.gz\n")
    record = blank_person(job_of(root, tmp_path / "out", "01", output="dataset"))
    told = {row.file.rpartition("/")[2]: row.sentence for row in record.rows if row.status == "failed"}
    assert set(told) == {"sub-01_ses-a_T1w.nii.gz", "sub-01_ses-b_T1w.nii.gz", "note.tsv"}
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
    assert published_table(text)[0] == text.replace("2020-01-01", "n/a")
    assert published_table(text, {"anat/a_T1w.nii.gz"})[0] == "filename\tacq_time\nanat/b_T1w.nii.gz\tn/a\n"


@pytest.mark.parametrize(
    "day", ["2001-02-03", "2001-02-03T09:31:00", "03/02/2001 09:31", "20010203", "3 Feb 2001", "?"]
)
@pytest.mark.parametrize("first", ["session_id\tacq_time\nses-1", "filename\tacq_time\nanat/a_T1w.nii.gz"])
def test_true_days_go_however_they_are_written(first, day):
    assert published_table(f"{first}\t{day}\n") == (f"{first}\tn/a\n", "")


def test_columns_of_names_and_days_go_and_are_told(root, tmp_path):
    (root / "sub-01/sub-01_sessions.tsv").write_text("session_id\tacq_time\tpathology\nses-a\t2001-02-03\thealthy\n")
    scans = "sub-01/ses-a/sub-01_ses-a_scans.tsv"
    (root / scans).write_text("filename\tacq_time\toperator\trandstr\nanat/sub-01_ses-a_T1w.nii.gz\tn/a\tMuster\tab\n")
    (root / "participants.tsv").write_text("participant_id\tdate_of_birth\tname\tage\nsub-01\t1956\tMuster\t20\n")
    out = published(root, tmp_path / "out")
    assert (out / "sub-01/sub-01_sessions.tsv").read_text().endswith("ses-a\tn/a\thealthy\n")
    assert (out / scans).read_text() == "filename\tacq_time\trandstr\nanat/sub-01_ses-a_T1w.nii.gz\tn/a\tab\n"
    assert (out / "participants.tsv").read_text() == "participant_id\tage\nsub-01\t20\n"
    told = told_in(out)
    assert "without the columns operator" in told[scans]
    assert "date_of_birth, name" in told["participants.tsv"] and len(told) == 2


# ---- what is left out ----


def told_in(out: Path) -> dict[str, str]:
    """The sentences of what was left out, by the file, as the table tells them; the page does so as well."""
    lines = [line.split("\t") for line in (out / "reface.tsv").read_text().splitlines()]
    told = {line[2]: line[5] for line in lines if line[4] == "left out"}
    page = (out / "index.html").read_text()
    assert all(f'data-file="{file}"' in page for file in told)
    return told


LEFT_OUT = (
    "anat/orig.mgz", "anat/sub-01_ses-a_T1w_orig.nii.gz.bak", "anat/sub-01_ses-a_acq-x_T1w.NII.GZ", "anat/a_T1w.img",
    "anat/a_T1w.hdr", "anat/face.nrrd", "anat/IM0001", "anat/face.dcm", "anat/face.zip", "anat/a_eeg.edf",
    "eeg/a_photo.jpg", "perf/sub-01_ses-a_asllabeling.jpg", "meg/sub-01_ses-a_task-x_meg.ds/x.mri",
    "meg/a_headshape.stl", "a.txt", "anat/upper.JSON", "anat/lines.jsonl",
)  # fmt: skip


def test_everything_else_is_left_out_and_told(root, tmp_path):
    folder = root / "sub-01/ses-a"
    for name in LEFT_OUT:
        bidsset.write(folder / name, {"PatientName": "Muster"})
    for name in ("dicom/a/IM0001", "dicom/a/info.tsv", "sourcedata/x.json", "anat/old/x.json"):
        bidsset.write(folder / name, {"PatientName": "Muster"})
    os.symlink(folder / "anat/sub-01_ses-a_T1w.nii.gz", folder / "anat/link.mgz")
    os.link(folder / "anat/sub-01_ses-a_T1w.nii.gz", folder / "anat/hard.mgz")
    os.symlink(folder / "anat/sub-01_ses-a_T1w.nii.gz", folder / "anat/sub-01_ses-a_link.tsv")
    os.symlink(folder / "anat/sub-01_ses-a_T1w.nii.gz", folder / "anat/sub-01_ses-a_physio.tsv.gz")
    (root / "sub-01/ses-a/anat/notbids.nii.gz").write_bytes(b"face")
    names = (*LEFT_OUT, "dicom/", "sourcedata/", "anat/old/", "anat/link.mgz", "anat/hard.mgz", "anat/notbids.nii.gz")
    names = (*names, "anat/sub-01_ses-a_link.tsv", "anat/sub-01_ses-a_physio.tsv.gz")
    out = published(root, tmp_path / "out")
    assert set(told_in(out)) == {f"sub-01/ses-a/{name}" for name in names}
    for name in names:
        assert not (out / "sub-01/ses-a" / name).exists()
    assert not any(b"Muster" in path.read_bytes() for path in (out / "sub-01").rglob("*") if path.is_file())
    assert bidsset.validation_errors(out) == []


def test_files_of_the_top_are_those_that_bids_knows(root, tmp_path):
    gone = ("face.nii.gz", "face.zip", "scan.dcm", "IM0001", "code/face.mgz", "code/face.nii.gz", "code/a.ipynb")
    gone += ("stimuli/face.nii", "phenotype/face.xlsx", "upper.JSON", "CHANGES")
    kept = ("README.md", "LICENSE", "T1w.json", "code/run.sh", "code/a.py", "stimuli/a.png", "phenotype/a.tsv")
    for name in (*gone, *kept):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("{}")
    (root / "CHANGES").write_bytes(b"\x5c\x01\0\0")  # a scan under this name
    out = published(root, tmp_path / "out")
    assert set(told_in(out)) == set(gone)
    assert all((out / name).is_file() for name in kept) and not any((out / name).exists() for name in gone)


UNREADABLE = {
    "comma": b'{"PatientName": "MusterX",}', "comment": b'{"PatientName": "MusterX" // comment\n}',
    "utf16": '{"PatientName": "MusterX"}'.encode("utf-16"), "twice": b'{"a": {"PatientName": "MusterX"}, "a": 1}',
    "deep": b'{"PatientName": "MusterX", "a": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("kind", UNREADABLE)
def test_json_that_cannot_be_read_is_left_out_and_told(root, tmp_path, kind):
    """Of the sidecar of a volume its fields are left out: it is written anew."""
    own = "sub-01/ses-a/anat/sub-01_ses-a_T1w.json"
    paths = ("task-x_bold.json", "code/a.json", "sub-01/sub-01_x.json", "sub-01/ses-a/anat/sub-01_ses-a_x.json", own)
    for path in paths:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(UNREADABLE[kind])
    out = published(root, tmp_path / "out")
    told = told_in(out)
    assert set(told) == set(paths) and all("cannot be read as JSON" in sentence for sentence in told.values())
    assert not any((out / path).exists() for path in paths if path != own)
    assert not any(b"Muster" in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_descriptions_of_columns_stay_in_the_files_of_tables_alone(root, tmp_path):
    described = {"acq_time": {"Description": "when"}, "PatientID": {"Description": "who", "Value": "MusterX"}}
    for path in ("sub-01/ses-a/sub-01_ses-a_scans.json", "sub-01/ses-a/anat/sub-01_ses-a_x.json"):
        bidsset.write(root / path, described)
    out = published(root, tmp_path / "out")
    assert json.loads((out / "sub-01/ses-a/sub-01_ses-a_scans.json").read_text()) == {
        "acq_time": {"Description": "when"}
    }
    assert json.loads((out / "sub-01/ses-a/anat/sub-01_ses-a_x.json").read_text()) == {}


def test_what_was_carried_over_by_an_earlier_version_goes(root, tmp_path):
    job = job_of(root, tmp_path / "out", "01", output="dataset")
    record = blank_person(job)
    bidsset.write(root / "sub-01/ses-a/anat/orig.mgz", {})
    (job.out / "sub-01/ses-a/anat/orig.mgz").write_text("face")
    write_record(job.record, replace(record, carried=(*record.carried, "sub-01/ses-a/anat/orig.mgz")))
    job = job_of(root, tmp_path / "out", "01", output="dataset")
    assert "sub-01/ses-a/anat/orig.mgz" in {row.file for row in blank_person(job).rows}
    assert not (job.out / "sub-01/ses-a/anat/orig.mgz").exists()
    assert blank_person(job) == blank_person(job)


def test_all_files_of_data_of_the_schema_are_known():
    """But images, of which pictures of the labelling of blood may show a face, and what may be of any format."""
    from ancpbids import schema

    (newest,) = Path(schema.__file__).parent.glob("versions/schema_v1.11.1.json")
    groups = json.loads(newest.read_text())["rules"]["files"]["raw"]
    rules = [rule for group in groups.values() for rule in group.values() if "extensions" in rule]
    for rule in rules:
        for folder, suffix, ending in itertools.product(
            rule.get("datatypes", ["anat"]), rule.get("suffixes", ["x"]), rule["extensions"]
        ):
            if ending in (".nii", ".nii.gz", ".*") or suffix in ("photo", "asllabeling"):
                continue
            name = f"sub-01/{folder}/sub-01_{suffix}{ending}"
            assert left_out(f"{name}inside" if ending.endswith("/") else name) is None, name


def test_the_last_line_counts_what_was_left_out(capsys):
    command = BidsCommand(Path("in"), Path("out"), "group", [], [], None)
    rows = [Row("sub-01", "", f"sub-01/anat/{name}", "", "left out") for name in ("a.nii.gz", "b.mgz", "dicom/")]
    assert command._tell(rows) == 0
    assert "Volumes: 1 left out. Other files: 2 left out, wholly or in part." in capsys.readouterr().out
