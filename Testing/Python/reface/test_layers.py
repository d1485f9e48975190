"""What the networks compute does not depend on how: on slabs, on the number of threads."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from RefaceLib.networks import layers

LAST = torch.channels_last_3d


@pytest.fixture
def threads():
    """Sets the number of threads, and puts it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _random(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [2, 16, 19, 40])
def test_slabs_give_what_the_whole_gives(size):
    convolutions = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.SiLU(), nn.Conv3d(4, 1, 3, padding=1))

    def last(low, full):
        return convolutions(layers.enlarged_beside(low, full))

    low, full = _random(1, 2, size, 3, 4), _random(1, 1, 2 * size, 6, 8)
    with torch.inference_mode():
        torch.testing.assert_close(layers.in_slabs(last, low, full), last(low, full), rtol=1e-5, atol=1e-6)


def test_all_slabs_are_about_as_thick():
    # PyTorch's convolutions are slow where a slab is thin.
    thick = []

    def last(low, full):
        thick.append(low.shape[2])
        return full

    layers.in_slabs(last, _random(1, 1, 84, 1, 1), _random(1, 1, 168, 2, 2))
    assert len(thick) == 6 and max(thick[1:-1]) == min(thick[1:-1]) == 14 + 4 and thick[0] == thick[-1] == 14 + 2


def test_pictures_stand_beside_what_is_enlarged():
    low, pictures = _random(1, 6, 3, 4, 5), [_random(1, 1, 6, 8, 10), -_random(1, 1, 6, 8, 10)]
    expected = torch.cat([F.interpolate(low, scale_factor=2, mode="trilinear"), *pictures], dim=1)
    torch.testing.assert_close(layers.enlarged_beside(low, *pictures), expected)


@pytest.mark.parametrize("channels", [24, 64])
def test_the_norm_is_that_of_pytorch(channels):
    norm = layers.Norm(channels // 16, channels)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (_random(1, channels, 20, 5, 6) * 3 - 1).to(memory_format=LAST)
    expected = F.group_norm(x, norm.num_groups, norm.weight, norm.bias)
    torch.testing.assert_close(norm(x), expected)  # with gradients
    with torch.inference_mode():
        torch.testing.assert_close(norm(x), expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_norm_is_the_same_with_any_number_of_threads(kind, threads):
    norm = layers.Norm(1, 24)
    x = _random(1, 24, 40, 32, 32).to(kind).to(memory_format=LAST)
    found = []
    for count in (1, 2, 3, 5):
        threads(count)
        with torch.inference_mode():
            found.append(norm(x))
    assert all(torch.equal(found[0], other) for other in found[1:])
