"""Defaces the other volumes of a session, each proven for itself: a T2 or a CT shows the face as the T1 does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.face import promise
from RefaceLib.face.deface import deface, mask_elsewhere
from RefaceLib.head import facemask, headcheck
from RefaceLib.head.faceparts import FaceParts
from RefaceLib.head.pose import parse_head
from RefaceLib.volume.air import measure_air
from RefaceLib.volume.geometry import Grid
from RefaceLib.volume.io import Volume, check_values

if TYPE_CHECKING:
    from RefaceLib.face.weights import Models
    from RefaceLib.pipeline import RefaceResult

_IN_PLACE = 0.8  # Dice of both brains: less, and the volume does not lie where the first one does


@dataclass(frozen=True, eq=False)
class CompanionResult:
    """A defaced volume, its own mask and brain (I, J, K; bool), and what its report shows."""

    stored: np.ndarray
    mask: np.ndarray
    brain: np.ndarray
    counts: dict[str, float]
    face_removed: dict[str, float]
    warnings: tuple[str, ...]


def deface_companion(other: Volume, volume: Volume, result: RefaceResult, models: Models) -> CompanionResult:
    """Deface ``other``, a volume of the session of ``volume``, whose ``result`` is known.

    It is parsed for itself, so that it may lie elsewhere and show more than the first volume. Its mask is its own face
    and, where both brains lie in one place, the mask of ``result``; its own brain is protected. Raises InputError where
    no head is found in it, and PromiseError where its face would not be gone.
    """
    warnings = [*other.warnings, *check_values(other)]
    values = other.values()
    finite = np.isfinite(values)
    values[~finite] = measure_air(values).level
    parse = parse_head(values, other.affine, models.localizer, models.parser, models.device)
    headcheck.inspect_values(finite, other.affine, parse)
    warnings += headcheck.inspect_pose(parse)
    grid = Grid(other.stored.shape, other.affine)
    brain = facemask.to_native(parse.likelihood, parse.grid, values.shape, other.affine)
    mask = facemask.face_mask(parse, values.shape, other.affine, ears=result.ears)
    first_brain, first_mask = (mask_elsewhere(a, volume.affine, grid) for a in (result.brain, result.mask))
    dice = 2 * float((first_brain & brain).sum()) / max(float(first_brain.sum() + brain.sum()), 1.0)
    if dice > _IN_PLACE:
        mask |= first_mask
    else:
        warnings.append(
            f"The brain does not lie where that of the first volume lies (Dice {dice:.2f}); the volume was defaced by "
            "itself, so check that both show one person."
        )
    mask &= finite & ~brain
    values[~finite] = np.nan
    stored = deface(other, values, mask).stored
    counts = promise.count_changes(other.stored, stored, mask, brain)
    promise.verify(counts)
    parts = FaceParts(parse, values.shape, other.affine)
    left = parts.outside(mask | ~finite)
    promise.verify_removed(left, ears=result.ears)
    tissue = {"tissue_ml": round(parts.tissue_ml(mask), 2)}
    return CompanionResult(stored, mask, brain, {**counts, **tissue}, promise.face_removed(left), tuple(warnings))
