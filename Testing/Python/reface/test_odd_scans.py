"""Scans whose air is not a quiet zero are refaced as others are: undershoot, offset, CT, padding, noise, units, NaN."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from helpers.realhead import WHITE
from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.face.weights import Models
from RefaceLib.pipeline import RefaceOptions, RefaceResult, reface_volume
from RefaceLib.volume import geometry
from RefaceLib.volume.air import measure_air
from RefaceLib.volume.io import Volume, check_values, read_volume

CPU = RefaceOptions(mode="reface", device="cpu")
DEFACE = RefaceOptions(mode="deface", device="cpu")


def _noise(values: np.ndarray, share: float) -> np.ndarray:
    """Normal noise of a ``share`` of the 98th percentile."""
    sd = share * float(np.percentile(values, 98))
    return np.random.default_rng(len(values)).normal(0, sd, values.shape).astype(np.float32)


def magnitude(values: np.ndarray, share: float) -> np.ndarray:
    return np.hypot(values + _noise(values, share), _noise(values[::-1], share))


def undershot(values: np.ndarray) -> np.ndarray:
    return ndimage.shift(values, 0.4, order=3)


def hounsfield(values: np.ndarray) -> np.ndarray:
    """Air at -1000 with noise of 10, bright tissue at 1000."""
    signal = values * np.float32(2000 / np.percentile(values, 98))
    return np.where(signal > 60, signal, 0) - 1000 + np.random.default_rng(0).normal(0, 10, values.shape)


def in_a_circle(values: np.ndarray, padding: float) -> np.ndarray:
    i, j = np.indices(values.shape[:2])
    middle = (np.array(values.shape[:2]) - 1) / 2
    outside = np.hypot(i - middle[0], j - middle[1]) > 0.5 * max(values.shape[:2])
    return np.where(outside[..., None], np.float32(padding), values)


def speckled(values: np.ndarray) -> np.ndarray:
    """As MP2RAGE's uniform image: a ratio, which is any number in air."""
    bright = float(np.percentile(values, 98))
    air = ndimage.gaussian_filter(values, 1) < 0.05 * bright
    return np.where(air, np.random.default_rng(0).uniform(0, 1.2 * bright, values.shape), values)


def with_nan(values: np.ndarray, axis: int) -> np.ndarray:
    """NaN in the last 16 % along an axis (I, J, K), as SPM writes where a volume ends."""
    cut = values.copy()
    np.moveaxis(cut, axis, 0)[round(0.84 * values.shape[axis]) :] = np.nan
    return cut


def in_thick_slices(volume: Volume) -> Volume:
    """Voxels of 1.6 x 1.6 x 5 mm with noise of 9 %."""
    sizes = np.array([1.6, 1.6, 5.0])
    there = volume.affine @ np.diag([*(sizes / geometry.voxel_sizes(volume.affine)), 1.0])
    shape = np.floor(geometry.voxel_sizes(volume.affine) * volume.stored.shape / sizes).astype(int)
    thick = ndimage.gaussian_filter1d(volume.values(), 0.8, axis=2)
    values = geometry.resample(thick, volume.affine, geometry.Grid(tuple(int(n) for n in shape), there))
    return Volume(magnitude(values, 0.09), there)


def changed(volume: Volume, change: Callable[[np.ndarray], np.ndarray]) -> Volume:
    return Volume(change(volume.values()).astype(np.float32), volume.affine)


def tissue(values: np.ndarray, where: np.ndarray) -> float:
    """The share of voxels ``where`` that are tissue."""
    air = measure_air(values).level
    return float((values[where] - air > 0.2 * (np.percentile(values[~where], 98) - air)).mean())


def airs(result: RefaceResult) -> tuple[np.ndarray, np.ndarray]:
    """Values of air in the mask and outside of it, less the level of air; without padding."""
    values = result.stored.astype(np.float64)
    outside = measure_air(values[~result.mask])
    dim = values - outside.level < 0.1 * (np.percentile(values, 98) - outside.level)
    if outside.padding is not None:
        dim &= values > outside.padding
    return values[dim & result.mask] - outside.level, values[dim & ~result.mask] - outside.level


ALL = os.environ.get("REFACE_TORTURE") == "all"


@pytest.fixture(scope="module", params=["demo", "IXI012"] if ALL else ["demo"])
def head(request: pytest.FixtureRequest, small_head: Volume) -> Volume:
    """The demo head at 2 mm and, with REFACE_TORTURE=all, one of another scanner."""
    if request.param == "demo":
        return small_head
    folder: Path = request.getfixturevalue("shared_data") / "ixi-t1-2mm"
    return read_volume(folder / "IXI012-HH-1211_T1w.nii.gz")


FILLS = {
    "undershoot": (undershot, 0.0, 0.0),
    "an offset": (lambda x: x + 500, 500.0, 3.0),
    "CT": (hounsfield, -1000.0, 10.0),
    "CT, padded with -2000": (lambda x: in_a_circle(hounsfield(x), -2000), -1000.0, 10.0),
    "CT, padded with -3024": (lambda x: in_a_circle(hounsfield(x), -3024), -1000.0, 10.0),
    "noise about zero": (lambda x: x + _noise(x, 0.03), 0.0, 0.0),
    "a small unit": (lambda x: x * np.float32(1e-10), 0.0, 0.0),
    "magnitudes of noise": (lambda x: magnitude(x, 0.08), 0.0, 0.0),
    "speckles": (speckled, 0.0, 2.0),
}


@pytest.mark.parametrize("what", FILLS)
def test_a_face_that_is_taken_away_leaves_the_level_of_air(what: str, head: Volume, models: Models) -> None:
    """The promise that the face is gone holds as well: the pipeline counts it."""
    change, level, tolerance = FILLS[what]
    result = reface_volume(changed(head, change), DEFACE, models=models)
    filled = np.unique(result.stored[result.mask])
    assert filled == pytest.approx([level], abs=tolerance)


NOT_QUIET = {
    "undershoot": undershot,
    "turned by 6 degrees": lambda x: ndimage.rotate(x, 6, axes=(1, 2), reshape=False),
    "an offset": lambda x: x + 500,
    "CT, padded": lambda x: in_a_circle(hounsfield(x), -2000),
    "noise about zero": lambda x: x + _noise(x, 0.05),
    "magnitudes of noise": lambda x: magnitude(x, 0.08),
}


@pytest.mark.parametrize("what", NOT_QUIET)
def test_a_new_face_is_whole_and_its_air_as_noisy_as_the_scans(what: str, small_head: Volume, models: Models) -> None:
    volume = changed(small_head, NOT_QUIET[what])
    result = reface_volume(volume, CPU, models=models)
    assert tissue(result.stored, result.mask) == pytest.approx(tissue(volume.values(), result.mask), abs=0.05)
    inside, outside = (np.median(np.abs(air)) for air in airs(result))
    bright = float(np.percentile(volume.values(), 98)) - measure_air(volume.values()).level
    assert inside < 1.5 * outside + 0.002 * bright and inside > outside / 1.5 - 0.002 * bright


@pytest.mark.parametrize("shift", [0.0, -0.6])
def test_the_air_of_a_ratio_image_goes_on_in_the_mask(shift: float, small_head: Volume, models: Models) -> None:
    """Mean and spread, also where the values lie about zero; and no face is fitted to salt and pepper."""
    bright = float(np.percentile(small_head.values(), 98))
    result = reface_volume(changed(small_head, lambda x: speckled(x) / bright + shift), CPU, models=models)
    air = ~ndimage.binary_dilation(ndimage.gaussian_filter(small_head.values(), 1) > 0.1 * bright, iterations=5)
    inside, outside = result.stored[air & result.mask], result.stored[air & ~result.mask]
    assert inside.mean() - shift == pytest.approx(outside.mean() - shift, rel=0.1)
    assert inside.std() == pytest.approx(outside.std(), rel=0.1)
    assert not any("None of" in warning for warning in result.warnings)


@pytest.mark.parametrize("factor", [2.0**-100, 2.0**-40, 2.0**30])
def test_another_unit_gives_the_same_bits(
    factor: float, small_head: Volume, refaced: RefaceResult, models: Models
) -> None:
    numbers = small_head.values().astype(np.float32)
    one, other = (
        reface_volume(Volume(numbers * np.float32(k), small_head.affine), CPU, models=models) for k in (1, factor)
    )
    assert np.array_equal(other.mask, one.mask)
    assert np.array_equal(other.stored, one.stored * np.float32(factor))


@pytest.mark.parametrize("factor", [1e-12, 1e-10, 1e9])
def test_any_unit_gives_the_same_face_but_for_rounding(
    factor: float, small_head: Volume, refaced: RefaceResult, models: Models
) -> None:
    result = reface_volume(changed(small_head, lambda x: x * np.float32(factor)), CPU, models=models)
    assert (result.mask != refaced.mask).mean() < 3e-3
    both = result.mask & refaced.mask
    off = np.abs(result.stored[both] / np.float64(factor) - refaced.stored[both])
    assert np.mean(off) < 0.02 * WHITE


HARD = {
    "noise of 8 %": lambda v: changed(v, lambda x: magnitude(x, 0.08)),
    "noise of 12 %": lambda v: changed(v, lambda x: magnitude(x, 0.12)),
    "noise about zero of 12 %": lambda v: changed(v, lambda x: x + _noise(x, 0.12)),
    "thick slices with noise of 9 %": in_thick_slices,
    "speckles": lambda v: changed(v, speckled),
    "speckles about zero": lambda v: changed(v, lambda x: speckled(x) / np.percentile(x, 98) - 0.6),
    "NaN at an end of I": lambda v: changed(v, lambda x: with_nan(x, 0)),
    "NaN at an end of J": lambda v: changed(v, lambda x: with_nan(x, 1)),
    "NaN at an end of K": lambda v: changed(v, lambda x: with_nan(x, 2)),
}


@pytest.mark.parametrize("what", HARD)
def test_hard_scans_get_a_new_face(what: str, head: Volume, models: Models) -> None:
    volume = HARD[what](head)
    result = reface_volume(volume, CPU, models=models)
    assert min(result.face_removed.values()) > 0.98
    assert result.counts["brain_voxels_changed"] == 0
    missing = ~np.isfinite(volume.stored)
    assert np.isnan(result.stored[missing]).all() and np.isfinite(result.stored[~missing]).all()


def test_nothing_of_the_face_decides_what_nan_is_seen_as(small_head: Volume, models: Models) -> None:
    """As promised of all voxels: a face of other numbers gives the same new one."""
    volume = changed(small_head, lambda x: with_nan(x, 2) + 500)
    one = reface_volume(volume, CPU, models=models)
    assert np.isnan(volume.stored).sum() == np.isnan(one.stored).sum()
    air = measure_air(volume.stored[~one.mask])
    assert air.level == pytest.approx(500, abs=3)


REFUSED = {
    "noise": (lambda v: changed(v, lambda x: magnitude(x, 0.6)), "too noisy"),
    "nothing but noise": (
        lambda v: changed(v, lambda x: np.random.default_rng(0).exponential(size=x.shape)),
        "nothing but noise",
    ),
    "field of view": (lambda v: Volume(v.stored[:, :, :20], v.affine), "shows only .* mm"),
    "voxel size": (lambda v: Volume(v.stored, v.affine @ np.diag([0.3, 0.3, 0.3, 1.0])), "shows only .* mm"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_parsed_is_refused_by_its_own_cause(what: str, small_head: Volume, models: Models) -> None:
    change, says = REFUSED[what]
    with pytest.raises(HeadNotFoundError, match=f"No head was found in the volume: .*{says}"):
        reface_volume(change(small_head), DEFACE, models=models)


@pytest.mark.parametrize("window", [(0.2, 0.6), (0.3, 0.6)])
def test_a_windowed_ct_is_filled_with_its_air_and_can_be_read_again(
    window: tuple[float, float], shared_data: Path, models: Models
) -> None:
    scan = read_volume(shared_data / "contrasts" / "jnifti_CT.nii.gz")
    share = np.clip((scan.values() - window[0]) / (window[1] - window[0]), 0, 1)
    result = reface_volume(Volume(np.rint(255 * share).astype(np.uint8), scan.affine), DEFACE, models=models)
    assert not result.stored[result.mask].any()
    assert check_values(Volume(result.stored, scan.affine)) == ()


def test_a_head_of_which_much_has_no_value_is_refused(small_head: Volume, models: Models) -> None:
    holes = np.random.default_rng(0).random(small_head.stored.shape) < 0.3
    volume = changed(small_head, lambda x: np.where(holes, np.nan, x))
    with pytest.raises(InputError, match="of the head"):
        reface_volume(volume, DEFACE, models=models)
