"""Sets of a window's choices, each a parameter node of its own in the scene, when a scene is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import slicer


def settings_nodes(scene: slicer.vtkMRMLScene, module: str) -> list[slicer.vtkMRMLScriptedModuleNode]:
    """The parameter nodes of a module, in the order of the scene."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode") for index in range(count)]
    return [node for node in nodes if node.GetAttribute("ModuleName") == module]


@dataclass(frozen=True)
class Uses:
    """How a module's choices are looked at: `wrap` makes parameters of a node, of which the other two tell."""

    wrap: Callable[[slicer.vtkMRMLScriptedModuleNode], Any]
    nothing_chosen: Callable[[Any], bool]
    has_result: Callable[[Any], bool]


def show_loaded(
    selector: Any, module: str, before: Sequence[slicer.vtkMRMLScriptedModuleNode], uses: Uses
) -> list[slicer.vtkMRMLScriptedModuleNode]:
    """Choose in a qMRMLNodeComboBox what is to be shown after a scene was read; the nodes that are empty and can go.

    `before` are those that were there before it. A loaded one, with a result if there is such a one, takes the place of
    an empty one.
    """
    nodes = settings_nodes(slicer.mrmlScene, module)
    loaded = [node for node in nodes if node not in before]
    if not loaded:
        return []
    empty = [node for node in before if node in nodes and uses.nothing_chosen(uses.wrap(node))]
    current = selector.currentNode()
    if current is None or current not in nodes or current in empty or current in loaded:
        selector.setCurrentNode(next((node for node in loaded if uses.has_result(uses.wrap(node))), loaded[0]))
    return empty
