"""The random numbers of a seed; those of four consecutive seeds are anticorrelated, so that their faces differ more."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np

BLOCK = 4  # seeds 4 k to 4 k + 3
# Between any two of a block. The least that is possible among four is -1/3, but then the numbers of the fourth are
# those of the others, and no further attempt could differ.
CORRELATION = -0.3


def block_before(seed: int) -> range:
    """The seeds of the block of ``seed`` that come before it."""
    return range(seed - seed % BLOCK, seed)


class SeededDraws:
    """Standard normal numbers of a ``seed``, with the interface of numpy's Generator.

    ``before`` are the draws of other seeds, from which these have a correlation of CORRELATION, as antithetic variates
    (Hammersley and Morton 1956) of four instead of two. With those kept for the seeds of ``block_before``, several
    faces of one head differ as much as possible. The ``attempts`` (0, 1, ...) of one seed differ in what is left free.
    """

    def __init__(self, seed: int, attempt: int = 0, before: Sequence[SeededDraws] = ()) -> None:
        self._generator = np.random.default_rng((seed, attempt) if attempt else seed)
        self._before = before
        self.numbers = np.zeros(0)  # all that were drawn, in this order

    def standard_normal(self, size: int) -> np.ndarray:
        """The next ``size`` numbers (float64): normal given the numbers at the same place in the draws before it."""
        part = slice(len(self.numbers), len(self.numbers) + size)
        total = sum((draws.numbers[part] for draws in self._before), np.zeros(size))
        share = CORRELATION / (1 + (len(self._before) - 1) * CORRELATION)
        spread = np.sqrt(1 - len(self._before) * CORRELATION * share)
        drawn = share * total + spread * self._generator.standard_normal(size)
        self.numbers = np.concatenate([self.numbers, drawn])
        return drawn


def new_seed(largest: int) -> int:
    """A random seed, at most ``largest``: the first of a block, so that the next three are anticorrelated with it."""
    return BLOCK * secrets.randbelow(largest // BLOCK + 1)
