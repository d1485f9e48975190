"""The oracle: another person's real face in a head, which is what a perfect anonymiser would reach.

Forehead and the shape of the head stay, as they do for every method; so even a real stranger's face is more similar
to the head's own than chance. The stranger's head is laid over the head by the brain, and bent so that its skin meets
the skin outside the mask, as smoothly as that allows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from RefaceLib.head import canonical
from RefaceLib.volume import geometry
from RefaceLib.volume.io import read_volume, write_volume
from refacestudy import measures

SPACING = 2.0  # mm of the raster of the bend
CLIP = 16.0  # mm: distances to the skin beyond it are not used
LONGEST = 12.0  # mm by which the skin is moved at most
REACH = 10.0  # mm: how smoothly the bend goes on into the mask
NEAR = 25.0  # mm from the mask: skin that has a say


def make(job: dict[str, Any]) -> dict[str, Any]:
    """Put the donor's face into the mask of the head; the job's paths: source, out, mask, pose, donor, donor_pose."""
    volume, donor = read_volume(Path(job["source"])), read_volume(Path(job["donor"]))
    mask = np.asarray(read_volume(Path(job["mask"])).stored) > 0
    frame, donor_frame = (np.load(job[name])["frame"] for name in ("pose", "donor_pose"))
    values, face = np.nan_to_num(volume.values()), np.nan_to_num(donor.values())
    level, donor_level = (measures.skin_level(v, a) for v, a in ((values, volume.affine), (face, donor.affine)))
    own, other = (
        _skin_depth(v, a, limit, f)
        for v, a, limit, f in ((values, volume.affine, level, frame), (face, donor.affine, donor_level, donor_frame))
    )
    box = canonical.box(SPACING)
    hidden = geometry.resample(mask.astype(np.float32), volume.affine, geometry.Grid(box.shape, frame @ box.affine))
    field = bend_to_meet(own, other, hidden > 1e-3)
    stored = volume.stored.copy()
    warped = _sample(face, donor.affine, donor_frame, field, box, np.argwhere(mask), volume.affine, frame)
    factor = _tissue(values, level, mask) / _tissue(face, donor_level, None)
    stored[mask] = volume.codec.to_stored(warped * factor)
    write_volume(Path(job["out"]), volume, stored)
    return {"donor": Path(job["donor"]).name.removesuffix("_T1w.nii.gz")}


def bend_to_meet(own: np.ndarray, other: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Where to sample ``other`` so that its skin lies on the skin of ``own`` outside ``hidden``: (3, X, Y, Z) mm.

    ``own`` and ``other`` are signed distances to the skin (mm, positive inside) on one raster of SPACING.
    """
    away = ndimage.distance_transform_edt(~hidden, sampling=SPACING)
    sure = (~hidden & (away < NEAR) & (np.abs(own) < np.minimum(away, CLIP)) & (np.abs(other) < CLIP)).astype(
        np.float32
    )
    error = np.clip(own - other, -LONGEST, LONGEST) * sure
    sigma = REACH / SPACING
    spread = ndimage.gaussian_filter(sure, sigma)
    smooth = ndimage.gaussian_filter(error, sigma) / (spread + 0.02)
    slope = np.stack(np.gradient(ndimage.gaussian_filter(other, 1.5), SPACING))
    steepness = np.sqrt((slope**2).sum(axis=0))
    return smooth * slope / np.maximum(steepness, 0.5)


def _skin_depth(values: np.ndarray, affine: np.ndarray, level: float, frame: np.ndarray) -> np.ndarray:
    """Signed distance to the skin in canonical mm on the canonical box."""
    box = canonical.box(SPACING)
    head = measures.solid_head(values, affine, level).astype(np.float32)
    inside = geometry.resample(head, affine, geometry.Grid(box.shape, frame @ box.affine)) > 0.5
    outer, inner = (ndimage.distance_transform_edt(part, sampling=SPACING) for part in (~inside, inside))
    return np.clip(inner - outer, -CLIP, CLIP).astype(np.float32)


def _sample(
    face: np.ndarray, donor_affine: np.ndarray, donor_frame: np.ndarray, field: np.ndarray, box: geometry.Grid,
    voxels: np.ndarray, affine: np.ndarray, frame: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """The donor's values at ``voxels`` (N, 3) of the head, through both canonical frames and the bend."""
    places = geometry.apply_affine(np.linalg.inv(frame) @ affine, voxels)
    raster = geometry.apply_affine(np.linalg.inv(box.affine), places).T
    places += np.stack([ndimage.map_coordinates(part, raster, order=1, mode="nearest") for part in field], axis=1)
    index = geometry.apply_affine(np.linalg.inv(donor_affine) @ donor_frame, places).T
    return ndimage.map_coordinates(face, index, order=1, mode="constant")


def _tissue(values: np.ndarray, level: float, mask: np.ndarray | None) -> float:
    """The median of a head's tissue, outside the mask where there is one."""
    chosen = values > level
    return float(np.median(values[chosen if mask is None else chosen & ~mask]))
