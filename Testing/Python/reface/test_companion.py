"""Other volumes of a session: each is parsed, brought to the first one by its brain, masked and proven for itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from helpers.imagefiles import assert_one_sentence
from helpers.realhead import averaged, reoriented
from RefaceLib.common.errors import HeadNotFoundError, InputError, PromiseError
from RefaceLib.companion import deface_companion
from RefaceLib.face import promise
from RefaceLib.head import pose
from RefaceLib.pipeline import RefaceOptions, reface_volume
from RefaceLib.volume import geometry
from RefaceLib.volume.io import Volume, read_volume

TISSUE = 250  # of the demo head: brighter is no air
OTHER_PERSON = "does not show the head of the first one"
FAR, UNSURE, MIRRORED, TURNED = (
    "was found by its brain",
    "not clear enough",
    "Left and right are exchanged",
    "turned by",
)


def moved(volume: Volume, *, shift=(0.0, 0.0, 0.0), turn: float = 0.0) -> Volume:
    """The volume elsewhere, turned by degrees about R."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    affine = pose.about_middle(rotation, volume.stored.shape, volume.affine) @ volume.affine
    affine[:3, 3] += shift
    return Volume(volume.stored, affine)


def without_codes(volume: Volume) -> Volume:
    """The volume where a header without qform and sform puts it: along L, A and S, about the origin."""
    sizes = geometry.voxel_sizes(volume.affine)
    affine = np.diag([-sizes[0], sizes[1], sizes[2], 1.0])
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(volume.stored.shape) - 1) / 2)
    return Volume(volume.stored, affine)


def part_of(volume: Volume, start: int, axis: int) -> Volume:
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, axis] * start
    return Volume(np.take(volume.stored, np.arange(start, volume.stored.shape[axis]), axis), affine)


def like_t2(volume: Volume) -> Volume:
    """The demo head with bright fluid and dark white matter, in thicker slices."""
    values = volume.values()
    dark = values < 100
    values = np.where(dark, values, np.clip(900 - values, 60, None))
    return averaged(Volume(np.rint(ndimage.gaussian_filter(values, 0.5)).astype(np.int16), volume.affine), (1, 1, 2))


def deface_first(volume: Volume, models):
    return reface_volume(volume, RefaceOptions(mode="deface", device="cpu"), models=models)


def assert_promises(done, other: Volume) -> None:
    assert not (promise.changed(other.stored, done.stored) & ~done.mask).any() and not (done.mask & done.brain).any()
    assert min(done.face_removed.values()) >= promise.LEAST_REMOVED


def assert_defaced(done, other: Volume, removed: np.ndarray, *warnings: str) -> None:
    """What the first volume's mask `removed` in the same voxels is gone, and no brain; these `warnings`, no others."""
    flesh = removed & (other.stored > TISSUE)
    assert done.mask[flesh].mean() > 0.98
    assert_promises(done, other)
    assert_warnings(done, *warnings)


def assert_warnings(done, *warnings: str) -> None:
    assert len(done.warnings) == len(warnings)
    assert all(any(part in warning for warning in done.warnings) for part in warnings)


# ---- the demo head and itself ----


def test_a_volume_of_the_same_grid_loses_what_the_first_one_lost(small_head, defaced, models):
    done = deface_companion(small_head, small_head, defaced, models)
    assert_defaced(done, small_head, defaced.mask)
    assert done.mask[defaced.mask].mean() > 0.99 and done.mask.sum() < 1.1 * defaced.mask.sum()
    assert done.registered_mm < 0.2 and done.registered_degrees < 0.2


@pytest.mark.parametrize(
    "where, mm, degrees",
    [({"shift": (0.0, 400.0, 0.0)}, 400, 0), ({"turn": 12.0}, None, 12), ({"shift": (30.0, 0.0, 0.0)}, 30, 0)],
    ids=["far", "turned", "moved"],
)
def test_a_volume_that_lies_elsewhere_is_found_by_its_brain(small_head, defaced, models, where, mm, degrees):
    other = moved(small_head, **where)
    done = deface_companion(other, small_head, defaced, models)
    assert_defaced(done, other, defaced.mask, FAR)
    assert mm is None or abs(done.registered_mm - mm) < 1
    assert abs(done.registered_degrees - degrees) < 0.6


def test_another_contrast_and_resolution_that_lies_elsewhere(small_head, defaced, models):
    other = moved(like_t2(small_head), shift=(0.0, 3.0, -8.0), turn=3.0)
    done = deface_companion(other, small_head, defaced, models)
    assert_promises(done, other)
    assert_warnings(done, FAR)
    assert abs(done.registered_degrees - 3) < 0.7 and done.registered_mm > 5


def test_a_header_without_codes_misleads_nobody(small_head, defaced, models):
    stored = reoriented(small_head, "PSR")
    done = deface_companion(without_codes(stored), small_head, defaced, models)
    removed = reoriented(Volume(defaced.mask.astype(np.uint8), small_head.affine), "PSR").stored > 0
    assert_defaced(done, stored, removed, TURNED)


def test_a_header_that_mistakes_the_sides_is_named(small_head, defaced, models):
    other = Volume(small_head.stored, np.diag([-1.0, 1.0, 1.0, 1.0]) @ small_head.affine)
    done = deface_companion(other, small_head, defaced, models)
    assert_defaced(done, other, defaced.mask, MIRRORED)


def test_what_the_first_field_of_view_cut_off_is_removed_all_the_same(small_head, defaced, models):
    cut = int(np.argwhere(defaced.mask)[:, 2].min()) + 30  # above the mouth
    first = part_of(small_head, cut, 2)
    done = deface_companion(small_head, first, deface_first(first, models), models)
    assert_defaced(done, small_head, defaced.mask)


def test_a_volume_without_its_lower_half_is_defaced(small_head, defaced, models):
    cut = small_head.stored.shape[2] // 2
    other = part_of(small_head, cut, 2)
    done = deface_companion(other, small_head, defaced, models)
    assert_defaced(done, other, defaced.mask[:, :, cut:])
    assert done.registered_mm < 1


def test_a_defaced_volume_stays_as_it_is(small_head, defaced, models):
    other = replace(small_head, stored=defaced.stored)
    assert_promises(deface_companion(other, small_head, defaced, models), other)


# ---- refusals ----


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
        deface_companion(small_head, small_head, defaced, models)
    assert_one_sentence(error)


# ---- real sessions ----


def read(shared_data, name: str) -> Volume:
    return read_volume(shared_data / f"{name}.nii.gz")


@pytest.mark.parametrize(
    "first, other",
    [
        ("heads-other/haase_1p6mm_T1w", "heads-other/ext2_1p6mm_T1w"),
        ("ixi-t1-2mm/IXI012-HH-1211_T1w", "ixi-t1-2mm/IXI013-HH-1212_T1w"),
        ("sessions/elderly-01_T1w", "sessions/elderly-02_FLAIR"),
        ("sessions/elderly-04_T1w", "contrasts/adi_T2w"),
    ],
)
def test_another_person_is_refused(shared_data, models, first, other):
    first = read(shared_data, first)
    with pytest.raises(InputError, match=OTHER_PERSON) as error:
        deface_companion(read(shared_data, other), first, deface_first(first, models), models)
    assert_one_sentence(error)


@pytest.mark.parametrize(
    "first, other, warnings",
    [
        ("heads-1mm/adi_T1w", "contrasts/adi_T2w", ()),
        ("sessions/elderly-04_T1w", "sessions/elderly-04_FLAIR", ()),
        ("sessions/elderly-04_FLAIR", "sessions/elderly-04_T1w", ()),
        ("sessions/elderly-08_T1w", "sessions/elderly-08_FLAIR", (FAR,)),
        ("sessions/decubitus_HFS_T1w", "sessions/decubitus_HFP_T1w", (FAR,)),
        ("heads-1mm/philips_T1w", "sessions/philips_GRE_e2", ()),
    ],
)
def test_other_volumes_of_a_session_lose_their_face(shared_data, models, first, other, warnings):
    first, other = read(shared_data, first), read(shared_data, other)
    done = deface_companion(other, first, deface_first(first, models), models)
    assert_promises(done, other)
    assert_warnings(done, *warnings)
