"""Compares ways to hide a face: what they do to the brain's volumes, how recognisable and how real the faces are.

    PYTHONPATH=Testing/Study python -m refacestudy HEADS OUT [--validation | --ids ID ...] [--methods NAME ...]
                                                             [--jobs N]

HEADS holds heads ``<id>_T1w.nii.gz``, with ``participants.tsv`` (participant_id, age, sex) where age and sex are known.
Every chosen head goes through every method; all heads below HEADS are the gallery of the attackers. OUT gets a folder
a head, and ``report.md``, ``heads.csv``, ``methods.csv`` and pictures. It holds faces and embeddings of real people:
keep it as safe as the scans. What is done is not done again: a study can be stopped at any time, and goes on when the
command is given again. A method that is not installed, or fails, is a row that says so. docs/study.md explains the
figures.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from refacestudy import people, report
from refacestudy.cells import Record
from refacestudy.methods import METHODS
from refacestudy.work import Options, Study
from ReidentRiskLib.attack.models import default_model


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m refacestudy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("heads", type=Path, metavar="HEADS", help="folder of heads, searched to its depth")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the results, which is created")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--validation", action="store_true", help="the heads that were never trained on")
    which.add_argument("--ids", nargs="+", metavar="ID", help="these heads only (default: all)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N of them; validation heads come first")
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="NAME", help=f"of {', '.join(METHODS)}")
    parser.add_argument(
        "--segmenters", nargs="+", choices=("atropos", "hmrf", "fast"), default=["atropos", "hmrf", "fast"]
    )
    parser.add_argument(
        "--gallery", choices=("all", "chosen"), default="all", help="whom attackers know (default: all)"
    )
    parser.add_argument("--templates", type=Path, metavar="FOLDER", help="AFNI's refacer templates (default: in HEADS)")
    parser.add_argument("--rescans", type=Path, metavar="FILE.tsv", help="pairs of scans of one person: first, second")
    parser.add_argument("--model", help="face recogniser (default: the best whose licence is accepted)")
    parser.add_argument("--accept-licence", action="store_true", help="of the recogniser (arcface: research only)")
    parser.add_argument("--jobs", type=int, default=max(1, os.cpu_count() or 1), help="processes (default: the cores)")
    parser.add_argument("--retry", action="store_true", help="do again what failed before")
    parser.add_argument("--report-only", action="store_true", help="make the report of what is done")
    return parser.parse_args(given)


def chosen(everybody: dict[str, people.Person], given: argparse.Namespace) -> list[str]:
    """The names of the heads to study, in order."""
    if given.ids:
        unknown = sorted(set(given.ids) - set(everybody))
        if unknown:
            raise SystemExit(f"There is no head {', '.join(unknown)} below {given.heads}: check the names.")
        return list(given.ids)[: given.limit]
    return [name for name, person in everybody.items() if person.validation or not given.validation][: given.limit]


def say(name: str, record: Record) -> None:
    """One line a part that was done."""
    print(f"  {name}: {record.get('error') or 'ok'}", flush=True)


def main(given: list[str] | None = None) -> int:
    options = arguments(given)
    os.environ["OMP_NUM_THREADS"] = os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # processes inherit it
    everybody = people.find_people(options.heads)
    names = chosen(everybody, options)
    if not names:
        print(f"No heads <id>_T1w.nii.gz were found below {options.heads}.", file=sys.stderr)
        return 2
    templates = options.templates or next(
        (p.parent for p in sorted(options.heads.rglob("MNI152_2009_SSW.nii.gz"))), None
    )
    model = options.model or default_model(options.accept_licence)
    wanted = options.methods or list(METHODS)
    study = Study(
        options.out, everybody, tuple(names), tuple(everybody if options.gallery == "all" else names),
        Options(tuple(wanted), tuple(options.segmenters), templates, (model, options.accept_licence)),
    )  # fmt: skip
    if options.retry:
        study.forget_failures()
    start = time.perf_counter()
    if not options.report_only:
        print(f"{len(names)} heads, {len(study.methods)} methods, a gallery of {len(study.gallery)}", flush=True)
        study.run(options.jobs, say)
    report.write(study, options.rescans)
    print(f"{options.out / 'report.md'} is written ({(time.perf_counter() - start) / 60:.1f} minutes).")
    print("The folder holds faces and embeddings of real people: keep it as safe as the scans.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
