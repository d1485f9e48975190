"""The command line, with a pipeline that takes no time: what it writes, what it refuses, what it leaves behind."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import RefaceLib
from helpers.commandline import FAILURES, Terminal, names, one_sentence, raising, run_python
from helpers.phantom import LANDMARKS, brain_mask, make_phantom
from RefaceLib import __version__
from RefaceLib.commandline import cli
from RefaceLib.common import console
from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.pipeline import RefaceOptions
from RefaceLib.volume.io import Volume, read_volume, write_volume

PROGRAM = "reface"

SHAPE, SPACING = (24, 30, 32), (8.0, 8.0, 8.0)


class FakePipeline(ModuleType):
    """As RefaceLib.pipeline, but the face becomes the seed; `step` is called in the middle of the work."""

    RefaceOptions = RefaceOptions

    def __init__(self):
        super().__init__("RefaceLib.pipeline")
        self.options: RefaceOptions | None = None
        self.models: Path | None = None
        self.step = lambda: None
        self.counts: dict[str, float] = {}

    def load_models(self, device="auto", folder=None):
        self.models = folder
        return None

    def reface_volume(self, volume, options=None, *, models=None, progress=None, cancelled=None):
        self.options = options
        brain = brain_mask(volume.stored.shape, volume.affine)
        grid = np.indices(volume.stored.shape).reshape(3, -1).T @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        mask = ((grid[:, 1] > 60) & (grid[:, 2] < -20)).reshape(brain.shape) & ~brain
        if progress:
            progress(0.5, "generate")
        self.step()
        stored = volume.stored.copy()
        stored[mask] = options.seed % 100
        counts = {"voxels_changed": int((stored != volume.stored).sum()), "voxels_changed_outside_mask": 0}
        counts |= {"brain_voxels_changed": 0, "mask_ml": 100.0, **self.counts}
        return SimpleNamespace(
            stored=stored,
            mask=mask,
            brain=brain,
            landmarks=LANDMARKS,
            warnings=("The chin is outside the field of view.",),
            seconds=dict.fromkeys(("conform", "parse", "mask", "generate", "blend", "check"), 0.1),
            model={"name": "fake", "version": "1", "sha256": "0" * 64},
            device="cpu",
            mode=options.mode,
            seed=options.seed,
            ears=options.ears,
            counts=counts,
        )


def zero_in_mask(mask, affine, other):
    """As RefaceLib.face.deface.apply_mask, for a volume on the grid of the mask."""
    stored = other.stored.copy()
    stored[mask] = 0
    return stored


@pytest.fixture(autouse=True)
def pipeline(monkeypatch):
    fake = FakePipeline()
    monkeypatch.setitem(sys.modules, "RefaceLib.pipeline", fake)
    monkeypatch.setattr(RefaceLib, "pipeline", fake, raising=False)
    monkeypatch.setattr("RefaceLib.face.weights.load_models", fake.load_models)
    monkeypatch.setattr("RefaceLib.face.deface.apply_mask", zero_in_mask)
    monkeypatch.delenv("REFACE_DEBUG", raising=False)
    return fake


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with two coregistered heads, which is the current one."""
    write_volume(tmp_path / "t1.nii.gz", make_phantom(SHAPE, SPACING), make_phantom(SHAPE, SPACING).stored)
    write_volume(tmp_path / "t2.nii.gz", make_phantom(SHAPE, SPACING), make_phantom(SHAPE, SPACING, seed=2).stored)
    (tmp_path / "notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- what is written ----


def test_an_image_gets_another_face_and_a_report_beside_it(folder, pipeline, capsys):
    before = names(folder)
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--seed", "7", "--no-ears", "--mode", "recover"]) == 0
    assert names(folder) - before == {"out.nii.gz", "out.json"}
    assert pipeline.options == RefaceOptions("recover", 7, False, "auto")
    report = json.loads((folder / "out.json").read_text())
    assert report["seed"] == 7 and report["input"] == "t1.nii.gz" and report["output"] == "out.nii.gz"
    assert report["brain_voxels_changed"] == 0 and report["voxels_changed_outside_mask"] == 0
    assert {"read", "write", "total", "generate"} <= set(report["seconds"])
    original, refaced = read_volume("t1.nii.gz"), read_volume("out.nii.gz")
    assert report["voxels_changed"] == (original.stored != refaced.stored).sum() > 0
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == "reface: warning: The chin is outside the field of view.\n"


def test_every_output_that_is_asked_for_is_written(folder):
    before = names(folder)
    arguments = ["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "mask.nii.gz", "--report", "r.json"]
    arguments += ["--picture", "p.png", "--apply-to", "t2.nii.gz", "t2out.nii.gz"]
    assert cli.main(arguments) == 0
    assert names(folder) - before == {"out.nii.gz", "mask.nii.gz", "r.json", "p.png", "t2out.nii.gz", "t2out.json"}
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    mask = read_volume("mask.nii.gz").stored
    changed = read_volume("t2.nii.gz").stored != read_volume("t2out.nii.gz").stored
    assert changed.any() and not (changed & (mask == 0)).any()
    applied = json.loads((folder / "t2out.json").read_text())
    assert applied["mask_from"] == "t1.nii.gz" and applied["brain_voxels_changed"] == 0


def test_the_brain_that_was_found_is_written_when_asked_for(folder):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--mask-out", "m.nrrd", "--brain-out", "b.nrrd"]) == 0
    mask, brain = (read_volume(folder / name).stored for name in ("m.nrrd", "b.nrrd"))
    assert brain.any() and mask.any() and not (brain & mask).any()
    assert json.loads((folder / "out.json").read_text())["also_written"] == ["m.nrrd", "b.nrrd"]


def test_weights_of_ones_own_are_loaded_when_asked_for(folder, pipeline):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--models", "Models"]) == 0
    assert pipeline.models == Path("Models")


def test_the_hash_in_the_report_is_that_of_the_output(folder):
    import hashlib

    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) == 0
    report = json.loads((folder / "out.json").read_text())
    assert report["output_sha256"] == hashlib.sha256((folder / "out.nii.gz").read_bytes()).hexdigest()


def test_outputs_are_replaced_when_that_is_allowed(folder):
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--seed", "1"]) == 0
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz", "--seed", "2", "--overwrite"]) == 0
    assert json.loads((folder / "out.json").read_text())["seed"] == 2


def test_the_demo_writes_everything_and_says_where(folder, monkeypatch, capsys):
    monkeypatch.setattr("RefaceLib.common.demo.demo_head", lambda: folder / "t1.nii.gz")
    assert cli.main(["demo", "new", "--seed", "3"]) == 0
    assert names(folder / "new") == {"demo_refaced.nii.gz", "demo_mask.nii.gz", "demo_refaced.json", "demo_refaced.png"}
    said = capsys.readouterr().out
    assert all(name in said for name in names(folder / "new")) and said.count("\n") <= 6


# ---- what is refused, before any work ----

REFUSED = {
    "missing file": (["image", "none.nii.gz", "out.nii.gz"], "none.nii.gz"),
    "not an image": (["image", "notes.txt", "out.nii.gz"], "notes.txt"),
    "a folder": (["image", ".", "out.nii.gz"], "folder"),
    "output exists": (["image", "t1.nii.gz", "t2.nii.gz"], "exists already"),
    "report exists": (["image", "t1.nii.gz", "taken.nii.gz"], "taken.json"),
    "a sidecar is kept": (["image", "t1.nii.gz", "taken.nii.gz", "--overwrite"], "no report of reface"),
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
    "no output": (["image", "t1.nii.gz"], "OUTPUT"),
    "no command": ([], "COMMAND"),
    "unknown command": (["resurface"], "resurface"),
    "demo into a file": (["demo", "notes.txt"], "notes.txt"),
    "demo without parent": (["demo", "a/b"], "does not exist"),
    "benchmark too small": (["benchmark", "--size", "8", "--input", "t1.nii.gz"], "96"),
}


@pytest.mark.parametrize("arguments, words", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_told_in_one_sentence_before_any_work(folder, pipeline, capsys, arguments, words):
    (folder / "taken.json").write_text('{"RepetitionTime": 2.3}')
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert cli.main(arguments) == 2
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
EVERYTHING += ["--apply-to", "t2.nii.gz", "t2out.nii.gz"]

ON_THE_WAY = {
    "no head": (HeadNotFoundError("The volume holds no head."), 2, "holds no head"),
    **FAILURES,
    "GPU memory": (RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB"), 1, "not enough memory"),
    "a package": (ModuleNotFoundError("No module named 'vtk'", name="vtk"), 1, "vtk"),
}


@pytest.mark.parametrize(
    "place", ["RefaceLib.face.deface.apply_mask", "RefaceLib.commandline.picture.write_picture", "step"]
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
    assert cli.main(["image", "t1.nii.gz", "out.nii.gz"]) != 0
    assert one_sentence(capsys.readouterr().err, PROGRAM)
    assert names(folder) == before


def test_another_volume_whose_brain_would_change_is_not_written(folder, monkeypatch, capsys):
    blank = lambda mask, affine, other: np.zeros_like(other.stored)  # noqa: E731
    monkeypatch.setattr("RefaceLib.face.deface.apply_mask", blank)
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
    assert records[-1]["done"] is True and records[-1]["report"] == "out.json"


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


def test_it_runs_as_a_module_too(tmp_path):
    done = run_python("-m", "RefaceLib", "image", str(tmp_path / "no.nii"), str(tmp_path / "out.nii"))
    assert done.returncode == 2 and one_sentence(done.stderr, PROGRAM)
