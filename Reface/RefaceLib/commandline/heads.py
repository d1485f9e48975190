"""`reface image` of many heads or faces: each is a unit of its own. A head that fails does not stop the others."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from RefaceLib.commandline.image import PROGRAM, ImageCommand
from RefaceLib.common.console import write_json_line
from RefaceLib.common.errors import CancelledError, InputError, OutputError
from RefaceLib.common.files import check_names, made_folder
from RefaceLib.common.progress import part
from RefaceLib.common.shell import sentence_of


@dataclass(frozen=True)
class HeadsCommand:
    """`reface image` with several inputs or faces, or with a folder for the outputs, which is made where it is missing.

    `heads` are told as `what`: heads, or faces, of which several have one input.
    """

    heads: tuple[ImageCommand, ...]
    out_dir: Path | None = None
    progress: str = "auto"
    what: str = "heads"
    written: list[ImageCommand] = field(default_factory=list)
    failed: list[ImageCommand] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> str:
        return f"stopped; {len(self.written)} of {len(self.heads)} {self.what} were written"

    def run(self) -> int:
        self._check_together()
        with made_folder(self.out_dir) if self.out_dir else contextlib.nullcontext():
            ready = [head for head in self.heads if self._try(head, head.check)]
            for index, head in enumerate(ready):
                self._try(head, partial(self._reface, head, index / len(ready), (index + 1) / len(ready)))
            if self.failed:
                missing = f"{len(self.failed)} of {len(self.heads)} {self.what}"
                raise InputError(
                    f"{missing} were not {'refaced' if self.what == 'heads' else 'made'}, as is told above."
                )
        if self.progress == "json":
            reports = [str(head.report_path) for head in self.written]
            write_json_line(sys.stdout, {"done": True, "reports": reports, "warnings": self.warnings})
        return 0

    def _check_together(self) -> None:
        """Raise OutputError where two heads would write one file, or one the input of another."""
        owners: dict[Path, ImageCommand] = {}
        for head in self.heads:
            for target in head.targets():
                other = owners.setdefault(target, head)
                if other is not head:
                    raise OutputError(
                        f"{other.input} and {head.input} would both become {target}: give them different folders."
                    )
        check_names([*owners], [path for head in self.heads for path in head.inputs])

    def _try(self, head: ImageCommand, work: Callable[[], None]) -> bool:
        """Whether the work on the head went well; if not, that is told, and the next head has its turn.

        Further faces of a head that failed would fail alike.
        """
        if any(other.input == head.input for other in self.failed):
            self.failed.append(head)
            return False
        try:
            work()
        except (CancelledError, BrokenPipeError):
            raise
        except Exception as error:
            self.failed.append(head)
            sentence = sentence_of(error)
            name = "" if str(head.input) in sentence else f"{head.input}: "
            print(f"{PROGRAM}: {name}{sentence}", file=sys.stderr)
            if self.progress == "json":
                write_json_line(sys.stdout, {"input": str(head.input), "error": sentence})
            return False
        return True

    def _reface(self, head: ImageCommand, start: float, end: float) -> None:
        name = f"{PROGRAM}: {head.input}"
        with contextlib.closing(head.reporter(name)) as progress:
            done = head.reface(part(progress, start, end))
        self.written.append(head)
        self.warnings.extend(f"{head.input}: {sentence}" for sentence in done.warnings)
        head.tell(done, name)
