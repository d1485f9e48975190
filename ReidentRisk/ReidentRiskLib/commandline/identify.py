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
from RefaceLib.common.progress import part
from ReidentRiskLib.commandline.base import FaceCommand
from ReidentRiskLib.commandline.outputs import check_report, check_targets, write_csv
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

    name = "identify"

    @property
    def pictures(self) -> dict[str, Path]:
        return {name: self.out / f"identify_{name}.png" for name in ("cmc", "roc", "histogram")}

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
        targets = [self.report_path, self.table, *self.pictures.values()]
        sources = [self.gallery, self.probes, *(entry.path for entry in (*gallery, *probes))]
        with made_folder(self.out), contextlib.closing(reporter(self.progress)) as progress:
            check_targets([*targets, *([self.save_gallery] if self.save_gallery else [])], sources, self.overwrite)
            check_report(self.report_path)
            report = self._write(self._identify(gallery, probes, progress), start, progress)
        self.tell(report["warnings"], self._lines(report))
        return 0

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
            progress=part(progress, 0.05, 0.9),
        )

    def _write(self, found: LookUp, start: float, progress: Reporter) -> dict[str, Any]:
        from ReidentRiskLib.commandline import figures
        from ReidentRiskLib.runs.gallery import save_gallery
        from ReidentRiskLib.runs.lookup import build_report

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
            write_json(out.stage(self.report_path), report)
            progress(1.0, "write")
        return report

    def _lines(self, report: dict[str, Any]) -> Iterator[str]:
        for attacker, result in report["attackers"].items():
            first, auc = result["rank1"], result["auc"]
            low, high = first["interval"]
            yield (
                f"{ATTACKER_NAMES[attacker]}: {first['hits']} of {first['of']} probes identified among "
                f"{result['gallery']} subjects ({first['value']:.1%}, 95 % interval {low:.1%} to {high:.1%}; by chance "
                f"{result['chance_rank1']:.1%}); AUC {auc['value']:.4f}; no face found in "
                f"{result['failures_to_acquire']}."
            )
        yield self.where()
