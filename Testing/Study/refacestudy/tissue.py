"""Compares painted tissue with true tissue: how much, how bright at which depth, how varied, in how fine detail.

    PYTHONPATH=Testing/Study python -m refacestudy.tissue HEADS [--ids ID ...] [--limit N] [--models FOLDER] [--jobs N]

HEADS holds heads ``<id>_T1w.nii.gz``. Without ``--ids``, N of them (default 24) that are on neither list of the
training (validation.txt, excluded.txt), coarse and fine ones by turns. Every head is refaced once, without its ears,
and what lies in the mask is measured before and after. The constants skin_curve and contrast_offsets of the
weights' registry were set by these tables. For other weights they must be fitted again. The validation list is left
out so that its heads stay unseen.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from scipy import ndimage

from RefaceLib import pipeline
from RefaceLib.face.intensity import IntensityScale
from RefaceLib.face.weights import load_models
from RefaceLib.training import heads
from RefaceLib.volume import geometry
from RefaceLib.volume.air import measure_air
from RefaceLib.volume.io import read_volume
from refacestudy import check_heads, measures

DEPTHS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)  # mm under the skin
QUANTILES = (5, 10, 25, 50, 75, 90, 97)
SCALES = (0.8, 1.6, 3.2, 6.4)  # mm: what is finer than the first, between the first and the second, ...
DEEP_MM = 3.0  # from here on tissue is under the skin
FINE_MM = 1.5  # voxels below it are fine
_FEWEST = 200  # voxels


@dataclass(frozen=True, eq=False)
class Tissue:
    """Of one face, in units of white matter: mean ``profile`` (len(DEPTHS) - 1,) by depth, ``quantiles`` from DEEP_MM
    on, and there the ``contrast`` (len(SCALES),), root mean square of the detail of each scale. NaN: too few voxels.
    And its ``size`` (1,): the solid head in the region, ml."""

    profile: np.ndarray
    quantiles: np.ndarray
    contrast: np.ndarray
    size: np.ndarray


def tissue_of(picture: np.ndarray, solid: np.ndarray, region: np.ndarray, affine: np.ndarray) -> Tissue:
    """Measure the ``region`` (bool) of a ``picture`` (I, J, K; 0 air, 1 white matter) of a ``solid`` head (bool)."""
    sizes = geometry.voxel_sizes(affine)
    depth = ndimage.distance_transform_edt(solid, sampling=sizes) - sizes.min() / 2
    profile = [
        float(picture[at].mean()) if at.sum() >= _FEWEST else np.nan
        for low, high in zip(DEPTHS[:-1], DEPTHS[1:], strict=True)
        for at in [region & solid & (depth >= low) & (depth < high)]
    ]
    size, profile = np.array([(region & solid).sum() * np.prod(sizes) / 1000]), np.array(profile)
    deep = region & solid & (depth >= DEEP_MM)
    if deep.sum() < _FEWEST:
        return Tissue(profile, np.full(len(QUANTILES), np.nan), np.full(len(SCALES), np.nan), size)
    return Tissue(profile, np.percentile(picture[deep], QUANTILES), contrast(picture, deep, sizes), size)


def contrast(picture: np.ndarray, where: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Root mean square (len(SCALES),) of a ``picture``'s detail between each of SCALES and the one before.

    Means are taken of ``where`` (bool) alone, so that air and skin have no say. NaN for a scale that the voxels
    (``sizes``, mm) cannot show.
    """
    weight, before, found = where.astype(np.float32), picture, []
    for scale in SCALES:
        if scale < 0.4 * sizes.min():
            found.append(np.nan)
            continue
        there, near = (ndimage.gaussian_filter(a, scale / sizes) for a in (picture * weight, weight))
        smooth = there / np.maximum(near, 1e-3)
        found.append(float(np.sqrt(((before - smooth)[where] ** 2).mean())))
        before = smooth
    return np.array(found)


def of_head(path: Path, models: Path | None) -> tuple[float, Tissue, Tissue]:
    """Spacing (mm) of a head, its true tissue in the mask, and the painted."""
    volume = read_volume(path)
    options = pipeline.RefaceOptions(seed=zlib.crc32(path.name.encode()), ears=False, device="cpu")
    result = pipeline.reface_volume(volume, options, models=load_models("cpu", models))
    before = np.nan_to_num(volume.values())
    after = np.where(result.mask, volume.codec.to_values(result.stored), before)
    scale = IntensityScale.of(before, result.brain, measure_air(before))
    level = measures.skin_level(before, volume.affine)
    faces = [
        tissue_of(
            scale.normalise(values), measures.solid_head(values, volume.affine, level), result.mask, volume.affine
        )
        for values in (before, after)
    ]
    return float(geometry.voxel_sizes(volume.affine).max()), faces[0], faces[1]


def chosen(folder: Path, ids: Sequence[str] | None, limit: int) -> list[Path]:
    """The heads to measure, coarse and fine ones by turns where none are named."""
    found = {heads.head_id(path): path for path in heads.all_heads(folder)}
    if ids:
        unknown = sorted(set(ids) - set(found))
        if unknown:
            raise SystemExit(f"There is no head {', '.join(unknown)} below {folder}: check the names.")
        return [found[name] for name in ids]
    free = [path for name, path in found.items() if name not in heads.validation_ids() | heads.excluded_ids()]
    fine = [path for path in heads.fine_heads(folder, FINE_MM) if path in free]
    coarse = [path for path in free if path not in fine]
    turns = chain.from_iterable(zip_longest(coarse[:: max(1, len(coarse) // limit)], fine))
    return [path for path in turns if path is not None][:limit]


def table(found: Sequence[tuple[Tissue, Tissue]]) -> list[str]:
    """The lines of the tables of one group of heads, (true, painted) each: medians over the heads."""
    lines = []
    for name, columns in (
        ("profile", [f"{low:g}-{high:g} mm" for low, high in zip(DEPTHS[:-1], DEPTHS[1:], strict=True)]),
        ("quantiles", [f"{q} %" for q in QUANTILES]),
        ("contrast", [f"to {scale} mm" for scale in SCALES]),
        ("size", ["ml"]),
    ):
        true, painted = (np.array([getattr(pair[side], name) for pair in found]) for side in (0, 1))
        rows = (("true", true), ("painted", painted), ("painted less true", painted - true))
        lines += [f"| {name} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
        lines += [f"| {what} | {' | '.join(_median(column) for column in a.T)} |" for what, a in rows]
        lines.append("")
    return lines


def _median(column: np.ndarray) -> str:
    """The median of what are numbers; nothing where none is, as of a scale that the voxels cannot show."""
    numbers = column[np.isfinite(column)]
    return f"{np.median(numbers):.2f}" if numbers.size else ""


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m refacestudy.tissue", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("heads", type=Path, metavar="HEADS", help="folder of heads, searched to its depth")
    parser.add_argument("--ids", nargs="+", metavar="ID", help="these heads only")
    parser.add_argument("--limit", type=int, default=24, metavar="N", help="number of heads (default 24)")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="other weights, as 'reface train' writes them")
    parser.add_argument("--jobs", type=int, default=max(1, os.cpu_count() or 1), help="processes (default: the cores)")
    options = parser.parse_args(given)
    paths = chosen(options.heads, options.ids, options.limit)
    if not paths:
        print(f"No heads <id>_T1w.nii.gz were found below {options.heads}.", file=sys.stderr)
        return 2
    fresh = multiprocessing.get_context("spawn")  # a forked PyTorch may hang
    with ProcessPoolExecutor(options.jobs, mp_context=fresh, initializer=check_heads.one_thread) as pool:
        measured = list(pool.map(partial(of_head, models=options.models), paths))
    for title, fine in (("finer than 1.5 mm", True), ("1.5 mm and coarser", False)):
        group = [(true, painted) for spacing, true, painted in measured if (spacing < FINE_MM) == fine]
        if group:
            print("\n".join([f"{len(group)} heads, {title}", "", *table(group)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
