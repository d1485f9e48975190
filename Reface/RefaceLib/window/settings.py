"""Sets of a window's choices, each a parameter node of its own in the scene, when a scene is read."""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from dataclasses import dataclass
from typing import Any

import slicer

from RefaceLib.window import slicerui
from RefaceLib.window.nodes import nodes_of_class


def settings_nodes(scene: slicer.vtkMRMLScene, module: str) -> list[slicer.vtkMRMLScriptedModuleNode]:
    """The parameter nodes of a module, in the order of the scene."""
    nodes = nodes_of_class(scene, "vtkMRMLScriptedModuleNode")
    return [node for node in nodes if node.GetAttribute("ModuleName") == module]


def let_go(parameters: Any, node: slicer.vtkMRMLNode) -> None:
    """No choice is a node that is about to leave the scene, and no other node takes its place by itself."""
    for name in parameters.allParameters:
        value = getattr(parameters, name)
        if value is node:
            setattr(parameters, name, None)
        elif isinstance(value, MutableSequence) and node in value:
            setattr(parameters, name, [each for each in value if each is not node])


@dataclass(frozen=True)
class Uses:
    """How a module's choices are looked at: `wrap` makes parameters of a node, of which the other two tell."""

    wrap: Callable[[slicer.vtkMRMLScriptedModuleNode], Any]
    nothing_chosen: Callable[[Any], bool]
    has_result: Callable[[Any], bool]


class LoadedSettings:
    """Shows the choices of a scene that is read in place of the empty ones that were there before, which go.

    A loaded set with a result comes first. To be told of the beginning and the end of each import.

    :param module: name of the module
    :param selector: its qMRMLNodeComboBox of parameter nodes
    :param changed: called when another set may have been chosen
    """

    def __init__(
        self, module: str, selector: Any, uses: Uses, when_idle: slicerui.WhenIdle, changed: Callable[[], None]
    ) -> None:
        self._module, self._selector, self._uses = module, selector, uses
        self._when_idle, self._changed = when_idle, changed
        self._before: list[slicer.vtkMRMLScriptedModuleNode] = []

    def startImport(self, _caller: Any = None, _event: Any = None) -> None:
        self._before = settings_nodes(slicer.mrmlScene, self._module)

    def endImport(self, _caller: Any = None, _event: Any = None) -> None:
        self._when_idle(self._show)  # only then the selectors know the nodes that were read

    def _show(self) -> None:
        empty = self._choose()
        self._changed()
        for node in empty:
            slicer.mrmlScene.RemoveNode(node)

    def _choose(self) -> list[slicer.vtkMRMLScriptedModuleNode]:
        """Choose what is to be shown; the nodes that are empty and can go."""
        nodes, uses = settings_nodes(slicer.mrmlScene, self._module), self._uses
        loaded = [node for node in nodes if node not in self._before]
        if not loaded:
            return []
        empty = [node for node in self._before if node in nodes and uses.nothing_chosen(uses.wrap(node))]
        for node in loaded:  # two of one name cannot be told apart
            if any(other.GetName() == node.GetName() for other in nodes if other is not node and other not in empty):
                node.SetName(slicer.mrmlScene.GenerateUniqueName(node.GetName()))
        current = self._selector.currentNode()
        if current is None or current not in nodes or current in empty or current in loaded:
            chosen = next((node for node in loaded if uses.has_result(uses.wrap(node))), loaded[0])
            self._selector.setCurrentNode(chosen)
        return empty
