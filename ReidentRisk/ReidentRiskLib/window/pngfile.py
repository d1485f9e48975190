"""A picture that a child process has drawn, as an array; by VTK, which is in every 3D Slicer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from RefaceLib.common.errors import InputError


def read_png(path: Path) -> np.ndarray:
    """The picture (rows, columns, 3) uint8 of a PNG file, its rows from the top. Raises InputError."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOImage import vtkPNGReader

    reader = vtkPNGReader()
    if not path.is_file() or not reader.CanReadFile(str(path)):
        raise InputError("The comparison left no picture: try again.")
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    columns, rows, _ = image.GetDimensions()
    scalars = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
    return np.ascontiguousarray(scalars[::-1, :, :3])
