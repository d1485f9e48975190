"""The demo head on other grids, and without its face as other tools take it away."""

from __future__ import annotations

import nibabel as nib
import numpy as np
from scipy import ndimage

from RefaceLib.volume import geometry
from RefaceLib.volume.io import Volume

# Of the demo head, RAS mm, marked by hand, so that no test of a defaced head depends on the landmarks that are found.
EYES = np.array([[-25.0, 99.0, -22.0], [36.0, 97.0, -22.0]])
NOSE_TIP = np.array([6.0, 144.0, -58.0])
CHIN = np.array([5.0, 127.0, -125.0])
WHITE = 560.0  # about what white matter measures in it
TISSUE = 0.2 * WHITE


def averaged(volume: Volume, factors: tuple[int, int, int]) -> Volume:
    """The volume (int16) with blocks of ``factors`` voxels averaged into one."""
    count = np.array(volume.stored.shape) // factors
    trimmed = volume.values()[tuple(slice(0, n * f) for n, f in zip(count, factors, strict=True))]
    shape = [number for pair in zip(count, factors, strict=True) for number in pair]
    mean = trimmed.reshape(shape).mean(axis=(1, 3, 5))
    affine = volume.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] = geometry.apply_affine(volume.affine, (np.array(factors) - 1) / 2)
    return Volume(stored=np.rint(mean).astype(np.int16), affine=affine)


def reoriented(volume: Volume, axcodes: str) -> Volume:
    """The same head in the same place, its axes permuted and flipped to ``axcodes``; no voxel is interpolated."""
    there = nib.orientations.axcodes2ornt(tuple(axcodes))
    change = nib.orientations.ornt_transform(nib.io_orientation(volume.affine), there)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(change, volume.stored.shape)
    stored = np.ascontiguousarray(nib.orientations.apply_orientation(volume.stored, change))
    return Volume(stored=stored, affine=affine)


def tilted(volume: Volume, degrees: float) -> Volume:
    """The volume with an affine turned about the world's three axes: the head lies obliquely in its grid's world."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.eye(4)
    for i, j in ((0, 1), (1, 2), (0, 2)):
        about = np.eye(4)
        about[[i, j], [i, j]] = c
        about[i, j], about[j, i] = -s, s
        turn = turn @ about
    return Volume(stored=volume.stored, affine=turn @ volume.affine)


def world(volume: Volume) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """RAS mm (x, y, z; each the volume's shape) of every voxel."""
    index = np.moveaxis(np.indices(volume.stored.shape), 0, -1)
    x, y, z = np.moveaxis(geometry.apply_affine(volume.affine, index), -1, 0)
    return x, y, z


def behind_a_plane(volume: Volume) -> np.ndarray:
    """What QuickShear takes: all before and below one plane behind the eyes."""
    x, y, z = world(volume)
    normal = np.array([0.0, 1.0, -0.55])
    level = (EYES.mean(axis=0) - [0, 16, 0]) @ normal
    return y * normal[1] + z * normal[2] > level


def in_a_box(volume: Volume) -> np.ndarray:
    """What pydeface takes: a block from the eyes to the chin, to the front of the volume."""
    x, y, z = world(volume)
    middle = EYES.mean(axis=0)
    return (np.abs(x - middle[0]) < 62) & (y > middle[1] - 14) & (z < middle[2] + 14) & (z > CHIN[2] - 14)


def ragged(volume: Volume) -> np.ndarray:
    """What mri_deface takes: a ball around the face with a torn edge."""
    x, y, z = world(volume)
    centre = np.array([EYES[:, 0].mean(), 112.0, -78.0])
    radius = np.sqrt(((x - centre[0]) / 62) ** 2 + ((y - centre[1]) / 46) ** 2 + ((z - centre[2]) / 66) ** 2)
    tears = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(volume.stored.shape), 1.5)
    return radius + 0.08 * tears / tears.std() < 1


def without(volume: Volume, removed: np.ndarray, fill: int = 0) -> Volume:
    """The volume with ``fill`` in the ``removed`` voxels."""
    stored = volume.stored.copy()
    stored[removed] = fill
    return Volume(stored=stored, affine=volume.affine)


def bits(stored: np.ndarray) -> np.ndarray:
    """Stored numbers as unsigned integers, so that NaN equals itself and -0 is not 0."""
    return np.ascontiguousarray(stored).view(f"u{stored.dtype.itemsize}")


def head_of(values: np.ndarray) -> np.ndarray:
    """The head (bool) of values in the demo head's intensities: tissue, its holes closed."""
    head = ndimage.binary_closing(np.pad(values > TISSUE / 2, 4), iterations=3)[4:-4, 4:-4, 4:-4]
    return ndimage.binary_fill_holes(head)


def skin_distance(one: np.ndarray, other: np.ndarray, where: np.ndarray, spacing: float) -> float:
    """Mean distance (mm) from the skin of head ``one`` in ``where`` (all bool) to that of ``other``."""
    away = np.where(other, ndimage.distance_transform_edt(other) - 1, ndimage.distance_transform_edt(~other))
    skin = one & ~ndimage.binary_erosion(one) & where
    return float(away[skin].mean() * spacing)
