"""Measures of a refaced head: noise, overlap, distance of surfaces; and heads as other tools deface them.

None of them calls the code that it judges: of RefaceLib only the geometry and the skin's surface for pictures are used.
Arrays are (I, J, K); affines are (4, 4), IJK -> RAS mm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from RefaceLib.skin.surface import skin_threshold
from RefaceLib.volume import geometry

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

Landmarks = Mapping[str, Sequence[float]]

NEAR_LANDMARKS_MM = 45.0  # the face: so near to an eye, the nose tip, a mouth corner or the chin
_FEWEST_VOXELS = 200  # a noise level from fewer would itself be noise
_QUIET = 0.4  # share of the tissue that counts as free of edges
_MOST_VERTICES = 6000  # of one surface, for which distances are computed


# ---- overlap ----


def same_bits(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Where two arrays of one data type agree in every bit: NaN is NaN, and -0 is not 0."""
    unsigned = np.dtype(f"u{one.dtype.itemsize}")
    return np.ascontiguousarray(one).view(unsigned) == np.ascontiguousarray(other).view(unsigned)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Dice overlap of two bool arrays of one shape; NaN where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2.0 * int((one & other).sum()) / total if total else float("nan")


def voxel_ml(affine: np.ndarray) -> float:
    """The volume of one voxel in ml."""
    return abs(float(np.linalg.det(affine[:3, :3]))) / 1000.0


def at_spacing(mask: np.ndarray, affine: np.ndarray, spacing: float) -> np.ndarray:
    """A bool mask on the RAS grid of ``spacing`` mm over its field of view; as it is where it has that spacing."""
    if np.allclose(geometry.voxel_sizes(affine), spacing, rtol=0.01):
        return mask
    grid = geometry.ras_grid(mask.shape, affine, spacing)
    coarse, coarse_affine = geometry.block_mean(mask.astype(np.float32), affine, spacing)
    return geometry.resample(coarse, coarse_affine, grid) > 0.5


# ---- head and noise ----


def skin_level(values: np.ndarray, affine: np.ndarray) -> float:
    """The value that parts air from tissue in a head."""
    return skin_threshold(_smooth(values, affine))


def solid_head(values: np.ndarray, affine: np.ndarray, level: float) -> np.ndarray:
    """The head (bool): what is brighter than ``level`` after a slight smoothing, and what that encloses."""
    labels, count = ndimage.label(_smooth(values, affine) > level)
    if not count:
        return np.zeros(values.shape, bool)
    head = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    pad = int(np.ceil(4.0 / geometry.voxel_sizes(affine).min()))
    closed = ndimage.binary_closing(np.pad(head, pad), geometry.ball(4.0, affine))
    return ndimage.binary_fill_holes(closed)[(slice(pad, -pad),) * 3] | head


def _smooth(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return ndimage.gaussian_filter(finite, 1.0 / geometry.voxel_sizes(affine))


def laplacian_residual(values: np.ndarray) -> np.ndarray:
    """Voxel less the mean of its six neighbours, scaled so that white noise keeps its standard deviation."""
    kernel = np.array([0.5, 0.0, 0.5]) / 3
    mean = sum(ndimage.correlate1d(values, kernel, axis=axis, mode="nearest") for axis in range(values.ndim))
    return (values - mean) / np.sqrt(7.0 / 6.0)


def haar_residual(values: np.ndarray) -> np.ndarray:
    """The finest diagonal band of the Haar wavelet (differences along all three axes); white noise keeps its sd.

    It sees the highest frequencies only, where anatomy has next to nothing; a noise that was interpolated, too.
    """
    for axis in range(values.ndim):
        values = ndimage.correlate1d(values, np.array([-1.0, 1.0]) / np.sqrt(2.0), axis=axis, mode="nearest")
    return values


NOISE_ESTIMATORS = {"laplacian": laplacian_residual, "haar": haar_residual}


def quiet_tissue(
    values: np.ndarray, affine: np.ndarray, mask: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Tissue without edges (bool) inside and outside ``mask``: two voxels from air and from the mask's border.

    Without edges means a gradient below one limit for both sides, so that none may be the smoother by choice.
    """
    smooth = _smooth(values, affine)
    tissue = smooth > level
    inside = ndimage.binary_erosion(tissue & mask, iterations=2)
    outside = ndimage.binary_erosion(tissue & ~mask, iterations=2)
    gradient = ndimage.gaussian_gradient_magnitude(smooth, 1.0)
    if min(inside.sum(), outside.sum()) >= _FEWEST_VOXELS:
        quiet = gradient <= min(np.quantile(gradient[inside], _QUIET), np.quantile(gradient[outside], _QUIET))
        if min((inside & quiet).sum(), (outside & quiet).sum()) >= _FEWEST_VOXELS:
            return inside & quiet, outside & quiet
    return inside, outside


def robust_sd(residual: np.ndarray) -> float:
    """Standard deviation by the median absolute deviation; NaN for too few numbers."""
    residual = residual[np.isfinite(residual)]
    if residual.size < _FEWEST_VOXELS:
        return float("nan")
    return 1.4826 * float(np.median(np.abs(residual - np.median(residual))))


def noise_ratios(values: np.ndarray, affine: np.ndarray, mask: np.ndarray, level: float) -> dict[str, float]:
    """Noise in the tissue inside ``mask`` over that outside, by each of NOISE_ESTIMATORS; NaN where it has none."""
    values = np.nan_to_num(np.asarray(values, np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    inside, outside = quiet_tissue(values, affine, mask, level)
    ratios = {}
    for name, residual_of in NOISE_ESTIMATORS.items():
        residual = residual_of(values)
        below = robust_sd(residual[outside])
        ratios[name] = robust_sd(residual[inside]) / below if below > 0 else float("nan")
    return ratios


def air_step(values: np.ndarray, mask: np.ndarray, head: np.ndarray, level: float) -> float:
    """How much brighter the air is inside ``mask`` than outside, in per cent of the median tissue.

    Both are taken at least four voxels from the ``head`` (bool) and two from the mask's border. A step shows as a slab
    before the face in slices with a narrow window. NaN where one side has no air.
    """
    air = ~ndimage.binary_dilation(head, iterations=4)
    inside = ndimage.binary_erosion(mask, iterations=2) & air & np.isfinite(values)
    outside = air & ~ndimage.binary_dilation(mask, iterations=2) & np.isfinite(values)
    if min(inside.sum(), outside.sum()) < _FEWEST_VOXELS:
        return float("nan")
    tissue = float(np.median(values[head & (values > level)]))
    return 100.0 * (float(values[inside].mean()) - float(values[outside].mean())) / tissue


# ---- surfaces ----


def surface_points(surface: vtkPolyData) -> np.ndarray:
    """Vertices (N, 3), RAS mm."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return np.array(vtk_to_numpy(surface.GetPoints().GetData()), dtype=np.float64)


def to_surface(points: np.ndarray, surface: vtkPolyData) -> np.ndarray:
    """Signed distances (mm) of ``points`` (N, 3) to the triangles of ``surface``: positive outside of it."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, vtk_to_numpy
    from vtkmodules.vtkCommonCore import vtkDoubleArray
    from vtkmodules.vtkFiltersCore import vtkImplicitPolyDataDistance

    distance, found = vtkImplicitPolyDataDistance(), vtkDoubleArray()
    distance.SetInput(surface)
    distance.FunctionValue(numpy_to_vtk(np.ascontiguousarray(points, np.float64), deep=True), found)
    return np.array(vtk_to_numpy(found)).ravel()


def in_face(points: np.ndarray, mask: np.ndarray, affine: np.ndarray, landmarks: Landmarks) -> np.ndarray:
    """Which ``points`` (N, 3) are of the face: in the mask, near a landmark, and not at the volume's border."""
    near = np.zeros(len(points), bool)
    for landmark in landmarks.values():
        near |= ((points - np.asarray(landmark)) ** 2).sum(axis=1) < NEAR_LANDMARKS_MM**2
    index = np.rint(geometry.apply_affine(np.linalg.inv(affine), points)).astype(int)
    visible = ((index >= 2) & (index < np.array(mask.shape) - 2)).all(axis=1)
    index = np.clip(index, 0, np.array(mask.shape) - 1)
    return near & visible & mask[tuple(index.T)]


def far_from(points: np.ndarray, mask: np.ndarray, affine: np.ndarray, least: float = 8.0) -> np.ndarray:
    """Which ``points`` (N, 3) are inside the volume and at least ``least`` mm from ``mask``."""
    away = ndimage.distance_transform_edt(~mask, sampling=geometry.voxel_sizes(affine)) >= least
    index = np.rint(geometry.apply_affine(np.linalg.inv(affine), points)).astype(int)
    visible = ((index >= 2) & (index < np.array(mask.shape) - 2)).all(axis=1)
    index = np.clip(index, 0, np.array(mask.shape) - 1)
    return visible & away[tuple(index.T)]


def surface_distance(
    one: vtkPolyData, other: vtkPolyData, mask: np.ndarray, affine: np.ndarray, landmarks: Landmarks
) -> tuple[float, float]:
    """Mean absolute distance (mm, both ways) of two faces, and how far on average ``other`` lies before ``one``."""
    away = []
    for source, target, sign in ((other, one, 1.0), (one, other, -1.0)):
        points = surface_points(source)
        points = thinned(points[in_face(points, mask, affine, landmarks)])
        away.append(sign * to_surface(points, target))
    both = np.concatenate(away)
    return (float(np.abs(both).mean()), float(both.mean())) if both.size else (float("nan"), float("nan"))


def distance_elsewhere(one: vtkPolyData, other: vtkPolyData, mask: np.ndarray, affine: np.ndarray) -> float:
    """Mean absolute distance (mm) of two heads' surfaces far from the mask, where they ought to be the same."""
    points = surface_points(one)
    points = thinned(points[far_from(points, mask, affine)], 1500)
    return float(np.abs(to_surface(points, other)).mean()) if len(points) else float("nan")


def thinned(points: np.ndarray, most: int = _MOST_VERTICES) -> np.ndarray:
    """At most about ``most`` of the points, evenly over their order."""
    return points[:: max(1, -(-len(points) // most))]


# ---- heads as other tools deface them ----


def face_coordinates(
    shape: tuple[int, int, int], affine: np.ndarray, landmarks: Landmarks
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (mm; right, forward, up) of every voxel about the middle of the eyes, upright with the face."""
    left_eye, right_eye, left_mouth, right_mouth = (
        np.asarray(landmarks[name], float) for name in ("left_eye", "right_eye", "left_mouth", "right_mouth")
    )
    middle = (left_eye + right_eye) / 2
    right = (right_eye - left_eye) / np.linalg.norm(right_eye - left_eye)
    up = middle - (left_mouth + right_mouth) / 2
    up = up - (up @ right) * right
    up /= np.linalg.norm(up)
    forward = np.cross(up, right)
    # From the eyes down to the mouth corners the line comes forward, by about 14 degrees in a head held upright.
    c, s = np.cos(np.radians(14.0)), np.sin(np.radians(14.0))
    axes = np.stack([right, c * forward - s * up, c * up + s * forward])
    index = np.moveaxis(np.indices(shape), 0, -1)
    x, y, z = np.moveaxis((geometry.apply_affine(affine, index) - middle) @ axes.T, -1, 0)
    return x, y, z


def shell(x: np.ndarray, y: np.ndarray, z: np.ndarray, depth: float) -> np.ndarray:
    """As pydeface: all before a rounded wall behind the eyes, from the brow to the chin, its edges in steps of 3 mm.

    ``depth`` is how far down the chin is from the eyes (mm).
    """
    x, y, z = (np.floor(axis / 3.0) * 3.0 for axis in (x, y, z))
    wall = -12.0 - 0.004 * x**2 - 0.12 * np.maximum(-z, 0.0)
    return (y > wall) & (np.abs(x) < 64.0) & (z < 12.0) & (z > -depth - 12.0)


def plane(brain: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray, buffer: float = 10.0) -> np.ndarray:
    """As QuickShear: all before and below a plane that leaves ``buffer`` mm to the brain (bool, of the same shape)."""
    along = (y - z) / np.sqrt(2.0)
    return along > along[brain].max() + buffer


def ragged(x: np.ndarray, y: np.ndarray, z: np.ndarray, depth: float, seed: int = 0) -> np.ndarray:
    """As mri_deface: a ball around the face whose edge is torn."""
    centre_z, radius_z = -depth / 2, depth / 2 + 14.0
    radius = np.sqrt((x / 60.0) ** 2 + ((y - 12.0) / 40.0) ** 2 + ((z - centre_z) / radius_z) ** 2)
    tears = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(x.shape), 1.5)
    return radius + 0.08 * tears / tears.std() < 1.0


def recovery(
    lost: np.ndarray, found: np.ndarray, face: np.ndarray, before: np.ndarray, after: np.ndarray, affine: np.ndarray
) -> dict[str, float]:
    """How well the region that somebody took out was found and filled. All arrays bool, in one grid.

    ``lost``: the region; ``found``: where something was put back; ``face``: our own face mask; ``before``, ``after``:
    the head as it was and as it came back. ``found`` and ``restored`` are shares of the lost tissue (in the face mask:
    ``_face``); a grey that was never found is not restored. ``extra_ml`` is intact tissue that was painted over.
    """
    tissue = lost & before
    in_the_face = tissue & face
    return {
        "lost_ml": float(tissue.sum()) * voxel_ml(affine),
        "found": _share(tissue & found, tissue),
        "found_face": _share(in_the_face & found, in_the_face),
        "restored": _share(tissue & found & after, tissue),
        "restored_face": _share(in_the_face & found & after, in_the_face),
        "extra_ml": float((found & before & ~lost).sum()) * voxel_ml(affine),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum()) / float(whole.sum()) if whole.any() else float("nan")
