"""Image files made byte by byte for the tests of reading and writing, and what those tests have in common."""

from __future__ import annotations

import gzip
import os
import re

import nibabel as nib
import numpy as np

SHAPE = (5, 6, 7)
OBLIQUE = np.array([[-0.9, 0.2, 0.1, 31.5], [0.15, 1.1, -0.3, -20.25], [0.1, 0.25, 2.0, 7.0], [0, 0, 0, 1]])


def numbers(dtype, shape=SHAPE):
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(1)
    if dtype.kind == "f":
        return rng.normal(0, 100, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, endpoint=True, dtype=dtype.newbyteorder("=")).astype(dtype)


def nifti_bytes(array, affine=OBLIQUE, *, cls=nib.Nifti1Header, sform=1, qform=1, slope=None, extension=b"", **fields):
    """A NIfTI file made field by field, so that every byte of it is known."""
    order = ">" if array.dtype.str[0] == ">" else "<"
    header = cls(endianness=order)
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape)
    header.set_qform(affine, code=qform)
    header.set_sform(affine, code=sform)
    if slope:
        header["scl_slope"], header["scl_inter"] = slope
    header["descrip"] = b"kept"
    header["magic"] = header.single_magic
    extra = b"\0\0\0\0"
    if extension:
        size = -(-(len(extension) + 8) // 16) * 16
        word = ">i4" if order == ">" else "<i4"
        extra = b"\1\0\0\0" + np.array([size, 6], word).tobytes() + extension.ljust(size - 8, b"\0")
    header["vox_offset"] = len(header.binaryblock) + len(extra)
    for field, value in fields.items():
        header[field] = value
    return header.binaryblock + extra + array.tobytes(order="F")


def mgh_bytes(array, affine=OBLIQUE, trailer=b""):
    image = nib.MGHImage(array, affine)
    return image.header.binaryblock[:90].ljust(284, b"\0") + array.tobytes(order="F") + trailer


def nrrd_bytes(array, affine=OBLIQUE, space="left-posterior-superior", encoding="raw", extra="", **replaced):
    """An NRRD file; ``replaced`` fields take the place of the usual ones, None leaves a field out."""
    flips = {"l": (-1, 0), "r": (1, 0), "p": (-1, 1), "a": (1, 1), "s": (1, 2)}
    letters = [word[0] for word in space.lower().split("-")] if "-" in space else list(space.lower())
    there = np.diag([flips[letter][0] for letter in letters] + [1.0]) @ affine
    vectors = ["(" + ",".join(repr(float(n)) for n in there[:3, axis]) + ")" for axis in range(4)]
    fields = {
        "type": {"i": "int", "u": "uint", "f": "float"}[array.dtype.kind] + str(8 * array.dtype.itemsize),
        "dimension": array.ndim,
        "space": space,
        "sizes": " ".join(map(str, array.shape)),
        "space_directions": " ".join(vectors[:3]),
        "endian": "big" if array.dtype.str[0] == ">" else "little",
        "encoding": encoding,
        "space_origin": vectors[3],
    }
    fields["type"] = {"float32": "float", "float64": "double"}.get(fields["type"], fields["type"])
    fields.update(replaced)
    lines = [f"{name.replace('_', ' ')}: {value}" for name, value in fields.items() if value is not None]
    data = array.tobytes(order="F")
    text = "\n".join(["NRRD0005", "# a comment", *lines]) + "\n" + extra + "\n"
    return text.encode() + (gzip.compress(data, mtime=5) if encoding in ("gzip", "gz") else data)


def write_bytes(path, data):
    path.write_bytes(gzip.compress(data, 1) if path.suffix in (".gz", ".mgz") else data)
    return path


def plain(path):
    """The bytes of a file without its compression (of all of it, or of the data of an NRRD file)."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:4] == b"NRRD" and re.search(rb"\nencoding: gz", data):
        header, _, rest = data.partition(b"\n\n")
        return header + b"\n\n" + gzip.decompress(rest)
    return data


def assert_one_sentence(error, *parts):
    text = str(error.value)
    for path in parts:
        assert str(path) in text
        text = text.replace(str(path), "X")
    assert text.endswith(".") and not re.search(r"[.!?] [A-Z]", text) and "\n" not in text
    assert "Error" not in text and ".reface-" not in text
    assert ":" in text  # after the colon it says what to do


def assert_nothing_left(folder, *names):
    assert sorted(os.listdir(folder)) == sorted(names)
