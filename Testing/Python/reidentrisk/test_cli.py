"""`reident-risk`, with networks and pictures that take no time: what it refuses, leaves behind and tells."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import signal
import sys

import pytest

from helpers.commandline import FAILURES, Terminal, contents, names, one_sentence, raising, run_python
from helpers.reidentrisk.commands import DRAWN, PROGRAM, RUNS
from ReidentRiskLib.attack import models
from ReidentRiskLib.commandline import cli

# ---- names of any bytes ----


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names of any bytes")
@pytest.mark.parametrize("locale", ["cp1252", "utf-8:strict"])
def test_any_name_is_compared_and_reported_in_any_locale(reident_folder, locale):
    latin, chinese = (os.fsdecode(name) for name in (b"M\xfcller.nii.gz", "\u5934.nii.gz".encode()))
    os.rename("one.nii.gz", latin)
    os.rename("two.nii.gz", chinese)
    arguments = ["-m", "helpers.reidentrisk.child", "compare", latin, chinese, "--out", "out"]
    done = run_python(*arguments, environment={"PYTHONIOENCODING": locale})
    assert done.returncode == 0, done.stderr
    report = json.loads((reident_folder / "out" / "compare.json").read_text(encoding="utf-8"))
    assert (report["reference"]["name"], report["probes"][0]["name"]) == ("reference", chinese)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names of any bytes")
@pytest.mark.parametrize("command", ["compare", "identify"])
@pytest.mark.parametrize(
    "locale",
    [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "cp1252"}],
    ids=["C", "C and nothing more", "cp1252"],
)
def test_results_are_written_and_told_in_any_locale(reident_folder, command, locale):
    names = (b"M\xfcller.nii.gz", "\u5934.nii.gz".encode())
    for old, new in zip(("one.nii.gz", "two.nii.gz"), names, strict=True):
        os.rename(os.fsencode(old), new)
    os.rename(b"known/s3_T1w.nii.gz", "known/\u5934_T1w.nii.gz".encode())
    os.rename(b"unknown/s3_T1w.nii.gz", "unknown/\u5934_T1w.nii.gz".encode())
    arguments = {
        "compare": ["compare", *map(os.fsdecode, names), "--calibration", "cal.json"],
        "identify": ["identify", "--gallery", "known", "--probes", "unknown", "--save-gallery", "g.npz"],
    }[command]
    arguments += ["--out", "out", "--private-report", "private.json"]
    done = run_python("-m", "helpers.reidentrisk.child", *arguments, environment=locale)
    assert done.returncode == 0, done.stderr
    assert f"{command}.json" in done.stdout and (reident_folder / "out" / f"{command}.json").is_file()
    private = json.loads((reident_folder / "private.json").read_text(encoding="utf-8"))
    assert len(private["inputs"]) == {"compare": 2, "identify": 20}[command]


# ---- what is refused, before any work ----

REFUSED = {
    "missing reference": (["compare", "none.nii.gz", "two.nii.gz", "--out", "out"], "none.nii.gz"),
    "missing probe": (["compare", "one.nii.gz", "none.nii.gz", "--out", "out"], "none.nii.gz"),
    "a probe twice": (["compare", "one.nii.gz", "two.nii.gz", "two.nii.gz", "--out", "out"], "twice"),
    "no probe": (["compare", "one.nii.gz", "--out", "out"], "PROBE"),
    "no out": (["compare", "one.nii.gz", "two.nii.gz"], "--out"),
    "out is a file": (["compare", "one.nii.gz", "two.nii.gz", "--out", "notes.txt"], "notes.txt"),
    "out without parent": (["compare", "one.nii.gz", "two.nii.gz", "--out", "a/b"], "does not exist"),
    "unknown views": (["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--views", "many"], "many"),
    "json is no json": (["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "r.txt"], "r.txt"),
    "json is a sidecar": (
        ["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "side.json", "--overwrite"],
        "no report of reident-risk",
    ),
    "json is an input": (
        ["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "one.nii.gz", "--overwrite"],
        "input",
    ),
    "json is a table": (["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--json", "out/compare.csv"], "two"),
    "calibration is none": (
        ["compare", "one.nii.gz", "two.nii.gz", "--out", "out", "--calibration", "side.json"],
        "side.json",
    ),
    "empty gallery": (["identify", "--gallery", "empty", "--probes", "known", "--out", "out"], "no volume"),
    "missing gallery": (["identify", "--gallery", "none.npz", "--probes", "known", "--out", "out"], "none.npz"),
    "no subject column": (["identify", "--gallery", "notes.txt", "--probes", "known", "--out", "out"], "subject"),
    "a path that is not there": (["identify", "--gallery", "bad.tsv", "--probes", "known", "--out", "out"], "line 3"),
    "an empty cell": (["identify", "--gallery", "gap.tsv", "--probes", "known", "--out", "out"], "line 2"),
    "a saved gallery again": (
        ["identify", "--gallery", "g.npz", "--probes", "known", "--out", "out", "--save-gallery", "h.npz"],
        "--save-gallery",
    ),
    "unknown model to fetch": (["models", "--fetch", "facenet"], "facenet"),
    "no heads": (["calibrate", "empty", "out"], "no volume"),
    "too few heads": (["calibrate", "known", "out"], "15"),
    "no processes": (["calibrate", "known", "out", "--jobs", "0"], "--jobs"),
    "unknown command": (["recognise"], "recognise"),
    "no command": ([], "COMMAND"),
}


@pytest.mark.parametrize("arguments, words", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_told_in_one_sentence_before_any_work(
    reident_folder, reident_fakes, capsys, arguments, words
):
    (reident_folder / "side.json").write_text('{"RepetitionTime": 2.3}')
    (reident_folder / "empty").mkdir()
    (reident_folder / "bad.tsv").write_text("subject\tpath\ns1\tone.nii.gz\ns2\tnone.nii.gz\n")
    (reident_folder / "gap.tsv").write_text("subject\tpath\ns1\t\n")
    (reident_folder / "g.npz").write_bytes(b"")
    before = contents(reident_folder)
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert one_sentence(captured.err, PROGRAM) and words in captured.err and captured.out == ""
    assert contents(reident_folder) == before
    assert not (reident_folder / "out").exists()
    assert reident_fakes.embedded == []


def test_a_volume_without_a_head_is_told_by_its_name(reident_folder, capsys):
    for arguments in (["one.nii.gz", "nobody.nii.gz"], ["nobody.nii.gz", "one.nii.gz"]):
        assert cli.main(["compare", *arguments, "--out", "out"]) == 2
        said = capsys.readouterr().err
        assert one_sentence(said, PROGRAM) and "nobody.nii.gz: No head was found" in said
        assert not (reident_folder / "out").exists()


# ---- what goes wrong on the way ----


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("place", ["the work", "the last file"])
@pytest.mark.parametrize("error, code, words", FAILURES.values(), ids=FAILURES)
def test_an_error_on_the_way_leaves_no_file(
    reident_folder, reident_fakes, monkeypatch, capsys, run, place, error, code, words
):
    if place == "the work":
        reident_fakes.step = raising(error)
    else:
        monkeypatch.setattr(f"ReidentRiskLib.commandline.{run[0]}.write_json", raising(error))
    before = names(reident_folder)
    assert cli.main(run) == code
    captured = capsys.readouterr()
    assert one_sentence(captured.err, PROGRAM) and words in captured.err
    assert names(reident_folder) == before


def test_former_results_survive_a_full_disk(reident_folder, monkeypatch, capsys):
    assert cli.main(RUNS["compare"]) == 0
    before = contents(reident_folder / "out")
    full = raising(OSError(28, "No space left on device"))
    monkeypatch.setattr("ReidentRiskLib.commandline.compare.write_json", full)
    assert cli.main([*RUNS["compare"], "--overwrite"]) == 2
    assert "full" in capsys.readouterr().err
    assert contents(reident_folder / "out") == before


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without asking it")
def test_a_parent_that_ends_the_process_leaves_no_file_either(reident_folder, reident_fakes):
    former = signal.getsignal(signal.SIGTERM)
    before = names(reident_folder)
    reident_fakes.step = lambda: os.kill(os.getpid(), signal.SIGTERM)
    assert cli.main(RUNS["compare"]) == 130
    assert names(reident_folder) == before
    assert signal.getsignal(signal.SIGTERM) == former


def test_a_traceback_is_shown_only_when_asked_for(reident_folder, reident_fakes, monkeypatch, capsys):
    monkeypatch.setenv("REFACE_DEBUG", "1")
    reident_fakes.step = raising(ValueError("odd"))
    assert cli.main(RUNS["compare"]) == 1
    assert "Traceback" in capsys.readouterr().err


# ---- pictures, progress, help ----


def test_pictures_are_drawn(reident_folder, monkeypatch):
    for (module, name), draw in DRAWN.items():
        monkeypatch.setattr(module, name, draw)
    assert cli.main(["compare", "one.nii.gz", "two.nii.gz", "--out", "a", "--calibration", "cal.json"]) == 0
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "b"]) == 0
    pictures = [path for name in ("a", "b") for path in (reident_folder / name).glob("*.png")]
    assert len(pictures) == 7
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in pictures)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_progress_for_programs_is_json_lines(reident_folder, capsys, run):
    assert cli.main([*run, "--progress", "json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fractions = [record["progress"] for record in records[:-1]]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    assert records[-1]["done"] is True and records[-1]["report"].endswith(".json")


def test_errors_for_programs_are_json_too(reident_folder, capsys):
    assert cli.main(["compare", "one.nii.gz", "nobody.nii.gz", "--out", "out", "--progress", "json"]) == 2
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["exit_code"] == 2 and "nobody.nii.gz" in last["error"]


def test_a_bar_is_drawn_on_a_terminal_only(reident_folder, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "a", "--calibration", "cal.json"]) == 0
    assert "#" in terminal.getvalue() and terminal.getvalue().endswith("\r")
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    assert cli.main(["compare", "one.nii.gz", "again.nii.gz", "--out", "b", "--calibration", "cal.json"]) == 0
    assert quiet.getvalue() == ""


@pytest.mark.parametrize("command", ["", "compare", "identify", "models", "calibrate"])
def test_help_says_what_is_written(capsys, command):
    assert cli.main([*command.split(), "--help"]) == 0
    said = capsys.readouterr().out
    for word in {
        "": ("aligns faces", "detected faces", "1 of 100"),
        "compare": ("compare.json", "compare_faces.png", "--own-landmarks"),
        "identify": ("identify.csv", "subject", "original", "--save-gallery"),
        "models": ("--fetch", "--remove", "--accept-licence"),
        "calibrate": ("calibration.json", "biometric", "--jobs"),
    }[command]:
        assert word in said


def test_models_are_listed_with_their_licences(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("REIDENT_RISK_CACHE", str(tmp_path))
    assert cli.main(["models"]) == 0
    said = capsys.readouterr().out
    for word in ("arcface", "sface", "yunet", "non-commercial", "Apache-2.0", "not on this computer"):
        assert word in said
    assert cli.main(["models", "--remove", "sface"]) == 0
    assert "not on this computer" in capsys.readouterr().out


# ---- consent ----


@pytest.fixture
def no_consent(monkeypatch, tmp_path):
    """A folder for networks in which the file of ArcFace lies, to whose licence nobody has agreed."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "arcface.onnx").write_bytes(b"a network")
    digest = hashlib.sha256(b"a network").hexdigest()
    monkeypatch.setitem(models.MODELS, "arcface", dataclasses.replace(models.MODELS["arcface"], sha256=digest))
    monkeypatch.setenv("REIDENT_RISK_CACHE", str(cache))
    monkeypatch.delenv("REIDENT_RISK_ACCEPT_LICENCE", raising=False)
    return cache


def typed(monkeypatch, answer):
    """A person at a terminal, who types `answer`."""
    for name, stream in (("stdin", Terminal(answer)), ("stderr", Terminal())):
        monkeypatch.setattr(sys, name, stream)
    return sys.stderr


def test_a_licence_is_accepted_before_a_model_is_fetched(capsys, no_consent):
    assert cli.main(["models", "--fetch", "arcface"]) == 2
    said = capsys.readouterr().err
    assert one_sentence(said, PROGRAM) and "--accept-licence" in said
    assert cli.main(["models", "--fetch", "arcface", "--accept-licence"]) == 0
    assert "non-commercial research only" in capsys.readouterr().err  # the words that were accepted
    assert cli.main(["models", "--fetch", "arcface"]) == 0
    assert capsys.readouterr().err == ""


def test_consent_may_be_typed(no_consent, monkeypatch):
    asked = typed(monkeypatch, "accept\n")
    assert cli.main(["models", "--fetch", "arcface"]) == 0
    assert "non-commercial research only" in asked.getvalue() and "Type" in asked.getvalue()
    assert models.is_accepted("arcface")


@pytest.mark.parametrize("answer", ["", "\n", "no\n", "y\n"])
def test_any_other_answer_is_no_consent(no_consent, monkeypatch, answer):
    typed(monkeypatch, answer)
    assert cli.main(["models", "--fetch", "arcface"]) == 2
    assert not models.is_accepted("arcface")


@pytest.mark.parametrize(
    "command", [["compare", "one.nii.gz", "two.nii.gz", "--out", "out"], ["calibrate", "h", "out"]]
)
def test_every_command_that_uses_a_network_asks(reident_folder, no_consent, monkeypatch, command):
    asked = typed(monkeypatch, "no\n")
    cli.main([*command, "--model", "arcface"])
    assert "non-commercial" in asked.getvalue()


def test_a_program_is_not_asked(no_consent, monkeypatch, capsys):
    asked = typed(monkeypatch, "accept\n")
    assert cli.main(["models", "--fetch", "arcface", "--progress", "json"]) == 2
    assert "Type" not in asked.getvalue()


def test_help_needs_no_network_library():
    code = (
        "import sys; from ReidentRiskLib.commandline import cli; cli.main(['compare', '--help']);"
        "others = 'torch scipy onnxruntime sklearn matplotlib vtkmodules nibabel SimpleITK'.split();"
        "print(sorted(set(others) & set(sys.modules)))"
    )
    run = run_python("-c", code)
    assert run.stdout.splitlines()[-1] == "[]", run.stderr
