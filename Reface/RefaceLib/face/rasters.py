"""Fields of the canonical box: resampled to another raster, and warped by displacements."""

from __future__ import annotations

import numpy as np

from RefaceLib.head import canonical
from RefaceLib.volume import geometry


def to_raster(field: np.ndarray, spacing: float, target: float) -> np.ndarray:
    """Resample a field (X, Y, Z) of the canonical box from ``spacing`` to ``target`` mm, a power of two apart; float32.

    A coarser raster gets the means of blocks, a finer one linear interpolation.
    """
    if target >= spacing:
        return geometry.block_mean(field, canonical.box(spacing).affine, target)[0]
    import torch
    import torch.nn.functional as F

    tensor = torch.from_numpy(np.ascontiguousarray(field, dtype=np.float32))[None, None]
    return F.interpolate(tensor, scale_factor=spacing / target, mode="trilinear", align_corners=False)[0, 0].numpy()


def warp(pictures: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Sample ``pictures`` (X, Y, Z) or (N, X, Y, Z) of the 2 mm box at every voxel plus ``field`` (3, X, Y, Z) in mm.

    Linear interpolation; beyond the box its border continues. Returns float32 of the shape of ``pictures``.
    """
    import torch
    import torch.nn.functional as F

    # grid_sample counts from -1 to 1 between the centres of the first and last voxel, the last axis first.
    lines = [np.arange(n, dtype=np.float32) for n in field.shape[1:]]
    places = np.stack([
        (line.reshape(np.roll([-1, 1, 1], axis)) + field[axis] / 2.0) * (2.0 / (len(line) - 1)) - 1.0
        for axis, line in enumerate(lines)
    ][::-1], axis=-1)  # fmt: skip
    source = torch.from_numpy(np.ascontiguousarray(pictures, dtype=np.float32)).reshape(1, -1, *field.shape[1:])
    target = torch.from_numpy(places.astype(np.float32))[None]
    with torch.inference_mode():
        return F.grid_sample(source, target, padding_mode="border", align_corners=True).numpy().reshape(pictures.shape)
