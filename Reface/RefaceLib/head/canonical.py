"""The canonical head: its landmarks, the box that the generator works in, and the regions of face and ears.

Canonical coordinates are RAS mm (x to the right, y to the front, z up) with the origin in the middle of the brain and
the midline at x = 0, scaled to the mean adult head. Landmarks are means of 139 adult heads after alignment of brains.
"""

from __future__ import annotations

import numpy as np

from RefaceLib.volume.geometry import Grid

FACE_LANDMARKS = ("left_eye", "right_eye", "nose_tip", "left_mouth", "right_mouth", "chin")
BRAIN_LANDMARKS = (
    "left_thalamus", "right_thalamus", "brain_stem", "left_cerebellum", "right_cerebellum", "left_frontal_pole",
    "right_frontal_pole", "left_occipital_pole", "right_occipital_pole", "left_temporal_pole", "right_temporal_pole",
)  # fmt: skip
LANDMARKS = FACE_LANDMARKS + BRAIN_LANDMARKS

_HALF = {  # of the right one; the left one is its mirror image
    "eye": (30.5, 70.9, -24.3), "mouth": (23.5, 87.0, -82.5), "thalamus": (10.7, -5.1, 0.5),
    "cerebellum": (23.3, -38.4, -43.1), "frontal_pole": (12.2, 74.4, 11.8), "occipital_pole": (14.0, -80.9, -14.6),
    "temporal_pole": (36.2, 30.5, -23.7),
}  # fmt: skip
_MIDDLE = {"nose_tip": (0.0, 115.2, -55.5), "chin": (0.0, 96.5, -113.0), "brain_stem": (0.0, -10.0, -34.3)}


def _points(names: tuple[str, ...]) -> np.ndarray:
    return np.array([_MIDDLE[n] if n in _MIDDLE else _of_side(*n.split("_", 1)) for n in names])


def _of_side(side: str, part: str) -> tuple[float, float, float]:
    x, y, z = _HALF[part]
    return (x if side == "right" else -x, y, z)


FACE_POINTS = _points(FACE_LANDMARKS)
BRAIN_POINTS = _points(BRAIN_LANDMARKS)

BOX_SIZE = np.array([192.0, 176.0, 176.0])  # mm: face, ears, brow, throat, and the air in front
BOX_CORNER = np.array([-96.0, -50.0, -146.0])  # least coordinates

BEHIND = 16.0  # mm behind the box, which ends at the ears: the visible skin to fit begins there


def box(spacing: float, behind: float = 0.0) -> Grid:
    """The generator's box as a grid of ``spacing`` mm, extended by ``behind`` mm at its back.

    At 2 mm it has 96 x 88 x 88 voxels, at 1 mm 192 x 176 x 176.
    """
    affine = np.diag([spacing, spacing, spacing, 1.0])
    more = np.array([0.0, behind, 0.0])
    affine[:3, 3] = BOX_CORNER - more + spacing / 2
    return Grid(tuple(int(n) for n in np.rint((BOX_SIZE + more) / spacing)), affine)


HEAD_SIZE = np.array([192.0, 240.0, 240.0])  # mm: the whole head, for the parser
HEAD_CORNER = np.array([-96.0, -116.0, -148.0])


def head_box(spacing: float) -> Grid:
    """The box of the whole head, ears, crown and throat, as a grid of ``spacing`` mm (2: 96 x 120 x 120 voxels)."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = HEAD_CORNER + spacing / 2
    return Grid(tuple(int(n) for n in np.rint(HEAD_SIZE / spacing)), affine)


# The back of the face, y in mm, by height z: behind the eyeballs, the teeth and the chin.
_BACK_Z = (-146.0, -132.0, -118.0, -105.0, -90.0, -60.0, -45.0, -24.0, -10.0, 2.0, 16.0)
_BACK_Y = (72.0, 58.0, 47.0, 42.0, 40.0, 42.0, 46.0, 50.0, 58.0, 72.0, 80.0)
_TOP, _BOTTOM, _SIDE = 16.0, -146.0, 88.0
_BEFORE_EARS, _EYES = 24.0, -20.0  # y, z


def in_face(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether canonical points (mm) are face: eyes, brow, nose, cheeks, mouth, teeth, chin, and the air before them."""
    return (y > _back(x, z)) & (z < _TOP) & (z > _BOTTOM) & (np.abs(x) < _SIDE)


def _back(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The canonical y (mm) of the back of the face."""
    return np.interp(z, _BACK_Z, _BACK_Y).astype(np.float32) - 0.6 * np.maximum(np.abs(x) - 35.0, 0.0)


def in_ears(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether canonical points (mm) are in the two blocks of the ears, which include the air beside them.

    Up to the height of the eyes the blocks reach to the face: a sliver of skin between two masks would stand out.
    """
    front = np.where(z < _EYES, np.maximum(_back(x, z), _BEFORE_EARS), _BEFORE_EARS)
    return (np.abs(x) > 64.0) & (np.abs(x) < 112.0) & (y > -48.0) & (y <= front) & (z > -72.0) & (z < 8.0)


# The mean brain, by height z: where it ends behind and before (y, mm), and half its width. Half of 70 heads have brain
# there; cut by the field of view, a brain is where this one is.
_BRAIN_Z = (-70.0, -58.0, -50.0, -42.0, -34.0, -26.0, -18.0, -10.0, 6.0, 22.0, 30.0, 38.0, 46.0, 54.0, 62.0, 68.0)
_BRAIN_BACK = (
    -34.0,
    -54.0,
    -62.0,
    -66.0,
    -74.0,
    -82.0,
    -84.0,
    -84.0,
    -83.0,
    -75.0,
    -71.0,
    -63.0,
    -55.0,
    -43.0,
    -16.0,
    -8.0,
)
_BRAIN_FRONT = (-14.0, -10.0, -6.0, 18.0, 34.0, 43.0, 60.0, 71.0, 79.0, 76.0, 71.0, 63.0, 55.0, 40.0, 4.0, -8.0)
_BRAIN_SIDE = (6.0, 39.0, 47.0, 52.0, 56.0, 60.0, 64.0, 64.0, 64.0, 62.0, 59.0, 52.0, 44.0, 35.0, 15.0, 1.0)


def in_brain(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether canonical points (mm) are in the mean brain: an ellipse at each height, with room for temporal poles."""
    inside = (z > _BRAIN_Z[0]) & (z < _BRAIN_Z[-1]) & (np.abs(x) < max(_BRAIN_SIDE))
    inside &= (y > min(_BRAIN_BACK)) & (y < max(_BRAIN_FRONT))
    x, y, z = (a[inside] for a in np.broadcast_arrays(x, y, z))
    back, front, side = (np.interp(z, _BRAIN_Z, ends) for ends in (_BRAIN_BACK, _BRAIN_FRONT, _BRAIN_SIDE))
    middle, length = (front + back) / 2, np.maximum((front - back) / 2, 1.0)
    across, along = (x / side) ** 2, ((y - middle) / length) ** 2
    away = np.where((z < -12.0) & (y > middle), across**2 + along**2, across + along)
    inside[inside] = away < 1.0
    return inside


_LOBES = 14.0  # mm below the ears' blocks


def in_lobes(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Whether canonical points (mm) are where long lobes of ears end: as the ears' blocks, but lower."""
    return in_ears(x, y, z + _LOBES)


# Least and largest x, y, z (mm) of all that is in the face, in the ears or in their lobes.
FACE_AND_EARS = ((-112.0, -48.0, _BOTTOM), (112.0, np.inf, _TOP))
