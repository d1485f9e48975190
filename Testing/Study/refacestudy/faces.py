"""What an attacker sees of a head: embeddings of its renderings, and the points of its skin.

Everything is looked at in the pose of the original. Embeddings and skin are biometric data: the folder of a study is
to be kept as safe as the scans.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.skin.surface import face_surface
from RefaceLib.volume.geometry import apply_affine
from RefaceLib.volume.io import Volume, read_volume
from refacestudy import measures
from ReidentRiskLib.attack.heads import Head, HeadEmbedding, embed_head
from ReidentRiskLib.attack.landmarks import Pose
from ReidentRiskLib.attack.views import view_set
from ReidentRiskLib.runs.faces import embed_source, missing_face
from ReidentRiskLib.runs.tools import Tools, load_tools

RECIPE = 1  # to be raised when what is stored changes
VIEWS = "standard"
PICTURE = "yaw+0_pitch+0_key_left"  # the view that is kept as a picture
NEAR_MM = 60.0  # from one of the five points: skin that others are compared with
_MOST_POINTS = 6000


@cache
def tools(model: str, accept_licence: bool) -> Tools:
    """The networks, loaded once a process, which uses one thread: the processes must not stall each other."""
    import torch

    torch.set_num_threads(1)
    return load_tools(model, "cpu", accept_licence=accept_licence)


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


def look_at(name: str, path: Path, out: Path, original: Path | None, model: tuple[str, bool]) -> dict[str, Any]:
    """Embed the head in ``path`` and keep its face in ``out`` (.npz) and a picture beside it.

    ``original``: the stored face of the original, None for an original itself. ``model``: see ``tools``. A volume in
    which no head is found is kept as one that no attacker acquires.
    """
    used, volume = tools(*model), read_volume(path)
    note = ""
    try:
        head, embedding = _seen(name, volume, used, load(original) if original else None)
        pose = head.pose
        skin = near_skin(measures.surface_points(head.surface), pose.points, pose.frame)
        save_picture(
            out.with_suffix(".png"), embedding.pictures[[view.name for view in view_set(VIEWS)].index(PICTURE)]
        )
    except HeadNotFoundError as error:
        if original is None:
            raise
        note, pose, skin = str(error), load(original), np.zeros((0, 3))
        embedding = missing_face(name, used, VIEWS, note).embedding
    kept = {"forced": embedding.aligned, "gated": embedding.detected, "frame": pose.frame, "points": pose.points}
    np.savez_compressed(out, **kept, skin=skin.astype(np.float32), model=used.embedder.name)
    accepted = float(np.isfinite(embedding.detected).all(axis=1).mean())
    return {"model": used.embedder.name, "size": scale_of(pose.frame), "accepted": accepted, "note": note}


def _seen(name: str, volume: Volume, used: Tools, first: Face | None) -> tuple[Head, HeadEmbedding]:
    """The head in a volume and its embedding; in the pose of the original (``first``) where there is one.

    The volumes of a study lie in the grid of their originals, so nothing needs to be looked for.
    """
    if first is None:
        face = embed_source(name, volume, used, VIEWS, keep_pictures=True)
        return face.located.head, face.embedding
    head = Head(name, face_surface(*_along_ras(volume)), Pose(first.frame, first.points))
    return head, embed_head(head, used.embedder, VIEWS, used.detector, keep_pictures=True)


def _along_ras(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """Values and affine with axes about R, A and S, as originals are looked at: the skin must not differ."""
    turn = nib.io_orientation(volume.affine)
    values = np.nan_to_num(nib.apply_orientation(volume.values(), turn), posinf=0.0, neginf=0.0)
    turned = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.stored.shape)
    return np.ascontiguousarray(values), turned


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
