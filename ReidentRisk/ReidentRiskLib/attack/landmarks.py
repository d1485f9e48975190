"""The pose of a head and the five points by which its face is aligned, found once in 3D.

Points are RAS mm in the order of FIVE, which names the subject's sides: the subject's right eye is on the left of a
picture, and first in the templates of face recognisers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.head import canonical
from RefaceLib.head.headparser import HeadParse, brain_frame
from RefaceLib.skin.surface import vertices
from RefaceLib.volume.geometry import apply_affine, fit_similarity
from ReidentRiskLib.attack.render import camera, project
from ReidentRiskLib.attack.sights import Sight
from ReidentRiskLib.attack.views import View

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

FIVE = ("right_eye", "left_eye", "nose_tip", "right_mouth", "left_mouth")
_MIRRORED = [1, 0, 2, 4, 3]  # FIVE in a mirror

# Where the parser's points lie in the mean head, and how far in front of them its skin is: canonical mm, medians of 159
# adults. The parser finds the middle of the eyeballs.
_PARSED = canonical.FACE_POINTS[[canonical.FACE_LANDMARKS.index(name) for name in FIVE]]
_FORWARD = np.array([15.5, 15.5, 3.4, 4.8, 4.8])[:, None] * [0.0, 1.0, 0.0]
SKIN_POINTS = _PARSED + _FORWARD

_CERTAIN = 0.4  # share of the parser's heat map near its peak; below it, a point is not believed
_MISFIT = 15.0  # mm between the five points and the mean head's, brought to fit
_SHIFT = 50.0  # mm between their middle and where the brain lets it be expected
_TURN = 45.0  # degrees between the face and the brain, or RAS where nothing but the five points is known
_SCALES = (0.65, 1.35)  # of a face against the mean adult's

_DISC = 4.0  # mm; the skin in front of a point is what lies in a disc about it
_LAYER = 5.0  # mm; of that, the outermost
_REACH = 10.0  # mm by which the skin may lie elsewhere than expected; what is farther away is a hole or an artefact
_SPREAD = 9.0  # mm; the detector's point is not believed where it differs more from picture to picture
_DEPTH = 20.0  # mm before or behind the parser's point; the detector's is not believed beyond: it is in a hole
_PIXELS = 2.5  # of a detector's point; the skin in this circle is where it lies


@dataclass(frozen=True, eq=False)
class Pose:
    """``frame`` (4, 4): the similarity canonical -> RAS mm of the head; ``points`` (5, 3): FIVE on the skin, RAS mm."""

    frame: np.ndarray
    points: np.ndarray


def find_pose(parse: HeadParse, surface: vtkPolyData, sights: Mapping[View, Sight] | None = None) -> Pose:
    """The pose of a parsed head whose skin is ``surface`` (RAS mm).

    The frame comes from the brain alone, so that taking the face away does not move it. The points are the parser's,
    brought forward onto the skin; with ``sights`` in that frame (see sights.look), what the detector finds in the
    pictures and their mirror images takes their place where the pictures agree. Points that cannot be found are those
    of the mean head.
    """
    frame = brain_frame(parse.points, parse.certainty)
    skin = _face_skin(surface, frame)
    points = _parsed_points(parse, frame)
    if sights:
        seen = _detected_points(sights, frame, skin)
        believed = np.abs(seen[:, 1:2] - points[:, 1:2]) < _DEPTH  # never where NaN
        seen = np.where(believed, seen, points)
        points = seen if _is_face(seen) else points
    return Pose(frame, apply_affine(frame, _onto_skin(points, skin)))


def pose_from_points(points: np.ndarray, frame: np.ndarray | None = None) -> Pose:
    """The pose of a head whose five points (5, 3; RAS mm, in the order of FIVE) the user gives.

    ``frame`` is that of the parsed head; without it the points tell the frame as well. Raises InputError for points
    that check_points refuses.
    """
    points = check_points(points, frame)
    return Pose(fit_similarity(SKIN_POINTS, points) if frame is None else frame, points)


def check_points(points: np.ndarray, frame: np.ndarray | None = None) -> np.ndarray:
    """``points`` as (5, 3) floats; InputError where they cannot be FIVE of the head with this ``frame``.

    Caught are exchanged sides, another order, LPS coordinates, and points of another head or space. Without a frame
    the head is taken to lie within 45 degrees of upright in RAS.
    """
    points = np.asarray(points, float)
    if points.shape != (5, 3) or not np.isfinite(points).all():
        raise InputError(f"Five points of three finite RAS coordinates are needed: {_names(FIVE)}.")
    to_canonical = np.eye(4) if frame is None else np.linalg.inv(frame)

    def fits(candidate: np.ndarray) -> bool:
        return _is_face(apply_affine(to_canonical, candidate), np.inf if frame is None else _SHIFT)

    if fits(points):
        return points
    if fits(points[_MIRRORED]):
        raise InputError("Left and right of the five points are exchanged: give the subject's sides, right first.")
    if fits(points * [-1, -1, 1]):
        raise InputError("The five points are in LPS coordinates: change the signs of x and y to give them in RAS.")
    if any(fits(points[list(order)]) for order in permutations(range(5))):
        raise InputError(f"The five points are in the wrong order: give {_names(FIVE)} (the subject's sides).")
    raise InputError(f"The five points are not on this head's face: give RAS mm of its own space, {_names(FIVE)}.")


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)


def _is_face(points: np.ndarray, shift: float = _SHIFT) -> bool:
    """Whether ``points`` (5, 3), canonical mm, lie to each other as FIVE do, and about where and how they should."""
    if np.ptp(points, axis=0).max() < 1:
        return False
    fit = fit_similarity(SKIN_POINTS, points)
    scale = np.cbrt(np.linalg.det(fit[:3, :3]))
    misfit = np.linalg.norm(apply_affine(fit, SKIN_POINTS) - points, axis=1).max() / scale
    turned = fit[:3, :3].diagonal().min() < scale * np.cos(np.radians(_TURN))
    away = np.linalg.norm(points.mean(axis=0) - SKIN_POINTS.mean(axis=0))
    return bool(_SCALES[0] < scale < _SCALES[1] and misfit < _MISFIT and not turned and away < shift)


def _parsed_points(parse: HeadParse, frame: np.ndarray) -> np.ndarray:
    """About where FIVE lie on the skin (5, 3), canonical mm: by the parser, by the mean head where it is not sure."""
    order = [canonical.LANDMARKS.index(name) for name in FIVE]
    points = apply_affine(np.linalg.inv(frame), parse.points[order]) + _FORWARD
    sure = parse.certainty[order] > _CERTAIN
    if sure.sum() < 3:
        return SKIN_POINTS.copy()
    guessed = apply_affine(fit_similarity(SKIN_POINTS[sure], points[sure]), SKIN_POINTS)
    points = np.where(sure[:, None], points, guessed)
    return points if _is_face(points) else SKIN_POINTS.copy()


def _face_skin(surface: vtkPolyData, frame: np.ndarray) -> np.ndarray:
    """Vertices of the face (N, 3) in canonical mm, those alone that look to the front."""
    points, normals, _ = vertices(surface)
    inside = apply_affine(np.linalg.inv(frame), points)
    x, y, z = inside.T
    face = (np.abs(x) < 80) & (y > 20) & (z > -150) & (z < 30) & (normals @ frame[:3, 1] > 0)
    return inside[face]


def _onto_skin(points: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """``points`` (N, 3) moved along y onto the outermost skin; those without skin nearby stay. All in canonical mm."""
    moved = points.copy()
    for point in moved:
        near = skin[np.hypot(*(skin - point)[:, ::2].T) < _DISC, 1]
        depth = near[near > near.max() - _LAYER].mean() if near.size else np.inf
        if abs(depth - point[1]) < _REACH:
            point[1] = depth
    return moved


def _detected_points(sights: Mapping[View, Sight], frame: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """What a detector of faces finds, lifted onto the skin: (5, 3) canonical mm, NaN for what cannot be believed."""
    found = np.full((2 * len(sights), 5, 3), np.nan)
    for i, (view, sight) in enumerate(sights.items()):
        width = len(sight.picture)
        lift = _lifter(skin, frame, view, width)
        if sight.face:
            found[2 * i] = lift(sight.face.points)
        # The mirror image takes out what the detector does differently on either side.
        if sight.mirrored:
            found[2 * i + 1] = lift(np.array([width - 1, 0]) + sight.mirrored.points[_MIRRORED] * [-1, 1])
    middle = _median(found)
    spread = _median(np.linalg.norm(found - middle, axis=2))
    often = np.isfinite(found[..., 0]).mean(axis=0) > 0.5
    return np.where((often & (spread < _SPREAD))[:, None], middle, np.nan)


def _median(values: np.ndarray) -> np.ndarray:
    """Median over the first axis of what is not NaN; NaN where all is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmedian(values, axis=0)


def _lifter(skin: np.ndarray, frame: np.ndarray, view: View, size: int) -> Callable[[np.ndarray], np.ndarray]:
    """From pixels (N, 2) of ``view`` to the skin seen there: (N, 3) canonical mm, NaN where there is none."""
    world = apply_affine(frame, skin)
    pixels, nearness = project(world, frame, view, size), world @ camera(frame, view).direction

    def lift(points: np.ndarray) -> np.ndarray:
        lifted = np.full((len(points), 3), np.nan)
        for row, point in zip(lifted, points, strict=True):
            here = np.flatnonzero(np.hypot(*(pixels - point).T) < _PIXELS)
            if here.size:
                row[:] = skin[here[nearness[here] > nearness[here].max() - _LAYER]].mean(axis=0)
        return lifted

    return lift
