"""Outputs appear whole or not at all, several of them together, and each failure gets one sentence."""

import errno
import os

import numpy as np
import pytest

from helpers.imagefiles import (
    OBLIQUE,
    SHAPE,
    assert_nothing_left,
    assert_one_sentence,
    mgh_bytes,
    nifti_bytes,
    nrrd_bytes,
    numbers,
    write_bytes,
)
from RefaceLib.common import files
from RefaceLib.common.errors import OutputError
from RefaceLib.common.files import OutputSet, check_writable, new_folder, same_file
from RefaceLib.volume import io
from RefaceLib.volume.io import Volume, check_format, read_volume, write_mask, write_volume


@pytest.fixture
def head(tmp_path):
    return write_bytes(tmp_path / "head.nii", nifti_bytes(numbers("<i2")))


# ---- output that cannot be written ----


@pytest.mark.parametrize(
    ("origin", "target"), [("a.nii", "b.nrrd"), ("a.nrrd", "b.nii.gz"), ("a.mgh", "b.nii"), (None, "b.mgz")]
)
def test_another_format_than_the_input_is_refused(tmp_path, origin, target):
    volume = Volume(numbers("<i2"), OBLIQUE)
    if origin:
        data = {
            "a.nii": nifti_bytes(numbers("<i2")),
            "a.nrrd": nrrd_bytes(numbers("<i2")),
            "a.mgh": mgh_bytes(numbers(">i2")),
        }[origin]
        volume = read_volume(write_bytes(tmp_path / origin, data))
    for attempt in (
        lambda: check_format(tmp_path / target, volume),
        lambda: write_volume(tmp_path / target, volume, volume.stored),
    ):
        with pytest.raises(OutputError, match="write the output as") as error:
            attempt()
        assert_one_sentence(error, tmp_path / target)
    assert_nothing_left(tmp_path, *([origin] if origin else []))


def test_arrays_of_another_shape_or_type_are_an_error_of_the_caller(tmp_path, head):
    volume = read_volume(head)
    for stored in (volume.stored[1:], volume.stored.astype(np.float32)):
        with pytest.raises(ValueError, match="stored must be"):
            write_volume(tmp_path / "b.nii", volume, stored)
    with pytest.raises(ValueError, match="mask must be"):
        write_mask(tmp_path / "b.nii", np.ones((2, 2, 2), bool), volume)
    with pytest.raises(OutputError, match="no voxels of type bool"):
        write_volume(tmp_path / "b.nii", Volume(np.ones(SHAPE, bool), np.eye(4)), np.ones(SHAPE, bool))
    assert_nothing_left(tmp_path, "head.nii")


def test_stored_numbers_are_not_to_be_changed_in_place(head):
    with pytest.raises(ValueError, match="read-only"):
        read_volume(head).stored[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("none/b.nii", "does not exist"),
        ("folder.nii", "is a folder"),
        ("head.nii", "exists already"),
        ("b.txt", "must end with"),
        ("b", "must end with"),
    ],
)
def test_a_target_that_cannot_be_written_is_known_before_the_work(tmp_path, head, name, word):
    (tmp_path / "folder.nii").mkdir()
    volume = read_volume(head)
    with pytest.raises(OutputError, match=word) as error:
        check_writable(tmp_path / name)
    assert_one_sentence(error, (tmp_path / name).parent)
    with pytest.raises(OutputError):
        write_mask(tmp_path / name, volume.stored > 0, volume)
    assert_nothing_left(tmp_path, "head.nii", "folder.nii")


def test_overwriting_happens_only_when_allowed(tmp_path, head):
    volume = read_volume(head)
    with pytest.raises(OutputError, match="exists already"):
        write_volume(head, volume, volume.stored)
    check_writable(head, overwrite=True)
    write_volume(head, volume, volume.stored + np.int16(1), overwrite=True)
    assert np.array_equal(read_volume(head).stored, volume.stored + np.int16(1))
    assert_nothing_left(tmp_path, "head.nii")


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (errno.EACCES, "cannot be written to"),
        (errno.EROFS, "cannot be written to"),
        (errno.ENOSPC, "is full"),
        (errno.EIO, "could not be written"),
    ],
)
def test_a_folder_that_takes_no_file_gets_one_sentence(tmp_path, monkeypatch, code, word):
    def refuse(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(OutputError, match=word) as error:
        check_writable(tmp_path / "b.nii")
    assert_one_sentence(error, tmp_path)


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("name", ["b.nii", "b.nii.gz"])
def test_a_full_disk_or_ctrl_c_in_the_middle_leaves_nothing(tmp_path, head, monkeypatch, failure, name):
    volume = read_volume(head)
    write_data = io._write_data

    def fail_late(stream, stored, dtype):
        write_data(stream, stored, dtype)
        raise failure

    monkeypatch.setattr(io, "_write_data", fail_late)
    for wanted in (
        lambda: write_volume(tmp_path / name, volume, volume.stored),
        lambda: write_mask(tmp_path / name, volume.stored > 0, volume),
    ):
        with pytest.raises(OutputError if isinstance(failure, OSError) else KeyboardInterrupt) as error:
            wanted()
        if isinstance(failure, OSError):
            assert "is full" in str(error.value)
            assert_one_sentence(error, tmp_path)
        assert_nothing_left(tmp_path, "head.nii")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_a_device_that_is_really_full_is_reported_as_full(tmp_path, head, monkeypatch):
    volume = read_volume(head)
    monkeypatch.setattr(io, "open", lambda path, mode: open("/dev/full", "wb"), raising=False)
    with pytest.raises(OutputError, match="is full"):
        write_volume(tmp_path / "b.nii.gz", volume, volume.stored)
    assert_nothing_left(tmp_path, "head.nii")


# ---- several outputs ----


def test_a_file_of_a_folder_that_was_not_made_is_named_where_it_was_to_be(tmp_path):
    with pytest.raises(OutputError) as caught, new_folder(tmp_path / "out", overwrite=False) as made:
        raise OutputError(f"{made / 'a.nii.gz'} cannot be written.")
    assert str(caught.value) == f"{tmp_path / 'out' / 'a.nii.gz'} cannot be written."


def stage_two(folder, overwrite=False):
    with OutputSet(overwrite) as out:
        out.stage(folder / "a.nii.gz").write_text("new a")
        out.stage(folder / "b.json").write_text("new b")


def test_staged_files_are_hidden_keep_their_extension_and_appear_together(tmp_path):
    with OutputSet() as out:
        first, second = out.stage(tmp_path / "a.nii.gz"), out.stage(tmp_path / "b.json")
        assert first.parent == tmp_path and first.name.startswith(".") and first.name.endswith(".nii.gz")
        assert second.suffix == ".json" and not first.exists()
        first.write_text("a")
        second.write_text("b")
    assert_nothing_left(tmp_path, "a.nii.gz", "b.json")
    assert (tmp_path / "a.nii.gz").read_text() == "a"


def test_write_volume_works_on_a_staged_path(tmp_path, head):
    volume = read_volume(head)
    with OutputSet() as out:
        write_volume(out.stage(tmp_path / "b.nii.gz"), volume, volume.stored)
    assert_nothing_left(tmp_path, "head.nii", "b.nii.gz")


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, OSError(errno.ENOSPC, "full")], ids=repr)
def test_any_exception_removes_what_was_staged(tmp_path, failure):
    (tmp_path / "a.nii.gz").write_text("old")
    with pytest.raises(OutputError if isinstance(failure, OSError) else failure):
        with OutputSet(overwrite=True) as out:
            out.stage(tmp_path / "a.nii.gz").write_text("new")
            out.stage(tmp_path / "b.json")
            raise failure
    assert_nothing_left(tmp_path, "a.nii.gz")
    assert (tmp_path / "a.nii.gz").read_text() == "old"


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("failure", [OSError(errno.EACCES, "denied"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("existing", [(), ("a.nii.gz",), ("a.nii.gz", "b.json")])
def test_a_renaming_that_fails_half_way_brings_everything_back(tmp_path, monkeypatch, existing, failure, links):
    for name in existing:
        (tmp_path / name).write_text(f"old {name}")
    replace = os.replace

    def fail_on_second(source, target):
        if str(target).endswith("b.json") and open(source).read() == "new b":
            raise failure
        replace(source, target)

    def no_links(*args):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(files.os, "replace", fail_on_second)
    if not links:
        monkeypatch.setattr(files.os, "link", no_links)
    with pytest.raises(OutputError if isinstance(failure, OSError) else KeyboardInterrupt):
        stage_two(tmp_path, overwrite=True)
    assert_nothing_left(tmp_path, *existing)
    assert all((tmp_path / name).read_text() == f"old {name}" for name in existing)
    monkeypatch.undo()
    stage_two(tmp_path, overwrite=True)
    assert_nothing_left(tmp_path, "a.nii.gz", "b.json")
    assert (tmp_path / "b.json").read_text() == "new b"


def test_a_former_output_that_cannot_come_back_is_kept_and_named(tmp_path, monkeypatch):
    (tmp_path / "a.nii.gz").write_text("old a")
    replace, calls = os.replace, []

    def fail_after_first(source, target):
        calls.append(source)
        if len(calls) > 1:
            raise OSError(errno.EIO, "broken")
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", fail_after_first)
    with pytest.raises(OutputError, match="could not be brought back") as error:
        stage_two(tmp_path, overwrite=True)
    (kept,) = (path for path in tmp_path.iterdir() if path.name.startswith("."))
    assert kept.read_text() == "old a" and str(kept) in str(error.value)


def test_a_target_that_appeared_meanwhile_is_not_overwritten(tmp_path):
    with pytest.raises(OutputError, match="exists already"), OutputSet() as out:
        out.stage(tmp_path / "a.json").write_text("new a")
        out.stage(tmp_path / "b.json").write_text("new b")
        (tmp_path / "b.json").write_text("of another program")
    assert_nothing_left(tmp_path, "b.json")
    assert (tmp_path / "b.json").read_text() == "of another program"


def test_one_target_for_two_outputs_and_a_forgotten_output_are_refused(tmp_path):
    with pytest.raises(OutputError, match="two outputs") as error, OutputSet() as out:
        out.stage(tmp_path / "a.json")
        out.stage(tmp_path / "." / "a.json")
    assert_one_sentence(error, tmp_path / "a.json")
    with pytest.raises(OutputError, match="was not written") as error, OutputSet() as out:
        out.stage(tmp_path / "a.json").write_text("a")
        out.stage(tmp_path / "b.json")
    assert_one_sentence(error, tmp_path / "b.json")
    assert_nothing_left(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_are_replaced_not_followed_and_seen_as_the_same_file(tmp_path, head):
    link = tmp_path / "link.nii"
    link.symlink_to(head)
    assert same_file(head, link) and same_file(tmp_path / "x" / ".." / "new", tmp_path / "new")
    assert not same_file(head, tmp_path / "new") and not same_file(tmp_path / "old", tmp_path / "new")
    before = head.read_bytes()
    volume = read_volume(link)
    write_volume(link, volume, volume.stored + np.int16(1), overwrite=True)
    assert not link.is_symlink() and head.read_bytes() == before
