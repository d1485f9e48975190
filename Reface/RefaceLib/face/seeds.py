"""The chance that a face is made of: a seed's random numbers, drawn apart for four seeds that follow each other."""

from __future__ import annotations

import secrets

import numpy as np

BLOCK = 4  # seeds 4 k to 4 k + 3


class Chance:
    """Standard normal numbers of a ``seed``, as numpy's Generator draws them.

    For each seed alone they are independent chance. Those of two seeds of one block correlate by -1 / 3, the least that
    four can have among themselves: antithetic variates (Hammersley and Morton 1956), of four instead of two. So who
    makes several faces of one head gets faces that are as unlike as they can be. Seeds of two blocks are independent.
    """

    def __init__(self, seed: int) -> None:
        first = seed - seed % BLOCK
        self._generators = [np.random.default_rng(number) for number in range(first, seed + 1)]

    def standard_normal(self, size: int) -> np.ndarray:
        """The next ``size`` numbers; float64. Each of a block is drawn given those before it; all four sum to 0."""
        total = np.zeros(size)
        for before, generator in enumerate(self._generators):
            spread = np.sqrt(1 - before / ((BLOCK - 1) * (BLOCK - before)))
            drawn = spread * generator.standard_normal(size) - total / (BLOCK - before)
            total += drawn
        return drawn


def new_seed(largest: int) -> int:
    """A seed by chance, at most ``largest``: the first of a block, so that the next three are drawn apart from it."""
    return BLOCK * secrets.randbelow(largest // BLOCK + 1)
