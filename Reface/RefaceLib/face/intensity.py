"""The scale of a scan's intensities, taken from where there is no face, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class IntensityScale:
    """``black`` is air, ``white`` is white matter; a normalised picture has them at 0 and 1."""

    black: float
    white: float

    @classmethod
    def of(cls, values: np.ndarray, brain: np.ndarray) -> IntensityScale:
        """From ``values`` (I, J, K) within ``brain`` (bool) alone, so that no face can change it.

        White is the 90th percentile of the brain, which in T1 is white matter.
        """
        inside = values[brain]
        inside = inside[np.isfinite(inside)]
        white = float(np.percentile(inside, 90))
        # T1 air is near zero by construction of magnitude images; a scan with an offset shows it as its least value.
        black = min(0.0, float(inside.min()))
        return cls(black, max(white, black + 1e-6))

    def normalise(self, values: np.ndarray) -> np.ndarray:
        return ((values - self.black) / (self.white - self.black)).astype(np.float32)

    def restore(self, picture: np.ndarray) -> np.ndarray:
        return picture * (self.white - self.black) + self.black
