"""Parses a head however it lies: as its header says or, where that is doubtful, turned or tilted.

A header that was lost or changed puts a head on its side, or its back to the front, and a face is then looked for
where there is none. Brain landmarks tell: in a pose that the networks know they are certain, and lie to each other as
in all heads.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import polar

from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.head import canonical, refusal
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.head.facemask import canonical_coordinates
from RefaceLib.head.fieldofview import field_of_view, is_cut
from RefaceLib.head.headparser import (
    SPACING,
    HeadParse,
    around_content,
    brain_frame,
    conform,
    decode_heatmaps,
    heat_maps,
    parse_in_frame,
)
from RefaceLib.networks.layers import HeadParserNet
from RefaceLib.volume import geometry
from RefaceLib.volume.air import Air, measure_air
from RefaceLib.volume.geometry import Grid

# Trust: certainty of the brain's landmarks, less so much for each mm by which they lie otherwise than in the mean head;
# of both networks together. To it is added by how much the face's landmarks are more certain than _NO_FACE: a brain on
# its head, back to front, looks much like an upright one. Upright heads: 1.34 to 1.9 (a baby's CT 0.8, one FLAIR 1.22),
# defaced ones less what a face adds; in 184 wrong poses at most 1.12.
_PER_MM, _NO_FACE, _TRUSTED = 0.03, 0.55, 1.25
_LEAST, _BETTER = 0.75, 0.25  # trust in another pose, and by so much it must be more than that in the header's
# Landmarks of the localizer that are so far off, a pose that the parser moves so far (2 to 5 mm in upright heads), or a
# tilt by so many degrees, leave the pose to be refined, until it moves no farther than _SETTLED_MM.
_ROUGH_MM, _MOVED_MM, _OBLIQUE, _SETTLED_MM, _REFINED = 6.0, 5.5, 20.0, 2.5, 4
_TILT = 35.0  # degrees, about each axis: what the networks know reaches to 30 on either side
_TRIED = 4  # of all poses, by the trust of the localizer alone
_STEPS = np.diag([SPACING, SPACING, SPACING, 1.0])  # distances are those of the canonical head, whatever its size
_CUT_MM = 19.9  # from the end of the field of view the parser may miss brain
_LARGER_MM = 8.0  # than the mean brain: nearly all are within
_NEAR_MM = 12.0  # of the mean brain: an end of the field of view so near misleads the parser
_DOUBTFUL = 0.3  # likelihood of brain that is only there because brains are: protected, but not called brain


@dataclass(frozen=True, eq=False)
class _Attempt:
    """A pose: the conformed ``image`` on ``grid`` in the world that ``turn`` (4, 4) makes of the header's."""

    turn: np.ndarray
    image: np.ndarray
    grid: Grid
    frame: np.ndarray
    located: float  # the trust of the localizer
    off: float  # mm


def parse_head(
    values: np.ndarray, affine: np.ndarray, localizer: HeadParserNet, parser: HeadParserNet, device: str,
    air: Air | None = None,
) -> HeadParse:  # fmt: skip
    """Parse a volume: ``values`` (I, J, K) finite float32, ``affine`` IJK -> RAS mm, ``air`` as in ``conform``.

    The result is in the header's RAS; its ``turn`` says when the head does not lie there as the header claims. Raises
    HeadNotFoundError where no brain of a plausible size, or no plausible arrangement of landmarks, is found.
    """
    image, grid = conform(values, affine, air)
    found: tuple[float, HeadParse] | None = None
    try:
        found = _parse(_locate(np.eye(4), image, grid, localizer, device), parser, device)
    except HeadNotFoundError as error:
        refused = error
    if found is None or found[0] < _TRUSTED:
        air = air or measure_air(values)
        if found is None and (cause := refusal.cause(values, affine, air)):
            raise HeadNotFoundError(f"No head was found in the volume: {cause}.") from refused
        if not is_cut(values, affine, air):
            found = _turned(found, image, grid, localizer, parser, device)
    if found is None:
        raise refused
    return _with_cut_brain(found[1], field_of_view(values, affine))


def _turned(
    found: tuple[float, HeadParse] | None, image: np.ndarray, grid: Grid, localizer: HeadParserNet,
    parser: HeadParserNet, device: str,
) -> tuple[float, HeadParse] | None:  # fmt: skip
    """The most trusted of other poses and its trust, or ``found`` where it is as good; None where there is no head."""
    others = sorted(_trials(image, grid, localizer, device), key=lambda trial: -trial.located)
    for trial in others[:_TRIED]:
        try:
            other = _parse(trial, parser, device)
        except HeadNotFoundError:
            continue
        if other[0] >= _LEAST and (found is None or other[0] > found[0] + _margin(found[1])):
            found = other
    return found


def cut_cm2(parse: HeadParse, view: Grid, below: float = np.inf) -> float:
    """Over how many cm2 the ``view`` (see fieldofview.field_of_view) ends in the brain, or where brains are.

    Counted is what lies ``below`` a canonical height in mm.
    """
    places = _places(parse)
    brain = (parse.brain | canonical.in_brain(*places)) & (places[2] < below)
    seen = np.pad(geometry.in_view(view.shape, view.affine, parse.grid), 1)  # the grid may end first
    near_end = geometry.dilate_mm(~seen, 2 * SPACING, _STEPS) & seen
    layer = brain & near_end[1:-1, 1:-1, 1:-1]
    return float(layer.sum() * abs(np.linalg.det(parse.grid.affine[:3, :3])) / (2 * SPACING) / 100)


def _with_cut_brain(parse: HeadParse, view: Grid) -> HeadParse:
    """The parse with brain in doubt beside places where the ``view`` ends and a brain may go on."""
    return with_brain_beside(parse, ~geometry.in_view(view.shape, view.affine, parse.grid))


def with_brain_beside(parse: HeadParse, hidden: np.ndarray) -> HeadParse:
    """The parse with brain in doubt beside what is ``hidden`` (bool, on the parse's grid) near the mean brain.

    The parser knows no heads that end there, and misses some millimetres of brain.
    """
    if not hidden.any():
        return parse
    mean = canonical.in_brain(*_places(parse))
    beyond = geometry.dilate_mm(mean, _NEAR_MM, parse.grid.affine) & hidden
    if not beyond.any():
        return parse
    missed = geometry.dilate_mm(mean, _LARGER_MM, parse.grid.affine) & geometry.dilate_mm(beyond, _CUT_MM, _STEPS)
    presumed = missed & ~parse.possible_brain()
    if parse.presumed is not None:
        presumed |= parse.presumed
    likelihood = np.where(missed, np.maximum(parse.likelihood, _DOUBTFUL), parse.likelihood)
    return replace(parse, likelihood=likelihood.astype(np.float32), presumed=presumed)


def _places(parse: HeadParse) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Canonical x, y, z (mm) of the voxels of the parse's grid, by its brain."""
    return canonical_coordinates(parse.grid, brain_frame(parse.points, parse.certainty))


def is_turned(parse: HeadParse) -> bool:
    """Whether the head lies otherwise than its header says, by more than a tilt."""
    return turned_by(parse) > _TILT + 1


def turned_by(parse: HeadParse) -> float:
    """The angle in degrees by which the head was turned to parse it."""
    return _angle(parse.turn)


def _angle(matrix: np.ndarray) -> float:
    """The angle in degrees of the rotation in a ``matrix`` (3, 3), or that of a pose (4, 4)."""
    rotation, _ = polar(matrix[:3, :3])
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))


def _margin(found: HeadParse) -> float:
    """By how much another pose must be better: the header's own is right more often than not."""
    return _BETTER if np.array_equal(found.turn, np.eye(3)) else 0.0


def _locate(turn: np.ndarray, image: np.ndarray, grid: Grid, localizer: HeadParserNet, device: str) -> _Attempt:
    """The canonical pose by the localizer alone; HeadNotFoundError where it finds no head."""
    content, content_grid = around_content(image, grid)
    points, certainty = decode_heatmaps(heat_maps(localizer, content, device), content_grid)
    frame = brain_frame(points, certainty)
    trust, off = _trust(points, certainty, frame)
    return _Attempt(turn, image, grid, frame, trust, off)


def _parse(attempt: _Attempt, parser: HeadParserNet, device: str) -> tuple[float, HeadParse]:
    """The trust in a pose and its parse, in the header's world; the pose is refined where it is rough."""
    parse = parse_in_frame(attempt.image, attempt.grid, attempt.frame, parser, device)
    frame = brain_frame(parse.points, parse.certainty)
    rough = attempt.off > _ROUGH_MM or _apart(attempt.frame, frame) > _MOVED_MM or _angle(frame) > _OBLIQUE
    for _ in range(_REFINED if rough else 0):
        try:
            parse = parse_in_frame(attempt.image, attempt.grid, frame, parser, device)
        except HeadNotFoundError:  # the pose before was the better one
            break
        last, frame = frame, brain_frame(parse.points, parse.certainty)
        if _apart(last, frame) < _SETTLED_MM:
            break
    face = float(np.median(parse.certainty[: len(FACE_LANDMARKS)]))
    trust = attempt.located + _trust(parse.points, parse.certainty, frame)[0] + max(0.0, face - _NO_FACE)
    back = np.linalg.inv(attempt.turn)
    grid = Grid(parse.grid.shape, back @ parse.grid.affine)
    points = geometry.apply_affine(back, parse.points)
    return trust, replace(parse, grid=grid, points=points, turn=attempt.turn[:3, :3])


def _trust(points: np.ndarray, certainty: np.ndarray, frame: np.ndarray) -> tuple[float, float]:
    """How far the brain's landmarks are to be trusted, and how far (mm of the mean head) they lie from its places."""
    n = len(FACE_LANDMARKS)
    off = np.linalg.norm(geometry.apply_affine(frame, canonical.BRAIN_POINTS) - points[n:], axis=1).mean()
    off /= np.cbrt(np.linalg.det(frame[:3, :3]))
    return float(np.median(certainty[n:]) - _PER_MM * off), float(off)


def _apart(frame: np.ndarray, other: np.ndarray) -> float:
    """How far (mm of the mean head) two poses put the landmarks of the brain from each other, in the mean."""
    first, second = (geometry.apply_affine(pose, canonical.BRAIN_POINTS) for pose in (frame, other))
    return float(np.linalg.norm(first - second, axis=1).mean() / np.cbrt(np.linalg.det(frame[:3, :3])))


# ---- other poses ----


def _trials(image: np.ndarray, grid: Grid, localizer: HeadParserNet, device: str) -> Iterator[_Attempt]:
    """What the localizer finds in the head turned and tilted."""
    right = ((_right_angle, rotation) for rotation in right_turns()[1:])
    tilted = ((_tilted, rotation) for rotation in _tilts())
    for turned, rotation in itertools.chain(right, tilted):
        try:
            yield _locate(*turned(image, grid, rotation), localizer, device)
        except HeadNotFoundError:
            continue


def right_turns() -> list[np.ndarray]:
    """The 24 rotations (3, 3) that take axes to axes, the identity first."""
    turns = []
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        turn = np.zeros((3, 3))
        turn[range(3), order] = signs
        if np.linalg.det(turn) > 0:
            turns.append(turn)
    return sorted(turns, key=lambda turn: -np.trace(turn))


def _tilts() -> list[np.ndarray]:
    """Rotations (3, 3) by _TILT about R, A and S, either way."""
    tilts = []
    for axis, angle in itertools.product(range(3), (-_TILT, _TILT)):
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        tilt = np.eye(3)
        first, second = (axis + 1) % 3, (axis + 2) % 3
        tilt[first, first] = tilt[second, second] = cos
        tilt[first, second], tilt[second, first] = -sin, sin
        tilts.append(tilt)
    return tilts


def about_middle(turn: np.ndarray, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The rotation ``turn`` (3, 3) about the middle of a grid, (4, 4) from RAS to RAS mm."""
    middle = geometry.apply_affine(affine, (np.array(shape) - 1) / 2)
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = middle - turn @ middle
    return matrix


def _right_angle(image: np.ndarray, grid: Grid, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, Grid]:
    """A conformed picture turned by right angles: its axes change places, and no voxel is interpolated."""
    turn = about_middle(rotation, grid.shape, grid.affine)
    affine = turn @ grid.affine
    order = [int(np.abs(affine[axis, :3]).argmax()) for axis in range(3)]
    image, affine = image.transpose(order), affine[:, [*order, 3]]
    for axis in range(3):
        if affine[axis, axis] < 0:
            image = np.flip(image, axis)
            affine[:3, 3] += affine[:3, axis] * (image.shape[axis] - 1)
            affine[:3, axis] *= -1
    return turn, np.ascontiguousarray(image), Grid(image.shape, affine)


def _tilted(image: np.ndarray, grid: Grid, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, Grid]:
    """A conformed picture turned by any angle, by interpolation."""
    turn = about_middle(rotation, grid.shape, grid.affine)
    there = geometry.ras_grid(image.shape, turn @ grid.affine, SPACING, multiple=16)
    return turn, geometry.resample(image, turn @ grid.affine, there), there
