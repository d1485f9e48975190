"""Where a face must be, by the brain alone: whatever the face landmarks say, tissue in front of the brain is face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from RefaceLib.head import canonical
from RefaceLib.head.facemask import canonical_coordinates
from RefaceLib.head.headparser import LabelledHead, brain_frame
from RefaceLib.volume import geometry

_BEHIND_MM = 16.0  # before the back of the face mask: so much faces differ in their place before the brain
_FROM_BRAIN_MM = 8.0  # what may be brain is not counted
_TISSUE = 0.15  # of bright tissue: as bright is no air
# Canonical boxes (x from, to of its size; y from; z from, to) in mm. Each is the core of a part: it is face in all heads.
_BOXES = {
    "nose": ((0.0, 16.0), 92.0, (-70.0, -35.0)),
    "eyes": ((22.0, 40.0), 74.0, (-34.0, -15.0)),
    "mouth": ((0.0, 25.0), 72.0, (-95.0, -70.0)),
    "chin": ((0.0, 22.0), 72.0, (-124.0, -98.0)),
}
_EARS = ((72.0, 92.0), (-30.0, 5.0), (-50.0, -10.0))  # x by its size, y, z
PARTS = ("face", *_BOXES, "ears")
# Tissue (ml) of each part in whole heads of adults: medians of 40 heads.
USUAL_ML = {"face": 370.0, "nose": 17.0, "eyes": 8.0, "mouth": 27.0, "chin": 19.0, "ears": 20.0}


@dataclass(frozen=True)
class Part:
    """Tissue of a part of the face in ml: ``present`` in the field of view, ``left`` of it outside the mask.

    ``usual`` is what a whole head has there, of what the field of view shows; ``seen`` is the share of the part's place
    that lies in the field of view.
    """

    present: float
    left: float
    usual: float
    seen: float

    @property
    def removed(self) -> float:
        """The share (0..1) that is in the mask, or was gone before; 1 where there is nothing."""
        return 1.0 - self.left / max(self.present, self.usual, 1e-6)


def face_parts(
    parse: LabelledHead, picture: np.ndarray, shape: tuple[int, ...], affine: np.ndarray, mask: np.ndarray | None = None
) -> dict[str, Part]:
    """Every part of PARTS of a parsed head, and what of it is outside the ``mask`` (bool; None: all).

    ``picture`` is the head on the parse's grid, 0 in air and about 1 in bright tissue; ``shape`` and ``affine``
    (IJK -> RAS mm) are those of the volume and of ``mask``.
    """
    grid = parse.grid
    view = geometry.in_view(shape, affine, grid)
    brain = geometry.dilate_mm(parse.possible_brain(), _FROM_BRAIN_MM, grid.affine)
    tissue = (parse.head | (picture > _TISSUE)) & view & ~brain
    outside = tissue
    if mask is not None:
        outside = tissue & (geometry.resample(mask, affine, grid, nearest=True) < 0.5)
    ml = abs(np.linalg.det(grid.affine[:3, :3])) / 1000
    found = {}
    for name, place in _places(parse).items():
        place &= ~brain
        seen = float((place & view).sum() / max(place.sum(), 1))
        present, left = (float((place & a).sum() * ml) for a in (tissue, outside))
        found[name] = Part(present, left, USUAL_ML[name] * seen, seen)
    return found


def _places(parse: LabelledHead) -> dict[str, np.ndarray]:
    """Where each part is, on the parse's grid (bool): placed by the landmarks of the brain alone."""
    x, y, z = canonical_coordinates(parse.grid, brain_frame(parse.points, parse.certainty))
    side = np.abs(x)
    places = {"face": canonical.in_face(x, y - _BEHIND_MM, z) & (z < 0) & (z > -120) & (side < 60)}
    for name, (sides, front, heights) in _BOXES.items():
        places[name] = _between(side, sides) & (y > front) & _between(z, heights)
    places["ears"] = _between(side, _EARS[0]) & _between(y, _EARS[1]) & _between(z, _EARS[2])
    return places


def _between(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    return (values >= ends[0]) & (values < ends[1])
