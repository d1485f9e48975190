"""The comparison of painted with true tissue measures what it says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from refacestudy import tissue

AFFINE = np.eye(4)
SHAPE = (60, 60, 60)


@pytest.fixture(scope="module")
def head():
    """Noise of a millimetre in a cube, and the cube."""
    solid = np.zeros(SHAPE, bool)
    solid[10:50, 10:50, 10:50] = True
    noise = 0.5 + 0.1 * np.random.default_rng(0).standard_normal(SHAPE)
    return (noise * solid).astype(np.float32), solid


def test_the_profile_tells_brightness_by_depth(head):
    _, solid = head
    depth = ndimage.distance_transform_edt(solid) - 0.5
    found = tissue.tissue_of((depth * solid).astype(np.float32), solid, np.ones(SHAPE, bool), AFFINE)
    assert found.profile[0] == pytest.approx(0.5) and found.profile[3] == pytest.approx(3.5)


def test_a_brighter_painting_has_brighter_quantiles_and_more_contrast(head):
    picture, solid = head
    one, other = (tissue.tissue_of(a, solid, np.ones(SHAPE, bool), AFFINE) for a in (picture, 1.5 * picture))
    np.testing.assert_allclose(other.quantiles, 1.5 * one.quantiles, rtol=1e-5)
    np.testing.assert_allclose(other.contrast, 1.5 * one.contrast, rtol=1e-4)


def test_the_size_is_that_of_the_head_in_the_region(head):
    picture, solid = head
    half = np.zeros(SHAPE, bool)
    half[30:] = True
    assert tissue.tissue_of(picture, solid, half, np.diag([2, 2, 2, 1])).size[0] == pytest.approx(20 * 40 * 40 * 8e-3)


def test_a_blurred_painting_lacks_fine_contrast(head):
    picture, solid = head
    one, other = (
        tissue.contrast(a, solid, np.ones(3)) for a in (picture, ndimage.gaussian_filter(picture, 1.5) * solid)
    )
    assert other[0] < 0.3 * one[0]


def test_air_outside_has_no_say_in_contrast(head):
    _, solid = head
    assert tissue.contrast(solid.astype(np.float32), solid, np.ones(3)).max() < 1e-3


def test_a_scale_below_the_voxels_and_too_few_voxels_are_no_numbers(head):
    picture, solid = head
    assert np.isnan(tissue.contrast(picture, solid, np.full(3, 2.5))[0])
    found = tissue.tissue_of(picture, solid, np.zeros(SHAPE, bool), AFFINE)
    assert np.isnan([*found.profile, *found.quantiles, *found.contrast]).all()


def test_the_table_tells_medians_over_heads(head):
    picture, solid = head
    true = tissue.tissue_of(picture, solid, np.ones(SHAPE, bool), AFFINE)
    painted = tissue.tissue_of(picture + 0.25 * solid, solid, np.ones(SHAPE, bool), AFFINE)
    lines = tissue.table([(true, painted)] * 3)
    quantiles = next(line for line in lines[6:] if line.startswith("| painted less true"))
    assert [float(x) for x in quantiles.split("|")[2:-1]] == [0.25] * len(tissue.QUANTILES)


def test_the_table_is_empty_where_nothing_is_known(head):
    picture, solid = head
    nothing = tissue.tissue_of(picture, solid, np.zeros(SHAPE, bool), AFFINE)
    some = tissue.tissue_of(picture, solid, np.ones(SHAPE, bool), AFFINE)
    assert tissue.table([(nothing, nothing)])[2].split("|")[2].strip() == ""
    assert "nan" not in "".join(tissue.table([(nothing, some), (some, some)]))


def test_heads_that_are_held_out_are_left_out_and_unknown_ones_named(tmp_path):
    import nibabel as nib

    from RefaceLib.training import heads

    held_out = sorted(heads.validation_ids())[0]
    for name, size in ((held_out, 2.0), ("coarse", 2.0), ("fine", 1.0)):
        volume = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([size, size, size, 1]))
        nib.save(volume, tmp_path / f"{name}_T1w.nii.gz")
    assert [heads.head_id(path) for path in tissue.chosen(tmp_path, None, 24)] == ["coarse", "fine"]
    with pytest.raises(SystemExit, match="There is no head nobody"):
        tissue.chosen(tmp_path, ["nobody"], 24)
