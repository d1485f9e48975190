"""A photograph of a face as reference or probe: one face is found in it, aligned and embedded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.align import SIZE, crop, similarity, template, warp
from ReidentRiskLib.attack.views import PHOTO

if TYPE_CHECKING:
    from ReidentRiskLib.attack.detector import Detection, Detector
    from ReidentRiskLib.attack.embedder import Embedder
    from ReidentRiskLib.attack.heads import HeadEmbedding

PICTURE = 2 * SIZE  # pixels of the picture that is shown: the aligned face and as much again around it
EXTENSIONS = (".png", ".jpg", ".jpeg")
_LONGEST = 2048  # pixels; larger photographs are reduced
_SIZES = (640, 320, 1280)  # of the detector, in this order: faces of usual size, that fill the picture, small ones
_RIVAL = 0.5  # a second face of this share of the area makes the photograph ambiguous


def is_photo(path: str | Path) -> bool:
    """Whether a file is a photograph, by its name."""
    return Path(path).suffix.lower() in EXTENSIONS


def read_photo(path: str | Path) -> np.ndarray:
    """The photograph as (H, W, 3) uint8 RGB, rows from the top as the camera was held; InputError if it is none."""
    from PIL import Image, ImageOps

    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a photograph (PNG or JPEG).")
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):  # 16 bits, of which conversion would keep the lower ones
                upright = Image.fromarray((np.asarray(upright) / 257).astype(np.uint8))
            upright.thumbnail((_LONGEST, _LONGEST))
            if upright.has_transparency_data:
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "black"), upright.convert("RGBA"))
            return np.asarray(upright.convert("RGB")).copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a photograph: give a PNG or JPEG file.") from error


def embed_photo(
    path: str | Path,
    embedder: Embedder,
    detector: Detector | None = None,
    *,
    name: str | None = None,
    points: np.ndarray | None = None,
    keep_pictures: bool = False,
) -> HeadEmbedding:
    """The one face in a photograph, as a head of one view: for both attackers the same.

    ``name`` is the file's unless given. ``points`` (5, 2), pixels of read_photo's picture in the order of align, spare
    the detector. Raises InputError for a file that is no photograph, and for one without a face or with several.
    """
    from ReidentRiskLib.attack.heads import HeadEmbedding

    image = read_photo(path)
    if points is None:
        if detector is None:
            raise InputError("To find the face in a photograph, a detector or its five points are needed.")
        points = find_face(image, detector, str(path)).points
    face = crop(image, points)[None]
    embedding = embedder.embed(face)
    shown = warp(image, similarity(points, template() + SIZE / 2), (PICTURE, PICTURE))[None]
    return HeadEmbedding(
        name=name or Path(path).stem,
        model=embedder.name,
        views=PHOTO,
        aligned=embedding,
        detected=embedding.copy(),
        pictures=shown if keep_pictures else None,
        crops=face if keep_pictures else None,
        found=face if keep_pictures else None,
    )


def find_face(image: np.ndarray, detector: Detector, name: str = "The photograph") -> Detection:
    """The largest face in ``image`` (H, W, 3) uint8; InputError where there is none, or another nearly as large."""
    for size in _SIZES:
        found = sorted(detector.detect_all(image, size), key=_area, reverse=True)
        if len(found) > 1 and _area(found[1]) > _RIVAL * _area(found[0]):
            raise InputError(f"{name} shows several faces: crop it to one person.")
        if found:
            return found[0]
    raise InputError(f"No face was found in {name}: give a photograph of one face from the front.")


def _area(face: Detection) -> float:
    return float(np.prod(face.box[2:] - face.box[:2]))
