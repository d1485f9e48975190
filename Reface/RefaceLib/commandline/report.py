"""What was done to a head, and in how much time and memory: the report that is written as JSON, and its summary.

The report of an output can be published with it: it holds nothing of the input but counts. Which scan became which
output stands in the private report alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import RefaceLib
from RefaceLib.common.files import plain
from RefaceLib.common.steps import with_names

if TYPE_CHECKING:
    from RefaceLib.companion import CompanionResult
    from RefaceLib.pipeline import RefaceResult

REPORT_VERSION = 2  # of the keys and what they mean
STAGES = ("read", "conform", "parse", "mask", "generate", "blend", "check", "write", "total")


def build_report(
    result: RefaceResult,
    *,
    output: str,
    output_sha256: str | None,
    seconds: Mapping[str, float],
    also_written: Sequence[Mapping[str, str]] = (),
    warnings: Iterable[str] = (),
) -> dict[str, Any]:
    """The report of one run, ready for JSON.

    `output` is the name of the file, without its folder, and `also_written` the name and sha256 of the others.
    `seconds` (stages around the pipeline: read, write, total) is merged with the pipeline's own. `warnings` are all of
    the run, as they may be published.
    """
    counts = {key: plain(value) for key, value in result.counts.items()}
    drawn = {} if result.mode == "deface" else {"seed": int(result.seed), "draws": int(result.draws)}
    return {
        **_beginning(output, output_sha256),
        "mode": result.mode,
        **drawn,
        "ears": bool(result.ears),
        "model": dict(result.model),
        "device": result.device,
        "voxels_changed": counts.pop("voxels_changed", None),
        "voxels_changed_outside_mask": counts.pop("voxels_changed_outside_mask", None),
        "brain_voxels_changed": counts.pop("brain_voxels_changed", None),
        "brain_voxels": int(np.count_nonzero(result.brain)),
        "mask_ml": counts.pop("mask_ml", None),
        **counts,
        "face_removed": dict(result.face_removed),
        "also_written": [dict(entry) for entry in also_written],
        "seconds": _ordered_seconds({**result.seconds, **seconds}),
        "peak_rss_mb": peak_rss_mb(),
        "warnings": list(dict.fromkeys(warnings)),
    }


def build_applied_report(
    done: CompanionResult | RefaceResult,
    *,
    ears: bool,
    output: str,
    output_sha256: str | None,
    mask_from: str | None,
    also_written: Sequence[Mapping[str, str]] = (),
    warnings: Iterable[str] = (),
) -> dict[str, Any]:
    """The report of a volume that was defaced beside another one of its session.

    `mask_from` is the name of that one's output, None where the volume was defaced by itself and is registered with
    none; `ears` says whether the ears went too; the rest is as of `build_report`.
    """
    return {
        **_beginning(output, output_sha256),
        "mode": "apply-to",
        "mask_from": mask_from,
        "ears": ears,
        "model": {"name": "none"},
        **{key: plain(value) for key, value in done.counts.items()},
        "face_removed": dict(done.face_removed),
        "registered_mm": getattr(done, "registered_mm", None),
        "registered_degrees": getattr(done, "registered_degrees", None),
        "also_written": [dict(entry) for entry in also_written],
        "warnings": list(dict.fromkeys(warnings)),
    }


def build_refused_report(error: str, *, output: str) -> dict[str, Any]:
    """The report of a volume that could not be defaced beside another one: the sentence says why it was left out."""
    return {**_beginning(output, None), "mode": "apply-to", "error": error}


def build_private_report(heads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What only those may have who have the scans: the paths and hashes of inputs and outputs, by head."""
    return {
        "report_version": REPORT_VERSION,
        "reface_version": RefaceLib.__version__,
        "private": "This file names scans of persons: keep it as safe as the scans.",
        "heads": list(heads),
    }


def _beginning(output: str, output_sha256: str | None) -> dict[str, Any]:
    """How every public report begins."""
    return {
        "report_version": REPORT_VERSION,
        "reface_version": RefaceLib.__version__,
        "output": output,
        "output_sha256": output_sha256,
    }


def unnamed(sentences: Iterable[str], inputs: Iterable[Path]) -> list[str]:
    """The sentences without the paths and names of the inputs, which may tell who was scanned."""
    names = {text: "the input" for path in inputs for text in (str(path), path.name) if text}
    return [with_names(sentence, names) for sentence in sentences]


def summary(report: Mapping[str, Any]) -> str:
    """One line about a head: what became of its face, and of its brain."""
    mode, tissue = report["mode"], f"{report['tissue_ml']:,.0f} ml of tissue"
    if mode == "deface":
        face = f"Face removed: {tissue}"
    elif mode == "recover":
        face = f"New face of seed {report['seed']} in a missing region of {report['mask_ml']:,.0f} ml"
    else:
        face = f"New face of seed {report['seed']} in place of {tissue}"
    return f"{face}; {report['brain_voxels_changed']:,} of {report['brain_voxels']:,} brain voxels changed"


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
