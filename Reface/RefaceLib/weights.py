"""The shipped weights: a registry, their hashes, and how they become networks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.errors import WeightsError
from RefaceLib.shapemodel import ShapeModel

if TYPE_CHECKING:
    from RefaceLib.networks import FineGenerator, Generator, HeadParserNet

REGISTRY = "registry.json"


@dataclass(frozen=True, eq=False)
class Models:
    """Everything that was learnt, loaded once and used for many volumes. ``about``: name, version, sha256."""

    parser: HeadParserNet
    shape: ShapeModel
    coarse: Generator
    fine: FineGenerator
    device: str
    about: dict[str, str]


def models_folder() -> Path:
    """Where the weights are: in the installed package, or beside it in the source tree and in Slicer."""
    here = Path(__file__).parent
    for folder in (here / "Resources" / "Models", here.parent / "Resources" / "Models"):
        if (folder / REGISTRY).exists():
            return folder
    raise WeightsError("The weights of the networks are not installed: install Reface again.")


def read_registry(folder: Path | None = None) -> dict[str, Any]:
    """The registry: one entry a file of weights, by name ('parser', 'shape', 'coarse', 'fine')."""
    return json.loads(((folder or models_folder()) / REGISTRY).read_text(encoding="utf-8"))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def checked_file(name: str) -> Path:
    """The path of the weights ``name`` after a check of their hash."""
    folder = models_folder()
    entry = read_registry(folder)["models"][name]
    path = folder / entry["file"]
    if not path.exists() or sha256_of(path) != entry["sha256"]:
        raise WeightsError(f"The weights file {path.name} is missing or damaged: install Reface again.")
    return path


def about_generator() -> dict[str, str]:
    """Name, version and hash of the generator for the report: the hash covers all files that make the face."""
    registry = read_registry()
    parts = [registry["models"][name]["sha256"] for name in ("shape", "coarse", "fine")]
    joined = hashlib.sha256("".join(parts).encode()).hexdigest()
    return {"name": registry["name"], "version": registry["version"], "sha256": joined}


def load_shape_model() -> ShapeModel:
    """The statistical shape model: the modes are stored as bytes with one scale a mode."""
    from safetensors.numpy import load_file

    arrays = load_file(checked_file("shape"))
    modes = arrays["modes"].astype(np.float32) * arrays["scales"][:, None, None, None]
    return ShapeModel(arrays["mean"].astype(np.float32), modes)


def save_shape_model(path: Path, model: ShapeModel) -> None:
    """Write a shape model as safetensors (see load_shape_model)."""
    from safetensors.numpy import save_file

    scales = np.abs(model.modes).max(axis=(1, 2, 3)) / 127
    modes = np.rint(model.modes / scales[:, None, None, None]).astype(np.int8)
    save_file({"mean": model.mean.astype(np.float16), "modes": modes, "scales": scales.astype(np.float32)}, path)


def _load_network(name: str, network: Any, device: str) -> Any:
    import torch
    from safetensors.torch import load_file

    weights = {key: value.float() for key, value in load_file(checked_file(name)).items()}
    network.load_state_dict(weights)
    return network.to(device, memory_format=torch.channels_last_3d).eval().requires_grad_(False)


def save_network(path: Path, network: Any) -> None:
    """Write a network's weights in half precision as safetensors."""
    from safetensors.torch import save_file

    save_file({key: value.detach().cpu().half().contiguous() for key, value in network.state_dict().items()}, path)


@cache
def load_models(device: str) -> Models:
    """All models on ``device`` ('cpu', 'cuda', 'mps'); raises WeightsError for a missing or damaged file."""
    from RefaceLib.networks import FineGenerator, Generator, HeadParserNet

    shape = load_shape_model()
    return Models(
        parser=_load_network("parser", HeadParserNet(), device),
        shape=shape,
        coarse=_load_network("coarse", Generator(shape.size), device),
        fine=_load_network("fine", FineGenerator(), device),
        device=device,
        about=about_generator(),
    )
