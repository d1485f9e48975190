"""What a window shows of faces, in one file: skin, landmarks and renderings, from the program that makes them.

The file (.npz, no pickle) shows who was scanned: it is as private as the scans.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import InputError

if TYPE_CHECKING:
    from ReidentRiskLib.runs.faces import Face

EXTENSION = ".npz"
_ARRAYS = ("points", "vertices", "normals", "triangles", "pictures")


@dataclass(frozen=True, eq=False)
class FaceRecord:
    """One face: five ``points`` (5, 3) in the order of landmarks.FIVE and the skin, all in RAS mm of its volume.

    The skin is ``vertices`` (N, 3), unit ``normals`` (N, 3) and ``triangles`` (M, 3); ``pictures`` (V, S, S, 3) are
    uint8. What a photograph does not have is empty, (0, 3).
    """

    name: str
    points: np.ndarray
    vertices: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    pictures: np.ndarray


def record_of(face: Face) -> FaceRecord:
    """The record of a face that was embedded with its pictures kept."""
    from RefaceLib.skin.surface import vertices

    nothing: np.ndarray = np.zeros((0, 3))
    points = nothing if face.located is None else face.located.head.pose.points
    skin = (nothing, nothing, nothing) if face.located is None else vertices(face.located.head.surface)
    pictures = face.embedding.pictures
    return FaceRecord(face.name, points, *skin, np.zeros((0, 1, 1, 3), np.uint8) if pictures is None else pictures)


def save_faces(path: str | Path, records: Sequence[FaceRecord]) -> None:
    """Write `records` into a new file."""
    # All are arrays, and numpy has an option beside them.
    arrays: dict[str, Any] = {"names": np.array([record.name for record in records], np.str_)}
    for index, record in enumerate(records):
        arrays |= {f"{name}_{index}": np.asarray(getattr(record, name)) for name in _ARRAYS}
    with open(path, "xb") as file:
        np.savez(file, **arrays)


def load_faces(path: str | Path) -> list[FaceRecord]:
    """What save_faces wrote. Raises InputError."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return [
                FaceRecord(str(name), **{array: content[f"{array}_{index}"] for array in _ARRAYS})
                for index, name in enumerate(content["names"])
            ]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged or not a file of faces: compare the faces again.") from error
