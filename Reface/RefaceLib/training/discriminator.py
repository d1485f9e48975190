"""The critic of both stages: is this head's face real, in every part of it?"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Discriminator(nn.Module):
    """A 3D PatchGAN with instance normalisation -> patch scores and the features of each layer.

    Sees ``picture`` (B, 1, X, Y, Z), the head with the real or the painted face, and the generator's ``conditioning``
    (B, C, X, Y, Z). It learns only at a low rate (1e-4): at 6e-4 it never left a hinge loss of 2, which is a critic
    that says 0 to everything, and so did one with spectral normalisation at any rate.
    """

    def __init__(self, channels: int = 2, widths: tuple[int, ...] = (24, 48, 96, 128)) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv3d(1 + channels, widths[0], 4, stride=2, padding=1)])
        for a, b in zip(widths[:-1], widths[1:], strict=True):
            self.layers.append(nn.Sequential(nn.Conv3d(a, b, 4, stride=2, padding=1), nn.GroupNorm(b, b)))
        last = nn.Conv3d(widths[-1], widths[-1], 3, padding=1)
        self.layers.append(nn.Sequential(last, nn.GroupNorm(widths[-1], widths[-1])))
        self.score = nn.Conv3d(widths[-1], 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, a=0.2)
        nn.init.normal_(self.score.weight, std=0.02)  # no opinion at first

    def forward(self, picture: Tensor, conditioning: Tensor) -> tuple[Tensor, list[Tensor]]:
        # What both pictures have in common is kept small: real and painted faces differ by a tenth of white matter.
        features = []
        x = torch.cat([4 * picture, 0.25 * conditioning], dim=1)
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


def patch_weights(mask: Tensor, scores: Tensor) -> Tensor:
    """How much each patch score counts: by the share of ``mask`` in it, so that untouched patches say nothing."""
    share = F.adaptive_avg_pool3d(mask, (scores.shape[2], scores.shape[3], scores.shape[4]))
    return share / share.sum().clamp(min=1e-6)


def critic_loss(real: Tensor, fake: Tensor, weights: Tensor) -> Tensor:
    """Hinge loss of the discriminator."""
    return (weights * (F.relu(1 - real.float()) + F.relu(1 + fake.float()))).sum()


def feature_distance(real: list[Tensor], fake: list[Tensor], mask: Tensor) -> Tensor:
    """Mean absolute difference of the critic's features (pix2pixHD's feature matching), where the mask is."""
    terms = []
    for a, b in zip(real, fake, strict=True):
        difference = (a.detach().float() - b.float()).abs().mean(dim=1, keepdim=True)
        terms.append((patch_weights(mask, difference) * difference).sum())
    return torch.stack(terms).mean()
