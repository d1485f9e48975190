"""`reident-risk calibrate`: measures how similar strangers are."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path

import RefaceLib
from RefaceLib.common.console import reporter
from RefaceLib.common.files import OutputSet, check_own_report, made_folder, write_json
from RefaceLib.common.progress import part
from ReidentRiskLib.commandline.base import PROGRAM, RunCommand
from ReidentRiskLib.commandline.consent import ask_for_consent
from ReidentRiskLib.commandline.outputs import VERSION_KEY, check_targets
from ReidentRiskLib.judge.calibration import CALIBRATION_FILE, CALIBRATION_KEY, calibration_file_content


@dataclass(frozen=True, kw_only=True)
class CalibrateCommand(RunCommand):
    """`reident-risk calibrate`: the scores of strangers, from a folder of heads."""

    heads: Path
    model: tuple[str, ...] = ()
    views: tuple[str, ...] = ("standard",)
    pattern: str = "*"
    scans: int = 2
    rescan_every: int = 1
    data: str = ""
    jobs: int = 1

    stopped = "stopped; start it again to continue"

    @property
    def report_path(self) -> Path:
        return self.out / CALIBRATION_FILE

    def run(self) -> int:
        from ReidentRiskLib.attack.models import default_model
        from ReidentRiskLib.runs.calibrate import EMBEDDINGS, calibrate
        from ReidentRiskLib.runs.embedscans import CalibrateOptions

        for name in self.model or (None,):
            ask_for_consent(name, self.accept_licence, self.progress)
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
        with made_folder(self.out), contextlib.closing(reporter(self.progress)) as progress:
            check_targets([self.report_path, checks], [self.heads], self.overwrite)
            check_own_report(self.report_path, CALIBRATION_KEY, PROGRAM)
            check_own_report(checks, VERSION_KEY, PROGRAM)
            made = calibrate(self.heads, self.out, options, progress=part(progress, 0.0, 0.98))
            with OutputSet(self.overwrite) as out:
                record = calibration_file_content(made.calibrations)
                out.stage(self.report_path).write_text(json.dumps(record) + "\n", encoding="utf-8")
                write_json(out.stage(checks), {VERSION_KEY: RefaceLib.__version__, **made.checks})
        lines = (
            f"The calibration of {made.heads} heads is {self.report_path}. It holds numbers of pairs only.",
            f"{checks} reports how well the network tells the heads apart.",
            f"Delete {self.out / EMBEDDINGS} when no further run needs it: embeddings are biometric data.",
        )
        self.tell(made.notes, lines)
        return 0
