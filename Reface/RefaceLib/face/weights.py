"""The weights, shipped or of one's own: their registry, their hashes, and how they become networks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from RefaceLib.common.errors import WeightsError
from RefaceLib.common.hashing import sha256_of
from RefaceLib.face.fitted import FittedConstants
from RefaceLib.face.shapemodel import SPACING, Atlas, Detail, ShapeModel
from RefaceLib.head import canonical
from RefaceLib.networks.inference import choose_device, placed

if TYPE_CHECKING:
    from torch import nn

    from RefaceLib.networks.layers import FineGenerator, Generator, HeadParserNet

Net = TypeVar("Net", bound="nn.Module")
REGISTRY = "registry.json"
NAMES = ("localizer", "parser", "shape", "detail", "coarse", "fine")


@dataclass(frozen=True, eq=False, kw_only=True)
class Parsers:
    """The networks that find a head, on a ``device``."""

    localizer: HeadParserNet
    parser: HeadParserNet
    device: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Models(Parsers):
    """Everything that was learnt, loaded once and used for many volumes.

    ``fitted`` are the constants that belong to these weights; ``about`` has name, version and sha256 of the generator.
    """

    shape: ShapeModel
    atlas: Atlas
    coarse: Generator
    fine: FineGenerator
    fitted: FittedConstants
    about: dict[str, str]


def models_folder() -> Path:
    """Where the shipped weights are: in the installed package, or beside it in the source tree and in Slicer."""
    here = Path(__file__).parents[1]  # RefaceLib
    for folder in (here / "Resources" / "Models", here.parent / "Resources" / "Models"):
        if (folder / REGISTRY).exists():
            return folder
    raise WeightsError("The weights of the networks are not installed: install Reface again.")


def read_registry(folder: Path | None = None) -> dict[str, Any]:
    """The registry: one entry per file of weights, by name (see NAMES), and the section "fitted" (see FittedConstants).

    ``folder``: that of other weights than the shipped ones, as `reface train` writes it. Raises WeightsError where the
    registry lacks one of the files, or constants that were fitted to them.
    """
    path = (folder or models_folder()) / REGISTRY
    try:
        registry = json.loads(path.read_text(encoding="utf-8"))
        complete = all({"file", "sha256"} <= set(registry["models"][name]) for name in NAMES)
    except (OSError, ValueError, LookupError, TypeError):
        complete = False
    if not complete:
        raise WeightsError(
            f"{path.parent} holds no weights of Reface: choose the folder Models that a training has written."
        )
    try:
        FittedConstants.of(registry.get("fitted"))
    except ValueError as error:
        raise WeightsError(
            f"The weights in {path.parent} have no constants that were fitted to them: export them again."
        ) from error
    return registry


def registry_hashes(folder: Path | None = None) -> dict[str, str]:
    """What tells weights from others: the SHA-256 of every file by its name, and of the constants fitted to them."""
    registry = read_registry(folder)
    fitted = hashlib.sha256(json.dumps(registry["fitted"], sort_keys=True).encode()).hexdigest()
    return {**{name: registry["models"][name]["sha256"] for name in NAMES}, "fitted": fitted}


def write_registry(registry: dict[str, Any], folder: Path) -> None:
    """Write the registry of own weights into their ``folder``."""
    (folder / REGISTRY).write_text(json.dumps(registry, indent=2) + "\n", encoding="utf-8")


def checked_file(name: str, folder: Path | None = None) -> Path:
    """The path of the weights ``name`` after a check of their hash."""
    entry = read_registry(folder)["models"][name]
    path = (folder or models_folder()) / entry["file"]
    if not path.exists() or sha256_of(path) != entry["sha256"]:
        advice = "export them again" if folder else "install Reface again"
        raise WeightsError(f"The weights file {path.name} is missing or damaged: {advice}.")
    return path


def about_generator(folder: Path | None = None) -> dict[str, str]:
    """Name, version and hash of the generator for the report: the hash covers all files that make the face."""
    registry = read_registry(folder)
    parts = [registry["models"][name]["sha256"] for name in ("shape", "detail", "coarse", "fine")]
    joined = hashlib.sha256("".join(parts).encode()).hexdigest()
    return {"name": registry.get("name", "own"), "version": registry.get("version", "?"), "sha256": joined}


def load_shape_model(folder: Path | None = None) -> tuple[ShapeModel, Atlas]:
    """The statistical shape model and its atlas: modes are stored as bytes with one scale a mode."""
    from safetensors.numpy import load_file

    arrays = {name: array.astype(np.float32) for name, array in load_file(checked_file("shape", folder)).items()}
    modes = arrays["modes"] * arrays["scales"].reshape(-1, 1, 1, 1)
    fields = arrays["bends"] * arrays["bend_scales"].reshape(-1, 1, 1, 1, 1)
    atlas = Atlas(arrays["picture"], arrays["depth"], arrays["centre"], fields, load_detail(folder))
    return ShapeModel(arrays["mean"], modes), atlas


def save_shape_model(path: Path, model: ShapeModel, atlas: Atlas) -> None:
    """Write a shape model and its atlas as safetensors (see load_shape_model)."""
    from safetensors.numpy import save_file

    modes, scales = _to_bytes(model.modes)
    fields, field_scales = _to_bytes(atlas.modes)
    half = {"mean": model.mean, "picture": atlas.picture, "depth": atlas.depth, "centre": atlas.centre}
    arrays = {name: array.astype(np.float16) for name, array in half.items()}
    save_file({**arrays, "modes": modes, "scales": scales, "bends": fields, "bend_scales": field_scales}, path)


def load_detail(folder: Path | None = None) -> Detail:
    """The details of faces: only voxels about the skin are stored, their flat indices beside them."""
    from safetensors.numpy import load_file

    arrays = load_file(checked_file("detail", folder))
    shape = canonical.box(SPACING).shape
    mean, modes = np.zeros(shape, np.float32), np.zeros((len(arrays["modes"]), *shape), np.float32)
    mean.ravel()[arrays["places"]] = arrays["mean"]
    modes.reshape(len(modes), -1)[:, arrays["places"]] = arrays["modes"] * arrays["scales"][:, None]
    return Detail(mean, modes)


def save_detail(path: Path, detail: Detail) -> None:
    """Write details as safetensors (see load_detail)."""
    from safetensors.numpy import save_file

    modes, scales = _to_bytes(detail.modes.reshape(len(detail.modes), -1))
    places = np.flatnonzero(modes.any(axis=0))
    mean, modes = detail.mean.ravel()[places].astype(np.float16), np.ascontiguousarray(modes[:, places])
    save_file({"mean": mean, "modes": modes, "scales": scales, "places": places.astype(np.int32)}, path)


def _to_bytes(modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scales = np.maximum(np.abs(modes).reshape(len(modes), -1).max(axis=1), 1e-12) / 127
    steps = modes / scales.reshape(-1, *[1] * (modes.ndim - 1))
    return np.rint(steps).astype(np.int8), scales.astype(np.float32)


def _load_network(name: str, network: Net, device: str, folder: Path | None = None) -> Net:
    from safetensors.torch import load_file

    path = checked_file(name, folder)
    try:
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except RuntimeError as error:  # other layers, of another version
        raise WeightsError(f"The weights in {path} do not fit this version of Reface: train them again.") from error
    return placed(network, device).eval().requires_grad_(False)


def save_network(path: Path, network: nn.Module) -> None:
    """Write a network's weights in half precision as safetensors."""
    from safetensors.torch import save_file

    save_file({key: value.detach().cpu().half().contiguous() for key, value in network.state_dict().items()}, path)


def load_models(device: str = "auto", folder: Path | None = None) -> Models:
    """All networks on a ``device`` ('auto', 'cpu', 'cuda', 'mps'), loaded once; they serve for many volumes.

    ``folder``: other weights than the shipped ones, as `reface train` writes them. Raises WeightsError for a file that
    is missing, damaged, or of another version, InputError for a device that this computer lacks.
    """
    return _load_once(choose_device(device), folder)


def load_parsers(device: str = "auto") -> Parsers:
    """As ``load_models``, but the shipped networks that find a head alone."""
    return _parsers_once(choose_device(device), None)


@cache
def _parsers_once(device: str, folder: Path | None) -> Parsers:
    from RefaceLib.networks.layers import localizer_net, parser_net

    return Parsers(
        localizer=_load_network("localizer", localizer_net(), device, folder),
        parser=_load_network("parser", parser_net(), device, folder),
        device=device,
    )


@cache
def _load_once(device: str, folder: Path | None) -> Models:
    from RefaceLib.networks.layers import FineGenerator, Generator

    parsers = _parsers_once(device, folder)
    shape, atlas = load_shape_model(folder)
    return Models(
        localizer=parsers.localizer,
        parser=parsers.parser,
        shape=shape,
        atlas=atlas,
        coarse=_load_network("coarse", Generator(shape.size), device, folder),
        fine=_load_network("fine", FineGenerator(), device, folder),
        fitted=FittedConstants.of(read_registry(folder)["fitted"]),
        device=device,
        about=about_generator(folder),
    )
