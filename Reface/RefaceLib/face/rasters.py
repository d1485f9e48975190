"""Fields of the canonical box: brought to another raster, and warped by displacements."""

from __future__ import annotations

import numpy as np

from RefaceLib.head import canonical
from RefaceLib.volume import geometry


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


def bend(pictures: np.ndarray, field: np.ndarray) -> np.ndarray:
    """``pictures`` (X, Y, Z) or (N, X, Y, Z) of the 2 mm box, sampled at every voxel plus ``field`` (3, X, Y, Z) in mm;
    float32."""
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
