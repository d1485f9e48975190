"""Takes the face out of all series of a study: one volume may get a new face, the others are defaced beside it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from RefaceLib.common.errors import InputError, PromiseError, RefaceError
from RefaceLib.common.progress import Progress, part
from RefaceLib.companion import CompanionResult
from RefaceLib.dicom.anonymise import Anonymiser
from RefaceLib.dicom.series import NO_VOLUME, VOLUME, Series, Stack, refuse
from RefaceLib.dicom.writer import Edit, write_files
from RefaceLib.session import Member, Outcome, reface_session
from RefaceLib.volume.geometry import voxel_sizes
from RefaceLib.volume.io import Volume

if TYPE_CHECKING:
    from RefaceLib.face.weights import Models
    from RefaceLib.pipeline import RefaceOptions, RefaceResult

_DONE = {"reface": "refaced", "deface": "defaced", "recover": "recovered"}
_MANY = 2  # volumes on one grid of a series; more are points in time or directions of diffusion
_PHASE = {"PHASE", "P", "IMAGINARY", "I", "REAL", "R"}


@dataclass(frozen=True, eq=False)
class SeriesDone:
    """A series that was written: its ``files``, and for each volume in it what was counted (see promise)."""

    series: Series
    files: list[Path]
    mode: str
    volumes: list[dict[str, Any]]
    warnings: tuple[str, ...]


Reason = tuple[Series, str]
_Usable = tuple[Series, list[Stack]]


@dataclass(eq=False)
class StudyDone:
    """What became of a study. ``dropped`` and ``failed``: series and the sentence why they were not written.

    ``result`` is that of the first volume, by which the others were defaced.
    """

    result: RefaceResult
    written: list[SeriesDone] = field(default_factory=list)
    dropped: list[Reason] = field(default_factory=list)
    failed: list[Reason] = field(default_factory=list)


def reface_study(
    series: Sequence[Series],
    options: RefaceOptions,
    models: Models,
    anonymiser: Anonymiser,
    folder: Path,
    progress: Progress,
) -> StudyDone:
    """Reface the best volume of ``series``, deface all others, and write each into a folder of its own in ``folder``.

    What is no volume (localizers, secondary captures, mosaics, reports) is dropped, and so are phase images without a
    magnitude. A series that cannot be defaced is not written. Raises RefaceError where no series shows a head.
    """
    usable, dropped, failed = _sort_out(series)
    if not usable:
        if len(series) == 1:
            refuse(series[0])
        raise InputError(_first_reason([*failed, *dropped]))
    plan = _plan(usable)
    waiting: dict[Series, list[Outcome]] = {}
    left = Counter(plan.series.values())
    written: list[SeriesDone] = []
    first: Outcome | None = None
    for outcome in reface_session(plan.members, options, models, faces=plan.faces, progress=part(progress, 0.02, 1.0)):
        one = plan.series[outcome.name]
        waiting.setdefault(one, []).append(outcome)
        if first is None and outcome.result is not None:
            first = outcome
        left[one] -= 1
        if left[one]:
            continue
        try:
            target = folder / f"SE{len(written) + 1:04d}"
            written.append(_write_series(one, waiting.pop(one), plan.stacks, target, anonymiser))
        except (InputError, PromiseError) as error:
            if first is not None and one is plan.series[first.name]:
                raise
            failed.append((one, f"{one.name}: {error}"))
    if first is None:
        raise InputError(_first_reason(failed))
    return StudyDone(cast("RefaceResult", first.result), written, dropped, failed)


# ---- which series ----


def _sort_out(series: Sequence[Series]) -> tuple[list[_Usable], list[Reason], list[Reason]]:
    """Series with their volumes; those that are none, and volumes that cannot be used, with the reason."""
    volumes: list[_Usable] = []
    dropped: list[Reason] = []
    failed: list[Reason] = []
    for one in series:
        try:
            volumes.append((one, one.stacks()))
        except InputError as error:
            if one.kind == VOLUME:
                failed.append((one, str(error)))
            else:
                dropped.append((one, f"{one.name} {NO_VOLUME[one.kind]}."))
    usable = []
    for one, stacks in volumes:
        if all(_magnitude_of(stack, one, volumes) for stack in stacks if is_phase(stack)):
            usable.append((one, stacks))
        else:
            said = "holds phase images, and no magnitude on their grid shows where the face is: give both"
            dropped.append((one, f"{one.name} {said}."))
    return usable, dropped, failed


def _first_reason(reasons: Sequence[Reason]) -> str:
    first = reasons[0][1]
    return (
        first if len(reasons) == 1 else f"None of the {len(reasons)} series can be refaced, the first because: {first}"
    )


def is_phase(stack: Stack) -> bool:
    return not _PHASE.isdisjoint(stack.frames[0].kinds)


def _magnitude_of(phase: Stack, series: Series, volumes: Sequence[_Usable]) -> Stack | None:
    """The volume on the grid of a ``phase`` image that shows where its face is: of its ``series``, or the nearest."""
    own = next(index for index, (one, _) in enumerate(volumes) if one is series)
    near = sorted(range(len(volumes)), key=lambda index: abs(index - own))
    return next(
        (
            stack
            for one, stacks in (volumes[index] for index in near)
            for stack in stacks
            if one.world == series.world and not is_phase(stack) and stack.same_grid(phase)
        ),
        None,
    )


def _quality(volumes: _Usable) -> tuple[Any, ...]:
    """Sorts the series first in which a face is best seen: anatomical MR in 3D with the smallest voxels."""
    series, stacks = volumes
    flat = str(series.first.get("MRAcquisitionType", "")) != "3D"
    return (series.modality != "MR", flat, round(float(voxel_sizes(stacks[0].affine).max()), 1))


# ---- the plan ----


@dataclass(eq=False)
class _Plan:
    """The volumes of a study as members of a session; by name their ``series`` and, of all but means, ``stacks``.

    ``faces`` are the names of those that may get a face, the best first.
    """

    members: list[Member] = field(default_factory=list)
    series: dict[str, Series] = field(default_factory=dict)
    stacks: dict[str, Stack] = field(default_factory=dict)
    faces: list[str] = field(default_factory=list)

    def add(self, series: Series, stack: Stack | None, read: Callable[[], Volume], masked_as: str | None = None) -> str:
        """A member, whose name is returned."""
        name = f"{len(self.members)}"
        self.members.append(Member(name, read, masked_as))
        self.series[name] = series
        if stack is not None:
            self.stacks[name] = stack
        return name


def _plan(volumes: Sequence[_Usable]) -> _Plan:
    """Who finds a mask, and who takes it: of each grid of a series, the first magnitude or the mean of many finds it.

    Phase images are masked as their magnitude. A mean gets no face, so a series of many is the first one only where
    there is no other.
    """
    plan = _Plan()
    shown = [(one, [stack for stack in stacks if not is_phase(stack)]) for one, stacks in volumes]
    shown = sorted((each for each in shown if each[1]), key=_quality)
    groups = [(one, group) for one, stacks in shown for group in _by_grid(stacks)]
    few = [group for _, group in groups if len(group) <= _MANY] or [group for _, group in groups]
    finder: dict[Stack, str] = {}
    for one, group in groups:
        if any(group is each for each in few):
            name = plan.add(one, group[0], group[0].read)
            plan.faces.append(name)
            rest = group[1:]
        else:
            name = plan.add(one, None, partial(_mean, group))
            rest = group
        finder |= dict.fromkeys(group, name)
        for stack in rest:
            plan.add(one, stack, stack.read, masked_as=name)
    for one, stacks in volumes:
        for stack in filter(is_phase, stacks):
            magnitude = _magnitude_of(stack, one, volumes)
            if magnitude is not None:
                plan.add(one, stack, stack.read, masked_as=finder[magnitude])
    return plan


def _by_grid(stacks: Sequence[Stack]) -> list[list[Stack]]:
    """The stacks in groups of one grid."""
    groups: list[list[Stack]] = []
    for stack in stacks:
        group = next((group for group in groups if group[0].same_grid(stack)), None)
        if group is None:
            groups.append([stack])
        else:
            group.append(stack)
    return groups


def _mean(stacks: Sequence[Stack]) -> Volume:
    """The mean of volumes on one grid: points in time, directions."""
    total = sum((one.read().values() for one in stacks), np.zeros(stacks[0].shape, dtype=np.float32))
    return Volume(total / np.float32(len(stacks)), stacks[0].affine)


# ---- the files ----


def _write_series(
    series: Series, outcomes: Sequence[Outcome], stacks: Mapping[str, Stack], target: Path, anonymiser: Anonymiser
) -> SeriesDone:
    """Write a series, with the outcomes of all its volumes, into the new folder ``target``; raises what one met."""
    edits: list[Edit] = []
    counts: list[dict[str, Any]] = []
    warnings: list[str] = []
    mode = "deface"
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
        result = outcome.result
        assert result is not None
        warnings += result.warnings
        if outcome.name in stacks:  # but for a mean, whose mask its volumes have
            edits.append(Edit(stacks[outcome.name], result.stored, result.mask))
            counts.append(_told(result))
            mode = _mode(result) if mode == "deface" else mode
    try:
        target.mkdir()
        files = write_files(series, edits, target, anonymiser, _DONE[mode])
    except RefaceError:
        shutil.rmtree(target, ignore_errors=True)  # half a series is none
        raise
    return SeriesDone(series, files, mode, counts, tuple(dict.fromkeys(warnings)))


def _mode(result: RefaceResult | CompanionResult) -> str:
    return "deface" if isinstance(result, CompanionResult) else result.mode


def _told(result: RefaceResult | CompanionResult) -> dict[str, Any]:
    """What the report says of a volume; of that with the face the rest is told at the top."""
    told: dict[str, Any] = dict(result.counts)
    if _mode(result) == "deface":
        told["face_removed"] = dict(result.face_removed)
    if isinstance(result, CompanionResult):
        told |= {"registered_mm": result.registered_mm, "registered_degrees": result.registered_degrees}
    return told
