"""Turns aligned faces into embeddings: unit vectors whose cosine measures how similar two faces are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.progress import Cancelled, Progress
from ReidentRiskLib.attack.align import SIZE
from ReidentRiskLib.attack.models import MODELS, Model, ensure
from ReidentRiskLib.attack.sessions import open_session

if TYPE_CHECKING:
    from ReidentRiskLib.attack.sessions import Session

BATCH = 4  # crops at once, where the network takes more than one: what lies between layers stays in the cache


@dataclass(frozen=True, eq=False)
class Embedder:
    """A face recogniser, ready to run. ``name`` is that of the registry, or the file's; ``size`` of the embedding."""

    name: str
    sha256: str
    size: int
    model: Model
    session: Session

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """Embeddings (N, size) float32, unit vectors, of aligned faces (N, 112, 112, 3) uint8 RGB (see align.crop)."""
        crops = np.asarray(crops)
        if crops.ndim != 4 or crops.shape[1:] != (SIZE, SIZE, 3) or crops.dtype != np.uint8:
            raise InputError(f"Faces must be (N, {SIZE}, {SIZE}, 3) uint8, not {crops.shape} {crops.dtype}.")
        found = np.empty((len(crops), self.size), np.float32)
        step = 1 if _batch(self.session) == 1 else BATCH
        for start in range(0, len(crops), step):
            found[start : start + step] = _run(self.session, self.model, crops[start : start + step])
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def load_embedder(
    name_or_path: str | Path,
    device: str = "auto",
    accept_licence: bool = False,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Embedder:
    """The face recogniser of a name in the registry (downloaded at first use, see models.ensure), or of an ONNX file.

    A file of the user's must take what ArcFace takes, and is used as "arcface" is: one input (N, 3, 112, 112) float32,
    RGB, (x - 127.5) / 127.5, faces aligned to align.TEMPLATE; its first output is (N, D). Raises InputError for any
    other network, a wrong device or a licence not accepted; and as models.ensure.
    """
    if str(name_or_path) in MODELS:
        model = MODELS[str(name_or_path)]
        if model.use != "embedder":
            raise InputError(f"The model '{model.name}' finds faces and cannot compare them: choose {_choice()}.")
        path = ensure(model.name, accept_licence, cache, progress, cancelled)
        digest = model.sha256
    else:
        path = Path(name_or_path)
        if not path.is_file():
            raise InputError(f"There is no model and no file '{name_or_path}': choose {_choice()}, or an ONNX file.")
        digest = sha256_of(path)
        model = Model(path.stem, path.name, "embedder", "", "", digest, "the user's", mean=127.5, scale=127.5)
    session = open_session(path, device)
    _check_input(session, path)
    try:
        size = _run(session, model, np.zeros((1, SIZE, SIZE, 3), np.uint8)).shape[-1]
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{path} cannot be used: the network does not run.") from error
    if model.embedding and size != model.embedding:
        raise InputError(f"{path} gives {size} numbers instead of the {model.embedding} of '{model.name}'.")
    return Embedder(model.name, digest, size, model, session)


def _choice() -> str:
    return " or ".join(f"'{model.name}'" for model in MODELS.values() if model.use == "embedder")


def _check_input(session: Session, path: Path) -> None:
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    fits = len(shape) == 4 and all(
        not isinstance(has, int) or has == wants for has, wants in zip(shape[1:], (3, SIZE, SIZE), strict=True)
    )
    if len(inputs) != 1 or not fits or inputs[0].type != "tensor(float)":
        raise InputError(f"{path} cannot be used: a face recogniser takes one float32 input of (N, 3, {SIZE}, {SIZE}).")


def _batch(session: Session) -> int | None:
    """How many crops the network takes at once; None when any number."""
    batch = session.get_inputs()[0].shape[0]
    return batch if isinstance(batch, int) else None


def _run(session: Session, model: Model, crops: np.ndarray) -> np.ndarray:
    """The network's first output, (N, D) float32, for crops (N, 112, 112, 3) uint8 RGB."""
    channels = crops if model.colours == "RGB" else crops[..., ::-1]
    values = (channels.astype(np.float32) - np.float32(model.mean)) / np.float32(model.scale)
    values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    (found,) = session.run([session.get_outputs()[0].name], {session.get_inputs()[0].name: values})
    return np.asarray(found, np.float32).reshape(len(crops), -1)
