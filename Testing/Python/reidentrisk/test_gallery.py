"""Galleries in files: what is kept, what is refused, and that nothing in them is executed."""

from __future__ import annotations

import os
import stat

import numpy as np
import pytest

from helpers.reidentrisk.faces import head
from RefaceLib.common.errors import InputError, OutputError
from ReidentRiskLib.runs.gallery import WARNING, load_gallery, save_gallery

SHA256 = "ab" * 32


@pytest.fixture
def path(tmp_path):
    return tmp_path / "gallery.npz"


@pytest.fixture
def saved(path):
    heads = [head("a", pictures=True), head("b", missed=(1, 2)), head("Zoë")]
    save_gallery(path, heads, SHA256, keys=["k1", "k2", "k3"])
    return heads


def test_a_gallery_holds_the_embeddings_to_the_last_bit(path, saved):
    read = load_gallery(path)
    assert [each.name for each in read.heads] == ["a", "b", "Zoë"]
    assert (read.model, read.sha256, read.views) == ("fake", SHA256, "standard")
    for before, after in zip(saved, read.heads, strict=True):
        np.testing.assert_array_equal(after.aligned, before.aligned)
        np.testing.assert_array_equal(after.detected, before.detected)
        assert (after.model, after.views) == ("fake", "standard")
    assert read.by_key()["k2"].name == "b"


def test_pictures_and_crops_are_not_kept(path, saved):
    assert load_gallery(path).heads[0].pictures is None
    with np.load(path) as file:
        assert not {"pictures", "crops"} & set(file.files)
        assert all(file[name].dtype != np.uint8 for name in file.files)


def test_the_file_warns_that_it_holds_biometric_data(path, saved):
    with np.load(path) as file:
        assert "biometric" in str(file["warning"])
    assert load_gallery(path).warning == WARNING


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_only_the_owner_may_read_it(path, saved):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"model": "arcface"}, "model 'fake', not of 'arcface'"),
        ({"views": "full"}, "view set 'standard', not of 'full'"),
        ({"sha256": "cd" * 32}, "another file of the model"),
    ],
)
def test_a_gallery_of_another_kind_is_refused(path, saved, wanted, words):
    with pytest.raises(InputError, match=words):
        load_gallery(path, **wanted)
    load_gallery(path, model="fake", views="standard", sha256=SHA256)


def test_heads_of_different_kinds_make_no_gallery(path):
    for other in (head("b", model="sface"), head("b", view_set="full"), head("b", views=3)):
        with pytest.raises(InputError, match="one model and one view set"):
            save_gallery(path, [head("a"), other], SHA256)
    with pytest.raises(InputError, match="no head"):
        save_gallery(path, [], SHA256)
    assert not path.exists()


def test_a_gallery_is_not_overwritten_unless_that_is_allowed(path, saved):
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        save_gallery(path, [head("c")], SHA256)
    assert path.read_bytes() == before
    save_gallery(path, [head("c")], SHA256, overwrite=True)
    assert [each.name for each in load_gallery(path).heads] == ["c"]
    with pytest.raises(OutputError, match=".npz"):
        save_gallery(path.with_suffix(".dat"), [head("c")], SHA256)


def test_a_write_that_fails_leaves_what_was_there(path, saved, monkeypatch):
    before = path.read_bytes()

    def fail(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OutputError, match="full"):
        save_gallery(path, [head("c")], SHA256, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def rewritten(path, **changes):
    with np.load(path) as file:
        content = {name: file[name] for name in file.files}
    np.savez(path, **{name: array for name, array in {**content, **changes}.items() if array is not None})


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no gallery"),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-200]),
    "damaged": lambda path: path.write_bytes(path.read_bytes().replace(b"forced", b"farced")),
    "one array": lambda path: np.save(path.open("wb"), np.zeros(3)),
    "another archive": lambda path: np.savez(path, other=np.zeros(3)),
    "another version": lambda path: rewritten(path, format=np.array(9)),
    "a name too few": lambda path: rewritten(path, names=np.array(["a", "b"])),
    "other shapes": lambda path: rewritten(path, gated=np.zeros((3, 2, 2))),
    "no embeddings": lambda path: rewritten(path, forced=None),
    "pickled": lambda path: rewritten(path, names=np.array(["a", "b", None], dtype=object)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_what_is_no_gallery_is_told_in_one_sentence(path, saved, damage):
    damage(path)
    with pytest.raises(InputError, match="gallery") as error:
        load_gallery(path)
    assert str(path) in str(error.value)


def test_nothing_in_a_gallery_is_executed(path, saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    rewritten(path, forced=np.array([Trap()], dtype=object))
    with pytest.raises(InputError):
        load_gallery(path)
    assert not (tmp_path / "trapped").exists()


def test_a_gallery_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_gallery(tmp_path / "none.npz")
    with pytest.raises(InputError, match="cannot be read"):
        load_gallery(tmp_path)
