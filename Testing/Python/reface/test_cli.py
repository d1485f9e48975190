"""The command line, with a pipeline that takes no time: what it writes, what it refuses, what it leaves behind."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from helpers.commandline import FAILURES, Terminal, names, one_sentence, raising, run_python
from helpers.phantom import make_phantom
from helpers.reface.commands import *  # noqa: F403
from helpers.reface.commands import PROGRAM, companion_result, report_of
from RefaceLib import __version__
from RefaceLib.commandline import cli
from RefaceLib.common import console
from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.pipeline import RefaceOptions
from RefaceLib.volume.io import Volume, read_volume

# ---- what is written ----


def test_an_image_gets_another_face_and_a_report_beside_it(folder, pipeline, capsys):
    before = names(folder)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--seed", "7", "--no-ears", "--mode", "recover"]) == 0
    assert names(folder) - before == {"out.nii.gz", "out_reface.json"}
    assert pipeline.options == RefaceOptions("recover", 7, False, "auto")
    report = report_of("out")
    assert (
        report["seed"] == 7
        and report["draws"] == 1
        and report["output"] == "out.nii.gz"
        and report["report_version"] == 2
    )
    assert report["brain_voxels_changed"] == 0 and report["voxels_changed_outside_mask"] == 0
    assert {"read", "write", "total", "generate"} <= set(report["seconds"])
    original, refaced = read_volume("t1.nii.gz"), read_volume("out.nii.gz")
    assert report["voxels_changed"] == (original.stored != refaced.stored).sum() > 0
    said, told = capsys.readouterr()
    assert said.startswith("Wrote out.nii.gz (report: out_reface.json).\nNew face of seed 7") and said.count("\n") == 2
    assert f" 0 of {report['brain_voxels']:,} brain voxels" in said
    assert told.splitlines() == [
        *(f"reface: {stage}" for stage in ("read", "generate", "write")),
        "reface: warning: The chin is outside the field of view.",
    ]


def test_every_output_that_is_asked_for_is_written(folder):
    before = names(folder)
    arguments = ["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "mask.nii.gz", "--report", "r.json"]
    arguments += ["--picture", "p.png", "--apply-to", "t2.nii.gz", "t2out.nii.gz"]
    assert cli.main(arguments) == 0
    assert names(folder) - before == {
        "out.nii.gz",
        "mask.nii.gz",
        "r.json",
        "p.png",
        "t2out.nii.gz",
        "t2out_reface.json",
    }
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    mask = read_volume("mask.nii.gz").stored
    changed = read_volume("t2.nii.gz").stored != read_volume("t2out.nii.gz").stored
    assert changed.any() and not (changed & (mask == 0)).any()
    applied = report_of("t2out")
    assert applied["mask_from"] == "out.nii.gz" and applied["brain_voxels_changed"] == 0


def test_the_brain_that_was_found_is_written_when_asked_for(folder):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "m.nrrd", "--brain-out", "b.nrrd"]) == 0
    mask, brain = (read_volume(folder / name).stored for name in ("m.nrrd", "b.nrrd"))
    assert brain.any() and mask.any() and not (brain & mask).any()
    assert [entry["name"] for entry in report_of("out")["also_written"]] == ["m.nrrd", "b.nrrd"]


def test_weights_of_ones_own_are_loaded_when_asked_for(folder, pipeline):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--models", "Models"]) == 0
    assert pipeline.models == Path("Models")


def test_the_hash_in_the_report_is_that_of_the_output(folder):
    import hashlib

    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) == 0
    assert report_of("out")["output_sha256"] == hashlib.sha256((folder / "out.nii.gz").read_bytes()).hexdigest()


def test_outputs_are_replaced_when_that_is_allowed(folder):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--seed", "1"]) == 0
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--seed", "2", "--overwrite"]) == 0
    assert report_of("out")["seed"] == 2


def test_the_demo_writes_everything_and_says_where(folder, monkeypatch, capsys):
    monkeypatch.setattr("RefaceLib.common.demo.demo_head", lambda: folder / "t1.nii.gz")
    assert cli.main(["demo", "new", "--seed", "3"]) == 0
    made = {"demo_refaced.nii.gz", "demo_mask.nii.gz", "demo_refaced_reface.json", "demo_refaced.png"}
    assert names(folder / "new") == made
    said = capsys.readouterr().out
    assert all(name in said for name in names(folder / "new")) and said.count("\n") <= 6


# ---- what is refused, before any work ----

SEVERAL = ["t1.nii.gz", "t2.nii.gz", "--out-dir", "new"]
REFUSED = {
    "missing file": (["image", "none.nii.gz", "out.nii.gz"], "none.nii.gz"),
    "not an image": (["image", "notes.txt", "out.nii.gz"], "notes.txt"),
    "a folder": (["image", ".", "out.nii.gz"], "folder"),
    "output exists": (["image", "t1.nii.gz", "t2.nii.gz"], "exists already"),
    "two scans": (["image", "t1.nii.gz", "t2.nii.gz"], "--out-dir"),
    "two scans, overwritten": (["image", "t1.nii.gz", "t2.nii.gz", "--overwrite"], "--out-dir"),
    "a folder as output": (["image", "t1.nii.gz", "folder"], "--out-dir"),
    "a mask that is a scan": (["image", "t1.nii.gz", "o.nii.gz", "--mask-out", "t2.nii.gz", "--overwrite"], "is kept"),
    "a picture of others": (["image", "t1.nii.gz", "o.nii.gz", "--picture", "art.png", "--overwrite"], "is kept"),
    "report exists": (["image", "t1.nii.gz", "taken.nii.gz"], "taken_reface.json"),
    "another's report": (["image", "t1.nii.gz", "taken.nii.gz", "--overwrite"], "no report of reface"),
    "a sidecar is kept": (["image", "t1.nii.gz", "o.nii.gz", "--report", "side.json", "--overwrite"], "no report of"),
    "private is the report": (
        ["image", "t1.nii.gz", "o.nii.gz", "--private-report", "o_reface.json"],
        "two outputs",
    ),
    "one report of many": (["image", *SEVERAL, "--report", "r.json"], "--report"),
    "one mask of many": (["image", *SEVERAL, "--mask-out", "m.nii.gz"], "--mask-out"),
    "companions of many": (["image", *SEVERAL, "--apply-to", "t2.nii.gz", "o.nii.gz"], "--apply-to"),
    "an input twice": (["image", "t1.nii.gz", "t1.nii.gz", "t2.nii.gz"], "t1.nii.gz"),
    "one name in two folders": (["image", "t1.nii.gz", "folder/t1.nii.gz", "--out-dir", "new"], "different folders"),
    "quiet and verbose": (["image", "t1.nii.gz", "-q", "-v"], "not allowed"),
    "output is the input": (["image", "t1.nii.gz", "./t1.nii.gz", "--overwrite"], "input"),
    "mask is the input": (["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "t1.nii.gz", "--overwrite"], "input"),
    "output is the other": (
        ["image", "t1.nii.gz", "t2.nii.gz", "--apply-to", "t2.nii.gz", "o.nii.gz", "--overwrite"],
        "input",
    ),
    "two outputs in one": (["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "out.nii.gz"], "two outputs"),
    "one output for two others": (
        ["image", "t1.nii.gz", "o.nii.gz", *(["--apply-to", "t2.nii.gz", "p.nii.gz"] * 2)],
        "two outputs",
    ),
    "other is missing": (["image", "t1.nii.gz", "o.nii.gz", "--apply-to", "no.nii.gz", "p.nii.gz"], "no.nii.gz"),
    "folder is missing": (["image", "t1.nii.gz", "nowhere/out.nii.gz"], "nowhere"),
    "unknown ending": (["image", "t1.nii.gz", "out.tif"], "out.tif"),
    "another format": (["image", "t1.nii.gz", "out.nrrd"], "out.nrrd"),
    "report is no json": (["image", "t1.nii.gz", "out.nii.gz", "--report", "r.txt"], "r.txt"),
    "picture is no png": (["image", "t1.nii.gz", "out.nii.gz", "--picture", "p.jpg"], "p.jpg"),
    "bad seed": (["image", "t1.nii.gz", "out.nii.gz", "--seed", "many"], "seed"),
    "negative seed": (["image", "t1.nii.gz", "out.nii.gz", "--seed=-1"], "seed"),
    "huge seed": (["image", "t1.nii.gz", "out.nii.gz", "--seed", "4294967296"], "seed"),
    "unknown mode": (["image", "t1.nii.gz", "out.nii.gz", "--mode", "blur"], "blur"),
    "unknown option": (["image", "t1.nii.gz", "out.nii.gz", "--sed", "1"], "--sed"),
    "no input": (["image"], "INPUT"),
    "no image, no output": (["image", "notes.txt"], "none of the endings"),
    "no command": ([], "COMMAND"),
    "unknown command": (["resurface"], "resurface"),
    "demo into a file": (["demo", "notes.txt"], "notes.txt"),
    "demo without parent": (["demo", "a/b"], "does not exist"),
    "benchmark too small": (["benchmark", "--size", "8", "--input", "t1.nii.gz"], "96"),
}


@pytest.mark.parametrize("arguments, words", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_told_in_one_sentence_before_any_work(folder, pipeline, capsys, arguments, words):
    for name in ("taken_reface.json", "side.json", "art.png"):
        (folder / name).write_text('{"RepetitionTime": 2.3}')
    (folder / "folder").mkdir()
    (folder / "folder" / "t1.nii.gz").write_bytes((folder / "t1.nii.gz").read_bytes())
    quiet = ["--progress", "none"] if arguments[:1] in (["image"], ["demo"]) else []
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert cli.main([*arguments, *quiet]) == 2
    captured = capsys.readouterr()
    assert one_sentence(captured.err, PROGRAM) and words in captured.err and captured.out == ""
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert pipeline.options is None


def test_a_folder_that_takes_no_files_is_told(folder, pipeline, monkeypatch, capsys):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    before = names(folder)
    monkeypatch.setattr("RefaceLib.common.files.os.open", refuse)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) == 2
    monkeypatch.undo()
    assert one_sentence(capsys.readouterr().err, PROGRAM) and names(folder) == before


# ---- what goes wrong on the way ----


EVERYTHING = ["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "m.nii.gz", "--picture", "p.png"]
EVERYTHING += ["--apply-to", "t2.nii.gz", "t2out.nii.gz", "--private-report", "private.json", "--progress", "none"]

ON_THE_WAY = {
    "no head": (HeadNotFoundError("The volume holds no head."), 2, "holds no head"),
    **FAILURES,
    "GPU memory": (RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB"), 1, "not enough memory"),
    "a package": (ModuleNotFoundError("No module named 'vtk'", name="vtk"), 1, "vtk"),
}


@pytest.mark.parametrize(
    "place", ["RefaceLib.companion.deface_companion", "RefaceLib.commandline.picture.write_picture", "step"]
)
@pytest.mark.parametrize("error, code, words", ON_THE_WAY.values(), ids=ON_THE_WAY)
def test_an_error_on_the_way_leaves_no_file(folder, pipeline, monkeypatch, capsys, place, error, code, words):
    if place == "step":
        pipeline.step = raising(error)
    else:
        monkeypatch.setattr(place, raising(error))
    before = names(folder)
    assert cli.main(EVERYTHING) == code
    captured = capsys.readouterr()
    assert one_sentence(captured.err, PROGRAM) and words in captured.err
    assert names(folder) == before


def test_an_overwritten_output_survives_an_error(folder, pipeline, monkeypatch):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) == 0
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    monkeypatch.setattr("RefaceLib.common.files.write_json", raising(OSError(28, "No space left on device")))
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--seed", "9", "--overwrite"]) == 2
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_a_full_disk_is_told(folder, monkeypatch, capsys):
    before = names(folder)
    monkeypatch.setattr("RefaceLib.commandline.picture.write_picture", raising(OSError(28, "No space left on device")))
    assert cli.main(EVERYTHING) == 2
    assert "full" in capsys.readouterr().err
    assert names(folder) == before


@pytest.mark.parametrize("count", ["voxels_changed_outside_mask", "brain_voxels_changed"])
def test_a_promise_that_does_not_hold_is_no_success(folder, pipeline, capsys, count):
    pipeline.counts = {count: 3}
    before = names(folder)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "-q"]) != 0
    assert one_sentence(capsys.readouterr().err, PROGRAM)
    assert names(folder) == before


def test_another_volume_whose_brain_would_change_is_not_written(folder, monkeypatch, capsys):
    def blank(other, volume, result, models):
        return companion_result(other, np.zeros_like(other.stored), result)

    monkeypatch.setattr("RefaceLib.companion.deface_companion", blank)
    before = names(folder)
    assert cli.main(EVERYTHING) == 2
    assert "t2out.nii.gz" in capsys.readouterr().err
    assert names(folder) == before


def test_a_demo_that_fails_leaves_no_folder(folder, monkeypatch, pipeline):
    monkeypatch.setattr("RefaceLib.common.demo.demo_head", lambda: folder / "t1.nii.gz")
    pipeline.step = raising(KeyboardInterrupt())
    before = names(folder)
    assert cli.main(["demo", "new"]) == 130
    assert names(folder) == before


def test_a_traceback_is_shown_only_when_asked_for(folder, pipeline, monkeypatch, capsys):
    monkeypatch.setenv("REFACE_DEBUG", "1")
    pipeline.step = raising(ValueError("odd"))
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_a_parent_that_ends_the_process_leaves_no_file_either(folder, pipeline):
    former = signal.getsignal(signal.SIGTERM)
    before = names(folder)
    pipeline.step = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) == 130
    assert names(folder) == before
    assert signal.getsignal(signal.SIGTERM) == former


# ---- progress ----


def test_progress_for_programs_is_json_lines(folder, capsys):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--progress", "json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fractions = [record["progress"] for record in records[:-1]]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    assert {"read", "generate", "write"} <= {record["stage"] for record in records[:-1]}
    assert records[-1]["done"] is True and records[-1]["report"] == "out_reface.json"


def test_errors_for_programs_are_json_too(folder, pipeline, capsys):
    pipeline.step = raising(HeadNotFoundError("The volume holds no head."))
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--progress", "json"]) == 2
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == {"error": "The volume holds no head.", "exit_code": 2}


def test_a_reader_who_has_enough_sees_no_error(folder, pipeline, monkeypatch, capsys):
    monkeypatch.setattr(cli.DemoCommand, "run", raising(BrokenPipeError(32, "Broken pipe")))
    assert cli.main(["demo", "out"]) == 141
    assert capsys.readouterr() == ("", "")


def test_the_bar_is_one_line_that_goes_away():
    stream = Terminal()
    bar = console.Bar(stream)
    bar(0.0, "read")
    bar(0.5, "generate")
    bar.close()
    text = stream.getvalue()
    assert "50 %" in text and "generate" in text and "\n" not in text
    assert text.split("\r")[-2].strip() == "" and text.endswith("\r")


def test_a_bar_is_shown_on_a_terminal_alone(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert isinstance(console.reporter("auto"), console.Bar)
    assert isinstance(console.reporter("none"), console.Quiet)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(console.reporter("auto"), console.Quiet)
    assert isinstance(console.reporter("auto", "reface"), console.StageLines)


# ---- the rest ----


def test_the_benchmark_tells_every_stage_and_the_limits(folder, capsys):
    assert cli.main(["benchmark", "--size", "96", "--input", "t1.nii.gz"]) == 0
    said = capsys.readouterr().out
    for word in ("conform", "parse", "mask", "generate", "blend", "check", "array to array", "limit of 9 s", "MB"):
        assert word in said


def test_the_benchmark_head_has_the_size_and_the_place_it_should():
    from RefaceLib.commandline.benchmark import benchmark_volume

    source = make_phantom((20, 30, 25), (8.0, 6.0, 7.0), "LPS", np.float32)
    volume = benchmark_volume(Volume(source.stored, source.affine), 120)
    assert volume.stored.shape == (120, 120, 120) and volume.stored.dtype == np.int16
    assert np.allclose(np.diag(volume.affine), 1)
    centre = source.affine @ [9.5, 14.5, 12, 1]
    assert np.allclose(volume.affine @ [59.5, 59.5, 59.5, 1], centre)
    assert volume.stored.max() > 1000


def test_training_gets_its_own_options(monkeypatch):
    seen = []
    train = ModuleType("RefaceLib.training.train")
    train.main = seen.append
    import RefaceLib.training

    monkeypatch.setitem(sys.modules, "RefaceLib.training.train", train)
    monkeypatch.setattr(RefaceLib.training, "train", train, raising=False)
    assert cli.main(["train", "--minutes", "5", "--help"]) == 0
    assert seen == [["--minutes", "5", "--help"]]


def test_help_and_version_are_no_errors(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"reface {__version__}"
    assert cli.main(["image", "--help"]) == 0
    assert "--apply-to" in capsys.readouterr().out


def test_the_command_line_starts_without_the_large_packages():
    code = (
        "import sys, RefaceLib.commandline.cli; RefaceLib.commandline.cli.build_parser();"
        "large = {'torch', 'vtk', 'vtkmodules', 'matplotlib', 'nibabel', 'scipy', 'numpy'} & set(sys.modules);"
        "assert not large, large"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_a_head_is_refaced_without_packages_that_it_does_not_need():
    """Companions, pictures, DICOM and training import packages of their own."""
    code = (
        "import sys; from RefaceLib import pipeline; from RefaceLib.commandline import writing;"
        "from RefaceLib.face import painter, weights;"
        "others = 'SimpleITK vtkmodules matplotlib onnxruntime sklearn nrrd ancpbids distributed torch._dynamo'"
        " ' torch._inductor scipy.stats scipy.optimize scipy.spatial scipy.interpolate RefaceLib.dicom RefaceLib.bids'"
        " ' RefaceLib.training RefaceLib.window';"
        "assert not set(others.split()) & set(sys.modules), set(others.split()) & set(sys.modules)"
    )
    done = run_python("-c", code)
    assert done.returncode == 0, done.stderr


def test_it_runs_as_a_module_too(tmp_path):
    done = run_python("-m", "RefaceLib", "image", str(tmp_path / "no.nii"), str(tmp_path / "out.nii"))
    assert done.returncode == 2 and one_sentence(done.stderr, PROGRAM)
