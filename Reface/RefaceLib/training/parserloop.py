"""Training of the head parser's two stages, on random poses, contrasts, faults and defacing of heads and label maps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from RefaceLib.head import headparser
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.networks.inference import placed, precision
from RefaceLib.networks.layers import HeadParserNet, localizer_net, parser_net
from RefaceLib.training import heads, state
from RefaceLib.training.parserdata import heat_targets, random_sample
from RefaceLib.volume import geometry
from RefaceLib.volume.geometry import Grid

_CLEAN_FROM = 0.8  # of the time budget


@dataclass(frozen=True)
class ParserTraining:
    """``data``: folder of heads and label maps; ``out``: folder for checkpoint and log; ``minutes``: time budget.

    ``posed``: the second stage (parser, canonical pose) and not the first (localizer, any pose).
    """

    data: Path
    out: Path
    posed: bool
    minutes: float = 62.0
    device: str = "cpu"
    seed: int = 0
    rate: float = 2e-3
    label_map_share: float = 0.25


def load_samples(data: Path) -> tuple[list[heads.ParserSample], list[heads.ParserSample], list[heads.ParserSample]]:
    """Real heads to train on, label maps, and real validation heads."""
    landmarks, held_out = heads.read_landmarks(), heads.validation_ids()
    real = [heads.labelled_sample(n, *paths, landmarks.get(n)) for n, paths in heads.labelled_heads(data).items()]
    maps = [heads.label_map_sample(path) for path in sorted(Path(data).rglob("training_seg_*.nii.gz"))]
    return [s for s in real if s.name not in held_out], maps, [s for s in real if s.name in held_out]


def loss_terms(masks: Tensor, heat: Tensor, target: Tensor, heat_target: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Soft Dice and cross entropy of both masks; cross entropy of each known landmark's heat map."""
    masks, heat = masks.float(), heat.float()
    p = torch.sigmoid(masks)
    dice = 1 - (2 * (p * target).sum((2, 3, 4)) + 1) / (p.sum((2, 3, 4)) + target.sum((2, 3, 4)) + 1)
    bce = F.binary_cross_entropy_with_logits(masks, target)
    log_p = F.log_softmax(heat.flatten(2), dim=-1)
    entropy = -(heat_target.flatten(2) * log_p).sum(-1)
    points = (entropy * valid).sum() / valid.sum().clamp(min=1)
    return {"dice": dice.mean(), "bce": bce, "points": 0.15 * points}


def train(config: ParserTraining) -> HeadParserNet:
    """Train (or go on training) until the time budget is used up; returns the averaged network."""
    config.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    real, maps, validation = load_samples(config.data)
    net = placed(parser_net() if config.posed else localizer_net(), config.device)
    average = state.Averaged(net, decay=0.99)  # a long average lags behind the falling rate
    optimiser = torch.optim.AdamW(net.parameters(), lr=config.rate, weight_decay=1e-3)
    parts: state.Parts = {"net": net, "average": average.net, "optimiser": optimiser}
    progress = state.TrainingProgress(config.minutes)
    state.load_checkpoint(config.out / "parser.pt", progress, parts)
    progress.restart_clock()
    saved = time.monotonic()
    while progress.fraction < 1:
        rng = np.random.default_rng((config.seed, progress.step))
        # Towards the end the pictures are mostly as scanners make them: exact edges are learnt from clean ones.
        strength = 1.0 if progress.fraction < _CLEAN_FROM else 0.35
        pool = maps if maps and rng.random() < config.label_map_share * strength else real
        head = pool[rng.integers(len(pool))]
        losses = _step(
            net, optimiser, config, progress, random_sample(rng, head, posed=config.posed, strength=strength)
        )
        average.update(net, progress.step)
        progress.tick(losses)
        if progress.step % 50 == 0:
            state.log(config.out, {"step": progress.step, "s": round(progress.seconds), **progress.means()})
        if time.monotonic() - saved > 180:
            state.save_checkpoint(config.out / "parser.pt", progress, parts)
            saved = time.monotonic()
    state.save_checkpoint(config.out / "parser.pt", progress, parts)
    state.log(
        config.out,
        {
            "step": progress.step,
            "validation": validate(average.net, validation, posed=config.posed, device=config.device),
        },
    )
    return average.net


def _step(net, optimiser, config: ParserTraining, progress: state.TrainingProgress, sample) -> dict[str, float]:
    image, target, points = sample
    heat_target, valid = heat_targets(points, tuple(image.shape[1:]))
    for group in optimiser.param_groups:
        group["lr"] = state.learning_rate(config.rate, progress.fraction, progress.step)
    with precision(config.device):
        masks, heat = net(image[None].to(config.device, memory_format=torch.channels_last_3d))
    tensors = (target[None], heat_target[None], valid[None])
    terms = loss_terms(masks, heat, *[t.to(config.device) for t in tensors])
    optimiser.zero_grad(set_to_none=True)
    sum(terms.values(), torch.zeros(())).backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    return {key: float(value.detach()) for key, value in terms.items()}


def validate(net: HeadParserNet, samples: list[heads.ParserSample], *, posed: bool, device: str) -> dict[str, float]:
    """Brain Dice at 2 mm (mean, worst) and landmark error in mm (median, 95 %) on whole, untouched heads."""
    if not samples:
        return {}
    dices, errors = [], []
    for sample in samples:
        image = sample.image.astype(np.float32) / 160
        grid = Grid(sample.image.shape, np.diag([2.0, 2, 2, 1]))  # millimetres of the sample's own raster
        if posed:
            frame = headparser.brain_frame(2 * sample.points, np.isfinite(sample.points).all(axis=1).astype(float))
            parse = headparser.parse_in_frame(image, grid, frame, net, device)
            brain, points = (
                geometry.resample(parse.brain.astype(np.float32), parse.grid.affine, grid) > 0.5,
                parse.points,
            )
        else:
            brain, _, heat = headparser.run_network(net, image, device)
            brain, points = headparser.largest_component(brain > 0.5), headparser.decode_heatmaps(heat, grid)[0]
        dices.append(2 * (brain & sample.brain).sum() / (brain.sum() + sample.brain.sum()))
        errors.append(np.linalg.norm(points - 2 * sample.points, axis=1))
    face = np.array(errors)[:, : len(FACE_LANDMARKS)]
    return {
        "brain_dice_mean": round(float(np.mean(dices)), 4), "brain_dice_min": round(float(np.min(dices)), 4),
        "face_mm_median": round(float(np.nanmedian(face)), 2),
        "face_mm_p95": round(float(np.nanpercentile(face, 95)), 2),
        "all_mm_median": round(float(np.nanmedian(errors)), 2),
    }  # fmt: skip
