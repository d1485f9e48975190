"""Headers of NIfTI, NRRD and MGH files: what they say about the voxels, and the bytes that must survive.

Each reader takes a binary stream that stands at the start of the (uncompressed) file and leaves it at the first byte
of the data. It keeps the header bytes verbatim, so that a file can be written again with other voxels and nothing
else changed. The functions named ``new_*_header`` make headers for files that have no model to copy.

nibabel is imported inside the functions: importing this file needs numpy only.
"""

from __future__ import annotations

import logging
import math
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np

from RefaceLib.common.errors import InputError

LEFT_RIGHT_UNKNOWN = (
    "The header does not say how the volume lies in the head, so left and right cannot be known; check the result."
)

_MAX_HEADER = 1 << 28  # bytes; a header that claims more than this is damaged
_MGH_HEADER = 284
_MAX_ORIGIN = 1e6  # mm; also refuses NaN
_VOXEL_SIZES = (0.01, 100.0)  # mm; beyond these a grid of 1 mm voxels would have no size that one can compute on
_QUIET = logging.getLogger(__name__ + ".quiet")  # nibabel reports header repairs to a logger; users need not see them
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says before its data.

    ``shape`` is (I, J, K), axes of size 1 beyond these dropped; ``affine`` is (4, 4) float64, IJK to RAS mm; a value is
    stored * ``slope`` + ``inter``; ``raw`` is every byte before the data; ``data_gzip`` says that the data alone are
    compressed (NRRD).
    """

    raw: bytes
    dtype: np.dtype
    shape: tuple[int, int, int]
    affine: np.ndarray
    slope: float = 1.0
    inter: float = 0.0
    warnings: tuple[str, ...] = ()
    data_gzip: bool = False


@dataclass(frozen=True, eq=False)
class FileSource:
    """Where a volume came from: the bytes around its data, to be written again as they were."""

    path: Path
    format: str  # a value of FORMATS
    header: bytes  # every byte before the data
    trailer: bytes  # every byte after the data
    data_gzip: bool = False


def read_header(stream: BinaryIO, format_: str, name: str) -> Header:
    """Read the header of a file of ``format_`` (a value of FORMATS); ``name`` is what errors call the file.

    Raises InputError when the header is broken or describes something else than one grey-scale 3D volume, EOFError
    when the file ends within it.
    """
    return {"NIfTI": _read_nifti, "NRRD": _read_nrrd, "MGH": _read_mgh}[format_](stream, name)


# ---- NIfTI ----


def _read_nifti(stream: BinaryIO, name: str) -> Header:
    block, cls, endianness = _nifti_block(stream, name)
    try:
        offset, shape, dtype, slope, inter, affine, warnings = _nifti_fields(cls, block, endianness)
    except Exception as error:  # on broken headers nibabel and numpy raise many unrelated types
        raise _broken(name, "NIfTI") from error
    if offset > _MAX_HEADER:
        raise _broken(name, "NIfTI")
    dtype, shape3, affine = _checked(name, dtype, shape, affine)
    raw = _filled(block + stream.read(offset - len(block)), offset)
    return Header(raw, dtype, shape3, affine, slope, inter, warnings)


def _nifti_block(stream: BinaryIO, name: str) -> tuple[bytes, type, str]:
    """The fixed part of the header, the nibabel class that understands it, and its byte order."""
    import nibabel

    block = stream.read(348)
    sizes = {order: int.from_bytes(block[:4], word) for order, word in (("<", "little"), (">", "big"))}
    for order, size in sizes.items():
        if size == 348:
            magic, cls = _filled(block, 348)[344:348], nibabel.Nifti1Header
        elif size == 540:
            block += stream.read(540 - 348)
            magic, cls = _filled(block, 540)[4:8], nibabel.Nifti2Header
        else:
            continue
        if magic in (b"n+1\0", b"n+2\0"):
            return block, cls, order
        if magic in (b"ni1\0", b"ni2\0"):
            raise InputError(
                f"{name} is half of a NIfTI pair (.hdr and .img): convert the pair to one .nii.gz file first."
            )
        raise InputError(f"{name} is an ANALYZE image, not NIfTI: convert it to .nii.gz first.")
    raise _not_an_image(name, "NIfTI")


def _filled(block: bytes, size: int) -> bytes:
    if len(block) < size:
        raise EOFError
    return block


def _nifti_fields(cls: type, block: bytes, endianness: str) -> tuple:
    """(data offset, shape, dtype, slope, inter, affine, warnings), as nibabel would have them after loading."""
    header = cls(block, endianness=endianness, check=False)
    if not np.isfinite(header["pixdim"][1:4]).all():
        raise ValueError("pixdim is not finite")
    header.check_fix(logger=_QUIET, error_level=40)
    offset = int(header["vox_offset"])
    if offset < cls.single_vox_offset:  # nibabel lets 0 pass, of which each program makes something else
        raise ValueError("the data begin within the header")
    slope, inter = header.get_slope_inter()
    placed = header["sform_code"] != 0 or header["qform_code"] != 0
    return (
        offset,
        header.get_data_shape(),
        header.get_data_dtype(),
        1.0 if slope is None else slope,
        0.0 if inter is None else inter,
        header.get_best_affine(),
        () if placed else (LEFT_RIGHT_UNKNOWN,),
    )


def new_nifti_header(
    dtype: np.dtype,
    shape: tuple[int, int, int],
    affine: np.ndarray,
    slope: float = 1.0,
    inter: float = 0.0,
    model: bytes | None = None,
) -> bytes:
    """A NIfTI header (NIfTI-2 only where a dimension needs it), up to the first byte of the data.

    ``model`` is the header of another NIfTI file with the same grid, whose version is taken and whose qform and sform
    are copied as they are; without it both come from ``affine``. Raises ValueError when NIfTI has no such data type.
    """
    import nibabel
    from nibabel.spatialimages import HeaderDataError

    cls = nibabel.Nifti1Header if max(shape) < 32768 else nibabel.Nifti2Header
    if model is not None:
        block, cls, endianness = _nifti_block(BytesIO(model), "model")
        source = cls(block, endianness=endianness, check=False)
    header = cls(endianness=">" if dtype.str[0] == ">" else "<")
    try:
        header.set_data_dtype(dtype)
    except HeaderDataError as error:
        raise ValueError(str(error)) from error
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    if model is None:
        header.set_sform(affine, code="scanner")
        header.set_qform(affine, code="scanner", strip_shears=True)
    else:  # where the grid lies, and nothing that might name a person
        header["pixdim"][:4] = source["pixdim"][:4]
        fields = "qform_code quatern_b quatern_c quatern_d qoffset_x qoffset_y qoffset_z"
        for field in f"{fields} sform_code srow_x srow_y srow_z xyzt_units".split():
            header[field] = source[field]
    header["scl_slope"], header["scl_inter"] = slope, inter
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    block = header.binaryblock
    return block + bytes(header.single_vox_offset - len(block))


# ---- MGH ----


def _read_mgh(stream: BinaryIO, name: str) -> Header:
    from nibabel.freesurfer.mghformat import MGHHeader

    raw = stream.read(_MGH_HEADER)
    if raw[:4] != b"\0\0\0\1":
        raise _not_an_image(name, "MGH")
    _filled(raw, _MGH_HEADER)
    placed = any(raw[28:30])  # goodRASFlag; without it FreeSurfer's default (coronal) is assumed
    try:
        header = MGHHeader(raw, check=False)
        shape = tuple(int(n) for n in header["dims"])
        dtype, affine = header.get_data_dtype(), header.get_affine()
    except Exception as error:  # see _read_nifti
        raise _broken(name, "MGH") from error
    dtype, shape3, affine = _checked(name, dtype, shape, affine)
    return Header(raw, dtype, shape3, affine, warnings=() if placed else (LEFT_RIGHT_UNKNOWN,))


def new_mgh_header(dtype: np.dtype, shape: tuple[int, int, int], affine: np.ndarray) -> bytes:
    """The 284 bytes before the data of an MGH file; ``dtype`` must be big-endian, a shear of ``affine`` is lost."""
    from nibabel.freesurfer.mghformat import MGHHeader

    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    header = MGHHeader()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header["goodRASFlag"] = 1
    header["delta"] = sizes
    header["Mdc"] = (affine[:3, :3] / sizes).T
    header["Pxyz_c"] = affine[:3, :3] @ (np.array(shape) / 2) + affine[:3, 3]
    return header.binaryblock[:90].ljust(_MGH_HEADER, b"\0")


# ---- NRRD ----

_NRRD_TYPES = {
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
_NRRD_CODES = {alias: code for code, aliases in _NRRD_TYPES.items() for alias in aliases}


def _read_nrrd(stream: BinaryIO, name: str) -> Header:
    raw = _nrrd_text(stream, name)
    fields = _nrrd_fields(raw)
    if "data file" in fields or "datafile" in fields:
        raise InputError(f"{name} is only the header of an NRRD image: save it as one .nrrd file first.")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise InputError(f"{name} has another NRRD encoding than raw and gzip: save it with one of these.")
    if any(fields.get(key, "0").strip() != "0" for key in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise InputError(f"{name} skips bytes in front of its data: save it as a plain .nrrd file first.")
    try:
        dtype, shape = _nrrd_dtype(fields), tuple(int(n) for n in fields["sizes"].split())
        if len(shape) != int(fields["dimension"]):
            raise ValueError("sizes and dimension differ")
        affine, shape, warnings = _nrrd_geometry(fields, shape)
    except Exception as error:  # see _read_nifti
        raise _broken(name, "NRRD") from error
    dtype, shape3, affine = _checked(name, dtype, shape, affine)
    return Header(raw, dtype, shape3, affine, warnings=warnings, data_gzip=encoding != "raw")


def _nrrd_text(stream: BinaryIO, name: str) -> bytes:
    """The header with the blank line that ends it."""
    raw = stream.readline(64)
    if not re.match(rb"NRRD\d{4}\s*$", raw):
        raise _not_an_image(name, "NRRD")
    while len(raw) < _MAX_HEADER:
        line = stream.readline(_MAX_HEADER)
        raw += line
        if not line.endswith(b"\n"):
            raise EOFError
        if not line.strip(b"\r\n"):
            return raw
    raise _broken(name, "NRRD")


def _nrrd_fields(raw: bytes) -> dict[str, str]:
    """The fields, without comments and key/value pairs (which are written ``key:=value``)."""
    fields = {}
    for line in raw.decode("utf-8", errors="replace").splitlines()[1:]:
        field, colon, value = line.partition(":")
        if colon and not line.startswith("#") and not value.startswith("="):
            fields[field.strip().lower()] = value.strip()
    return fields


def _nrrd_dtype(fields: dict[str, str]) -> np.dtype:
    code = _NRRD_CODES.get(fields["type"].lower())
    if code is None:
        return np.dtype("V1")  # blocks of bytes; refused like colours
    if code[1] == "1":
        return np.dtype(code)
    return np.dtype({"little": "<", "big": ">"}[fields["endian"].lower()] + code)


def _nrrd_geometry(fields: dict[str, str], sizes: tuple[int, ...]) -> tuple[np.ndarray, tuple, tuple[str, ...]]:
    """(affine, sizes with the axes of space first, warnings)."""
    signs, warnings = _nrrd_signs(fields.get("space", ""))
    if "space directions" in fields:
        vectors = _nrrd_vectors(fields["space directions"])
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
        affine[:3, 3] = _nrrd_vectors(fields.get("space origin", "(0,0,0)"))[0]
        # An axis that is not one of space and has size 1 changes nothing in the order of the voxels.
        ordered += [n for axis, n in enumerate(sizes) if axis not in spatial]
    return np.diag([*signs, 1.0]) @ affine, tuple(ordered), warnings


def _nrrd_signs(space: str) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Factors that bring x, y, z of ``space`` to RAS; an unknown space is taken as LPS, as ITK does, with a warning."""
    letters = "".join(word[0] for word in space.lower().split("-") if word) if "-" in space else space.lower()
    if re.fullmatch("[rl][ap][si]", letters):
        x, y, z = letters
        return (1 if x == "r" else -1, 1 if y == "a" else -1, 1 if z == "s" else -1), ()
    return (-1, -1, 1), (LEFT_RIGHT_UNKNOWN,)


def _nrrd_vectors(text: str) -> list[list[float] | None]:
    """Vectors as in "none (1,0,0) (0,1,0) (0,0,1)"; none becomes None."""
    found = re.findall(r"\(([^)]*)\)|(none)", text)
    return [None if none else [float(number) for number in vector.split(",")] for vector, none in found]


def new_nrrd_header(dtype: np.dtype, shape: tuple[int, int, int], affine: np.ndarray) -> bytes:
    """The header of an NRRD file with gzip encoding (so its data must be compressed), space left-posterior-superior."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine + 0.0  # + 0.0 turns -0.0 into 0.0

    def vector(numbers: np.ndarray) -> str:
        return "(" + ",".join(repr(float(number)) for number in numbers) + ")"

    lines = [
        "NRRD0004",
        f"type: {_NRRD_TYPES[dtype.str[1:]][-1]}",
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


# ---- checks that all formats share ----


def _checked(
    name: str, dtype: np.dtype, shape: tuple[int, ...], affine: np.ndarray
) -> tuple[np.dtype, tuple[int, int, int], np.ndarray]:
    """The same, with the first three axes alone; InputError when this is not one grey-scale volume with a place."""
    shape = tuple(int(n) for n in shape)
    if min(shape, default=0) < 1:
        raise InputError(f"{name} has no voxels (a dimension of size 0): export the image again.")
    if len(shape) < 3 or min(shape[:3]) < 2:
        raise InputError(f"{name} is a 2D image: give a 3D volume of a head.")
    if math.prod(shape[3:]) > 1:
        count = math.prod(shape[3:])
        raise InputError(f"{name} holds {count} values for each place (4D or colour): give one 3D volume of it.")
    if dtype.kind not in "iuf":
        kind = "complex numbers" if dtype.kind == "c" else "colours or other compound values"
        raise InputError(f"{name} holds {kind}: give a grey-scale volume.")
    return dtype, shape[:3], _checked_affine(name, np.array(affine, dtype=np.float64))


def _checked_affine(name: str, affine: np.ndarray) -> np.ndarray:
    usable = bool((abs(affine) < _MAX_ORIGIN).all())
    if usable:
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        usable = abs(np.linalg.det(affine[:3, :3])) > 1e-4 * np.prod(lengths)
    if not usable:
        raise InputError(f"{name} has an orientation matrix that cannot be used: repair its header.")
    if lengths.min() < _VOXEL_SIZES[0] or lengths.max() > _VOXEL_SIZES[1]:
        sizes = " x ".join(f"{length:.3g}" for length in lengths)
        raise InputError(f"{name} has voxels of {sizes} mm, which no head scan has: correct the units in its header.")
    return affine


def _broken(name: str, format_: str) -> InputError:
    return InputError(f"{name} has a broken {format_} header: export or convert the image again.")


def _not_an_image(name: str, format_: str) -> InputError:
    return InputError(f"{name} is not a valid {format_} image: check the file, or copy it again.")
