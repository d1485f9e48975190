"""Headers of MGH files, the format of FreeSurfer.

nibabel is imported inside the functions: importing this file needs numpy only.
"""

from __future__ import annotations

from io import BufferedIOBase

import numpy as np

from RefaceLib.volume.header import LEFT_RIGHT_UNKNOWN, Header, broken_header, checked_fields, complete, not_an_image

_HEADER_SIZE = 284  # bytes


def read_mgh_header(stream: BufferedIOBase, name: str) -> Header:
    """Read the header of an MGH file, named ``name`` in errors, and leave ``stream`` at the first byte of the data.

    Raises InputError when the header is broken or describes something else than one grey-scale 3D volume, EOFError
    when the file ends within it.
    """
    from nibabel.freesurfer.mghformat import MGHHeader

    raw = stream.read(_HEADER_SIZE)
    if raw[:4] != b"\0\0\0\1":
        raise not_an_image(name, "MGH")
    complete(raw, _HEADER_SIZE)
    placed = any(raw[28:30])  # goodRASFlag; without it FreeSurfer's default (coronal) is assumed
    try:
        header = MGHHeader(raw, check=False)
        shape = tuple(int(n) for n in header["dims"])
        dtype, affine = header.get_data_dtype(), header.get_affine()
    except Exception as error:  # see read_nifti_header
        raise broken_header(name, "MGH") from error
    dtype, shape, affine = checked_fields(name, dtype, shape, affine)
    return Header(raw, dtype, shape, affine, warnings=() if placed else (LEFT_RIGHT_UNKNOWN,))


def new_mgh_header(dtype: np.dtype, shape: tuple[int, ...], affine: np.ndarray) -> bytes:
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
    return header.binaryblock[:90].ljust(_HEADER_SIZE, b"\0")
