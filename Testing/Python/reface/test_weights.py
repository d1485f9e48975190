"""The shipped weights: registry and hashes, and that what is saved comes back."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date

import numpy as np
import pytest
import torch

from helpers.imagefiles import assert_one_sentence
from RefaceLib.common.errors import WeightsError
from RefaceLib.face import contrast, painter, shapemodel, weights
from RefaceLib.face.fitted import neutral
from RefaceLib.face.shapemodel import Atlas, Detail, ShapeModel
from RefaceLib.head import canonical
from RefaceLib.networks.layers import FineGenerator
from RefaceLib.pipeline import RefaceOptions, reface_volume

NAMES = ("localizer", "parser", "shape", "detail", "coarse", "fine")
LARGEST = 40e6  # bytes that the weights may have together


@pytest.fixture(scope="module")
def registry():
    return weights.read_registry()


def test_the_registry_has_every_network_and_no_other(registry):
    assert set(registry["models"]) == set(NAMES)
    assert registry["name"] and registry["version"]


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_says_where_the_weights_come_from(name, registry):
    entry = registry["models"][name]
    assert entry["file"].endswith(".safetensors")
    assert re.fullmatch(r"[0-9a-f]{64}", entry["sha256"])
    assert entry["version"] and date.fromisoformat(entry["date"])
    assert entry["licence"] and entry["data"] and entry["command"].startswith("reface train ")
    assert "figures" in entry


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_file_has_the_hash_of_the_registry(name):
    assert weights.checked_file(name).parent == weights.models_folder()


def test_the_weights_are_small_enough_to_ship():
    files = {entry["file"] for entry in weights.read_registry()["models"].values()}
    assert sum((weights.models_folder() / name).stat().st_size for name in files) <= LARGEST
    assert {path.name for path in weights.models_folder().glob("*.safetensors")} == files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An installation whose weights are one small file, 'fine'."""
    (tmp_path / "fine.safetensors").write_bytes(b"weights")
    _install(tmp_path, "fine", tmp_path / "fine.safetensors")
    monkeypatch.setattr(weights, "models_folder", lambda: tmp_path)
    return tmp_path


def test_a_file_with_the_right_hash_is_found(folder):
    assert weights.checked_file("fine") == folder / "fine.safetensors"


def test_a_changed_file_of_weights_is_refused(folder):
    (folder / "fine.safetensors").write_bytes(b"weightz")
    with pytest.raises(WeightsError, match="fine.safetensors is missing or damaged") as error:
        weights.checked_file("fine")
    assert_one_sentence(error)


def test_a_missing_file_of_weights_is_told_in_a_sentence(folder):
    (folder / "fine.safetensors").unlink()
    with pytest.raises(WeightsError, match="install Reface again") as error:
        weights.checked_file("fine")
    assert_one_sentence(error)


def test_the_hash_of_the_generator_covers_all_that_makes_a_face(registry, monkeypatch):
    before = weights.about_generator()
    for name in ("shape", "detail", "coarse", "fine"):
        other = json.loads(json.dumps(registry))
        other["models"][name]["sha256"] = "0" * 64
        monkeypatch.setattr(weights, "read_registry", lambda folder, other=other: other)
        assert weights.about_generator()["sha256"] != before["sha256"]


def _install(folder, name, file):
    """Make ``file`` the one file of weights of the installation."""
    entries = dict.fromkeys(NAMES, {"file": "other.safetensors", "sha256": "0" * 64})
    entries[name] = {"file": file.name, "sha256": weights.sha256_of(file)}
    weights.write_registry({"models": entries, "fitted": neutral()}, folder)


def test_a_shape_model_comes_back_from_its_file(folder, monkeypatch):
    rng = np.random.default_rng(0)
    shape, fields = canonical.box(8.0).shape, (3, *canonical.box(shapemodel.FIELD_SPACING).shape)
    model = ShapeModel(*(rng.normal(0, 5, s).astype(np.float32) for s in (shape, (4, *shape))))
    picture = rng.random((24, 22, 22)).astype(np.float32)
    atlas = Atlas(picture, 16 * picture, *(rng.normal(0, 2, s).astype(np.float32) for s in (fields, (4, *fields))))
    weights.save_shape_model(folder / "shape.safetensors", model, atlas)
    _install(folder, "shape", folder / "shape.safetensors")
    monkeypatch.setattr(weights, "load_detail", lambda folder: None)
    model_again, atlas_again = weights.load_shape_model()
    assert model_again.size == 4
    for before, after in (
        (model.mean, model_again.mean),
        (picture, atlas_again.picture),
        (16 * picture, atlas_again.depth),
        (atlas.centre, atlas_again.centre),
    ):
        assert after.dtype == np.float32 and np.allclose(after, before, rtol=1e-3, atol=1e-4)
    for before, after in ((model.modes, model_again.modes), (atlas.modes, atlas_again.modes)):
        assert np.abs(after - before).max() <= np.abs(before).max() / 127 / 2 * 1.01  # half a step of a byte


def test_details_come_back_from_their_file(folder):
    """Only places about the skin are stored, and what comes back is stored as the same bits."""
    shape = canonical.box(shapemodel.SPACING).shape
    skin = np.zeros(shape, bool)
    skin[10:20, 30:40, 5:9] = True
    rng = np.random.default_rng(0)
    detail = Detail(*(rng.normal(0, 2, s).astype(np.float32) * skin for s in (shape, (3, *shape))))
    path = folder / "detail.safetensors"
    weights.save_detail(path, detail)
    _install(folder, "detail", path)
    again, stored = weights.load_detail(), path.read_bytes()
    assert len(stored) < 10_000 and again.mean.shape == shape and again.modes.shape == (3, *shape)
    assert np.abs(again.mean - detail.mean).max() < 0.01
    assert np.abs(again.modes - detail.modes).max() <= np.abs(detail.modes).max() / 127 / 2 * 1.01
    assert not again.mean[~skin].any() and not again.modes[:, ~skin].any()
    weights.save_detail(path, again)
    assert path.read_bytes() == stored


def test_the_shipped_details_are_smooth():
    """Neighbours of 4 mm are alike: a file written in another order of axes would be noise, and faces lumpy."""
    modes = weights.load_detail().modes
    rough = sum((np.diff(modes, axis=axis) ** 2).sum() for axis in (1, 2, 3)) / (modes**2).sum()
    assert rough < 1.0  # noise has 6


def test_a_mode_of_nothing_stays_nothing(folder, monkeypatch):
    shape = (6, 6, 6)
    model = ShapeModel(np.zeros(shape, np.float32), np.zeros((2, *shape), np.float32))
    still = np.zeros(shape, np.float32)
    atlas = Atlas(still, still.copy(), np.zeros((3, *shape), np.float32), np.zeros((2, 3, *shape), np.float32))
    weights.save_shape_model(folder / "shape.safetensors", model, atlas)
    _install(folder, "shape", folder / "shape.safetensors")
    monkeypatch.setattr(weights, "load_detail", lambda folder: None)
    assert not weights.load_shape_model()[0].modes.any()


def test_a_network_comes_back_from_its_file(folder):
    torch.manual_seed(0)
    net = FineGenerator(widths=(8, 8))
    weights.save_network(folder / "fine.safetensors", net)
    _install(folder, "fine", folder / "fine.safetensors")
    again = weights._load_network("fine", FineGenerator(widths=(8, 8)), "cpu")
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    inputs = [torch.rand(1, 1, 8, 8, 8) for _ in range(3)]
    with torch.inference_mode():
        assert torch.allclose(net(*inputs), again(*inputs), atol=5e-3)  # stored in half precision


def test_models_are_loaded_once(models):
    assert weights.load_models("cpu") is models
    assert models.about == weights.about_generator() and models.device == "cpu"
    assert models.shape.size == len(models.atlas.modes)


# ---- weights of one's own ----


@pytest.fixture
def own(tmp_path):
    """A copy of the shipped weights, as `reface train` would write them."""
    return shutil.copytree(weights.models_folder(), tmp_path / "Models")


def test_weights_of_ones_own_make_the_face(own, models):
    again = weights.load_models("cpu", own)
    assert again is not models and again.about == models.about
    assert weights.load_models("cpu", own) is again


def test_weights_of_another_version_are_told_in_a_sentence(own):
    weights.save_network(own / "fine.safetensors", FineGenerator(widths=(8, 8)))
    registry = weights.read_registry(own)
    registry["models"]["fine"]["sha256"] = weights.sha256_of(own / "fine.safetensors")
    weights.write_registry(registry, own)
    with pytest.raises(WeightsError, match="do not fit this version") as error:
        weights.load_models("cpu", own)
    assert_one_sentence(error)


@pytest.mark.parametrize("registry", [None, "{", "[]", '{"models": {}}', '{"models": {"fine": 1}}'])
def test_a_folder_without_a_registry_is_no_folder_of_weights(registry, tmp_path):
    if registry:
        (tmp_path / weights.REGISTRY).write_text(registry)
    with pytest.raises(WeightsError, match="holds no weights of Reface") as error:
        weights.about_generator(tmp_path)
    assert_one_sentence(error)


def test_a_damaged_file_of_ones_own_does_not_ask_to_install_again(own):
    (own / "coarse.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="export them again") as error:
        weights.load_models("cpu", own)
    assert_one_sentence(error)


@pytest.mark.parametrize("section", ["missing", None, {}, {**neutral(), "skin_curve": {}}])
def test_weights_without_constants_of_their_own_are_refused(section, own):
    registry = weights.read_registry(own)
    del registry["fitted"]
    if section != "missing":
        registry["fitted"] = section
    weights.write_registry(registry, own)
    for use in (weights.read_registry, weights.about_generator, lambda folder: weights.load_models("cpu", folder)):
        with pytest.raises(WeightsError, match="no constants that were fitted to them") as error:
            use(own)
        assert_one_sentence(error)


def test_other_weights_are_painted_with_their_own_constants(own, small_head, refaced, monkeypatch):
    registry = weights.read_registry(own)
    registry["fitted"] = neutral()
    registry["fitted"]["skin_curve"] = {"0": 0.9}
    registry["fitted"]["contrast_offsets"] = {"20": 0.01, "80": 0.02}
    weights.write_registry(registry, own)
    used = {}

    def spied(module, name):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: real(*used.setdefault(name, given)))

    spied(painter, "brain_frame")
    spied(painter, "_with_skin")
    spied(contrast, "match")
    result = reface_volume(small_head, RefaceOptions(device="cpu"), models=weights.load_models("cpu", own))
    assert np.array_equal(used["brain_frame"][2], canonical.BRAIN_POINTS)
    assert used["_with_skin"][5].skin_factors.tolist() == [0.9]
    assert [a.tolist() for a in used["match"][3:]] == [[20.0, 80.0], np.array([0.01, 0.02], np.float32).tolist()]
    assert np.array_equal(result.mask, refaced.mask) and not np.array_equal(result.stored, refaced.stored)
