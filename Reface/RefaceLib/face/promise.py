"""What is promised of every volume that is written, counted on its very numbers.

Outside the mask, and in the brain, no bit changes; the face is in the mask, wherever a face must be by the place of
the brain. The pipeline, the command line and the window ask the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import PromiseError

if TYPE_CHECKING:
    from RefaceLib.head.faceparts import Part

COUNTS = ("voxels_changed", "voxels_changed_outside_mask", "brain_voxels_changed")  # keys of every report


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where two arrays of one shape and data type differ in any bit (bool): NaN is as NaN, -0.0 is not as 0.0."""
    unsigned = f"u{before.dtype.itemsize}"
    return before.view(unsigned) != after.view(unsigned)


def count_changes(before: np.ndarray, after: np.ndarray, mask: np.ndarray, brain: np.ndarray) -> dict[str, int]:
    """How many of the stored numbers (I, J, K) changed: in all, outside the ``mask``, in the ``brain`` (bool).

    Raises PromiseError where the mask enters the brain.
    """
    if (mask & brain).any():
        raise PromiseError("The result was thrown away: the face mask enters the brain; please report this.")
    different = changed(before, after)
    found = (different, different & ~mask, different & brain)
    return {name: int(np.count_nonzero(where)) for name, where in zip(COUNTS, found, strict=True)}


def verify(counts: Mapping[str, Any], name: str = "The result") -> None:
    """Raise PromiseError unless the ``counts`` of the result ``name`` are those of a promise that holds."""
    outside, brain = counts["voxels_changed_outside_mask"], counts["brain_voxels_changed"]
    if outside or brain:
        raise PromiseError(
            f"{name} was thrown away: voxels outside the face would have changed ({outside:g} outside the mask, "
            f"{brain:g} in the brain); please report this."
        )


def verify_report(report: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    """``verify`` a result that another process made; PromiseError where its ``report`` counts otherwise."""
    verify(counts)
    if any(report[name] != counts[name] for name in COUNTS):
        raise PromiseError("The result was thrown away: its report counts otherwise; please report this.")


# ---- the face is gone ----

LEAST_REMOVED = 0.98  # of the tissue of each part of the face
_SMALLEST_ML = 0.5  # less tissue than this is a rim of voxels, not a part of a face


def parts_left(parts: Mapping[str, Part], *, ears: bool, recovered: bool = False) -> list[str]:
    """The parts of the face of which too much would stay; the ears count where they were to be removed.

    ``recovered``: another tool has removed the face. How far its mask reached to cheeks and ears was its choice; eyes,
    nose, mouth and chin count.
    """
    ignored = {"face", "ears"} if recovered else set() if ears else {"ears"}
    return [
        name
        for name, part in parts.items()
        if name not in ignored and part.removed < LEAST_REMOVED and part.left > _SMALLEST_ML
    ]


def face_removed(parts: Mapping[str, Part]) -> dict[str, float]:
    """The share of each part's tissue that is in the mask, as the report shows it."""
    return {name: round(float(part.removed), 4) for name, part in parts.items()}


def verify_removed(parts: Mapping[str, Part], *, ears: bool, recovered: bool = False) -> None:
    """Raise PromiseError unless the mask holds the face, by the place of the brain (see parts_left)."""
    left = parts_left(parts, ears=ears, recovered=recovered)
    if left:
        shares = ", ".join(f"{1 - parts[part].removed:.0%} of the {part}" for part in left)
        raise PromiseError(
            f"The result was thrown away because the face would not be gone ({shares} would stay): "
            "check the orientation and the field of view of the volume."
        )
