"""The promises, counted: what changed bit by bit, in the grid of the mask and in another one."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.imagefiles import assert_one_sentence
from RefaceLib.common.errors import PromiseError
from RefaceLib.face import promise


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
def test_a_changed_bit_is_a_change_and_nan_that_stays_is_none(dtype):
    before = np.zeros((4, 4, 4), dtype)
    before[1, 1, 1] = np.nan
    after = before.copy()
    after[0, 0, 0] = -0.0  # compares equal
    assert np.argwhere(promise.changed(before, after)).tolist() == [[0, 0, 0]]


def test_arrays_of_any_memory_order_are_compared_where_they_are():
    before = np.asfortranarray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    after = before.copy(order="C")
    after[1, 2, 3] += 1
    assert np.argwhere(promise.changed(before, after)).tolist() == [[1, 2, 3]]


def counted(rows, value):
    """The counts of a head, its front half mask and its back quarter brain, of which some `rows` become `value`."""
    before = np.full((8, 8, 8), 7, np.float32)
    mask, brain = np.zeros((2, 8, 8, 8), bool)
    mask[:, :4], brain[:, 6:] = True, True
    after = before.copy()
    after[:, rows] = value
    return promise.count_changes(before, after, mask, brain)


def test_changes_in_the_mask_hold_the_promise():
    counts = counted(slice(4), -0.0)
    assert list(counts.values()) == [256, 0, 0]
    promise.verify(counts)


@pytest.mark.parametrize(("row", "expected"), [(5, [64, 64, 0]), (7, [64, 64, 64])])
def test_changes_elsewhere_break_it(row, expected):
    counts = counted(row, 0)
    assert list(counts.values()) == expected
    with pytest.raises(PromiseError, match="out.nii was thrown away") as error:
        promise.verify(counts, "out.nii")
    assert_one_sentence(error)


def test_a_mask_in_the_brain_breaks_it():
    volume, mask = np.zeros((2, 2, 2)), np.ones((2, 2, 2), bool)
    with pytest.raises(PromiseError, match="enters the brain"):
        promise.count_changes(volume, volume, mask, mask)


def test_a_report_that_counts_otherwise_breaks_it():
    counts = {"voxels_changed": 5, "voxels_changed_outside_mask": 0, "brain_voxels_changed": 0}
    promise.verify_report({**counts, "mode": "deface"}, counts)
    with pytest.raises(PromiseError, match="counts otherwise"):
        promise.verify_report({**counts, "voxels_changed": 4}, counts)
