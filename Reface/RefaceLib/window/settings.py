"""Sets of a window's choices, each a parameter node of its own in the scene, when a scene is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import slicer


def settings_nodes(scene: slicer.vtkMRMLScene, module: str) -> list[slicer.vtkMRMLScriptedModuleNode]:
    """The parameter nodes of a module, in the order of the scene."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode") for index in range(count)]
    return [node for node in nodes if node.GetAttribute("ModuleName") == module]


def after_import(
    nodes: Sequence[slicer.vtkMRMLScriptedModuleNode],
    before: Sequence[slicer.vtkMRMLScriptedModuleNode],
    current: slicer.vtkMRMLScriptedModuleNode | None,
    is_empty: Callable[[slicer.vtkMRMLScriptedModuleNode], bool],
    has_result: Callable[[slicer.vtkMRMLScriptedModuleNode], bool],
) -> tuple[slicer.vtkMRMLScriptedModuleNode | None, list[slicer.vtkMRMLScriptedModuleNode]]:
    """Which of the `nodes` is to be shown after a scene was read, and which are empty and can go.

    `before` are those that were there before it. A loaded one, with a result if there is such a one, takes the place of
    an empty one.
    """
    loaded = [node for node in nodes if node not in before]
    if not loaded:
        return current, []
    empty = [node for node in before if node in nodes and is_empty(node)]
    if current is not None and current in nodes and current not in empty and current not in loaded:
        return current, empty
    return next((node for node in loaded if has_result(node)), loaded[0]), empty
