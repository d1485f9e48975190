"""The random numbers of a seed: independent for each, anticorrelated for four consecutive seeds."""

import numpy as np
import pytest

from RefaceLib.face.seeds import BLOCK, SeededDraws, new_seed

COUNT = 20_000


def test_the_first_seed_of_a_block_has_the_numbers_of_numpy():
    for seed in (0, 4, 2**32 - 4):
        draws, plain = SeededDraws(seed), np.random.default_rng(seed)
        for size in (64, 40):
            assert np.array_equal(draws.standard_normal(size), plain.standard_normal(size))


@pytest.mark.parametrize("seed", range(4, 8))
def test_each_seed_alone_is_standard_normal(seed):
    numbers = SeededDraws(seed).standard_normal(COUNT)
    assert abs(numbers.mean()) < 0.03 and numbers.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03
    assert np.mean(np.abs(numbers) < 1) == pytest.approx(0.683, abs=0.02)


def test_seeds_of_a_block_are_drawn_apart_and_those_of_two_blocks_are_independent():
    found = np.corrcoef([SeededDraws(seed).standard_normal(COUNT) for seed in range(4, 4 + 2 * BLOCK)])
    within = found[:BLOCK, :BLOCK][~np.eye(BLOCK, dtype=bool)]
    assert np.allclose(within, -1 / 3, atol=0.03) and np.allclose(found[BLOCK:, :BLOCK], 0, atol=0.03)


def test_the_attempts_of_a_seed_are_independent_and_each_is_drawn_apart_within_a_block():
    attempts = np.corrcoef([SeededDraws(6, attempt).standard_normal(COUNT) for attempt in range(4)])
    assert np.allclose(attempts[~np.eye(4, dtype=bool)], 0, atol=0.03)
    block = np.corrcoef([SeededDraws(seed, 3).standard_normal(COUNT) for seed in range(4, 8)])
    assert np.allclose(block[~np.eye(4, dtype=bool)], -1 / 3, atol=0.03)


def test_the_same_seed_gives_the_same_numbers():
    assert np.array_equal(*(SeededDraws(7).standard_normal(10) for _ in range(2)))


def test_a_new_seed_begins_a_block_within_the_bound():
    seeds = [new_seed(largest) for largest in (0, 3, 7, 999_999) for _ in range(200)]
    assert not any(seed % BLOCK for seed in seeds) and set(seeds[:400]) == {0} and set(seeds[400:600]) == {0, 4}
    assert 900_000 < max(seeds[600:]) <= 999_996
