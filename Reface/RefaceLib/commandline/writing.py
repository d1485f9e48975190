"""What one head leaves behind: volumes, masks, sidecars, picture and reports, all of them or none."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib import __version__, session
from RefaceLib.commandline import picture
from RefaceLib.commandline.report import (
    build_applied_report,
    build_private_report,
    build_refused_report,
    build_report,
    unnamed,
)
from RefaceLib.common import files
from RefaceLib.common.errors import InputError, OutputError, PromiseError
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.imagenames import masks_beside, report_beside
from RefaceLib.common.personal import personal_fields
from RefaceLib.common.progress import Progress
from RefaceLib.common.sidecar import deidentified, read_sidecar, sidecar_pair
from RefaceLib.companion import CompanionResult
from RefaceLib.face import promise, weights
from RefaceLib.pipeline import RefaceOptions
from RefaceLib.volume.io import Volume, check_format, read_volume, write_mask, write_volume

if TYPE_CHECKING:
    from RefaceLib.commandline.image import ImageCommand
    from RefaceLib.pipeline import RefaceResult


@dataclass(frozen=True)
class Done:
    """A head that was written: its report, all `files` but the reports, and `warnings` for those who have the scan."""

    report: dict[str, Any]
    files: list[Path]
    warnings: list[str]


class PrivateReport:
    """Which scan became which output: a file for those who have the scans, which grows with every head."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heads: list[dict[str, Any]] = []  # that were written

    def stage(self, out: files.OutputSet, head: dict[str, Any]) -> None:
        """Write the file with one head more, to appear with the other outputs of that head."""
        waiting = out.stage(self.path, own=bool(self.heads))
        waiting.touch(mode=0o600)  # for nobody else; the file keeps it when it gets its name
        files.write_json(waiting, build_private_report([*self.heads, head]))


def write_head(
    command: ImageCommand, volume: Volume, result: RefaceResult, start: float, read: float, progress: Progress
) -> Done:
    """Write every output of `command`; `start` is when it began (perf_counter), `read` how long it read (seconds)."""
    writing = time.perf_counter()
    progress(0.0, "write")
    with files.OutputSet(command.overwrite) as out:
        head = _Head(command, volume, result, out)
        head.write_images()
        progress(0.5, "write")
        now = time.perf_counter()
        report = head.write_reports({"read": read, "write": now - writing, "total": now - start})
        private = head.write_private_report(report)
    if command.private_report:
        command.private_report.heads.append(private)
    progress(1.0, "write")
    return Done(report, list(head.staged), head.warnings)


@dataclass
class _Head:
    """The outputs of one head on their way to the disk."""

    command: ImageCommand
    volume: Volume
    result: RefaceResult
    out: files.OutputSet
    staged: dict[Path, Path] = field(default_factory=dict)  # where the bytes of an output are until it has its name
    applied: dict[Path, CompanionResult | RefaceResult] = field(default_factory=dict)  # by the output
    refused: dict[Path, str] = field(default_factory=dict)  # why an output of a companion is not written

    @property
    def warnings(self) -> list[str]:
        """Of the head, then of its companions, whose names stand before them."""
        found = self._warnings(self.command.input, [*self.volume.warnings, *self.result.warnings])
        for other, output in self.command.apply_to:
            own = [self.refused[output]] if output in self.refused else self.applied[output].warnings
            found += [f"{other}: {sentence}" for sentence in self._warnings(other, own)]
        return list(dict.fromkeys(found))

    def write_images(self) -> None:
        command, volume, result = self.command, self.volume, self.result
        write_volume(self._stage(command.output), volume, result.stored)
        for path, mask in ((command.mask_out, result.mask), (command.brain_out, result.brain)):
            if path:
                write_mask(self._stage(path), mask, volume)
        for other, output in command.apply_to:
            self._apply(other, output)
        for index, (path, output) in enumerate(command.volumes):
            if output not in self.refused and (pair := sidecar_pair(path, output)):
                mode = "apply-to" if index else result.mode
                files.write_json(self._stage(pair[1]), deidentified(read_sidecar(pair[0]) or {}, mode, __version__))
        if command.picture:
            self._draw(self._stage(command.picture))

    def write_reports(self, seconds: dict[str, float]) -> dict[str, Any]:
        """The reports of the companions beside their outputs, and that of the head, which is returned."""
        command, result = self.command, self.result
        for other, output in command.apply_to:
            files.write_json(self.out.stage(report_beside(output)), self._applied_report(other, output))
        own = [*self.volume.warnings, *result.warnings]
        report = build_report(
            result,
            output=command.output.name,
            output_sha256=sha256_of(self.staged[command.output]),
            seconds=seconds,
            also_written=self._hashes([path for path in self.staged if path != command.output]),
            warnings=unnamed(self._warnings(command.input, own), command.inputs),
        )
        files.write_json(self.out.stage(command.report_path), report)
        return report

    def _applied_report(self, other: Path, output: Path) -> dict[str, Any]:
        if output in self.refused:
            (sentence,) = unnamed([self.refused[output]], self.command.inputs)
            return build_refused_report(sentence, output=output.name)
        done = self.applied[output]
        beside = isinstance(done, CompanionResult)
        return build_applied_report(
            done,
            ears=self.result.ears,
            output=output.name,
            output_sha256=sha256_of(self.staged[output]),
            mask_from=self.command.output.name if beside else None,
            also_written=self._hashes([pair[1] for pair in [sidecar_pair(other, output)] if pair]),
            warnings=unnamed(self._warnings(other, done.warnings), self.command.inputs),
        )

    def write_private_report(self, report: dict[str, Any]) -> dict[str, Any]:
        """What the private report says of this head; nothing is written where none was asked for."""
        command = self.command
        if command.private_report is None:
            return {}
        volumes = [
            {
                "input": os.path.abspath(path),
                "input_sha256": sha256_of(path),
                "output": os.path.abspath(output),
                "output_sha256": sha256_of(self.staged[output]),
                "report": os.path.abspath(command.report_path if output == command.output else report_beside(output)),
            }
            for path, output in command.volumes
            if output not in self.refused
        ]
        head = {"mode": report["mode"], "seed": report.get("seed"), "volumes": volumes}
        command.private_report.stage(self.out, head)
        return head

    def _stage(self, path: Path) -> Path:
        self.staged[path] = self.out.stage(path)
        return self.staged[path]

    def _hashes(self, paths: Sequence[Path]) -> list[dict[str, str]]:
        return [{"name": path.name, "sha256": sha256_of(self.staged[path])} for path in paths]

    def _warnings(self, path: Path, warnings: Sequence[str]) -> list[str]:
        """The warnings of a volume, and one of what its sidecar said of a person."""
        outputs = dict(self.command.volumes)
        pair = sidecar_pair(path, outputs[path])
        left_out = personal_fields(read_sidecar(pair[0]) or {}) if pair else []
        sentence = f"The sidecar named a person, a site or an examination; left out: {', '.join(left_out)}."
        return [*warnings, *([sentence] if left_out else [])]

    def _apply(self, other: Path, output: Path) -> None:
        try:
            target = read_volume(other, frames=True)
            check_format(output, target)
            done = self._deface(target)
            promise.verify(done.counts, str(output))
        except (InputError, OutputError, PromiseError) as error:
            # An earlier output must not stay under its name as if it were of this run: nothing is written then.
            if not self.command.apply_each or output.exists():
                raise type(error)(f"{other}: {error}") from error
            self.refused[output] = str(error)
            return
        write_volume(self._stage(output), target, done.stored)
        if self.command.apply_masks:
            for path, mask in zip(masks_beside(output), (done.mask, done.brain), strict=True):
                write_mask(self._stage(path), mask, target)
        self.applied[output] = done

    def _deface(self, other: Volume) -> CompanionResult | RefaceResult:
        command = self.command
        models = weights.load_models(command.device, command.models)
        if not command.apply_each:
            return session.deface_beside(other, self.volume, self.result, models)
        options = RefaceOptions(ears=command.ears, device=command.device)
        return session.deface_member(other, self.volume, self.result, options, models)

    def _draw(self, path: Path) -> None:
        result, volume = self.result, self.volume
        face = f", seed {result.seed}, {result.model['name']} {result.model['version']}"
        title = f"{result.mode}{'' if result.mode == 'deface' else face}"
        after = volume.codec.to_values(result.stored)
        # The landmarks of a head without a face are guesses: its picture is framed by the head.
        landmarks = None if result.mode == "recover" else result.landmarks
        picture.write_picture(path, volume.values(), after, result.mask, volume.affine, landmarks, title=title)
