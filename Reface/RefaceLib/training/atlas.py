"""Makes the atlas of the shape model: a sharp mean head, and how it must be bent to show the head of a code.

Heads in the canonical box are registered by symmetric-forces demons (Vercauteren et al., NeuroImage 2009; SimpleITK) to
their mean, twice, which sharpens it. Then the mean is registered to each head, and the displacements are regressed on
the heads' codes. The result is no face of anybody: a population's mean, bent by a population's linear law.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor

import numpy as np
from scipy import ndimage

from RefaceLib import shapemodel
from RefaceLib.shapemodel import Atlas, ShapeModel
from RefaceLib.training.boxes import EIGHT_BIT, Box, mirrored

_LEVELS = ((4, 60), (2, 50))  # shrink factor, iterations
_RIDGE = 8.0  # of the regression on codes, in heads


def build_atlas(boxes: list[Box], model: ShapeModel, jobs: int = 1) -> Atlas:
    """The atlas of training ``boxes`` (2 mm) for the codes of ``model``."""
    pictures = [box.image.astype(np.float32) / EIGHT_BIT for box in boxes]
    seen = [box.view for box in boxes]
    total = sum(p * v for p, v in zip(pictures, seen, strict=True))
    mean = _symmetric(total / np.maximum(sum(v.astype(np.float32) for v in seen), 1))
    # What is out of a scan's view is taken from the mean: no displacement there.
    pictures = [np.where(v, p, mean) for p, v in zip(pictures, seen, strict=True)]
    with ProcessPoolExecutor(jobs) as pool:
        for share in (3, 2):
            some = pictures[::share]
            fields = list(pool.map(register, [mean] * len(some), some, chunksize=4))
            centre = np.mean(fields, axis=0)
            sharp = np.mean([bend(p, f) for p, f in zip(some, fields, strict=True)], axis=0)
            # The mean of the displacements is undone: the atlas is to have the mean shape and not the target's.
            mean = _symmetric(bend(sharp, -centre))
        fields = list(pool.map(register, pictures, [mean] * len(pictures), chunksize=4))
    return _regress(boxes, fields, mean, model)


def _regress(boxes: list[Box], fields: list[np.ndarray], mean: np.ndarray, model: ShapeModel) -> Atlas:
    codes, rows = [], []
    for box, field in zip(boxes, fields, strict=True):
        flipped = field[:, ::-1] * np.array([-1, 1, 1], dtype=np.float32)[:, None, None, None]
        for version, displacement in ((box, field), (mirrored(box), flipped)):
            codes.append(own_code(version, model))
            rows.append(
                np.stack([shapemodel.to_raster(d, 2.0, shapemodel.FIELD_SPACING) for d in displacement]).ravel()
            )
    design, data = np.array(codes), np.array(rows, dtype=np.float32)
    centre = data.mean(axis=0)
    gram = design.T @ design + _RIDGE * np.eye(design.shape[1])
    modes = np.linalg.solve(gram, design.T @ (data - centre))
    shape = fields_shape()
    return Atlas(mean.astype(np.float32), centre.reshape(shape), modes.reshape(len(modes), *shape).astype(np.float32))


def fields_shape() -> tuple[int, ...]:
    """(3, X, Y, Z) of a displacement field at FIELD_SPACING."""
    from RefaceLib import canonical

    return (3, *canonical.box(shapemodel.FIELD_SPACING).shape)


def own_code(box: Box, model: ShapeModel) -> np.ndarray:
    """The code (K,) that explains a head's own shape best."""
    small = shapemodel.to_raster(box.distance.astype(np.float32), 2.0, shapemodel.SPACING)
    seen = shapemodel.to_raster(box.view.astype(np.float32), 2.0, shapemodel.SPACING) > 0.99
    return model.project(small, seen)


def _symmetric(a: np.ndarray) -> np.ndarray:
    return (a + a[::-1]) / 2


def bend(picture: np.ndarray, field: np.ndarray) -> np.ndarray:
    """``picture`` sampled at every voxel plus ``field`` (3, X, Y, Z, in mm of the 2 mm box)."""
    index = np.indices(picture.shape, dtype=np.float32) + field / 2.0
    return ndimage.map_coordinates(picture, index, order=1, mode="nearest")


def register(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Displacements (3, X, Y, Z) in mm that take points of ``fixed`` to points of ``moving`` (both 2 mm boxes)."""
    try:
        import SimpleITK as sitk
    except ImportError as error:
        from RefaceLib.errors import InputError

        raise InputError("The training needs SimpleITK: install it with pip install SimpleITK.") from error
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    a, b = (sitk.GetImageFromArray(np.sqrt(np.clip(x, 0, 1.4)).astype(np.float32)) for x in (fixed, moving))
    field = None
    for shrink, iterations in _LEVELS:
        small = [sitk.Shrink(sitk.SmoothingRecursiveGaussian(x, shrink / 2.0), [shrink] * 3) for x in (a, b)]
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(1.5)
        demons.SetSmoothUpdateField(True)
        demons.SetUpdateFieldStandardDeviations(1.0)
        field = demons.Execute(*small) if field is None else demons.Execute(*small, sitk.Resample(field, small[0]))
    full = sitk.GetArrayFromImage(sitk.Resample(field, a))  # (X, Y, Z, 3); SimpleITK's x is our last axis
    return np.ascontiguousarray(np.moveaxis(full[..., ::-1], -1, 0) * 2.0, dtype=np.float32)
