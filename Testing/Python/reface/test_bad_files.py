"""Input files that cannot be used: one sentence each, that names the file and says what to do."""

import errno
import gzip

import nibabel as nib
import numpy as np
import pytest

from helpers.imagefiles import SHAPE, assert_one_sentence, mgh_bytes, nifti_bytes, nrrd_bytes, numbers, write_bytes
from RefaceLib.common.errors import InputError
from RefaceLib.volume import io
from RefaceLib.volume.io import check_values, read_volume

GOOD = nifti_bytes(numbers("<i2"))
BIG = nifti_bytes(numbers("<i2", (20, 20, 20)))
MGH = mgh_bytes(numbers(">i2"))
NRRD = nrrd_bytes(numbers("<i2"))
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
SINGULAR = np.diag([1.0, 1.0, 0.0, 1.0])


@pytest.fixture
def head(tmp_path):
    return write_bytes(tmp_path / "head.nii", GOOD)


def patched(data, offset, value):
    return data[:offset] + value + data[offset + len(value) :]


BAD_FILES = {
    "empty.nii.gz": (b"", "empty"),
    "random.nii.gz": (bytes(range(7, 250)) * 9, "not a valid NIfTI"),
    "random.nii": (bytes(range(7, 250)) * 9, "not a valid NIfTI"),
    "short.nii": (b"abc", "not a valid NIfTI"),
    "random.mgz": (bytes(range(7, 250)) * 9, "not a valid MGH"),
    "random.nrrd": (bytes(range(7, 250)) * 9, "not a valid NRRD"),
    "nrrd-named.nii": (NRRD, "not a valid NIfTI"),
    "half-gzip.nii.gz": (gzip.compress(BIG)[:-3000], "truncated"),
    "no-checksum.nii.gz": (gzip.compress(BIG)[:-8], "truncated"),
    "gzip-header-only.nii.gz": (gzip.compress(BIG)[:5], "truncated"),
    "broken-checksum.nii.gz": (patched(gzip.compress(BIG), len(gzip.compress(BIG)) - 8, b"1234"), "damaged"),
    "broken-middle.nii.gz": (patched(gzip.compress(BIG), 8000, b"1234" * 100), "damaged"),
    "after-gzip.nii.gz": (gzip.compress(BIG) + b"more", "damaged"),
    "data-short.nii": (GOOD[:-1], "truncated"),
    "data-short.nii.gz": (gzip.compress(GOOD[:-1]), "truncated"),
    "header-short.nii": (GOOD[:340], "truncated"),
    "header2-short.nii": (nifti_bytes(numbers("<i2"), cls=nib.Nifti2Header)[:400], "truncated"),
    "extension-short.nii": (nifti_bytes(numbers("<i2"), extension=b"x" * 100)[:360], "truncated"),
    "data-short.mgh": (MGH[:-1], "truncated"),
    "header-short.mgh": (MGH[:100], "truncated"),
    "data-short.nrrd": (NRRD[:-1], "truncated"),
    "header-short.nrrd": (NRRD[:60], "truncated"),
    "gzip-short.nrrd": (nrrd_bytes(numbers("<i2"), encoding="gzip")[:-50], "truncated"),
    "gzip-lie.nrrd": (NRRD.replace(b": raw", b": gzip"), "damaged"),
    "claims-everything.nii": (nifti_bytes(numbers("u1"), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "truncated"),
    "claims-everything.nii.gz": (
        gzip.compress(nifti_bytes(numbers("u1"), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])),
        "truncated",
    ),
    "4d.nii.gz": (gzip.compress(nifti_bytes(numbers("<i2", (4, 4, 4, 3)))), "3 values"),
    "5d.nii": (nifti_bytes(numbers("<i2", (4, 4, 4, 1, 2))), "2 values"),
    "4d.mgh": (mgh_bytes(numbers(">i2", (4, 4, 4, 2))), "2 values"),
    "rgb.nrrd": (
        nrrd_bytes(numbers("u1", (3, 4, 4, 4)), space_directions="none (1,0,0) (0,1,0) (0,0,1)"),
        "3 values",
    ),
    "rgb.nii": (nifti_bytes(np.zeros(SHAPE, RGB)), "colours"),
    "complex.nii": (nifti_bytes(np.zeros(SHAPE, np.complex64)), "complex"),
    "block.nrrd": (nrrd_bytes(numbers("u1"), type="block"), "compound"),
    "no-voxels.nii": (nifti_bytes(numbers("<i2"), dim=[3, 5, 0, 7, 1, 1, 1, 1]), "no voxels"),
    "negative.nii": (nifti_bytes(numbers("<i2"), dim=[3, 5, -6, 7, 1, 1, 1, 1]), "no voxels"),
    "no-voxels.nrrd": (nrrd_bytes(numbers("<i2"), sizes="5 0 7"), "no voxels"),
    "flat.nii": (nifti_bytes(numbers("<i2", (5, 6))), "2D"),
    "slice.nii": (nifti_bytes(numbers("<i2", (5, 6, 1))), "2D"),
    "flat.nrrd": (nrrd_bytes(numbers("<i2", (5, 6)), space="LPS", space_directions="(1,0,0) (0,1,0)"), "2D"),
    "flat-plain.nrrd": (nrrd_bytes(numbers("<i2", (5, 6)), space_directions=None, space_origin=None), "2D"),
    "singular.nii": (nifti_bytes(numbers("<i2"), srow_z=[1, 0, 0, 0], srow_x=[1, 0, 0, 0]), "orientation"),
    "nan-sform.nii": (nifti_bytes(numbers("<i2"), srow_z=[np.nan, 0, 1, 0]), "orientation"),
    "nan-qform.nii": (nifti_bytes(numbers("<i2"), sform=0, quatern_b=np.nan), "orientation|header"),
    "big-qform.nii": (nifti_bytes(numbers("<i2"), sform=0, quatern_b=7), "header"),
    "singular.nrrd": (nrrd_bytes(numbers("<i2"), SINGULAR), "orientation"),
    "nan.nrrd": (nrrd_bytes(numbers("<i2"), space_origin="(nan,0,0)"), "orientation"),
    "metres.nii": (nifti_bytes(numbers("<i2"), np.diag([0.001, 0.001, 0.001, 1.0])), "units"),
    "far-away.nrrd": (nrrd_bytes(numbers("<i2"), space_origin="(1e30,0,0)"), "orientation"),
    "nan-pixdim.nii": (nifti_bytes(numbers("<i2"), pixdim=[1, np.nan, 1, 1, 1, 1, 1, 1]), "header"),
    "unknown-type.nii": (nifti_bytes(numbers("<i2"), datatype=77), "header"),
    "unknown-type.mgh": (patched(MGH, 20, b"\0\0\0\x63"), "header"),
    "unknown-type.nrrd": (nrrd_bytes(numbers("<i2"), type=None), "header"),
    "bad-sizes.nrrd": (nrrd_bytes(numbers("<i2"), sizes="5 six 7"), "header"),
    "bad-dimension.nrrd": (nrrd_bytes(numbers("<i2"), dimension=4), "header"),
    "bad-endian.nrrd": (nrrd_bytes(numbers("<i2"), endian="middle"), "header"),
    "bad-offset.nii": (nifti_bytes(numbers("<i2"), vox_offset=20), "header"),
    "no-offset.nii": (nifti_bytes(numbers("<i2"), vox_offset=0), "header"),
    "nan-offset.nii": (nifti_bytes(numbers("<i2"), vox_offset=np.nan), "header"),
    "huge-offset.nii": (nifti_bytes(numbers("<i2"), vox_offset=1e20), "header"),
    "bad-inter.nii": (nifti_bytes(numbers("<i2"), slope=(1, np.nan)), "header"),
    "pair.nii": (nifti_bytes(numbers("<i2"), magic=b"ni1"), "pair"),
    "pair.hdr": (GOOD, "pair"),
    "pair.img": (GOOD, "pair"),
    "analyze.nii": (nifti_bytes(numbers("<i2"), magic=b""), "ANALYZE"),
    "detached.nrrd": (NRRD.replace(b"encoding: raw", b"encoding: raw\ndata file: a.raw"), "only the header"),
    "detached.nhdr": (NRRD, "only the header"),
    "text.nrrd": (nrrd_bytes(numbers("<i2"), encoding="ascii"), "encoding"),
    "skip.nrrd": (NRRD.replace(b"encoding: raw", b"encoding: raw\nbyte skip: -1"), "skips"),
    "slice.dcm": (b"\0" * 128 + b"DICM", "dcm2niix"),
    "IM0001": (b"\0" * 128 + b"DICM", "dcm2niix"),
    "photo.png": (b"\x89PNG", "endings"),
}


@pytest.mark.parametrize("name", BAD_FILES)
@pytest.mark.filterwarnings("error")
def test_bad_input_gets_one_sentence_that_names_the_file(tmp_path, name, capfd):
    data, word = BAD_FILES[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=word) as error:
        read_volume(tmp_path / name)
    assert_one_sentence(error, tmp_path / name)
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_a_folder_and_a_forbidden_file_get_one_sentence(tmp_path, head, monkeypatch):
    with pytest.raises(InputError, match="does not exist") as error:
        read_volume(tmp_path / "none.nii")
    assert_one_sentence(error, tmp_path / "none.nii")
    with pytest.raises(InputError, match="folder.*dcm2niix") as error:
        read_volume(tmp_path)
    assert_one_sentence(error, tmp_path)

    def refuse(*args):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(io, "read_header", refuse)
    with pytest.raises(InputError, match="Permission denied") as error:
        read_volume(head)
    assert_one_sentence(error, head)


def test_too_little_memory_gets_one_sentence(head, monkeypatch):
    def no_memory(*args):
        raise MemoryError

    monkeypatch.setattr(io, "_read_data", no_memory)
    with pytest.raises(InputError, match="memory") as error:
        read_volume(head)
    assert_one_sentence(error, head)


@pytest.mark.filterwarnings("error")
def test_files_with_random_damage_are_read_or_refused_but_nothing_else_happens(tmp_path):
    rng = np.random.default_rng(0)
    for name, data in {"a.nii": GOOD, "a.nii.gz": gzip.compress(GOOD), "a.mgh": MGH, "a.nrrd": NRRD}.items():
        for _ in range(150):
            damaged = bytearray(data)
            for place in rng.integers(0, min(len(data), 400), rng.integers(1, 4)):
                damaged[place] = rng.integers(0, 256)
            (tmp_path / name).write_bytes(damaged)
            try:
                check_values(read_volume(tmp_path / name))
            except InputError as error:
                assert str(error).startswith(str(tmp_path / name))
