"""The random numbers of a seed; those of four consecutive seeds are anticorrelated, so that their faces differ more."""

from __future__ import annotations

import secrets

import numpy as np

BLOCK = 4  # seeds 4 k to 4 k + 3


class SeededDraws:
    """Standard normal numbers of a ``seed``, with the interface of numpy's Generator.

    The numbers of one seed are independent. Those of two seeds of one block have a correlation of -1/3 in the same
    ``attempt``, the least that is possible among four: antithetic variates (Hammersley and Morton 1956), of four
    instead of two. Several faces of one head thus differ as much as possible. Seeds of different blocks are
    independent, and so are the attempts (0, 1, ...) of one seed.
    """

    def __init__(self, seed: int, attempt: int = 0) -> None:
        first = seed - seed % BLOCK
        entropy = [(number, attempt) if attempt else number for number in range(first, seed + 1)]
        self._generators = [np.random.default_rng(each) for each in entropy]

    def standard_normal(self, size: int) -> np.ndarray:
        """The next ``size`` numbers (float64). They depend on the seeds before it in its block; all four sum to 0."""
        total = np.zeros(size)
        for before, generator in enumerate(self._generators):
            spread = np.sqrt(1 - before / ((BLOCK - 1) * (BLOCK - before)))
            drawn = spread * generator.standard_normal(size) - total / (BLOCK - before)
            total += drawn
        return drawn


def new_seed(largest: int) -> int:
    """A random seed, at most ``largest``: the first of a block, so that the next three are anticorrelated with it."""
    return BLOCK * secrets.randbelow(largest // BLOCK + 1)
