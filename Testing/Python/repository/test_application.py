"""The windows in a 3D Slicer, named by the variable REFACE_SLICER (its executable): a tour, and random presses."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from helpers.checkout import REPOSITORY

SCRIPTS = REPOSITORY / "Testing" / "Application"
SEQUENCES = 50
MINUTES = 90  # on a computer that has much else to do
HEADS = 9  # for the exercise of ReidentRisk, eight of them beside the one that is toured


@pytest.fixture(scope="module")
def heads(shared_data: Path) -> list[Path]:
    """Heads of 2 mm, which are quickly done."""
    return sorted((shared_data / "ixi-t1-2mm").glob("*_T1w.nii.gz"))[:HEADS]


def run(application: Path, script: str, *arguments: object, cwd: Path) -> int:
    """The exit code of a script in the application, which writes its own settings and no others (--testing)."""
    modules = [str(REPOSITORY / name) for name in ("Reface", "ReidentRisk")]
    options = ["--testing", "--no-splash", "--ignore-slicerrc", "--additional-module-paths", *modules]
    script_options = ["--python-script", str(SCRIPTS / script), *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [application, *options, *script_options], cwd=cwd, env=environment, timeout=60 * MINUTES, check=False
    ).returncode


def test_every_state_that_a_user_sees_is_as_it_should_be(slicer_application, heads, tmp_path):
    gallery = tmp_path / "gallery"
    gallery.mkdir()
    for head in heads[1:]:
        (gallery / head.name).symlink_to(head)
    code = run(slicer_application, "tour.py", heads[0], tmp_path / "tour", "--gallery", gallery, cwd=tmp_path)
    told = tmp_path / "tour" / "tour.txt"
    assert code == 0, told.read_text() if told.is_file() else "the tour did not begin"


def test_random_presses_raise_nothing_and_leave_nothing_behind(slicer_application, heads, tmp_path):
    code = run(slicer_application, "presses.py", heads[0], tmp_path / "presses", "--sequences", SEQUENCES, cwd=tmp_path)
    told = tmp_path / "presses" / "presses.txt"
    assert code == 0, told.read_text() if told.is_file() else "the presses did not begin"
