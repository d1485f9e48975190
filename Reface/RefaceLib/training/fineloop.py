"""Training of the fine stage: a small GAN that adds 1 mm detail to an enlarged 2 mm face, on patches of 1 mm heads."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from RefaceLib.face import rasters
from RefaceLib.networks.inference import placed, precision
from RefaceLib.networks.layers import FineGenerator
from RefaceLib.training import state
from RefaceLib.training.boxes import EIGHT_BIT, Box, mirrored, subject_mask
from RefaceLib.training.discriminator import Discriminator, critic_loss, feature_distance, patch_weights
from RefaceLib.volume import geometry

PATCH = 64


@dataclass(frozen=True)
class FineTraining:
    """``out``: folder for checkpoint and log; ``minutes``: time budget over all runs."""

    out: Path
    minutes: float = 30.0
    device: str = "cpu"
    seed: int = 0
    rate: float = 5e-4
    critic_rate: float = 1e-4
    l1_weight: float = 15.0
    feature_weight: float = 4.0
    critic_weight: float = 0.15


@dataclass(frozen=True, eq=False)
class FineHead:
    """A 1 mm head: ``picture`` and the ``coarse`` one made of it (float16), ``mask`` (bool), and where patches go."""

    picture: np.ndarray
    coarse: np.ndarray
    mask: np.ndarray
    centres: np.ndarray


def fine_heads(boxes: list[Box], rng: np.random.Generator) -> list[FineHead]:
    """Heads and their mirror images, each with three coarse versions: painted faces are blurred more or less."""
    heads = []
    for box in [b for pair in ((b, mirrored(b)) for b in boxes) for b in pair]:
        picture = box.image.astype(np.float32) / EIGHT_BIT * box.view
        mask = subject_mask(box, rng, ears=True) & box.view
        near_skin = mask & (np.abs(box.distance.astype(np.float32)) < 15)
        centres = np.argwhere(near_skin)[::97]
        small = geometry.block_mean(picture, np.eye(4), 2.0)[0]
        for blur in (0.0, 0.5, 0.8):
            coarse = rasters.to_raster(ndimage.gaussian_filter(small, blur), 2.0, 1.0)
            heads.append(FineHead(picture.astype(np.float16), coarse.astype(np.float16), mask, centres))
    return heads


def random_patch(rng: np.random.Generator, heads: list[FineHead]) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, coarse picture and mask, each (1, 1, 64, 64, 64)."""
    head = heads[rng.integers(len(heads))]
    centre = head.centres[rng.integers(len(head.centres))] + rng.integers(-16, 17, 3)
    start = np.clip(centre - PATCH // 2, 0, np.array(head.mask.shape) - PATCH) // 2 * 2
    window = tuple(slice(a, a + PATCH) for a in start)
    gain = float(np.exp(rng.normal(0, 0.1)))
    parts = (head.picture[window] * gain, head.coarse[window] * gain, head.mask[window])
    picture, coarse, mask = (torch.from_numpy(np.ascontiguousarray(p, np.float32))[None, None] for p in parts)
    coarse = coarse + torch.from_numpy(rng.normal(0, 0.01, coarse.shape).astype(np.float32))
    return picture, coarse.clamp(min=0), mask


class FineTrainer:
    """Generator, critic and their optimisers; ``step`` trains both on one patch."""

    def __init__(self, config: FineTraining) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.generator = placed(FineGenerator(), config.device)
        self.critic = placed(Discriminator(widths=(24, 48, 96)), config.device)
        self.average = state.Averaged(self.generator)
        self.optimiser = torch.optim.Adam(self.generator.parameters(), lr=config.rate, betas=(0.5, 0.99))
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=config.critic_rate, betas=(0.5, 0.99))
        self.progress = state.TrainingProgress(config.minutes)

    def parts(self) -> state.Parts:
        return {
            "generator": self.generator, "critic": self.critic, "average": self.average.net,
            "optimiser": self.optimiser, "critic_optimiser": self.critic_optimiser,
        }  # fmt: skip

    def step(self, picture: Tensor, coarse: Tensor, mask: Tensor) -> dict[str, float]:
        c = self.config
        factor = state.learning_rate(1.0, self.progress.fraction, self.progress.step)
        for optimiser, rate in ((self.optimiser, c.rate), (self.critic_optimiser, c.critic_rate)):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        picture, coarse, mask = picture.to(c.device), coarse.to(c.device), mask.to(c.device)
        with precision(c.device):
            painted = self.generator(coarse, picture, mask)
        fake = picture * (1 - mask) + painted.float() * mask
        conditioning = torch.cat([mask, coarse], dim=1)
        with precision(c.device):
            scores, _ = self.critic(torch.cat([picture, fake.detach()]), conditioning.repeat(2, 1, 1, 1, 1))
        critic = critic_loss(scores[:1], scores[1:], patch_weights(mask, scores))
        self.critic_optimiser.zero_grad(set_to_none=True)
        critic.backward()
        self.critic_optimiser.step()
        self.critic.requires_grad_(False)
        with precision(c.device):
            scores, features = self.critic(fake, conditioning)
            with torch.no_grad():
                _, real = self.critic(picture, conditioning)
        self.critic.requires_grad_(True)
        terms = {
            "l1": c.l1_weight * (mask * (fake - picture).abs()).sum() / mask.sum().clamp(min=1),
            "features": c.feature_weight * feature_distance(real, features, mask),
            "critic": -c.critic_weight * (patch_weights(mask, scores) * scores.float()).sum(),
        }
        self.optimiser.zero_grad(set_to_none=True)
        sum(terms.values(), torch.zeros(())).backward()
        nn.utils.clip_grad_norm_(self.generator.parameters(), 2.0)
        self.optimiser.step()
        self.average.update(self.generator, self.progress.step)
        return {"verdict": float(critic.detach()), **{key: float(value.detach()) for key, value in terms.items()}}


def train_fine(config: FineTraining, boxes: list[Box]) -> FineGenerator:
    """Train (or go on) until the time budget is used up; returns the averaged generator."""
    config.out.mkdir(parents=True, exist_ok=True)
    trainer = FineTrainer(config)
    progress, path = trainer.progress, config.out / "fine.pt"
    state.load_checkpoint(path, progress, trainer.parts())
    heads = fine_heads(boxes, np.random.default_rng(config.seed))
    progress.restart_clock()
    saved = time.monotonic()
    while progress.fraction < 1:
        rng = np.random.default_rng((config.seed, 7, progress.step))
        progress.tick(trainer.step(*random_patch(rng, heads)))
        if progress.step % 100 == 0:
            state.log(config.out, {"step": progress.step, "s": round(progress.seconds), **progress.means()})
        if time.monotonic() - saved > 180:
            state.save_checkpoint(path, progress, trainer.parts())
            saved = time.monotonic()
    state.save_checkpoint(path, progress, trainer.parts())
    return trainer.average.net
