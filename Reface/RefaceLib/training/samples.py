"""Sample pictures of a training: what the coarse stage paints on the validation heads, beside the real thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from RefaceLib.face.shapemodel import Atlas, ShapeModel
from RefaceLib.networks.inference import precision
from RefaceLib.training.boxes import Box
from RefaceLib.training.faces import FaceSample, random_face


def write_samples(
    path: Path,
    generator: torch.nn.Module,
    heads: list[Box],
    model: ShapeModel,
    atlas: Atlas,
    device: str,
    count: int = 8,
) -> None:
    """A PNG of ``count`` heads: rows are the real head, one painted with its own code, and two with drawn codes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(8, min(count, len(heads)), figsize=(2.2 * count, 17), squeeze=False)
    for column, box in enumerate(heads[:count]):
        samples = [random_face(np.random.default_rng((column, k)), box, model, atlas, own=k == 0) for k in range(3)]
        pictures = [samples[0].image] + [_composed(generator, s, device) for s in samples]
        for row, picture in enumerate(pictures):
            array = picture[0, 0].numpy()
            for half, plane in enumerate((array[48], array[:, :, 60])):
                axes[2 * row + half, column].imshow(np.clip(plane.T, 0, 1.4), origin="lower", cmap="gray")
    for axis in axes.ravel():
        axis.axis("off")
    figure.subplots_adjust(0, 0, 1, 1, 0.02, 0.02)
    figure.savefig(path, dpi=60)
    plt.close(figure)


def _composed(generator: torch.nn.Module, sample: FaceSample, device: str) -> torch.Tensor:
    inputs = [t.to(device) for t in (sample.image, sample.mask, sample.shape, sample.atlas, sample.view, sample.code)]
    with torch.inference_mode(), precision(device):
        painted = generator(*inputs)
    return (sample.image * (1 - sample.mask) + painted.float().cpu() * sample.view * sample.mask).clamp(0, 2)
