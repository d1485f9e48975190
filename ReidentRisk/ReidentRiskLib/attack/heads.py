"""From a volume to the embeddings of its face: read, find the surface and its pose, draw, align, embed.

A de-identified version of a head is drawn in the pose of the original (``landmarks_of``). So no change to the face can
hide it from the attacker.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.common.imagenames import image_extension
from RefaceLib.common.progress import Cancelled, Progress, raise_if_cancelled
from RefaceLib.head.headparser import HeadParse, brain_frame
from RefaceLib.head.pose import parse_head
from RefaceLib.skin.surface import face_surface, vertices
from RefaceLib.volume.air import measure_air
from RefaceLib.volume.geometry import apply_affine, voxel_sizes
from RefaceLib.volume.io import Volume, check_values, read_volume
from ReidentRiskLib.attack import align
from ReidentRiskLib.attack.landmarks import Pose, find_pose, pose_from_points
from ReidentRiskLib.attack.render import project
from ReidentRiskLib.attack.sights import Sights, detect, draw, look
from ReidentRiskLib.attack.views import view_set

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

    from RefaceLib.face.weights import Parsers
    from ReidentRiskLib.attack.detector import Detector
    from ReidentRiskLib.attack.embedder import Embedder

_INSIDE = 0.08  # of the vertices of a surface: when more lie deep in the brain, it is not the skin (real heads: 0.002)
_APART = 6.0  # mm between the crowns of two heads that are said to lie in one space


@dataclass(frozen=True, eq=False)
class Head:
    """A head as an attacker has it: the skin (RAS mm, closed, with normals), its pose, and what was seen of it."""

    name: str
    surface: vtkPolyData
    pose: Pose
    sights: Sights | None = None


@dataclass(frozen=True, eq=False)
class HeadEmbedding:
    """Embeddings of one head in V views of the set ``views``: biometric data, to be kept as such.

    ``aligned`` (V, D) float32 are unit vectors of faces aligned by the points of the head. ``detected`` (V, D) are
    those of faces as the detector found them: NaN in the rows of views in which it found none, and in all rows when
    there was no detector. ``pictures`` (V, S, S, 3), ``crops`` (V, 112, 112, 3; aligned by the points) and
    ``found`` (as crops, aligned by the detector; black where it found no face) are uint8, None when not asked for.
    """

    name: str
    model: str
    views: str
    aligned: np.ndarray
    detected: np.ndarray
    pictures: np.ndarray | None = None
    crops: np.ndarray | None = None
    found: np.ndarray | None = None


@dataclass(frozen=True)
class _Watch:
    progress: Progress | None
    cancelled: Cancelled | None

    def at(self, fraction: float, text: str) -> None:
        """Report progress; raise CancelledError where the user wants to stop."""
        raise_if_cancelled(self.cancelled)
        if self.progress:
            self.progress(fraction, text)


def read_head(
    source: str | Path | Volume | np.ndarray,
    affine: np.ndarray | None = None,
    *,
    name: str | None = None,
    points: np.ndarray | None = None,
    landmarks_of: Head | None = None,
    models: Parsers | None = None,
    detector: Detector | None = None,
    parse: HeadParse | None = None,
) -> Head:
    """The head in a file, a Volume, or an array (I, J, K) with its ``affine`` (4, 4; IJK -> RAS mm).

    ``points`` (5, 3; RAS mm, landmarks.FIVE) are the user's and replace those found. ``landmarks_of`` is the original
    of this head, in the same space: its pose is used, and none is searched for. ``detector`` improves the points (see
    landmarks.find_pose). ``models`` are RefaceLib's (loaded when None), and ``parse`` is what they find where that is
    known already (see parse_volume). Raises InputError (HeadNotFoundError where there is no head, or none where the
    original lies).
    """
    volume = _volume(source, affine)
    values, affine = head_values(volume)
    sights = None
    if landmarks_of is not None:
        surface = face_surface(values, affine)
        _check_same_head(surface, landmarks_of)
        pose = landmarks_of.pose if points is None else pose_from_points(points, landmarks_of.pose.frame)
    else:
        parse = parse or parse_values(values, affine, models)
        surface = face_surface(values, affine)
        _check_skin(surface, parse)
        frame = brain_frame(parse.points, parse.certainty)
        if points is None:
            sights = look(surface, frame, detector) if detector else None
            pose = find_pose(parse, surface, sights.views if sights else None)
        else:
            pose = pose_from_points(points, frame)
    return Head(name or _name(volume), surface, pose, sights)


def embed_head(
    head: Head,
    embedder: Embedder,
    views: str = "standard",
    detector: Detector | None = None,
    *,
    landmarks_of: Head | None = None,
    keep_pictures: bool = False,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> HeadEmbedding:
    """Draw ``head`` in the ``views`` of a set and embed its face, aligned by its points and by the ``detector``.

    The points of ``landmarks_of`` (the original, in the same space) take the place of the head's own. Raises
    CancelledError when ``cancelled`` says so.
    """
    chosen, pose = view_set(views), (landmarks_of or head).pose
    known = head.sights if pose is head.pose else None
    watch = _Watch(progress, cancelled)
    count = len(chosen)
    pictures = draw(
        head.surface, pose.frame, chosen, known, each=lambda i: watch.at(0.5 * i / count, f"drawing {head.name}")
    )
    crops = np.stack([
        _face(picture, project(pose.points, pose.frame, view, len(picture)))
        for picture, view in zip(pictures, chosen, strict=True)
    ])  # fmt: skip
    watch.at(0.5, f"embedding {head.name}")
    aligned = embedder.embed(crops)
    detected, found = np.full_like(aligned, np.nan), np.zeros_like(crops)
    if detector is not None:
        watch.at(0.7, f"detecting faces of {head.name}")
        detections = detect(pictures, chosen, detector, known)
        watch.at(0.85, f"embedding {head.name}")
        if seen := {i: face.points for i, face in enumerate(detections) if face is not None}:
            found[list(seen)] = [_face(pictures[i], points) for i, points in seen.items()]
            detected[list(seen)] = embedder.embed(found[list(seen)])
    watch.at(1.0, f"embedded {head.name}")
    kept = dict(pictures=pictures, crops=crops, found=found) if keep_pictures else {}
    return HeadEmbedding(head.name, embedder.name, views, aligned, detected, **kept)


def _face(picture: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The aligned face (112, 112, 3) in a rendering (S, S, 3), whose three channels are the same."""
    return np.repeat(align.crop(picture[..., :1], points), 3, axis=2)


def head_values(volume: Volume) -> tuple[np.ndarray, np.ndarray]:
    """The values (I, J, K; finite, axes along R, A and S) of a volume and their affine (IJK -> RAS mm).

    Raises InputError for a volume whose values cannot be used.
    """
    check_values(volume)
    stored, affine = _along_ras(volume.stored, volume.affine)
    values = volume.codec.to_values(stored)
    finite = np.isfinite(values)
    if not finite.all():
        values[~finite] = measure_air(values).level
    return values, affine


def parse_volume(volume: Volume, models: Parsers) -> HeadParse:
    """The parse of the head in a volume. Raises as head_values and parse_values."""
    return parse_values(*head_values(volume), models)


def parse_values(values: np.ndarray, affine: np.ndarray, models: Parsers | None) -> HeadParse:
    """The parse of a head of which ``head_values`` are given.

    HeadNotFoundError where there is none, or a brain without a head around it.
    """
    from RefaceLib.face.weights import load_parsers
    from RefaceLib.head.headcheck import inspect_head

    models = models or load_parsers()
    parse = parse_head(values, affine, models.localizer, models.parser, models.device)
    inspect_head(values.shape, affine, parse)
    return parse


def _volume(source: str | Path | Volume | np.ndarray, affine: np.ndarray | None) -> Volume:
    if isinstance(source, Volume):
        return source
    if isinstance(source, (str, Path)):
        return read_volume(source)
    values = np.asarray(source)
    if values.ndim != 3 or affine is None:
        raise InputError(f"A head needs a 3D volume with an affine, not an array of shape {values.shape}.")
    return Volume(values, np.asarray(affine, float))


def _name(volume: Volume) -> str:
    if volume.source is None:
        return "head"
    name = volume.source.path.name
    return name[: len(name) - len(image_extension(name))]


def _along_ras(stored: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers with their axes as near to R, A and S as reordering and turning them round can bring them.

    They are in C order. Nothing is resampled, so a head gives the same result in every orientation of its storage.
    """
    along = np.abs(affine[:3, :3] / voxel_sizes(affine))
    order = list(max(permutations(range(3)), key=lambda axes: along[range(3), axes].sum()))  # those of R, A and S
    stored, affine = stored.transpose(order), affine[:, [*order, 3]].astype(float)
    for axis in range(3):
        if affine[axis, axis] < 0:
            stored = np.flip(stored, axis)
            affine[:3, 3] += (stored.shape[axis] - 1) * affine[:3, axis]
            affine[:3, axis] *= -1
    return np.ascontiguousarray(stored), affine


def _check_skin(surface: vtkPolyData, parse: HeadParse) -> None:
    """HeadNotFoundError where the surface runs through what was taken for a brain."""
    deep = ndimage.binary_erosion(parse.brain, iterations=3)
    index = np.rint(apply_affine(np.linalg.inv(parse.grid.affine), vertices(surface)[0])).astype(int)
    index = index[((index >= 0) & (index < deep.shape)).all(axis=1)]
    if len(index) == 0 or deep[tuple(index.T)].mean() > _INSIDE:
        raise HeadNotFoundError("No head was found in the volume: there is no closed skin around a brain.")


def _check_same_head(surface: vtkPolyData, original: Head) -> None:
    """HeadNotFoundError unless the crown and the back of the original's head are here too, and nothing else there.

    No de-identification changes those, and a head that is elsewhere would be drawn beside the picture.
    """
    to_canonical = np.linalg.inv(original.pose.frame)
    kept, found = (_crown(each, to_canonical) for each in (original.surface, surface))
    apart = np.inf
    if len(kept) and len(found):
        apart = max(np.median(cKDTree(a).query(b[::7])[0]) for a, b in ((kept, found), (found, kept)))
    if apart > _APART:
        raise HeadNotFoundError(
            f"The volume does not hold the head of '{original.name}' in the same space: give volumes of one space, or"
            " compare them without the landmarks of the original."
        )


def _crown(surface: vtkPolyData, to_canonical: np.ndarray) -> np.ndarray:
    """Vertices (N, 3) of the crown and the back of a head, canonical mm."""
    points = apply_affine(to_canonical, vertices(surface)[0])
    return points[(points[:, 2] > 35) | ((points[:, 1] < -30) & (points[:, 2] > -40))]
