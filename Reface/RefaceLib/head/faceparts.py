"""Where a face must be, by the brain alone: whatever the face landmarks say, tissue in front of the brain is face."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from RefaceLib.head import canonical
from RefaceLib.head.facemask import canonical_coordinates, to_native
from RefaceLib.head.headparser import HeadParse, brain_frame
from RefaceLib.volume import geometry

_BEHIND_MM = 16.0  # before the back of the face mask: so much faces differ in their place before the brain
_FROM_BRAIN_MM = 8.0  # what may be brain is not counted
_AROUND_MM = 6.0  # about tissue that is left
_TISSUE = 0.15  # of bright tissue: as bright is no air
# Canonical boxes in mm (size of x, y from, z), each the core of a part: what is there is that part in every head.
_BOXES = {
    "nose": ((0.0, 16.0), 92.0, (-70.0, -35.0)),
    "eyes": ((22.0, 40.0), 74.0, (-34.0, -15.0)),
    "mouth": ((0.0, 25.0), 72.0, (-95.0, -70.0)),
    "chin": ((0.0, 22.0), 72.0, (-124.0, -98.0)),
}
_EARS = ((72.0, 92.0), (-30.0, 5.0), (-50.0, -10.0))  # size of x, y, z
INNER = tuple(_BOXES)  # the parts in the middle of the face
PARTS = ("face", *INNER, "ears")
_LEAST_SHOWN_ML = 5.0
LEAST_SEEN = 0.35  # of the place of a part of the face, air before it included: with less it counts as not seen
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


class FaceParts:
    """The parts of a parsed head, by the voxels of the parse's grid that are tissue.

    ``shape`` and ``affine`` (IJK -> RAS mm) are those of the volume, whose field of view counts.
    """

    def __init__(self, parse: HeadParse, shape: tuple[int, ...], affine: np.ndarray) -> None:
        self._grid, self._affine = parse.grid, affine
        frame = brain_frame(parse.points, parse.certainty)
        view = geometry.in_view(shape, affine, parse.grid)
        brain = parse.possible_brain()
        if parse.presumed is not None:  # a face that stays because it lies there counts as left
            brain &= ~parse.presumed
        brain = geometry.dilate_mm(brain, _FROM_BRAIN_MM, parse.grid.affine)
        self._tissue = np.nonzero((parse.head | (parse.picture > _TISSUE)) & view & ~brain)
        to_volume = np.linalg.inv(affine) @ parse.grid.affine
        self._nearest = self._voxels(np.transpose(self._tissue), to_volume, shape)
        where = {name: place & ~brain for name, place in places(parse.grid, frame).items()}
        self._places = {name: place[self._tissue] for name, place in where.items()}
        self._seen = {name: float((place & view).sum() / max(place.sum(), 1)) for name, place in where.items()}
        self._inner = {name: self._voxels(np.argwhere(where[name] & view), to_volume, shape) for name in INNER}
        self._ml = abs(np.linalg.det(parse.grid.affine[:3, :3])) / 1000
        self._size = abs(np.linalg.det(frame[:3, :3]))  # of the head against the mean adult's

    @staticmethod
    def _voxels(places: np.ndarray, to_volume: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
        """The voxels of the volume nearest to ``places`` (N, 3) on the parse's grid, as an index."""
        nearest = np.rint(geometry.apply_affine(to_volume, places)).astype(int)
        return tuple(np.clip(nearest, 0, np.array(shape) - 1).T)

    def without_values(self, finite: np.ndarray) -> list[str]:
        """Which of eyes, nose, mouth and chin have hardly a ``finite`` voxel (I, J, K; bool) in their place."""
        return [name for name, place in self._inner.items() if len(place[0]) and finite[place].mean() < LEAST_SEEN]

    def outside(self, mask: np.ndarray | None = None) -> dict[str, Part]:
        """Every part of PARTS, and what of it is outside the ``mask`` (I, J, K; bool) of the volume; None: all."""
        inside = False if mask is None else mask[self._nearest]
        return {name: self._part(name, place, place & ~inside) for name, place in self._places.items()}

    def left(self, mask: np.ndarray, names: Collection[str]) -> np.ndarray:
        """The tissue of the parts ``names`` outside the ``mask``, and a rim about it: bool on the volume's grid."""
        place = np.zeros(self._grid.shape, dtype=bool)
        place[self._tissue] = np.any([self._places[name] for name in names], axis=0) & ~mask[self._nearest]
        return to_native(geometry.dilate_mm(place, _AROUND_MM, self._grid.affine), self._grid, mask.shape, self._affine)

    def filled(self, values: np.ndarray) -> float:
        """The share of the middle of the face that has one exact value, as where a tool filled it with a grey."""
        place = np.any([self._places[name] for name in _BOXES], axis=0)
        numbers, counts = np.unique(values[self._nearest][place], return_counts=True)
        return float(counts.max() / counts.sum()) if len(numbers) else 0.0

    def tissue_ml(self, mask: np.ndarray) -> float:
        """How much of the ``mask`` (I, J, K; bool) of the volume is tissue of the head, and not air before it."""
        return float(mask[self._nearest].sum() * self._ml)

    def _part(self, name: str, place: np.ndarray, outside: np.ndarray) -> Part:
        present, left = (float(where.sum() * self._ml) for where in (place, outside))
        return Part(present, left, USUAL_ML[name] * self._size * self._seen[name], self._seen[name])


def share_left(parts: dict[str, Part]) -> float:
    """How much of a usual face's eyes, nose, mouth and chin is left, of what the field of view shows of them.

    1 where it shows next to nothing of them: there is no face that could have been taken away.
    """
    shown = [part for name, part in parts.items() if name in _BOXES]
    usual = sum(part.usual for part in shown)
    return sum(part.left for part in shown) / usual if usual > _LEAST_SHOWN_ML else 1.0


def places(grid: geometry.Grid, frame: np.ndarray) -> dict[str, np.ndarray]:
    """Where each part is on a grid (bool), by the ``frame`` of the brain: canonical to RAS mm."""
    x, y, z = canonical_coordinates(grid, frame)
    side = np.abs(x)
    places = {"face": canonical.in_face(x, y - _BEHIND_MM, z) & (z < 0) & (z > -120) & (side < 60)}
    for name, (sides, front, heights) in _BOXES.items():
        places[name] = _between(side, sides) & (y > front) & _between(z, heights)
    places["ears"] = _between(side, _EARS[0]) & _between(y, _EARS[1]) & _between(z, _EARS[2])
    return places


def _between(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    return (values >= ends[0]) & (values < ends[1])
