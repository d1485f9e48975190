"""A statistical model of head shape in the canonical box: where a code becomes a face's surface.

Shape is the signed distance to the skin (mm, positive inside the head, clipped), which the model holds as a mean and
principal components over real heads (a probabilistic PCA: codes are standard normal). A face is drawn from the model
given only the skin that lies outside the mask, as a sample of the posterior: it fits forehead, temples and neck, and
everything else is chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from RefaceLib import canonical, geometry

CLIP = 16.0  # mm: distances beyond it say nothing about the surface
SPACING = 4.0  # mm of the model's raster; distances are smooth
FIELD_SPACING = 8.0  # mm of the raster of the atlas's displacements, which are smoother still
RING = 12.0  # mm: how far from the mask the visible skin has a say
_OBSERVATION_SD = 14.0  # mm a voxel; neighbouring voxels repeat each other, so one alone must count for little
_BOUND = 2.0  # codes beyond two standard deviations are not drawn: rare shapes look wrong sooner than new


@dataclass(frozen=True, eq=False)
class ShapeModel:
    """``mean`` (X, Y, Z) mm and ``modes`` (K, X, Y, Z) mm a standard deviation, on ``canonical.box(4)``."""

    mean: np.ndarray
    modes: np.ndarray

    @property
    def size(self) -> int:
        return len(self.modes)

    def shape(self, code: np.ndarray) -> np.ndarray:
        """The signed distance (X, Y, Z) of a code (K,)."""
        return self.mean + np.tensordot(code.astype(np.float32), self.modes, axes=1)

    def project(self, distance: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The code (K,) that explains the ``known`` voxels (bool) of a signed distance best, with a small prior."""
        mean, _ = self._posterior(distance, known, sd=2.0)
        return mean.astype(np.float32)

    def draw(self, rng: np.random.Generator, distance: np.ndarray, known: np.ndarray) -> np.ndarray:
        """A random code (K,) of the posterior given the visible skin (``known`` voxels of ``distance``)."""
        mean, root = self._posterior(distance, known, sd=_OBSERVATION_SD)
        noise = np.clip(rng.standard_normal(self.size), -_BOUND, _BOUND)
        return np.clip(mean + root @ noise, -_BOUND, _BOUND).astype(np.float32)

    def _posterior(self, distance: np.ndarray, known: np.ndarray, sd: float) -> tuple[np.ndarray, np.ndarray]:
        """Mean (K,) and a square root of the covariance (K, K) of the code given the known voxels."""
        basis = self.modes[:, known].astype(np.float64) / sd
        residual = (distance - self.mean)[known].astype(np.float64) / sd
        values, vectors = np.linalg.eigh(np.eye(self.size) + basis @ basis.T)
        mean = vectors @ ((vectors.T @ (basis @ residual)) / values)
        return mean, vectors / np.sqrt(values)


@dataclass(frozen=True, eq=False)
class Atlas:
    """A sharp mean head ``picture`` (96, 88, 88) at 2 mm, 1 = white matter, and how it bends with a code:
    displacements ``centre`` (3, X, Y, Z) + codes times ``modes`` (K, 3, X, Y, Z) in mm, on ``canonical.box(8)``."""

    picture: np.ndarray
    centre: np.ndarray
    modes: np.ndarray

    def draw(self, code: np.ndarray) -> np.ndarray:
        """The mean head bent to a code (K,): (96, 88, 88) float32."""
        field = self.centre + np.tensordot(code.astype(np.float32), self.modes, axes=1)
        index = np.indices(self.picture.shape, dtype=np.float32)
        for axis in range(3):
            index[axis] += to_raster(field[axis], FIELD_SPACING, 2.0) / 2.0
        return ndimage.map_coordinates(self.picture, index, order=1, mode="nearest")


def signed_distance(head: np.ndarray, spacing: float) -> np.ndarray:
    """Distance to the skin in mm (float32), positive inside ``head`` (bool), clipped to CLIP."""
    inside = ndimage.distance_transform_edt(head, sampling=spacing)
    outside = ndimage.distance_transform_edt(~head, sampling=spacing)
    return np.clip(inside - outside, -CLIP, CLIP).astype(np.float32)


def trusted(distance: np.ndarray, hidden: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Which voxels' distance is sure though ``hidden`` voxels are unknown, and each voxel's distance to the hidden.

    A distance is sure where the skin is nearer than the next hidden voxel: no hidden skin can be nearer.
    """
    away = ndimage.distance_transform_edt(~hidden, sampling=spacing).astype(np.float32)
    return (~hidden) & (np.abs(distance) < away), away


def reconcile(shape: np.ndarray, distance: np.ndarray, sure: np.ndarray, spacing: float) -> np.ndarray:
    """Bend a drawn ``shape`` (mm) to the visible skin: its error where ``sure`` fades into the rest over some 10 mm."""
    weight = sure.astype(np.float32)
    error = (distance - shape) * weight
    sigma = 8.0 / spacing
    spread = ndimage.gaussian_filter(weight, sigma)
    correction = ndimage.gaussian_filter(error, sigma) / (spread + 0.03)
    return np.where(sure, distance, np.clip(shape + correction, -CLIP, CLIP)).astype(np.float32)


def to_raster(field: np.ndarray, spacing: float, target: float) -> np.ndarray:
    """Bring a field of the canonical box from ``spacing`` to ``target`` mm, a power of two of it; float32.

    Coarser by the mean of blocks, finer by linear interpolation.
    """
    if target >= spacing:
        return geometry.block_mean(field, canonical.box(spacing).affine, target)[0]
    import torch
    import torch.nn.functional as F

    tensor = torch.from_numpy(np.ascontiguousarray(field, dtype=np.float32))[None, None]
    return F.interpolate(tensor, scale_factor=spacing / target, mode="trilinear", align_corners=False)[0, 0].numpy()


def condition(
    model: ShapeModel, rng: np.random.Generator, distance: np.ndarray, mask: np.ndarray, view: np.ndarray, *, own: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The code (K,) and the shape (mm, at 2 mm) that the generator is told, for a head of signed ``distance`` (2 mm).

    ``mask`` and ``view`` (in the field of view) are bool at 2 mm. ``own``: the code is the head's own, for training
    by reconstruction. Else it is drawn given what lies outside of ``mask``.
    """
    small = to_raster(distance, 2.0, SPACING)
    hidden = to_raster((mask | ~view).astype(np.float32), 2.0, SPACING) > 0.01
    sure, away = trusted(small, hidden, SPACING)
    if own:
        code = model.project(small, to_raster(view.astype(np.float32), 2.0, SPACING) > 0.99)
    else:
        code = model.draw(rng, small, sure & (away < RING))
    shape = reconcile(model.shape(code), small, sure, SPACING)
    return code, to_raster(shape, SPACING, 2.0)
