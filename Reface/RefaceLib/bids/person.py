"""The work on one person, in a worker: every volume of every session, and the outputs, all of them or none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib import __version__
from RefaceLib.bids import suffixes
from RefaceLib.bids.carry import Carrier, check_no_links, kept_error, pointer_sentence
from RefaceLib.bids.index import Scan, stem_of
from RefaceLib.bids.job import Job
from RefaceLib.bids.record import (
    DEFACED,
    FAILED,
    KEPT,
    LEFT_OUT,
    RECOVERED,
    REFACED,
    Record,
    Row,
    fingerprint,
    lost,
    read_record,
    write_record,
)
from RefaceLib.common.errors import InputError, OutputError, RefaceError
from RefaceLib.common.files import write_error, write_json
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.shell import sentence_of
from RefaceLib.common.sidecar import deidentified, inherited

if TYPE_CHECKING:
    from RefaceLib.session import Outcome
    from RefaceLib.volume.io import Volume

_STATUS = {"reface": REFACED, "recover": RECOVERED}
_FRAME_FILES = (".bval", ".bvec")  # beside diffusion scans


def reface_person(job: Job) -> Record:
    """Do all that is to be done to a person, or nothing where it is done; what became of it is in the record.

    A volume that cannot be done fails alone. Where outputs cannot be written, all fail, and the former ones stay.
    """
    from RefaceLib.face.weights import registry_hashes

    with _locked(job):
        try:
            return _reface_locked(job, registry_hashes(job.options.models))
        except RefaceError as error:  # another try would end as this one
            record = lost(job, str(error))
            write_record(job.record, record)
            return record


@contextlib.contextmanager
def _locked(job: Job) -> Iterator[None]:
    """No other process works on the person during the block; a lock goes with the process that holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(job.work.with_suffix(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError("Another run works on this person: let it end, or stop it, and run again.") from error
    try:
        yield
    finally:
        lock.release()


def _reface_locked(job: Job, weights: Mapping[str, str]) -> Record:
    former = read_record(job.record)
    found = fingerprint(job, weights, __version__)
    if former and not job.again and former.holds(job.out, found):
        record = former
    else:
        record = _Work(job, found, former).run()
    return Carrier(job, record).carry() if job.options.output == "dataset" else record


def _limit_threads(count: int) -> None:
    """As many threads as were asked for, wherever the worker runs: another number may change some bits."""
    import SimpleITK
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(count)
    threadpool_limits(count)


@dataclass
class _Work:
    """One try at a person: its outputs wait in a folder of their own until all are there."""

    job: Job
    fingerprint: str
    former: Record | None
    rows: dict[str, Row] = field(default_factory=dict)  # by path of the scan
    staged: list[str] = field(default_factory=list)  # paths in OUT
    again: bool = False

    def run(self) -> Record:
        work = self.job.work
        try:
            shutil.rmtree(work, ignore_errors=True)  # what a killed try has left
            work.mkdir(parents=True)
            _limit_threads(self.job.options.threads)
            self._set_aside()
            for session in dict.fromkeys(scan.session for scan in self.job.person.scans):
                self._session(session)
            record = self._commit()
        except OSError as error:
            raise write_error(work, error) from error
        finally:
            shutil.rmtree(work, ignore_errors=True)
        return record

    # ---- the volumes ----

    def _set_aside(self) -> None:
        """Rows of the volumes on which no work is done."""
        derived = self.job.options.output == "derivatives"
        for scan in self.job.person.scans:
            if scan.action == suffixes.LEAVE_OUT:
                self.rows[scan.path] = self._row(scan, LEFT_OUT, suffixes.why_left_out(scan.suffix))
            elif scan.action == suffixes.KEEP or (scan.action == suffixes.ASKED and not self.job.options.func):
                said = "Functional volumes are defaced only with --func." if scan.action == suffixes.ASKED else ""
                self.rows[scan.path] = self._row(scan, LEFT_OUT if derived else KEPT, said)

    def _session(self, session: str) -> None:
        """All volumes of one session."""
        from RefaceLib.face.weights import load_models
        from RefaceLib.pipeline import RefaceOptions
        from RefaceLib.session import Member, reface_session

        scans = {scan.path: scan for scan in self.job.person.scans if scan.session == session}
        scans = {path: scan for path, scan in scans.items() if path not in self.rows}
        if not scans:
            return
        options = self.job.options
        members = [Member(scan.path, partial(self._read, scan), _magnitude_of(scan, scans)) for scan in scans.values()]
        faces = [scan for scan in scans.values() if scan.action == suffixes.FACE]
        faces.sort(key=partial(_voxel_size, self.job.source))
        models = load_models(options.device, options.models)
        chosen = RefaceOptions(mode=options.mode, seed=self.job.seed, ears=options.ears, device=options.device)
        for outcome in reface_session(members, chosen, models, faces=[scan.path for scan in faces]):
            self._write(scans[outcome.name], outcome)

    def _read(self, scan: Scan) -> Volume:
        from RefaceLib.volume.io import read_volume

        path = self.job.source / scan.path
        if sentence := pointer_sentence(path):
            raise InputError(sentence)
        return read_volume(path, frames=True)

    def _write(self, scan: Scan, outcome: Outcome) -> None:
        """The volume, its mask, its sidecars and its picture among what waits, and its row."""
        from RefaceLib.bids.thumbnail import write_thumbnail
        from RefaceLib.face import promise
        from RefaceLib.volume.io import write_mask, write_volume

        volume, result = outcome.volume, outcome.result
        if volume is None or result is None:
            error = outcome.error or RuntimeError("no result")
            self.again = self.again or not isinstance(error, RefaceError)
            said = self.job.unnamed(sentence_of(error), scan.path)
            self.rows[scan.path] = self._row(scan, FAILED, said, seconds=round(outcome.seconds, 2))
            return
        status = _STATUS.get(getattr(result, "mode", "deface"), DEFACED)
        image, mask = self.job.image(scan, DEFACED if status == DEFACED else REFACED), self.job.mask(scan)
        picture = self.job.picture(scan)
        write_volume(self._stage(image), volume, result.stored)
        write_mask(self._stage(mask), result.mask, volume)
        write_thumbnail(self._stage(picture), replace(volume, stored=result.stored), result.mask)
        self._write_sidecars(scan, image, mask, status)
        counts: dict[str, Any] = {name: int(result.counts[name]) for name in promise.COUNTS}
        moved: dict[str, Any] = {name: getattr(result, name, None) for name in ("registered_mm", "registered_degrees")}
        self.rows[scan.path] = self._row(
            scan,
            status,
            warnings=tuple(
                self.job.unnamed(said, scan.path) for said in dict.fromkeys((*volume.warnings, *result.warnings))
            ),
            output=image,
            mask=mask,
            picture=picture,
            seed=None if status == DEFACED else self.job.seed,
            seconds=round(outcome.seconds, 2),
            face_removed=dict(result.face_removed),
            tissue_ml=result.counts["tissue_ml"],
            **counts,
            **moved,
        )

    def _write_sidecars(self, scan: Scan, image: str, mask: str, status: str) -> None:
        """What BIDS has beside a volume: its metadata, how the face went, and the gradients of a diffusion scan."""
        source, derived = self.job.source / scan.path, self.job.options.output == "derivatives"
        fields = inherited(self.job.source, source, everything=derived)
        mode = {REFACED: "reface", RECOVERED: "recover"}.get(status, "deface")
        skull = {"SkullStripped": False} if derived else {}
        write_json(self._stage(f"{stem_of(image)}.json"), {**deidentified(fields, mode, __version__), **skull})
        write_json(self._stage(f"{stem_of(mask)}.json"), {"Type": "Face", "SkullStripped": False})
        if derived:
            for ending in _FRAME_FILES:
                beside = self.job.source / f"{scan.stem}{ending}"
                if beside.exists():
                    shutil.copyfile(beside, self._stage(f"{scan.stem}{ending}"))  # BIDS has no `desc` in these names

    def _row(self, scan: Scan, status: str, sentence: str = "", **known: Any) -> Row:
        session = f"ses-{scan.session}" if scan.session else ""
        row = Row(f"sub-{self.job.person.label}", session, scan.path, scan.suffix, status, sentence)
        return replace(row, **known)

    # ---- the outputs ----

    def _stage(self, path: str) -> Path:
        """Where the output that will be at ``path`` in OUT waits."""
        self.staged.append(path)
        waiting = self.job.work / path
        waiting.parent.mkdir(parents=True, exist_ok=True)
        return waiting

    def _commit(self) -> Record:
        """Give all outputs their names. The record is written before, so that a run that is killed knows its files."""
        job = self.job
        hashes = {path: sha256_of(job.work / path) for path in self.staged}
        ours: Mapping[str, str] = self.former.outputs if self.former else {}
        check_no_links(job.out, hashes)
        for path in hashes:
            self._check(job.out / path, {hashes[path], ours.get(path, "")})
        rows = tuple(self.rows[scan.path] for scan in job.person.scans)
        record = Record(job.person.label, self.fingerprint, False, self.again, rows, {**ours, **hashes})
        record = replace(record, carried=self.former.carried if self.former else ())
        write_record(job.record, record)
        for path in hashes:
            (job.out / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(job.work / path, job.out / path)
        for path in ours.keys() - hashes.keys():  # of other options or inputs
            if (job.out / path).is_file() and sha256_of(job.out / path) == ours[path]:
                (job.out / path).unlink()
        record = replace(record, complete=True, outputs=hashes)
        write_record(job.record, record)
        return record

    def _check(self, target: Path, ours: set[str]) -> None:
        """Raise OutputError where another one's file, or a link of git-annex, stands in the way."""
        if target.is_symlink():
            raise OutputError(f"{target} is a link, as git-annex makes them, so it is kept: 'datalad unlock' it first.")
        if target.exists() and sha256_of(target) not in ours:
            raise kept_error([target])


def _magnitude_of(scan: Scan, scans: Mapping[str, Scan]) -> str | None:
    """The path of the volume as which a phase image is masked; None for a volume that is no phase image."""
    part = dict(scan.entities).get("part")
    if part not in suffixes.PARTS and scan.action != suffixes.AS_MAGNITUDE:
        return None
    if part in suffixes.PARTS:
        names = [scan.path.replace(f"_part-{part}", other) for other in ("_part-mag", "")]
    else:
        names = [scan.path.replace(f"_{scan.suffix}.", f"_{other}.") for other in suffixes.MAGNITUDES[scan.suffix]]
    return next((name for name in names if name in scans), names[0])


def _voxel_size(root: Path, scan: Scan) -> tuple[float, str]:
    """What sorts T1-weighted volumes, the best first: the size of a voxel (mm^3), then the name."""
    import nibabel
    import numpy as np

    try:
        affine = nibabel.load(root / scan.path).affine  # type: ignore[attr-defined]
        return abs(float(np.linalg.det(affine[:3, :3]))), scan.path
    except Exception:  # of any kind: reading it will tell
        return float("inf"), scan.path
