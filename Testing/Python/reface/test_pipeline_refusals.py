"""Volumes of which the pipeline makes nothing, or warns: without a head or a face in view, or of another contrast."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from helpers.imagefiles import assert_one_sentence
from helpers.phantom import make_phantom
from helpers.realhead import NOSE_TIP, TISSUE, WHITE, head_of
from RefaceLib import pipeline
from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.pipeline import RefaceOptions, reface_volume
from RefaceLib.volume import geometry
from RefaceLib.volume.io import Volume, read_volume

CPU = RefaceOptions(device="cpu")
DEFACE = RefaceOptions(mode="deface", device="cpu")


def _sphere(shape=(64, 64, 64)):
    i, j, k = np.indices(shape) - 31.5
    noise = np.random.default_rng(0).normal(0, 4, shape)
    return np.abs(np.where(i**2 + j**2 + k**2 < 20**2, 400, 0) + noise).astype(np.int16)


NOT_HEADS = {
    "noise": np.random.default_rng(0).integers(0, 900, (64, 64, 64)).astype(np.int16),
    "a sphere": _sphere(),
    "nothing but one bright voxel": np.eye(64, dtype=np.int16)[:, :, None].repeat(64, 2) * (np.arange(64) == 3),
}


@pytest.mark.parametrize("what", NOT_HEADS)
def test_what_is_no_head_is_refused(what, models):
    affine = np.diag([3.5, 3.5, 3.5, 1.0])
    with pytest.raises(HeadNotFoundError, match="No head was found|without a head") as error:
        reface_volume(Volume(stored=NOT_HEADS[what], affine=affine), CPU, models=models)
    assert_one_sentence(error)


def test_a_brain_without_a_head_is_refused(small_head, refaced, models):
    stored = small_head.stored * refaced.brain
    with pytest.raises(HeadNotFoundError, match="skull-stripped") as error:
        reface_volume(Volume(stored=stored, affine=small_head.affine), CPU, models=models)
    assert_one_sentence(error)


@pytest.mark.parametrize(("value", "says"), [(0, "zeros"), (7, "same value")])
def test_a_volume_of_one_value_is_refused(value, says, models):
    volume = Volume(stored=np.full((32, 32, 32), value, np.int16), affine=np.diag([4.0, 4, 4, 1]))
    with pytest.raises(InputError, match=says) as error:
        reface_volume(volume, CPU, models=models)
    assert_one_sentence(error)


def test_an_unknown_mode_is_refused(models):
    with pytest.raises(InputError, match="reface, deface, recover") as error:
        reface_volume(make_phantom(), RefaceOptions(mode="erase"), models=models)
    assert_one_sentence(error)


def test_a_nose_outside_the_field_of_view_is_warned_about(small_head, models):
    front = round(float(geometry.apply_affine(np.linalg.inv(small_head.affine), NOSE_TIP)[1])) - 14  # 28 mm behind it
    cut = Volume(stored=small_head.stored[:, :front], affine=small_head.affine)
    result = reface_volume(cut, CPU, models=models)
    assert any("outside the field of view" in w and "nose tip" in w for w in result.warnings)
    assert result.mask.any() and result.counts["voxels_changed"] > 0


def test_a_volume_that_ends_above_the_face_is_refused(small_head, refaced, parsed, models, monkeypatch):
    bottom = int(np.argwhere(refaced.mask)[:, 2].max()) + 2
    affine = small_head.affine.copy()
    affine[:3, 3] = geometry.apply_affine(affine, [0, 0, bottom])
    top = Volume(stored=small_head.stored[:, :, bottom:], affine=affine)
    brain = parsed.brain & geometry.in_view(top.stored.shape, top.affine, parsed.grid)
    monkeypatch.setattr(pipeline, "parse_head", lambda *_: dataclasses.replace(parsed, brain=brain))
    for options in (CPU, DEFACE):
        with pytest.raises(HeadNotFoundError, match="cuts through the brain"):
            reface_volume(top, options, models=models)


def test_a_chin_below_the_field_of_view_is_named(small_head, parsed, models):
    """Its landmark is a guess then, and may lie inside: 20 mm higher than the chin nothing of it is left."""
    chin = parsed.points[FACE_LANDMARKS.index("chin")] + [0, 0, 20]
    bottom = int(geometry.apply_affine(np.linalg.inv(small_head.affine), chin)[2])
    affine = small_head.affine.copy()
    affine[:3, 3] = geometry.apply_affine(affine, [0, 0, bottom])
    cropped = Volume(stored=small_head.stored[:, :, bottom:], affine=affine)
    said = " ".join(reface_volume(cropped, DEFACE, models=models).warnings)
    assert "outside the field of view" in said and "chin" in said and "nose" not in said


def test_another_contrast_than_t1_is_warned_about(small_head, refaced, models):
    """Tissue dark where it was bright, as on T2; skull and air stay dark."""
    values = small_head.values()
    swapped = np.where(head_of(values) & (values > TISSUE), np.clip(1.8 * WHITE - 1.6 * values, 0, None), values)
    volume = Volume(stored=swapped.astype(np.int16), affine=small_head.affine)
    result = reface_volume(volume, CPU, models=models)
    assert any("does not look T1-weighted" in w for w in result.warnings)
    assert not any("T1" in w for w in refaced.warnings)
    assert not any("T1" in w for w in reface_volume(volume, DEFACE, models=models).warnings)  # no face is made


@pytest.mark.parametrize("name", ["adi_T2w", "jnifti_CT"])
def test_a_real_volume_of_another_contrast_gets_a_face_with_a_warning(name, shared_data, models):
    result = reface_volume(read_volume(shared_data / "contrasts" / f"{name}.nii.gz"), CPU, models=models)
    assert any("does not look T1-weighted" in w for w in result.warnings)
    assert result.counts["voxels_changed"] > 0 and not result.counts["voxels_changed_outside_mask"]
