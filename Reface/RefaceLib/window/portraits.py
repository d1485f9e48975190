"""Small pictures of the faces of one head, drawn in a child process: python -m RefaceLib.window.portraits OUT FACE ...

All are framed alike, by the first one. A volume without a skin to draw gets no picture.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib.common.console import write_json_line
from RefaceLib.common.errors import InputError
from RefaceLib.common.shell import Parser, add_progress, run_command

SIZE = 96  # pixels


@dataclass(frozen=True)
class PortraitsCommand:
    """Draw the `faces`, each into `out` under its own name."""

    out: Path
    faces: tuple[Path, ...]
    progress: str = "none"

    stopped = "stopped"

    def run(self) -> int:
        from RefaceLib.skin.portrait import render_surface
        from RefaceLib.skin.surface import face_surface
        from RefaceLib.volume.io import read_volume

        self.out.mkdir()
        framed = None
        for index, path in enumerate(self.faces):
            if self.progress == "json":
                write_json_line(sys.stdout, {"progress": index / len(self.faces), "stage": "draw"})
            volume = read_volume(path)
            with contextlib.suppress(InputError):  # no head to draw
                surface = face_surface(volume.values(), volume.affine)
                framed = framed or surface
                picture = render_surface(surface, framed=framed, size=SIZE)
                write_png(picture_of(path, self.out), picture)
        return 0


def picture_of(face: Path, folder: Path) -> Path:
    """Where the picture of a face is put."""
    return folder / f"{face.stem}.png"


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a picture, (rows from the top, columns, 3) uint8."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkIOImage import vtkPNGWriter

    rows, columns, _channels = picture.shape
    image = vtkImageData()
    image.SetDimensions(columns, rows, 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(picture[::-1].reshape(-1, 3)), deep=True))
    writer: Any = vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()


def _parse(arguments: Sequence[str]) -> PortraitsCommand:
    parser = Parser(prog="portraits")
    parser.add_argument("out", type=Path)
    parser.add_argument("faces", type=Path, nargs="+")
    add_progress(parser)
    options = parser.parse_args(arguments)
    return PortraitsCommand(options.out, tuple(options.faces), options.progress)


if __name__ == "__main__":
    sys.exit(run_command("portraits", _parse))
