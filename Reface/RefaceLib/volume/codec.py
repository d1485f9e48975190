"""How values are stored as numbers: a data type, a slope and an intercept, and not one voxel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_CHUNK = 1 << 20  # voxels that are converted at once: they stay in a processor's cache, and no second copy is needed


@dataclass(frozen=True)
class Codec:
    """Numbers of ``dtype`` stand for values: a value is number * ``slope`` + ``inter``."""

    dtype: np.dtype
    slope: float = 1.0
    inter: float = 0.0

    def to_values(self, stored: np.ndarray) -> np.ndarray:
        """The float32 values of an array of stored numbers, of the same shape; always a new array."""
        with np.errstate(over="ignore", invalid="ignore"):
            if self.slope == 1.0 and self.inter == 0.0:
                return stored.astype(np.float32)
            values = np.empty_like(stored, dtype=np.float32)
            for part in parts(stored.shape):  # float64 is exact for the largest integers, but large
                values[part] = stored[part].astype(np.float64) * self.slope + self.inter
        return values

    def to_stored(self, values: np.ndarray) -> np.ndarray:
        """The stored numbers of an array of ``values`` (float), of the same shape.

        For integer types the numbers are rounded to the nearest and clipped to the range of the type, never wrapped;
        NaN becomes the number of the value 0.
        """
        values = np.asarray(values)
        stored = np.empty_like(values, dtype=self.dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            for part in parts(values.shape):
                numbers = (values[part].astype(np.float64) - self.inter) / self.slope
                if self.dtype.kind != "f":
                    low, high = _integer_range(self.dtype)
                    zero = -self.inter / self.slope
                    numbers = np.clip(np.rint(np.where(np.isnan(numbers), zero, numbers)), low, high)
                stored[part] = numbers
        return stored


def _integer_range(dtype: np.dtype) -> tuple[float, float]:
    """The least and the largest float64 that the integer type holds (for 64 bits that is less than its maximum)."""
    limits = np.iinfo(dtype)
    high = float(limits.max)
    return float(limits.min), high if int(high) <= limits.max else math.nextafter(high, 0.0)


def parts(shape: tuple[int, ...]) -> Iterator[tuple]:
    """Indices that cut an array along its last axis into parts of about _CHUNK elements."""
    if not shape:
        yield ()
        return
    step = max(1, _CHUNK // max(1, math.prod(shape[:-1])))
    for start in range(0, shape[-1], step):
        yield (..., slice(start, start + step))
