"""Headers of NRRD files, the format of 3D Slicer."""

from __future__ import annotations

import re
from io import BufferedIOBase

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.volume.header import LEFT_RIGHT_UNKNOWN, MAX_HEADER, Header, broken_header, checked_fields, not_an_image

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_CODES = {alias: code for code, aliases in _TYPES.items() for alias in aliases}


def read_nrrd_header(stream: BufferedIOBase, name: str) -> Header:
    """Read the header of an NRRD file, named ``name`` in errors, and leave ``stream`` at the first byte of the data.

    Raises InputError when the header is broken or describes something else than one grey-scale 3D volume, EOFError
    when the file ends within it.
    """
    raw = _text(stream, name)
    fields = _fields(raw)
    if "data file" in fields or "datafile" in fields:
        raise InputError(f"{name} is only the header of an NRRD image: save it as one .nrrd file first.")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(f"{name} has another NRRD encoding than raw and gzip: save it with one of these.")
    if any(fields.get(key, "0").strip() != "0" for key in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise InputError(f"{name} skips bytes in front of its data: save it as a plain .nrrd file first.")
    try:
        dtype, shape = _dtype(fields), tuple(int(n) for n in fields["sizes"].split())
        if len(shape) != int(fields["dimension"]):
            raise ValueError("sizes and dimension differ")
        affine, shape, warnings = _geometry(fields, shape)
    except Exception as error:  # see read_nifti_header
        raise broken_header(name, "NRRD") from error
    dtype, shape, affine = checked_fields(name, dtype, shape, affine)
    return Header(raw, dtype, shape, affine, warnings=warnings, data_gzip=encoding != "raw")


def _text(stream: BufferedIOBase, name: str) -> bytes:
    """The header with the blank line that ends it."""
    raw = stream.readline(64)
    if not re.match(rb"NRRD\d{4}\s*$", raw):
        raise not_an_image(name, "NRRD")
    while len(raw) < MAX_HEADER:
        line = stream.readline(MAX_HEADER)
        raw += line
        if not line.endswith(b"\n"):
            raise EOFError
        if not line.strip(b"\r\n"):
            return raw
    raise broken_header(name, "NRRD")


def _fields(raw: bytes) -> dict[str, str]:
    """The fields, without comments and key/value pairs (which are written ``key:=value``)."""
    fields = {}
    for line in raw.decode("utf-8", errors="replace").splitlines()[1:]:
        field, colon, value = line.partition(":")
        if colon and not line.startswith("#") and not value.startswith("="):
            fields[field.strip().lower()] = value.strip()
    return fields


def _dtype(fields: dict[str, str]) -> np.dtype:
    code = _CODES.get(fields["type"].lower())
    if code is None:
        return np.dtype("V1")  # blocks of bytes; refused like colours
    if code[1] == "1":
        return np.dtype(code)
    return np.dtype({"little": "<", "big": ">"}[fields["endian"].lower()] + code)


def _geometry(fields: dict[str, str], sizes: tuple[int, ...]) -> tuple[np.ndarray, tuple, tuple[str, ...]]:
    """(affine, sizes with the axes of space first, warnings)."""
    signs, warnings = _signs(fields.get("space", ""))
    if "space directions" in fields:
        vectors = _vectors(fields["space directions"])
        spatial = [axis for axis, vector in enumerate(vectors) if vector is not None]
        columns = np.array([vectors[axis] for axis in spatial]).T
    else:
        spatial = list(range(min(3, len(sizes))))
        spacings = [float(number) for number in fields.get("spacings", "1 1 1").split()]
        columns, signs, warnings = np.diag(spacings[:3]), (-1, -1, 1), (LEFT_RIGHT_UNKNOWN,)
    affine = np.eye(4)
    ordered = [sizes[axis] for axis in spatial]
    if len(spatial) >= 3:
        affine[:3, :3] = columns
        affine[:3, 3] = _vectors(fields.get("space origin", "(0,0,0)"))[0]
        # An axis that is not one of space and has size 1 changes nothing in the order of the voxels.
        ordered += [n for axis, n in enumerate(sizes) if axis not in spatial]
    return np.diag([*signs, 1.0]) @ affine, tuple(ordered), warnings


def _signs(space: str) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Factors that bring x, y, z of ``space`` to RAS; an unknown space is taken as LPS, as ITK does, with a warning."""
    letters = "".join(word[0] for word in space.lower().split("-") if word) if "-" in space else space.lower()
    if re.fullmatch("[rl][ap][si]", letters):
        x, y, z = list(letters)
        return (1 if x == "r" else -1, 1 if y == "a" else -1, 1 if z == "s" else -1), ()
    return (-1, -1, 1), (LEFT_RIGHT_UNKNOWN,)


def _vectors(text: str) -> list[list[float] | None]:
    """Vectors as in "none (1,0,0) (0,1,0) (0,0,1)"; none becomes None."""
    found = re.findall(r"\(([^)]*)\)|(none)", text)
    return [None if none else [float(number) for number in vector.split(",")] for vector, none in found]


def new_nrrd_header(dtype: np.dtype, shape: tuple[int, ...], affine: np.ndarray) -> bytes:
    """The header of an NRRD file with gzip encoding (so its data must be compressed), space left-posterior-superior."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine + 0.0  # + 0.0 turns -0.0 into 0.0

    def vector(numbers: np.ndarray) -> str:
        return "(" + ",".join(repr(float(number)) for number in numbers) + ")"

    lines = [
        "NRRD0004",
        f"type: {_TYPES[dtype.str[1:]][-1]}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: " + " ".join(str(n) for n in shape),
        "space directions: " + " ".join(vector(lps[:3, axis]) for axis in range(3)),
        "kinds: domain domain domain",
        f"endian: {'big' if dtype.str[0] == '>' else 'little'}",
        "encoding: gzip",
        "space origin: " + vector(lps[:3, 3]),
    ]
    return ("\n".join(lines) + "\n\n").encode()
