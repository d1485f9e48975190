"""What is in the scene and is not shared: in the window by its names, in the file that goes along by numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import slicer

from RefaceLib.window import export, hierarchy, mrml, results, slicerui
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

_DATA = ("vtkMRMLDisplayableNode", "vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLPlotChartNode", "vtkMRMLSequenceNode")


@dataclass(frozen=True)
class LeftOut:
    """Things of one kind that stay: `names` as the user knows them."""

    kind: str
    names: tuple[str, ...]


def left_out(scene: slicer.vtkMRMLScene, shared: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> list[LeftOut]:
    """What stays when the results `shared` leave, in groups that are not empty."""
    masks = [node.GetNodeReference(results.MASK_ROLE) for node in shared]
    originals = _each(export.original_of(node) for node in shared)
    inputs = _each(node.GetNodeReference(results.INPUT_ROLE) for node in shared)
    gone = {*shared, *originals, *filter(None, masks)}
    rest = [node for node in _data(scene) if node not in gone]
    models = [node for node in rest if node.IsA("vtkMRMLModelNode")]
    transforms = [node for node in rest if node.IsA("vtkMRMLTransformNode")]
    others = [node for node in rest if node not in (*models, *transforms)]
    groups = {
        _("Original volumes"): _names(originals),
        _("Surfaces and models"): _names(models),
        _("Transforms"): _names(transforms),
        _("Other nodes"): _names(others),
        _("Other segments of the masks"): _segments(filter(None, masks)),
        _("Patient and study entries"): _items(scene, [*originals, *inputs, *shared]),
        _("Private attributes"): _attributes([*originals, *shared]),
    }
    return [LeftOut(kind, names) for kind, names in groups.items() if names]


def text_with_names(groups: Sequence[LeftOut]) -> str:
    """A line a kind, with names, for the window alone."""
    return "\n".join(f"{group.kind}: {', '.join(map(slicerui.short_name, group.names))}" for group in groups)


def text_with_numbers(groups: Sequence[LeftOut]) -> str:
    """A line a kind, without a name, for the file."""
    return "\n".join(f"{group.kind}: {len(group.names)}" for group in groups)


def _data(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLNode]:
    """What the user sees in the module Data."""
    nodes = (scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes()))
    return [node for node in nodes if not node.GetHideFromEditors() and any(node.IsA(kind) for kind in _DATA)]


def _segments(masks: Iterable[slicer.vtkMRMLSegmentationNode]) -> tuple[str, ...]:
    found = []
    for mask in masks:
        segments = mask.GetSegmentation()
        others = [name for name in segments.GetSegmentIDs() if name != mrml.mask_segment(mask)]
        found += [segments.GetSegment(name).GetName() for name in others]
    return tuple(found)


def _items(scene: slicer.vtkMRMLScene, nodes: Iterable[slicer.vtkMRMLNode]) -> tuple[str, ...]:
    items = dict.fromkeys(item for node in nodes for item in hierarchy.personal_items(node))
    return tuple(hierarchy.hierarchy_of(scene).GetItemName(item) for item in items)


def _attributes(nodes: Iterable[slicer.vtkMRMLNode]) -> tuple[str, ...]:
    names = (name for node in nodes for name in node.GetAttributeNames() if not name.startswith(mrml.ATTRIBUTE_PREFIX))
    return tuple(dict.fromkeys(names))


def _each(nodes: Iterable[slicer.vtkMRMLNode | None]) -> list[slicer.vtkMRMLNode]:
    return list(dict.fromkeys(node for node in nodes if node is not None))


def _names(nodes: Iterable[slicer.vtkMRMLNode]) -> tuple[str, ...]:
    return tuple(node.GetName() or "" for node in nodes)
