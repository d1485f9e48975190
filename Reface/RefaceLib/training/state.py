"""What every training shares: time budget, moving average of the weights, checkpoints that resume, a log."""

from __future__ import annotations

import copy
import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)
Parts = Mapping[str, nn.Module | torch.optim.Optimizer]  # of a checkpoint, by name


class Averaged(Generic[Net]):
    """Exponential moving average of a network's weights; ``net`` is the averaged copy."""

    def __init__(self, net: Net, decay: float = 0.998) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1 - decay)
            else:
                mine.copy_(theirs)


class TrainingProgress:
    """Where a training stands: step and seconds over all its runs; ``fraction`` of the budget (0..1) sets the rates."""

    def __init__(self, minutes: float) -> None:
        self.step, self.seconds, self.minutes = 0, 0.0, minutes
        self._last = time.monotonic()
        self._sums: dict[str, float] = defaultdict(float)
        self._count = 0

    @property
    def fraction(self) -> float:
        return min(self.seconds / (60 * self.minutes), 1.0)

    def restart_clock(self) -> None:
        """Do not count the time since the last step (loading data)."""
        self._last = time.monotonic()

    def tick(self, losses: dict[str, float]) -> None:
        now = time.monotonic()
        self.seconds += now - self._last
        self._last = now
        self.step += 1
        self._count += 1
        for key, value in losses.items():
            self._sums[key] += value

    def means(self) -> dict[str, float]:
        """The mean losses since the last call."""
        means = {key: round(value / max(self._count, 1), 5) for key, value in self._sums.items()}
        self._sums.clear()
        self._count = 0
        return means


def learning_rate(peak: float, fraction: float, step: int) -> float:
    """Warm-up over 50 steps, constant to half of the budget, then linearly down to a twentieth."""
    return peak * min(1.0, (step + 1) / 50) * min(1.0, max(0.05, 2 * (1 - fraction)))


def save_checkpoint(path: Path, progress: TrainingProgress, parts: Parts) -> None:
    """Write a checkpoint atomically."""
    temporary = path.with_suffix(".tmp")
    state = {name: part.state_dict() for name, part in parts.items()}
    torch.save({"step": progress.step, "seconds": progress.seconds, "parts": state}, temporary)
    os.replace(temporary, path)


def load_checkpoint(path: Path, progress: TrainingProgress, parts: Parts) -> bool:
    """Resume from ``path`` where there is one. Returns whether there was."""
    if not path.exists():
        return False
    saved = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved["parts"][name])
    progress.step, progress.seconds = saved["step"], saved["seconds"]
    return True


def log(folder: Path, row: dict[str, object]) -> None:
    """Append a JSON line to the log of the training and print it."""
    text = json.dumps(row)
    print(text, flush=True)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(text + "\n")
