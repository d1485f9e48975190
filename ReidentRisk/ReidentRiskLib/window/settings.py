"""Sets of the window's choices, each a parameter node of its own in the scene, when a scene is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import slicer

MODULE = "ReidentRisk"


def settings_nodes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLScriptedModuleNode]:
    """The parameter nodes of the module, in the order of the scene."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLScriptedModuleNode")
    nodes = [scene.GetNthNodeByClass(index, "vtkMRMLScriptedModuleNode") for index in range(count)]
    return [node for node in nodes if node.GetAttribute("ModuleName") == MODULE]


def after_import(
    scene: slicer.vtkMRMLScene,
    before: Sequence[slicer.vtkMRMLScriptedModuleNode],
    wrap: Callable[[slicer.vtkMRMLScriptedModuleNode], Any],
) -> slicer.vtkMRMLScriptedModuleNode | None:
    """The choices that a scene has brought, where those of `before` are empty, which go; None where nothing changes.

    One with a result comes first. `wrap` makes parameters of a node.
    """
    nodes = settings_nodes(scene)
    loaded = [node for node in nodes if node not in before]
    kept = [node for node in before if node in nodes]
    if not loaded or any(_in_use(wrap(node)) for node in kept):
        return None
    for node in kept:
        scene.RemoveNode(node)
    return next((node for node in loaded if wrap(node).result is not None), loaded[0])


def _in_use(parameters: Any) -> bool:
    """Whether anything was chosen with these parameters, or made; the original is offered by itself."""
    return bool(parameters.probes) or parameters.result is not None
