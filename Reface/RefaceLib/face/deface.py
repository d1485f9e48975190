"""Takes the face away: what makes a new face starts from a ``Defaced`` head, and so cannot see the face that was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from RefaceLib.volume.air import Air, measure_air
from RefaceLib.volume.codec import Codec
from RefaceLib.volume.geometry import Grid
from RefaceLib.volume.io import Volume


@dataclass(frozen=True, eq=False)
class Defaced:
    """A head that is blank in its face mask; no voxel of the face is in it.

    ``values`` (I, J, K) float32, finite, and ``stored`` (I, J, K), the same as numbers of the file, on ``grid``
    (IJK -> RAS mm); ``codec`` turns other values into such numbers. ``air`` is what air looks like in it.
    """

    values: np.ndarray
    stored: np.ndarray
    grid: Grid
    codec: Codec
    air: Air


def deface(volume: Volume, values: np.ndarray, mask: np.ndarray) -> Defaced:
    """``volume`` with the ``mask`` (I, J, K; bool) blank; ``values`` are its values.

    Blank is the level of air, measured outside the mask. Values that are not finite are seen as air, and stay stored as
    they are. The arguments are not changed.
    """
    air = measure_air(values, ~mask)
    seen, stored = values.copy(order="K"), volume.stored.copy(order="K")
    seen[mask | ~np.isfinite(values)] = air.level
    stored[mask] = volume.codec.to_stored(np.array([air.level], dtype=np.float32))[0]
    return Defaced(seen, stored, Grid(volume.stored.shape, volume.affine), volume.codec, air)
