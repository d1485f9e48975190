"""How a command line of the extension runs: its errors as one sentence, its exit codes, the options of every command.

Exit codes: 0 for success, 1 for an error of the program or too little memory, 2 for input or options that cannot be
used, 130 when stopped, 141 when nobody reads the output any more. With REFACE_DEBUG=1 in the environment, errors of the
program come with a traceback.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Protocol

from RefaceLib.common.console import print_any_name, write_json_line
from RefaceLib.common.errors import CancelledError, InputError, RefaceError
from RefaceLib.common.options import DEVICES, PROGRESS_MODES


class Command(Protocol):
    """A sub-command with its options; `stopped` is what is said when it is interrupted.

    Where it has a `progress` (one of PROGRESS_MODES) that is "json", an error is told to the parent process as well.
    """

    @property
    def stopped(self) -> str: ...

    def run(self) -> int: ...


# ---- options ----


class Parser(argparse.ArgumentParser):
    """Raises its errors instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see '{self.prog} --help').")


def add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where the networks run (%(default)s)")


def add_progress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--progress",
        choices=PROGRESS_MODES,
        default="auto",
        help="auto: a bar on a terminal, else lines; json: lines of JSON; none: nothing",
    )


def add_running(parser: argparse.ArgumentParser) -> None:
    """The options of every sub-command that runs networks and writes files: device, overwrite, progress."""
    add_device(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace earlier outputs of this program")
    add_progress(parser)


# ---- running ----


def run_command(program: str, parse: Callable[[Sequence[str]], Command], argv: Sequence[str] | None = None) -> int:
    """Run what `parse` makes of `argv` (None: sys.argv) and return the exit code; raises nothing.

    `parse` raises InputError for options that cannot be understood, SystemExit after --help and --version. `program` is
    the name that stands before an error.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    command: Command | None = None
    print_any_name()
    atexit.register(gc.freeze)  # on leaving, Python would search all of PyTorch for garbage: 0.4 s
    # Before PyTorch is loaded: its threads sleep until there is work, where they would keep the processors busy.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with _terminated_as_interrupted():
            command = parse(arguments)
            return command.run()
    except SystemExit as leaving:  # --help and --version
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except (KeyboardInterrupt, CancelledError):
        return _fail(program, command, command.stopped if command else "stopped", 130)
    except BrokenPipeError:  # as `reface demo out | head -1`: nobody reads on, and nobody would read of an error
        with contextlib.suppress(OSError, ValueError):  # what is still in the buffer must not fail at the exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return _fail(program, command, sentence_of(error), 2 if isinstance(error, RefaceError) else 1)


def sentence_of(error: Exception) -> str:
    """One sentence about any error: that of a RefaceError, else that the program failed, with a traceback on demand."""
    if isinstance(error, RefaceError):
        return " ".join(str(error).split())
    if os.environ.get("REFACE_DEBUG") == "1":
        traceback.print_exception(error)
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text.lower():
        return "There is not enough memory for this volume, and nothing was written: close other programs."
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("RefaceLib"):
        return f"The package {error.name} is missing: install it with pip."
    kind = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return f"The program failed ({kind[:200]}): please report this, with what REFACE_DEBUG=1 shows."


def _fail(program: str, command: Command | None, sentence: str, code: int) -> int:
    sentence = " ".join(sentence.split())
    print(f"{program}: {sentence}", file=sys.stderr)
    if getattr(command, "progress", None) == "json":
        write_json_line(sys.stdout, {"error": sentence, "exit_code": code})
    return code


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
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
