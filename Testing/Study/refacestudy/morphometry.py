"""Brain, grey matter, white matter and CSF of a head, as other people's programs find them.

deepbet's brain mask, N4's bias correction, and a segmenter: Atropos, the HMRF-EM of dipy (the algorithm of FAST), or
FAST itself where FSL is installed. The whole chain runs on every volume, so that what a new face does to any of its
steps shows. Only the box that N4 and the segmenters see is that of the original, with a margin: its size must not
depend on the mask.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib.volume.geometry import voxel_sizes
from refacestudy.measures import dice

RECIPE = 2  # to be raised when the chain changes
CSF, GM, WM = 1, 2, 3
TISSUES = {"csf": CSF, "gm": GM, "wm": WM}
MARGIN_MM = 15.0  # around the original's brain
_LOW, _HIGH = 0.5, 99.0  # percentiles: beyond them a class would land on vessels
_ITERATIONS = 20  # of HMRF
# N4 fits the field to a raster of so many mm, as its default (every fourth voxel) does at 1 mm; at 2 mm the default
# leaves 3,000 voxels, and three voxels of the brain mask move grey matter by 0.4 %. And only on two levels (control
# points 100 mm apart): finer ones fit folds of the cortex, and move it by 0.1 to 0.3 %.
_FIELD_MM, _FIELD_ITERATIONS = 4.0, (50, 50)


# ---- the steps ----


@cache
def _deepbet() -> Any:
    import torch
    from deepbet.bet import BrainExtraction

    torch.set_num_threads(1)
    return BrainExtraction(no_gpu=True)


def brain_mask(image: Any) -> np.ndarray:
    """deepbet's brain (I, J, K) bool of a nibabel image."""
    _, mask, _ = _deepbet().run(image, threshold=0.5)
    return np.asarray(mask.dataobj) > 0


def box_around(mask: np.ndarray, spacing: np.ndarray) -> list[list[int]]:
    """First and last + 1 voxel along each axis of ``mask`` with MARGIN_MM around it."""
    voxels, margin = np.argwhere(mask), np.ceil(MARGIN_MM / spacing).astype(int)
    low = np.maximum(voxels.min(axis=0) - margin, 0)
    high = np.minimum(voxels.max(axis=0) + 1 + margin, mask.shape)
    return [[int(a), int(b)] for a, b in zip(low, high, strict=True)]


def without_bias(values: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """``values`` (I, J, K) after N4 in the mask, clipped to the mask's _LOW to _HIGH percentiles; float32."""
    import ants

    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # more threads, another rounding
    image, inside = (ants.from_numpy(a.astype(np.float32), spacing=spacing.tolist()) for a in (values, mask))
    shrink = max(1, round(_FIELD_MM / float(np.cbrt(np.prod(spacing)))))
    levels = {"iters": list(_FIELD_ITERATIONS), "tol": 1e-7}
    flat = ants.n4_bias_field_correction(image, mask=inside, shrink_factor=shrink, convergence=levels).numpy()
    return np.clip(flat, *np.percentile(flat[mask], (_LOW, _HIGH)))


def atropos(flat: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Labels (I, J, K) uint8 by Atropos: k-means, then a Markov random field."""
    import ants

    image, inside = (ants.from_numpy(a.astype(np.float32), spacing=spacing.tolist()) for a in (flat, mask))
    found = ants.atropos(a=image, x=inside, i="kmeans[3]", m="[0.1,1x1x1]", c="[5,0]")
    return found["segmentation"].numpy().astype(np.uint8)


def hmrf(flat: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Labels (I, J, K) uint8 by dipy's hidden Markov random field and expectation maximisation."""
    from dipy.segment.tissue import TissueClassifierHMRF

    low, high = float(flat[mask].min()), float(flat[mask].max())
    # Tissue from 0.25 on, so that the four first classes part air from tissue; and air that is nowhere exactly 0,
    # to which dipy would add noise of its own.
    air = 1e-3 * (1.0 + np.random.default_rng(0).random(flat.shape))
    scaled = np.where(mask, 0.25 + 0.75 * (flat - low) / (high - low), air)
    _, labels, _ = TissueClassifierHMRF(verbose=False).classify(
        scaled.astype(float), 3, 0.1, tolerance=1e-4, max_iter=_ITERATIONS
    )
    return np.where(mask, labels, 0).astype(np.uint8)


def fast(flat: np.ndarray, mask: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Labels (I, J, K) uint8 by FSL's FAST, where it is installed (FSL is for non-commercial use only)."""
    import nibabel as nib

    if shutil.which("fast") is None:
        raise FileNotFoundError("FSL is not on this computer, so FAST cannot run.")
    affine = np.diag([*spacing, 1.0])
    with tempfile.TemporaryDirectory() as folder:
        brain = Path(folder) / "brain.nii.gz"
        nib.save(nib.Nifti1Image(np.where(mask, flat, 0).astype(np.float32), affine), brain)
        # no bias correction (-N): N4 has done that
        subprocess.run(["fast", "-N", "-o", str(Path(folder) / "fast"), str(brain)], check=True, capture_output=True)
        return np.asarray(nib.load(Path(folder) / "fast_seg.nii.gz").dataobj).astype(np.uint8)


SEGMENTERS = {"atropos": atropos, "hmrf": hmrf, "fast": fast}


# ---- a volume ----


def segment(path: Path, segmenters: list[str], box: list[list[int]] | None = None) -> dict[str, Any]:
    """Brain mask and labels of a volume, cut to ``box`` (default: its own), and the seconds of each step.

    The result holds "box", "spacing", "brain" (bool), a label array by each segmenter's name, "errors" by name, and
    "seconds".
    """
    import nibabel as nib

    image = nib.load(path)
    spacing = voxel_sizes(image.affine)
    start = time.perf_counter()
    brain = brain_mask(image)
    seconds = {"brain": time.perf_counter() - start}
    outside = int(brain.sum())
    box = box or box_around(brain, spacing)
    cut = tuple(slice(*ends) for ends in box)
    values = np.nan_to_num(np.asarray(image.dataobj, np.float32))[cut]
    brain = brain[cut]
    result: dict[str, Any] = {"box": box, "spacing": spacing, "brain": brain, "errors": {}}
    result["brain_outside_box"] = outside - int(brain.sum())
    start = time.perf_counter()
    flat = without_bias(values, brain, spacing)
    seconds["n4"] = time.perf_counter() - start
    for name in segmenters:
        start = time.perf_counter()
        try:
            result[name] = SEGMENTERS[name](flat, brain, spacing)
            if set(np.unique(result[name][brain])) - {0} != set(TISSUES.values()):
                raise RuntimeError("The segmenter did not find three tissues.")
        except Exception as error:  # the other segmenter may do
            result.pop(name, None)
            result["errors"][name] = f"{error}"
        seconds[name] = time.perf_counter() - start
    result["seconds"] = seconds
    return result


def compared(found: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    """Volumes in ml, their change in % against ``first`` (of the original) and Dice, by segmenter and tissue.

    Keys are ``brain_ml``, ``brain_change``, ``brain_dice`` and ``<segmenter>_<tissue>_<measure>``.
    """
    voxel = float(np.prod(found["spacing"])) / 1000.0
    row: dict[str, Any] = {}
    pairs = {"brain": (found["brain"], first["brain"])}
    for segmenter in SEGMENTERS:
        if segmenter in found and segmenter in first:
            for tissue, label in TISSUES.items():
                pairs[f"{segmenter}_{tissue}"] = (found[segmenter] == label, first[segmenter] == label)
    for name, (now, before) in pairs.items():
        row[f"{name}_ml"] = float(now.sum()) * voxel
        row[f"{name}_change"] = change(now, before)
        row[f"{name}_dice"] = dice(now, before)
    row["errors"] = found["errors"]
    row["seconds"] = found["seconds"]
    row["brain_outside_box"] = found["brain_outside_box"]
    return row


def change(now: np.ndarray, before: np.ndarray) -> float:
    """Change of the volume (number of voxels) in %; NaN where there was none."""
    return 100.0 * (float(now.sum()) / float(before.sum()) - 1.0) if before.any() else float("nan")


def save(path: Path, found: dict[str, Any]) -> None:
    """Keep the original's masks for the comparisons."""
    labels = {name: found[name] for name in SEGMENTERS if name in found}
    np.savez_compressed(path, brain=found["brain"], box=np.array(found["box"]), **labels)


def load(path: Path) -> dict[str, Any]:
    with np.load(path) as content:
        return {name: content[name] for name in content.files}
