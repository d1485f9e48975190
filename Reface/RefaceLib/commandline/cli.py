"""The command line: `reface image`, `reface bids`, `reface dicom`, `reface demo`, `reface benchmark`, `reface train`.

The exit code is 0 when every promise held; common/shell.py tells the others. An error is one sentence on stderr.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from RefaceLib import __version__
from RefaceLib.commandline.bids import BidsCommand, add_bids
from RefaceLib.commandline.commands import BenchmarkCommand, DemoCommand, TrainCommand
from RefaceLib.commandline.dicom import DicomCommand
from RefaceLib.commandline.heads import HeadsCommand
from RefaceLib.commandline.image import PROGRAM, ImageCommand
from RefaceLib.commandline.outputs import pair_up
from RefaceLib.common.console import NORMAL, QUIET, VERBOSE
from RefaceLib.common.errors import InputError
from RefaceLib.common.imagenames import numbered
from RefaceLib.common.options import DICOM_DATES, MAX_SEED, MODES
from RefaceLib.common.shell import Parser, add_device, add_running, run_command

_IMAGE = """\
Gives heads new faces. Two names are INPUT and OUTPUT. One name, three and more, or any number with --out-dir are
inputs, each a head of its own, whose outputs are INPUT_refaced (_defaced, _recovered) in the input's format, beside it
or in --out-dir. With several --faces the names of outputs end with -1, -2 and so on. A report is put beside every
output (OUTPUT_reface.json), and a BIDS sidecar (INPUT.json) is carried over. Files that are no output of reface are
never overwritten.
"""
_DICOM = """\
Gives the head in a DICOM series another face, and writes copies of its files into the new folder OUT. Voxels outside
the face keep their stored numbers; headers lose what names a person (DICOM PS3.15, Basic Profile). With --study the
best volume of all series gets a face and the others are defaced; localizers and secondary captures are left out.
"""
_BENCHMARK = """\
Refaces a head twice and tells the seconds of every stage. With --against, runs `reface image` and `niimath -reface` in
turn, five times each, and tells the processor and wall seconds and the peak memory of whole runs.
"""
_MODES_HELP = (
    "reface: replace the face; deface: remove it; recover: give a face to a head that was defaced; auto (default): "
    "reface a head that has its face, recover one that was defaced"
)
MOST_FACES = 100
ONE_HEAD = ("mask_out", "brain_out", "apply_to", "report", "picture")  # options that name a file of one head

Command = ImageCommand | HeadsCommand | BidsCommand | DicomCommand | DemoCommand | BenchmarkCommand | TrainCommand


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {MAX_SEED}, not {text!r}")
    return seed


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_FACES):
        raise argparse.ArgumentTypeError(f"a number of faces is from 1 to {MOST_FACES}, not {text!r}")
    return int(text)


def _subject(text: str) -> str:
    if not re.fullmatch(r"[\w ^.+-]{1,64}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"an ID has up to 64 letters, digits and - . + ^ _, not {text!r}")
    return text


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Replace the face in a head MRI; leave every other voxel as it was.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    usage = f"{PROGRAM} image [options] INPUT [OUTPUT | INPUT ...]"
    _add_image(commands.add_parser("image", help="reface volumes", description=_IMAGE, usage=usage))

    bids = commands.add_parser("bids", help="reface a BIDS data set")
    add_bids(bids)
    _add_seed(bids)
    _add_dicom(commands.add_parser("dicom", help="reface DICOM series and studies", description=_DICOM))

    demo = commands.add_parser("demo", help="reface a real head that is downloaded once")
    demo.add_argument("folder", type=Path, metavar="OUTDIR")
    _add_common(demo)

    _add_benchmark(commands.add_parser("benchmark", help="measure time and memory", description=_BENCHMARK))

    commands.add_parser("train", help="train the networks; see 'reface train --help'")
    return parser


def _add_image(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", type=Path, nargs="+", metavar="INPUT", help=".nii, .nii.gz, .nrrd, .mgz or .mgh")
    parser.add_argument("--out-dir", type=Path, metavar="FOLDER", help="where the outputs of all inputs are put")
    _add_work(parser)
    parser.add_argument("--mask-out", type=Path, metavar="FILE", help="write the mask of the replaced voxels")
    parser.add_argument("--brain-out", type=Path, metavar="FILE", help="write the mask of the brain that was found")
    parser.add_argument(
        "--apply-to",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("OTHER", "OUT"),
        help="deface another volume of the session; its report is put beside OUT; may be given again",
    )
    parser.add_argument("--apply-masks", action="store_true", help="write OUT_mask and OUT_brain of every --apply-to")
    parser.add_argument(
        "--apply-each",
        action="store_true",
        help="leave out a volume of --apply-to that cannot be defaced (its report says why), and deface by itself one "
        "whose brain does not match",
    )
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="instead of the report beside OUTPUT")
    parser.add_argument(
        "--private-report", type=Path, metavar="FILE.json", help="paths and hashes of inputs and outputs: keep it safe"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="both faces (private) and three slices")
    parser.add_argument(
        "--faces", type=_count, default=1, metavar="N", help="N faces of every head, of the seed and those after it (1)"
    )
    _add_common(parser)


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=_seed, metavar="N", help="the same seed gives the same face; up to 4294967295")


def _add_dicom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="the folder of a series or study, or a multi-frame file")
    parser.add_argument("output", type=Path, metavar="OUT", help="a new folder; the report is put beside it")
    parser.add_argument("--study", action="store_true", help="all series of the study in IN")
    parser.add_argument(
        "--dates",
        choices=DICOM_DATES,
        default="remove",
        help="remove (default); shift: all of the study by the same days, drawn anew; keep",
    )
    parser.add_argument("--keep-device", action="store_true", help="keep serial number and station name of the scanner")
    parser.add_argument(
        "--subject", type=_subject, default="ANONYMOUS", metavar="ID", help="the new patient ID and name (%(default)s)"
    )
    _add_work(parser)
    _add_common(parser)


def _add_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", type=int, default=256, metavar="N", help="voxels along each axis (%(default)s)")
    add_device(parser)
    parser.add_argument("--input", type=Path, metavar="FILE", help="a head of your own instead of the demo head")
    parser.add_argument("--against", metavar="niimath", help="the other program, or its path")
    for name, text in (("template", "head"), ("shell", "shell of faces"), ("weight", "weight")):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"the {text} that niimath -reface takes")


def _add_work(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mode", choices=MODES, default="auto", help=_MODES_HELP)
    parser.add_argument("--no-ears", dest="ears", action="store_false", help="leave the ears")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="other weights, by 'reface train'")


def _add_common(parser: argparse.ArgumentParser) -> None:
    _add_seed(parser)
    add_running(parser)
    told = parser.add_mutually_exclusive_group()
    for flags, value, text in (
        (("-v", "--verbose"), VERBOSE, "tell the seconds of every stage, and every file"),
        (("-q", "--quiet"), QUIET, "tell nothing but errors"),
    ):
        told.add_argument(*flags, dest="verbosity", action="store_const", const=value, default=NORMAL, help=text)


def parse(arguments: Sequence[str]) -> Command:
    """The command that `arguments` ask for; InputError when they cannot be understood, SystemExit after --help."""
    if arguments[:1] == ["train"]:  # its options are its own
        return TrainCommand(tuple(arguments[1:]))
    options = vars(build_parser().parse_args(arguments))
    name = options.pop("command")
    if name == "image":
        return _image_command(options)
    if name == "bids":
        return BidsCommand(**options)
    if name == "dicom":
        return DicomCommand(**{**options, "seed": _drawn(options["seed"])})
    if name == "demo":
        return DemoCommand(**{**options, "seed": _drawn(options["seed"])})
    return BenchmarkCommand(**options)


def _drawn(seed: int | None, faces: int = 1) -> int:
    """The seed of the first of several `faces`, drawn where none was given.

    One default would give all subjects of a data set much the same face.
    """
    if seed is not None:
        return seed
    from RefaceLib.face.seeds import new_seed

    return new_seed(MAX_SEED - faces + 1)


def _image_command(options: dict[str, Any]) -> ImageCommand | HeadsCommand:
    paths, out_dir, seed, faces = (options.pop(key) for key in ("paths", "out_dir", "seed", "faces"))
    options["apply_to"] = tuple((other, output) for other, output in options["apply_to"])
    pairs = pair_up(paths, options["mode"], out_dir, [other for other, _ in options["apply_to"]], options["report"])
    if options["private_report"]:
        from RefaceLib.commandline.writing import PrivateReport

        options["private_report"] = PrivateReport(options["private_report"])
    if len(pairs) > 1 and (given := [name for name in ONE_HEAD if options[name]]):
        raise InputError(f"--{given[0].replace('_', '-')} names files of one head: give one INPUT and its OUTPUT.")
    commands = tuple(
        face
        for path, output in pairs
        for face in _faces(ImageCommand(input=path, output=output, seed=_drawn(seed, faces), **options), faces)
    )
    if len(commands) == 1 and out_dir is None:
        return commands[0]
    return HeadsCommand(commands, out_dir, options["progress"], "heads" if faces == 1 else "faces")


def _faces(head: ImageCommand, count: int) -> list[ImageCommand]:
    """The commands for `count` faces of a head; masks and companions are the same for all, so the first writes them."""
    if count == 1:
        return [head]
    if head.mode == "deface":
        raise InputError("--mode deface makes no face, so --faces has no meaning with it: leave one of them out.")
    if head.seed + count - 1 > MAX_SEED:
        raise InputError(f"{count} faces need the seeds up to {head.seed + count - 1}; the largest is {MAX_SEED}.")
    faces = [
        replace(
            head,
            seed=head.seed + number - 1,
            output=numbered(head.output, number),
            report=head.report and numbered(head.report, number),
            picture=head.picture and numbered(head.picture, number),
        )
        for number in range(1, count + 1)
    ]
    return [faces[0], *(replace(face, mask_out=None, brain_out=None, apply_to=()) for face in faces[1:])]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv when `argv` is None) and return the exit code; raises nothing."""
    return run_command(PROGRAM, parse, argv)
