"""Where the signal is zero, how noisy that is, and what pads the field of view: right values, on real heads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from RefaceLib.volume.air import Air, measure_air
from RefaceLib.volume.io import Volume, read_volume


@pytest.fixture(scope="module")
def head(small_head: Volume) -> np.ndarray:
    """The demo head: air of 2.6 about zero, bright tissue of 614."""
    return small_head.values()


def as_ct(head: np.ndarray, noise: float) -> np.ndarray:
    """The head in Hounsfield's numbers: air at -1000, with normal noise."""
    signal = np.where(head > 20, 2.0 * head, 0)
    return signal - 1000 + np.random.default_rng(0).normal(0, noise, head.shape).astype(np.float32)


def padded(values: np.ndarray, number: float) -> np.ndarray:
    """The values in a round field of view, ``number`` outside of it."""
    i, j = np.indices(values.shape[:2])
    middle = (np.array(values.shape[:2]) - 1) / 2
    outside = np.hypot(i - middle[0], j - middle[1]) > 0.49 * max(values.shape[:2])
    return np.where(outside[..., None], np.float32(number), values)


def test_a_magnitude_image_has_air_at_exactly_zero(head: np.ndarray) -> None:
    air = measure_air(head)
    assert (air.level, air.padding, air.signed) == (0.0, None, False)
    assert 2 < air.noise < 3.5


@pytest.mark.parametrize("degrees", [0, 6])
def test_undershoot_of_interpolation_leaves_air_at_zero(head: np.ndarray, degrees: int) -> None:
    there = ndimage.rotate(head, degrees, reshape=False) if degrees else ndimage.shift(head, 0.4, order=3)
    assert there.min() < -50
    air = measure_air(there)
    assert (air.level, air.signed) == (0.0, False)
    assert measure_air(head).noise / 1.5 < air.noise < 1.5 * measure_air(head).noise


@pytest.mark.parametrize("offset", [-1000.0, 100.0, 500.0, 5000.0])
def test_an_offset_moves_the_level_and_nothing_else(head: np.ndarray, offset: float) -> None:
    still, moved = measure_air(head), measure_air(head + np.float32(offset))
    assert moved.level == pytest.approx(offset, abs=still.noise)
    assert moved.noise < 1.3 * still.noise
    assert moved.padding is None


@pytest.mark.parametrize("factor", [1e-30, 1e-12, 1e-10, 1e-3, 1e4, 1e9, 1e30])
@pytest.mark.parametrize("change", [lambda x: x, lambda x: as_ct(x, 10), lambda x: padded(as_ct(x, 10), -2000)])
def test_another_unit_changes_nothing(
    head: np.ndarray, factor: float, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    one, other = measure_air(change(head)), measure_air((change(head) * np.float64(factor)).astype(np.float32))
    assert other.level == pytest.approx(one.level * factor, rel=1e-3)
    assert other.noise == pytest.approx(one.noise * factor, rel=1e-2)
    assert (other.padding is None) == (one.padding is None)
    assert other.signed == one.signed


@pytest.mark.parametrize("noise", [5, 9])
@pytest.mark.parametrize("number", [None, -1024, -2000, -3024, -32768])
def test_air_of_a_ct_is_not_its_padding(head: np.ndarray, noise: float, number: float | None) -> None:
    values = np.maximum(as_ct(head, noise), -1024)  # as scanners cut it
    air = measure_air(values if number is None else padded(values, number))
    assert air.level == pytest.approx(-1000, abs=noise / 4)
    assert air.padding == number
    assert air.signed and air.noise == pytest.approx(noise, rel=0.2)


@pytest.mark.parametrize("share", [0.03, 0.05, 0.08])
def test_noise_about_zero_goes_both_ways(head: np.ndarray, share: float) -> None:
    sd = share * float(np.percentile(head, 98))
    air = measure_air(head + np.random.default_rng(0).normal(0, sd, head.shape))
    assert (air.level, air.signed, air.padding) == (0.0, True, None)
    assert air.noise == pytest.approx(sd, rel=0.15)


def test_zeros_around_a_head_whose_air_is_not_zero_are_padding(head: np.ndarray) -> None:
    air = measure_air(ndimage.rotate(head + 500, 6, reshape=False, order=1))
    assert air.padding == 0
    assert air.level == pytest.approx(500, abs=3)


@pytest.mark.parametrize("blank", [0.0, -1.0, -1000.0])
def test_air_that_was_blanked_is_air_and_not_padding(head: np.ndarray, blank: float) -> None:
    air = measure_air(np.where(head > 0.2 * np.percentile(head, 98), head, np.float32(blank)))
    assert air == Air(blank, 0.0, None, signed=False)


def test_salt_and_pepper_leave_air_at_zero(head: np.ndarray) -> None:
    """As in the uniform image of MP2RAGE, a ratio, which is any number where there is no signal."""
    dark = ndimage.gaussian_filter(head, 1) < 30
    values = np.where(dark, np.random.default_rng(0).uniform(0, 700, head.shape), head)
    assert measure_air(values).level == pytest.approx(0, abs=2)


def test_values_that_are_not_finite_have_no_say(head: np.ndarray) -> None:
    values = head.copy()
    values[:, :20], values[:3] = np.nan, -np.inf
    assert measure_air(values).level == 0
    assert measure_air(np.full((3, 3, 3), np.nan)) == Air()


def test_one_value_tells_nothing() -> None:
    assert measure_air(np.full((4, 4, 4), 7.0)) == Air()
    assert measure_air(np.zeros(0)) == Air()
    assert measure_air(np.array([0.0, 1.0])).level == 0


def test_real_scans_have_air_at_zero_but_for_ct(shared_data: Path) -> None:
    heads = [path for folder in ("heads-1mm", "heads-other") for path in sorted((shared_data / folder).iterdir())]
    heads += sorted((shared_data / "ixi-t1-2mm").glob("*_T1w.nii.gz"))[::20]
    heads += [path for path in sorted((shared_data / "contrasts").iterdir()) if path.name != "dicom2stl_CT.nii.gz"]
    found = {path.name: measure_air(read_volume(path).values()) for path in heads}
    assert {name for name, air in found.items() if (air.level, air.padding) != (0.0, None)} == set()
    assert measure_air(read_volume(shared_data / "contrasts" / "dicom2stl_CT.nii.gz").values()).level == -1024


def test_the_zero_of_a_window_is_air_and_no_padding_beside_even_tissue():
    """A CT cut at zero, of which much is hidden: its brain is narrower than air's noise ever is."""
    random = np.random.default_rng(5)
    brain = random.normal(0.345, 0.005, 30_000)
    values = np.concatenate([np.zeros(40_000), brain, random.uniform(0.0, 1.0, 30_000)]).astype(np.float32)
    assert measure_air(values).level == 0
