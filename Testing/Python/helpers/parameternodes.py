"""A stand-in for slicer.parameterNodeWrapper, which slicer-core lacks, over the real vtkMRMLScriptedModuleNode.

It keeps values as the application does (nodes as references, a list as its length and its items, an enumeration by the
name of its member), so that what a test saves and reads back is what a saved scene holds.
"""

from __future__ import annotations

import enum
import typing
from typing import Any

import slicer


def parameterNodeWrapper(description: type) -> type:
    """Make a class of typed parameters a view on a parameter node."""
    types = typing.get_type_hints(description)
    members = {"allParameters": types, "__init__": _init, "connectGui": _connect, "disconnectGui": _disconnect}
    for name, kind in types.items():
        default = getattr(description, name) if hasattr(description, name) else _default(kind)
        members[name] = _parameter(name, kind, default)
    return type(description.__name__, (), {"__doc__": description.__doc__, **members})


def _default(kind: Any) -> Any:
    if typing.get_origin(kind) is list:
        return []
    return None if issubclass(kind, slicer.vtkMRMLNode) else kind()


def _init(self: Any, node: slicer.vtkMRMLScriptedModuleNode) -> None:
    self.parameterNode = node
    self.connected = {}


def _connect(self: Any, gui: Any) -> int:
    """As the application: an error for a widget that names no parameter."""
    names = [widget.property("SlicerParameterName") for widget in vars(gui).values()]
    unknown = [name for name in names if name and name not in self.allParameters]
    if unknown:
        raise ValueError(f"Cannot find a param with the given name: {unknown}")
    tag = len(self.connected)
    self.connected[tag] = [name for name in names if name]
    return tag


def _disconnect(self: Any, tag: int) -> None:
    self.connected.pop(tag)


def _parameter(name: str, kind: Any, default: Any) -> property:
    def get(self: Any) -> Any:
        known = self.parameterNode.HasParameter(f"{name}_len" if typing.get_origin(kind) is list else name)
        return _read(self.parameterNode, name, kind) if known else default

    def put(self: Any, value: Any) -> None:
        with slicer.util.NodeModify(self.parameterNode):
            _write(self.parameterNode, name, kind, value)

    return property(get, put)


def _read(node: slicer.vtkMRMLScriptedModuleNode, name: str, kind: Any) -> Any:
    if typing.get_origin(kind) is list:
        (item,) = typing.get_args(kind)
        return [_read(node, f"{name}_{index}", item) for index in range(int(node.GetParameter(f"{name}_len")))]
    if issubclass(kind, slicer.vtkMRMLNode):
        return node.GetNodeReference(name)
    text = node.GetParameter(name)
    if issubclass(kind, enum.Enum):
        return kind[text]
    return text == "True" if kind is bool else kind(text)


def _write(node: slicer.vtkMRMLScriptedModuleNode, name: str, kind: Any, value: Any) -> None:
    if typing.get_origin(kind) is list:
        (item,) = typing.get_args(kind)
        for index, each in enumerate(value):
            _write(node, f"{name}_{index}", item, each)
        node.SetParameter(f"{name}_len", str(len(value)))
        return
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    if issubclass(kind, slicer.vtkMRMLNode):
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
    else:
        node.SetParameter(name, value.name if isinstance(value, enum.Enum) else str(value))
