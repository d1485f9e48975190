"""The volumes of one session: one gets a face, every other one is defaced beside it, and each succeeds or fails alone.

`reface bids`, and all that works on more than one volume, call ``reface_session``. Files are the callers': it works on
volumes, which are read when their turn comes and can be dropped after it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib import companion, pipeline
from RefaceLib.common.errors import CancelledError, InputError, OtherHeadError
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

    options: RefaceOptions
    models: Models
    cancelled: Cancelled | None
    first: tuple[Volume, RefaceResult] | None = None  # with which the others are registered
    masks: dict[str, tuple[Volume, RefaceResult | CompanionResult]] = field(default_factory=dict)  # for masked_as


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

    ``faces`` names those that may get a face (T1-weighted ones), the best first. The first of them that can be refaced
    is; it has the mode and the seed of ``options``. Every other volume is defaced beside that one; or by itself where
    there is none or where, as a warning says, their brains do not match. Several frames (I, J, K, T) have one mask,
    that of their mean. An exception of one member is its outcome, but for CancelledError, which is raised.
    """
    session = _Session(options, models, cancelled)
    ordered = _in_order(members, faces)
    wanted = {member.masked_as for member in ordered}
    for index, member in enumerate(ordered):
        raise_if_cancelled(cancelled)
        told = part(progress or no_progress, index / len(ordered), (index + 1) / len(ordered))
        start = time.perf_counter()
        volume, result, error = None, None, None
        try:
            volume = member.read()
            result = _work(session, member, volume, member.name in faces, told)
        except CancelledError:
            raise
        except Exception as failure:  # of one volume: the others have their turn
            volume, error = None, failure
        if volume is not None and result is not None and member.name in wanted:
            session.masks[member.name] = (volume, result)
        yield Outcome(member.name, volume, result, error, time.perf_counter() - start)


def _in_order(members: Sequence[Member], faces: Sequence[str]) -> list[Member]:
    """Those that may get a face, then those that find their own mask, then those that take another one's."""
    by_name = {member.name: member for member in members}
    rest = [member for member in members if member.name not in faces]
    return [*(by_name[name] for name in faces), *sorted(rest, key=lambda member: member.masked_as is not None)]


def _work(
    session: _Session, member: Member, volume: Volume, may_get_a_face: bool, progress: Progress
) -> RefaceResult | CompanionResult:
    if member.masked_as is not None:
        return _masked_as(volume, session.masks.get(member.masked_as))
    if session.first is not None:
        with contextlib.suppress(OtherHeadError):
            return deface_beside(volume, *session.first, session.models)
        alone = deface_alone(volume, session.options, session.models, session.cancelled)
        return replace(alone, warnings=(*alone.warnings, ALONE))
    if not may_get_a_face or volume.stored.ndim > 3:  # a face is made for one frame
        return deface_alone(volume, session.options, session.models, session.cancelled)
    result = pipeline.reface_volume(
        volume, session.options, models=session.models, progress=progress, cancelled=session.cancelled
    )
    session.first = (volume, result)
    return result


# ---- one volume, which may have frames ----


def deface_beside(other: Volume, volume: Volume, result: RefaceResult, models: Models) -> CompanionResult:
    """``companion.deface_companion``, also for an ``other`` of several frames (I, J, K, T); raises what that raises."""
    done = companion.deface_companion(mean_frame(other), volume, result, models)
    if other.stored.ndim == 3:
        return done
    stored, counts = deface_frames(other, done.mask, done.brain)
    return replace(done, stored=stored, counts={**done.counts, **counts})


def deface_alone(
    volume: Volume, options: RefaceOptions, models: Models, cancelled: Cancelled | None = None
) -> RefaceResult:
    """Deface a volume, of several frames too, by what is found in it alone; raises what the pipeline raises."""
    mean, deface = mean_frame(volume), replace(options, mode="deface")
    done = pipeline.reface_volume(mean, deface, models=models, cancelled=cancelled)
    if volume.stored.ndim == 3:
        return done
    stored, counts = deface_frames(volume, done.mask, done.brain)
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


def deface_frames(volume: Volume, mask: np.ndarray, brain: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """The stored numbers of ``volume`` with the ``mask`` (I, J, K; bool) blank in every frame, and what changed in all.

    Blank is the level of air in the mean of the frames. Raises PromiseError where a promise does not hold.
    """
    level = measure_air(mean_frame(volume).values()[~mask]).level
    stored = volume.stored.copy(order="K")
    stored[mask] = volume.codec.to_stored(np.array([level], dtype=np.float32))[0]
    counts: dict[str, float] = dict.fromkeys(promise.COUNTS, 0)
    for frame in np.ndindex(volume.stored.shape[3:]):
        before, after = volume.stored[(..., *frame)], stored[(..., *frame)]
        for name, number in promise.count_changes(before, after, mask, brain).items():
            counts[name] += number
    promise.verify(counts)
    return stored, counts


def _masked_as(volume: Volume, other: tuple[Volume, RefaceResult | CompanionResult] | None) -> CompanionResult:
    """``volume`` with the mask of another one that lies on the same grid."""
    if other is None:
        raise InputError("The volume is masked as its magnitude is, and that one was not defaced: see what it says.")
    shown, done = other
    same = volume.stored.shape[:3] == shown.stored.shape[:3]
    if not same or not np.allclose(volume.affine, shown.affine, atol=_SAME_GRID_MM):
        raise InputError("The volume is masked as its magnitude is, and that one has another grid: deface it by hand.")
    stored, counts = deface_frames(volume, done.mask, done.brain)
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
