"""The skin of a head as a surface: the same for a raw, a defaced and a refaced head.

The way is that of the reports' pictures (RefaceLib.skin.portrait): a threshold seeded by Otsu, the largest component,
holes closed, a Gaussian of about 1 mm, flying edges on about 1.5 mm. A picture for a recogniser has 1.7 mm a pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.skin.portrait import face_surface

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData


def head_surface(values: np.ndarray, affine: np.ndarray) -> vtkPolyData:
    """Skin of the head in ``values`` ((I, J, K), any numbers): a closed surface in RAS mm with outward point normals.

    ``affine`` (4, 4): IJK -> RAS mm. Raises InputError for a wrong shape and HeadNotFoundError where nothing looks
    like a head.
    """
    return face_surface(values, affine)


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
