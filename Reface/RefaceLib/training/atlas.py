"""Makes the face model: a sharp mean head (the atlas), and the components by which heads' faces differ from it.

Heads in the canonical box are registered by symmetric-forces demons (Vercauteren et al., NeuroImage 2009; SimpleITK) to
their mean, three times, which sharpens it. Then the mean is registered to each head. The principal components of these
displacements near the skin of the face are the model; signed distances to the skin are regressed on them. The result
is nobody's face: a population's mean, warped by a population's linear model. What it leaves out of the heads' skin
is a second linear model, of details.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, stats

from RefaceLib.face import rasters, shapemodel, skindistance
from RefaceLib.face.conditioning import LONGEST, condition
from RefaceLib.face.rasters import warp
from RefaceLib.face.shapemodel import Atlas, Detail, ShapeModel
from RefaceLib.head import canonical
from RefaceLib.training.boxes import EIGHT_BIT, Box, mirrored, subject_mask
from RefaceLib.training.faces import from_to

if TYPE_CHECKING:
    import SimpleITK as sitk

_LEVELS = ((4, 60), (2, 60), (1, 60))  # shrink factor, iterations
_SHARES = (5, 4, 3)  # every fifth, fourth, third head sharpens the mean
_SKIN = 0.3  # of white matter: where the mean head ends
_FACE_MM = 14.0  # components are sought so near to the skin of the face
_ELSEWHERE = 0.03  # weight of what is not face: a little, so that the mean square is defined everywhere
_SEEN = 0.15  # of all heads show the skin where its mean is believed
_AT_SKIN_MM, _EVEN_MM = 6.0, 4.0  # its mean error is taken so near to the skin, and evened out over this
_DETAILS = 40  # components
_DETAIL_MM = 6.0  # details are taken so near to the skin
_DETAIL_HEADS = 60  # must show a place before its mean detail is believed in full
_BALANCINGS, _BROAD_MM = 3, 12.0  # rounds; of what the mean face lacks, what is broader
_IMPUTED = 20  # components that guess what lies outside a scan's field of view


def build_face_model(boxes: list[Box], size: int = 64, jobs: int = 1) -> tuple[ShapeModel, Atlas]:
    """The face model of training ``boxes`` (2 mm) and their mirror images, with ``size`` components."""
    mean, fields = register_all(boxes, jobs)
    model, atlas = recentred(boxes, *model_of(boxes, mean, fields, size))
    return model, balanced(boxes, model, atlas, detail_of(boxes, model, atlas, jobs), jobs)


def register_all(boxes: list[Box], jobs: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """The sharp mean head (X, Y, Z) and each head's displacements (3, X, Y, Z) in mm, which warp the mean to it."""
    pictures = [box.image.astype(np.float32) / EIGHT_BIT for box in boxes]
    seen = [box.view for box in boxes]
    total = sum(p * v for p, v in zip(pictures, seen, strict=True))
    mean = _symmetric(total / np.maximum(sum(v.astype(np.float32) for v in seen), 1))
    # What is out of a scan's view is taken from the mean: no displacement there.
    pictures = [np.where(v, p, mean) for p, v in zip(pictures, seen, strict=True)]
    with ProcessPoolExecutor(jobs) as pool:
        for share in _SHARES:
            some = pictures[::share]
            mean = sharper_mean(mean, some, list(pool.map(register, [_crisp(mean)] * len(some), some, chunksize=2)))
        return mean, list(pool.map(register, pictures, [_crisp(mean)] * len(pictures), chunksize=2))


def sharper_mean(mean: np.ndarray, pictures: list[np.ndarray], fields: list[np.ndarray]) -> np.ndarray:
    """The mean of ``pictures`` warped onto ``mean`` by ``fields``, in the mean shape of all."""
    warped = np.stack([warp(p, f) for p, f in zip(pictures, fields, strict=True)])
    # Trimmed: a nose that missed its place must not leave a shadow.
    middle = stats.trim_mean(warped, 0.2, axis=0) if len(warped) > 4 else warped.mean(axis=0)
    return _symmetric(warp(middle, -np.mean(fields, axis=0))).astype(np.float32)


def _crisp(mean: np.ndarray) -> np.ndarray:
    """The mean with its blur taken back a little, as a target of registration."""
    return np.maximum(2 * mean - ndimage.gaussian_filter(mean, 1.0), 0)


def _symmetric(a: np.ndarray) -> np.ndarray:
    return (a + a[::-1]) / 2


def model_of(boxes: list[Box], mean: np.ndarray, fields: list[np.ndarray], size: int) -> tuple[ShapeModel, Atlas]:
    """Shape model and atlas of registered heads (see register_all) and their mirror images."""
    rows, known = [], []
    for box, field in zip(boxes, fields, strict=True):
        flipped = field[:, ::-1] * np.array([-1, 1, 1], dtype=np.float32)[:, None, None, None]
        for version, displacement in ((box, field), (mirrored(box), flipped)):
            row, seen = _row(version, displacement)
            rows.append(row)
            known.append(seen)
    depth = atlas_depth(mean)
    near = np.concatenate([np.tile(_face_weight(depth).ravel(), 3), np.full(shape_size(), _ELSEWHERE, np.float32)])
    centre, modes = components(np.array(rows, dtype=np.float32), np.array(known), near, size)
    split = len(centre) - shape_size()
    raster, field_shape = canonical.box(shapemodel.SPACING).shape, fields_shape()
    return (
        ShapeModel(centre[split:].reshape(raster), modes[:, split:].reshape(-1, *raster)),
        Atlas(_crisp(mean), depth, centre[:split].reshape(field_shape), modes[:, :split].reshape(-1, *field_shape)),
    )


def recentred(boxes: list[Box], model: ShapeModel, atlas: Atlas) -> tuple[ShapeModel, Atlas]:
    """The face model whose code 0 is, at the skin, the mean of all heads whose scans show the skin there.

    Scans that end soon beside the ears are taken for heads as wide as those that fit into their scans: in canonical
    space, the wide ones. Heads of 134 were 3 mm narrower at the ears than their model was.
    """
    drawn = warp(atlas.solid, atlas.field(np.zeros(model.size)))
    slope = np.stack(np.gradient(drawn, 2.0))
    move = _skin_error(boxes, drawn) * slope / np.maximum(np.sqrt((slope**2).sum(axis=0)), 0.5)
    centre = atlas.centre + np.stack([rasters.to_raster(part, 2.0, shapemodel.FIELD_SPACING) for part in move])
    error = _skin_error(boxes, rasters.to_raster(model.mean, shapemodel.SPACING, 2.0))
    mean = np.clip(
        model.mean + rasters.to_raster(error, 2.0, shapemodel.SPACING), -skindistance.CLIP, skindistance.CLIP
    )
    return replace(model, mean=mean), replace(atlas, centre=centre.astype(np.float32))


def _skin_error(boxes: list[Box], drawn: np.ndarray) -> np.ndarray:
    """How much deeper (mm) than in the ``drawn`` head (X, Y, Z) places at its skin lie in all heads that show them.

    The mean over heads and their mirror images, smoothed and extrapolated a little from the skin.
    """
    total, count = np.zeros_like(drawn), np.zeros_like(drawn)
    for box in boxes:
        away = _to_the_edge(box)
        for distance, edge in ((box.distance, away), (box.distance[::-1], away[::-1])):
            sure = np.abs(distance) < edge
            total += np.where(sure, distance, 0).astype(np.float32)
            count += sure
    known = (count > _SEEN * 2 * len(boxes)) & (np.abs(drawn) < _AT_SKIN_MM)
    error = np.where(known, total / np.maximum(count, 1) - drawn, 0)
    error, near = (ndimage.gaussian_filter(a, _EVEN_MM / 2.0) for a in (error, known.astype(np.float32)))
    return (error / (near + 0.02)).astype(np.float32)


def _to_the_edge(box: Box) -> np.ndarray:
    """How far (mm) every voxel is from the edge of the field of view: a distance to the skin is sure below it."""
    return ndimage.distance_transform_edt(np.pad(box.view, 1), sampling=box.spacing)[(slice(1, -1),) * 3]


def detail_of(boxes: list[Box], model: ShapeModel, atlas: Atlas, jobs: int = 1, size: int = _DETAILS) -> Detail:
    """What the codes of ``boxes`` (2 mm) and their mirror images leave of their skin: its mean and components."""
    both = [version for box in boxes for version in (box, mirrored(box))]
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(_left_out, both, [model] * len(both), [atlas] * len(both), chunksize=4))
    left, known = (np.array(part) for part in zip(*found, strict=True))
    count = known.sum(axis=0)
    mean = (left * known).sum(axis=0) / np.maximum(count, 1) * np.clip(count / _DETAIL_HEADS, 0, 1)
    centred = np.where(known, left - mean, 0).reshape(len(both), -1)
    x, y, z = _places(2.0)
    face = (canonical.in_face(x, y, z) | canonical.in_ears(x, y, z)) & (np.abs(atlas.solid) < _DETAIL_MM)
    skin = centred[:, face.ravel()]
    _, vectors = np.linalg.eigh((skin @ skin.T).astype(np.float64) / len(both))
    modes = vectors[:, ::-1][:, :size].T.astype(np.float32) @ centred / np.sqrt(len(both))
    modes = np.stack([rasters.to_raster(m.reshape(mean.shape), 2.0, shapemodel.SPACING) for m in modes])
    near = rasters.to_raster(np.abs(atlas.solid), 2.0, shapemodel.SPACING) < 2 * _DETAIL_MM
    return Detail(rasters.to_raster(mean, 2.0, shapemodel.SPACING) * near, modes * near)


def _left_out(box: Box, model: ShapeModel, atlas: Atlas, seed: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How far outwards (X, Y, Z; mm) of the face of its own code a head's skin lies, at places of the atlas.

    With a ``seed``, outwards of a face drawn for it. And where we know (bool): in the field of view, and for a drawn
    face in its mask. Skin that a face is fitted to in use, outside its mask, has no say in a head's own.
    """
    distance, rng = box.distance.astype(np.float32), np.random.default_rng(seed or 0)
    mask = subject_mask(box, rng, ears=True, jitter=0.0)
    drawn = condition(model, atlas, rng, distance, mask, box.view, own=seed is None)
    sure = np.abs(distance) < _to_the_edge(box)
    if seed is not None:
        sure &= mask
    left = np.where(sure & (np.abs(drawn.shape) < LONGEST), distance - drawn.shape, 0)
    left = np.clip(left, -LONGEST, LONGEST).astype(np.float32)
    left, known = warp(np.stack([left, sure]), from_to(drawn.field, np.zeros_like(drawn.field)))
    skin = (np.abs(atlas.solid) < _DETAIL_MM - 1.0).astype(np.float32)
    left, weight = (ndimage.gaussian_filter(a, 1.0) for a in (left * skin, skin))
    return left / (weight + 0.05), known > 0.9


def balanced(boxes: list[Box], model: ShapeModel, atlas: Atlas, detail: Detail, jobs: int = 1) -> Atlas:
    """The atlas with ``detail`` whose *drawn* faces are, on average, as full as the true ones of ``boxes``.

    The average is over heads and random draws.

    Means of codes and of details do not ensure that: draws are stretched, limited, and fitted to the visible skin, and
    jaws and cheeks were drawn 1 to 3 mm too narrow. What the mean lacks is added to the mean of the details, evened
    out: a nose that is drawn beside the true one would get a ball for its tip. Not at the ears, of which few scans show
    all.
    """
    seeds = range(len(boxes))  # the same in all rounds, which then end where they must
    x, y, z = _places(2.0)
    skin = canonical.in_face(x, y, z) & ~canonical.in_ears(x, y, z) & (np.abs(atlas.solid) < _DETAIL_MM - 1.0)
    atlas = replace(atlas, detail=detail)
    for _ in range(_BALANCINGS):
        with ProcessPoolExecutor(jobs) as pool:
            found = pool.map(_left_out, boxes, [model] * len(boxes), [atlas] * len(boxes), seeds, chunksize=4)
            total, count = np.zeros_like(atlas.depth), np.zeros_like(atlas.depth)
            for lacking, known in found:
                total += np.where(known, lacking, 0)
                count += known
        weight = skin * np.clip(_symmetric(count) / _DETAIL_HEADS, 0, 1)
        more = weight * _symmetric(total / np.maximum(count, 1))
        more, weight = (ndimage.gaussian_filter(a, _BROAD_MM / 2.0) for a in (more, weight))
        more = (more / (weight + 0.01)).astype(np.float32)
        mean = detail.mean + rasters.to_raster(more, 2.0, shapemodel.SPACING) * detail.modes.any(axis=0)
        detail = replace(detail, mean=mean.astype(np.float32))
        atlas = replace(atlas, detail=detail)
    return atlas


def _row(box: Box, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A head's data, displacements and then signed distances, and which of them its field of view lets us know."""
    displacements = [rasters.to_raster(component, 2.0, shapemodel.FIELD_SPACING) for component in field]
    shape = rasters.to_raster(box.distance.astype(np.float32), box.spacing, shapemodel.SPACING)
    # Near the edge of the view the distance is to the edge and not to the skin.
    away = ndimage.distance_transform_edt(box.view, sampling=box.spacing) if not box.view.all() else None
    sure = np.ones(box.view.shape, bool) if away is None else away > skindistance.CLIP
    sure = sure.astype(np.float32)
    known = [rasters.to_raster(sure, box.spacing, s).ravel() > 0.5 for s in
             (*[shapemodel.FIELD_SPACING] * 3, shapemodel.SPACING)]  # fmt: skip
    return np.concatenate([*[d.ravel() for d in displacements], shape.ravel()]), np.concatenate(known)


def atlas_depth(mean: np.ndarray) -> np.ndarray:
    """The signed distance (mm) to the skin of the mean head (2 mm), found at 1 mm so that it has no terraces."""
    fine = rasters.to_raster(mean, 2.0, 1.0)
    head = ndimage.binary_closing(np.pad(fine > _SKIN, 8, mode="edge"), iterations=5)[(slice(8, -8),) * 3]
    labels, _ = ndimage.label(~head)
    air = np.bincount(labels[labels > 0]).argmax()
    return rasters.to_raster(skindistance.signed_distance(labels != air, 1.0), 1.0, 2.0)


def _face_weight(depth: np.ndarray) -> np.ndarray:
    """1 near the skin of the face and the ears, on the raster of the displacements."""
    x, y, z = _places(shapemodel.FIELD_SPACING)
    face = canonical.in_face(x, y, z) | canonical.in_ears(x, y, z)
    skin = np.abs(rasters.to_raster(depth, 2.0, shapemodel.FIELD_SPACING)) < _FACE_MM
    return np.where(face & skin, 1.0, _ELSEWHERE).astype(np.float32)


def _places(spacing: float) -> list[np.ndarray]:
    """Canonical x, y, z (mm) of every voxel of the box."""
    grid = canonical.box(spacing)
    index = np.indices(grid.shape, dtype=np.float32)
    return [index[a] * spacing + grid.affine[a, 3] for a in range(3)]


def components(
    data: np.ndarray, known: np.ndarray, weight: np.ndarray, size: int, rounds: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and principal components (size, D), one standard deviation each, of ``data`` (N, D).

    ``weight`` (D,) says whose variance the components explain. What is not ``known`` (bool) starts as the mean and is
    estimated anew from the first components in each round.
    """
    count = known.sum(axis=0)
    data = np.where(known, data, (data * known).sum(axis=0) / np.maximum(count, 1))
    for _ in range(rounds):
        mean = data.mean(axis=0)
        centred = data - mean
        weighted = centred * weight
        _, vectors = np.linalg.eigh((weighted @ weighted.T).astype(np.float64) / len(data))
        first = vectors[:, ::-1][:, : min(size, _IMPUTED)].astype(np.float32)
        data = np.where(known, data, mean + first @ (first.T @ centred))
    chosen = vectors[:, ::-1][:, :size].astype(np.float32)
    return mean, chosen.T @ centred / np.sqrt(len(data))


def shape_size() -> int:
    """How many numbers the signed distances of a head are."""
    return int(np.prod(canonical.box(shapemodel.SPACING).shape))


def fields_shape() -> tuple[int, ...]:
    """(3, X, Y, Z) of a displacement field at FIELD_SPACING."""
    return (3, *canonical.box(shapemodel.FIELD_SPACING).shape)


def register(fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Displacements (3, X, Y, Z) in mm that take points of ``fixed`` to points of ``moving`` (both 2 mm boxes)."""
    try:
        import SimpleITK as sitk
    except ImportError as error:
        from RefaceLib.common.errors import InputError

        raise InputError("The training needs SimpleITK: install it with pip install SimpleITK.") from error
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    a, b = (sitk.GetImageFromArray(np.sqrt(np.clip(x, 0, 1.4)).astype(np.float32)) for x in (fixed, moving))
    fields: list[sitk.Image] = []  # one a level
    for shrink, iterations in _LEVELS:
        small = [_shrunk(x, shrink) for x in (a, b)]
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(1.2)
        demons.SetSmoothUpdateField(True)
        demons.SetUpdateFieldStandardDeviations(0.8)
        start = [sitk.Resample(field, small[0]) for field in fields[-1:]]
        fields.append(demons.Execute(*small, *start))
    full = sitk.GetArrayFromImage(sitk.Resample(fields[-1], a))  # (X, Y, Z, 3); SimpleITK's x is our last axis
    return np.ascontiguousarray(np.moveaxis(full[..., ::-1], -1, 0) * 2.0, dtype=np.float32)


def _shrunk(image: sitk.Image, factor: int) -> sitk.Image:
    import SimpleITK as sitk

    if factor == 1:
        return image
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, factor / 2.0), [factor] * 3)
