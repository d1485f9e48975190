"""A head made of ellipsoids, for tests that need anatomy in the right place but no real person.

The head is given in RAS millimetres with its origin at the brain's centre, so it can be painted on any grid: pass any
shape, spacing, axis order or rotation and the same head comes out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from RefaceLib.volume.io import Volume

AIR, SKIN, SKULL, CSF, GREY, WHITE, MUSCLE, EYE, CAVITY, TEETH, VENTRICLE = range(11)

# T1-like values by tissue; they fit into uint8, and wider data types get them times four.
_INTENSITY = np.array([2.0, 190.0, 22.0, 40.0, 95.0, 140.0, 85.0, 35.0, 8.0, 15.0, 40.0], dtype=np.float32)
_NOISE = 3.0  # standard deviation in each of the two channels of the receiver, in the same units

# What a scanner's field of view is centred on: a little in front of the brain and well below its centre.
FOV_CENTRE = (0.0, 5.0, -25.0)

# The six points that the head parser looks for, RAS millimetres; left and right are the subject's.
LANDMARKS: dict[str, tuple[float, float, float]] = {
    "left_eye": (-32.0, 66.0, -35.0),
    "right_eye": (32.0, 66.0, -35.0),
    "nose_tip": (0.0, 106.0, -60.0),
    "left_mouth": (-24.0, 84.0, -90.0),
    "right_mouth": (24.0, 84.0, -90.0),
    "chin": (0.0, 89.0, -117.0),
}


@dataclass(frozen=True)
class _Ellipsoid:
    label: int
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]


def _both_sides(label: int, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> list[_Ellipsoid]:
    x, y, z = centre
    return [_Ellipsoid(label, (-x, y, z), radii), _Ellipsoid(label, (x, y, z), radii)]


# Painted in this order, later over earlier.
_HEAD: list[_Ellipsoid] = [
    _Ellipsoid(SKIN, (0, -15, -150), (55, 60, 130)),  # neck
    _Ellipsoid(MUSCLE, (0, -15, -150), (50, 55, 126)),
    _Ellipsoid(SKIN, (0, 40, -65), (60, 50, 64)),  # face, from the brow to the chin
    _Ellipsoid(MUSCLE, (0, 39, -65), (55, 45, 59)),
    *_both_sides(SKIN, (30, 65, -62), (24, 22, 20)),  # cheeks
    _Ellipsoid(SKIN, (0, 76, -112), (17, 15, 13)),  # chin
    _Ellipsoid(SKIN, (0, 88, -48), (9, 12, 20)),  # nose: bridge, tip, wings
    _Ellipsoid(SKIN, (0, 95, -60), (11, 11, 9)),
    *_both_sides(SKIN, (9, 91, -63), (8, 9, 7)),
    *_both_sides(CAVITY, (5, 92, -67), (3, 6, 4)),  # nostrils
    *_both_sides(SKIN, (69, -8, -38), (9, 15, 27)),  # ears
    _Ellipsoid(SKIN, (0, 0, 0), (75, 95, 74)),  # scalp, then the skull inside it
    _Ellipsoid(SKULL, (0, 0, 0), (70, 89, 68)),
    _Ellipsoid(CSF, (0, 0, 0), (67, 85, 63)),
    _Ellipsoid(CAVITY, (0, 65, -55), (11, 22, 20)),  # nasal cavity
    _Ellipsoid(SKIN, (0, 82, -90), (27, 9, 9)),  # lips, jaw, teeth, tongue
    _Ellipsoid(SKULL, (0, 56, -98), (34, 24, 14)),
    _Ellipsoid(TEETH, (0, 72, -90), (22, 8, 8)),
    _Ellipsoid(MUSCLE, (0, 46, -92), (22, 24, 12)),
    _Ellipsoid(CAVITY, (0, 86, -90), (22, 6, 1.5)),  # the line between the lips
    *_both_sides(SKIN, (32, 62, -35), (18, 18, 16)),  # orbits with their fat, eyeballs
    *_both_sides(EYE, (32, 66, -35), (12, 12, 12)),
    _Ellipsoid(GREY, (0, 0, 0), (65, 82.5, 60)),  # brain
    _Ellipsoid(WHITE, (0, 0, 0), (60, 77, 55)),
    *_both_sides(VENTRICLE, (10, 5, 8), (6, 28, 8)),
]
_BRAIN = (GREY, WHITE, VENTRICLE)


def voxel_affine(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    axcodes: str = "RAS",
    oblique: float = 0.0,
    fov_centre: tuple[float, float, float] = FOV_CENTRE,
) -> np.ndarray:
    """(4, 4) float64, IJK -> RAS mm, of a grid whose middle lies at `fov_centre`.

    `shape` and `spacing` (mm) are in the order of the voxel axes; `axcodes` names where each of those axes points
    (three letters, one of each pair R/L, A/P, S/I); `oblique` turns the grid about the three world axes by that many
    degrees.
    """
    linear = np.zeros((3, 3))
    for axis, (code, step) in enumerate(zip(axcodes, spacing, strict=True)):
        world = next(i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair)
        linear[world, axis] = step if code in "RAS" else -step
    if abs(np.linalg.det(linear)) == 0:
        raise ValueError(f"axcodes {axcodes!r} name one direction twice")
    affine = np.eye(4)
    affine[:3, :3] = _rotation(oblique) @ linear
    affine[:3, 3] = np.asarray(fov_centre) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return affine


def _rotation(degrees: float) -> np.ndarray:
    turn = np.eye(3)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for i, j in ((0, 1), (1, 2), (0, 2)):
        about = np.eye(3)
        about[[i, j], [i, j]] = c
        about[i, j], about[j, i] = -s, s
        turn = turn @ about
    return turn


def paint_labels(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """(I, J, K) uint8, the tissue at every voxel's centre (AIR, SKIN, ... as named above)."""
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    x, y, z = (
        (affine[r, 0] * i + affine[r, 1] * j + affine[r, 2] * k + affine[r, 3]).astype(np.float32) for r in range(3)
    )
    labels = np.zeros(shape, dtype=np.uint8)
    for part in _HEAD:
        (cx, cy, cz), (rx, ry, rz) = part.centre, part.radii
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2 <= 1
        labels[inside] = part.label
    return labels


def brain_mask(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """(I, J, K) bool, the phantom's brain (with its ventricles) on that grid."""
    return np.isin(paint_labels(shape, affine), _BRAIN)


def make_phantom(
    shape: tuple[int, int, int] = (64, 64, 64),
    spacing: tuple[float, float, float] = (4.0, 4.0, 4.0),
    axcodes: str = "RAS",
    dtype: str | np.dtype | type = np.int16,
    seed: int = 0,
    *,
    oblique: float = 0.0,
    fov_centre: tuple[float, float, float] = FOV_CENTRE,
) -> Volume:
    """A T1-like head with scanner noise (Rician), as RefaceLib reads it from a file, but without a file behind it.

    The grid is that of `voxel_affine`; the head needs about 160 x 210 x 210 mm (left-right, back-front, top to below
    the chin). `dtype` may have any byte order. The same arguments give the same bits.
    """
    affine = voxel_affine(shape, spacing, axcodes, oblique, fov_centre)
    signal = _INTENSITY[paint_labels(shape, affine)]
    random = np.random.default_rng(seed)
    real = signal + random.normal(0, _NOISE, shape).astype(np.float32)
    imaginary = random.normal(0, _NOISE, shape).astype(np.float32)
    magnitude = np.hypot(real, imaginary)
    dtype = np.dtype(dtype)
    if dtype.itemsize > 1:
        magnitude *= 4
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        magnitude = np.clip(np.rint(magnitude), limits.min, limits.max)
    return Volume(stored=magnitude.astype(dtype), affine=affine)
