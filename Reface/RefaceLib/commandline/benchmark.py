"""How long a head takes, stage by stage, and how that compares with what the program is meant to need."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.volume import geometry

if TYPE_CHECKING:
    from RefaceLib.pipeline import RefaceResult
    from RefaceLib.volume.io import Volume

SPACING = 1.0  # mm
# Limits for 256 voxels along each axis, models loaded: seconds from array to array, seconds of generation, MB.
LIMITS = {"cpu": (9.0, 3.0, 3072.0), "gpu": (1.0, 0.3, 3072.0)}


def benchmark_volume(source: Volume, size: int) -> Volume:
    """`source` on a RAS grid of `size`^3 voxels of 1 mm around its middle, as int16."""
    from RefaceLib.volume.io import Volume

    middle = geometry.apply_affine(source.affine, (np.array(source.stored.shape) - 1) / 2)
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = middle - (size - 1) / 2 * SPACING
    values = np.nan_to_num(source.values(), nan=0.0, posinf=0.0, neginf=0.0)
    values = geometry.resample(values, source.affine, geometry.Grid((size,) * 3, affine))
    scale = 4000.0 / max(float(np.abs(values).max()), 1e-6)
    return Volume(np.round(values * scale).astype(np.int16), affine)


def run_benchmark(size: int, device: str, head: Path | None) -> list[str]:
    """Reface a head (the demo head when `head` is None) of `size`^3 voxels twice; the lines of the result.

    The first run pays for what is loaded late, so the second one counts.
    """
    from RefaceLib import pipeline
    from RefaceLib.common.demo import demo_head
    from RefaceLib.face.weights import load_models
    from RefaceLib.volume.io import read_volume

    if not 96 <= size <= 512:
        raise InputError(f"A benchmark volume has 96 to 512 voxels along each axis, not {size}.")
    volume = benchmark_volume(read_volume(demo_head() if head is None else head), size)
    options = pipeline.RefaceOptions(device=device)
    start = time.perf_counter()
    models = load_models(device)
    loading = time.perf_counter() - start
    totals = []
    for _ in range(2):
        start = time.perf_counter()
        result = pipeline.reface_volume(volume, options, models=models)
        totals.append(time.perf_counter() - start)
    return summary(size, result, totals, loading)


def summary(size: int, result: RefaceResult, totals: list[float], loading: float) -> list[str]:
    """Lines that tell the seconds of each stage and the ratios to the limits; `totals` are those of the runs."""
    from RefaceLib.commandline.report import peak_rss_mb

    limit_total, limit_generate, limit_memory = LIMITS["cpu" if result.device == "cpu" else "gpu"]
    lines = [f"{size} x {size} x {size} voxels of {SPACING:g} mm on {result.device}"]
    lines.append(f"  {'load models':<16}{loading:8.2f} s")
    lines += [f"  {stage:<16}{seconds:8.2f} s" for stage, seconds in result.seconds.items()]
    lines.append(f"  {'first run':<16}{totals[0]:8.2f} s")
    lines.append(_against("array to array", totals[-1], limit_total, "s"))
    lines.append(_against("generation", result.seconds["generate"], limit_generate, "s"))
    memory = peak_rss_mb()
    if memory is not None:
        lines.append(_against("peak memory", memory, limit_memory, "MB"))
    return lines


def _against(name: str, value: float, limit: float, unit: str) -> str:
    return f"  {name:<16}{value:8.2f} {unit}   {value / limit:.2f} of the limit of {limit:g} {unit}"
