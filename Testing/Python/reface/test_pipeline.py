"""The promises of the pipeline, on the demo head at 2 mm and on phantoms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from helpers.imagefiles import assert_one_sentence, mgh_bytes, nifti_bytes, nrrd_bytes, plain, write_bytes
from helpers.realhead import (
    NOSE_TIP,
    TISSUE,
    WHITE,
    averaged,
    behind_a_plane,
    bits,
    head_of,
    in_a_box,
    ragged,
    reoriented,
    skin_distance,
    tilted,
    without,
    world,
)
from RefaceLib import pipeline
from RefaceLib.common.errors import CancelledError, InputError, PromiseError
from RefaceLib.common.options import FOUND
from RefaceLib.face import conditioning, painter
from RefaceLib.face.plausibility import Law
from RefaceLib.pipeline import RefaceOptions, reface_volume
from RefaceLib.volume.io import Volume, read_volume, write_volume

CPU = RefaceOptions(device="cpu")
DEFACE = RefaceOptions(mode="deface", device="cpu")
RECOVER = RefaceOptions(mode="recover", device="cpu")


# ---- nothing but the face changes ----


def _file(path, head, *, dtype=np.int16, slope=1.0, inter=0.0, gain=1.0):
    """A file of a head with other numbers: value = stored * slope + inter, and values are ``gain`` times the head's."""
    dtype = np.dtype(dtype)
    numbers = (head.values() * gain - inter) / slope
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        numbers = np.clip(np.rint(numbers), limits.min, limits.max)
    else:
        numbers[::7, ::5, ::3] = np.nan  # of the face, the brain and the air: they stay
    numbers = numbers.astype(dtype)
    if path.suffix == ".nrrd":
        return write_bytes(path, nrrd_bytes(numbers, head.affine, encoding="gzip"))
    if path.suffix == ".mgz":
        return write_bytes(path, mgh_bytes(numbers, head.affine))
    return write_bytes(path, nifti_bytes(numbers, head.affine, slope=(slope, inter), extension=b"kept too"))


CASES = {
    "a NIfTI file of uint8, oblique, LAS": ("h.nii.gz", "LAS", 9.0, dict(dtype=np.uint8, gain=0.2)),
    "a NIfTI file of big-endian uint16, scaled, PSR": ("h.nii", "PSR", 0.0, dict(dtype=">u2", slope=0.5, inter=-20)),
    "an NRRD file of float32 with NaN, IRP": ("h.nrrd", "IRP", 0.0, dict(dtype=np.float32)),
    "an MGZ file of int16, oblique, LIA": ("h.mgz", "LIA", -7.0, dict(dtype=">i2")),
}


@pytest.mark.parametrize("case", CASES)
def test_outside_the_mask_not_a_bit_of_the_file_changes(case, small_head, refaced, models, tmp_path):
    name, axcodes, degrees, numbers = CASES[case]
    path = _file(tmp_path / name, tilted(reoriented(small_head, axcodes), degrees), **numbers)
    out = path.with_name("new_" + name)
    before = read_volume(path)
    result = reface_volume(before, CPU, models=models)
    write_volume(out, before, result.stored)
    _assert_the_same_but_for_the_face(path, out, result)
    assert result.counts["mask_ml"] == pytest.approx(refaced.counts["mask_ml"], rel=0.2)


def test_outside_the_mask_not_a_bit_changes_of_slices_of_five_millimetres(demo_volume, models, tmp_path):
    path = _file(tmp_path / "thick.nii.gz", averaged(demo_volume, (1, 1, 5)))
    out = tmp_path / "new.nii.gz"
    before = read_volume(path)
    result = reface_volume(before, CPU, models=models)
    write_volume(out, before, result.stored)
    _assert_the_same_but_for_the_face(path, out, result)


def _assert_the_same_but_for_the_face(path, out, result):
    before, after = read_volume(path), read_volume(out)
    assert after.stored.dtype.str == before.stored.dtype.str
    assert after.stored.shape == before.stored.shape == result.mask.shape
    assert np.array_equal(after.affine, before.affine)
    assert (after.slope, after.inter) == (before.slope, before.inter)
    old, new = bits(before.stored), bits(after.stored)
    assert np.array_equal(old[~result.mask], new[~result.mask])
    assert (old != new)[result.mask].mean() > 0.5
    assert result.counts["voxels_changed"] == (old != new).sum() > 0
    assert not result.counts["voxels_changed_outside_mask"] and not result.counts["brain_voxels_changed"]
    old_bytes, new_bytes = plain(path), plain(out)
    start = len(old_bytes) - before.stored.nbytes  # none of these files has anything behind the data
    assert len(new_bytes) == len(old_bytes) and new_bytes[:start] == old_bytes[:start]


def test_voxels_that_are_not_numbers_stay_as_they_are(small_head, models):
    stored = small_head.stored.astype(np.float32)
    holes = np.random.default_rng(0).random(stored.shape) < 0.001
    stored[holes] = np.nan
    stored[tuple(np.argwhere(holes)[0])] = np.inf
    volume = Volume(stored=stored, affine=small_head.affine)
    result = reface_volume(volume, CPU, models=models)
    assert np.array_equal(bits(result.stored)[holes], bits(stored)[holes])
    assert np.isfinite(result.stored[~holes]).all()
    assert any(f"{holes.sum()} voxels are not finite" in warning for warning in result.warnings)


def test_the_input_is_not_written_to(small_head, refaced):
    assert not small_head.stored.flags.writeable  # it would have failed
    assert refaced.stored is not small_head.stored and refaced.stored.flags.writeable


def test_no_brain_voxel_is_in_the_mask(refaced, defaced):
    for result in (refaced, defaced):
        assert result.brain.sum() * 8 > 900_000  # mm3: it is a brain
        assert not (result.brain & result.mask).any()
        near = ndimage.distance_transform_edt(~result.brain, sampling=2.0) < 3.5
        assert not (near & result.mask).any()


def test_a_voxel_that_changes_outside_the_mask_throws_the_result_away(small_head, refaced):
    stored = refaced.stored.copy()
    stored[tuple(np.argwhere(~refaced.mask)[1000])] += 1
    with pytest.raises(PromiseError):
        pipeline.check(small_head, stored, refaced.mask, refaced.brain)


# ---- nothing of the face that was is in the face that comes ----


def test_the_new_face_does_not_know_the_old_one(small_head, refaced, parsed, models, monkeypatch):
    parse_head, calls = pipeline.parse_head, []

    def parse(values, *rest):
        calls.append(np.unique(values[refaced.mask]).size)
        return parsed if len(calls) == 1 else parse_head(values, *rest)  # the first is for the mask, and that is given

    monkeypatch.setattr(pipeline, "parse_head", parse)
    monkeypatch.setattr(pipeline, "_mask", lambda *_: refaced.mask.copy())
    stored = small_head.stored.copy()
    stored[refaced.mask] = np.random.default_rng(5).integers(0, 1200, refaced.mask.sum())
    result = reface_volume(Volume(stored=stored, affine=small_head.affine), CPU, models=models)
    assert calls[0] > 1000 and calls[1:] == [1]
    assert np.array_equal(result.mask, refaced.mask)
    assert np.array_equal(result.stored, refaced.stored)


def test_the_painter_gets_a_head_that_is_blank_in_the_mask(small_head, refaced, models, monkeypatch):
    seen = {}
    paint = painter.paint

    def spy(head, mask, brain, parse, *rest):
        seen.update(values=head.values.copy(), stored=head.stored.copy(), mask=mask.copy(), parse=parse)
        return paint(head, mask, brain, parse, *rest)

    monkeypatch.setattr(painter, "paint", spy)
    result = reface_volume(small_head, CPU, models=models)
    assert np.array_equal(seen["mask"], result.mask)
    assert np.unique(seen["values"][result.mask]).tolist() == np.unique(seen["stored"][result.mask]).tolist() == [0.0]
    # The parse that places the new face was made of the blank head too: nothing is left that could point at the nose.
    alone = pipeline.parse_head(seen["values"], small_head.affine, models.localizer, models.parser, models.device)
    assert np.array_equal(alone.points, seen["parse"].points)


# ---- there is a face ----


def _assert_a_face(before, after, removed, mask):
    """``before`` and ``after`` (values); what ``removed`` took of the head is in the mask, and head again."""
    flesh = removed & (before > TISSUE)
    lost = removed & head_of(before)
    assert mask[flesh].mean() > 0.97
    assert (after[flesh] > TISSUE).mean() > 0.7  # nothing painted: 0; by chance, another face is a thinner one
    assert 0.6 < after[flesh].mean() / before[flesh].mean() < 1.5
    assert (head_of(after) & lost).sum() > 0.8 * lost.sum()  # a smaller face by chance: 0.85 to 0.97 of 24 seeds
    air = removed & ~ndimage.binary_dilation(head_of(before), iterations=6)  # 12 mm before the face
    assert (after[air] > TISSUE).mean() < 0.02


def test_a_raw_head_gets_a_face(small_head, refaced):
    _assert_a_face(small_head.values(), refaced.stored.astype(float), refaced.mask, refaced.mask)


def _skin(values, level):
    """Where values rise to ``level`` first, from the front along axis 1, in voxels: (I, K), NaN where nowhere."""
    front = values[:, ::-1] > level
    first = front.argmax(axis=1)
    i, k = np.indices(first.shape)
    low, high = (values[:, ::-1][i, np.maximum(first - step, 0), k] for step in (1, 0))
    place = values.shape[1] - 1 - (first - (high - level) / np.maximum(high - low, 1))
    return np.where(front.any(axis=1) & (first > 0), place, np.nan)


ABOVE, BELOW = np.arange(1, 5), np.arange(4)  # rows of 2 mm, from the edge


def _forehead(volume, refaced):
    """Of the mask's upper edge on the forehead: median step and rise of the skin there, mm."""
    after = refaced.stored.astype(float)
    half, middle = (_skin(after, share * WHITE) for share in (0.27, 0.1))
    columns = np.arange(volume.stored.shape[0] // 2 - 12, volume.stored.shape[0] // 2 + 12)  # 48 mm
    steps, widths = [], []
    for i in columns:
        painted = [k for k in np.flatnonzero(np.isfinite(half[i])) if refaced.mask[i, int(half[i, k]), k]]
        top = max(painted)
        above, below = (np.polyval(np.polyfit(k, half[i, k], 1), top + 0.5) for k in (top + ABOVE, top - BELOW))
        steps.append(2.0 * (below - above))
        widths.append(2.0 * np.nanmedian((middle - half)[i, top - 20 : top - 1]))
    return np.median(np.abs(steps)), np.median(widths)


def test_no_step_and_no_blur_tell_where_the_new_face_begins(small_head, refaced, models):
    """On the forehead, lines along the skin above and below the mask's upper edge meet there; and it is as sharp.

    Three faces: one in eight has brows that jut out right below the edge, which is no seam, and counts as a step.
    """
    others = [reface_volume(small_head, RefaceOptions(seed=seed, device="cpu"), models=models) for seed in (1, 2)]
    steps, widths = np.median([_forehead(small_head, each) for each in (refaced, *others)], axis=0)
    assert steps < 1.0  # mm
    assert widths < 2.0  # mm, of the rise from 0.1 to 0.27 of white matter: a voxel


def test_a_head_that_we_defaced_gets_a_face_when_its_mask_is_estimated_anew(small_head, defaced, models):
    result = reface_volume(Volume(stored=defaced.stored, affine=small_head.affine), CPU, models=models)
    flesh = defaced.mask & result.mask & (small_head.stored > TISSUE)
    assert flesh.sum() > 0.95 * (defaced.mask & (small_head.stored > TISSUE)).sum()
    assert (result.stored[flesh] > TISSUE).mean() > 0.65


REMOVALS = {
    "a plane, as QuickShear": (behind_a_plane, 0),
    "a box, as pydeface": (in_a_box, 0),
    "a ragged ball filled with a grey, as mri_deface": (ragged, 250),
}


@pytest.mark.parametrize("tool", REMOVALS)
def test_a_head_that_another_tool_defaced_gets_a_face_back(tool, small_head, models):
    take, fill = REMOVALS[tool]
    removed = take(small_head)
    told = []
    result = reface_volume(
        without(small_head, removed, fill), CPU, models=models, progress=lambda _fraction, name: told.append(name)
    )
    assert result.mode == "recover" and FOUND["recover"] in told
    _assert_a_face(small_head.values(), result.stored.astype(float), removed, result.mask)
    assert (result.mask & ~removed).sum() < 0.2 * result.mask.sum()


def test_a_head_that_we_defaced_gets_a_face_back(small_head, defaced, models):
    volume = Volume(stored=defaced.stored, affine=small_head.affine)
    result = reface_volume(volume, RECOVER, models=models)
    # Seen from the front: what our own mask took beside the ears' blocks is judged with the rest.
    _assert_a_face(small_head.values(), result.stored.astype(float), defaced.mask, result.mask)


def test_recovering_a_raw_head_is_refused(small_head, models):
    told = []
    with pytest.raises(InputError, match="has a face") as error:
        reface_volume(small_head, RECOVER, models=models, progress=lambda _fraction, name: told.append(name))
    assert_one_sentence(error)
    assert told == ["parse", "mask"]  # nothing was made of it


# ---- seeds, modes and ears ----


def test_the_same_seed_gives_the_same_bits(small_head, refaced, models):
    again = reface_volume(small_head, CPU, models=models)
    assert np.array_equal(again.stored, refaced.stored)
    assert (again.seed, again.model, again.device) == (refaced.seed, refaced.model, "cpu")


def test_another_seed_gives_visibly_another_face(small_head, refaced, models):
    other = reface_volume(small_head, dataclasses.replace(CPU, seed=1), models=models)
    assert np.array_equal(other.mask, refaced.mask)
    heads = [head_of(r.stored.astype(float)) for r in (refaced, other)]
    x, y, z = world(small_head)
    front = refaced.mask & (y > 70)
    assert skin_distance(*heads, front, 2.0) > 1.2  # mm on average; the noise alone moves nothing
    flesh = front & heads[0] & heads[1]
    difference = np.abs(ndimage.gaussian_filter((other.stored - refaced.stored.astype(float)), 1.0))
    assert difference[flesh].mean() > 0.02 * WHITE


def test_without_ears_the_ears_stay(small_head, defaced, models):
    result = reface_volume(small_head, dataclasses.replace(DEFACE, ears=False), models=models)
    ears = defaced.mask & ~result.mask
    assert not (result.mask & ~defaced.mask).any()
    assert np.array_equal(result.stored[ears], small_head.stored[ears])
    x, y, z = world(small_head)
    assert (ears & (x < -55)).sum() * 8 > 50_000 and (ears & (x > 65)).sum() * 8 > 50_000  # mm3 a side, with the air
    assert y[ears].max() < NOSE_TIP[1] - 60
    assert (ears & (small_head.stored > TISSUE)).sum() * 8 > 10_000
    assert result.ears is False and defaced.ears is True


def test_defacing_generates_no_voxel(small_head, defaced):
    assert np.unique(defaced.stored[defaced.mask]).tolist() == [0]
    assert defaced.model == {"name": "none", "version": "", "sha256": ""}
    assert set(defaced.seconds) == {"parse", "mask", "check"}


def test_the_result_tells_what_was_done(refaced):
    assert set(refaced.seconds) == {"parse", "mask", "generate", "blend", "check"}
    assert min(refaced.seconds.values()) > 0
    assert len(refaced.model["sha256"]) == 64 and refaced.model["name"] and refaced.model["version"]
    assert (refaced.mode, refaced.seed, refaced.ears, refaced.device) == ("reface", 0, True, "cpu")
    assert refaced.counts["mask_voxels"] == refaced.mask.sum()
    assert refaced.counts["mask_ml"] == pytest.approx(refaced.mask.sum() * 8 / 1000, rel=0.01)
    assert refaced.landmarks["left_eye"][0] < refaced.landmarks["right_eye"][0]
    assert refaced.warnings == () and 1 <= refaced.draws <= conditioning.ATTEMPTS


def test_a_face_that_no_draw_makes_plausible_is_told(small_head, defaced, models, monkeypatch):
    monkeypatch.setattr(conditioning, "ATTEMPTS", 2)
    monkeypatch.setattr(Law, "passes", lambda self, found, likeliest, attempt: False)
    result = reface_volume(small_head, CPU, models=models)
    assert result.draws == 2 and defaced.draws == 0
    assert len(result.warnings) == 1 and result.warnings[0].startswith("None of 2 faces of this seed")


# ---- progress and stopping ----


def test_a_run_can_be_stopped_at_every_stage(small_head, parsed, models, monkeypatch):
    monkeypatch.setattr(pipeline, "parse_head", lambda *_: parsed)
    asked, told = [], []

    def never():
        asked.append(True)
        return False

    reface_volume(small_head, CPU, models=models, progress=lambda f, name: told.append((f, name)), cancelled=never)
    assert {name for _, name in told} == {"parse", "mask", "generate", "blend", "check", FOUND["reface"]}
    names = [name for _, name in told]
    assert names.index(FOUND["reface"]) < names.index("generate")  # it is said before anything is made of it
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and 0 <= fractions[0] and fractions[-1] <= 1
    assert len(asked) >= len(told)
    for allowed in range(len(asked)):
        answers = iter([False] * allowed)
        with pytest.raises(CancelledError, match="nothing was written"):
            reface_volume(small_head, CPU, models=models, cancelled=lambda answers=answers: next(answers, True))
