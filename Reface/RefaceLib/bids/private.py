"""The private quality pages: every volume with its original beside it, in a folder apart from what is published."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from RefaceLib.bids import engine
from RefaceLib.bids.carry import pointer_sentence
from RefaceLib.bids.job import PERSONS
from RefaceLib.bids.marks import read_marks
from RefaceLib.bids.quality import Report
from RefaceLib.bids.record import Record, Row
from RefaceLib.common.errors import OutputError, RefaceError
from RefaceLib.common.files import OutputSet, write_error
from RefaceLib.common.progress import Progress

_OURS = ".reface-private"  # marks a folder that may be written to again
_FOLDER, _FILE = 0o700, 0o600  # for nobody else; files keep it when they are moved


@dataclass(frozen=True)
class Originals:
    """The work on one person: pictures of the originals at ``source`` beside those in ``out``, in ``folder``."""

    source: Path
    out: Path
    folder: Path
    record: Record


def check_private(folder: Path, source: Path, out: Path) -> None:
    """Raise OutputError where the folder could be published with the data, or holds another one's files."""
    real = Path(os.path.realpath(folder))
    for other, name in ((out, "OUT_DIR"), (source, "BIDS_DIR")):
        other = Path(os.path.realpath(other))
        if real.is_relative_to(other) or other.is_relative_to(real):
            raise OutputError(f"The private report in {folder} would mix with {name}: give a folder apart from it.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _OURS).is_file():
        raise OutputError(f"{folder} is not empty and holds no private report: give another folder.")
    if os.path.lexists(folder) and not folder.is_dir():
        raise OutputError(f"{folder} is a file: give the name of a folder.")


def write_private(
    source: Path,
    out: Path,
    folder: Path,
    name: str,
    records: Sequence[Record],
    workers: engine.Workers,
    progress: Progress | None = None,
) -> None:
    """Write the pages on the ``records`` with the originals into ``folder``, which is made; ``name`` the data set's.

    Raises OutputError where the folder cannot be used.
    """
    check_private(folder, source, out)
    try:
        folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)
        folder.chmod(_FOLDER)  # it may have been there, for all to read
        (folder / _OURS).touch(mode=_FILE)
        shutil.rmtree(folder / PERSONS, ignore_errors=True)
    except OSError as error:
        raise write_error(folder / _OURS, error) from error
    jobs = [Originals(source, out, folder, record) for record in records]
    pictures: dict[str, str] = {}
    with engine.started(workers) as client:
        keys = [f"original-{record.label}" for record in records]
        for count, (_, done) in enumerate(engine.do_tasks(client, draw_originals, jobs, keys), start=1):
            if isinstance(done, str):
                raise OutputError(f"The private report is not complete: {done}")
            pictures.update(done)
            if progress:
                progress(count / len(jobs), f"pictures of the originals of {count} of {len(jobs)} persons")
    for path, text in Report(name, records, read_marks(out), pictures).pages():
        target = folder / path
        target.parent.mkdir(exist_ok=True)
        with OutputSet(overwrite=True) as staged:
            waiting = staged.stage(target)
            waiting.touch(mode=_FILE)
            waiting.write_text(text, encoding="utf-8", errors="surrogateescape")


def draw_originals(job: Originals) -> Mapping[str, str]:
    """Draw every original of the person that can be read, and copy the picture of its result; paths by the volume."""
    drawn = {}
    for row in job.record.rows:
        if not row.is_volume:
            continue
        if row.picture:
            (job.folder / row.picture).parent.mkdir(parents=True, exist_ok=True)
            (job.folder / row.picture).touch(mode=_FILE)
            shutil.copyfile(job.out / row.picture, job.folder / row.picture)
        path = f"{PERSONS}/{row.file.removesuffix('.gz').removesuffix('.nii')}_original.jpg"
        if _draw(job, row, job.folder / path):
            drawn[row.file] = path
    return drawn


def _draw(job: Originals, row: Row, target: Path) -> bool:
    """Whether the original of this row could be drawn, which a row that failed need not say."""
    import numpy as np

    from RefaceLib.bids.thumbnail import write_thumbnail
    from RefaceLib.volume.io import read_volume

    source = job.source / row.file
    if pointer_sentence(source):
        return False
    try:
        volume = read_volume(source, frames=True)
        mask = np.asarray(read_volume(job.out / row.mask).stored) > 0 if row.mask else None
    except RefaceError:  # whose cause the row tells
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.touch(mode=_FILE)
    write_thumbnail(target, volume, mask)
    return True
