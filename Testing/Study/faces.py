"""What an attacker sees of a head: embeddings of its renderings, and the points of its skin.

Everything is looked at in the pose of the original. Embeddings and skin are biometric data: the folder of a study is
to be kept as safe as the scans.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import measures
import numpy as np

from RefaceLib.errors import HeadNotFoundError
from RefaceLib.geometry import apply_affine
from RefaceLib.io import Volume, read_volume
from RefaceLib.render import face_surface
from ReidentRiskLib import compare
from ReidentRiskLib.heads import Head, HeadEmbedding
from ReidentRiskLib.landmarks import Pose
from ReidentRiskLib.views import view_set

RECIPE = 1  # to be raised when what is stored changes
VIEWS = "standard"
PICTURE = "yaw+0_pitch+0_key_left"  # the view that is kept as a picture
NEAR_MM = 60.0  # from one of the five points: skin that others are compared with
_MOST_POINTS = 6000


@cache
def tools(model: str, accept_licence: bool) -> compare.Tools:
    """The networks, loaded once a process, which uses one thread: the processes must not stall each other."""
    import torch

    torch.set_num_threads(1)
    return compare.load_tools(model, "cpu", accept_licence=accept_licence)


@dataclass(frozen=True, eq=False)
class Face:
    """A stored face: embedding, ``frame`` (canonical -> RAS mm), five ``points`` (RAS mm), and ``skin`` (N, 3).

    ``skin`` is in upright mm: turned and moved as the canonical head, but not scaled, so that heads can be compared.
    """

    embedding: HeadEmbedding
    frame: np.ndarray
    points: np.ndarray
    skin: np.ndarray

    @property
    def size(self) -> float:
        """The size of the head; 1 is the mean adult's."""
        return scale_of(self.frame)


def scale_of(frame: np.ndarray) -> float:
    return float(np.cbrt(np.linalg.det(frame[:3, :3])))


def upright(points: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """RAS mm (N, 3) of a head in upright mm."""
    return apply_affine(np.linalg.inv(frame), points) * scale_of(frame)


def look_at(
    name: str, path: Path, out: Path, original: tuple[Path, Path] | None, model: tuple[str, bool]
) -> dict[str, Any]:
    """Embed the head in ``path`` and keep its face in ``out`` (.npz) and a picture beside it.

    ``original``: volume and stored face of the original, None for an original itself. ``model``: see ``tools``. A
    volume in which no head is found is kept as one that no attacker acquires.
    """
    used, volume = tools(*model), read_volume(path)
    before = None
    if original is not None:
        first = load(original[1])
        before = found_original(name, read_volume(original[0]), first)
    try:
        face = compare.look_at(name, volume, used, VIEWS, original=before, keep_pictures=True)
        surface, note = face.found.head.surface, " ".join(face.notes)
        frame, points = (
            (face.found.head.pose.frame, face.found.head.pose.points) if before is None else (first.frame, first.points)
        )
        skin = near_skin(measures.surface_points(surface), points, frame)
        picture = face.embedding.pictures[[view.name for view in view_set(VIEWS)].index(PICTURE)]
        save_picture(out.with_suffix(".png"), picture)
    except HeadNotFoundError as error:
        if before is None:
            raise
        note = str(error)
        face = compare.not_found(name, used, VIEWS, note)
        frame, points, skin = first.frame, first.points, np.zeros((0, 3))
    kept = {"forced": face.embedding.forced, "gated": face.embedding.gated, "frame": frame, "points": points}
    np.savez_compressed(out, **kept, skin=skin.astype(np.float32), model=used.embedder.name)
    acquired = np.isfinite(face.embedding.gated).all(axis=1)
    return {
        "model": used.embedder.name,
        "size": scale_of(frame),
        "accepted": float(acquired.mean()),
        "note": note,
    }


def found_original(name: str, volume: Volume, face: Face) -> compare.Found:
    """The original as ReidentRiskLib wants it, from what is stored of it."""
    head = Head(name, face_surface(volume.values(), volume.affine), Pose(face.frame, face.points))
    return compare.Found(name, head, compare.OWN, (volume.stored.shape, volume.affine))


def near_skin(skin: np.ndarray, points: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Those of ``skin`` (N, 3; RAS mm) that are near the five ``points``, in upright mm, thinned."""
    away = np.min([((skin - point) ** 2).sum(axis=1) for point in points], axis=0)
    return upright(measures.thinned(skin[away < NEAR_MM**2], _MOST_POINTS), frame)


def load(path: Path, name: str | None = None) -> Face:
    """A stored face; its embedding is called ``name``."""
    with np.load(path) as content:
        embedding = HeadEmbedding(
            name or path.stem, str(content["model"]), VIEWS, content["forced"], content["gated"]
        )  # fmt: skip
        return Face(embedding, content["frame"], content["points"], content["skin"].astype(float))


def save_picture(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path, format="PNG")
