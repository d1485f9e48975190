"""The critic of both stages: is this head's face real, in every part of it?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from RefaceLib.networks import fold


class Discriminator(nn.Module):
    """A 3D PatchGAN with spectral normalisation: (B, C, X, Y, Z) -> patch scores and the features of each layer.

    Channels: the picture with the real or generated face in it, the mask, and what the generator was told.
    """

    def __init__(self, channels: int = 3, widths: tuple[int, ...] = (24, 64, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = [spectral_norm(nn.Conv3d(8 * channels, widths[0], 3, padding=1))]
        for a, b in zip(widths[:-1], widths[1:], strict=True):
            layers.append(spectral_norm(nn.Conv3d(a, b, 4, stride=2, padding=1)))
        layers.append(spectral_norm(nn.Conv3d(widths[-1], widths[-1], 3, padding=1)))
        self.layers = nn.ModuleList(layers)
        self.score = spectral_norm(nn.Conv3d(widths[-1], 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        x = fold(x)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


def patch_weights(mask: Tensor, scores: Tensor) -> Tensor:
    """How much each patch score counts: by the share of the mask in it, so that untouched patches say nothing."""
    share = F.adaptive_avg_pool3d(mask, scores.shape[2:])
    return share / share.sum().clamp(min=1e-6)


def critic_loss(real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    """Hinge loss of the discriminator."""
    return (weights * (F.relu(1 - real.float()) + F.relu(1 + fake.float()))).sum()


def feature_distance(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Mean absolute difference of the critic's features (pix2pixHD's feature matching)."""
    terms = [(a.detach().float() - b.float()).abs().mean() for a, b in zip(real, fake, strict=True)]
    return torch.stack(terms).mean()
