"""What speaks against a head that was found: a brain out of view, a uniform one, one without a head around it."""

from __future__ import annotations

import numpy as np

from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.head import canonical, refusal
from RefaceLib.head.facemask import canonical_coordinates, missing_mask
from RefaceLib.head.faceparts import INNER, FaceParts, Part, share_left
from RefaceLib.head.fieldofview import field_of_view
from RefaceLib.head.headparser import HeadParse, brain_frame
from RefaceLib.head.pose import cut_cm2, is_turned, turned_by
from RefaceLib.volume import geometry

# Of a usual face's tissue: more is a whole face (0.4 to 1.6 in heads that are not cut), less was defaced (at most 0.1).
WHOLE, DEFACED = 0.6, 0.25
_FILLED = 0.2  # of the middle of a face has one exact value only where a tool has filled it
_SCALP_MM = (14.0, 20.0)  # from the brain
_RIM_MM = (2.0, 8.0, 16.0)  # within the brain: where its rim begins and ends, and where its core begins
# Dice of a brain and of the mean one in its place: 0.86 to 0.95 in 60 scans of any contrast, 0.80 in a wrong pose.
_LEAST_DICE = 0.83
_MOST_MISSING = 0.1  # the largest share of a head without values
# The field of view may cut the brain over so much; above _HIGH_MM (canonical) it is far from the face.
_MOST_CUT_CM2, _HIGH_MM = 75.0, 45.0


def inspect_view(values: np.ndarray, affine: np.ndarray, parse: HeadParse) -> None:
    """Raise HeadNotFoundError where a volume cuts through so much brain that it does not tell where the face is.

    ``values`` (I, J, K) and ``affine`` (IJK -> RAS mm) are those of the volume, ``parse`` is what was found in it.
    """
    if cut_cm2(parse, field_of_view(values, affine), below=_HIGH_MM) > _MOST_CUT_CM2:
        raise HeadNotFoundError(refusal.CUT)


def inspect_head(shape: tuple[int, ...], affine: np.ndarray, parse: HeadParse) -> None:
    """Raise HeadNotFoundError for a brain out of view, a uniform one, and one without a head around it.

    ``shape`` and ``affine`` (IJK -> RAS mm) are those of the volume: where it ends.
    """
    image, view = parse.picture, geometry.in_view(shape, affine, parse.grid)
    brain = parse.brain & view
    if brain.sum() < 0.2 * parse.brain.sum():
        raise HeadNotFoundError("Too little of the brain is in the field of view to place a face: give a whole head.")
    mean = canonical.in_brain(*canonical_coordinates(parse.grid, brain_frame(parse.points, parse.certainty))) & view
    if 2 * (brain & mean).sum() < _LEAST_DICE * (brain.sum() + mean.sum()):
        raise HeadNotFoundError(
            "What was found for a brain does not lie where its landmarks put it, so that the place of the face is not "
            "certain: give a volume without large filled regions, or a head as it was scanned."
        )
    dark, grey, white = np.percentile(image[brain], (10, 50, 90))
    if white - dark < 0.05 * grey:
        raise HeadNotFoundError("No head was found in the volume: what was taken for a brain is uniform.")
    # Far enough out that a brain found too small does not count its own rim as scalp.
    near, far = (geometry.dilate_mm(parse.brain, mm, parse.grid.affine) for mm in _SCALP_MM)
    scalp = image[view & far & ~near]
    if scalp.size and (scalp > 0.12 * white).mean() < 0.05:
        raise HeadNotFoundError(
            "The volume holds a brain without a head (skull-stripped): there is no face to replace."
        )


def inspect_values(finite: np.ndarray, affine: np.ndarray, parse: HeadParse) -> None:
    """Raise InputError where much of the head has no value; ``finite`` (I, J, K; bool) is on the volume's grid."""
    if finite.all():
        return
    missing = geometry.resample((~finite).astype(np.float32), affine, parse.grid) > 0.5
    share = float(missing[parse.head].mean())
    if share > _MOST_MISSING:
        raise InputError(f"The volume has no finite value (NaN or Inf) in {share:.0%} of the head: repair it.")


def inspect_contrast(shape: tuple[int, ...], affine: np.ndarray, parse: HeadParse) -> list[str]:
    """A warning where the brain's rim is not darker than its core: a face, which is made for T1, may not match."""
    brain = parse.brain & geometry.in_view(shape, affine, parse.grid)
    outer, inner, core = (brain & ~geometry.dilate_mm(~brain, mm, parse.grid.affine) for mm in _RIM_MM)
    rim, core = parse.picture[outer & ~inner], parse.picture[core]
    if core.size and np.median(rim) > 0.97 * np.median(core):
        return ["The volume does not look T1-weighted: the face is made for T1 and may not match."]
    return []


def inspect_pose(parse: HeadParse, *, placed: bool) -> list[str]:
    """A warning about a header that says something else than the head, or nothing where it is not ``placed``."""
    if not is_turned(parse):
        return []
    said = "says wrongly" if placed else "does not say"
    return [
        f"The header {said} how the head lies: the head was found turned by "
        f"{turned_by(parse):.0f} degrees, and was used as it lies. Correct the header before you use it elsewhere."
    ]


def gap(values: np.ndarray, affine: np.ndarray, parse: HeadParse, parts: FaceParts) -> np.ndarray | None:
    """What a tool has blanked (bool, I, J, K), where it took out eyes, nose, mouth or chin; else None.

    ``values`` (I, J, K) and ``affine`` (IJK -> RAS mm) are those of the volume, ``parse`` and ``parts`` of its head.
    """
    shown = (part for name, part in parts.outside().items() if name in INNER)
    if not any(part.left < DEFACED * part.usual for part in shown):
        return None
    missing = missing_mask(values, affine, parse)
    numbers, counts = np.unique(values[missing], return_counts=True)
    return missing & (values == numbers[counts.argmax()]) if len(numbers) else missing  # without its rim


def parts_there(values: np.ndarray, affine: np.ndarray, parse: HeadParse, parts: FaceParts) -> dict[str, Part]:
    """What is left of each part of the face; what a tool has filled with a grey is gone.

    ``values`` (I, J, K) and ``affine`` (IJK -> RAS mm) are those of the volume, ``parse`` and ``parts`` of its head.
    """
    filled = parts.filled(values) > _FILLED
    return parts.outside(missing_mask(values, affine, parse) if filled else None)


def choose_mode(mode: str, parts: dict[str, Part]) -> str:
    """What is to be done to a head by what is left of its face: ``mode``, or for 'auto' 'reface' or 'recover'.

    ``parts`` count as left what no other tool has taken out. InputError for a face that is to be recovered and is
    there.
    """
    share = share_left(parts)
    if mode == "recover" and share > WHOLE:
        raise InputError("The head has a face, so there is none to recover: give it a new one instead.")
    return mode if mode != "auto" else "recover" if share < DEFACED else "reface"
