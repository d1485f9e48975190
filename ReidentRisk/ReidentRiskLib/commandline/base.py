"""What the sub-commands of `reident-risk` share. Each is a frozen dataclass with run() -> exit code.

They raise RefaceError with one sentence where they cannot do their work; RefaceLib.common.shell turns it into the exit
code.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from RefaceLib.common.console import tell_done, tell_warnings
from RefaceLib.common.progress import Progress
from ReidentRiskLib.commandline.consent import ask_for_consent
from ReidentRiskLib.judge.calibration import read_calibrations

if TYPE_CHECKING:
    from ReidentRiskLib.runs.tools import Tools

PROGRAM = "reident-risk"
STOPPED = "stopped; nothing was written"


@dataclass(frozen=True, kw_only=True)
class RunCommand(ABC):
    """A sub-command that runs the networks and writes its results into the folder `out`."""

    out: Path
    accept_licence: bool = False
    device: str = "auto"
    overwrite: bool = False
    progress: str = "auto"

    stopped: ClassVar[str] = STOPPED

    @property
    @abstractmethod
    def report_path(self) -> Path:
        """The JSON file that a parent process reads."""

    def tell(self, warnings: Iterable[str], lines: Iterable[str]) -> None:
        """Report the end: one line to a parent process, `lines` to a person, and warnings to both."""
        warnings = list(warnings)
        tell_warnings(PROGRAM, warnings)
        if self.progress == "json":
            tell_done(self.report_path, warnings)
            return
        for line in lines:
            print(line)


@dataclass(frozen=True, kw_only=True)
class FaceCommand(RunCommand):
    """A sub-command that measures how similar faces are: in `name`.json (or `json`), tables and pictures."""

    model: str | None = None
    views: str = "standard"
    json: Path | None = None
    own_landmarks: bool = False
    calibration: Path | None = None
    private_report: Path | None = None

    name: ClassVar[str]

    @property
    def report_path(self) -> Path:
        return self.json or self.out / f"{self.name}.json"

    @property
    def reports(self) -> list[Path]:
        """The report, and the private one where it is asked for."""
        return [self.report_path, *([self.private_report] if self.private_report else [])]

    @property
    def earlier_reports(self) -> list[Path]:
        """Where a report of an earlier run may be, which lists what may be overwritten."""
        return list(dict.fromkeys([self.report_path, self.out / f"{self.name}.json"]))

    def check_options(self) -> None:
        """Everything that can be wrong with the options, and consent, before any work."""
        from ReidentRiskLib.attack.views import view_set

        view_set(self.views)
        ask_for_consent(self.model, self.accept_licence, self.progress)
        if self.calibration:
            read_calibrations(self.calibration)

    def load_tools(self, progress: Progress) -> Tools:
        from ReidentRiskLib.runs.tools import load_tools

        return load_tools(self.model, self.device, accept_licence=self.accept_licence, progress=progress)

    def network(self, report: Mapping[str, Any]) -> str:
        """The line that names the network which judged."""
        from ReidentRiskLib.runs.tools import network_name

        return f"Faces were compared by the network {network_name(report['model'])}."

    def where(self) -> str:
        return f"The report is {self.report_path}. Tables and pictures are in {self.out}."
