"""What a painting becomes in the grid of a scan: means over voxels."""

from __future__ import annotations

import numpy as np
import pytest

from RefaceLib.face import blend
from RefaceLib.face.intensity import IntensityScale
from RefaceLib.face.painter import Painting
from RefaceLib.volume import geometry


def _painting(picture):
    scale = IntensityScale(0.0, 100.0)
    return Painting(picture.astype(np.float32), np.eye(4), np.zeros(2, np.float32), scale, 1, True)


@pytest.mark.parametrize("size", [(2, 2, 2), (1, 1, 3), (1, 1, 1)])
def test_a_voxel_is_the_mean_over_its_extent(size):
    picture = np.random.default_rng(0).random((24, 24, 24))
    affine = np.diag([*map(float, size), 1.0])
    affine[:3, 3] = (np.array(size) - 1) / 2 + 6
    sampled = blend.sampled(_painting(picture), geometry.Grid((4, 4, 4), affine))
    x, y, z = size
    window = picture[6 : 6 + 4 * x, 6 : 6 + 4 * y, 6 : 6 + 4 * z]
    assert np.allclose(sampled, window.reshape(4, x, 4, y, 4, z).mean(axis=(1, 3, 5)), atol=1e-4)
