"""The stored numbers of DICOM files, decoded where they are compressed, and put back uncompressed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.dicom.frames import Frame, read_dataset, reading

if TYPE_CHECKING:
    from pydicom import Dataset

_OUTDATED = (  # by other pixels, or by pixels that are not compressed any more
    "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries", "LargestPixelValueInSeries",
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
)  # fmt: skip
_BIT = 0x0102  # of overlays: the bit of the pixels that they use, 0 where they have data of their own
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def read_numbers(frames: Sequence[Frame]) -> np.ndarray:
    """The stored numbers of ``frames`` as (columns, rows, frames), in the smallest type that holds those of all."""
    planes = [_decoded(frame.path, frame.path.stat().st_mtime_ns)[frame.index] for frame in frames]
    stacked = np.empty((*frames[0].size, len(frames)), np.result_type(*planes), order="F")
    for index, plane in enumerate(planes):
        stacked[:, :, index] = plane.T
    return stacked


@lru_cache(maxsize=1)  # the many volumes of a multi-frame file need it decoded but once
def _decoded(path: Path, modified: int) -> np.ndarray:
    return stored_numbers(path, read_dataset(path))


def stored_numbers(path: Path, dataset: Dataset) -> np.ndarray:
    """The stored numbers (frames, rows, columns) of a dataset from ``path``, without any rescaling.

    Raises InputError where there are none, they are no whole grey values, or they cannot be decoded.
    """
    if "PixelData" not in dataset:
        kind = "floating-point pixels" if any(name in dataset for name in PIXELS[1:]) else "no pixels"
        raise InputError(f"{path} has {kind}: give a series with whole numbers.")
    if any(tag.group >> 8 == 0x60 and tag.element == _BIT and dataset[tag].value for tag in dataset.keys()):
        raise InputError(f"{path} has graphics in unused bits of its pixels: remove them first.")
    with reading(path):
        missing = _missing_decoder(dataset)
        if missing:
            raise InputError(
                f"{path} is compressed ({missing}), which no installed package reads: decompress the series first, or "
                "install python-gdcm (not into 3D Slicer for Linux), pylibjpeg and pyjpegls."
            )
        numbers = dataset.pixel_array
        return numbers.reshape(-1, int(dataset.Rows), int(dataset.Columns))


def _missing_decoder(dataset: Dataset) -> str:
    """The name of the compression where no package that is installed reads it, else ''."""
    from pydicom.pixels import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or syntax.is_deflated:
        return ""
    try:
        return "" if get_decoder(syntax).is_available else syntax.name
    except NotImplementedError:
        return syntax.name


def put_numbers(dataset: Dataset, numbers: np.ndarray) -> None:
    """Put stored numbers (frames, rows, columns) into a dataset as uncompressed pixel data.

    That the source was compressed with losses stays said.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _lossy() and not dataset.get("LossyImageCompression"):
        dataset.LossyImageCompression = "01"
    dtype = numbers.dtype.newbyteorder("<")
    data = np.ascontiguousarray(numbers, dtype).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if dtype.itemsize > 1 else "OB"
    for name in _OUTDATED:
        if name in dataset:
            del dataset[name]


def _lossy() -> tuple[str, ...]:
    from pydicom import uid

    return (
        uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K,
    )  # fmt: skip


def number_range(dataset: Dataset) -> tuple[int, int]:
    """The least and the largest number that the bits of a dataset hold."""
    bits = int(dataset.BitsStored)
    if int(dataset.PixelRepresentation):
        return -(1 << bits - 1), (1 << bits - 1) - 1
    return 0, (1 << bits) - 1
