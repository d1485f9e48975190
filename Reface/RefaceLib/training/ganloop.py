"""Training of the coarse stage: a conditional GAN that paints a face of a given shape onto a defaced head.

Two kinds of steps alternate. On *own* steps the shape is the head's own, on *drawn* steps it comes from the shape
model, as in use, and the truth is the head warped to it. The painting is compared with the truth by L1, by the critic's
features, and by the critic's verdict (hinge). L1 teaches anatomy and contrast quickly, feature matching holds the GAN
stable at a batch of one, the hinge loss keeps faces sharp, and drawn steps keep the network honest where it will be
used. An average of the weights over the last few hundred steps is what ships: single steps of a GAN of this size
flicker.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from RefaceLib.face.shapemodel import Atlas, ShapeModel
from RefaceLib.networks.inference import placed, precision
from RefaceLib.networks.layers import Generator
from RefaceLib.training import state
from RefaceLib.training.boxes import Box
from RefaceLib.training.discriminator import Discriminator, critic_loss, feature_distance, patch_weights
from RefaceLib.training.faces import FaceSample, random_face

Validate = Callable[[Generator, int], None]  # averaged generator, step
_LEAD = 200  # steps that a new critic learns alone beside a trained generator, which it would spoil at first


def near_face(conditioning: Tensor) -> Tensor:
    """Where the critic's verdict counts: the mask without air more than 8 mm away from the skin."""
    mask, shape = conditioning[:, :1], conditioning[:, 1:]
    return mask * (shape > -0.5)


@dataclass(frozen=True)
class FaceTraining:
    """``out``: folder for checkpoint, log and pictures; ``minutes``: time budget over all runs; ``start``: a trained
    generator to go on from where there is no checkpoint yet (best with a lower ``rate``)."""

    out: Path
    minutes: float = 100.0
    start: Generator | None = None
    device: str = "cpu"
    seed: int = 0
    rate: float = 6e-4
    critic_rate: float = 1e-4
    drawn_share: float = 0.67
    l1_weight: float = 20.0
    feature_weight: float = 4.0
    critic_weight: float = 0.2


class FaceTrainer:
    """Generator, critic and their optimisers; ``step`` trains both on one sample."""

    def __init__(self, config: FaceTraining, codes: int) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.generator = placed(Generator(codes), config.device)
        if config.start is not None:
            self.generator.load_state_dict(config.start.state_dict())
        self.critic = placed(Discriminator(), config.device)
        self.average = state.Averaged(self.generator)
        betas = (0.5, 0.99)
        self.optimiser = torch.optim.AdamW(self.generator.parameters(), lr=config.rate, betas=betas, weight_decay=1e-4)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=config.critic_rate, betas=betas)
        self.progress = state.TrainingProgress(config.minutes)

    def parts(self) -> state.Parts:
        return {
            "generator": self.generator, "critic": self.critic, "average": self.average.net,
            "optimiser": self.optimiser, "critic_optimiser": self.critic_optimiser,
        }  # fmt: skip

    def step(self, sample: FaceSample) -> dict[str, float]:
        """One step of both networks; returns the losses."""
        c = self.config
        factor = state.learning_rate(1.0, self.progress.fraction, self.progress.step)
        for optimiser, rate in ((self.optimiser, c.rate), (self.critic_optimiser, c.critic_rate)):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        image, mask, shape, atlas, view, code = (
            t.to(c.device) for t in (sample.image, sample.mask, sample.shape, sample.atlas, sample.view, sample.code)
        )
        with precision(c.device):
            painted = self.generator(image, mask, shape, atlas, view, code)
        painted = painted.float() * view
        # The critic sees half of the head, left or right: half the cost, and it cannot count on symmetry.
        half = slice(0, 48) if torch.rand(()) < 0.5 else slice(48, 96)
        fake = (image * (1 - mask) + painted * mask)[:, :, half]
        conditioning = torch.cat([mask, shape], dim=1)[:, :, half]
        losses = self._critic_step(image[:, :, half], fake.detach(), conditioning)
        if c.start is not None and self.progress.step < _LEAD:
            return losses
        terms = self._generator_terms(painted, fake, conditioning, half, image, mask, view)
        self.optimiser.zero_grad(set_to_none=True)
        sum(terms.values(), torch.zeros(())).backward()
        nn.utils.clip_grad_norm_(self.generator.parameters(), 2.0)
        self.optimiser.step()
        self.average.update(self.generator, self.progress.step)
        kind = "own_" if sample.own else "drawn_"
        return {**losses, **{kind + key: float(value.detach()) for key, value in terms.items()}}

    def _critic_step(self, real: Tensor, fake: Tensor, conditioning: Tensor) -> dict[str, float]:
        with precision(self.config.device):
            scores, _ = self.critic(torch.cat([real, fake]), conditioning.repeat(2, 1, 1, 1, 1))
        weights = patch_weights(near_face(conditioning), scores)
        loss = critic_loss(scores[:1], scores[1:], weights)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimiser.step()
        return {"critic": float(loss.detach())}

    def _generator_terms(
        self,
        painted: Tensor,
        fake: Tensor,
        conditioning: Tensor,
        half: slice,
        image: Tensor,
        mask: Tensor,
        view: Tensor,
    ) -> dict[str, Tensor]:
        c = self.config
        self.critic.requires_grad_(False)
        with precision(c.device):
            scores, features = self.critic(fake, conditioning)
            with torch.no_grad():
                _, real = self.critic(image[:, :, half], conditioning)
        self.critic.requires_grad_(True)
        # A little weight outside the mask: the painting there is what the blending compares with the scan.
        weight = mask * view + 0.1 * view
        return {
            "critic": -c.critic_weight * (patch_weights(near_face(conditioning), scores) * scores.float()).sum(),
            "features": c.feature_weight * feature_distance(real, features, near_face(conditioning)),
            "l1": c.l1_weight * (weight * (painted - image).abs()).sum() / weight.sum(),
        }


def train_faces(
    config: FaceTraining, boxes: list[Box], model: ShapeModel, atlas: Atlas, validate: Validate | None = None
) -> Generator:
    """Train (or go on) until the time budget is used up; returns the averaged generator."""
    config.out.mkdir(parents=True, exist_ok=True)
    trainer = FaceTrainer(config, model.size)
    progress, path = trainer.progress, config.out / "faces.pt"
    state.load_checkpoint(path, progress, trainer.parts())
    progress.restart_clock()
    saved = time.monotonic()

    def sample(step: int) -> FaceSample:
        rng = np.random.default_rng((config.seed, step))
        own = rng.random() >= config.drawn_share
        return random_face(rng, boxes[rng.integers(len(boxes))], model, atlas, own=own)

    with ThreadPoolExecutor(1) as pool:  # the next sample is made while the networks learn
        coming = pool.submit(sample, progress.step)
        while progress.fraction < 1:
            this, coming = coming.result(), pool.submit(sample, progress.step + 1)
            progress.tick(trainer.step(this))
            if progress.step % 50 == 0:
                state.log(config.out, {"step": progress.step, "s": round(progress.seconds), **progress.means()})
            if time.monotonic() - saved > 300:
                state.save_checkpoint(path, progress, trainer.parts())
                saved = time.monotonic()
                if validate:
                    validate(trainer.average.net, progress.step)
    state.save_checkpoint(path, progress, trainer.parts())
    return trainer.average.net
