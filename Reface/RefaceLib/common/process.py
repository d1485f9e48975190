"""Running one of our command lines in a child process, from a window that must go on living.

The child is `python -m MODULE ... --progress json`: it has its own memory, which is free again when it ends, and it can
be stopped at any moment. Its lines of JSON become calls of `on_progress`; its end becomes one ChildEnd, whose error is
a sentence. Nothing here needs Qt or any package beyond Python's own.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from RefaceLib.common.errors import RefaceError

GRACE = 0.7  # seconds that a child has to clean up before it is killed
_TAIL = 12_000  # characters of the child's output that are kept
_NO_MEMORY = "There was not enough memory: close other programs, or choose a smaller volume."
_LIBRARIES = ("RefaceLib", "ReidentRiskLib")


@dataclass(frozen=True)
class ChildEnd:
    """How a child ended: `error` is one sentence (None after success or a cancel), `output` the end of its output."""

    exit_code: int
    error: str | None
    cancelled: bool
    output: str


# ---- the child ----


class ChildProcess:
    """A child that runs `python -m module arguments --progress json`; callbacks come from poll(), on its thread.

    `on_progress` takes a fraction 0..1 and the name of the stage, `on_done` the ChildEnd, once. `python` is the
    interpreter (in Slicer: PythonSlicer), `environment` what is set in the child besides what is set here.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        module: str,
        on_progress: Callable[[float, str], None],
        on_done: Callable[[ChildEnd], None],
        python: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = [python or sys.executable, "-m", module, *map(str, arguments), "--progress", "json"]
        self._environment = {**_child_environment(), **(environment or {})}
        self._on_progress, self._on_done = on_progress, on_done
        self._process: subprocess.Popen[str] | None = None
        self._readers: list[threading.Thread] = []
        self._lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._output: list[str] = []
        self._last: dict[str, Any] = {}  # the last line of JSON that was no progress
        self._cancelled = False
        self._done = False

    @property
    def running(self) -> bool:
        """True from start() until on_done has been called."""
        return self._process is not None and not self._done

    def start(self) -> None:
        """Start the child; RefaceError when that is not possible."""
        try:
            self._process = process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=self._environment,
                **_own_group(),
            )
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise RefaceError(f"Python cannot be started in a process of its own ({reason}).") from error
        _running.add(self)
        for name, stream in (("out", process.stdout), ("err", process.stderr)):
            self._readers.append(threading.Thread(target=self._read, args=(name, stream), daemon=True))
            self._readers[-1].start()

    def _read(self, name: str, stream: TextIO) -> None:
        with stream, contextlib.suppress(ValueError):  # closed under our feet
            for line in stream:
                self._lines.put((name, line.rstrip("\n")))

    def poll(self) -> bool:
        """Deliver what has come since the last call; True while the child is running."""
        if self._process is None or self._done:
            return False
        ended = self._process.poll() is not None and not any(reader.is_alive() for reader in self._readers)
        self._deliver()
        if ended and not self._done:
            self._done = True
            _running.discard(self)
            self._on_done(self._end(self._process.returncode))
        return self.running

    def _deliver(self) -> None:
        while not self._lines.empty():
            name, line = self._lines.get()
            record = _record(line) if name == "out" else None
            if record is None:
                self._output.append(line)
            elif "progress" not in record:
                self._last = record
            elif not self._cancelled:  # every one: a stage may say what was found
                self._on_progress(float(record["progress"]), str(record.get("stage", "")))

    def cancel(self) -> None:
        """Ask the child, and every process that it has started, to end; they are killed when they do not, GRACE later.

        Returns at once; poll() then delivers a ChildEnd with `cancelled`. Callbacks of progress end here.
        """
        if self._process is None or self._done or self._cancelled:
            return
        self._cancelled = True
        _end_group(self._process)
        timer = threading.Timer(GRACE, _kill_group, [self._process])
        timer.daemon = True
        timer.start()

    def stop(self) -> None:
        """End the child now and wait until it is gone, without any further callback (application exit, scene close)."""
        if self._process is None:
            return
        self._done = self._cancelled = True
        _running.discard(self)
        if self._process.poll() is None or any(reader.is_alive() for reader in self._readers):
            _kill_group(self._process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)

    def _end(self, code: int) -> ChildEnd:
        output = "\n".join(self._output)[-_TAIL:]
        if self._cancelled:
            return ChildEnd(code, None, True, output)
        error = self._last.get("error") if code != 0 or "error" in self._last else None
        if code != 0 and not error:
            error = describe_crash(code, output)
        return ChildEnd(code, str(error) if error else None, False, output)


_running: set[ChildProcess] = set()


@atexit.register
def _stop_all() -> None:
    for child in list(_running):
        child.stop()


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _child_environment() -> dict[str, str]:
    """This process's environment, with which a child imports the same libraries, and speaks UTF-8 at once."""
    specs = [importlib.util.find_spec(name) for name in _LIBRARIES]
    folders = [str(Path(spec.origin).parents[1]) for spec in specs if spec is not None and spec.origin]
    path = [*folders, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }


# ---- its end ----


def describe_crash(code: int, output: str) -> str:
    """One sentence about a child that ended with `code` and told no reason; `output` is the end of what it wrote."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = re.sub(r"^\w+: ", "", lines[-1])[:200] if lines else ""
    missing = re.search(r"No module named '?([\w.]+)'?", output)
    if missing:
        return f"The package {missing[1]} is missing: press Apply again to install it."
    if re.search(r"MemoryError|out of memory|bad_alloc|can't allocate memory", output, re.IGNORECASE):
        return _NO_MEMORY
    number = -code if code < 0 else code - 128 if 128 < code < 160 else 0  # a launcher gives 128 + signal
    if number == 9:
        return f"The computer ended the run. {_NO_MEMORY}"
    if number or code > 0xC0000000:  # a signal, or an exception of Windows
        return f"The run crashed ({_signal_name(number) or hex(code)}): try again with the device 'cpu'."
    return f"The run ended with the exit code {code}" + (f" ({last})." if last else ".")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _own_group() -> dict[str, Any]:
    """PythonSlicer is a launcher: signals must reach the Python that it starts, so both have a group of their own."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def _end_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            os.killpg(process.pid, signal.SIGTERM)


def _kill_group(process: subprocess.Popen[str]) -> None:
    if sys.platform == "win32":
        command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, creationflags=subprocess.CREATE_NO_WINDOW, check=False)
        return
    with contextlib.suppress(OSError):  # the group lives on while one of its processes does
        os.killpg(process.pid, signal.SIGKILL)


# ---- around it ----


class Workspace:
    """A temporary folder for the scans that go to a child and come back; only this user may look into it.

    It is gone after remove(), after a `with` block, when nobody holds it any more, and when the program ends.
    """

    def __init__(self, prefix: str = "reface-") -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))  # made with the permissions 0700
        self._finalizer = weakref.finalize(self, shutil.rmtree, str(self.path), ignore_errors=True)

    def remove(self) -> None:
        self._finalizer()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_error: object) -> None:
        self.remove()


def time_left(fraction: float, seconds: float) -> float | None:
    """Seconds that are left when `fraction` was done in `seconds`; None while it is too early to tell."""
    if fraction < 0.05 or seconds < 2.0:
        return None
    return max(0.0, seconds * (1.0 - min(fraction, 1.0)) / fraction)
