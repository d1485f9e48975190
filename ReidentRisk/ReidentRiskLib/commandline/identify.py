"""`reident-risk identify`: how many probes are identified in a gallery, in numbers, a table and pictures."""

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
from RefaceLib.common.imagenames import file_name
from RefaceLib.common.progress import part
from RefaceLib.common.steps import with_names
from ReidentRiskLib.commandline.base import FaceCommand
from ReidentRiskLib.commandline.outputs import Written, check_outputs, inputs_of, private_report, write_csv
from ReidentRiskLib.judge.scores import ATTACKER_NAMES
from ReidentRiskLib.runs.gallery import EXTENSION as GALLERY_EXTENSION
from ReidentRiskLib.runs.gallery import WARNING as GALLERY_WARNING

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding
    from ReidentRiskLib.runs.headlist import Entry
    from ReidentRiskLib.runs.lookup import LookUp


@dataclass(frozen=True, kw_only=True)
class IdentifyCommand(FaceCommand):
    """`reident-risk identify`: probes looked up in a gallery."""

    gallery: Path
    probes: Path
    pattern: str = "*"
    probe_pattern: str | None = None
    save_gallery: Path | None = None
    guess_who: bool = False

    name = "identify"

    @property
    def pictures(self) -> dict[str, Path]:
        return {name: self.out / f"identify_{name}.png" for name in ("cmc", "roc", "histogram")}

    @property
    def sheet(self) -> Path:
        return self.out / "identify_guess_who.png"

    @property
    def table(self) -> Path:
        return self.out / "identify.csv"

    def run(self) -> int:
        from ReidentRiskLib.runs.headlist import list_heads

        start = time.perf_counter()
        self.check_options()
        saved = self.gallery.suffix.lower() == GALLERY_EXTENSION
        if saved and self.save_gallery:
            raise InputError("The gallery is already a saved one: omit --save-gallery.")
        gallery = [] if saved else list_heads(self.gallery, self.pattern)
        probes = list_heads(self.probes, self.probe_pattern or self.pattern)
        if saved:
            check_exists(self.gallery)
        with made_folder(self.out), contextlib.closing(reporter(self.progress)) as progress:
            self._check_outputs(gallery, probes)
            found = self._identify(gallery, probes, progress)
            self._check_outputs(gallery, probes)  # again: what has appeared meanwhile is kept, too
            report = self._write(found, gallery, probes, start, progress)
        notice = [f"{self.save_gallery}: {GALLERY_WARNING}"] if self.save_gallery else []
        self.tell([*found.warnings, *notice], self._lines(report))
        return 0

    def _check_outputs(self, gallery: Sequence[Entry], probes: Sequence[Entry]) -> None:
        more = [*([self.save_gallery] if self.save_gallery else []), *([self.sheet] if self.guess_who else [])]
        targets = [self.table, *self.pictures.values(), *more]
        sources = [self.gallery, self.probes, *(entry.path for entry in (*gallery, *probes))]
        check_outputs(self.reports, targets, sources, self.earlier_reports, self.overwrite)

    def _identify(self, gallery: Sequence[Entry], probes: Sequence[Entry], progress: Reporter) -> LookUp:
        from ReidentRiskLib.runs.gallery import load_gallery
        from ReidentRiskLib.runs.lookup import look_up
        from ReidentRiskLib.runs.tools import calibrations_for

        progress(0.0, "load")
        tools = self.load_tools(part(progress, 0.0, 0.05))
        embedder = tools.embedder
        heads: tuple[HeadEmbedding, ...] = ()
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
            guess_who=self.guess_who,
            progress=part(progress, 0.05, 0.9),
        )

    def _write(
        self, found: LookUp, gallery: Sequence[Entry], probes: Sequence[Entry], start: float, progress: Reporter
    ) -> dict[str, Any]:
        from ReidentRiskLib.commandline import figures, guesssheet
        from ReidentRiskLib.runs.gallery import save_gallery
        from ReidentRiskLib.runs.lookup import build_report
        from ReidentRiskLib.runs.tools import network_name

        progress(0.92, "write")
        report, network = build_report(found), network_name(found.about["model"])
        with OutputSet(self.overwrite) as out:
            written = Written(out)
            for name, draw in (("cmc", figures.cmc), ("roc", figures.roc), ("histogram", figures.pairs)):
                draw(written.stage(self.pictures[name]), found.results, network)
            if found.exercise:
                guesssheet.sheet(written.stage(self.sheet), found.exercise)
            write_csv(written.stage(self.table), found.columns)
            if self.save_gallery:
                save_gallery(written.stage(self.save_gallery), found.heads, found.about["model"]["sha256"])
                report["gallery"]["saved"] = self.save_gallery.name
                report["warnings"].append(f"{self.save_gallery.name}: {GALLERY_WARNING}")
            paths = {entry.path: file_name(entry.path) for entry in (*gallery, *probes)}
            report["warnings"] = [with_names(sentence, paths) for sentence in report["warnings"]]
            report["files"] = written.files()
            report["seconds"] = {"total": round(time.perf_counter() - start, 2)}
            write_json(out.stage(self.report_path), report)
            if self.private_report:
                inputs = [*inputs_of("gallery", gallery), *inputs_of("probe", probes)]
                private = private_report(inputs, [self.report_path, *written.staged])
                write_json(out.stage(self.private_report), private)
            progress(1.0, "write")
        return report

    def _lines(self, report: dict[str, Any]) -> Iterator[str]:
        yield self.network(report)
        for attacker, result in report["attackers"].items():
            first, auc, title = result["rank1"], result["auc"], ATTACKER_NAMES[attacker]
            low, high = first["interval"]
            area = f"AUC {auc['value']:.4f}; " if auc else ""
            yield (
                f"{title}: {first['hits']} of {first['of']} probes identified among "
                f"{result['gallery']} subjects ({first['value']:.1%}, 95 % interval {low:.1%} to {high:.1%}; by chance "
                f"{result['chance_rank1']:.1%}); {area}no face found in {result['failures_to_acquire']}."
            )
            if result["not_told"]:
                yield from (f"  {line}" for line in result["ranks"])
                yield f"  {result['not_told']}."
        yield self.where()
