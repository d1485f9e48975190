"""Takes the face out of a companion: another volume of the session, of any contrast, grid and field of view.

A companion is parsed for itself and brought to the first volume by its brain; headers may be wrong. Its mask is its own
face and that of the first volume, which its field of view may have cut off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.common.progress import Cancelled, raise_if_cancelled
from RefaceLib.face import promise
from RefaceLib.face.deface import deface
from RefaceLib.face.weights import Models
from RefaceLib.head import facemask
from RefaceLib.head.faceparts import FaceParts
from RefaceLib.head.headcheck import inspect_pose
from RefaceLib.head.headparser import HeadParse, brain_frame, conform, parse_in_frame
from RefaceLib.head.pose import parse_head
from RefaceLib.head.register import Registration, moved, register
from RefaceLib.pipeline import RefaceResult, check, named_landmarks
from RefaceLib.volume.air import measure_air
from RefaceLib.volume.geometry import Grid
from RefaceLib.volume.io import Volume, check_values, in_ordinary_units

_FAR_MM, _FAR_DEGREES = 5.0, 5.0  # between two headers of one session


@dataclass(frozen=True, eq=False)
class CompanionResult:
    """A companion without its face; arrays (I, J, K) are in its own grid.

    ``landmarks`` are RAS mm of its header; ``registered_mm`` and ``registered_degrees`` tell how far its brain lay from
    that of the first volume by the headers. ``counts`` and ``face_removed`` are as in RefaceResult.
    """

    stored: np.ndarray
    mask: np.ndarray
    brain: np.ndarray
    landmarks: dict[str, tuple[float, float, float]]
    counts: dict[str, float]
    face_removed: dict[str, float]
    registered_mm: float
    registered_degrees: float
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Match:
    """A companion on ``grid``, parsed, and the first volume's parse in its world.

    ``mirror`` (4 x 4) leads there from the header's world: the identity, but where left is right.
    """

    mirror: np.ndarray
    grid: Grid
    parse: HeadParse
    first: HeadParse
    registration: Registration

    @property
    def mirrored(self) -> bool:
        return bool(self.mirror[0, 0] < 0)


def deface_companion(
    other: Volume, first: Volume, result: RefaceResult, models: Models, *, cancelled: Cancelled | None = None
) -> CompanionResult:
    """Take the face out of ``other``, a volume of the same head as ``first``, of which the ``result`` is.

    Raises HeadNotFoundError where no brain is found in it, InputError where it is of another head, PromiseError where a
    check of the result fails, and CancelledError. The arguments are never changed.
    """
    raise_if_cancelled(cancelled)
    other = in_ordinary_units(other)
    warnings = [*other.warnings, *check_values(other)]
    values = other.values()
    finite = np.isfinite(values)
    values[~finite] = measure_air(values).level
    match = _match(other, values, Grid(result.mask.shape, first.affine), result.parse, models)
    warnings += _inspect(match)
    raise_if_cancelled(cancelled)
    brain, mask = _brain_and_face(match, result.ears)
    mask &= finite
    values[~finite] = np.nan
    stored = deface(other, values, mask).stored
    left = FaceParts(match.parse, match.grid.shape, match.grid.affine).outside(mask)
    promise.verify_removed(left, ears=result.ears, name=other.name)
    return CompanionResult(
        stored=stored, mask=mask, brain=brain, landmarks=named_landmarks(moved(match.parse, match.mirror)),
        counts=check(other, stored, mask, brain), face_removed=promise.face_removed(left),
        registered_mm=round(match.registration.mm, 1), registered_degrees=round(match.registration.degrees, 1),
        warnings=tuple(warnings),
    )  # fmt: skip


# ---- the same head ----


def _match(other: Volume, values: np.ndarray, first_view: Grid, first: HeadParse, models: Models) -> _Match:
    """Find the head of the first volume in ``other``, or in its mirror image, where a header mistakes the sides."""
    for mirror in (np.eye(4), np.diag([-1.0, 1.0, 1.0, 1.0])):
        try:
            match = _match_as(values, mirror, Grid(values.shape, mirror @ other.affine), first_view, first, models)
        except HeadNotFoundError as error:
            raise HeadNotFoundError(
                f"No brain was found in {other.name} that could be matched with the first volume: "
                "give a volume with the whole brain."
            ) from error
        if match:
            return match
    raise InputError(
        f"{other.name} does not show the head of the first volume (the brains do not match): "
        "give a volume of the same person, or deface it by itself."
    )


def _match_as(
    values: np.ndarray, mirror: np.ndarray, grid: Grid, first_view: Grid, first: HeadParse, models: Models
) -> _Match | None:
    """The match in one world, None where the heads are not the same."""
    parse = parse_head(values, grid.affine, models.localizer, models.parser, models.device)
    registration = register(first, first_view, parse, grid)
    if not registration.same_head:
        return None
    # The first volume may show more of the head, and tells its pose better.
    frame = registration.matrix @ brain_frame(first.points, first.certainty)
    again = parse_in_frame(*conform(values, grid.affine), frame, models.parser, models.device)
    return _Match(mirror, grid, replace(again, turn=parse.turn), moved(first, registration.matrix), registration)


def _inspect(match: _Match) -> list[str]:
    """Warnings about what the headers say, and about a likeness that leaves doubt."""
    found, registration = inspect_pose(match.parse), match.registration
    if match.mirrored:
        found.append("Left and right are exchanged between the headers of this volume and the first.")
    if registration.mm > _FAR_MM or registration.degrees > _FAR_DEGREES:
        found.append(
            f"By its header the head lies {registration.mm:.0f} mm and {registration.degrees:.0f} degrees away from "
            "that of the first volume; it was brought there by its brain."
        )
    if not registration.sure:
        found.append("It could not be made out for certain that this is the head of the first volume: check it.")
    return found


# ---- the mask ----


def _brain_and_face(match: _Match, ears: bool) -> tuple[np.ndarray, np.ndarray]:
    """Brain and face (bool, I, J, K) by either parse: one that a field of view or a contrast misled has the other."""
    shape, affine = match.grid.shape, match.grid.affine
    brain, guarded, face = (np.zeros(shape, dtype=bool) for _ in range(3))
    for parse in (match.parse, match.first):
        brain |= facemask.to_native(parse.likelihood, parse.grid, shape, affine)
        guarded |= facemask.to_native(facemask.protected(parse, parse.grid), parse.grid, shape, affine)
        face |= facemask.face_mask(parse, shape, affine, ears=ears)
    return brain, face & ~guarded & ~brain
