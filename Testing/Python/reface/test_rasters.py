"""Fields of the canonical box on other rasters."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.ballhead import voxel_positions
from RefaceLib.face import rasters
from RefaceLib.head import canonical


@pytest.mark.parametrize(("spacing", "target"), [(2.0, 4.0), (4.0, 2.0), (2.0, 1.0), (8.0, 2.0)])
def test_a_field_stays_in_its_place_on_another_raster(spacing, target):
    field, expected = (0.2 * x - 0.1 * y + 0.3 * z for x, y, z in (voxel_positions(spacing), voxel_positions(target)))
    moved = rasters.to_raster(field, spacing, target)
    inner = tuple(slice(4, -4) for _ in range(3))
    assert moved.shape == canonical.box(target).shape
    assert np.allclose(moved[inner], expected[inner], atol=0.02)
