"""Reading and writing volumes: NIfTI, NRRD and MGH, so that what is not changed stays the same to the last bit.

A Volume holds the numbers as they are in the file, and the bytes of the file around them. ``write_volume`` puts other
numbers between the same bytes; data type, byte order, scale factors, extensions and tags are therefore kept.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import reduce, wraps
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import numpy as np

from RefaceLib.common.errors import InputError, OutputError, PromiseError
from RefaceLib.common.files import OutputSet
from RefaceLib.common.imagenames import FORMATS, IMAGE_EXTENSIONS, image_extension
from RefaceLib.volume.codec import Codec, parts
from RefaceLib.volume.header import CONTRADICTION, LEFT_RIGHT_UNKNOWN, FileSource, Header
from RefaceLib.volume.mgh import new_mgh_header, read_mgh_header
from RefaceLib.volume.nifti import new_nifti_header, read_nifti_header
from RefaceLib.volume.nrrd import new_nrrd_header, read_nrrd_header

if TYPE_CHECKING:
    from isal import igzip

# The largest share of NaN and Inf voxels that check_values lets pass: SPM writes NaN wherever a turned volume ends.
MAX_NON_FINITE = 0.75
MAX_EQUAL = 0.65  # and of neighbours of one value: at most 0.2 in heads (0.3 in means of many), at least 0.75 in labels
_COMMON = 3  # values that may fill regions of an image: blank, what a tool has filled, saturation
_CHUNK = 1 << 23  # bytes (or voxels) that are handled at once, so that large volumes need no second copy
_SOME = 100_000  # voxels tell which value is the most common, and how bright a scan is
_ORDINARY = (1.0, 1e6)  # values of bright tissue whose squares and differences float32 holds
_MAX_DEFLATE = 1032  # gzip cannot compress more than about this many times
_GZIP_LEVEL = 3  # ISA-L's highest: a twentieth of the time of zlib's usual 6, files 8 % larger


@dataclass(frozen=True, eq=False)
class Volume:
    """One 3D image, or several frames of it; the arrays are not to be changed in place.

    ``stored`` is (I, J, K), the numbers as they are in the file, in its data type and byte order; (I, J, K, T) where
    frames were asked for (see read_volume), which session.py understands and the pipeline does not. It is in Fortran
    order, as files have it, and copied where it is not: sums depend on the order of their terms. ``affine`` is
    (4, 4) float64, IJK to RAS mm; a value is stored * ``slope`` + ``inter``. ``source`` holds the file's other bytes,
    None for a volume that came from no file. ``warnings`` are sentences for the user.
    """

    stored: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    inter: float = 0.0
    source: FileSource | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stored", np.asfortranarray(self.stored))

    @property
    def name(self) -> str:
        """What error messages call the volume."""
        return "The volume" if self.source is None else str(self.source.path)

    @property
    def placed(self) -> bool:
        """Whether the header says how the volume lies in the world."""
        return LEFT_RIGHT_UNKNOWN not in self.warnings

    def values(self) -> np.ndarray:
        """The values, (I, J, K) float32 in Fortran order; NaN and Inf are kept."""
        return self.codec.to_values(self.stored)

    @property
    def codec(self) -> Codec:
        """How values become stored numbers, and back."""
        return Codec(self.stored.dtype, self.slope, self.inter)


# ---- reading ----


def read_volume(path: str | Path, *, frames: bool = False) -> Volume:
    """Read a NIfTI (.nii, .nii.gz), NRRD (.nrrd) or MGH (.mgz, .mgh) file.

    An axis beyond the third is accepted when its size is 1, or in a NIfTI file where ``frames`` are welcome. Raises
    InputError with one sentence for anything else than one readable grey-scale volume.
    """
    path = Path(path)
    with _reading(path), contextlib.ExitStack() as stack:
        format_ = _input_format(path)
        file = stack.enter_context(open(path, "rb"))
        size = path.stat().st_size
        if size == 0:
            raise InputError(f"{path} is empty: copy it again.")
        stream: BufferedIOBase = file
        compressed = format_ != "NRRD" and file.peek(2)[:2] == b"\x1f\x8b"
        if compressed:
            stream = stack.enter_context(gzip.GzipFile(fileobj=file))
        header = read_header(stream, format_, str(path), frames)
        if header.data_gzip:
            compressed = True
            stream = stack.enter_context(gzip.GzipFile(fileobj=file))
        # Headers may claim anything: no memory is asked for what the file cannot hold.
        if math.prod(header.shape) * header.dtype.itemsize > size * (_MAX_DEFLATE if compressed else 1):
            raise EOFError
        stored = _read_data(stream, header.shape, header.dtype)
        trailer = stream.read()  # to the end, where gzip compares its checksum
    source = FileSource(path, format_, header.raw, trailer, header.data_gzip)
    return Volume(stored, header.affine, header.slope, header.inter, source, header.warnings)


def read_header(stream: BufferedIOBase, format_: str, name: str, frames: bool = False) -> Header:
    """Read the header of a file of ``format_`` (a value of FORMATS), named ``name`` in errors; ``frames`` as there.

    ``stream`` stands at the start of the uncompressed file, and afterwards at the first byte of the data. Raises
    InputError and EOFError as the reader of that format does.
    """
    if format_ == "NIfTI":
        return read_nifti_header(stream, name, frames)
    return {"NRRD": read_nrrd_header, "MGH": read_mgh_header}[format_](stream, name)


def _input_format(path: Path) -> str:
    """The format that the name promises; InputError when there is no such file or it is of no use."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: give one image file; for DICOM, use 'reface dicom' or dcm2niix.")
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the name.")
    extension = image_extension(path)
    if extension:
        return FORMATS[extension]
    with open(path, "rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".ima"):
        raise InputError(f"{path} is a DICOM file: use 'reface dicom', or convert it with dcm2niix.")
    if path.name.lower().endswith((".hdr", ".img", ".hdr.gz", ".img.gz")):
        raise InputError(f"{path} is half of a pair of .hdr and .img: convert the pair to one .nii.gz file first.")
    if path.suffix.lower() == ".nhdr":
        raise InputError(f"{path} is only the header of an NRRD image: save it as one .nrrd file first.")
    raise InputError(f"{path} has none of the endings {', '.join(IMAGE_EXTENSIONS)}: convert it to one of them first.")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what reading may raise into InputError."""
    try:
        yield
    except EOFError as error:
        raise InputError(f"{path} is truncated (it ends before its last voxel): copy it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged (its compressed data cannot be read): copy it again.") from error
    except MemoryError as error:
        raise InputError(f"{path} does not fit into the memory of this machine: use a larger one.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path} cannot be read ({reason}): check its permissions and the disk.") from error


def _read_data(stream: BufferedIOBase, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    flat = np.empty(math.prod(shape), dtype)
    view = flat.view(np.uint8).data
    done = 0
    while done < len(view):
        count = stream.readinto(view[done : done + _CHUNK])
        if not count:
            raise EOFError
        done += count
    flat.flags.writeable = False
    return flat.reshape(shape, order="F")


def check_values(volume: Volume) -> tuple[str, ...]:
    """Warnings about the values of ``volume``; InputError when they cannot be an image.

    That is when all are zero, all are the same, more than MAX_NON_FINITE of them are NaN or Inf, or most are as their
    neighbours are, as in a segmentation.
    """
    low, high, bad = math.inf, -math.inf, 0
    for part in parts(volume.stored.shape):
        values = volume.codec.to_values(volume.stored[part])
        finite = np.isfinite(values)
        count = int(np.count_nonzero(finite))
        bad += values.size - count
        if count:
            values = values if count == values.size else values[finite]
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    share = bad / volume.stored.size
    if share > MAX_NON_FINITE:
        raise InputError(f"{volume.name} has no finite value (NaN or Inf) in {share:.0%} of its voxels: repair it.")
    if low == high == 0:
        raise InputError(f"{volume.name} holds only zeros: give the image of a head.")
    if low == high:
        raise InputError(f"{volume.name} holds the same value in every voxel: give the image of a head.")
    if all(_equal_neighbours(volume.stored, common) > MAX_EQUAL for common in (1, _COMMON)):
        raise InputError(f"{volume.name} holds labels (regions of one value), not an image: give the image of a head.")
    if bad == 1:
        return ("1 voxel is not finite; it stays as it is.",)
    return (f"{bad} voxels are not finite; they stay as they are.",) if bad else ()


def _equal_neighbours(stored: np.ndarray, common: int) -> float:
    """Of all pairs of neighbouring voxels without the most ``common`` values, the share in which both are the same.

    The most common value is background: 0 as a rule, but what a blank voxel is stored as depends on the scaling. Where
    a tool has filled a face, or a narrow window has saturated bone, these are further such values.
    """
    some, counts = np.unique(np.ravel(stored, order="K")[:: max(1, stored.size // _SOME)], return_counts=True)
    background = some[counts.argsort()[-common:]]
    equal = pairs = 0
    for part in parts(stored.shape):
        seen = reduce(np.logical_and, [stored[part] != value for value in background])  # in the volume's own order
        for axis in range(stored.ndim):
            block, shown = np.moveaxis(stored[part], axis, 0), np.moveaxis(seen, axis, 0)
            both = shown[1:] & shown[:-1]
            pairs += int(np.count_nonzero(both))
            equal += int(np.count_nonzero((block[1:] == block[:-1]) & both))
    return equal / pairs if pairs else float(common > 1)  # of a mask nothing is left


def in_ordinary_units(volume: Volume) -> Volume:
    """The same numbers with values that float32 can reckon with: times a power of two, which changes no digit of them.

    Only values that are far too small or too large change; a square of 1e-30 would be zero in float32.
    """
    some = np.ravel(volume.stored, order="K")[:: volume.stored.size // _SOME | 1]
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.abs(some.astype(np.float64) * volume.slope + volume.inter)
    size = size[np.isfinite(size) & (size > 0)]
    bright = float(np.percentile(size, 98)) if size.size else 1.0
    if _ORDINARY[0] <= bright <= _ORDINARY[1]:
        return volume
    factor = 2.0 ** round(math.log2(1000.0 / bright))
    return replace(volume, slope=volume.slope * factor, inter=volume.inter * factor)


_Rest = ParamSpec("_Rest")
_Result = TypeVar("_Result")


def tells_contradictions(
    function: Callable[Concatenate[Volume, _Rest], _Result],
) -> Callable[Concatenate[Volume, _Rest], _Result]:
    """Decorate a ``function`` of a volume: where it refuses one whose header contradicts itself, the error tells so."""

    @wraps(function)
    def told(volume: Volume, *rest: _Rest.args, **named: _Rest.kwargs) -> _Result:
        try:
            return function(volume, *rest, **named)
        except (InputError, PromiseError) as error:
            for warning in volume.warnings:
                if warning.startswith(CONTRADICTION):
                    cause = warning[0].lower() + warning[1:-1]
                    raise type(error)(f"{str(error).removesuffix('.')} ({cause}).") from error
            raise

    return told


# ---- writing ----


def check_format(path: str | Path, volume: Volume) -> None:
    """Raise OutputError when ``volume`` cannot be written to a file of this name."""
    wanted = "NIfTI" if volume.source is None else volume.source.format
    if FORMATS.get(image_extension(path)) != wanted:
        endings = " or ".join(extension for extension, format_ in FORMATS.items() if format_ == wanted)
        like = "" if volume.source is None else " like the input"
        raise OutputError(f"{path} has another format: write the output as {wanted}{like}, with the ending {endings}.")


def write_volume(path: str | Path, volume: Volume, stored: np.ndarray, *, overwrite: bool = False) -> None:
    """Write ``volume`` with the numbers ``stored``, (I, J, K) of the same data type, in place of its own.

    All other bytes are those of ``volume.source``; a volume without one becomes a new NIfTI file. The file appears
    whole or not at all. Raises OutputError when it cannot be written, ValueError for ``stored`` of another kind.
    """
    check_format(path, volume)
    dtype = volume.stored.dtype
    if stored.shape != volume.stored.shape or stored.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise ValueError(f"stored must be {volume.stored.shape} {dtype}, not {stored.shape} {stored.dtype}")
    source = volume.source
    if source is None:
        try:
            header = new_nifti_header(dtype, stored.shape, volume.affine, volume.slope, volume.inter)
        except ValueError as error:
            raise OutputError(f"NIfTI has no voxels of type {dtype}: convert the volume to another type.") from error
        source = FileSource(Path(path), "NIfTI", header, b"")
    _write_file(Path(path), source, stored, dtype, overwrite)


def write_mask(path: str | Path, mask: np.ndarray, volume: Volume, *, overwrite: bool = False) -> None:
    """Write ``mask`` (I, J, K) as 0 and 1 (uint8) on the grid of ``volume``, in the format of the name's ending.

    Several frames have one mask. The header is new, so that nothing in it names the person. Raises OutputError when it
    cannot be written.
    """
    if mask.shape != volume.stored.shape[:3]:
        raise ValueError(f"mask must be {volume.stored.shape[:3]}, not {mask.shape}")
    dtype = np.dtype(np.uint8)
    format_ = FORMATS.get(image_extension(path))
    if format_ == "NIfTI":
        model = volume.source.header if volume.source is not None and volume.source.format == "NIfTI" else None
        header = new_nifti_header(dtype, mask.shape, volume.affine, model=model)
    elif format_ == "NRRD":
        header = new_nrrd_header(dtype, mask.shape, volume.affine)
    elif format_ == "MGH":
        header = new_mgh_header(dtype, mask.shape, volume.affine)
    else:
        raise OutputError(f"{path} must end with one of {', '.join(IMAGE_EXTENSIONS)}: choose another name.")
    source = FileSource(Path(path), format_, header, b"", data_gzip=format_ == "NRRD")
    _write_file(Path(path), source, mask.astype(bool), dtype, overwrite)


def _write_file(path: Path, source: FileSource, stored: np.ndarray, dtype: np.dtype, overwrite: bool) -> None:
    """The bytes of ``source`` with ``stored`` (as ``dtype``, Fortran order) between them, atomically."""
    with OutputSet(overwrite) as out, open(out.stage(path), "xb") as file:
        if image_extension(path) in (".nii.gz", ".mgz"):
            with _compressor(file) as stream:
                stream.write(source.header)
                _write_data(stream, stored, dtype)
                stream.write(source.trailer)
        else:
            file.write(source.header)
            with _compressor(file) if source.data_gzip else contextlib.nullcontext(file) as stream:
                _write_data(stream, stored, dtype)
                stream.write(source.trailer)


def _compressor(file: BufferedIOBase) -> igzip.GzipFile:
    from isal import igzip  # which 3D Slicer lacks until the module, which imports this file, has asked for it

    # Neither a name nor a time: the same volume always gives the same bytes.
    return igzip.GzipFile(filename="", mode="wb", compresslevel=_GZIP_LEVEL, fileobj=file, mtime=0)


def _write_data(stream: BufferedIOBase, stored: np.ndarray, dtype: np.dtype) -> None:
    for part in parts(stored.shape, _CHUNK):  # the bytes of a compressed file depend on it
        block = stored[part].astype(dtype, copy=False)
        stream.write(np.ravel(block, order="F").view(np.uint8).data)
