"""Where results lie in the subject hierarchy: under a subject "De-identified" of their own, never under the patient.

The item of a patient carries name, number and UIDs, which go into a saved scene or an export with all that lies under
it. A random token on both items tells which subject holds the results of which patient; it says nothing by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import slicer
import vtk

from RefaceLib.window.slicerui import translator

_ = translator(__name__)

PATIENT, STUDY = "Patient", "Study"  # levels of the hierarchy
IDENTIFYING = ("PatientName", "PatientID", "PatientBirthDate")
RESULTS_OF = "Reface.ResultsOf"  # attribute of a subject "De-identified": the token of its patient
TOKEN = "Reface.Token"  # attribute of a patient's item, or of a volume's that lies under none


def hierarchy_of(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def item_of(node: slicer.vtkMRMLNode) -> int:
    """The node's item, 0 when it has none (outside the application nothing makes one)."""
    return hierarchy_of(node.GetScene()).GetItemByDataNode(node)


def place_result(
    source: slicer.vtkMRMLNode, node: slicer.vtkMRMLNode, beside: slicer.vtkMRMLNode | None = None
) -> None:
    """Put a result of `source` under the subject that holds the results of its patient, which is made where missing.

    A source under no patient or study is a person of its own, or that of the volume `beside`, where that is given.
    """
    hierarchy = hierarchy_of(node.GetScene())
    owner = beside if beside is not None and not person_item(source) else source
    subject = subject_of(owner)
    if not subject:
        own = item_of(owner) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), owner)
        subject = _subject_for(hierarchy, person_item(owner) or own)
    item = item_of(node)
    if not item:
        hierarchy.CreateItem(subject, node)
    elif subject_of(node) != subject:
        hierarchy.SetItemParent(item, subject)


def subject_of(node: slicer.vtkMRMLNode) -> int:
    """The subject "De-identified" above the node, 0 where there is none."""
    hierarchy = hierarchy_of(node.GetScene())
    return next((item for item in _above(hierarchy, item_of(node)) if _results_of(hierarchy, item)), 0)


def person_item(node: slicer.vtkMRMLNode) -> int:
    """The item that stands for the person of a node: its patient, else its study, else 0."""
    hierarchy, item = hierarchy_of(node.GetScene()), item_of(node)
    return item and (hierarchy.GetItemAncestorAtLevel(item, PATIENT) or hierarchy.GetItemAncestorAtLevel(item, STUDY))


def nodes_in_branch(scene: slicer.vtkMRMLScene, item: int) -> list[slicer.vtkMRMLNode]:
    """The nodes of an item and of those under it, at any depth, in the order of the hierarchy."""
    hierarchy = hierarchy_of(scene)
    nodes = (hierarchy.GetItemDataNode(each) for each in (item, *_below(hierarchy, item)))
    return [node for node in nodes if node is not None]


def personal_items(node: slicer.vtkMRMLNode) -> list[int]:
    """The items above the node, the next one first, that carry DICOM tags or UIDs: its study and its patient."""
    hierarchy = hierarchy_of(node.GetScene())
    return [item for item in _above(hierarchy, item_of(node)) if _tags(hierarchy, item)]


def patient_texts(node: slicer.vtkMRMLNode) -> list[str]:
    """The name of the patient's item above a node, and the name, ID and birth date in its tags."""
    hierarchy = hierarchy_of(node.GetScene())
    patient = hierarchy.GetItemAncestorAtLevel(item_of(node), PATIENT)
    return [] if not patient or _results_of(hierarchy, patient) else _texts(hierarchy, patient)


def texts_of_origin(node: slicer.vtkMRMLNode) -> list[str]:
    """The same of the patient whose results lie in the subject above the node, also where the original is gone."""
    hierarchy = hierarchy_of(node.GetScene())
    token = _results_of(hierarchy, subject_of(node))
    items = _below(hierarchy, hierarchy.GetSceneItemID()) if token else []
    return [
        text for item in items if hierarchy.GetItemAttribute(item, TOKEN) == token for text in _texts(hierarchy, item)
    ]


def _texts(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int) -> list[str]:
    texts = [hierarchy.GetItemAttribute(item, f"DICOM.{tag}") for tag in IDENTIFYING]
    return list(filter(None, [hierarchy.GetItemName(item) if any(texts) else "", *texts]))


def patient_tags_warning(node: slicer.vtkMRMLNode) -> str | None:
    """A sentence when an item above the node carries DICOM tags, as after it was dragged there; else None.

    The sentence names the tags, not their values.
    """
    hierarchy = hierarchy_of(node.GetScene())
    tags = [tag for item in personal_items(node) for tag in _tags(hierarchy, item)]
    if not tags:
        return None
    text = _(
        "This result lies under a patient or study that carries DICOM tags ({tags}), which go into a saved scene: "
        "move it to another place in the module Data, or press Save for sharing."
    )
    return text.format(tags=", ".join(dict.fromkeys(tags)))


def strip_item(node: slicer.vtkMRMLNode) -> None:
    """Take all attributes and UIDs from the node's own item, and what lies under it to the item above."""
    hierarchy, item = hierarchy_of(node.GetScene()), item_of(node)
    if not item:
        return
    for child in _below(hierarchy, item, deep=False):
        hierarchy.SetItemParent(child, hierarchy.GetItemParent(item))
    for name in hierarchy.GetItemAttributeNames(item):
        hierarchy.RemoveItemAttribute(item, name)
    for name in hierarchy.GetItemUIDNames(item):
        hierarchy.RemoveItemUID(item, name)


def is_dicom(name: str) -> bool:
    """Whether an attribute or a UID of that name comes from DICOM files."""
    return name.upper().startswith("DICOM")


def _subject_for(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, person: int) -> int:
    """The subject that holds the results of a person's item."""
    token = hierarchy.GetItemAttribute(person, TOKEN)
    if not token:
        token = secrets.token_hex(8)  # no number: two scenes that are read one after the other would share it
        hierarchy.SetItemAttribute(person, TOKEN, token)
    subjects = {_results_of(hierarchy, item): item for item in _below(hierarchy, hierarchy.GetSceneItemID())}
    if token not in subjects:
        item = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), _free_name(hierarchy))
        hierarchy.SetItemAttribute(item, RESULTS_OF, token)
        return item
    return subjects[token]


def _free_name(hierarchy: slicer.vtkMRMLSubjectHierarchyNode) -> str:
    names = {hierarchy.GetItemName(item) for item in _below(hierarchy, hierarchy.GetSceneItemID())}
    name = base = _("De-identified")
    number = 1
    while name in names:
        number += 1
        name = f"{base} {number}"
    return name


def _results_of(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int) -> str:
    return hierarchy.GetItemAttribute(item, RESULTS_OF) or ""


def _above(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int) -> Iterator[int]:
    """The items above one, the next one first, without that of the scene."""
    while item and item != hierarchy.GetSceneItemID():
        item = hierarchy.GetItemParent(item)
        if item and item != hierarchy.GetSceneItemID():
            yield item


def _below(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int, *, deep: bool = True) -> list[int]:
    ids = vtk.vtkIdList()
    hierarchy.GetItemChildren(item, ids, deep)
    return [ids.GetId(index) for index in range(ids.GetNumberOfIds())]


def _tags(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int) -> list[str]:
    """The DICOM tags with a value, and the UIDs, that an item carries."""
    attributes = filter(is_dicom, hierarchy.GetItemAttributeNames(item))
    tags = [name.removeprefix("DICOM.") for name in attributes if hierarchy.GetItemAttribute(item, name)]
    return tags + [f"{name} UID" for name in filter(is_dicom, hierarchy.GetItemUIDNames(item))]
