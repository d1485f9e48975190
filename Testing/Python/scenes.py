"""What the tests of MRML nodes share."""

from __future__ import annotations

from pathlib import Path

import slicer


def saved_and_read(scene: slicer.vtkMRMLScene, folder: Path) -> slicer.vtkMRMLScene:
    """The scene as it comes back from its file, which is written into the folder."""
    path = str(folder / "scene.mrml")
    scene.SetURL(path)
    assert scene.Commit()
    again = slicer.vtkMRMLScene()
    again.SetURL(path)
    assert again.Connect()
    return again
