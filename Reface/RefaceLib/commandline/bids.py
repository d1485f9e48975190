"""`reface bids`: a whole data set, with the arguments of BIDS Apps as nipreps' applications have them."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from RefaceLib.commandline.image import PROGRAM
from RefaceLib.common.console import reporter, write_json_line
from RefaceLib.common.errors import InputError
from RefaceLib.common.shell import add_device, add_progress

if TYPE_CHECKING:
    from RefaceLib.bids.engine import Workers
    from RefaceLib.bids.record import Record, Row

_DESCRIPTION = """\
Refaces a BIDS data set. The best T1-weighted volume of each session gets another face, one for all visits of a person;
from all other volumes that show a face it is removed. OUT_DIR/index.html shows every volume, and OUT_DIR/reface.tsv has
a row for each. What is done already is left alone, so a run that was stopped goes on. The exit code is 0 when every
volume was done, and 2 when one failed.
"""
_VALIDATORS = ("bids-validator-deno", "bids-validator")


def add_bids(parser: argparse.ArgumentParser) -> None:
    """The arguments of `reface bids`."""
    parser.description = _DESCRIPTION
    parser.add_argument("bids_dir", type=Path, metavar="BIDS_DIR", help="the top folder of the data set")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="where the outputs are put; it is made")
    parser.add_argument(
        "level", choices=("participant", "group"), help="the work on persons; or only the tables of those who are done"
    )
    for name, of in (("participant", "sub-"), ("session", "ses-")):
        parser.add_argument(
            f"--{name}-label", f"--{name}_label", nargs="+", default=[], metavar="LABEL", help=f"with or without '{of}'"
        )
    parser.add_argument("--mode", choices=("auto", "deface"), default="auto", help="deface: nobody gets a new face")
    parser.add_argument(
        "--output",
        choices=("derivatives", "dataset"),
        default="derivatives",
        help="derivatives (default): new volumes and masks; dataset: a copy of the whole that can be published",
    )
    parser.add_argument("--func", action="store_true", help="deface functional volumes too")
    parser.add_argument("--no-ears", dest="ears", action="store_false", help="leave the ears")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="other weights, by 'reface train'")
    parser.add_argument("--n-procs", "--nprocs", "--n_procs", type=_count, metavar="N", help="persons at once")
    parser.add_argument(
        "--omp-nthreads", type=_count, default=1, metavar="N", help="threads for each; it may change some bits (1)"
    )
    parser.add_argument("--mem-mb", "--mem_mb", type=_count, metavar="MB", help="memory for all together")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="use the Dask cluster of this scheduler (tcp://HOST:PORT)"
    )
    parser.add_argument("--skip-bids-validation", "--skip_bids_validation", action="store_true")
    parser.add_argument(
        "--bids-filter-file", type=Path, metavar="FILE", help='which volumes: {"t1w": {"acquisition": "mprage"}, ...}'
    )
    parser.add_argument(
        "--private-report", type=Path, metavar="FOLDER", help="also pages that show the originals: keep them safe"
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", dest="force", action="store_false", default=False, help="leave alone what is done (the default)"
    )
    again.add_argument("--force", action="store_true", help="do everything again")
    add_device(parser)
    add_progress(parser)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is needed, not {text!r}")
    return int(text)


@dataclass(frozen=True)
class BidsCommand:
    """`reface bids`; the fields are its arguments."""

    bids_dir: Path
    out_dir: Path
    level: str
    participant_label: list[str]
    session_label: list[str]
    bids_filter_file: Path | None
    mode: str = "auto"
    output: str = "derivatives"
    func: bool = False
    ears: bool = True
    models: Path | None = None
    seed: int | None = None
    n_procs: int | None = None
    omp_nthreads: int = 1
    mem_mb: int | None = None
    scheduler: str | None = None
    skip_bids_validation: bool = False
    private_report: Path | None = None
    force: bool = False
    device: str = "auto"
    progress: str = "auto"

    stopped = "stopped; the persons who are done stay, and the same command goes on with the others"

    def run(self) -> int:
        from RefaceLib.bids import dataset
        from RefaceLib.bids.engine import check_packages

        check_packages("ancpbids", "distributed")
        source, out = self.bids_dir.absolute(), self.out_dir.absolute()
        if self.private_report:
            from RefaceLib.bids.private import check_private

            check_private(self.private_report.absolute(), source, out)
        records = self._records(source, out)
        top = dataset.rows_of_top(source, dataset.settled_output(out))
        if self.private_report:
            self._show_originals(source, out, self.private_report.absolute(), records)
        return self._tell([*(row for record in records for row in record.rows), *top])

    def _records(self, source: Path, out: Path) -> list[Record]:
        from RefaceLib.bids import dataset, run
        from RefaceLib.bids.index import read_filters
        from RefaceLib.bids.job import Options

        options = Options(
            mode=self.mode,
            output=self.output,
            ears=self.ears,
            func=self.func,
            device=self.device,
            threads=self.omp_nthreads,
            models=self.models.absolute() if self.models else None,
        )
        if self.level == "group":
            options = replace(options, output=dataset.settled_output(out))
        dataset.check_folders(source, out, options.output)
        dataset.check_description(source)
        if self.level == "group":
            return dataset.write_top(source, out, options)
        selection = run.Selection(self.participant_label, self.session_label, read_filters(self.bids_filter_file))
        if not self.skip_bids_validation:
            _validate(source)
        with contextlib.closing(reporter(self.progress, PROGRAM)) as progress:
            return run.run_participants(
                source,
                out,
                options,
                seed=self.seed,
                selection=selection,
                workers=self._workers(),
                force=self.force,
                progress=progress,
            )

    def _workers(self) -> Workers:
        from RefaceLib.bids.engine import Workers

        return Workers.asked_for(self.n_procs, self.omp_nthreads, self.mem_mb, self.scheduler)

    def _show_originals(self, source: Path, out: Path, folder: Path, records: list[Record]) -> None:
        from RefaceLib.bids import dataset
        from RefaceLib.bids.private import write_private

        name = dataset.title_of(dataset.check_description(source))
        with contextlib.closing(reporter(self.progress, PROGRAM)) as progress:
            write_private(source, out, folder, name, records, self._workers(), progress)

    def _tell(self, rows: list[Row]) -> int:
        """Failures on stderr, a line on stdout; the exit code."""
        from RefaceLib.bids.quality import INDEX
        from RefaceLib.bids.record import LEFT_OUT, TABLE, failed

        lost = failed(rows)
        for row in lost:
            print(f"{PROGRAM}: {row.file}: {row.sentence}", file=sys.stderr)
        counts = Counter(row.status for row in rows if row.is_volume)
        others = sum(row.status == LEFT_OUT for row in rows if not row.is_volume)
        if self.progress == "json":
            write_json_line(
                sys.stdout,
                {
                    "done": not lost,
                    "table": str(self.out_dir / TABLE),
                    "page": str(self.out_dir / INDEX),
                    "volumes": counts,
                    "others_left_out": others,
                },
            )
        else:
            told = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
            beside = f" Other files: {others} left out, wholly or in part." if others else ""
            print(f"Wrote {self.out_dir / TABLE}. Volumes: {told}.{beside} To judge them, open {self.out_dir / INDEX}.")
        if lost:
            raise InputError(f"{len(lost)} of {len(rows)} volumes were not done, as is told above and in {TABLE}.")
        return 0


def _validate(source: Path) -> None:
    """Ask the official validator, where it is installed; InputError for what it calls an error.

    Volumes are not looked at: each is a row of the table, whatever is wrong with it.
    """
    import json

    program = next((path for name in _VALIDATORS if (path := shutil.which(name))), None)
    if program is None:
        print(
            f"{PROGRAM}: warning: bids-validator is not installed, so the data set was not validated.", file=sys.stderr
        )
        return
    options = ["--ignoreNiftiHeaders", "--ignoreWarnings", "--format", "json"]
    ran = subprocess.run([program, str(source), *options], capture_output=True, text=True, check=False)
    try:
        issues: list[dict[str, Any]] = json.loads(ran.stdout)["issues"]["issues"]
    except (ValueError, LookupError, TypeError):
        print(f"{PROGRAM}: warning: bids-validator failed, so the data set was not validated.", file=sys.stderr)
        return
    errors = [issue for issue in issues if issue.get("severity") == "error" and issue.get("code") != "EMPTY_FILE"]
    if errors:
        code, location = errors[0].get("code") or "unnamed", errors[0].get("location")
        count = f"{len(errors)} error{'s' if len(errors) > 1 else ''}"
        raise InputError(
            f"The data set is not valid BIDS ({count}; {code}{f' in {location}' if location else ''}): "
            "correct it, or give --skip-bids-validation."
        )
