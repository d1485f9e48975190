"""Why no head was found, where the volume itself tells."""

from __future__ import annotations

import numpy as np

from RefaceLib.head.fieldofview import DIM, is_cut
from RefaceLib.volume import geometry
from RefaceLib.volume.air import Air

_SHORTEST_MM = 80.0  # of a field of view that shows enough of a brain
_PADDED = 0.6  # of all voxels
_NOISY = 0.15  # of bright tissue
_UNRELATED = 0.3  # correlation of neighbours along some axis; in noisy heads of thick slices it is above 0.6
# Tissue: a newborn's head has more than the least, a head with neck and shoulders less than the most.
_LEAST_TISSUE_ML, _MOST_TISSUE_ML = 700.0, 15000.0

CUT = (
    "The field of view cuts through the brain, so that the place of the face is not certain: give a volume of the "
    "whole head, and this one as its companion."
)


def cause(values: np.ndarray, affine: np.ndarray, air: Air) -> str | None:
    """What keeps a head in ``values`` (I, J, K; IJK -> RAS mm by ``affine``) from being found; None where nothing does.

    Part of a sentence: the field of view, padding, noise, nothing but noise, too little tissue or too much, or a
    head that is cut.
    """
    extent = geometry.voxel_sizes(affine) * values.shape
    some = values[::2, ::2, ::2]
    bright = float(np.percentile(some, 98)) - air.level
    if extent.min() < _SHORTEST_MM:
        shown = " x ".join(f"{length:.3g}" for length in extent)
        return f"it shows only {shown} mm; give a volume of the whole head"
    if air.padding is not None and (padded := float((some == air.padding).mean())) > _PADDED:
        return f"{padded:.0%} of it is padding ({air.padding:g})"
    if air.noise > _NOISY * bright:
        return f"its air is too noisy ({air.noise / max(bright, air.noise):.0%} of bright tissue)"
    if _likeness_of_neighbours(values) < _UNRELATED:
        return "it shows nothing but noise, since its voxels are not like their neighbours; give a head MRI"
    tissue_ml = float((values - air.level > DIM * bright).sum() * abs(np.linalg.det(affine[:3, :3])) / 1000)
    if not _LEAST_TISSUE_ML < tissue_ml < _MOST_TISSUE_ML:
        than = "less" if tissue_ml < _LEAST_TISSUE_ML else "more"
        return f"it holds {tissue_ml:.0f} ml of tissue, {than} than a head; check the size of the voxels in its header"
    if is_cut(values, affine, air):
        return "its field of view cuts through the head, and not at the neck alone; give a volume of the whole head"
    return None


def _likeness_of_neighbours(values: np.ndarray) -> float:
    """The correlation of voxels with the next ones, along the axis on which it is largest."""
    lines = (np.moveaxis(values, axis, 0) for axis in range(3))
    with np.errstate(invalid="ignore"):  # of voxels of one value, which are no noise
        likeness = [np.corrcoef(line[:-1:2].ravel(), line[1::2].ravel())[0, 1] for line in lines]
    return float(np.nan_to_num(likeness, nan=1.0).max())
