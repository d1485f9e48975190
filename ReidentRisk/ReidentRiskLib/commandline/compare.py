"""`reident-risk compare`: how similar probes are to a reference, in numbers, tables and pictures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib.common.console import Reporter, reporter
from RefaceLib.common.errors import InputError
from RefaceLib.common.files import OutputSet, check_exists, made_folder, write_json
from RefaceLib.common.imagenames import file_name, names_without_folders
from RefaceLib.common.progress import part
from RefaceLib.common.steps import with_names
from ReidentRiskLib.commandline.base import FaceCommand
from ReidentRiskLib.commandline.outputs import Written, check_outputs, private_report, write_csv
from ReidentRiskLib.judge.scores import ATTACKER_NAMES, ATTACKERS, number

if TYPE_CHECKING:
    from ReidentRiskLib.runs.compare import Comparison

PRIVATE = "The pictures show the faces that were compared: keep them as safe as the scans."


@dataclass(frozen=True, kw_only=True)
class CompareCommand(FaceCommand):
    """`reident-risk compare`: probes against one reference."""

    reference: Path
    probes: tuple[Path, ...]
    landmarks: Path | None = None
    faces: Path | None = None
    titles: tuple[str, ...] = ()

    name = "compare"

    @property
    def pictures(self) -> dict[str, Path]:
        return {name: self.out / f"compare_{name}.png" for name in ("faces", "crops", "histogram", "explanation")}

    @property
    def tables(self) -> dict[str, Path]:
        return {"scores": self.out / "compare.csv", "views": self.out / "compare_views.csv"}

    def run(self) -> int:
        self._check_inputs()
        with made_folder(self.out), contextlib.closing(reporter(self.progress)) as progress:
            self._check_outputs()
            comparison = self._compare(progress)
            self._check_outputs()  # again: what has appeared meanwhile is kept, too
            report = self._write(comparison, progress)
        self.tell(comparison.warnings, self._lines(comparison, report))
        return 0

    def _check_outputs(self) -> None:
        targets = [*self.tables.values(), *self.pictures.values(), *([self.faces] if self.faces else [])]
        inputs = [self.reference, *self.probes]
        check_outputs(self.reports, targets, inputs, self.earlier_reports, self.overwrite)

    def _check_inputs(self) -> None:
        for path in (self.reference, *self.probes):
            check_exists(path)
        self.check_options()
        names = [str(path) for path in self.probes]
        if len(set(names)) < len(names):
            raise InputError("A probe is given twice: give every probe once.")
        if self.titles and len(self.titles) != len(self.probes):
            raise InputError(f"There are {len(self.titles)} titles for {len(self.probes)} probes: give one for each.")

    def _compare(self, progress: Reporter) -> Comparison:
        from ReidentRiskLib.attack.landmarks import FIVE
        from ReidentRiskLib.runs.compare import compare
        from ReidentRiskLib.runs.pointlist import read_points

        points = read_points(self.landmarks, FIVE) if self.landmarks else None
        progress(0.0, "load")
        tools = self.load_tools(part(progress, 0.0, 0.1))
        return compare(
            (file_name(self.reference), self.reference),
            list(zip(names_without_folders(self.probes), self.probes, strict=True)),
            tools,
            self.views,
            own_landmarks=self.own_landmarks,
            points=points,
            calibration=self.calibration,
            progress=part(progress, 0.1, 0.9),
        )

    def _write(self, comparison: Comparison, progress: Reporter) -> dict[str, Any]:
        from ReidentRiskLib.commandline import explanation, figures
        from ReidentRiskLib.runs import facefile
        from ReidentRiskLib.runs.compare import build_report, score_columns
        from ReidentRiskLib.runs.tools import network_name

        start = time.perf_counter()
        progress(0.9, "write")
        network = network_name(comparison.about["model"])
        columns, views = _figure_columns(comparison), _view_names(comparison.views)
        scores = {
            attacker: {
                result.face.name: result.assessments[attacker].score.mean_embedding for result in comparison.results
            }
            for attacker in ATTACKERS
        }
        with OutputSet(self.overwrite) as out:
            written = Written(out)
            figures.faces(written.stage(self.pictures["faces"]), columns, views, network)
            figures.crops(written.stage(self.pictures["crops"]), columns, views, network)
            figures.histogram(written.stage(self.pictures["histogram"]), comparison.calibrations, scores, network)
            explanation.explanation(written.stage(self.pictures["explanation"]), comparison, self.titles)
            write_csv(written.stage(self.tables["scores"]), score_columns(comparison))
            write_csv(written.stage(self.tables["views"]), _view_columns(comparison, network))
            if self.faces:
                seen = (comparison.reference, *(result.face for result in comparison.results))
                facefile.save_faces(written.stage(self.faces), [facefile.record_of(face) for face in seen])
            report = self._public(build_report(comparison))
            report["seconds"]["write"] = round(time.perf_counter() - start, 2)
            report["files"] = written.files()
            report["privacy"] = PRIVATE
            write_json(out.stage(self.report_path), report)
            if self.private_report:
                write_json(out.stage(self.private_report), self._private(comparison, written))
            progress(1.0, "write")
        return report

    def _public(self, report: dict[str, Any]) -> dict[str, Any]:
        """The report without the name of the original, and without the folders of the probes."""
        report["reference"]["name"] = "reference"
        names = dict(zip(self.probes, (probe["name"] for probe in report["probes"]), strict=True))
        originals = dict.fromkeys([self.reference, Path(file_name(self.reference))], "the reference")
        report["warnings"] = [with_names(sentence, {**names, **originals}) for sentence in report["warnings"]]
        return report

    def _private(self, comparison: Comparison, written: Written) -> dict[str, Any]:
        names = [result.face.name for result in comparison.results]
        probes = [{"role": "probe", "name": name, "path": path} for name, path in zip(names, self.probes, strict=True)]
        reference = {"role": "reference", "name": "reference", "path": self.reference}
        return private_report([reference, *probes], [self.report_path, *written.staged])

    def _lines(self, comparison: Comparison, report: dict[str, Any]) -> Iterator[str]:
        yield self.network(report)
        for result in comparison.results:
            yield f"{result.face.name}: {result.verdict}"
            for attacker, found in result.assessments.items():
                yield f"  {ATTACKER_NAMES[attacker]}: {found.sentence}{_cosine(found.score.mean_embedding)}"
        yield self.where()
        yield PRIVATE


def _cosine(value: float) -> str:
    return "" if number(value) is None else f" (cosine {value:.2f})"


def _figure_columns(comparison: Comparison) -> list[Any]:
    from ReidentRiskLib.commandline.figures import Column

    columns = [Column(comparison.reference.embedding, "reference")]
    for result in comparison.results:
        lines = [result.verdict]
        for attacker, found in result.assessments.items():
            value = number(found.score.mean_embedding)
            lines.append(f"{ATTACKER_NAMES[attacker]}: " + ("no face found" if value is None else f"{value:.2f}"))
        columns.append(Column(result.face.embedding, result.face.name, "\n".join(lines)))
    return columns


def _view_names(views: str) -> list[str]:
    from ReidentRiskLib.attack.views import view_set

    return [view.name for view in view_set(views)]


def _view_columns(comparison: Comparison, network: str) -> dict[str, list[Any]]:
    """The cosine of every view as a table: one row a view, one column a probe and attacker."""
    names = _view_names(comparison.views)
    columns: dict[str, list[Any]] = {"network": [network] * len(names), "view": names}
    for result in comparison.results:
        for attacker, found in result.assessments.items():
            cosines = [number(value) for value in found.score.per_view]
            # Two photographs have one view.
            columns[f"{result.face.name} ({attacker})"] = cosines + [None] * (len(names) - len(cosines))
    return columns
