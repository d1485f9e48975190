"""A surface made of arrays. It loads neither scipy nor a network: the windows show what children have found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData


def polydata(points: np.ndarray, normals: np.ndarray, triangles: np.ndarray) -> vtkPolyData:
    """The inverse of ``surface.vertices``; the arrays are copied."""
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
