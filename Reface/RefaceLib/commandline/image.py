"""`reface image` of one head: every output of it, and those of its companions, appear together or not at all."""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from RefaceLib.commandline.outputs import VERSION_KEY, check_ours
from RefaceLib.common.console import NORMAL, QUIET, VERBOSE, Reporter, reporter, tell_done, tell_warnings
from RefaceLib.common.errors import InputError
from RefaceLib.common.imagenames import IMAGE_EXTENSIONS, masks_beside, report_beside
from RefaceLib.common.progress import Progress, part
from RefaceLib.common.sidecar import sidecar_pair

if TYPE_CHECKING:
    from RefaceLib.commandline.writing import Done, PrivateReport
    from RefaceLib.pipeline import RefaceResult
    from RefaceLib.volume.io import Volume

PROGRAM = "reface"


@dataclass(frozen=True)
class ImageCommand:
    """`reface image`: one volume, and others of the session with its mask."""

    input: Path
    output: Path
    mode: str = "auto"
    seed: int = 0
    ears: bool = True
    device: str = "auto"
    models: Path | None = None  # weights of one's own
    mask_out: Path | None = None
    brain_out: Path | None = None
    apply_to: tuple[tuple[Path, Path], ...] = ()  # (other volume, its output)
    apply_masks: bool = False  # write the masks of those too
    apply_each: bool = False  # one that cannot be defaced is left out, and the others are written
    report: Path | None = None
    private_report: PrivateReport | None = None
    picture: Path | None = None
    overwrite: bool = False
    progress: str = "auto"
    verbosity: int = NORMAL

    stopped = "stopped; nothing was written"

    @property
    def report_path(self) -> Path:
        return self.report or report_beside(self.output)

    # ---- running and telling ----

    def run(self) -> int:
        with contextlib.closing(self.reporter()) as progress:
            done = self.reface(progress)
        self.tell(done)
        if self.progress == "json":
            tell_done(self.report_path, done.warnings)
        return 0

    def reporter(self, name: str = PROGRAM) -> Reporter:
        """How the progress is shown; `name` stands before every line of a log."""
        return reporter(self.progress, name, self.verbosity)

    def tell(self, done: Done, name: str = PROGRAM) -> None:
        """What a person is told at the end: warnings on stderr, two lines on stdout, and with -v every file."""
        if self.verbosity == QUIET:
            return
        tell_warnings(name, done.warnings)
        if self.progress != "json":
            for line in self._lines(done):
                print(line)

    def _lines(self, done: Done) -> Iterator[str]:
        from RefaceLib.commandline.report import summary

        yield f"Wrote {self.output} (report: {self.report_path.name})."
        yield f"{summary(done.report)}."
        if self.verbosity == VERBOSE:
            yield from (f"  {path}" for path in (*done.files, *self._reports()))

    # ---- before the work ----

    @property
    def inputs(self) -> list[Path]:
        return [path for path, _ in self.volumes]

    def targets(self) -> list[Path]:
        """Every file that will be written, but the private report, which many heads may share."""
        return [path for group, _ in self._outputs() for path in group] + self._reports()

    def check(self) -> None:
        """Everything that can go wrong with the names, before any work."""
        from RefaceLib.common.files import check_exists, check_names, check_own_report, check_writable

        for path in self.inputs:
            check_exists(path)
        reports = self._reports()
        private = self.private_report
        check_names([*self.targets(), *([private.path] if private else [])], self.inputs)
        for group, extensions in self._outputs():
            for target in group:
                check_writable(target, self.overwrite, extensions)
                check_ours(target, reports)
        for target in [*reports, *([private.path] if private and not private.heads else [])]:
            check_writable(target, self.overwrite, (".json",))
            check_own_report(target, VERSION_KEY, PROGRAM)
        if self.picture:
            _check_packages("--picture", ("matplotlib", "vtkmodules"))

    @property
    def volumes(self) -> list[tuple[Path, Path]]:
        """(input, output) of the head and its companions."""
        return [(self.input, self.output), *self.apply_to]

    def _outputs(self) -> list[tuple[list[Path], tuple[str, ...]]]:
        """What will be written besides the reports, with the endings that the names may have."""
        masks = [path for path in (self.mask_out, self.brain_out) if path]
        masks += [path for _, out in self.apply_to if self.apply_masks for path in masks_beside(out)]
        images = [self.output, *masks, *(out for _, out in self.apply_to)]
        pairs = [sidecar_pair(path, output) for path, output in self.volumes]
        sidecars = [pair[1] for pair in pairs if pair]
        return [(images, IMAGE_EXTENSIONS), ([self.picture] if self.picture else [], (".png",)), (sidecars, (".json",))]

    def _reports(self) -> list[Path]:
        return [self.report_path, *(report_beside(out) for _, out in self.apply_to)]

    # ---- the work ----

    def reface(self, progress: Progress) -> Done:
        """Read, reface, check and write every output, or none."""
        from RefaceLib.commandline.writing import write_head

        start = time.perf_counter()
        self.check()
        progress(0.0, "read")
        volume = self._read_input()
        read = time.perf_counter()
        result = self._run_pipeline(volume, part(progress, 0.05, 0.85))
        self.check()  # again: what has appeared meanwhile is kept, too
        return write_head(self, volume, result, start, read - start, part(progress, 0.86, 1.0))

    def _read_input(self) -> Volume:
        from RefaceLib.volume.io import check_format, read_volume

        volume = read_volume(self.input)
        check_format(self.output, volume)
        for other, output in () if self.apply_each else self.apply_to:
            # Read again when needed: two large volumes at once may not fit.
            check_format(output, read_volume(other, frames=True))
        return volume

    def _run_pipeline(self, volume: Volume, progress: Progress) -> RefaceResult:
        from RefaceLib import pipeline
        from RefaceLib.face import promise, weights

        options = pipeline.RefaceOptions(mode=self.mode, seed=self.seed, ears=self.ears, device=self.device)
        models = weights.load_models(self.device, self.models) if self.models else None
        result = pipeline.reface_volume(volume, options, models=models, progress=progress)
        promise.verify(result.counts, str(self.output))
        return result


def _check_packages(option: str, packages: Sequence[str]) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(name.replace("vtkmodules", "vtk") for name in missing)
        raise InputError(f"{option} needs {names}: install it with 'pip install {names.replace(' and ', ' ')}'.")
