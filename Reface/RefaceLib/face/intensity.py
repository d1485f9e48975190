"""The intensity scale of a scan, estimated from its air and its brain, and the inverse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.volume.air import Air


@dataclass(frozen=True)
class IntensityScale:
    """``black`` is air and ``white`` is white matter; normalisation maps them to 0 and 1."""

    black: float
    white: float

    @classmethod
    def of(cls, values: np.ndarray, brain: np.ndarray, air: Air) -> IntensityScale:
        """Estimate it from ``values`` (I, J, K) within ``brain`` (bool) and the ``air``, so that no face can change it.

        White is the 90th percentile of the brain, which is white matter in T1. Raises HeadNotFoundError where the brain
        is no brighter than air.
        """
        inside = values[brain]
        inside = inside[np.isfinite(inside)]
        white = float(np.percentile(inside, 90))
        if not white > air.level:
            raise HeadNotFoundError(
                "No face can be made for a scan whose brain is as dark as air: give another contrast."
            )
        return cls(air.level, white)

    def normalise(self, values: np.ndarray) -> np.ndarray:
        return ((values - self.black) / (self.white - self.black)).astype(np.float32)

    def restore(self, picture: np.ndarray) -> np.ndarray:
        return picture * (self.white - self.black) + self.black
