"""What was done to a head, and in how much time and memory: the report that is written as JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import RefaceLib
from RefaceLib.common.files import plain
from RefaceLib.common.hashing import sha256_if_file

if TYPE_CHECKING:
    from RefaceLib.pipeline import RefaceResult
    from RefaceLib.volume.io import Volume

STAGES = ("read", "conform", "parse", "mask", "generate", "blend", "check", "write", "total")


def build_report(
    result: RefaceResult,
    *,
    input: str,
    output: str,
    seconds: Mapping[str, float],
    output_file: str | Path | None = None,
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """The report of one run, ready for JSON.

    `input` and `output` are names for the reader; when they are files, their SHA-256 is in the report. `output_file` is
    where the bytes of `output` are while it has not got its name yet. `seconds` (stages around the pipeline: read,
    write, total) is merged with the pipeline's own. `warnings` are put before those of the result.
    """
    counts = {key: plain(value) for key, value in result.counts.items()}
    return {
        **_about_files(input, output, output_file),
        "mode": result.mode,
        "seed": int(result.seed),
        "ears": bool(result.ears),
        "model": dict(result.model),
        "device": result.device,
        "voxels_changed": counts.pop("voxels_changed", None),
        "voxels_changed_outside_mask": counts.pop("voxels_changed_outside_mask", None),
        "brain_voxels_changed": counts.pop("brain_voxels_changed", None),
        "mask_ml": counts.pop("mask_ml", None),
        **counts,
        "seconds": _ordered_seconds({**result.seconds, **seconds}),
        "peak_rss_mb": peak_rss_mb(),
        "warnings": list(dict.fromkeys((*warnings, *result.warnings))),
    }


def build_applied_report(
    result: RefaceResult,
    other: Volume,
    counts: Mapping[str, int],
    *,
    input: str,
    output: str,
    mask_from: str,
    output_file: str | Path | None = None,
) -> dict[str, Any]:
    """The report of a coregistered volume that was defaced with the mask of `result`, the head named `mask_from`.

    `counts` are those of RefaceLib.face.promise.
    """
    return {
        **_about_files(input, output, output_file),
        "mode": "apply-to",
        "mask_from": mask_from,
        "ears": bool(result.ears),
        "model": {"name": "none"},
        **counts,
        "warnings": list(other.warnings),
    }


def _about_files(input: str, output: str, output_file: str | Path | None) -> dict[str, Any]:
    """How every report begins."""
    return {
        "reface_version": RefaceLib.__version__,
        "input": input,
        "input_sha256": sha256_if_file(input),
        "output": output,
        "output_sha256": sha256_if_file(output_file or output),
    }


def peak_rss_mb() -> float | None:
    """Largest memory that this process has had so far, in MB (2**20 bytes); None where the system does not tell."""
    try:
        if sys.platform == "win32":
            return round(_windows_peak_bytes() / 2**20, 1)
        import resource
    except (ImportError, OSError):
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)  # macOS counts bytes, Linux KB


if sys.platform == "win32":

    def _windows_peak_bytes() -> int:
        import ctypes
        from ctypes import wintypes

        class Counters(ctypes.Structure):  # PROCESS_MEMORY_COUNTERS
            _fields_ = [("cb", wintypes.DWORD), ("faults", wintypes.DWORD)] + [
                (name, ctypes.c_size_t) for name in ("peak", "now", "q1", "q2", "q3", "q4", "pagefile", "peak_pagefile")
            ]

        counters = Counters()
        counters.cb = ctypes.sizeof(counters)
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        query = kernel.K32GetProcessMemoryInfo
        query.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
        if not query(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
            raise OSError(ctypes.get_last_error(), "GetProcessMemoryInfo")
        return counters.peak


def _ordered_seconds(seconds: Mapping[str, float]) -> dict[str, float]:
    """Stages in the order of the work, others before the total."""
    order = {stage: index for index, stage in enumerate(STAGES)}
    stages = sorted(seconds, key=lambda stage: order.get(stage, order["total"] - 0.5))
    return {stage: round(float(seconds[stage]), 3) for stage in stages}
