"""Headers of NIfTI-1 and NIfTI-2 files.

nibabel is imported inside the functions: importing this file needs numpy only.
"""

from __future__ import annotations

import itertools
import logging
from io import BufferedIOBase, BytesIO
from typing import TYPE_CHECKING, Literal

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.volume.header import (
    CONTRADICTION,
    LEFT_RIGHT_UNKNOWN,
    MAX_HEADER,
    Header,
    broken_header,
    checked_fields,
    complete,
    not_an_image,
)

if TYPE_CHECKING:
    from nibabel import Nifti1Header

_APART_MM = 2.0  # between sform and qform: rounding and resampling stay far below it
_QUIET = logging.getLogger(__name__ + ".quiet")  # nibabel reports header repairs to a logger; users need not see them
_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False


def read_nifti_header(stream: BufferedIOBase, name: str, frames: bool = False) -> Header:
    """Read the header of a NIfTI file, named ``name`` in errors, and leave ``stream`` at the first byte of the data.

    ``frames``: several frames are welcome. Raises InputError when the header is broken or describes something else than
    one grey-scale 3D volume, EOFError when the file ends within it.
    """
    block, cls, endianness = _fixed_part(stream, name)
    try:
        offset, shape, dtype, slope, inter, affine, warnings = _fields(cls, block, endianness)
    except Exception as error:  # on broken headers nibabel and numpy raise many unrelated types
        raise broken_header(name, "NIfTI") from error
    if offset > MAX_HEADER:
        raise broken_header(name, "NIfTI")
    dtype, shape, affine = checked_fields(name, dtype, shape, affine, frames)
    raw = complete(block + stream.read(offset - len(block)), offset)
    return Header(raw, dtype, shape, affine, slope, inter, warnings)


def _fixed_part(stream: BufferedIOBase, name: str) -> tuple[bytes, type[Nifti1Header], Literal["<", ">"]]:
    """The fixed part of the header, the nibabel class that understands it, and its byte order."""
    import nibabel

    block = stream.read(348)
    sizes: dict[Literal["<", ">"], int]
    sizes = {"<": int.from_bytes(block[:4], "little"), ">": int.from_bytes(block[:4], "big")}
    for order, size in sizes.items():
        if size == 348:
            magic, cls = complete(block, 348)[344:348], nibabel.Nifti1Header
        elif size == 540:
            block += stream.read(540 - 348)
            magic, cls = complete(block, 540)[4:8], nibabel.Nifti2Header
        else:
            continue
        if magic in (b"n+1\0", b"n+2\0"):
            return block, cls, order
        if magic in (b"ni1\0", b"ni2\0"):
            raise InputError(
                f"{name} is half of a NIfTI pair (.hdr and .img): convert the pair to one .nii.gz file first."
            )
        raise InputError(f"{name} is an ANALYZE image, not NIfTI: convert it to .nii.gz first.")
    raise not_an_image(name, "NIfTI")


def _fields(cls: type[Nifti1Header], block: bytes, endianness: str) -> tuple:
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
        _contradictions(header) if placed else (LEFT_RIGHT_UNKNOWN,),
    )


def _contradictions(header: Nifti1Header) -> tuple[str, ...]:
    """A warning where the header's two descriptions of the grid put its corners at different places."""
    shape = header.get_data_shape()[:3]
    if header["sform_code"] == 0 or header["qform_code"] == 0 or len(shape) < 3:
        return ()
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in shape])))
    sform, qform = (corners @ a[:3, :3].T + a[:3, 3] for a in (header.get_sform(), header.get_qform()))
    apart = float(np.linalg.norm(sform - qform, axis=1).max())
    if not apart > _APART_MM:
        return ()
    return (f"{CONTRADICTION}: its sform and qform are up to {apart:.0f} mm apart; the sform was used.",)


def new_nifti_header(
    dtype: np.dtype,
    shape: tuple[int, ...],
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
        block, cls, endianness = _fixed_part(BytesIO(model), "model")
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
