"""The random numbers of a seed: independent for each, anticorrelated for four consecutive seeds."""

import numpy as np
import pytest

from RefaceLib.face.seeds import BLOCK, CORRELATION, SeededDraws, block_before, new_seed

COUNT = 60_000


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


def kept(seed, attempt=0):
    """The draws of a seed after those of its block before it, each kept in another attempt."""
    before = [kept(other, other % 3) for other in block_before(seed)]
    draws = SeededDraws(seed, attempt, before)
    draws.standard_normal(COUNT)
    return draws


def test_seeds_of_a_block_are_drawn_apart_from_those_that_were_kept_and_two_blocks_are_independent():
    found = np.corrcoef([kept(seed, seed % 3).numbers for seed in range(4, 4 + 2 * BLOCK)])
    within = found[:BLOCK, :BLOCK][~np.eye(BLOCK, dtype=bool)]
    assert np.allclose(within, CORRELATION, atol=0.03) and np.allclose(found[BLOCK:, :BLOCK], 0, atol=0.03)


@pytest.mark.parametrize("seed", range(4, 8))
def test_each_seed_of_a_block_is_standard_normal(seed):
    numbers = kept(seed).numbers
    assert abs(numbers.mean()) < 0.03 and numbers.std() == pytest.approx(1, abs=0.02)
    assert np.mean(np.abs(numbers) < 1) == pytest.approx(0.683, abs=0.02)


def test_every_attempt_of_the_last_seed_of_a_block_is_another():
    attempts = np.corrcoef([kept(7, attempt).numbers for attempt in range(3)])
    free = 1 - 3 * CORRELATION**2 / (1 + 2 * CORRELATION)  # share of the variance that the others leave
    assert np.allclose(attempts[~np.eye(3, dtype=bool)], 1 - free, atol=0.03)


def test_numbers_do_not_depend_on_how_many_are_asked_for_at_once():
    before = [kept(4)]
    once, twice = SeededDraws(5, 0, before), SeededDraws(5, 0, before)
    twice.standard_normal(64)
    twice.standard_normal(40)
    assert np.array_equal(once.standard_normal(104), twice.numbers)


def test_the_same_seed_gives_the_same_numbers():
    assert np.array_equal(*(SeededDraws(7).standard_normal(10) for _ in range(2)))


def test_a_new_seed_begins_a_block_within_the_bound():
    seeds = [new_seed(largest) for largest in (0, 3, 7, 999_999) for _ in range(200)]
    assert not any(seed % BLOCK for seed in seeds) and set(seeds[:400]) == {0} and set(seeds[400:600]) == {0, 4}
    assert 900_000 < max(seeds[600:]) <= 999_996
