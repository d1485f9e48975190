"""`reface dicom`: a series, or all series of a study, as new files that appear together in one folder or not at all."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib.commandline.image import PROGRAM
from RefaceLib.commandline.outputs import VERSION_KEY, check_folder_ours
from RefaceLib.common.console import NORMAL, QUIET, VERBOSE, reporter, tell_done, tell_warnings
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.progress import Progress, part

if TYPE_CHECKING:
    from RefaceLib.dicom.anonymise import Anonymiser
    from RefaceLib.dicom.series import Series
    from RefaceLib.dicom.study import StudyDone


@dataclass(frozen=True)
class DicomCommand:
    """`reface dicom`: the files of `input` (a folder or a file) into the new folder `output`."""

    input: Path
    output: Path
    study: bool = False
    mode: str = "auto"
    seed: int = 0
    ears: bool = True
    dates: str = "remove"
    keep_device: bool = False
    subject: str = "ANONYMOUS"
    device: str = "auto"
    models: Path | None = None
    overwrite: bool = False
    progress: str = "auto"
    verbosity: int = NORMAL

    stopped = "stopped; nothing was written"

    @property
    def report_path(self) -> Path:
        return self.output.with_name(f"{self.output.name}_reface.json")

    def run(self) -> int:
        with contextlib.closing(reporter(self.progress, PROGRAM, self.verbosity)) as progress:
            done, report = self._reface(progress)
        self._tell(done, report)
        if done.failed:
            were, them = ("was", "it") if len(done.failed) == 1 else ("were", "them")
            raise InputError(
                f"{len(done.failed)} series {were} not written, as is told above; {self.output} lacks {them}."
            )
        if self.progress == "json":
            tell_done(self.report_path, self._warnings(done))
        return 0

    # ---- before the work ----

    def _check(self) -> None:
        from RefaceLib.common.files import check_exists, check_new_folder, check_own_report, check_writable

        check_exists(self.input)
        inside, outside = self.input.resolve(), self.output.resolve()
        if inside == outside or inside in outside.parents or outside in inside.parents:
            raise OutputError(f"{self.output} and the input {self.input} lie within each other: choose another folder.")
        check_new_folder(self.output, self.overwrite)
        if self.output.is_dir():
            check_folder_ours(self.output, self.report_path)
        check_writable(self.report_path, self.overwrite, (".json",))
        check_own_report(self.report_path, VERSION_KEY, PROGRAM)

    def _find(self) -> list[Series]:
        from RefaceLib.dicom.series import find_series

        series = find_series([self.input])
        if len({str(one.first.get("PatientID") or "") for one in series}) > 1:
            raise InputError(f"{self.input} holds series of several patients: give the folder of one.")
        if len(series) > 1 and not self.study:
            names = ", ".join(one.number for one in series[:9])
            raise InputError(
                f"{self.input} holds {len(series)} series (numbers {names}): give the folder of one, or --study."
            )
        return series

    # ---- the work ----

    def _reface(self, progress: Progress) -> tuple[StudyDone, dict[str, Any]]:
        from RefaceLib.common.files import OutputSet, new_folder, write_json
        from RefaceLib.dicom.anonymise import Anonymiser
        from RefaceLib.dicom.study import reface_study
        from RefaceLib.face.weights import load_models
        from RefaceLib.pipeline import RefaceOptions

        start = time.perf_counter()
        self._check()
        progress(0.0, "read")
        series = self._find()
        read = time.perf_counter()
        anonymiser = Anonymiser(self.dates, self.keep_device, self.subject)
        for one in series:
            for _, header in one.files:
                anonymiser.learn(header)
        options = RefaceOptions(mode=self.mode, seed=self.seed, ears=self.ears, device=self.device)
        models = load_models(self.device, self.models)
        with OutputSet(self.overwrite) as out:
            report_file = out.stage(self.report_path)
            with new_folder(self.output, self.overwrite) as folder:
                done = reface_study(series, options, models, anonymiser, folder, part(progress, 0.05, 0.98))
                self._check()  # again: what has appeared meanwhile is kept, too
                seconds = {"read": read - start, "total": time.perf_counter() - start}
                report = self._report(done, anonymiser, folder, seconds)
            write_json(report_file, report)
        progress(1.0, "write")
        return done, report

    # ---- what was done ----

    def _report(
        self, done: StudyDone, anonymiser: Anonymiser, folder: Path, seconds: dict[str, float]
    ) -> dict[str, Any]:
        from RefaceLib.commandline.report import build_report, unnamed
        from RefaceLib.common.hashing import sha256_of

        paths = [path for one in done.written for path in one.files]
        hashes = [{"name": path.relative_to(folder).as_posix(), "sha256": sha256_of(path)} for path in paths]
        inputs = [self.input, *(path for one in self._series(done) for path in one.paths)]
        report = build_report(
            done.result,
            output=self.output.name,
            output_sha256=None,
            seconds=seconds,
            also_written=hashes,
            warnings=unnamed(self._warnings(done), inputs),
        )
        report["series"] = [
            {
                "folder": one.files[0].parent.name,
                "number": one.series.number,
                "modality": one.series.modality,
                "files": len(one.files),
                "mode": one.mode,
                "volumes": one.volumes,
            }
            for one in done.written
        ]
        report["header"] = {
            "profile": "DICOM PS3.15 Basic Application Level Confidentiality Profile, table E.1-1 of 2026c",
            "dates": anonymiser.dates,
            "keep_device": anonymiser.keep_device,
            "private_elements_removed": anonymiser.private_creators(),
            "texts_removed": dict(sorted(anonymiser.cleaned.items())),
        }
        return report

    @staticmethod
    def _series(done: StudyDone) -> list[Series]:
        left_out = [one for one, _ in (*done.dropped, *done.failed)]
        return [*(one.series for one in done.written), *left_out]

    @staticmethod
    def _warnings(done: StudyDone) -> list[str]:
        """Of each series that was written, then why others were not."""
        several = len(done.written) > 1
        found = [
            f"{one.series.name}: {sentence}" if several else sentence
            for one in done.written
            for sentence in one.warnings
        ]
        found += [f"Left out: {sentence}" for _, sentence in done.dropped]
        return found + [f"Not written: {sentence}" for _, sentence in done.failed]

    def _tell(self, done: StudyDone, report: dict[str, Any]) -> None:
        from RefaceLib.commandline.report import summary

        if self.verbosity == QUIET:
            return
        tell_warnings(PROGRAM, self._warnings(done))
        if self.progress == "json":
            return
        files = sum(len(one.files) for one in done.written)
        print(f"Wrote {files} files of {len(done.written)} series to {self.output} (report: {self.report_path.name}).")
        print(f"{summary(report)}.")
        if self.verbosity == VERBOSE:
            for entry in report["series"]:
                print(f"  {self.output / entry['folder']}  series {entry['number']}, {entry['mode']}")
