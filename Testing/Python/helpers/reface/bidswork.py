"""Work on a person that takes no time: real files, outputs and records, but no networks; and faults on demand."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from RefaceLib.bids import dataset
from RefaceLib.bids.index import Filters, index_dataset
from RefaceLib.bids.job import Job, Options
from RefaceLib.bids.person import reface_person
from RefaceLib.bids.record import Record
from RefaceLib.companion import CompanionResult
from RefaceLib.session import Member, Outcome, deface_frames, mean_frame


def blank_session(members: list[Member], options, models, *, faces=(), **rest) -> Iterator[Outcome]:
    """As RefaceLib.session.reface_session, but the front third of every volume becomes blank."""
    for member in members:
        try:
            volume = member.read()
        except Exception as error:
            yield Outcome(member.name, None, None, error, 0.0)
            continue
        mask = np.zeros(volume.stored.shape[:3], dtype=bool)
        mask[:, mask.shape[1] * 2 // 3 :] = True
        stored, counts = deface_frames(volume, mean_frame(volume), mask, ~mask)
        removed = {"nose": 1.0}
        result = CompanionResult(stored, mask, ~mask, {**counts, "tissue_ml": 1.0}, removed, 0.0, 0.0, volume.warnings)
        yield Outcome(member.name, volume, result, None, 0.01)


def job_of(root: Path, out: Path, label: str, filters: Filters | None = None, **options) -> Job:
    """The work on the person of that label, into the new folder `out`."""
    dataset.make_out(out)
    persons = {found.label: found for found in index_dataset(root, filters=filters)}
    return Job(root, out, persons[label], Options(**options))


def blank_person(job: Job) -> Record:
    """As reface_person, but with the session above, and without threads to be limited."""
    with (
        mock.patch("RefaceLib.session.reface_session", blank_session),
        mock.patch("RefaceLib.bids.person._limit_threads"),
        mock.patch("RefaceLib.face.weights.load_models"),
    ):
        return reface_person(job)


def faulty_person(job: Job) -> Record:
    """As blank_person; but some persons, by their number, meet what happens to workers."""
    number, tried = int(job.person.label), job.out / f"tried-{job.person.label}"
    first = not tried.exists()
    tried.touch()
    if number % 50 == 7 or (number % 25 == 3 and first):  # always; or at the first try only
        os.kill(os.getpid(), signal.SIGKILL)
    if number % 50 == 21 and first:
        os._exit(1)
    if number % 50 == 33:
        raise ValueError("a mistake")
    if number % 50 == 14 and first:
        raise OSError("the network disk went away")
    return blank_person(job)


def slow_person(job: Job) -> Record:
    """As blank_person, after half a second of waiting, as for a device."""
    time.sleep(0.5)
    return blank_person(job)


def hungry_person(job: Job) -> Record:
    """As blank_person, but person 1 takes more memory than there is for a worker."""
    if job.person.label == "1":
        taken = []
        while True:
            taken.append(np.ones(4 << 20))  # 32 MB
            time.sleep(0.02)
    return blank_person(job)
