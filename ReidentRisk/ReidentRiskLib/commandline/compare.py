"""`reident-risk compare`: how similar probes are to a reference, in numbers, tables and pictures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib.common.console import Reporter, reporter
from RefaceLib.common.errors import InputError
from RefaceLib.common.files import OutputSet, check_exists, made_folder, write_json
from RefaceLib.common.hashing import sha256_if_file
from RefaceLib.common.progress import part
from ReidentRiskLib.commandline.base import FaceCommand
from ReidentRiskLib.commandline.outputs import check_report, check_targets, write_csv
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

    name = "compare"

    @property
    def pictures(self) -> dict[str, Path]:
        return {name: self.out / f"compare_{name}.png" for name in ("faces", "crops", "histogram")}

    @property
    def tables(self) -> dict[str, Path]:
        return {"scores": self.out / "compare.csv", "views": self.out / "compare_views.csv"}

    def run(self) -> int:
        self._check_inputs()
        targets = [self.report_path, *self.tables.values(), *self.pictures.values()]
        targets += [self.faces] if self.faces else []
        with made_folder(self.out), contextlib.closing(reporter(self.progress)) as progress:
            check_targets(targets, [self.reference, *self.probes], self.overwrite)
            check_report(self.report_path)
            comparison = self._compare(progress)
            report = self._write(comparison, progress)
        self.tell(report["warnings"], self._lines(comparison))
        return 0

    def _check_inputs(self) -> None:
        for path in (self.reference, *self.probes):
            check_exists(path)
        self.check_options()
        names = [str(path) for path in self.probes]
        if len(set(names)) < len(names):
            raise InputError("A probe is given twice: give every probe once.")

    def _compare(self, progress: Reporter) -> Comparison:
        from ReidentRiskLib.attack.landmarks import FIVE
        from ReidentRiskLib.runs.compare import compare
        from ReidentRiskLib.runs.pointlist import read_points

        points = read_points(self.landmarks, FIVE) if self.landmarks else None
        progress(0.0, "load")
        tools = self.load_tools(part(progress, 0.0, 0.1))
        return compare(
            (str(self.reference), self.reference),
            [(str(path), path) for path in self.probes],
            tools,
            self.views,
            own_landmarks=self.own_landmarks,
            points=points,
            calibration=self.calibration,
            progress=part(progress, 0.1, 0.9),
        )

    def _write(self, comparison: Comparison, progress: Reporter) -> dict[str, Any]:
        from ReidentRiskLib.commandline import figures
        from ReidentRiskLib.runs import facefile
        from ReidentRiskLib.runs.compare import build_report, score_columns

        start = time.perf_counter()
        progress(0.9, "write")
        titles = _titles([self.reference, *self.probes])
        columns, views = _figure_columns(comparison, titles), _view_names(comparison.views)
        scores = {
            attacker: {
                title: result.assessments[attacker].score.mean_embedding
                for title, result in zip(titles[1:], comparison.results, strict=True)
            }
            for attacker in ATTACKERS
        }
        with OutputSet(self.overwrite) as out:
            figures.faces(out.stage(self.pictures["faces"]), columns, views)
            figures.crops(out.stage(self.pictures["crops"]), columns, views)
            figures.histogram(out.stage(self.pictures["histogram"]), comparison.calibrations, scores)
            write_csv(out.stage(self.tables["scores"]), score_columns(comparison))
            write_csv(out.stage(self.tables["views"]), _view_columns(comparison))
            if self.faces:
                seen = (comparison.reference, *(result.face for result in comparison.results))
                facefile.save_faces(out.stage(self.faces), [facefile.record_of(face) for face in seen])
            report = build_report(comparison)
            report["seconds"]["write"] = round(time.perf_counter() - start, 2)
            for record, path in zip(
                [report["reference"], *report["probes"]], (self.reference, *self.probes), strict=True
            ):
                record["sha256"] = sha256_if_file(path)
            report["files"] = [str(path) for path in (*self.tables.values(), *self.pictures.values())]
            report["privacy"] = PRIVATE
            write_json(out.stage(self.report_path), report)
            progress(1.0, "write")
        return report

    def _lines(self, comparison: Comparison) -> Iterator[str]:
        for result in comparison.results:
            yield f"{result.face.name}: {result.verdict}"
            for attacker, found in result.assessments.items():
                yield f"  {ATTACKER_NAMES[attacker]}: {found.sentence}{_cosine(found.score.mean_embedding)}"
        yield self.where()
        yield PRIVATE


def _cosine(value: float) -> str:
    return "" if number(value) is None else f" (cosine {value:.2f})"


def _titles(paths: Sequence[Path]) -> list[str]:
    """What pictures call the files: their names, or their paths where names are the same."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _figure_columns(comparison: Comparison, titles: Sequence[str]) -> list[Any]:
    from ReidentRiskLib.commandline.figures import Column

    columns = [Column(comparison.reference.embedding, titles[0], "reference")]
    for title, result in zip(titles[1:], comparison.results, strict=True):
        lines = [result.verdict]
        for attacker, found in result.assessments.items():
            value = number(found.score.mean_embedding)
            lines.append(f"{ATTACKER_NAMES[attacker]}: " + ("no face found" if value is None else f"{value:.2f}"))
        columns.append(Column(result.face.embedding, title, "\n".join(lines)))
    return columns


def _view_names(views: str) -> list[str]:
    from ReidentRiskLib.attack.views import view_set

    return [view.name for view in view_set(views)]


def _view_columns(comparison: Comparison) -> dict[str, list[Any]]:
    """The cosine of every view as a table: one row a view, one column a probe and attacker."""
    names = _view_names(comparison.views)
    columns: dict[str, list[Any]] = {"view": names}
    for result in comparison.results:
        for attacker, found in result.assessments.items():
            cosines = [number(value) for value in found.score.per_view]
            # Two photographs have one view.
            columns[f"{result.face.name} ({attacker})"] = cosines + [None] * (len(names) - len(cosines))
    return columns
