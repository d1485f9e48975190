"""The skin of a head as a surface: the same for a raw, a defaced and a refaced head.

Steps: a threshold seeded by Otsu's method, the largest component, closed holes, flying edges. The volume is smoothed by
about 1 mm and reduced to about 1.5 mm first, because the surface is for looking at (reports, training samples,
recognisers). VTK is imported inside the functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import HeadNotFoundError, InputError
from RefaceLib.head.headparser import largest_component
from RefaceLib.volume import geometry
from RefaceLib.volume.air import measure_air

if TYPE_CHECKING:
    from scipy.sparse import csr_array
    from vtkmodules.vtkCommonDataModel import vtkPolyData

SURFACE_SPACING = 1.5  # mm; the skin is smoothed by about 1 mm, so finer voxels would only cost time
SMOOTHING = 1.0  # mm, sigma of the Gaussian
SMOOTHING_VOXELS = 0.75  # and at least so many voxels: coarse voxels would show as terraces
CLOSING = 2.5  # mm; closes thin eyelids and nostrils, which T1 shows as holes
_MARGIN = 4  # voxels about a head; more than closing and dilation reach
_ROUNDING = 1e-5  # of a value: smoothing does not keep equal values equal
MIN_HEAD_ML = 100.0  # a smaller largest component is no head


def skin_threshold(smooth: np.ndarray) -> float:
    """Value that parts air from skin in a slightly smoothed volume (any shape, finite).

    Otsu's threshold seeds two classes. Their medians are then used, because Otsu alone lands between brain and fat when
    the coil makes one side bright; and the result stays above the noise of the air.
    """
    sample = smooth[::2, ::2, ::2] if smooth.size > 500_000 else smooth
    low, high = np.percentile(sample, (0.5, 98.0))
    if not high - low > _ROUNDING * max(abs(high), abs(low)):
        raise HeadNotFoundError("The volume has one value everywhere, so there is no head surface to draw.")
    clipped = np.clip(sample, low, high)
    seed = _otsu(clipped, low, high)
    air, tissue = clipped[clipped < seed], clipped[clipped >= seed]
    level = float(np.median(air))
    half_width = float(np.percentile(air, 75)) - level
    threshold = level + 0.30 * (float(np.median(tissue)) - level)
    return min(max(threshold, level + 4.0 * half_width), seed)


def _otsu(values: np.ndarray, low: float, high: float) -> float:
    counts, edges = np.histogram(values, bins=256, range=(low, high))
    centres = 0.5 * (edges[1:] + edges[:-1])
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between[:-1]))])


def face_surface(values: np.ndarray, affine: np.ndarray) -> vtkPolyData:
    """Skin of the head in `values` ((I, J, K), any numbers): a closed surface in RAS mm with outward point normals.

    `affine` is the (4, 4) matrix IJK -> RAS mm. Raises InputError for a wrong shape and HeadNotFoundError where nothing
    looks like a head.
    """
    if values.ndim != 3 or min(values.shape) < 2:
        raise InputError(f"A head surface needs a 3D volume, not one of shape {tuple(values.shape)}.")
    smooth, grid_affine = _reduced(values, np.asarray(affine, float))
    threshold = skin_threshold(smooth)
    field, grid_affine = _head_field(smooth, threshold, grid_affine)
    return _contour(field, threshold, grid_affine)


def _reduced(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed float32 volume on the same axes, its voxels about SURFACE_SPACING (coarse ones refined); its affine."""
    air = np.float32(measure_air(values).level)
    spacing = geometry.voxel_sizes(affine)
    # Voxels between 1.3 and 2.2 mm stay as they are: resampling them would gain nothing.
    factor = np.where((spacing > 1.3) & (spacing < 2.2), 1.0, spacing / SURFACE_SPACING)
    shape = np.maximum(2, np.ceil(np.array(values.shape) * factor)).astype(int)
    sigma = np.maximum(SMOOTHING / spacing, SMOOTHING_VOXELS)
    first, second, third = (_line(*line) for line in zip(values.shape, shape, sigma, strict=True))
    planes = np.empty((len(values), shape[1], shape[2]), np.float32)
    for plane, raw in zip(planes, values, strict=True):
        finite = np.fmax(raw.astype(np.float32), air)  # padding is no second, darker air
        finite[np.isinf(finite)] = air
        plane[:] = (third @ np.ascontiguousarray((second @ finite).T)).T
    smooth = (first @ planes.reshape(len(planes), -1)).reshape(shape)
    step = (np.array(values.shape) - 1) / (shape - 1)
    return smooth, affine @ np.diag([*step, 1.0])


def _line(before: int, after: int, sigma: float) -> csr_array:
    """The matrix (after, before) that smooths a line of voxels and resamples it linearly, end to end."""
    from scipy import ndimage
    from scipy.sparse import csr_array

    smooth = ndimage.gaussian_filter1d(np.eye(before), sigma, axis=0, truncate=2.5)
    places = np.linspace(0, before - 1, after)
    low = np.minimum(places.astype(int), before - 2)
    share = (places - low)[:, None]
    return csr_array(((1 - share) * smooth[low] + share * smooth[low + 1]).astype(np.float32))


def _head_field(smooth: np.ndarray, threshold: float, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The head in its volume with everything but its outer skin levelled out, padded by air; and the affine.

    Only voxels away from the skin are changed, so that the contour keeps its sub-voxel position.
    """
    from scipy import ndimage

    head = largest_component(smooth > threshold)
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000.0
    if head.sum() * voxel_ml < MIN_HEAD_ML:
        raise HeadNotFoundError("No head surface can be drawn: the volume holds nothing as large as a head.")
    head, field, affine = _about(head, smooth, affine)
    closed = ndimage.binary_closing(head, geometry.ball(CLOSING, affine)) | head
    solid = ~largest_component(~closed)  # air inside the head is not connected with the air outside

    skin = threshold + 0.5 * (float(np.percentile(smooth[smooth > threshold], 50)) - threshold)
    field[solid & ~head] = skin  # filled holes
    field = np.where(~geometry.grown(~solid, 1), np.maximum(field, skin), field)
    near = geometry.grown(solid, 1)
    field = np.where(near & ~solid, np.minimum(field, threshold - 1e-3 * abs(skin - threshold)), field)
    return np.where(near, field, float(smooth.min())).astype(np.float32), affine


def _about(head: np.ndarray, smooth: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mask of a head and the volume, cut to its box with a margin, and padded by air; and their affine."""
    from scipy import ndimage

    (box,) = ndimage.find_objects(head.astype(np.uint8))
    box = tuple(slice(max(side.start - _MARGIN, 0), side.stop + _MARGIN) for side in box)
    field = np.pad(smooth[box], _MARGIN, constant_values=float(smooth.min()))
    cut = affine.copy()
    cut[:3, 3] = geometry.apply_affine(affine, np.array([side.start - _MARGIN for side in box], float))
    return np.pad(head[box], _MARGIN), field, cut


def _contour(field: np.ndarray, threshold: float, affine: np.ndarray) -> vtkPolyData:
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkCommonMath import vtkMatrix4x4
    from vtkmodules.vtkCommonTransforms import vtkTransform
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D, vtkPolyDataNormals, vtkWindowedSincPolyDataFilter
    from vtkmodules.vtkFiltersGeneral import vtkTransformFilter

    image = vtkImageData()
    image.SetDimensions(*field.shape)
    image.GetPointData().SetScalars(numpy_to_vtk(field.ravel(order="F"), deep=True))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, threshold)
    edges.ComputeNormalsOff()
    edges.ComputeScalarsOff()

    matrix = vtkMatrix4x4()
    matrix.DeepCopy(affine.ravel().tolist())
    transform = vtkTransform()
    transform.SetMatrix(matrix)
    to_ras = vtkTransformFilter()
    to_ras.SetTransform(transform)
    to_ras.SetInputConnection(edges.GetOutputPort())

    smoother = vtkWindowedSincPolyDataFilter()  # takes the voxels' terraces away without shrinking
    smoother.SetInputConnection(to_ras.GetOutputPort())
    smoother.SetNumberOfIterations(30)
    smoother.SetPassBand(0.05)
    smoother.NormalizeCoordinatesOn()
    smoother.FeatureEdgeSmoothingOff()
    smoother.BoundarySmoothingOff()

    normals = vtkPolyDataNormals()
    normals.SetInputConnection(smoother.GetOutputPort())
    normals.SplittingOff()
    mirrored = bool(np.linalg.det(affine[:3, :3]) < 0)  # otherwise flying edges puts every triangle the right way
    normals.SetConsistency(mirrored)
    normals.SetAutoOrientNormals(mirrored)
    normals.Update()
    return normals.GetOutput()


def vertices(surface: vtkPolyData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3) RAS mm, unit normals (N, 3) and triangles (M, 3) of a surface."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    triangles = vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    normals = vtk_to_numpy(surface.GetPointData().GetNormals())
    return vtk_to_numpy(surface.GetPoints().GetData()), normals, triangles
