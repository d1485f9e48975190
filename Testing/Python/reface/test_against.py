"""`reface benchmark --against niimath`: what whole runs of both programs cost."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from RefaceLib.commandline import against, cli
from RefaceLib.commandline.against import Cost
from RefaceLib.common.errors import InputError

unix = pytest.mark.skipif(not hasattr(os, "wait4"), reason="Windows tells no costs of one process")


def _niimath(folder):
    """A program of that name, and its templates: the options that name them."""
    program = folder / "niimath"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    options = ["--against", str(program)]
    for name in ("template", "shell", "weight"):
        (folder / f"{name}.nii.gz").write_bytes(b"")
        options += [f"--{name}", str(folder / f"{name}.nii.gz")]
    return options


@unix
def test_both_programs_run_in_turn_with_the_same_head(tmp_path, monkeypatch, capsys):
    head, runs = tmp_path / "head.nii.gz", []
    head.write_bytes(b"")

    def measured(name, command, out):
        runs.append((name, command))
        return Cost(2.0, 3.0, 500.0) if name == "reface" else Cost(4.0, 5.0, 250.0)

    monkeypatch.setattr(against, "measured", measured)
    assert cli.main(["benchmark", "--input", str(head), "--device", "cpu", *_niimath(tmp_path)]) == 0
    assert [name for name, _ in runs] == ["reface", "niimath"] * against.PAIRS
    ours, theirs = runs[0][1], runs[1][1]
    assert ours[1:5] == ["-m", "RefaceLib", "image", str(head)] and theirs[1:3] == [str(head), "-reface"]
    assert theirs[3:6] == [str(tmp_path / f"{name}.nii.gz") for name in ("template", "shell", "weight")]
    said = capsys.readouterr().out.splitlines()
    assert said[2].split() == ["reface", "2.00", "s", "3.00", "s", "500", "MB"]
    assert said[4].split() == ["ratio", "0.50", "0.60", "2.00"]


def test_a_ratio_is_the_median_of_those_of_the_pairs():
    ours, theirs = ([Cost(a, a, a) for a in seconds] for seconds in ((1.0, 4.0, 9.0), (2.0, 4.0, 3.0)))
    lines = against.summary("head.nii", ours, theirs)
    assert lines[2].split()[1] == "4.00" and lines[3].split()[2] == "3.00" and lines[4].split()[1] == "1.00"


@unix
def test_the_cost_of_a_process_is_its_own(tmp_path):
    out = tmp_path / "out"
    code = f"a = b'x' * 200 * 2**20; n = 0\nwhile n < 3_000_000: n += 1\nopen({str(out)!r}, 'w').close()"
    # A child counts the memory of the process that started it: let that be a small one, as in the command.
    command = [sys.executable, "-c", code]
    measure = "from pathlib import Path; from RefaceLib.commandline import against; cost = against.measured('it', "
    measure += f"{command!r}, Path({str(out)!r})); print(cost.processor, cost.wall, cost.memory)"
    cost = Cost(*map(float, subprocess.check_output([sys.executable, "-c", measure], text=True).split()))
    assert 0.05 < cost.processor < 30 and cost.wall > 0.05 and 200 < cost.memory < 400
    with pytest.raises(InputError, match=r"python wrote no face, .* \(ValueError: no head\)"):
        against.measured("python", [sys.executable, "-c", "raise ValueError('no head')"], out)
    with pytest.raises(InputError, match="it told nothing"):
        against.measured("python", [sys.executable, "-c", ""], tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--against", "no-such-niimath"], "There is no program no-such-niimath"),
        (["--template", "t.nii.gz"], "give --against niimath"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(options, word, capsys):
    assert cli.main(["benchmark", *options]) == 2
    said = capsys.readouterr()
    assert word in said.err and said.err.count("\n") == 1 and not said.out


@unix
def test_templates_that_are_missing_are_named(tmp_path, capsys):
    options = _niimath(tmp_path)
    assert cli.main(["benchmark", *options[:4]]) == 2
    assert "needs --shell and --weight" in capsys.readouterr().err
    (tmp_path / "shell.nii.gz").unlink()
    assert cli.main(["benchmark", *options]) == 2
    assert "shell.nii.gz" in capsys.readouterr().err
