"""The sub-commands of `reident-risk`: one frozen dataclass each, with run() -> exit code.

They raise RefaceError with one sentence where they cannot do their work; cli.main turns it into the exit code.
"""

from __future__ import annotations

import contextlib
import csv
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib.console import Reporter, part, reporter, write_json_line
from RefaceLib.errors import InputError, OutputError
from RefaceLib.outputs import OutputSet, check_writable, same_file, write_error
from RefaceLib.report import file_sha256, write_report
from ReidentRiskLib import risk
from ReidentRiskLib.gallery import EXTENSION as GALLERY_EXTENSION
from ReidentRiskLib.gallery import WARNING as GALLERY_WARNING

if TYPE_CHECKING:
    from ReidentRiskLib.compare import Comparison
    from ReidentRiskLib.headlist import Entry
    from ReidentRiskLib.lookup import LookUp

ATTACKER_NAMES = {"forced": "forced alignment", "gated": "detector-gated"}
PRIVATE = "The pictures show the faces that were compared: keep them as safe as the scans."
STOPPED = "stopped; nothing was written"
_VERSION_KEY = "reident_risk_version"  # by which a report of ours is known


# ---- compare ----


@dataclass(frozen=True)
class CompareCommand:
    """`reident-risk compare`: probes against one reference."""

    reference: Path
    probes: tuple[Path, ...]
    out: Path
    model: str | None = None
    views: str = "standard"
    json: Path | None = None
    landmarks: Path | None = None
    own_landmarks: bool = False
    calibration: Path | None = None
    accept_licence: bool = False
    device: str = "auto"
    overwrite: bool = False
    progress: str = "auto"

    stopped = STOPPED

    @property
    def report_path(self) -> Path:
        return self.json or self.out / "compare.json"

    @property
    def pictures(self) -> dict[str, Path]:
        return {name: self.out / f"compare_{name}.png" for name in ("faces", "crops", "histogram")}

    @property
    def tables(self) -> dict[str, Path]:
        return {"scores": self.out / "compare.csv", "views": self.out / "compare_views.csv"}

    def run(self) -> int:
        self._check_inputs()
        targets = [self.report_path, *self.tables.values(), *self.pictures.values()]
        with _folder(self.out), contextlib.closing(reporter(self.progress)) as progress:
            _check_targets(targets, [self.reference, *self.probes], self.overwrite)
            _check_own_report(self.report_path)
            comparison = self._compare(progress)
            report = self._write(comparison, progress)
        self._tell(comparison, report)
        return 0

    def _check_inputs(self) -> None:
        from ReidentRiskLib.views import view_set

        for path in (self.reference, *self.probes):
            _check_exists(path)
        view_set(self.views)
        names = [str(path) for path in self.probes]
        if len(set(names)) < len(names):
            raise InputError("A probe is given twice: give every probe once.")
        if self.calibration:
            risk.read_calibrations(self.calibration)

    def _compare(self, progress: Reporter) -> Comparison:
        from ReidentRiskLib.compare import compare, load_tools
        from ReidentRiskLib.landmarks import FIVE
        from ReidentRiskLib.pointlist import read_points

        points = read_points(self.landmarks, FIVE) if self.landmarks else None
        progress(0.0, "load")
        tools = load_tools(
            self.model, self.device, accept_licence=self.accept_licence, progress=part(progress, 0.0, 0.1)
        )
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
        from ReidentRiskLib import figures
        from ReidentRiskLib.compare import build_report, score_columns

        start = time.perf_counter()
        progress(0.9, "write")
        titles = _titles([self.reference, *self.probes])
        columns, views = _figure_columns(comparison, titles), _view_names(comparison.views)
        scores = {
            attacker: {
                title: result.assessments[attacker].score.mean_embedding
                for title, result in zip(titles[1:], comparison.results, strict=True)
            }
            for attacker in risk.ATTACKERS
        }
        with OutputSet(self.overwrite) as out:
            figures.faces(out.stage(self.pictures["faces"]), columns, views)
            figures.crops(out.stage(self.pictures["crops"]), columns, views)
            figures.histogram(out.stage(self.pictures["histogram"]), comparison.calibrations, scores)
            write_csv(out.stage(self.tables["scores"]), score_columns(comparison))
            write_csv(out.stage(self.tables["views"]), _view_columns(comparison))
            report = build_report(comparison)
            report["seconds"]["write"] = round(time.perf_counter() - start, 2)
            for record, path in zip(
                [report["reference"], *report["probes"]], (self.reference, *self.probes), strict=True
            ):
                record["sha256"] = file_sha256(path)
            report["files"] = [str(path) for path in (*self.tables.values(), *self.pictures.values())]
            report["privacy"] = PRIVATE
            write_report(out.stage(self.report_path), report)
            progress(1.0, "write")
        return report

    def _tell(self, comparison: Comparison, report: dict[str, Any]) -> None:
        _tell_warnings(report["warnings"])
        if self.progress == "json":
            _tell_program(self.report_path, report)
            return
        for result in comparison.results:
            print(f"{result.face.name}: {result.verdict}")
            for attacker, found in result.assessments.items():
                print(f"  {ATTACKER_NAMES[attacker]}: {found.sentence}{_cosine(found.score.mean_embedding)}")
        print(f"{self.report_path} holds the numbers; tables and pictures are in {self.out}.")
        print(PRIVATE)


def _cosine(value: float) -> str:
    return "" if risk.number(value) is None else f" (cosine {value:.2f})"


def _titles(paths: Sequence[Path]) -> list[str]:
    """What pictures call the files: their names, or their paths where names are the same."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _figure_columns(comparison: Comparison, titles: Sequence[str]) -> list[Any]:
    from ReidentRiskLib.figures import Column

    columns = [Column(comparison.reference.embedding, titles[0], "reference")]
    for title, result in zip(titles[1:], comparison.results, strict=True):
        lines = [result.verdict]
        for attacker, found in result.assessments.items():
            value = risk.number(found.score.mean_embedding)
            lines.append(f"{attacker}: " + ("no face found" if value is None else f"{value:.2f}"))
        columns.append(Column(result.face.embedding, title, "\n".join(lines)))
    return columns


def _view_names(views: str) -> list[str]:
    from ReidentRiskLib.views import view_set

    return [view.name for view in view_set(views)]


def _view_columns(comparison: Comparison) -> dict[str, list[Any]]:
    """The cosine of every view as a table: one row a view, one column a probe and attacker."""
    names = _view_names(comparison.views)
    columns: dict[str, list[Any]] = {"view": names}
    for result in comparison.results:
        for attacker, found in result.assessments.items():
            cosines = [risk.number(value) for value in found.score.per_view]
            # Two photographs have one view.
            columns[f"{result.face.name} ({attacker})"] = cosines + [None] * (len(names) - len(cosines))
    return columns


# ---- identify ----


@dataclass(frozen=True)
class IdentifyCommand:
    """`reident-risk identify`: probes looked up in a gallery."""

    gallery: Path
    probes: Path
    out: Path
    model: str | None = None
    views: str = "standard"
    pattern: str = "*"
    probe_pattern: str | None = None
    save_gallery: Path | None = None
    json: Path | None = None
    own_landmarks: bool = False
    calibration: Path | None = None
    accept_licence: bool = False
    device: str = "auto"
    overwrite: bool = False
    progress: str = "auto"

    stopped = STOPPED

    @property
    def report_path(self) -> Path:
        return self.json or self.out / "identify.json"

    @property
    def pictures(self) -> dict[str, Path]:
        return {name: self.out / f"identify_{name}.png" for name in ("cmc", "roc", "histogram")}

    @property
    def table(self) -> Path:
        return self.out / "identify.csv"

    def run(self) -> int:
        from ReidentRiskLib.headlist import list_heads
        from ReidentRiskLib.views import view_set

        start = time.perf_counter()
        view_set(self.views)
        if self.calibration:
            risk.read_calibrations(self.calibration)
        saved = self.gallery.suffix.lower() == GALLERY_EXTENSION
        if saved and self.save_gallery:
            raise InputError("The gallery is a saved one already: leave --save-gallery out.")
        gallery = [] if saved else list_heads(self.gallery, self.pattern)
        probes = list_heads(self.probes, self.probe_pattern or self.pattern)
        if saved:
            _check_exists(self.gallery)
        targets = [self.report_path, self.table, *self.pictures.values()]
        sources = [self.gallery, self.probes, *(entry.path for entry in (*gallery, *probes))]
        with _folder(self.out), contextlib.closing(reporter(self.progress)) as progress:
            _check_targets([*targets, *([self.save_gallery] if self.save_gallery else [])], sources, self.overwrite)
            _check_own_report(self.report_path)
            report = self._write(self._identify(gallery, probes, progress), start, progress)
        self._tell(report)
        return 0

    def _identify(self, gallery: Sequence[Entry], probes: Sequence[Entry], progress: Reporter) -> LookUp:
        from ReidentRiskLib.compare import calibrations_for, load_tools
        from ReidentRiskLib.gallery import load_gallery
        from ReidentRiskLib.lookup import look_up

        progress(0.0, "load")
        loading = part(progress, 0.0, 0.05)
        tools = load_tools(self.model, self.device, accept_licence=self.accept_licence, progress=loading)
        embedder, heads = tools.embedder, ()
        if not gallery:
            saved = load_gallery(self.gallery, model=embedder.name, sha256=embedder.sha256, views=self.views)
            heads = saved.heads
        return look_up(
            gallery,
            probes,
            tools,
            self.views,
            heads=heads,
            own_landmarks=self.own_landmarks,
            calibrations=calibrations_for(tools, self.views, self.calibration),
            progress=part(progress, 0.05, 0.9),
        )

    def _write(self, found: LookUp, start: float, progress: Reporter) -> dict[str, Any]:
        from ReidentRiskLib import figures
        from ReidentRiskLib.gallery import save_gallery
        from ReidentRiskLib.lookup import build_report

        progress(0.92, "write")
        report = build_report(found)
        report["gallery"]["source"], report["probes"]["source"] = str(self.gallery), str(self.probes)
        with OutputSet(self.overwrite) as out:
            figures.cmc(out.stage(self.pictures["cmc"]), found.results)
            figures.roc(out.stage(self.pictures["roc"]), found.results)
            figures.pairs(out.stage(self.pictures["histogram"]), found.results)
            write_csv(out.stage(self.table), found.columns)
            if self.save_gallery:
                save_gallery(out.stage(self.save_gallery), found.heads, found.about["model"]["sha256"])
                report["gallery"]["saved"] = str(self.save_gallery)
                report["warnings"].append(f"{self.save_gallery}: {GALLERY_WARNING}")
            report["files"] = [str(path) for path in (self.table, *self.pictures.values())]
            report["seconds"] = {"total": round(time.perf_counter() - start, 2)}
            write_report(out.stage(self.report_path), report)
            progress(1.0, "write")
        return report

    def _tell(self, report: dict[str, Any]) -> None:
        _tell_warnings(report["warnings"])
        if self.progress == "json":
            _tell_program(self.report_path, report)
            return
        for attacker, result in report["attackers"].items():
            first, auc = result["rank1"], result["auc"]
            low, high = first["interval"]
            print(
                f"{ATTACKER_NAMES[attacker]}: {first['hits']} of {first['of']} probes identified among "
                f"{result['gallery']} subjects ({first['value']:.1%}, 95 % interval {low:.1%} to {high:.1%}; by chance "
                f"{result['chance_rank1']:.1%}); AUC {auc['value']:.4f}; no face found in "
                f"{result['failures_to_acquire']}."
            )
        print(f"{self.report_path} holds the numbers; tables and pictures are in {self.out}.")


# ---- models ----


@dataclass(frozen=True)
class ModelsCommand:
    """`reident-risk models`: what there is, what of it is on this computer; fetch and remove."""

    fetch: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    accept_licence: bool = False
    progress: str = "auto"

    stopped = STOPPED

    def run(self) -> int:
        from ReidentRiskLib import models

        for name in (*self.fetch, *self.remove):
            models.find_model(name)
        for name in self.remove:
            removed = models.remove(name)
            print(f"{name} was removed." if removed else f"{name} is not on this computer.")
        for name in self.fetch:
            with contextlib.closing(reporter(self.progress)) as progress:
                path = models.ensure(name, self.accept_licence, progress=progress)
            print(f"{name} is in {path}.")
        if not (self.fetch or self.remove):
            self._list()
        return 0

    def _list(self) -> None:
        from ReidentRiskLib import models

        for status in models.status():
            model = status.model
            where = f"{status.path} ({status.size / 1e6:.1f} MB)" if status.path else "not on this computer"
            print(f"{model.name}: {model.title}")
            print(f"  {model.use}, licence: {model.licence}")
            print(f"  {where}; from the package {model.package}, sha256 {model.sha256}")
            if model.licence_text:
                print(f"  {model.licence_text}")


# ---- calibrate ----


@dataclass(frozen=True)
class CalibrateCommand:
    """`reident-risk calibrate`: the scores of strangers, from a folder of heads."""

    heads: Path
    out: Path
    model: tuple[str, ...] = ()
    views: tuple[str, ...] = ("standard",)
    pattern: str = "*"
    scans: int = 2
    rescan_every: int = 1
    data: str = ""
    jobs: int = 1
    accept_licence: bool = False
    device: str = "auto"
    overwrite: bool = False
    progress: str = "auto"

    stopped = "stopped; started again, it goes on where it was"

    @property
    def report_path(self) -> Path:
        return self.out / risk.CALIBRATION_FILE

    def run(self) -> int:
        from ReidentRiskLib.calibration import EMBEDDINGS, CalibrateOptions, calibrate
        from ReidentRiskLib.models import default_model

        options = CalibrateOptions(
            models=self.model or (default_model(self.accept_licence),),
            views=self.views,
            pattern=self.pattern,
            scans=self.scans,
            rescan_every=self.rescan_every,
            device=self.device,
            accept_licence=self.accept_licence,
            data=self.data,
            jobs=self.jobs,
        )
        checks = self.out / "checks.json"
        with _folder(self.out), contextlib.closing(reporter(self.progress)) as progress:
            _check_targets([self.report_path, checks], [self.heads], self.overwrite)
            made = calibrate(self.heads, self.out, options, progress=part(progress, 0.0, 0.98))
            with OutputSet(self.overwrite) as out:
                record = risk.calibrations_record(made.calibrations)
                out.stage(self.report_path).write_text(json.dumps(record) + "\n", encoding="utf-8")
                write_report(out.stage(checks), made.checks)
        _tell_warnings(made.notes)
        if self.progress == "json":
            _tell_program(self.report_path, {"warnings": list(made.notes)})
            return 0
        print(f"{self.report_path} holds the calibration of {made.heads} heads: numbers of pairs only.")
        print(f"{checks} says how well the heads were told apart.")
        print(f"Delete {self.out / EMBEDDINGS} when no further run needs it: embeddings are biometric data.")
        return 0


# ---- outputs ----


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make the folder where it is missing; when the block fails, a folder that was made and is empty goes again."""
    made = False
    if not path.is_dir():
        try:
            path.mkdir()
            made = True
        except FileNotFoundError as error:
            raise OutputError(f"The folder {path.parent} does not exist: create it first.") from error
        except FileExistsError as error:
            raise OutputError(f"{path} is a file: give the name of a folder.") from error
        except OSError as error:
            raise write_error(path, error) from error
    try:
        yield
    except BaseException:
        if made:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise InputError(f"{path} does not exist: check the name.")


def _check_targets(targets: Sequence[Path], inputs: Sequence[Path], overwrite: bool) -> None:
    """Everything that can go wrong with the names of outputs, before any work."""
    for index, target in enumerate(targets):
        if any(same_file(target, path) for path in inputs):
            raise OutputError(f"The output {target} is an input as well: choose another name.")
        if any(same_file(target, other) for other in targets[:index]):
            raise OutputError(f"{target} is given for two outputs: choose different names.")
        check_writable(target, overwrite, None)


def _check_own_report(path: Path) -> None:
    """A JSON file that is no report of ours, a BIDS sidecar say, is never overwritten."""
    if path.suffix.lower() != ".json":
        raise OutputError(f"{path} must end with .json: choose another name.")
    if not path.exists():
        return
    try:
        ours = _VERSION_KEY in json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        ours = False
    if not ours:
        raise OutputError(f"{path} exists and is no report of reident-risk, so it is kept: choose another name.")


def write_csv(path: Path, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a table (columns by title) as comma-separated UTF-8 text; None is an empty cell."""
    with open(path, "x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _tell_warnings(warnings: Sequence[str]) -> None:
    for warning in warnings:
        print(f"reident-risk: warning: {warning}", file=sys.stderr)


def _tell_program(path: Path, report: Mapping[str, Any]) -> None:
    """The last line for a parent process."""
    write_json_line(sys.stdout, {"done": True, "report": str(path), "warnings": report["warnings"]})
