"""A run over a data set: who is in it, the work on all of them, and the tables at its end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from RefaceLib.bids import dataset, engine
from RefaceLib.bids.index import Filters, index_dataset
from RefaceLib.bids.job import Job, Options
from RefaceLib.bids.marks import read_marks
from RefaceLib.bids.person import reface_person
from RefaceLib.bids.record import Record, lost, write_record
from RefaceLib.common.progress import Progress

Work = Callable[[Job], Record]
_WORKERS = engine.Workers()


@dataclass(frozen=True)
class Selection:
    """Which part of a data set: labels of ``participants`` and ``sessions`` (none: all), and ``filters``."""

    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()
    filters: Filters | None = None


def run_participants(
    source: Path,
    out: Path,
    options: Options,
    *,
    seed: int | None = None,
    selection: Selection = Selection(),
    workers: engine.Workers = _WORKERS,
    force: bool = False,
    progress: Progress | None = None,
    work: Work = reface_person,
) -> list[Record]:
    """Do the work on the selected persons of the data set ``source``, below ``out``; their records.

    ``seed`` None: that of an earlier run, or a new one. ``force``: also what is done already. ``work`` is what is done
    to a person. A person whose every try was lost has a record that says so. Raises RefaceError where the data set or
    the folder cannot be used.
    """
    dataset.check_folders(source, out, options.output)
    dataset.check_description(source)
    dataset.check_top(source, options.output)
    read_marks(out)  # which the pages show at the end
    persons = index_dataset(source, selection.participants, selection.sessions, selection.filters)
    dataset.check_outputs(source, out, options, persons)
    dataset.make_out(out)
    options = replace(options, seed=dataset.settle(out, options.output, seed))
    jobs = [Job(source, out, person, options, force) for person in persons]
    records = _do(jobs, workers, progress, work)
    dataset.write_top(source, out, options)
    return records


def _do(jobs: Sequence[Job], workers: engine.Workers, progress: Progress | None, work: Work) -> list[Record]:
    records: dict[int, Record] = {}
    with engine.started(workers) as client:
        keys = [f"sub-{job.person.label}" for job in jobs]
        for index, done in engine.do_tasks(client, work, jobs, keys):
            if isinstance(done, str):
                done = lost(jobs[index], done)
                write_record(jobs[index].record, done)
            records[index] = done
            if progress:
                progress(len(records) / len(jobs), f"{len(records)} of {len(jobs)} persons")
    return [records[index] for index in range(len(jobs))]
