"""Takes the face out of all series of a study: one volume may get a new face, the others are defaced beside it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib import companion, pipeline
from RefaceLib.common.errors import InputError, PromiseError
from RefaceLib.common.progress import Progress, part
from RefaceLib.dicom.anonymise import Anonymiser
from RefaceLib.dicom.series import VOLUME, Series, Stack
from RefaceLib.dicom.writer import Edit, write_files
from RefaceLib.face.weights import Models
from RefaceLib.session import deface_frames
from RefaceLib.volume.geometry import voxel_sizes
from RefaceLib.volume.io import Volume

_DONE = {"reface": "refaced", "deface": "defaced", "recover": "recovered"}
_MANY = 2  # volumes in a series; more are points in time or directions of diffusion
_PHASE = {"PHASE", "P", "IMAGINARY", "I", "REAL", "R"}


@dataclass(frozen=True, eq=False)
class SeriesDone:
    """A series that was written: its ``files``, and for each volume in it what was counted (see promise)."""

    series: Series
    files: list[Path]
    mode: str
    volumes: list[dict[str, Any]]
    warnings: tuple[str, ...]


@dataclass(eq=False)
class StudyDone:
    """What became of a study. ``dropped`` and ``failed``: series and the sentence why they were not written.

    ``first`` is the series with the ``volume`` and the ``result`` that the others were defaced by.
    """

    first: Series
    volume: Volume
    result: pipeline.RefaceResult
    written: list[SeriesDone] = field(default_factory=list)
    dropped: list[tuple[Series, str]] = field(default_factory=list)
    failed: list[tuple[Series, str]] = field(default_factory=list)


def reface_study(
    series: Sequence[Series],
    options: pipeline.RefaceOptions,
    models: Models,
    anonymiser: Anonymiser,
    folder: Path,
    progress: Progress,
) -> StudyDone:
    """Reface the best volume of ``series``, deface all others, and write each into a folder of its own in ``folder``.

    What is no volume (localizers, secondary captures, mosaics, reports) is dropped. A series that cannot be defaced is
    not written. Raises RefaceError where no series shows a head.
    """
    volumes, dropped, failed = _sort_out(series)
    if not volumes:
        raise InputError(_first_reason([*failed, *dropped]))
    first, volume, result = _reface_best(volumes, options, models, part(progress, 0.02, 0.5))
    done = StudyDone(first, volume, result, dropped=dropped, failed=failed)
    ahead = sorted(volumes, key=lambda each: each[0] is not first)
    for index, (one, its) in enumerate(ahead):
        share = part(progress, 0.5 + 0.5 * index / len(ahead), 0.5 + 0.5 * (index + 1) / len(ahead))
        mode = result.mode if one is first else "deface"
        target = folder / f"SE{len(done.written) + 1:04d}"
        try:
            edits, volumes_done, warnings = _deface_series(its, one is first, done, models, share)
            target.mkdir()
            written = write_files(one, edits, target, anonymiser, _DONE[mode], _ticker(one, share))
        except (InputError, PromiseError) as error:
            shutil.rmtree(target, ignore_errors=True)  # half a series is none
            if one is first:
                raise
            done.failed.append((one, f"{one.name}: {error}"))
            continue
        done.written.append(SeriesDone(one, written, mode, volumes_done, warnings))
    return done


# ---- which series ----


Reason = tuple[Series, str]


def _sort_out(series: Sequence[Series]) -> tuple[list[tuple[Series, list[Stack]]], list[Reason], list[Reason]]:
    """Series with their volumes; those that are none, and volumes that cannot be used, with the reason."""
    volumes: list[tuple[Series, list[Stack]]] = []
    dropped: list[Reason] = []
    failed: list[Reason] = []
    for one in series:
        try:
            volumes.append((one, one.stacks()))
        except InputError as error:
            (failed if one.kind == VOLUME else dropped).append((one, str(error)))
    return volumes, dropped, failed


def _first_reason(reasons: Sequence[Reason]) -> str:
    first = reasons[0][1]
    return (
        first if len(reasons) == 1 else f"None of the {len(reasons)} series can be refaced, the first because: {first}"
    )


def is_phase(stack: Stack) -> bool:
    return not _PHASE.isdisjoint(stack.frames[0].kinds)


def main_stack(stacks: Sequence[Stack]) -> Stack:
    """The volume of a series in which the head is looked for: the first one that is no phase."""
    return next((stack for stack in stacks if not is_phase(stack)), stacks[0])


def _quality(volumes: tuple[Series, list[Stack]]) -> tuple[Any, ...]:
    """Sorts the volume first in which a face is best seen: anatomical MR in 3D with the smallest voxels."""
    series, stacks = volumes
    stack = main_stack(stacks)
    many = len([one for one in stacks if not is_phase(one)]) > _MANY
    flat = str(series.first.get("MRAcquisitionType", "")) != "3D"
    return (is_phase(stack), many, series.modality != "MR", flat, round(float(voxel_sizes(stack.affine).max()), 1))


def _reface_best(
    volumes: Sequence[tuple[Series, list[Stack]]],
    options: pipeline.RefaceOptions,
    models: Models,
    progress: Progress,
) -> tuple[Series, Volume, pipeline.RefaceResult]:
    """The first volume, by its quality, in which a head is found; the others may still be defaced beside it."""
    failed: list[Reason] = []
    for series, stacks in sorted(volumes, key=_quality):
        try:
            volume = main_stack(stacks).read()
            return series, volume, pipeline.reface_volume(volume, options, models=models, progress=progress)
        except (InputError, PromiseError) as error:
            failed.append((series, f"{series.name}: {error}"))
    raise InputError(_first_reason(failed))


# ---- the volumes of one series ----


@dataclass(frozen=True, eq=False)
class _Mask:
    """The face and the brain (I, J, K; bool) on the grid of ``stack``."""

    stack: Stack
    face: np.ndarray
    brain: np.ndarray


def _deface_series(
    stacks: Sequence[Stack], is_first: bool, done: StudyDone, models: Models, progress: Progress
) -> tuple[list[Edit], list[dict[str, Any]], tuple[str, ...]]:
    """Edits of all volumes of a series, what was counted, and warnings.

    Volumes of one series on one grid share a mask: the other echoes, the phase, points in time.
    """
    main = main_stack(stacks)
    edits: list[Edit] = []
    counts: list[dict[str, Any]] = []
    warnings: list[str] = []
    masks: list[_Mask] = []
    for index, stack in enumerate([main, *(one for one in stacks if one is not main)]):
        progress(0.5 * index / len(stacks), "deface")
        if is_first and stack is main:
            result = done.result
            masks.append(_Mask(stack, result.mask, result.brain))
            edits.append(Edit(stack, result.stored, result.mask))
            counts.append(dict(result.counts))
            warnings += result.warnings
            continue
        found: dict[str, Any] = {}
        mask = next((mask for mask in masks if mask.stack.same_grid(stack)), None)
        if mask is None:
            beside = companion.deface_companion(_mean(stack, stacks), done.volume, done.result, models)
            mask = _Mask(stack, beside.mask, beside.brain)
            masks.append(mask)
            warnings += beside.warnings
            found["face_removed"] = beside.face_removed
            found["registered_mm"], found["registered_degrees"] = beside.registered_mm, beside.registered_degrees
        stored, changes = deface_frames(stack.read(), mask.face, mask.brain)
        edits.append(Edit(stack, stored, mask.face))
        counts.append({**changes, **found})
    return edits, counts, tuple(dict.fromkeys(warnings))


def _mean(stack: Stack, stacks: Sequence[Stack]) -> Volume:
    """The volume of ``stack``; where many of ``stacks`` lie on its grid (points in time, directions), their mean."""
    alike = [one for one in stacks if one.same_grid(stack) and is_phase(one) == is_phase(stack)]
    volume = stack.read()
    if len(alike) <= _MANY:
        return volume
    total = sum((one.read().values() for one in alike), np.zeros(stack.shape, dtype=np.float32))
    return Volume(total / np.float32(len(alike)), volume.affine)


def _ticker(series: Series, progress: Progress) -> Callable[[], None]:
    total, count = len(series.files), 0

    def tick() -> None:
        nonlocal count
        count += 1
        progress(0.5 + 0.5 * count / total, "write")

    return tick
