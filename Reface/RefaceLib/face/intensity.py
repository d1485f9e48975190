"""The intensity scale of a scan, estimated from the brain alone, and its inverse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IntensityScale:
    """``black`` is air and ``white`` is white matter; normalisation maps them to 0 and 1."""

    black: float
    white: float

    @classmethod
    def of(cls, values: np.ndarray, brain: np.ndarray) -> IntensityScale:
        """Estimate it from ``values`` (I, J, K) within ``brain`` (bool) alone, so that no face can change it.

        White is the 90th percentile of the brain, which is white matter in T1.
        """
        inside = values[brain]
        inside = inside[np.isfinite(inside)]
        white = float(np.percentile(inside, 90))
        # Air is near zero in a magnitude image; a scan with an offset has it as its least value.
        black = min(0.0, float(inside.min()))
        return cls(black, max(white, black + 1e-6))

    def normalise(self, values: np.ndarray) -> np.ndarray:
        return ((values - self.black) / (self.white - self.black)).astype(np.float32)

    def restore(self, picture: np.ndarray) -> np.ndarray:
        return picture * (self.white - self.black) + self.black
