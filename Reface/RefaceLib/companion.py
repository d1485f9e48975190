"""Takes the face out of a companion: another volume of the session, of any contrast, grid and field of view.

A companion is parsed for itself and brought to the first volume by its brain; headers may be wrong. Its mask is its own
face and that of the first volume, of which its field of view may show less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import HeadNotFoundError, OtherHeadError
from RefaceLib.face import promise
from RefaceLib.face.deface import deface
from RefaceLib.head import facemask, headcheck
from RefaceLib.head.faceparts import FaceParts
from RefaceLib.head.headparser import HeadParse, brain_frame, conform, parse_in_frame
from RefaceLib.head.pose import is_turned, parse_head
from RefaceLib.head.register import Registration, moved, register
from RefaceLib.volume import geometry
from RefaceLib.volume.air import measure_air
from RefaceLib.volume.geometry import Grid
from RefaceLib.volume.io import Volume, check_values, in_ordinary_units, tells_contradictions

if TYPE_CHECKING:
    from RefaceLib.face.weights import Models
    from RefaceLib.pipeline import RefaceResult

_FAR_MM, _FAR_DEGREES = 5.0, 5.0  # more than a person moves between two volumes


@dataclass(frozen=True, eq=False)
class CompanionResult:
    """A defaced volume, its own mask and brain (I, J, K; bool), and what its report shows.

    ``registered_mm`` and ``registered_degrees`` are how far its brain lay from that of the first volume by the headers.
    """

    stored: np.ndarray
    mask: np.ndarray
    brain: np.ndarray
    counts: dict[str, float]
    face_removed: dict[str, float]
    registered_mm: float
    registered_degrees: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Match:
    """A companion in the world of ``grid``, parsed, and the first volume's parse and grid brought to it.

    ``mirrored``: that world is the mirror image of what the header says.
    """

    grid: Grid
    parse: HeadParse
    first: HeadParse
    first_view: Grid
    registration: Registration
    mirrored: bool


@tells_contradictions
def deface_companion(other: Volume, volume: Volume, result: RefaceResult, models: Models) -> CompanionResult:
    """Deface ``other``, which shows the head of ``volume``, whose ``result`` is known.

    Raises HeadNotFoundError where no head is found in it, OtherHeadError where it is another one's, and PromiseError
    where its face would not be gone. The arguments are never changed.
    """
    other = in_ordinary_units(other)
    warnings = [*other.warnings, *check_values(other)]
    values = other.values()
    finite = np.isfinite(values)
    values[~finite] = measure_air(values).level
    match = _match(values, other.affine, Grid(volume.stored.shape, volume.affine), result.parse, models)
    headcheck.inspect_values(finite, match.grid.affine, match.parse)
    warnings += _inspect(match, placed=other.placed)
    brain, mask = _brain_and_face(match, result.ears)
    mask &= finite
    values[~finite] = np.nan  # what stands there shall not come from the face
    stored = deface(other, values, mask).stored
    counts = promise.count_changes(other.stored, stored, mask, brain)
    promise.verify(counts)
    parts = FaceParts(match.parse, match.grid.shape, match.grid.affine)
    left = parts.outside(mask | ~finite)
    promise.verify_removed(left, ears=result.ears)
    return CompanionResult(
        stored=stored,
        mask=mask,
        brain=brain,
        counts={**counts, "tissue_ml": round(parts.tissue_ml(mask), 2)},
        face_removed=promise.face_removed(left),
        registered_mm=round(match.registration.mm, 1),
        registered_degrees=round(match.registration.degrees, 1),
        warnings=tuple(warnings),
    )


# ---- the same head ----


def _match(values: np.ndarray, affine: np.ndarray, first_view: Grid, first: HeadParse, models: Models) -> _Match:
    """Find the head of the first volume in ``values`` or, where a header mistakes the sides, in their mirror image."""
    match = _match_in(Grid(values.shape, affine), values, first_view, first, models)
    if match is None:
        mirror = Grid(values.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) @ affine)
        try:
            match = _match_in(mirror, values, first_view, first, models)
        except HeadNotFoundError:
            match = None
        match = replace(match, mirrored=True) if match else None
    if match is None:
        raise OtherHeadError(
            "The volume does not show the head of the first one (their brains do not match): give volumes of one "
            "person, or deface it by itself."
        )
    return match


def _match_in(grid: Grid, values: np.ndarray, first_view: Grid, first: HeadParse, models: Models) -> _Match | None:
    """The match in one world; None where the heads are not the same."""
    parse = parse_head(values, grid.affine, models.localizer, models.parser, models.device)
    registration = register(first, first_view, parse, grid)
    if not registration.same_head:
        return None
    # The first volume may show more of the brain, and then tells the pose better.
    frame = registration.matrix @ brain_frame(first.points, first.certainty)
    again = parse_in_frame(*conform(values, grid.affine), frame, models.parser, models.device)
    return _Match(
        grid,
        replace(again, turn=parse.turn),
        moved(first, registration.matrix),
        Grid(first_view.shape, registration.matrix @ first_view.affine),
        registration,
        mirrored=False,
    )


def _inspect(match: _Match, *, placed: bool) -> list[str]:
    """Warnings about what the headers say, and about a likeness that leaves doubt."""
    found, registration = headcheck.inspect_pose(match.parse, placed=placed), match.registration
    if match.mirrored:
        found.append("Left and right are exchanged between the headers of this volume and the first one.")
    far = registration.mm > _FAR_MM or registration.degrees > _FAR_DEGREES
    if far and not is_turned(match.parse):
        found.append(
            f"The headers put the head {registration.mm:.0f} mm and {registration.degrees:.0f} degrees away from where "
            "it lies in the first volume; it was found by its brain."
        )
    if not registration.sure:
        found.append(
            "The brain is not clear enough to say for certain that this is the head of the first volume, so check that "
            "both show one person."
        )
    return found


# ---- the mask ----


def _brain_and_face(match: _Match, ears: bool) -> tuple[np.ndarray, np.ndarray]:
    """Brain and face (bool, I, J, K) by both parses: what misled the one does not mislead the other.

    About the brain there is a margin, where it is near by both, or beyond what the first volume shows.
    """
    shape, affine = match.grid.shape, match.grid.affine
    brain, face = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    near = []
    for parse in (match.parse, match.first):
        brain |= facemask.to_native(parse.likelihood, parse.grid, shape, affine)
        face |= facemask.face_mask(parse, shape, affine, ears=ears)
        near.append(facemask.to_native(facemask.protected(parse, parse.grid), parse.grid, shape, affine))
    shown = geometry.in_view(match.first_view.shape, match.first_view.affine, match.grid)
    return brain, face & ~brain & ~(near[0] & (near[1] | ~shown))
