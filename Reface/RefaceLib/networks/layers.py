"""The networks' building blocks and the head parser's network (torch modules only, no files and no volumes)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLAB = 16  # voxels of the halved raster, at most


def fold(x: Tensor) -> Tensor:
    """Space to depth: (B, C, X, Y, Z) -> (B, 8 C, X/2, Y/2, Z/2)."""
    b, c, x_, y_, z_ = x.shape
    x = x.reshape(b, c, x_ // 2, 2, y_ // 2, 2, z_ // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, 8 * c, x_ // 2, y_ // 2, z_ // 2)


def unfold(x: Tensor) -> Tensor:
    """Depth to space: the inverse of ``fold``."""
    b, c, x_, y_, z_ = x.shape
    x = x.reshape(b, c // 8, 2, 2, 2, x_, y_, z_)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // 8, 2 * x_, 2 * y_, 2 * z_)


def in_slabs(last: Callable[..., Tensor], low: Tensor, *full: Tensor) -> Tensor:
    """``last(low, *full)``, computed in slabs along X: what a slab needs stays in the processor's cache.

    ``low`` (B, C, X/2, Y/2, Z/2) is on the halved raster of ``full`` (B, C, X, Y, Z). A voxel of the result may depend
    on four voxels on each side: an enlargement and two convolutions reach no farther. So the result is the same.
    All slabs are about as thick, because PyTorch has slow convolutions for thin ones.
    """
    parts = []
    length = low.shape[2]
    count = -(-length // _SLAB)
    for start, stop in pairwise(length * i // count for i in range(count + 1)):
        first = max(0, start - 2)
        piece = last(low[:, :, first : stop + 2], *(a[:, :, 2 * first : 2 * (stop + 2)] for a in full))
        parts.append(piece[:, :, 2 * (start - first) : 2 * (stop - first)])
    return torch.cat(parts, dim=2)


def enlarged_beside(low: Tensor, *pictures: Tensor) -> Tensor:
    """The channels of ``low``, enlarged to the raster of the ``pictures`` (B, 1, X, Y, Z), and these after them.

    PyTorch is fast where a voxel's channels are side by side in memory, and are a multiple of eight floats.
    """
    used = low.shape[1] + len(pictures)
    padded = F.pad(low.float(), (*[0] * 7, -(-used // 8) * 8 - low.shape[1]))
    channels = F.interpolate(padded, scale_factor=2, mode="trilinear")
    for place, picture in enumerate(pictures, low.shape[1]):
        channels[:, place : place + 1] = picture
    return channels[:, :used]


class Norm(nn.GroupNorm):
    """nn.GroupNorm, but for one sample on a CPU its bits do not depend on the number of threads.

    PyTorch adds up one partial sum a thread. Here the parts are slabs, and every channel has its own sum.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or len(x) > 1 or torch.is_grad_enabled():
            return super().forward(x)
        sums = torch.zeros(2, self.num_channels)
        with torch.autocast("cpu", enabled=False):
            for slab in x.split(_SLAB, dim=2):
                floats = slab.float()
                sums += torch.stack([a.sum(dim=(0, 2, 3, 4)) for a in (floats, floats * floats)])
            means = sums.view(2, self.num_groups, -1).sum(dim=2) * (self.num_groups / x.numel())
            mean, square = means.repeat_interleave(self.num_channels // self.num_groups, dim=1)
            return F.batch_norm(x, mean, (square - mean**2).clamp_min(0), self.weight, self.bias, eps=self.eps)


class Block(nn.Module):
    """A residual block of two 3 x 3 x 3 convolutions with group normalisation; ``code`` may shift and scale it."""

    def __init__(self, channels: int, code: int = 0) -> None:
        super().__init__()
        groups = max(1, channels // 16)
        self.norm1 = Norm(groups, channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = Norm(groups, channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.style = nn.Linear(code, 2 * channels) if code else None
        assert self.conv2.bias is not None  # nn.Conv3d has one, if it is not told otherwise
        nn.init.zeros_(self.conv2.bias)
        nn.init.normal_(self.conv2.weight, std=1e-2 / channels**0.5)
        if self.style is not None:
            nn.init.normal_(self.style.weight, std=0.02)
            nn.init.zeros_(self.style.bias)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.norm2(h)
        if self.style is not None:
            scale, shift = self.style(code)[:, :, None, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        h = F.silu(h)  # what it was made of is no longer needed
        return x + self.conv2(h)


class Level(nn.ModuleList):
    """The residual blocks of one level and side of a U-Net, one after the other."""

    def __init__(self, channels: int, code: int, blocks: int) -> None:
        super().__init__(Block(channels, code) for _ in range(blocks))

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        for block in self:
            x = block(x, code)
        return x


class UNet(nn.Module):
    """A U-Net with additive skips: ``widths`` channels a level, ``blocks`` residual blocks a level and side."""

    def __init__(self, widths: tuple[int, ...], code: int = 0, blocks: int = 1) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(Level(w, code, blocks) for w in widths)
        self.decoder = nn.ModuleList(Level(w, code, blocks) for w in widths[:-1])
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.down = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairs)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        skips = []
        for level, blocks in enumerate(self.encoder):
            x = blocks(x, code)
            if level < len(self.down):
                skips.append(x)
                x = self.down[level](x)
        for level in reversed(range(len(self.decoder))):
            # The 1 x 1 x 1 convolution comes before the enlargement: eight times cheaper, the same result.
            x = F.interpolate(self.up[level](x), scale_factor=2, mode="trilinear") + skips.pop()
            x = self.decoder[level](x, code)
        return x


def _coordinates(x: Tensor) -> Tensor:
    """Three channels that go from -1 to 1 along the axes of ``x``: (B, 3, X, Y, Z)."""
    lines = [torch.linspace(-1, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*lines, indexing="ij"))
    return grid[None].expand(x.shape[0], -1, -1, -1, -1)


class HeadParserNet(nn.Module):
    """Image (B, 1, X, Y, Z) at 2 mm -> mask logits (B, 2, X, Y, Z) and heat-map logits (B, L, X/2, Y/2, Z/2).

    Two of them run in sequence: the *localizer* in any pose (X, Y, Z multiples of 16), and the *parser* in the
    canonical pose (multiples of 8), which also gets the position of every voxel (``coordinates``).
    """

    def __init__(self, widths: tuple[int, ...], *, landmarks: int = 17, coordinates: bool = False) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.entry = nn.Conv3d(11 if coordinates else 8, widths[0], 3, padding=1)
        self.body = UNet(tuple(widths))
        self.norm = Norm(2, widths[0])
        self.heat = nn.Conv3d(widths[0], landmarks, 1)
        self.masks = nn.Conv3d(widths[0], 8 * 4, 1)
        self.refine = nn.Sequential(nn.Conv3d(5, 8, 3, padding=1), nn.SiLU(), nn.Conv3d(8, 2, 3, padding=1))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self._features(image)
        return in_slabs(self._refined, self.masks(features), image), self.heat(features)

    def _refined(self, folded: Tensor, image: Tensor) -> Tensor:
        masks = unfold(folded)
        return masks[:, :2] + self.refine(torch.cat([image.to(masks), masks], dim=1))

    def heat_maps(self, image: Tensor) -> Tensor:
        """The second result of ``forward``, without the first."""
        return self.heat(self._features(image))

    def _features(self, image: Tensor) -> Tensor:
        folded = fold(image)
        if self.coordinates:
            folded = torch.cat([folded, _coordinates(folded)], dim=1)
        return F.silu(self.norm(self.body(self.entry(folded))))


def localizer_net() -> HeadParserNet:
    """The head parser's first stage, as shipped."""
    return HeadParserNet((32, 64, 128, 160))


def parser_net() -> HeadParserNet:
    """The head parser's second stage, as shipped."""
    return HeadParserNet((24, 64, 128), coordinates=True)


class Generator(nn.Module):
    """The coarse stage: paints a head's face at 2 mm.

    ``visible`` (B, 1, X, Y, Z): normalised picture, zero in the mask; ``mask``, ``shape`` (signed distance / 16 mm),
    ``atlas`` (the mean head warped by the code), ``view`` (inside the field of view): same shape; ``code`` (B, K).
    Returns the picture (B, 1, X, Y, Z) of the whole box: the atlas and what the network adds. X, Y, Z are multiples
    of 8.
    """

    def __init__(self, code: int = 64, widths: tuple[int, ...] = (24, 64, 160)) -> None:
        super().__init__()
        self.entry = nn.Conv3d(40, widths[0], 3, padding=1)
        self.embed = nn.Sequential(nn.Linear(code, 64), nn.SiLU())
        self.body = UNet(tuple(widths), code=64)
        self.norm = Norm(1, widths[0])
        # No depth to space at the exit: its raster of two voxels shows in the skin. Smooth features are enlarged, and
        # sharp edges come from the pictures that the last convolutions see at full size.
        self.exit = nn.Conv3d(widths[0], 8, 1)
        self.refine = nn.Sequential(nn.Conv3d(12, 16, 3, padding=1), nn.SiLU(), nn.Conv3d(16, 1, 3, padding=1))
        nn.init.normal_(self.exit.weight, std=1e-2)

    def forward(
        self, visible: Tensor, mask: Tensor, shape: Tensor, atlas: Tensor, view: Tensor, code: Tensor
    ) -> Tensor:
        picture = visible * (1 - mask)
        features = self.entry(fold(torch.cat([picture, mask, shape, atlas, view], dim=1)))
        features = F.silu(self.norm(self.body(features, self.embed(code))))
        return in_slabs(self._refined, self.exit(features), picture, mask, shape, atlas)

    def _refined(self, low: Tensor, picture: Tensor, mask: Tensor, shape: Tensor, atlas: Tensor) -> Tensor:
        channels = enlarged_beside(low, picture, mask, shape, atlas)
        return F.leaky_relu(
            atlas + channels[:, :1] + self.refine(channels), 0.02
        )  # a slope below zero too: air must be able to become tissue


class FineGenerator(nn.Module):
    """The fine stage: adds 1 mm detail to a coarse face.

    ``coarse`` (the 2 mm face enlarged), ``visible`` (1 mm picture, zero in the mask), ``mask``: (B, 1, X, Y, Z),
    X, Y, Z multiples of 4. Returns the picture (B, 1, X, Y, Z).
    """

    def __init__(self, widths: tuple[int, ...] = (24, 48)) -> None:
        super().__init__()
        self.entry = nn.Conv3d(24, widths[0], 3, padding=1)
        self.body = UNet(tuple(widths))
        self.exit = nn.Conv3d(widths[0], 6, 1)
        self.refine = nn.Sequential(nn.Conv3d(8, 8, 3, padding=1), nn.SiLU(), nn.Conv3d(8, 1, 3, padding=1))
        nn.init.normal_(self.exit.weight, std=1e-2)

    def forward(self, coarse: Tensor, visible: Tensor, mask: Tensor) -> Tensor:
        picture = visible * (1 - mask)
        features = F.silu(self.body(self.entry(fold(torch.cat([coarse, picture, mask], dim=1)))))
        return in_slabs(self._refined, self.exit(features), coarse, picture)

    def _refined(self, low: Tensor, coarse: Tensor, picture: Tensor) -> Tensor:
        channels = enlarged_beside(low, coarse, picture)
        return F.relu(coarse + channels[:, :1] + self.refine(channels))
