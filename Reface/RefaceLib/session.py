"""The volumes of one session: one gets a face, every other one is defaced beside it, and each succeeds or fails alone.

`reface bids` and `reface dicom` call ``reface_session``. Files are the callers': it works on volumes, which are read
when their turn comes and can be dropped after it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib import companion, pipeline
from RefaceLib.common.errors import CancelledError, InputError, OtherHeadError, RefaceError
from RefaceLib.common.progress import Cancelled, Progress, no_progress, part, raise_if_cancelled
from RefaceLib.companion import CompanionResult
from RefaceLib.face import promise
from RefaceLib.volume.air import measure_air
from RefaceLib.volume.io import Volume

if TYPE_CHECKING:
    from RefaceLib.face.weights import Models
    from RefaceLib.pipeline import RefaceOptions, RefaceResult

_SAME_GRID_MM = 0.01
ALONE = (
    "The brain is not clear enough to be compared with that of the first volume, or is another one, so the volume was "
    "defaced by itself; check that both show one person."
)


@dataclass(frozen=True)
class Member:
    """One volume of a session: its ``name``, unique there, and how it is read.

    ``masked_as`` names another member of the same grid whose mask this one takes, because no head can be found in it:
    the magnitude of a phase image, say.
    """

    name: str
    read: Callable[[], Volume]
    masked_as: str | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one member: a ``result`` of the ``volume`` that was read, or the ``error`` that it met."""

    name: str
    volume: Volume | None
    result: RefaceResult | CompanionResult | None
    error: Exception | None
    seconds: float


@dataclass
class _Session:
    """What is known of a session while its members have their turns."""

    faces: Sequence[str]
    options: RefaceOptions
    models: Models
    cancelled: Cancelled | None
    first: tuple[Volume, RefaceResult] | None = None  # with which the others are registered


def reface_session(
    members: Sequence[Member],
    options: RefaceOptions,
    models: Models,
    *,
    faces: Sequence[str] = (),
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Iterator[Outcome]:
    """Do the work on every member of a session, and yield what became of each; the order is that of the work.

    ``faces`` names those that may get a face, the best first. The first of them that can be refaced is; it has the mode
    and the seed of ``options``. Every other volume is defaced beside that one; or by itself where there is none or
    where, as a warning says, their brains do not match. Several frames (I, J, K, T) have one mask, that of their mean.
    Those that are masked as another one follow it. An exception of one member is its outcome, but for CancelledError,
    which is raised.
    """
    session = _Session(faces, options, models, cancelled)
    names = {member.name for member in members}
    followers: dict[str | None, list[Member]] = {}
    for member in members:
        followers.setdefault(member.masked_as, []).append(member)
    own = followers.pop(None, [])
    for outcome in _with_own_masks(session, own, progress or no_progress):
        yield outcome
        for member in followers.get(outcome.name, ()):
            yield _turn(member, partial(_masked_as, other=outcome), cancelled)
    for name in followers.keys() - names:
        for member in followers[name]:
            yield _turn(member, partial(_masked_as, other=None), cancelled)


def _with_own_masks(session: _Session, members: Sequence[Member], progress: Progress) -> Iterator[Outcome]:
    """The outcomes of those in which a head is looked for, first of those that may get a face.

    One of these that fails before another one has a face is tried once more beside that one, which asks less of it.
    """
    by_name = {member.name: member for member in members}
    rest = [member for member in members if member.name not in session.faces]
    failed: list[tuple[Member, Outcome]] = []
    for index, member in enumerate([*(by_name[name] for name in session.faces), *rest]):
        told = part(progress, index / len(members), (index + 1) / len(members))
        told(0.0, "read")
        outcome = _turn(member, partial(_work, session, member, told), session.cancelled)
        if outcome.error and session.first is None and member.name in session.faces:
            failed.append((member, outcome))
        else:
            yield outcome
    for member, outcome in failed:
        if session.first is not None and isinstance(outcome.error, RefaceError):
            again = _turn(member, partial(_work, session, member, no_progress), session.cancelled)
            outcome = replace(again, seconds=outcome.seconds + again.seconds)
        yield outcome


def _turn(
    member: Member, work: Callable[[Volume], RefaceResult | CompanionResult], cancelled: Cancelled | None
) -> Outcome:
    """What the ``work`` on one member comes to."""
    raise_if_cancelled(cancelled)
    start = time.perf_counter()
    volume, result, error = None, None, None
    try:
        volume = member.read()
        result = work(volume)
    except CancelledError:
        raise
    except Exception as failure:  # of one volume: the others have their turn
        volume, error = None, failure
    return Outcome(member.name, volume, result, error, time.perf_counter() - start)


def _work(session: _Session, member: Member, progress: Progress, volume: Volume) -> RefaceResult | CompanionResult:
    if session.first is not None:
        return deface_member(volume, *session.first, session.options, session.models, session.cancelled)
    if member.name not in session.faces or volume.stored.ndim > 3:  # a face is made for one frame
        return deface_alone(volume, session.options, session.models, session.cancelled)
    result = pipeline.reface_volume(
        volume, session.options, models=session.models, progress=progress, cancelled=session.cancelled
    )
    session.first = (volume, result)
    return result


# ---- one volume, which may have frames ----


def deface_member(
    other: Volume,
    volume: Volume,
    result: RefaceResult,
    options: RefaceOptions,
    models: Models,
    cancelled: Cancelled | None = None,
) -> RefaceResult | CompanionResult:
    """``deface_beside``, or ``deface_alone`` with a warning where the brains do not match; raises what these raise."""
    with contextlib.suppress(OtherHeadError):
        return deface_beside(other, volume, result, models)
    alone = deface_alone(other, options, models, cancelled)
    return replace(alone, warnings=(*alone.warnings, ALONE))


def deface_beside(other: Volume, volume: Volume, result: RefaceResult, models: Models) -> CompanionResult:
    """``companion.deface_companion``, also for an ``other`` of several frames (I, J, K, T); raises what that raises."""
    mean = mean_frame(other)
    done = companion.deface_companion(mean, volume, result, models)
    if other.stored.ndim == 3:
        return done
    stored, counts = deface_frames(other, mean, done.mask, done.brain)
    return replace(done, stored=stored, counts={**done.counts, **counts})


def deface_alone(
    volume: Volume, options: RefaceOptions, models: Models, cancelled: Cancelled | None = None
) -> RefaceResult:
    """Deface a volume, of several frames too, by what is found in it alone; raises what the pipeline raises."""
    mean, deface = mean_frame(volume), replace(options, mode="deface")
    done = pipeline.reface_volume(mean, deface, models=models, cancelled=cancelled)
    if volume.stored.ndim == 3:
        return done
    stored, counts = deface_frames(volume, mean, done.mask, done.brain)
    return replace(done, stored=stored, counts={**done.counts, **counts})


def mean_frame(volume: Volume) -> Volume:
    """The mean (I, J, K; float32) over the frames of ``volume``, or the volume itself where it has no frames.

    A place counts where it has a finite value in any frame, and is NaN elsewhere.
    """
    if volume.stored.ndim == 3:
        return volume
    total = np.zeros(volume.stored.shape[:3])
    count = np.zeros(volume.stored.shape[:3], dtype=np.int32)
    for frame in range(volume.stored.shape[3]):
        values = volume.codec.to_values(volume.stored[..., frame])
        finite = np.isfinite(values)
        total += np.where(finite, values, 0)
        count += finite
    with np.errstate(invalid="ignore"):
        mean = np.asfortranarray(total / np.where(count, count, np.nan), dtype=np.float32)
    return replace(volume, stored=mean, slope=1.0, inter=0.0)


def deface_frames(
    volume: Volume, mean: Volume, mask: np.ndarray, brain: np.ndarray
) -> tuple[np.ndarray, dict[str, float]]:
    """The stored numbers of ``volume`` with the ``mask`` (I, J, K; bool) blank in every frame, and what changed in all.

    Blank is the level of air in the ``mean`` of the frames. Raises PromiseError where a promise does not hold.
    """
    level = measure_air(mean.values()[~mask]).level
    stored = volume.stored.copy(order="K")
    stored[mask] = volume.codec.to_stored(np.array([level], dtype=np.float32))[0]
    counts: dict[str, float] = dict.fromkeys(promise.COUNTS, 0)
    for frame in np.ndindex(volume.stored.shape[3:]):
        before, after = volume.stored[(..., *frame)], stored[(..., *frame)]
        for name, number in promise.count_changes(before, after, mask, brain).items():
            counts[name] += number
    promise.verify(counts)
    return stored, counts


def _masked_as(volume: Volume, other: Outcome | None) -> CompanionResult:
    """``volume`` with the mask of another member that lies on the same grid."""
    if other is None or other.volume is None or other.result is None:
        raise InputError("The volume is masked as its magnitude is, and that one was not defaced: see what it says.")
    shown, done = other.volume, other.result
    same = volume.stored.shape[:3] == shown.stored.shape[:3]
    if not same or not np.allclose(volume.affine, shown.affine, atol=_SAME_GRID_MM):
        raise InputError("The volume is masked as its magnitude is, and that one has another grid: deface it by hand.")
    stored, counts = deface_frames(volume, mean_frame(volume), done.mask, done.brain)
    return CompanionResult(
        stored=stored,
        mask=done.mask,
        brain=done.brain,
        counts={**counts, "tissue_ml": done.counts["tissue_ml"]},
        face_removed=done.face_removed,
        registered_mm=0.0,
        registered_degrees=0.0,
        warnings=volume.warnings,
    )
