"""What a painting becomes in the grid of a scan: means over voxels."""

from __future__ import annotations

import numpy as np
import pytest

from RefaceLib.face import blend, texture
from RefaceLib.face.deface import Defaced
from RefaceLib.face.intensity import IntensityScale
from RefaceLib.face.painter import Painting
from RefaceLib.volume import geometry
from RefaceLib.volume.air import Air
from RefaceLib.volume.codec import Codec


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


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_face_lies_in_its_place_and_the_order_in_memory_changes_no_bit(order):
    picture = np.random.default_rng(0).random((30, 30, 30)) * 100
    stored = np.zeros((12, 14, 16), np.int16, order=order)
    mask, affine = np.zeros(stored.shape, bool, order=order), np.diag([1.0, 1, 1, 1])
    mask[2:9, 3:12, 4:13], affine[:3, 3] = True, (5, 6, 7)
    nothing = np.zeros_like(mask)
    around = texture.Surroundings(stored.astype(np.float32), mask, nothing, nothing, Air())
    defaced = Defaced(around.values, stored, geometry.Grid(stored.shape, affine), Codec(np.dtype(np.int16)), Air())
    out = blend.blend(defaced, around, _painting(picture), 1)
    expected = np.rint(picture[5:17, 6:20, 7:23])
    assert np.array_equal(out[mask], expected[mask]) and not out[~mask].any() and not stored.any()
