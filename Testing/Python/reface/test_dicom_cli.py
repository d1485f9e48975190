"""`reface dicom`: a series or a study becomes a folder, whole or not at all; which series are written, what is told."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from helpers.commandline import FAILURES, contents, names, one_sentence, raising
from helpers.dicomfiles import LEFT_BEHIND, write_classic, write_enhanced
from helpers.phantom import make_phantom
from helpers.reface.commands import *  # noqa: F403
from helpers.reface.commands import SHAPE, SPACING, zero_in_mask
from RefaceLib import session
from RefaceLib.commandline import cli
from RefaceLib.common.errors import HeadNotFoundError, InputError, PromiseError
from RefaceLib.dicom import study
from RefaceLib.dicom.series import Stack
from RefaceLib.volume.io import Volume

HEAD = make_phantom(SHAPE, SPACING, "LPS")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, pipeline):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "pipeline", pipeline)
    return tmp_path


def localizer(_, dataset):
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def flat(_, dataset):
    dataset.MRAcquisitionType = "2D"


def solid(_, dataset):
    dataset.MRAcquisitionType = "3D"


def run(*arguments: str) -> int:
    """The exit code of `reface dicom`; the pipeline that stands in does not choose a mode by itself."""
    return cli.main(["dicom", *arguments, "--mode", "reface"])


def make_study(folder: Path) -> None:
    write_classic(folder / "loc", HEAD, number=1, change=localizer)
    write_classic(folder / "t2", make_phantom(SHAPE, SPACING, "LPS", seed=2), number=2, change=flat)
    write_classic(folder / "t1", HEAD, number=3, change=solid)
    report = pydicom.dcmread(next((folder / "t1").iterdir()))
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    report.SeriesInstanceUID, report.SeriesNumber, report.Modality = "1.2.999.77", 99, "SR"
    report.save_as(folder / "report.dcm")


def report_of(name: str) -> dict:
    return json.loads(Path(f"{name}_reface.json").read_text(encoding="utf-8"))


def test_a_series_becomes_a_folder_with_a_report_beside_it(place, capsys):
    write_classic(place / "DOE", HEAD)
    before = contents(place)
    assert run("DOE", "out", "--seed", "5", "--progress", "none") == 0
    assert names(place) == {"DOE", "out", "out_reface.json"} and names(place / "out") == {"SE0001"}
    assert len(names(place / "out" / "SE0001")) == SHAPE[2]
    assert before.items() <= contents(place).items()
    report = report_of("out")
    assert report["seed"] == 5 and report["output"] == "out" and len(report["also_written"]) == SHAPE[2]
    # The creator is called DOE SCANNER, as the patient is DOE.
    assert report["header"]["private_elements_removed"] == {"unknown": SHAPE[2]}
    said = capsys.readouterr().out
    assert said.startswith(f"Wrote {SHAPE[2]} files of 1 series to out (report: out_reface.json).\n")
    first = pydicom.dcmread(place / "out" / "SE0001" / "IM000001.dcm")
    assert first.ImageType[0] == "DERIVED" and first.SeriesDescription == "refaced"


def test_a_multi_frame_file_is_an_input_too_and_all_its_volumes_lose_the_face(place):
    write_enhanced(place / "e.dcm", [HEAD, HEAD], ["M", "P"])
    assert run("e.dcm", "out", "--seed", "70", "-q") == 0
    (written,) = (place / "out" / "SE0001").iterdir()
    planes = pydicom.dcmread(written).pixel_array.astype(int).reshape(SHAPE[2], 2, SHAPE[1], SHAPE[0])
    changed = planes != HEAD.stored.T[:, None]
    faces = planes[:, 0] == 70
    assert changed[:, 0].any() and changed[:, 1][faces].mean() > 0.9
    assert not changed[:, 1][~faces & ~changed[:, 0]].any()
    (entry,) = report_of("out")["series"]
    assert [volume["voxels_changed_outside_mask"] for volume in entry["volumes"]] == [0, 0]


def test_the_best_volume_of_a_study_gets_the_face_and_the_rest_is_defaced_or_left_out(place, capsys):
    make_study(place / "in")
    assert run("in", "out", "--study", "--subject", "sub-7", "--progress", "none") == 0
    report = report_of("out")
    assert [(one["number"], one["mode"]) for one in report["series"]] == [("3", "reface"), ("2", "deface")]
    warned = capsys.readouterr().err
    assert "Left out: Series 1 (MR, 32 files) is a localizer, not a volume.\n" in warned
    assert "Left out: Series 99 (SR, 1 file) holds no MR, CT or PET images.\n" in warned
    heads = [pydicom.dcmread(path) for path in (place / "out").rglob("*.dcm")]
    assert len(heads) == 2 * SHAPE[2] and {head.PatientID for head in heads} == {"sub-7"}
    assert len({head.StudyInstanceUID for head in heads}) == 1
    assert len({head.SeriesInstanceUID for head in heads}) == 2


def test_neither_files_nor_report_tell_who_it_was(place):
    make_study(place / "DOE^JANE")
    assert run("DOE^JANE", "out", "--study", "-q") == 0
    content = b"".join(path.read_bytes() for path in [*(place / "out").rglob("*.dcm"), place / "out_reface.json"])
    assert [words for words in LEFT_BEHIND if words in content.replace(b"DOE SCANNER", b"")] == []


def test_a_series_that_cannot_be_defaced_is_not_written_and_told_of(place, monkeypatch, capsys):
    make_study(place / "in")
    monkeypatch.setattr("RefaceLib.companion.deface_companion", raising(InputError("It shows another head.")))
    assert run("in", "out", "--study", "--progress", "none") == 2
    said = capsys.readouterr().err
    assert "Not written: Series 2 (MR, 32 files): It shows another head." in said
    assert said.splitlines()[-1] == "reface: 1 series was not written, as is told above; out lacks it."
    assert names(place / "out") == {"SE0001"} and len(report_of("out")["series"]) == 1


def test_the_next_volume_is_taken_where_the_best_shows_no_head(place, pipeline):
    """That one is defaced beside it, which asks less of it."""
    make_study(place / "in")
    calls = iter([raising(HeadNotFoundError("There is no head.")), lambda: None])
    pipeline.step = lambda: next(calls)()
    assert run("in", "out", "--study", "-q") == 0
    assert [(one["number"], one["mode"]) for one in report_of("out")["series"]] == [("2", "reface"), ("3", "deface")]


def test_a_series_that_cannot_be_written_does_not_lose_the_study(place, pipeline, monkeypatch, capsys):
    make_study(place / "in")
    write = study.write_files

    def failing(series, *rest):
        if series.number == "2":
            write(series, *rest)
            raise PromiseError("The header cannot be written.")
        return write(series, *rest)

    monkeypatch.setattr(study, "write_files", failing)
    assert run("in", "out", "--study", "--progress", "none") == 2
    assert "The header cannot be written" in capsys.readouterr().err
    assert [one["number"] for one in report_of("out")["series"]] == ["3"]
    assert [folder.name for folder in (place / "out").iterdir()] == ["SE0001"]


def test_a_volume_with_missing_slices_is_a_failure_and_a_localizer_is_none(place, capsys):
    make_study(place / "in")
    sorted((place / "in" / "t2").iterdir())[9].unlink()
    assert run("in", "out", "--study", "--progress", "none") == 2
    said = capsys.readouterr().err
    assert "Left out: Series 1" in said and "Not written: Series 2 (MR, 31 files) lacks 1 slice" in said


def test_a_study_without_a_head_leaves_nothing(place, pipeline, capsys):
    make_study(place / "in")
    pipeline.step = raising(HeadNotFoundError("There is no head."))
    before = contents(place)
    assert run("in", "out", "--study", "-q") == 2
    assert contents(place) == before and names(place) == {"in"}
    assert one_sentence(capsys.readouterr().err, "reface")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in", "out"], "holds 4 series (numbers 1, 2, 3, 99): give the folder of one, or --study."),
        (["in/loc", "out"], "is a localizer, not a volume: give the series of a 3D scan."),
        (["nowhere", "out"], "does not exist"),
        (["in", "in/out", "--study"], "lie within each other"),
        (["in/t1", "in", "--overwrite"], "lie within each other"),
        (["in/t1", "file"], "is a file"),
        (["in/t1", "full"], "is not empty"),
        (["in/t1", "full", "--overwrite"], "no report of reface lists as outputs"),
        (["in/t1", "no/out"], "does not exist"),
        (["in/t1", "out", "--subject", "J\\ane"], "an ID has up to 64 letters"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence_and_changes_nothing(place, arguments, words, capsys):
    make_study(place / "in")
    (place / "file").write_text("x")
    (place / "full").mkdir()
    (place / "full" / "a").write_text("mine")
    before = contents(place)
    assert run(*arguments, "--progress", "none") == 2
    said = capsys.readouterr().err
    assert words in said and one_sentence(said, "reface")
    assert contents(place) == before and names(place) == {"in", "file", "full"}


def test_several_patients_are_refused(place, capsys):
    def other(_, dataset):
        dataset.PatientID = "PID-4712"

    write_classic(place / "in" / "a", HEAD)
    write_classic(place / "in" / "b", HEAD, number=2, change=other)
    assert run("in", "out", "--study", "-q") == 2
    assert "several patients" in capsys.readouterr().err


def test_an_earlier_output_is_replaced_on_request_and_one_that_was_edited_is_kept(place, capsys):
    write_classic(place / "in", HEAD)
    (place / "out").mkdir()  # an empty folder is as good as none
    assert run("in", "out", "--seed", "1", "-q") == 0
    assert run("in", "out", "--seed", "2", "-q") == 2
    assert run("in", "out", "--seed", "2", "-q", "--overwrite") == 0
    assert report_of("out")["seed"] == 2 and names(place) == {"in", "out", "out_reface.json"}
    (place / "out" / "notes.txt").write_text("mine")
    before = contents(place)
    assert run("in", "out", "-q", "--overwrite") == 2
    assert contents(place) == before and "so it is kept" in capsys.readouterr().err


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_in_the_middle_leaves_everything_as_it_was(place, pipeline, name, capsys):
    error, code, words = FAILURES[name]
    write_classic(place / "in", HEAD)
    assert run("in", "out", "--seed", "1", "-q") == 0
    before = contents(place)
    pipeline.step = raising(error)
    assert run("in", "out", "-q", "--overwrite") == code
    assert contents(place) == before and names(place) == {"in", "out", "out_reface.json"}
    assert words in capsys.readouterr().err


def test_a_failure_while_files_are_written_leaves_nothing(place, monkeypatch, capsys):
    write_classic(place / "in", HEAD)
    monkeypatch.setattr(Path, "write_bytes", raising(OSError(28, "No space left on device")))
    assert run("in", "out", "-q") == 2
    assert names(place) == {"in"} and "full" in capsys.readouterr().err


def test_programs_are_told_of_the_progress_and_the_report(place, capsys):
    write_classic(place / "in", HEAD)
    assert run("in", "out", "--progress", "json") == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fractions = [record["progress"] for record in records[:-1]]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert records[-1]["done"] and records[-1]["report"] == "out_reface.json"


def test_many_volumes_of_a_series_share_the_mask_of_their_mean(place, monkeypatch):
    make_study(place / "in")
    seen = []

    def companion(other, volume, result, models):
        seen.append(other.stored)
        return zero_in_mask(other, volume, result, models)

    monkeypatch.setattr("RefaceLib.companion.deface_companion", companion)
    heads = [make_phantom(SHAPE, SPACING, "LPS", seed=number) for number in (5, 6, 7)]
    for number, head in enumerate(heads):

        def time(index, dataset, number=number):
            dataset.TemporalPositionIdentifier, dataset.MRAcquisitionType = number + 1, "2D"
            dataset.SOPInstanceUID = f"1.2.999.6.{number}.{index}"

        write_classic(place / "in" / "fmri", head, number=9, change=time, prefix=str(number))
    assert run("in", "out", "--study", "-q") == 0
    mean = np.mean([head.stored for head in heads], axis=0)
    assert len(seen) == 2 and np.allclose(seen[1], mean, rtol=1e-5)
    (entry,) = [one for one in report_of("out")["series"] if one["number"] == "9"]
    assert len(entry["volumes"]) == 3 and entry["files"] == 3 * SHAPE[2]
    assert all(volume["voxels_changed"] > 0 == volume["brain_voxels_changed"] for volume in entry["volumes"])


def test_a_volume_of_a_study_is_decoded_once_to_find_its_face(place, monkeypatch):
    make_study(place / "in")
    read, taken = Stack.read, []
    monkeypatch.setattr(Stack, "read", lambda stack: taken.append(stack.name) or read(stack))
    assert run("in", "out", "--study", "-q") == 0
    assert taken == ["Series 3 (MR, 32 files)", "Series 2 (MR, 32 files)"]


# ---- phase images ----


def phase(_, dataset):
    dataset.ImageType, dataset.SeriesDescription = ["ORIGINAL", "PRIMARY", "P"], "phase"


def elsewhere(index, dataset):
    phase(index, dataset)
    dataset.FrameOfReferenceUID = "1.2.999.2.7"


def shifted() -> Volume:
    affine = HEAD.affine.copy()
    affine[0, 3] += 4.0
    return replace(HEAD, affine=affine)


def series_of(name: str) -> dict[str, dict]:
    return {entry["number"]: entry for entry in report_of(name)["series"]}


def planes_of(folder: Path) -> np.ndarray:
    return np.stack([pydicom.dcmread(path).pixel_array for path in sorted(folder.iterdir())])


def test_phase_images_in_a_series_of_their_own_are_masked_as_their_magnitude(place, monkeypatch):
    """No head is looked for in them, and nobody's face is made of one; the numbers outside the mask stay."""
    make_study(place / "in")
    write_classic(place / "in" / "magnitude", shifted(), number=8, change=flat)
    write_classic(place / "in" / "phase", shifted(), number=7, change=phase)
    seen = []

    def companion(other, *rest):
        seen.append(tuple(other.affine[:3, 3]))
        return zero_in_mask(other, *rest)

    monkeypatch.setattr("RefaceLib.companion.deface_companion", companion)
    assert run("in", "out", "--study", "-q") == 0
    assert len(seen) == 2  # the T2 and the magnitude
    entries = series_of("out")
    assert {number: entry["mode"] for number, entry in entries.items()} == {
        "3": "reface", "2": "deface", "8": "deface", "7": "deface"
    }  # fmt: skip
    masked, magnitude = (planes_of(place / "out" / entries[number]["folder"]) != HEAD.stored.T for number in "78")
    assert magnitude.any() and np.array_equal(masked, magnitude)
    (counted,) = entries["7"]["volumes"]
    assert counted["voxels_changed_outside_mask"] == counted["brain_voxels_changed"] == 0


@pytest.mark.parametrize("change", [phase, elsewhere], ids=["another grid", "another frame of reference"])
def test_phase_images_without_a_magnitude_are_left_out_and_listed(place, change, capsys):
    make_study(place / "in")
    write_classic(place / "in" / "phase", HEAD if change is elsewhere else shifted(), number=7, change=change)
    assert run("in", "out", "--study", "--progress", "none") == 0
    said = "Left out: Series 7 (MR, 32 files) holds phase images, and no magnitude on their grid shows"
    assert said in capsys.readouterr().err
    assert series_of("out").keys() == {"2", "3"} and any(said in each for each in report_of("out")["warnings"])


def test_phase_images_alone_are_refused(place, capsys):
    write_classic(place / "in", HEAD, change=phase)
    assert run("in", "out", "-q") == 2
    assert "holds phase images" in capsys.readouterr().err and names(place) == {"in"}


def test_phase_images_fail_with_their_magnitude(place, monkeypatch, capsys):
    make_study(place / "in")
    write_classic(place / "in" / "magnitude", shifted(), number=8, change=flat)
    write_classic(place / "in" / "phase", shifted(), number=7, change=phase)

    def companion(other, *rest):
        if np.allclose(other.affine, shifted().affine):
            raise InputError("No head was found.")
        return zero_in_mask(other, *rest)

    monkeypatch.setattr("RefaceLib.companion.deface_companion", companion)
    assert run("in", "out", "--study", "--progress", "none") == 2
    said = capsys.readouterr().err
    assert "Not written: Series 8 (MR, 32 files): No head was found." in said
    assert "Not written: Series 7 (MR, 32 files): The volume is masked as its magnitude is" in said
    assert series_of("out").keys() == {"2", "3"}


def test_values_with_a_scale_of_each_slice_go_back_exactly(place):
    def scaled(index, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(1 + index / 2), "-3"

    write_classic(place / "in", HEAD, change=scaled)
    assert run("in", "out", "--seed", "9", "-q") == 0
    planes = [pydicom.dcmread(path).pixel_array for path in sorted((place / "out" / "SE0001").iterdir())]
    same = np.stack(planes) == HEAD.stored.T
    assert 0.5 < same.mean() < 1 and report_of("out")["voxels_changed_outside_mask"] == 0
