"""`reident-risk audit`: how many heads of a data set are recognisable, before it is shared."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib.common.console import Reporter, reporter
from RefaceLib.common.errors import InputError
from RefaceLib.common.files import OutputSet, made_folder, write_error, write_json
from RefaceLib.common.progress import part
from ReidentRiskLib.commandline.base import PROGRAM, FaceCommand
from ReidentRiskLib.commandline.outputs import Written, check_outputs, inputs_of, private_report

if TYPE_CHECKING:
    from RefaceLib.bids.engine import Workers
    from ReidentRiskLib.runs.audit import Audit
    from ReidentRiskLib.runs.headlist import Entry
    from ReidentRiskLib.runs.tools import Finders, Tools

PRIVATE = "private"  # folder for what is kept between runs


@dataclass(frozen=True, kw_only=True)
class AuditCommand(FaceCommand):
    """`reident-risk audit`: the heads of a data set, against their originals where these are given."""

    heads: Path
    originals: Path | None = None
    pattern: str = "*"
    n_procs: int = 1
    mem_mb: int | None = None
    scheduler: str | None = None

    name = "audit"
    stopped = "stopped; what was looked at is kept, and the same command goes on with the others"

    @property
    def table(self) -> Path:
        return self.out / "audit.tsv"

    def run(self) -> int:
        from ReidentRiskLib.runs.audit import check_named
        from ReidentRiskLib.runs.pairs import list_dataset, with_originals

        start = time.perf_counter()
        self._check_packages()
        if self.originals:
            self.check_options()
        shared = list_dataset(self.heads.absolute(), self.pattern)  # workers may have other current folders
        originals = list_dataset(self.originals.absolute()) if self.originals else None
        if originals:
            shared = with_originals(shared, originals)
            check_named(shared, originals)
        with made_folder(self.out), contextlib.closing(reporter(self.progress, PROGRAM)) as progress:
            self._check_outputs(shared, originals or ())
            audit, tools = self._audit(shared, originals, progress)
            self._check_outputs(shared, originals or ())  # again: what has appeared meanwhile is kept, too
            report = self._write(audit, tools, shared, originals or (), start)
        return self._tell(audit, report)

    def _check_packages(self) -> None:
        from RefaceLib.bids.engine import check_packages

        bids = any(
            folder and (folder / "dataset_description.json").is_file() for folder in (self.heads, self.originals)
        )
        check_packages(*(["ancpbids"] if bids else []), *(["distributed"] if self._workers() else []))

    def _workers(self) -> Workers | None:
        """Those that were asked for; None: this process does the work."""
        from RefaceLib.bids.engine import Workers

        if self.n_procs == 1 and not self.scheduler:
            return None
        return Workers.asked_for(self.n_procs, 1, self.mem_mb, self.scheduler)

    def _check_outputs(self, shared: Sequence[Entry], originals: Sequence[Entry]) -> None:
        inputs = [entry.path for entry in (*shared, *originals)]
        check_outputs(self.reports, [self.table], inputs, self.earlier_reports, self.overwrite)

    def _audit(
        self, shared: Sequence[Entry], originals: Sequence[Entry] | None, progress: Reporter
    ) -> tuple[Audit, Finders]:
        from ReidentRiskLib.runs.audit import audit
        from ReidentRiskLib.runs.looks import LookOptions
        from ReidentRiskLib.runs.tools import Tools, about, calibrations_for, load_finders

        progress(0.0, "load")
        loading = part(progress, 0.0, 0.05)
        tools = load_finders(self.device, progress=loading) if originals is None else self.load_tools(loading)
        folder = self.out.absolute() / PRIVATE
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise write_error(folder, error) from error
        options = LookOptions(
            folder,
            hashlib.sha256(json.dumps(about(tools), sort_keys=True).encode()).hexdigest(),
            self.views,
            self.own_landmarks,
            self._model(tools) if isinstance(tools, Tools) else None,
            self.device,
            self.accept_licence,
        )
        calibrations = calibrations_for(tools, self.views, self.calibration) if isinstance(tools, Tools) else {}
        shares = part(progress, 0.05, 0.95)
        made = audit(shared, originals, tools, options, calibrations, workers=self._workers(), progress=shares)
        return made, tools

    def _model(self, tools: Tools) -> str:
        """What the workers load: the network that judges here, wherever they run and whatever is the default there."""
        from ReidentRiskLib.attack.models import MODELS

        return tools.embedder.name if self.model is None or self.model in MODELS else str(Path(self.model).absolute())

    def _write(
        self, audit: Audit, tools: Finders, shared: Sequence[Entry], originals: Sequence[Entry], start: float
    ) -> dict[str, Any]:
        from ReidentRiskLib.runs.auditreport import build_report, table
        from ReidentRiskLib.runs.tools import about

        report = build_report(audit, about(tools), self.views)
        with OutputSet(self.overwrite) as out:
            written = Written(out)
            text = table(audit.heads).encode("utf-8", "backslashreplace")
            written.stage(self.table).write_bytes(text)
            report["files"] = written.files()
            report["seconds"] = {"total": round(time.perf_counter() - start, 2)}
            write_json(out.stage(self.report_path), report)
            if self.private_report:
                inputs = [*inputs_of("shared", shared), *inputs_of("original", originals)]
                write_json(out.stage(self.private_report), private_report(inputs, [self.report_path, *written.staged]))
        return report

    def _tell(self, audit: Audit, report: dict[str, Any]) -> int:
        failed = [head for head in audit.heads if head.failure]
        for head in failed:
            print(f"{PROGRAM}: {head.name}: {head.failure}", file=sys.stderr)
        self.tell(audit.warnings, self._lines(report))
        if failed:
            raise InputError(f"{len(failed)} of {len(audit.heads)} heads could not be judged, as is told above.")
        return 0

    def _lines(self, report: dict[str, Any]) -> Iterator[str]:
        from ReidentRiskLib.runs.auditreport import summary

        if self.originals:
            yield self.network(report)
        yield from summary(report)
        yield f"The table is {self.table}, the worst first. The report is {self.report_path}."
        if self.originals:
            yield f"Delete {self.out / PRIVATE} when no further run needs it: embeddings are biometric data."
