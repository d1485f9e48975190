"""From a volume or a photograph to an embedded face, with the landmarks of the original where it has one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.common.progress import Cancelled, Progress, part, raise_if_cancelled
from RefaceLib.volume.geometry import apply_affine
from RefaceLib.volume.io import Volume, read_volume
from ReidentRiskLib.attack.photo import is_photo
from ReidentRiskLib.attack.views import PHOTO, view_set
from ReidentRiskLib.runs.pointlist import GIVEN, NONE, ORIGINAL, OWN

if TYPE_CHECKING:
    from RefaceLib.head.headparser import HeadParse
    from ReidentRiskLib.attack.heads import Head, HeadEmbedding
    from ReidentRiskLib.judge.calibration import Calibration
    from ReidentRiskLib.runs.tools import Finders, Tools

Source = Path | Volume  # a file of a volume or of a photograph, or a volume

SAME_PLACE = 0.1  # mm; grids whose corners differ by less are the same


@dataclass(frozen=True, eq=False)
class LocatedHead:
    """A head in a volume and its landmarks.

    ``landmarks`` says where they come from (OWN, ORIGINAL or GIVEN); ``grid`` is shape and affine of the volume;
    ``notes`` are sentences for the user.
    """

    name: str
    head: Head
    landmarks: str
    grid: tuple[tuple[int, ...], np.ndarray]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Face:
    """A head or a photograph and its embedding; ``located`` is None for a photograph and where no head was found.

    ``lost`` says why no head was found.
    """

    name: str
    embedding: HeadEmbedding
    located: LocatedHead | None = None
    notes: tuple[str, ...] = ()
    lost: str = ""

    @property
    def landmarks(self) -> str:
        return self.located.landmarks if self.located else NONE


def find_head(
    name: str,
    source: Source,
    tools: Finders,
    *,
    original: LocatedHead | None = None,
    points: np.ndarray | None = None,
    parse: HeadParse | None = None,
) -> LocatedHead:
    """Read a head and find its landmarks.

    `original` is the head before its face was changed: its landmarks are used where this one is in the same grid and
    place. `points` (5, 3; RAS mm, landmarks.FIVE) are the user's. `parse` is that of the head where it is known. Raises
    HeadNotFoundError, InputError.
    """
    from ReidentRiskLib.attack.heads import read_head

    volume = source if isinstance(source, Volume) else read_volume(source)
    grid, notes = (volume.stored.shape, volume.affine), list(volume.warnings)
    if points is None and original is not None:
        if same_grid(grid, original.grid):
            try:
                return LocatedHead(
                    name, read_head(volume, name=name, landmarks_of=original.head), ORIGINAL, grid, tuple(notes)
                )
            except HeadNotFoundError:
                difference = f"does not lie where {original.name} lies"
        else:
            difference = f"has another grid than {original.name}"
        notes.append(f"{name} {difference}: its own landmarks are used instead.")
    try:
        head = read_head(
            volume, name=name, points=points, models=tools.head_models, detector=tools.detector, parse=parse
        )
    except HeadNotFoundError as error:
        raise HeadNotFoundError(f"{name}: {error}") from error
    return LocatedHead(name, head, OWN if points is None else GIVEN, grid, tuple(notes))


def embed_source(
    name: str,
    source: Source,
    tools: Tools,
    views: str = "standard",
    *,
    original: LocatedHead | None = None,
    points: np.ndarray | None = None,
    parse: HeadParse | None = None,
    keep_pictures: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> Face:
    """Embed one head (see find_head for `original`, `points` and `parse`), or one photograph.

    Raises HeadNotFoundError, InputError, CancelledError.
    """
    if not isinstance(source, Volume) and is_photo(source):
        from ReidentRiskLib.attack.photo import embed_photo

        return Face(name, embed_photo(source, tools.embedder, tools.detector, name=name, keep_pictures=keep_pictures))
    from ReidentRiskLib.attack.heads import embed_head

    located = find_head(name, source, tools, original=original, points=points, parse=parse)
    raise_if_cancelled(cancelled)
    embedding = embed_head(
        located.head,
        tools.embedder,
        views,
        tools.detector,
        keep_pictures=keep_pictures,
        progress=_in_short(part(progress, 0.4, 1.0)) if progress else None,
        cancelled=cancelled,
    )
    return Face(name, embedding, located, located.notes)


def _in_short(progress: Progress) -> Progress:
    """Without the name of the head, which may be a long path: the first word says what is done."""
    return lambda fraction, stage: progress(fraction, stage.split()[0])


def same_grid(grid: tuple[tuple[int, ...], np.ndarray], other: tuple[tuple[int, ...], np.ndarray] | None) -> bool:
    """Whether two grids (shape, affine) have the same voxels in the same places."""
    if other is None or grid[0] != other[0]:
        return False
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in grid[0]])).reshape(3, -1).T
    apart = apply_affine(grid[1], corners) - apply_affine(other[1], corners)
    return bool(np.linalg.norm(apart, axis=1).max() < SAME_PLACE)


def missing_face(name: str, tools: Tools, views: str, cause: str, *notes: str) -> Face:
    """What stands for a volume in which no head was found, so that it stays in the denominator; `cause` says why."""
    from ReidentRiskLib.attack.heads import HeadEmbedding

    rows = np.full((len(view_set(views)), tools.embedder.size), np.nan, np.float32)
    return Face(name, HeadEmbedding(name, tools.embedder.name, views, rows, rows.copy()), None, notes, cause)


def warnings_of(
    faces: Sequence[Face], tools: Tools, views: str, calibrations: Mapping[str, Calibration | None]
) -> list[str]:
    """Sentences for the user about what was compared, each once."""
    warnings = [note for face in faces for note in face.notes]
    if any(face.embedding.views == PHOTO for face in faces):
        warnings.append("Similarities with a photograph are not calibrated: they get no verdict.")
    if all(calibration is None for calibration in calibrations.values()):
        warnings.append(
            f"There is no calibration for the model '{tools.embedder.name}' and the view set '{views}', and so no "
            "verdict: make one with reident-risk calibrate."
        )
    return list(dict.fromkeys(warnings))
