"""Other volumes of a session: each is parsed, masked and proven for itself, wherever it lies."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.imagefiles import assert_one_sentence
from RefaceLib.common.errors import HeadNotFoundError, PromiseError
from RefaceLib.companion import deface_companion
from RefaceLib.face import promise
from RefaceLib.head import pose
from RefaceLib.pipeline import RefaceOptions, reface_volume
from RefaceLib.volume.io import Volume, read_volume

TISSUE = 250  # of the demo head: brighter is no air


def moved(volume: Volume, *, shift=(0.0, 0.0, 0.0), turn: float = 0.0) -> Volume:
    """The volume elsewhere, turned by degrees about R."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine = pose.about_middle(rotation, volume.stored.shape, volume.affine) @ volume.affine
    affine[:3, 3] += shift
    return Volume(volume.stored, affine)


def assert_defaced(done, other: Volume, removed: np.ndarray) -> None:
    """What the first volume's mask `removed` in the same voxels is gone, and no brain voxel."""
    flesh = removed & (other.stored > TISSUE)
    assert done.mask[flesh].mean() > 0.97
    assert not (promise.changed(other.stored, done.stored) & ~done.mask).any() and not (done.mask & done.brain).any()
    assert min(done.face_removed.values()) >= promise.LEAST_REMOVED


def test_a_volume_of_the_same_grid_loses_what_the_first_one_lost(small_head, defaced, models):
    done = deface_companion(small_head, small_head, defaced, models)
    assert np.array_equal(done.mask, defaced.mask) and done.warnings == ()
    assert_defaced(done, small_head, defaced.mask)


@pytest.mark.parametrize(
    "where", [{"shift": (0.0, 400.0, 0.0)}, {"turn": 12.0}, {"shift": (30.0, 0.0, 0.0)}], ids=["far", "turned", "moved"]
)
def test_a_volume_that_lies_elsewhere_is_defaced_by_itself_and_says_so(small_head, defaced, models, where):
    other = moved(small_head, **where)
    done = deface_companion(other, small_head, defaced, models)
    assert_defaced(done, other, defaced.mask)
    assert bool(done.warnings) == ("turn" not in where)
    assert all("check that both show one person" in warning for warning in done.warnings)


def test_what_the_first_field_of_view_cut_off_is_removed_all_the_same(small_head, defaced, models):
    cut = int(np.argwhere(defaced.mask)[:, 2].min()) + 30  # above the mouth
    affine = small_head.affine.copy()
    affine[:3, 3] += affine[:3, 2] * cut
    first = Volume(small_head.stored[:, :, cut:], affine)
    result = reface_volume(first, RefaceOptions(mode="deface", device="cpu"), models=models)
    assert_defaced(deface_companion(small_head, first, result, models), small_head, defaced.mask)


def test_a_volume_without_a_head_is_refused(small_head, defaced, models):
    noise = np.random.default_rng(0).normal(100, 20, small_head.stored.shape).astype(np.float32)
    with pytest.raises(HeadNotFoundError) as error:
        deface_companion(Volume(noise, small_head.affine), small_head, defaced, models)
    assert_one_sentence(error)


def test_a_face_that_would_stay_is_refused(small_head, defaced, models, monkeypatch):
    monkeypatch.setattr(
        "RefaceLib.companion.facemask.face_mask", lambda parse, shape, affine, ears: np.zeros(shape, bool)
    )
    with pytest.raises(PromiseError, match="would not be gone") as error:
        deface_companion(moved(small_head, shift=(0.0, 400.0, 0.0)), small_head, defaced, models)
    assert_one_sentence(error)


def test_other_contrasts_and_persons_lose_their_own_face(shared_data, models):
    first = read_volume(shared_data / "heads-other" / "haase_1p6mm_T1w.nii.gz")
    result = reface_volume(first, RefaceOptions(mode="deface", device="cpu"), models=models)
    for name in ("heads-other/ext2_1p6mm_T1w.nii.gz", "contrasts/adi_T2w.nii.gz"):
        done = deface_companion(read_volume(shared_data / name), first, result, models)
        assert min(done.face_removed.values()) >= promise.LEAST_REMOVED and not (done.mask & done.brain).any()
        assert any("check that both show one person" in warning for warning in done.warnings)
