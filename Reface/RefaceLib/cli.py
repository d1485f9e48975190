"""The command line: `reface image`, `reface demo`, `reface benchmark`, `reface train`.

Exit codes: 0 when every promise held, 1 for an error of the program or too little memory, 2 for input or options that
cannot be used, 130 when stopped. An error is one sentence on stderr; with REFACE_DEBUG=1 in the environment, errors of
the program come with a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from RefaceLib import __version__
from RefaceLib.commands import BenchmarkCommand, DemoCommand, ImageCommand, TrainCommand
from RefaceLib.console import PROGRESS_MODES, write_json_line
from RefaceLib.errors import CancelledError, InputError, RefaceError

MODES = ("reface", "deface", "recover")  # as in pipeline and inference, which --help need not load
DEVICES = ("auto", "cpu", "cuda", "mps")
MAX_SEED = 2**32 - 1

Command = ImageCommand | DemoCommand | BenchmarkCommand | TrainCommand


# ---- options ----


class Parser(argparse.ArgumentParser):
    """Raises its errors instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see '{self.prog} --help').")


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise argparse.ArgumentTypeError(f"a seed is a whole number from 0 to {MAX_SEED}, not {text!r}")
    return seed


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="reface", description="Replace the face in a head MRI; leave every other voxel as it was.")
    parser.add_argument("--version", action="version", version=f"reface {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_image(commands.add_parser("image", help="reface one volume"))

    demo = commands.add_parser("demo", help="reface a real head that is downloaded once")
    demo.add_argument("folder", type=Path, metavar="OUTDIR")
    _add_common(demo)

    benchmark = commands.add_parser("benchmark", help="measure the seconds of every stage")
    benchmark.add_argument("--size", type=int, default=256, metavar="N", help="voxels along each axis (%(default)s)")
    benchmark.add_argument("--device", choices=DEVICES, default="auto")
    benchmark.add_argument("--input", type=Path, metavar="FILE", help="a head of your own instead of the demo head")

    commands.add_parser("train", help="train the networks; see 'reface train --help'")
    return parser


def _add_image(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="INPUT", help="NIfTI, NRRD or MGZ volume")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="in the input's format; a report is put beside it")
    parser.add_argument("--mode", choices=MODES, default="reface", help="recover: the head is defaced already")
    parser.add_argument("--no-ears", dest="ears", action="store_false", help="leave the ears")
    parser.add_argument("--mask-out", type=Path, metavar="FILE", help="write the mask of the replaced voxels")
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
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument("--progress", choices=PROGRESS_MODES, default="auto", help="auto: a bar on a terminal")


def parse(arguments: Sequence[str]) -> Command:
    """The command that `arguments` ask for; InputError when they cannot be understood, SystemExit after --help."""
    if arguments[:1] == ["train"]:  # its options are its own
        return TrainCommand(tuple(arguments[1:]))
    options = vars(build_parser().parse_args(arguments))
    name = options.pop("command")
    if options.get("seed", 0) is None:
        # One fixed default would give all subjects of a data set much the same face.
        options["seed"] = secrets.randbelow(MAX_SEED + 1)
    if name == "image":
        options["apply_to"] = tuple((other, output) for other, output in options["apply_to"])
        return ImageCommand(**options)
    return DemoCommand(**options) if name == "demo" else BenchmarkCommand(**options)


# ---- running ----


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line (sys.argv when `argv` is None) and return the exit code; raises nothing."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command: Command | None = None
    try:
        with terminated_as_interrupted():
            command = parse(arguments)
            return command.run()
    except SystemExit as leaving:  # --help and --version
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except (KeyboardInterrupt, CancelledError):
        return _fail(command, command.stopped if command else "stopped", 130)
    except RefaceError as error:
        return _fail(command, str(error), 2)
    except Exception as error:  # anything else is an error of the program; the user still gets a sentence
        if os.environ.get("REFACE_DEBUG") == "1":
            traceback.print_exc()
        return _fail(command, unexpected(error), 1)


def unexpected(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text.lower():
        return "There is not enough memory for this volume, and nothing was written: close other programs."
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("RefaceLib"):
        return f"The package {error.name} is missing: install it with pip."
    kind = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"The program failed ({kind[:200]}): please report this, with what REFACE_DEBUG=1 shows."


def _fail(command: Command | None, sentence: str, code: int) -> int:
    sentence = " ".join(sentence.split())
    print(f"reface: {sentence}", file=sys.stderr)
    if getattr(command, "progress", None) == "json":
        write_json_line(sys.stdout, {"error": sentence, "exit_code": code})
    return code


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, by which a parent process stops this one, cleans up as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


if __name__ == "__main__":
    sys.exit(main())
