"""The volumes of a session: who gets the face, how the others are done, and what one failure leaves of the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from RefaceLib import session
from RefaceLib.common.errors import CancelledError, InputError, OtherHeadError
from RefaceLib.face import promise
from RefaceLib.pipeline import RefaceOptions
from RefaceLib.session import Member, deface_alone, deface_beside, mean_frame, reface_session
from RefaceLib.volume.io import Volume

OPTIONS = RefaceOptions(seed=8, device="cpu")


def frames_of(volume: Volume, *factors: float) -> Volume:
    stored = np.stack([np.rint(volume.stored * factor).astype(volume.stored.dtype) for factor in factors], axis=3)
    return replace(volume, stored=np.asfortranarray(stored))


def assert_frames(done, series: Volume) -> None:
    """Every frame is blank in the mask, which holds a face, and as it was elsewhere; all of them are counted."""
    differ = promise.changed(series.stored, done.stored)
    assert not differ[~done.mask].any() and len(np.unique(done.stored[done.mask])) == 1
    assert done.counts["voxels_changed"] == differ.sum() > done.mask.sum()
    assert done.counts["voxels_changed_outside_mask"] == done.counts["brain_voxels_changed"] == 0
    assert min(done.face_removed.values()) >= promise.LEAST_REMOVED


# ---- frames ----


def test_frames_beside_a_head_have_one_mask(small_head, defaced, models):
    series = frames_of(small_head, 1.0, 0.8, 1.1)
    done = deface_beside(series, small_head, defaced, models)
    assert_frames(done, series)
    assert done.mask[defaced.mask].mean() > 0.98


def test_frames_alone_have_one_mask(small_head, models):
    series = frames_of(small_head, 1.0, 0.9)
    done = deface_alone(series, OPTIONS, models)
    assert done.mode == "deface"
    assert_frames(done, series)


def test_the_mean_of_frames_is_taken_once(small_head, defaced, models, monkeypatch):
    taken = []
    monkeypatch.setattr(session, "mean_frame", lambda volume: taken.append(1) or mean_frame(volume))
    deface_beside(frames_of(small_head, 1.0, 0.8), small_head, defaced, models)
    assert len(taken) == 1


def test_the_mean_takes_what_is_finite_in_any_frame():
    stored = np.ones((2, 2, 2, 3), dtype=np.float32)
    stored[0, 0, 0] = np.nan, 2, 4
    stored[1, 1, 1] = np.inf
    mean = mean_frame(Volume(stored, np.eye(4), slope=2.0, inter=1.0))
    values = mean.values()
    assert values[0, 0, 0] == 7 and np.isnan(values[1, 1, 1]) and values[0, 1, 0] == 3
    whole = Volume(stored[..., 1], np.eye(4))
    assert mean_frame(whole) is whole


# ---- who gets what ----


@dataclass(frozen=True)
class Done:
    stored: np.ndarray
    mask: np.ndarray
    brain: np.ndarray
    counts: dict[str, float]
    face_removed: dict[str, float]
    mode: str
    warnings: tuple[str, ...] = ()


@pytest.fixture(name="told")
def told_fixture(monkeypatch) -> list[tuple]:
    """What is done to which volume, with work that takes no time; volumes of one value 13 are refused."""
    told: list[tuple] = []

    def result(volume, mode):
        if (volume.stored == 13).all():
            raise InputError("It is 13.")
        mask = np.zeros(volume.stored.shape, dtype=bool)
        mask[0] = True
        stored = np.where(mask, 0, volume.stored).astype(volume.stored.dtype)
        counts = {**promise.count_changes(volume.stored, stored, mask, ~mask), "tissue_ml": 1.0}
        told.append((int(volume.stored.max()), mode))
        return Done(stored, mask, ~mask, counts, {"nose": 1.0}, mode)

    def reface(volume, options, **rest):
        return result(volume, options.mode)

    def beside(other, volume, first, models):
        return result(other, f"beside {volume.stored.max()}")

    monkeypatch.setattr(session.pipeline, "reface_volume", reface)
    monkeypatch.setattr(session.companion, "deface_companion", beside)
    return told


def member(name: str, value: int, masked_as: str | None = None) -> Member:
    return Member(name, lambda: Volume(np.full((4, 4, 4), value, dtype=np.int16), np.eye(4)), masked_as)


def run(*members: Member, faces=(), options=OPTIONS, **rest):
    return {done.name: done for done in reface_session(members, options, None, faces=faces, **rest)}


def test_the_best_volume_gets_a_face_and_the_others_are_done_beside_it(told):
    done = run(member("T2w", 2), member("b", 3), member("a", 1), faces=("a", "b"))
    assert told == [(1, "auto"), (3, "beside 1"), (2, "beside 1")]
    assert all(outcome.error is None for outcome in done.values())


def test_a_face_is_made_for_one_frame_and_frames_are_defaced(told):
    """A multi-echo T1w is no volume that can get a face, so the next one does."""
    frames = Member("a", lambda: Volume(np.full((4, 4, 4, 2), 5, dtype=np.int16), np.eye(4)))
    done = run(frames, member("b", 3), faces=("a", "b"))
    assert told == [(5, "deface"), (3, "auto")]
    assert all(outcome.error is None for outcome in done.values())


def test_one_that_fails_does_not_lose_the_others(told):
    done = run(member("T2w", 13), member("FLAIR", 4), member("a", 1), faces=("a",))
    assert told == [(1, "auto"), (4, "beside 1")]
    assert str(done["T2w"].error) == "It is 13." and done["T2w"].result is None and done["T2w"].volume is None


def test_where_the_best_fails_the_next_gets_the_face(told):
    done = run(member("a", 13), member("b", 3), member("T2w", 2), faces=("a", "b"))
    assert told == [(3, "auto"), (2, "beside 3")] and done["a"].error


def test_a_volume_without_a_face_of_its_own_is_tried_again_beside_the_one_that_got_it(told, monkeypatch):
    """Beside another volume less is asked of it: its field of view may end in the brain, say."""
    reface = session.pipeline.reface_volume

    def refusing(volume, options, **rest):
        if volume.stored.max() == 1:
            raise InputError("The brain is cut.")
        return reface(volume, options, **rest)

    monkeypatch.setattr(session.pipeline, "reface_volume", refusing)
    done = run(member("phase", 9, "a"), member("a", 1), member("b", 3), member("T2w", 2), faces=("a", "b"))
    assert told == [(3, "auto"), (2, "beside 3"), (1, "beside 3")]
    assert list(done) == ["b", "T2w", "a", "phase"] and not any(outcome.error for outcome in done.values())


def test_without_a_head_for_a_face_every_volume_is_defaced_alone(told):
    run(member("T2w", 2), member("FLAIR", 4))
    assert told == [(2, "deface"), (4, "deface")]
    told.clear()
    run(member("a", 13), member("T2w", 2), faces=("a",))
    assert told == [(2, "deface")]


def test_a_phase_image_has_the_mask_of_its_magnitude(told):
    done = run(member("phase", 9, "magnitude"), member("magnitude", 5), member("lost", 9, "none"))
    assert told == [(5, "deface")]
    assert (done["phase"].result.stored[0] != 9).all() and (done["phase"].result.stored[1:] == 9).all()
    assert "masked as its magnitude" in str(done["lost"].error)


def test_a_phase_image_on_another_grid_is_refused(told):
    other = Member("phase", lambda: Volume(np.full((4, 4, 5), 9, dtype=np.int16), np.eye(4)), "magnitude")
    done = run(other, member("magnitude", 5))
    assert "another grid" in str(done["phase"].error)


def test_a_volume_that_cannot_be_read_is_an_outcome_of_its_own(told):
    def read():
        raise InputError("It is truncated.")

    done = run(Member("T1w", read), member("T2w", 2))
    assert str(done["T1w"].error) == "It is truncated." and done["T2w"].result


def test_volumes_are_read_when_their_turn_comes(told):
    session_ = reface_session([member("a", 1), Member("b", pytest.fail)], OPTIONS, None)
    assert next(session_).name == "a"


def test_a_cancel_ends_the_session(told):
    with pytest.raises(CancelledError):
        run(member("a", 1), cancelled=lambda: True)


def test_a_volume_whose_brain_does_not_match_is_defaced_alone(told, monkeypatch):
    def beside(*arguments):
        raise OtherHeadError("Their brains do not match.")

    monkeypatch.setattr(session.companion, "deface_companion", beside)
    done = run(member("asl", 2), member("a", 1), faces=("a",))
    assert told == [(1, "auto"), (2, "deface")] and done["asl"].result.warnings == (session.ALONE,)
