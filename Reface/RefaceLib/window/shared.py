"""What a result is called, and what is said of it, where it is shared: nothing of what its node is called.

The name of a DICOM series may be that of the patient, and a result is named after its input. So a shared name is made
of a label that the user chooses, of the contrast, and of what was done.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from RefaceLib.common.errors import InputError
from RefaceLib.common.spelling import Spellings
from RefaceLib.window import export, hierarchy, mrml, person, results, seal
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

DEFAULT_LABEL = "sub-01"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_SHORTEST_WORD = 3  # of a name; shorter ones are in every label
_REPORT = (
    "report_version", "reface_version", "mode", "seed", "draws", "ears", "model", "device", "voxels_changed",
    "voxels_changed_outside_mask", "brain_voxels_changed", "brain_voxels", "mask_ml", "mask_voxels", "tissue_ml",
    "face_removed", "registered_mm", "registered_degrees", "candidates", "seconds", "peak_rss_mb", "warnings",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class SharedResult:
    """A result volume with its neutral `name`, its mask, (I, J, K) bool, where it has one, and its public report.

    The report names no `output` yet, but in `mask_from` the first volume of the session, where that is shared as well.
    """

    node: slicer.vtkMRMLScalarVolumeNode
    name: str
    mask: np.ndarray | None
    report: dict[str, Any]


def shared_results(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode], label: str) -> list[SharedResult]:
    """The results as they are shared. InputError for a label that may not be one, or a volume that is no result."""
    check_label(label, nodes)
    names = shared_names(nodes, label)
    done = []
    for node, name in zip(nodes, names, strict=True):
        report = public_report(node)
        seal.check_seal(node)
        first = node.GetNodeReference(results.FIRST_ROLE)
        if first in nodes and report.get("registered_mm") is not None:  # else it was defaced by itself
            report["mask_from"] = names[nodes.index(first)]
        done.append(SharedResult(node, name, face_mask(node), report))
    return done


def shared_names(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode], label: str) -> list[str]:
    """A name for each result, such as sub-01_T1w_refaced; equal ones are numbered."""
    names: list[str] = []
    for node in nodes:
        done = export.done_word(export.result_report(node)["mode"])
        base = f"{label}_{_contrast(node)}_{done}"
        numbered = (f"{base}_{number}" for number in itertools.count(2))
        names.append(next(name for name in itertools.chain([base], numbered) if name not in names))
    return names


def check_label(label: str, nodes: Sequence[slicer.vtkMRMLNode]) -> None:
    """Raise InputError where a label is no safe file name, or holds a word of the name or ID of a patient."""
    if not _LABEL.fullmatch(label):
        raise InputError(_("The label must be up to 32 letters, digits, '-' or '_', and begin with a letter or digit."))
    person, texts = Spellings(glued=_SHORTEST_WORD), _texts_of_patients(nodes)
    person.add_names(texts)
    person.add_codes([*texts, *(part for text in texts for part in re.split(r"[\W_]+", text))])
    person.add_dates(texts)
    if person.found_in(label):
        raise InputError(_("The label holds a word of the patient's name or ID: choose another one."))


def public_report(node: slicer.vtkMRMLNode) -> dict[str, Any]:
    """The part of a result's report that may leave the hospital: the keys that are known, and no name of a node."""
    report: Mapping[str, Any] = export.result_report(node)
    public = {key: report[key] for key in _REPORT if key in report}
    related = (node, node.GetNodeReference(results.INPUT_ROLE), export.original_of(node))
    names = sorted({each.GetName() for each in related if each is not None and each.GetName()}, key=len, reverse=True)
    public["warnings"] = [_unnamed(str(warning), names) for warning in public.get("warnings", ())]
    return public


def face_mask(node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray | None:
    """The mask of the face that a run made, on the grid of its result, (I, J, K) bool; None where it was removed.

    Result and mask may have been moved together or one alone, by parent transforms. InputError for another mask.
    """
    segmentation = node.GetNodeReference(results.MASK_ROLE)
    if segmentation is None or not mrml.mask_segment(segmentation):
        return None
    masks = (mrml.mask_on(segmentation, node, in_the_world=moved) for moved in (False, True))
    return seal.sealed_mask(node, masks)


def _contrast(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The contrast of the original, else of the result; it is one of a fixed list, or "scan" where none is known."""
    known = (person.contrast(each) for each in (export.original_of(node), node) if each is not None)
    return next(filter(None, known), "scan")


def _unnamed(sentence: str, names: Sequence[str]) -> str:
    for name in names:
        sentence = sentence.replace(name, _("the volume"))
    return sentence


def _texts_of_patients(nodes: Sequence[slicer.vtkMRMLNode]) -> set[str]:
    """The names, IDs and birth dates of the originals' patients, also where an original was removed."""
    originals = list(filter(None, map(export.original_of, nodes)))
    texts = [text for original in originals for text in hierarchy.patient_texts(original)]
    return {*texts, *(text for node in nodes for text in hierarchy.texts_of_origin(node))}
