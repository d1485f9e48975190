"""BIDS data sets without workers: who is in one, what is done by suffix, names, seeds, records."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from helpers import bidsset
from helpers.checkout import REPOSITORY
from helpers.phantom import make_phantom
from helpers.reface.bidswork import blank_person, job_of
from RefaceLib.bids import dataset, person, suffixes
from RefaceLib.bids.index import index_dataset, read_filters
from RefaceLib.bids.job import seed_of
from RefaceLib.bids.record import read_record, table
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.sidecar import inherited

HEAD = make_phantom((16, 20, 18), (12.0, 12.0, 12.0))


@pytest.fixture(name="root")
def root_fixture(tmp_path) -> Path:
    return bidsset.two_persons(tmp_path / "Süd Klinik" / "heads", HEAD)


def by_file(record) -> dict[str, str]:
    return {row.file.rpartition("/")[2]: row.status for row in record.rows}


# ---- who and what ----


def test_persons_sessions_and_files_are_found(root):
    first, second = index_dataset(root)
    assert [scan.session for scan in first.scans] == ["a", "a", "b", "b"]
    assert second.scans[0].entities == (("run", "1"), ("sub", "02"))
    assert "sub-02/sub-02_scans.tsv" in second.files
    (chosen,) = index_dataset(root, ["sub-01"], ["ses-b"])
    assert [scan.path for scan in chosen.scans] == [
        f"sub-01/ses-b/anat/sub-01_ses-b_{suffix}.nii.gz" for suffix in ("T1w", "T2w")
    ]


@pytest.mark.parametrize(
    "arguments, words",
    [((["09"],), "no participant 09"), ((["01"], ["z"]), "no volume of session z")],
)
def test_labels_that_are_not_there_are_refused(root, arguments, words):
    with pytest.raises(InputError, match=words):
        index_dataset(root, *arguments)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(InputError, match="no BIDS data set"):
        index_dataset(tmp_path)
    (tmp_path / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match="has no participant"):
        index_dataset(tmp_path)


@pytest.mark.parametrize(
    "wanted, count",
    [({"session": "b"}, 1), ({"session": ["a", "b"]}, 2), ({"session": None}, 1), ({"session": "*"}, 2),
     ({"run": 1}, 1), ({"acquisition": "Query.NONE"}, 3), ({"datatype": "func"}, 0), ({"suffix": "T1w"}, 3)],
)  # fmt: skip
def test_filters_are_those_of_nipreps(root, tmp_path, wanted, count):
    path = tmp_path / "filter.json"
    path.write_text(json.dumps({"t1w": wanted}))
    persons = index_dataset(root, filters=read_filters(path))
    scans = [scan for person in persons for scan in person.scans]
    assert [scan.suffix for scan in scans].count("T1w") == count
    assert [scan.suffix for scan in scans].count("T2w") == 2


def test_a_filter_file_that_holds_no_filters_is_refused(tmp_path):
    for text in ("{", "[]", '{"t1w": 3}'):
        (tmp_path / "f.json").write_text(text)
        with pytest.raises(InputError, match=r"f\.json"):
            read_filters(tmp_path / "f.json")


@pytest.mark.parametrize(
    "filters, key, known",
    [({"t1w": {"sesion": "01"}}, "sesion", "session"), ({"T1w": {"session": "01"}}, "T1w", "t1w"),
     ({"t1": {}}, "t1", "flair"), ({"t2w": {"ses": "01"}, "bold": {"extension": "nii"}}, "extension", "suffix")],
)  # fmt: skip
def test_a_filter_that_would_choose_nothing_is_refused(tmp_path, filters, key, known):
    (tmp_path / "f.json").write_text(json.dumps(filters))
    with pytest.raises(InputError, match=rf"f\.json has the key '{key}', .*\b{known}\b"):
        read_filters(tmp_path / "f.json")


def test_the_documentation_shows_the_table_of_suffixes():
    assert suffixes.markdown_table() in (REPOSITORY / "docs" / "share-a-data-set.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "suffix, folder, entities, action",
    [("T1w", "anat", {}, suffixes.FACE), ("T1w", "anat", {"part": "phase"}, suffixes.AS_MAGNITUDE),
     ("sbref", "dwi", {}, suffixes.DEFACE), ("sbref", "func", {}, suffixes.ASKED), ("bold", "func", {}, suffixes.ASKED),
     ("phasediff", "fmap", {}, suffixes.AS_MAGNITUDE), ("sbref", "anat", {}, suffixes.LEAVE_OUT),
     ("", "anat", {}, suffixes.LEAVE_OUT), ("CT", "ct", {}, suffixes.DEFACE)],
)  # fmt: skip
def test_the_table_says_what_is_done(suffix, folder, entities, action):
    assert suffixes.action_of(suffix, folder, entities) == action


# ---- names and seeds ----


def test_names_of_outputs(root, tmp_path):
    derived, published = (job_of(root, tmp_path / "out", "02", output=output) for output in ("derivatives", "dataset"))
    scan = derived.person.scans[0]
    assert derived.image(scan, "refaced") == "sub-02/anat/sub-02_run-01_desc-refaced_T1w.nii.gz"
    assert derived.mask(scan) == "sub-02/anat/sub-02_run-01_desc-face_mask.nii.gz"
    assert derived.mask(replace(scan, suffix="T2w")) == "sub-02/anat/sub-02_run-01_desc-faceT2w_mask.nii.gz"
    assert published.image(scan, "refaced") == scan.path
    assert published.mask(scan) == f"derivatives/reface/{derived.mask(scan)}"


def test_a_person_has_one_seed_and_persons_have_different_ones():
    seeds = [seed_of(7, f"{number:03d}") for number in range(500)]
    assert len(set(seeds)) == 500 and all(seed % 4 == 0 and 0 <= seed < 2**32 for seed in seeds)
    assert seeds[3] == seed_of(7, "003") != seed_of(8, "003")


# ---- one person ----


def test_all_volumes_of_a_person_are_written_or_told(root, tmp_path):
    bidsset.cut(root / "sub-01/ses-b/anat/sub-01_ses-b_T2w.nii.gz")
    record = blank_person(job_of(root, tmp_path / "out", "01"))
    assert by_file(record) == {
        "sub-01_ses-a_T1w.nii.gz": "defaced", "sub-01_ses-a_T2w.nii.gz": "defaced",
        "sub-01_ses-b_T1w.nii.gz": "defaced", "sub-01_ses-b_T2w.nii.gz": "failed",
    }  # fmt: skip
    lost = next(row for row in record.rows if row.status == "failed")
    assert lost.sentence == "The file is truncated (it ends before its last voxel): copy it again."
    assert not list((tmp_path / "out").rglob("*ses-b*T2w*")) and record.complete and not record.again
    assert record == read_record(tmp_path / "out/.reface/sub-01.json")
    assert not any(path.is_dir() for path in (tmp_path / "out/.reface/work").iterdir())


def test_what_is_done_is_left_alone_until_content_changes(root, tmp_path):
    job = job_of(root, tmp_path / "out", "01")
    blank_person(job)
    image = tmp_path / "out" / job.image(job.person.scans[0], "defaced")
    before = image.stat().st_mtime_ns
    source = root / job.person.scans[0].path
    os.utime(source)  # a date is no content
    blank_person(job)
    assert image.stat().st_mtime_ns == before
    bidsset.add(root, job.person.scans[0].path, make_phantom(HEAD.stored.shape, (12.0, 12.0, 12.0), seed=3))
    blank_person(job)
    assert image.stat().st_mtime_ns > before
    before = image.stat().st_mtime_ns
    blank_person(replace(job, options=replace(job.options, ears=False)))
    assert image.stat().st_mtime_ns > before


def test_a_volume_that_is_only_copied_is_noticed_when_it_comes_and_goes(root, tmp_path):
    out, name = tmp_path / "out", "sub-02/func/sub-02_task-rest_bold.nii.gz"
    blank_person(job_of(root, out, "02", output="dataset"))
    bidsset.add(root, name, HEAD)
    blank_person(job_of(root, out, "02", output="dataset"))
    assert (out / name).is_file()
    (root / name).unlink()
    blank_person(job_of(root, out, "02", output="dataset"))
    assert not (out / name).exists()


def test_a_sidecar_of_all_persons_counts(root, tmp_path):
    job = job_of(root, tmp_path / "out", "02")
    blank_person(job)
    sidecar = next((tmp_path / "out").rglob("*desc-defaced_T1w.json"))
    (root / "T1w.json").write_text('{"MagneticFieldStrength": 3}')
    blank_person(job)
    assert "MagneticFieldStrength" in sidecar.read_text()


def test_a_functional_phase_image_is_masked_as_its_magnitude(root):
    for part in ("mag", "phase"):
        bidsset.add(root, f"sub-02/func/sub-02_task-rest_part-{part}_bold.nii.gz", HEAD)
    scans = {scan.path: scan for scan in index_dataset(root)[1].scans}
    found = {path.rpartition("/")[2]: person._magnitude_of(scan, scans) for path, scan in scans.items()}
    assert found["sub-02_task-rest_part-phase_bold.nii.gz"] == "sub-02/func/sub-02_task-rest_part-mag_bold.nii.gz"
    assert found["sub-02_task-rest_part-mag_bold.nii.gz"] is None


def test_an_output_that_was_lost_is_made_again_and_an_edited_one_is_kept(root, tmp_path):
    job = job_of(root, tmp_path / "out", "02")
    blank_person(job)
    image = tmp_path / "out" / job.image(job.person.scans[0], "defaced")
    content = image.read_bytes()
    image.unlink()
    blank_person(job)
    assert image.read_bytes() == content
    image.write_bytes(b"edited")
    (row,) = blank_person(job).rows
    assert row.status == "failed" and row.sentence.startswith("OUT_DIR/sub-02/") and "so it is kept" in row.sentence
    assert image.read_bytes() == b"edited"


def test_outputs_of_other_options_go(root, tmp_path):
    out = tmp_path / "out"
    bidsset.add(root, "sub-02/func/sub-02_task-x_bold.nii.gz", HEAD, {"RepetitionTime": 1.0, "TaskName": "x"})
    blank_person(job_of(root, out, "02", func=True))
    assert list(out.rglob("*bold.nii.gz"))
    record = blank_person(job_of(root, out, "02"))
    assert not list(out.rglob("*bold*")) and by_file(record)["sub-02_task-x_bold.nii.gz"] == "left out"


def test_two_runs_do_not_work_on_one_person(root, tmp_path):
    job = job_of(root, tmp_path / "out", "02")
    with person._locked(job), pytest.raises(OutputError, match="Another run works on this person"):
        blank_person(job)
    assert blank_person(job).complete


def test_a_run_that_was_killed_between_two_renamings_goes_on(root, tmp_path, monkeypatch):
    job = job_of(root, tmp_path / "out", "01")
    replaced = os.replace

    def fail(source, target):
        if str(target).endswith("T2w.nii.gz"):
            raise KeyboardInterrupt
        replaced(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("os.replace", fail)
        blank_person(job)
    record = blank_person(job)
    assert record.complete and all((tmp_path / "out" / path).is_file() for path in record.outputs)


def test_metadata_are_inherited_from_above(root):
    bidsset.write(root / "T1w.json", {"EchoTime": 1, "FlipAngle": 9})
    bidsset.write(root / "acq-x_T1w.json", {"FlipAngle": 7})
    bidsset.write(root / "sub-01" / "sub-01_T1w.json", {"RepetitionTime": 2})
    image = root / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"
    fields = inherited(root, image)
    assert (fields["EchoTime"], fields["FlipAngle"], fields["RepetitionTime"]) == (0.01, 9, 2)
    assert "FlipAngle" not in inherited(root, image, everything=False)


# ---- the top ----


@pytest.mark.parametrize(
    "place, output", [("", "derivatives"), ("..", "dataset"), ("derivatives/x", "dataset"), ("out", "derivatives")]
)
def test_outputs_that_would_mix_with_the_data_set_are_refused(root, place, output):
    with pytest.raises(OutputError):
        dataset.check_folders(root, root / place, output)


def test_one_folder_has_one_kind_of_output_and_one_seed(tmp_path):
    dataset.make_out(tmp_path)
    seed = dataset.settle(tmp_path, "dataset", None)
    assert dataset.settle(tmp_path, "dataset", None) == seed and dataset.settle(tmp_path, "dataset", 7) == 7
    assert dataset.settled_output(tmp_path) == "dataset" and dataset.settle(tmp_path, "dataset", None) == 7
    with pytest.raises(OutputError, match="--output dataset"):
        dataset.settle(tmp_path, "derivatives", None)


def test_derivatives_below_the_data_set_are_fine(root):
    dataset.check_folders(root, root / "derivatives" / "reface", "derivatives")


def test_the_table_has_a_row_a_volume(root, tmp_path):
    record = blank_person(job_of(root, tmp_path / "out", "01"))
    lines = [line.split("\t") for line in table(record.rows).splitlines()]
    assert len(lines) == 5 and {len(line) for line in lines} == {24}
    first = dict(zip(*lines[:2], strict=True))
    assert first["participant_id"] == "sub-01" and first["session_id"] == "ses-a" and first["removed_nose"] == "1"
    assert first["brain_voxels_changed"] == "0" and first["sentence"] == "n/a"


def test_frames_are_written_whole(root, tmp_path):
    stored = np.stack([HEAD.stored, HEAD.stored + 1], axis=3).astype(np.int16)
    bidsset.add(root, "sub-02/dwi/sub-02_dwi.nii.gz", stored, {})
    (root / "sub-02/dwi/sub-02_dwi.bval").write_text("0 1000\n")
    job = job_of(root, tmp_path / "out", "02")
    blank_person(job)
    image = tmp_path / "out/sub-02/dwi/sub-02_desc-defaced_dwi.nii.gz"
    assert nib.load(image).shape == (*HEAD.stored.shape, 2)
    assert nib.load(tmp_path / "out/sub-02/dwi/sub-02_desc-facedwi_mask.nii.gz").shape == HEAD.stored.shape
    assert (image.parent / "sub-02_dwi.bval").read_text() == "0 1000\n"
