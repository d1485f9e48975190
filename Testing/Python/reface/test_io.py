"""Reading volumes and writing them back: the same bits, the same place, and values that go both ways."""

import itertools
import re
import sys
import time

import nibabel as nib
import nrrd
import numpy as np
import pytest

from helpers.commandline import run_python
from helpers.imagefiles import (
    OBLIQUE,
    SHAPE,
    assert_one_sentence,
    mgh_bytes,
    nifti_bytes,
    nrrd_bytes,
    numbers,
    plain,
    write_bytes,
)
from RefaceLib.common.errors import InputError
from RefaceLib.volume import io
from RefaceLib.volume.io import Volume, check_values, read_volume, write_mask, write_volume

ORIENTATIONS = [
    (order, signs) for order in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def orientation_affine(order, signs, sizes=(0.7, 1.0, 2.5)):
    affine = np.eye(4)
    affine[:3, :3] = 0
    for voxel_axis, (world_axis, sign) in enumerate(zip(order, signs, strict=True)):
        affine[world_axis, voxel_axis] = sign * sizes[voxel_axis]
    affine[:3, 3] = (-3.5, 12.25, 100.0)
    return affine


def assert_only_one_voxel_changes(source, target):
    """Write back with one voxel changed: every byte but that voxel's must be as it was."""
    volume = read_volume(source)
    stored = volume.stored.copy(order="K")
    stored[1, 2, 3] = 1 if stored[1, 2, 3] != 1 else 2
    write_volume(target, volume, stored)
    before, after = np.frombuffer(plain(source), np.uint8), np.frombuffer(plain(target), np.uint8)
    assert before.size == after.size
    shape, width = volume.stored.shape, volume.stored.dtype.itemsize
    at = len(volume.source.header) + width * (1 + shape[0] * (2 + shape[1] * 3))
    changed = np.flatnonzero(before != after)
    assert changed.size and changed.min() >= at and changed.max() < at + width
    again = read_volume(target)
    assert np.array_equal(again.affine, volume.affine)
    assert (again.stored.dtype, again.slope, again.inter) == (volume.stored.dtype, volume.slope, volume.inter)
    untouched = np.ones(shape, bool)
    untouched[1, 2, 3] = False
    assert again.stored[untouched].tobytes() == volume.stored[untouched].tobytes()
    assert again.stored[1, 2, 3] == stored[1, 2, 3]
    return volume


@pytest.fixture
def head(tmp_path):
    return write_bytes(tmp_path / "head.nii", nifti_bytes(numbers("<i2")))


# ---- the same bits ----


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_every_orientation_is_read_and_written_back_in_each_format(tmp_path, order, signs):
    affine = orientation_affine(order, signs)
    array = numbers("<i2")
    files = {
        "a.nii.gz": nifti_bytes(array, affine),
        "a.nrrd": nrrd_bytes(array, affine),
        "a.mgz": mgh_bytes(array.astype(">i2"), affine),
    }
    for name, data in files.items():
        volume = assert_only_one_voxel_changes(write_bytes(tmp_path / name, data), tmp_path / f"out-{name}")
        np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
        assert np.array_equal(volume.stored, array)


MGH_TYPES = ("u1", ">i2", ">u2", ">i4", ">f4")
TYPES = ("i1", "<i2", "<u2", "<i4", "<u4", "<f4", "<f8", ">f8", *MGH_TYPES)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *itertools.product(("nii", "scaled.nii.gz", "nii2.nii", "nrrd", "gzip.nrrd"), TYPES),
        *itertools.product(("mgh", "mgz"), MGH_TYPES),
    ],
)
def test_every_data_type_and_byte_order_is_kept(tmp_path, kind, dtype):
    array = numbers(dtype)
    data = {
        "nii": lambda: nifti_bytes(array),
        "scaled.nii.gz": lambda: nifti_bytes(array, slope=(0.25, -3.0)),
        "nii2.nii": lambda: nifti_bytes(array, cls=nib.Nifti2Header),
        "nrrd": lambda: nrrd_bytes(array),
        "gzip.nrrd": lambda: nrrd_bytes(array, encoding="gzip"),
        "mgh": lambda: mgh_bytes(array),
        "mgz": lambda: mgh_bytes(array),
    }[kind]()
    source = write_bytes(tmp_path / f"a.{kind}", data)
    volume = assert_only_one_voxel_changes(source, tmp_path / f"b.{kind}")
    assert volume.stored.dtype == array.dtype and np.array_equal(volume.stored, array)
    assert (volume.slope, volume.inter) == ((0.25, -3.0) if "scaled" in kind else (1.0, 0.0))


@pytest.mark.parametrize(
    "options",
    [
        {"sform": 0},
        {"qform": 0},
        {"sform": 4, "qform": 2},
        {"cls": nib.Nifti2Header, "sform": 0},
        {"extension": b"<tags>name</tags>"},
        {"slope": (2.5, 10.0)},
        {"slope": (0.0, 5.0)},
        {"slope": (np.nan, np.nan)},
        {"slope": (np.inf, 0.0)},
    ],
    ids=str,
)
def test_nifti_means_what_nibabel_says_and_keeps_every_header_byte(tmp_path, options):
    affine = nib.affines.from_matvec(np.diag([0.9, 1.1, 2.0]) @ np.eye(3), (1.5, 2.5, -3.5))
    turn = nib.eulerangles.euler2mat(0.2, -0.1, 0.3)
    affine[:3, :3] = turn @ affine[:3, :3]
    source = write_bytes(tmp_path / "a.nii.gz", nifti_bytes(numbers("<i2"), affine, **options))
    volume = assert_only_one_voxel_changes(source, tmp_path / "b.nii.gz")
    image = nib.load(source)
    assert np.array_equal(volume.affine, image.affine)
    assert np.array_equal(volume.values(), image.get_fdata(dtype=np.float32))
    assert volume.values().dtype == np.float32
    assert volume.warnings == ()


def test_a_nifti_without_any_orientation_is_read_with_a_warning(tmp_path):
    source = write_bytes(tmp_path / "a.nii", nifti_bytes(numbers("u1"), sform=0, qform=0))
    volume = read_volume(source)
    assert np.array_equal(volume.affine, nib.load(source).affine)
    assert len(volume.warnings) == 1 and "left and right" in volume.warnings[0]


def test_an_sform_that_contradicts_the_qform_is_told(tmp_path):
    array = np.zeros((64, 64, 64), np.uint8)
    content = bytearray(nifti_bytes(array, np.eye(4)))
    header = nib.Nifti1Header(bytes(content[:348]))
    header.set_sform(np.diag([1.2, 1.2, 1.2, 1.0]), code=1)
    content[:348] = header.binaryblock
    volume = read_volume(write_bytes(tmp_path / "a.nii", bytes(content)))
    assert volume.affine[0, 0] == pytest.approx(1.2)
    assert "sform and qform are up to 22 mm apart" in volume.warnings[0]
    with pytest.raises(InputError, match=r"only zeros.* \(the header contradicts itself: its sform .* used\)\.$"):
        io.tells_contradictions(check_values)(volume)
    assert read_volume(write_bytes(tmp_path / "b.nii", nifti_bytes(array, np.eye(4)))).warnings == ()


def test_bytes_after_the_data_and_axes_of_size_one_are_kept(tmp_path):
    array = numbers("<i2", (*SHAPE, 1, 1))
    source = write_bytes(tmp_path / "a.nii.gz", nifti_bytes(array) + b"something else")
    volume = assert_only_one_voxel_changes(source, tmp_path / "b.nii.gz")
    assert volume.stored.shape == SHAPE and volume.source.trailer == b"something else"


def test_compressing_and_uncompressing_changes_no_byte(tmp_path, head):
    volume = read_volume(head)
    write_volume(tmp_path / "b.nii.gz", volume, volume.stored)
    packed = read_volume(tmp_path / "b.nii.gz")
    write_volume(tmp_path / "c.nii", packed, packed.stored)
    assert (tmp_path / "c.nii").read_bytes() == head.read_bytes()


def test_compressed_output_does_not_depend_on_name_or_time(tmp_path, head, monkeypatch):
    volume = read_volume(head)
    write_volume(tmp_path / "b.nii.gz", volume, volume.stored)
    monkeypatch.setattr(time, "time", lambda: 1.0)
    write_volume(tmp_path / "other.nii.gz", volume, np.ascontiguousarray(volume.stored))
    assert (tmp_path / "b.nii.gz").read_bytes() == (tmp_path / "other.nii.gz").read_bytes()


def test_mgz_keeps_its_trailer_and_agrees_with_nibabel(tmp_path):
    trailer = np.array([2.3, 0.1, 0.003, 0.9, 256], ">f4").tobytes() + b"\0\0\0\3\0\0\0\5mri_x"
    source = write_bytes(tmp_path / "a.mgz", mgh_bytes(numbers(">f4"), trailer=trailer))
    volume = assert_only_one_voxel_changes(source, tmp_path / "b.mgh")
    assert volume.source.trailer == trailer and len(volume.source.header) == 284
    np.testing.assert_array_equal(volume.affine, nib.load(source).affine)


@pytest.mark.parametrize("space", ["LPS", "RAS", "LAS", "left-posterior-superior", "Right-Anterior-Superior"])
@pytest.mark.parametrize("encoding", ["raw", "gzip", "gz"])
def test_nrrd_spaces_come_to_ras_and_text_is_kept(tmp_path, space, encoding):
    extra = "kinds: domain domain domain\nmodality:=MR: T1\nendian:=nonsense\n"
    data = nrrd_bytes(numbers("<u2"), space=space, encoding=encoding, extra=extra)
    volume = assert_only_one_voxel_changes(write_bytes(tmp_path / "a.nrrd", data), tmp_path / "b.nrrd")
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-12)
    assert volume.warnings == () and b"modality:=MR: T1\n" in volume.source.header


def test_nrrd_agrees_with_pynrrd(tmp_path):
    array = numbers("<i2")
    fields = {"space": "left-posterior-superior", "space directions": np.diag([1.0, 2, 3]), "space origin": [4.0, 5, 6]}
    nrrd.write(str(tmp_path / "a.nrrd"), array, {**fields, "note": "kept"})
    volume = assert_only_one_voxel_changes(tmp_path / "a.nrrd", tmp_path / "b.nrrd")
    assert np.array_equal(volume.stored, array)
    assert np.array_equal(volume.affine, LPS @ [[1, 0, 0, 4], [0, 2, 0, 5], [0, 0, 3, 6], [0, 0, 0, 1]])
    back, header = nrrd.read(str(tmp_path / "b.nrrd"))
    assert header["note"] == "kept" and np.count_nonzero(back != array) == 1


@pytest.mark.parametrize(
    ("old", "new", "affine"),
    [
        (rb"space: \S+", b"space: scanner-xyz", OBLIQUE),
        (rb"space: \S+", b"space dimension: 3", OBLIQUE),
        (rb"space: \S+\n|space directions: .*|space origin: .*\n", b"", np.diag([-1.0, -1, 1, 1])),
    ],
)
def test_nrrd_without_an_anatomical_space_is_read_as_lps_with_a_warning(tmp_path, old, new, affine):
    data = re.sub(old, new, nrrd_bytes(numbers("<i2"))).replace(b"\n\nendian", b"\nendian")
    volume = read_volume(write_bytes(tmp_path / "a.nrrd", data))
    assert len(volume.warnings) == 1 and "left and right" in volume.warnings[0]
    assert np.array_equal(volume.stored, numbers("<i2")) and np.allclose(volume.affine, affine)


def test_nrrd_spacings_alone_give_the_size_of_the_voxels(tmp_path):
    data = nrrd_bytes(numbers("<i2"), space_directions=None, space_origin=None, spacings="1 2 3")
    assert np.array_equal(read_volume(write_bytes(tmp_path / "a.nrrd", data)).affine, np.diag([-1.0, -2, 3, 1]))


def test_nrrd_lines_may_end_as_on_windows(tmp_path):
    header, _, voxels = nrrd_bytes(numbers("<i2")).partition(b"\n\n")
    data = (header + b"\n\n").replace(b"\n", b"\r\n") + voxels
    volume = assert_only_one_voxel_changes(write_bytes(tmp_path / "a.nrrd", data), tmp_path / "b.nrrd")
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-12)


def test_an_nrrd_list_axis_of_size_one_is_accepted(tmp_path):
    array = numbers("<i2", (1, *SHAPE))
    directions = "none (-1,0,0) (0,-1,0) (0,0,1)"
    data = nrrd_bytes(array, space_directions=directions, space_origin="(0,0,0)")
    volume = assert_only_one_voxel_changes(write_bytes(tmp_path / "a.nrrd", data), tmp_path / "b.nrrd")
    assert np.array_equal(volume.stored, array[0]) and np.array_equal(volume.affine, np.eye(4))


def test_a_volume_has_one_memory_order_whatever_its_array_has():
    """A sum over the same numbers in another order differs in its last bit, and so did 23 voxels of a face."""
    rng = np.random.default_rng(0)
    ours = np.asfortranarray(rng.normal(size=(40, 50, 60)).astype(np.float32))
    for array in (
        ours,
        np.ascontiguousarray(ours),
        ours[::-1].copy()[::-1],
        ours.transpose(2, 1, 0).copy().transpose(2, 1, 0),
    ):
        volume = Volume(array, np.eye(4))
        assert volume.stored.flags.f_contiguous and volume.values().flags.f_contiguous
        assert volume.values().sum() == Volume(ours, np.eye(4)).values().sum()
    assert Volume(ours, np.eye(4)).stored is ours  # copied only where it must be


def test_a_volume_without_a_file_becomes_nifti(tmp_path):
    for dtype in ("<i2", ">i2", "<f4", "u1"):
        volume = Volume(np.ascontiguousarray(numbers(dtype)), OBLIQUE, 0.5, 2.0)
        path = tmp_path / f"{dtype[1:]}{dtype[0] == '>'}.nii.gz"
        write_volume(path, volume, volume.stored)
        again = read_volume(path)
        assert np.array_equal(again.stored, volume.stored) and again.stored.dtype == volume.stored.dtype
        assert (again.slope, again.inter, again.warnings) == (0.5, 2.0, ())
        np.testing.assert_allclose(again.affine, OBLIQUE, atol=1e-6)
        assert np.array_equal(nib.load(path).get_fdata(dtype=np.float32), volume.values())


@pytest.mark.parametrize("name", ["m.nii.gz", "m.nii", "m.nrrd", "m.mgz"])
@pytest.mark.parametrize("origin", ["nii", "nii2.nii", "qform.nii", "nrrd", "mgh", None])
def test_a_mask_has_the_grid_of_its_volume_in_any_format(tmp_path, name, origin):
    turned = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.2, 0.1, 0.4) @ np.diag([0.9, 1.2, 2]), (5, 6, 7))
    array = numbers(">i2")
    data = {
        "nii": lambda: nifti_bytes(array, turned, slope=(2, 1)),
        "nii2.nii": lambda: nifti_bytes(array, turned, cls=nib.Nifti2Header),
        "qform.nii": lambda: nifti_bytes(array, turned, sform=0, extension=b"a name"),
        "nrrd": lambda: nrrd_bytes(array, turned),
        "mgh": lambda: mgh_bytes(array, turned),
    }
    volume = Volume(array, turned)
    if origin is not None:
        volume = read_volume(write_bytes(tmp_path / f"a.{origin}", data[origin]()))
    mask = volume.stored > 100
    write_mask(tmp_path / name, mask, volume)
    again = read_volume(tmp_path / name)
    assert again.stored.dtype == np.uint8 and np.array_equal(again.stored, mask)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-5)
    if origin and origin.endswith("nii") and "nii" in name:
        assert np.array_equal(again.affine, volume.affine)
    assert b"kept" not in plain(tmp_path / name) and b"a name" not in plain(tmp_path / name)
    assert (again.slope, again.inter) == (1.0, 0.0)


# ---- values ----


def test_values_keep_nan_and_go_back_to_the_same_numbers():
    array = numbers(">f4")
    array[0, 0, 0] = np.nan
    volume = Volume(array, np.eye(4))
    values = volume.values()
    assert values.dtype == np.float32 and np.isnan(values[0, 0, 0]) and not np.shares_memory(values, array)
    assert (
        volume.codec.to_stored(values).tobytes() == array.tobytes()
        and volume.codec.to_stored(values).dtype == array.dtype
    )


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i2", "<u2", ">i4", "<u4", "<i8", "<u8"])
@pytest.mark.parametrize(("slope", "inter"), [(1.0, 0.0), (0.5, 100.0), (-2.0, 0.0)])
def test_stored_integers_are_rounded_and_clipped_but_never_wrapped(dtype, slope, inter):
    limits = np.iinfo(dtype)
    volume = Volume(np.zeros(SHAPE, dtype), np.eye(4), slope, inter)
    wanted = np.array([-np.inf, -1e30, 3.4, 3.6, 1e30, np.inf])
    stored = volume.codec.to_stored(wanted * slope + inter)
    assert stored.dtype == np.dtype(dtype)
    assert stored[:2].tolist() == [limits.min] * 2 and stored[2:4].tolist() == [3, 4]
    assert all(limits.max - 2048 <= number <= limits.max for number in stored[4:].tolist())
    zero = min(max(round(-inter / slope), limits.min), limits.max)
    assert volume.codec.to_stored(np.array([np.nan], np.float32)).tolist() == [zero]


@pytest.mark.parametrize("dtype", ["u1", "<i2", ">u2"])
def test_integers_survive_the_way_to_values_and_back(dtype):
    volume = Volume(numbers(dtype), np.eye(4), 0.37, -11.0)
    assert np.array_equal(volume.codec.to_stored(volume.values()), volume.stored)


@pytest.mark.parametrize(
    ("fill", "word"), [(0, "zeros"), (7, "same value"), (np.nan, "100%"), (np.inf, "100%"), ("most", "81%")]
)
def test_values_that_are_no_image_are_refused(head, fill, word):
    array = np.full((10, 10, 10), 5.0 if fill == "most" else fill, np.float32)
    if fill == "most":
        array[:, :, 1:], array[0] = np.nan, array[0] + 1
    with pytest.raises(InputError, match=word) as error:
        check_values(Volume(array, np.eye(4), source=read_volume(head).source))
    assert_one_sentence(error, head)


def test_a_segmentation_is_refused_and_a_coarse_image_that_was_enlarged_is_not(monkeypatch):
    monkeypatch.setattr(io, "_CHUNK", 4000)  # several parts
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 4, (5, 5, 5), np.uint8), np.ones((6, 6, 6), np.uint8))
    with pytest.raises(InputError, match="holds labels"):
        check_values(Volume(labels, np.eye(4)))
    with pytest.raises(InputError, match="holds labels"):
        check_values(Volume(np.minimum(labels, 1), np.eye(4)))
    enlarged = np.kron(rng.integers(0, 99, (15, 15, 15), np.uint8), np.ones((2, 2, 2), np.uint8))
    assert check_values(Volume(enlarged, np.eye(4))) == ()
    enlarged[:20] = 200  # blank is not stored as 0
    assert check_values(Volume(enlarged, np.eye(4))) == ()
    enlarged[:, :12], enlarged[:, :, :12] = 255, 90  # saturated, and filled by a tool
    assert check_values(Volume(enlarged, np.eye(4))) == ()


def test_a_few_voxels_that_are_not_finite_give_a_warning(monkeypatch):
    monkeypatch.setattr(io, "_CHUNK", 64)  # several parts
    array = numbers("<f4", (10, 10, 10))
    assert check_values(Volume(array, np.eye(4))) == ()
    array[3, 3, 3] = np.inf
    assert check_values(Volume(array, np.eye(4))) == ("1 voxel is not finite; it stays as it is.",)
    array.reshape(-1)[:11] = np.nan
    assert check_values(Volume(array, np.eye(4))) == ("12 voxels are not finite; they stay as they are.",)


def test_zero_after_scaling_counts_as_zero():
    with pytest.raises(InputError, match="only zeros"):
        check_values(Volume(np.full(SHAPE, 3, np.int16), np.eye(4), 2.0, -6.0))


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is counted in other units elsewhere")
def test_a_large_file_is_read_and_written_without_a_second_copy_of_it(tmp_path):
    code = """
import resource, sys
import numpy as np
from RefaceLib.volume.io import Volume, read_volume, write_volume
import nibabel
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
volume = read_volume(sys.argv[1])
write_volume(sys.argv[2], volume, volume.stored)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    header = nifti_bytes(np.zeros((2, 2, 2), "u1"), dim=[3, 512, 512, 512, 1, 1, 1, 1])[:-8]
    with open(tmp_path / "a.nii", "wb") as file:
        file.write(header)
        file.truncate(len(header) + 512**3)
    run = run_python("-c", code, tmp_path / "a.nii", tmp_path / "b.nii")
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 1.3 * 512**3 / 1024
    assert (tmp_path / "b.nii").stat().st_size == len(header) + 512**3


def test_importing_the_reader_needs_neither_torch_nor_nibabel():
    code = "import sys, RefaceLib.volume.io; assert not {'torch', 'nibabel'} & set(sys.modules)"
    run = run_python("-c", code)
    assert run.returncode == 0, run.stderr
