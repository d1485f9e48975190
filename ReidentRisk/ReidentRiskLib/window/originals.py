"""Which volume is offered as the original: one with the face that its scan had."""

from __future__ import annotations

import re
from collections.abc import Iterator

import slicer

from RefaceLib.window.mrml import ATTRIBUTE_PREFIX
from RefaceLib.window.nodes import nodes_of_class
from RefaceLib.window.results import INPUT_ROLE

_CHANGED = re.compile(r"[\s_-]*(?:de|re)[-_ ]?fac(?:ed|ing)\b|[\s_-]*with a face\b", re.IGNORECASE)


def is_changed(volume: slicer.vtkMRMLNode) -> bool:
    """Whether a volume is a result of Reface, or its name says that its face was changed."""
    made = any(name.startswith(ATTRIBUTE_PREFIX) for name in volume.GetAttributeNames())
    return made or volume.GetNodeReference(INPUT_ROLE) is not None or bool(_CHANGED.search(_words(volume)))


def original_of(volume: slicer.vtkMRMLScalarVolumeNode | None) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume itself where its face is its own, else the one that it was made of, else another one of the scene.

    None where all have been changed.
    """
    seen: set[str] = set()
    while volume is not None and is_changed(volume) and volume.GetID() not in seen:
        seen.add(volume.GetID())
        volume = volume.GetNodeReference(INPUT_ROLE) or _named_alike(volume) or next(_unchanged(volume), None)
    return volume if volume is not None and not is_changed(volume) else None


def _named_alike(volume: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The one that has the rest of the name: "Head" for "Head defaced"."""
    rest = _CHANGED.split(_words(volume))[0].strip(" -")
    return next((other for other in _unchanged(volume) if rest and _words(other) == rest), None)


def _unchanged(volume: slicer.vtkMRMLScalarVolumeNode) -> Iterator[slicer.vtkMRMLScalarVolumeNode]:
    scene = volume.GetScene()
    for node in nodes_of_class(scene, "vtkMRMLScalarVolumeNode"):
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not is_changed(node):
            yield node


def _words(volume: slicer.vtkMRMLNode) -> str:
    return (volume.GetName() or "").replace("_", " ")  # which is a letter to \b
