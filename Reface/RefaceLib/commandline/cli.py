"""The command line: `reface image`, `reface demo`, `reface benchmark`, `reface train`.

The exit code is 0 when every promise held; common/shell.py tells the others. An error is one sentence on stderr.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from RefaceLib import __version__
from RefaceLib.commandline.commands import PROGRAM, BenchmarkCommand, DemoCommand, ImageCommand, TrainCommand
from RefaceLib.common.options import MAX_SEED, MODES
from RefaceLib.common.shell import Parser, add_device, add_running, run_command

Command = ImageCommand | DemoCommand | BenchmarkCommand | TrainCommand


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {MAX_SEED}, not {text!r}")
    return seed


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Replace the face in a head MRI; leave every other voxel as it was.")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_image(commands.add_parser("image", help="reface one volume"))

    demo = commands.add_parser("demo", help="reface a real head that is downloaded once")
    demo.add_argument("folder", type=Path, metavar="OUTDIR")
    _add_common(demo)

    benchmark = commands.add_parser("benchmark", help="measure the seconds of every stage")
    benchmark.add_argument("--size", type=int, default=256, metavar="N", help="voxels along each axis (%(default)s)")
    add_device(benchmark)
    benchmark.add_argument("--input", type=Path, metavar="FILE", help="a head of your own instead of the demo head")

    commands.add_parser("train", help="train the networks; see 'reface train --help'")
    return parser


def _add_image(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="INPUT", help="NIfTI, NRRD or MGZ volume")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="in the input's format; a report is put beside it")
    parser.add_argument("--mode", choices=MODES, default="reface", help="recover: the head is defaced already")
    parser.add_argument("--no-ears", dest="ears", action="store_false", help="leave the ears")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="weights that 'reface train' made, not ours")
    parser.add_argument("--mask-out", type=Path, metavar="FILE", help="write the mask of the replaced voxels")
    parser.add_argument("--brain-out", type=Path, metavar="FILE", help="write the mask of the brain that was found")
    parser.add_argument(
        "--apply-to",
        type=Path,
        nargs=2,
        action="append",
        default=[],
        metavar=("OTHER", "OUT"),
        help="deface a coregistered volume with the same mask; may be given again",
    )
    parser.add_argument("--report", type=Path, metavar="FILE.json", help="instead of the report beside OUTPUT")
    parser.add_argument("--picture", type=Path, metavar="FILE.png", help="both faces (private) and three slices")
    _add_common(parser)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=_seed, metavar="N", help="the same seed, the same face (default: by chance)")
    add_running(parser)


def parse(arguments: Sequence[str]) -> Command:
    """The command that `arguments` ask for; InputError when they cannot be understood, SystemExit after --help."""
    if arguments[:1] == ["train"]:  # its options are its own
        return TrainCommand(tuple(arguments[1:]))
    options = vars(build_parser().parse_args(arguments))
    name = options.pop("command")
    if options.get("seed", 0) is None:
        # One fixed default would give all subjects of a data set much the same face.
        from RefaceLib.face.seeds import new_seed

        options["seed"] = new_seed(MAX_SEED)
    if name == "image":
        options["apply_to"] = tuple((other, output) for other, output in options["apply_to"])
        return ImageCommand(**options)
    return DemoCommand(**options) if name == "demo" else BenchmarkCommand(**options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv when `argv` is None) and return the exit code; raises nothing."""
    return run_command(PROGRAM, parse, argv)
