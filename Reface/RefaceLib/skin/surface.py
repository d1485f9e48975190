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
    from vtkmodules.vtkCommonDataModel import vtkPolyData

SURFACE_SPACING = 1.5  # mm; the skin is smoothed by about 1 mm, so finer voxels would only cost time
SMOOTHING = 1.0  # mm, sigma of the Gaussian
SMOOTHING_VOXELS = 0.75  # and at least so many voxels: coarse voxels would show as terraces
CLOSING = 2.5  # mm; closes thin eyelids and nostrils, which T1 shows as holes
MIN_HEAD_ML = 100.0  # a smaller largest component is no head


def skin_threshold(smooth: np.ndarray) -> float:
    """Value that parts air from skin in a slightly smoothed volume (any shape, finite).

    Otsu's threshold seeds two classes. Their medians are then used, because Otsu alone lands between brain and fat when
    the coil makes one side bright; and the result stays above the noise of the air.
    """
    sample = smooth[::2, ::2, ::2] if smooth.size > 500_000 else smooth
    low, high = np.percentile(sample, (0.5, 98.0))
    if not high > low:
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
    from scipy import ndimage

    values, air = np.asarray(values, np.float32), np.float32(measure_air(values).level)
    finite = np.maximum(np.where(np.isfinite(values), values, air), air)  # padding is no second, darker air
    spacing = geometry.voxel_sizes(affine)
    smooth = ndimage.gaussian_filter(finite, np.maximum(SMOOTHING / spacing, SMOOTHING_VOXELS), truncate=2.5)
    # Voxels between 1.3 and 2.2 mm stay as they are: resampling them would gain nothing.
    factor = np.where((spacing > 1.3) & (spacing < 2.2), 1.0, spacing / SURFACE_SPACING)
    shape = np.maximum(2, np.ceil(np.array(values.shape) * factor)).astype(int)
    if np.array_equal(shape, values.shape):
        return smooth, affine
    step = (np.array(values.shape) - 1) / (shape - 1)
    smooth = ndimage.affine_transform(smooth, step, output_shape=tuple(shape), order=1, mode="nearest")
    return smooth, affine @ np.diag([*step, 1.0])


def _head_field(smooth: np.ndarray, threshold: float, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The volume with everything but the head's outer skin levelled out, padded by air; and its affine.

    Only voxels away from the skin are changed, so that the contour keeps its sub-voxel position.
    """
    from scipy import ndimage

    pad = 4
    field = np.pad(smooth, pad, constant_values=float(smooth.min()))
    origin = affine @ [-pad, -pad, -pad, 1.0]
    padded_affine = affine.copy()
    padded_affine[:, 3] = origin

    head = largest_component(field > threshold)
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000.0
    if head.sum() * voxel_ml < MIN_HEAD_ML:
        raise HeadNotFoundError("No head surface can be drawn: the volume holds nothing as large as a head.")
    closed = ndimage.binary_closing(head, geometry.ball(CLOSING, affine)) | head
    solid = ~largest_component(~closed)  # air inside the head is not connected with the air outside

    skin = threshold + 0.5 * (float(np.percentile(smooth[smooth > threshold], 50)) - threshold)
    field = np.where(solid & ~head, skin, field)  # filled holes
    field = np.where(ndimage.binary_erosion(solid, iterations=1), np.maximum(field, skin), field)
    near = ndimage.binary_dilation(solid, iterations=1)
    field = np.where(near & ~solid, np.minimum(field, threshold - 1e-3 * abs(skin - threshold)), field)
    return np.where(near, field, float(smooth.min())).astype(np.float32), padded_affine


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
    normals.ConsistencyOn()
    normals.AutoOrientNormalsOn()
    normals.Update()
    return normals.GetOutput()


def vertices(surface: vtkPolyData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N, 3) RAS mm, unit normals (N, 3) and triangles (M, 3) of a surface."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    triangles = vtk_to_numpy(surface.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    normals = vtk_to_numpy(surface.GetPointData().GetNormals())
    return vtk_to_numpy(surface.GetPoints().GetData()), normals, triangles


def polydata(points: np.ndarray, normals: np.ndarray, triangles: np.ndarray) -> vtkPolyData:
    """The inverse of ``vertices``; the arrays are copied."""
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    places, cells, surface = vtkPoints(), vtkCellArray(), vtkPolyData()
    places.SetData(numpy_to_vtk(np.asarray(points, np.float32), deep=True))
    offsets = np.arange(0, 3 * len(triangles) + 1, 3, dtype=np.int64)
    flat = np.ascontiguousarray(triangles, np.int64).ravel()
    cells.SetData(numpy_to_vtkIdTypeArray(offsets, deep=True), numpy_to_vtkIdTypeArray(flat, deep=True))
    surface.SetPoints(places)
    surface.SetPolys(cells)
    surface.GetPointData().SetNormals(numpy_to_vtk(np.asarray(normals, np.float32), deep=True))
    return surface
