"""Face landmarks of the training heads, from six points that were marked by hand once: how landmarks.tsv was made.

    python -m RefaceLib.training.annotate DATA OUT.tsv

The heads are aligned by the regions of their brains; a mean face is made of them; six landmarks are marked on it, and a
non-rigid registration of every head to the mean face carries them there. It needs SimpleITK: the extra "train".

Coordinates are RAS mm, of each head's own scanner or of the aligned heads; displacements are in voxels of FACE_BOX.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy import ndimage

from RefaceLib.common.errors import InputError, RefaceError
from RefaceLib.common.files import OutputSet, check_writable
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.training import heads
from RefaceLib.volume import geometry
from RefaceLib.volume.geometry import Grid

FACE_BOX = Grid((85, 76, 82), np.array([[2.0, 0, 0, -84], [0, 2.0, 0, -20], [0, 0, 2.0, -150], [0, 0, 0, 1]]))

# Marked by hand on the mean face of the 159 heads of landmarks.tsv, in the order of FACE_LANDMARKS. Other heads make
# another mean face in another place, and it must be marked anew: for twelve of the 159 it lies 6 mm away.
MARKED = np.array(
    [[-33, 71, -24], [28, 71, -24], [-2.5, 115, -55], [-26, 87, -82], [21, 87, -82], [-2.5, 97, -114]], dtype=float
)

_ALIGNMENT_ROUNDS = 5  # each makes the mean 0.4 % smaller: MARKED belongs to five
_FIRST_ROUND_STEP = 3  # every third head is enough for the mean face that all are registered to
_LEVELS = ((4, 60), (2, 60), (1, 30))  # of the registration, coarse to fine: voxels shrunk to one, iterations
_FIELD_SIGMA = 1.5  # voxels of the level: smoothing of the displacements, as an elastic body would
_UPDATE_SIGMA = 1.0  # voxels of the level: smoothing of each step, as a viscous fluid would

Map = Callable[..., Iterable[Any]]  # the builtin map, or that of an executor


# ---- alignment of the brains ----


def all_region_centres(label_path: Path) -> dict[int, np.ndarray]:
    """Centre of mass (RAS mm) of every region of a DLMUSE label map, by its label."""
    image = heads.open_image(label_path)
    labels = np.asarray(image.dataobj).astype(np.int16)
    names = np.unique(labels[labels > 0])
    voxels = np.array(ndimage.center_of_mass(np.ones_like(labels), labels, names)).reshape(-1, 3)
    return dict(zip(names.tolist(), geometry.apply_affine(image.affine, voxels), strict=True))


def shared_centres(centres: Sequence[dict[int, np.ndarray]]) -> np.ndarray:
    """The centres (heads, regions, 3) of those regions that every head has; InputError where they are too few."""
    shared = sorted(set.intersection(*map(set, centres)))
    if len(shared) < 4:
        raise InputError(f"The label maps have {len(shared)} regions in common: give DLMUSE labels of whole brains.")
    return np.array([[head[label] for label in shared] for head in centres])


def align(shapes: np.ndarray, rounds: int = _ALIGNMENT_ROUNDS) -> tuple[np.ndarray, np.ndarray]:
    """Generalised Procrustes alignment (Gower, Psychometrika 1975) of points ``shapes`` (heads, regions, 3) in mm.

    Returns the similarity (heads, 4, 4) from each head's RAS mm to those of the aligned heads, and the mean
    (regions, 3), whose centre is the origin. The mean starts with the heads as they lie in the scanner, and that sets
    its orientation and size.
    """
    mean = (shapes - shapes.mean(axis=1, keepdims=True)).mean(axis=0)
    for _ in range(rounds):
        matrices = np.array([geometry.fit_similarity(shape, mean) for shape in shapes])
        mean = np.mean([geometry.apply_affine(m, s) for m, s in zip(matrices, shapes, strict=True)], axis=0)
    return matrices, mean


# ---- registration of the faces ----


def face_picture(image_path: Path, label_path: Path, matrix: np.ndarray) -> np.ndarray:
    """A head's face on FACE_BOX, float32 (85, 76, 82); ``matrix`` takes the head's RAS mm to the aligned heads'.

    1 is the 90th percentile of the brain. The square root brings skin, muscle and fat nearer to each other, and where
    the field of view ends the last voxel goes on, so that its edge is not taken for skin.
    """
    values, affine = heads.load(image_path)
    brain = np.asarray(heads.open_image(label_path).dataobj) > 0
    values = values / np.percentile(values[brain], 90)
    to_voxels = np.linalg.inv(affine) @ np.linalg.inv(matrix) @ FACE_BOX.affine
    face = ndimage.affine_transform(
        values, to_voxels[:3, :3], to_voxels[:3, 3], output_shape=FACE_BOX.shape, order=1, mode="nearest"
    )
    return np.sqrt(np.clip(ndimage.gaussian_filter(face, 0.5), 0, 1.4)).astype(np.float32)


def register(fixed: np.ndarray, moving: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Register two pictures (X, Y, Z): the displacements u (X, Y, Z, 3) in voxels, and ``moving`` warped by them.

    What is at x in ``fixed`` is at x + u(x) in ``moving``. Demons (Thirion, Medical Image Analysis 1998) with the
    symmetric forces of Vercauteren et al. (NeuroImage 2009), coarse to fine.
    """
    sitk = simpleitk()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # there is a process a core already
    fixed_image, moving_image = sitk.GetImageFromArray(fixed), sitk.GetImageFromArray(moving)
    field = None
    for shrink, iterations in _LEVELS:
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(_FIELD_SIGMA)
        demons.SetSmoothUpdateField(True)
        demons.SetUpdateFieldStandardDeviations(_UPDATE_SIGMA)
        coarse = _shrunk(sitk, fixed_image, shrink)
        start = () if field is None else (sitk.Resample(field, coarse),)
        field = demons.Execute(coarse, _shrunk(sitk, moving_image, shrink), *start)
    warped = sitk.GetArrayFromImage(sitk.Warp(moving_image, field))
    # SimpleITK's x is the last axis of the array, and its vectors are in that order.
    return sitk.GetArrayFromImage(field)[..., ::-1].astype(np.float32), warped


def _shrunk(sitk: ModuleType, image: Any, factor: int) -> Any:
    """Smoothed, then every ``factor``-th voxel."""
    if factor == 1:
        return image
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, factor / 2.0), [factor] * 3)


def simpleitk() -> ModuleType:
    """SimpleITK, or a RefaceError that says how to get it."""
    try:
        import SimpleITK
    except ImportError as error:
        raise RefaceError("SimpleITK is missing: install it with 'pip install SimpleITK'.") from error
    return SimpleITK


def recentred(picture: np.ndarray, mean_field: np.ndarray) -> np.ndarray:
    """``picture`` (X, Y, Z) moved by ``mean_field`` (X, Y, Z, 3; voxels), the mean displacement from it to the heads.

    It then has their mean shape. To first order: the displacement is read where it ends, not where it starts.
    """
    source = np.indices(picture.shape, dtype=np.float32) - np.moveaxis(mean_field, -1, 0)
    return ndimage.map_coordinates(picture, source, order=1, mode="nearest")


def mean_face(faces: Sequence[np.ndarray], run: Map = map) -> np.ndarray:
    """The first round: the blurred mean of all ``faces`` sharpened by registering some of them to it, and recentred."""
    blurred = np.mean(faces, axis=0)
    chosen = faces[::_FIRST_ROUND_STEP]
    field_sum, warped_sum = np.zeros((*blurred.shape, 3), np.float32), np.zeros(blurred.shape, np.float32)
    for field, warped in run(partial(register, blurred), chosen):
        field_sum, warped_sum = field_sum + field, warped_sum + warped
    return recentred(warped_sum / len(chosen), field_sum / len(chosen))


def _sample_at(values: np.ndarray, affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """``values`` at RAS ``points`` (N, 3), linear; points out of view take the nearest voxel."""
    index = geometry.apply_affine(np.linalg.inv(affine), points).T
    return ndimage.map_coordinates(values, index, order=1, mode="nearest")


def carry(points: np.ndarray, field: np.ndarray, grid: Grid = FACE_BOX) -> np.ndarray:
    """``points`` (N, 3) in mm moved by the displacements ``field`` (X, Y, Z, 3; voxels) on ``grid``; in mm again."""
    moves = [_sample_at(field[..., axis], grid.affine, points) for axis in range(3)]
    return points + np.stack(moves, axis=1) @ grid.affine[:3, :3].T


# ---- all of it ----


def annotate(data: Path, run: Map = map) -> dict[str, np.ndarray]:
    """Face landmarks (6, 3; RAS mm, in the order of FACE_LANDMARKS) of every head with DLMUSE labels, by its id."""
    found = sorted(heads.labelled_heads(data).items())
    if not found:
        raise InputError(f"There are no heads with labels in {data}: it needs <id>_T1w.nii.gz and <id>_dlmuse.nii.gz.")
    images, labels = zip(*(paths for _, paths in found), strict=True)
    matrices, _ = align(shared_centres(list(run(all_region_centres, labels))))
    print(f"{len(found)} brains aligned", flush=True)
    faces = list(run(face_picture, images, labels, matrices))
    template = mean_face(faces, run)
    print("mean face made", flush=True)
    table = {}
    for (name, _), matrix, (field, _) in zip(found, matrices, run(partial(register, template), faces), strict=True):
        table[name] = geometry.apply_affine(np.linalg.inv(matrix), carry(MARKED, field))
    return table


def write_table(path: Path, table: dict[str, np.ndarray]) -> None:
    """Write the landmarks as tab-separated values, tenths of a millimetre, as heads.read_landmarks reads them."""
    columns = ["subject", *(f"{name}_{axis}" for name in FACE_LANDMARKS for axis in "ras")]
    rows = [[name, *(f"{value:.1f}" for value in points.ravel())] for name, points in table.items()]
    text = "".join("\t".join(row) + "\n" for row in [columns, *rows])
    with OutputSet(overwrite=True) as outputs:
        outputs.stage(path).write_text(text, encoding="utf-8", newline="\n")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m RefaceLib.training.annotate", description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of <id>_T1w.nii.gz and <id>_dlmuse.nii.gz")
    parser.add_argument("out", type=Path, help="the table, .tsv; it is replaced if it exists")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    arguments = parser.parse_args(argv)
    try:
        simpleitk()
        check_writable(arguments.out, overwrite=True, extensions=(".tsv",))
        with ProcessPoolExecutor(max(arguments.jobs, 1)) as pool:
            table = annotate(arguments.data, pool.map)
        write_table(arguments.out, table)
    except RefaceError as error:
        print(f"annotate: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
