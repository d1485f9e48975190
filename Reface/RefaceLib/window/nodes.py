"""The nodes of a scene by their class.

slicer.util.getNodesByClass looks into the scene of the application, whichever it is given.
"""

from __future__ import annotations

from typing import Any

import slicer


def nodes_of_class(scene: slicer.vtkMRMLScene, name: str) -> list[Any]:
    """The nodes of a class, such as "vtkMRMLModelNode", and of those derived from it, in the order of the scene."""
    return [scene.GetNthNodeByClass(index, name) for index in range(scene.GetNumberOfNodesByClass(name))]
