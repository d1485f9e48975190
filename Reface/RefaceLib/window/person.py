"""The volumes of one person, and what of each the window's table says: contrast, what is to be done, state, promise.

A person is a patient (or, without one, a study) of the subject hierarchy. To these the user may add other volumes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import slicer

from RefaceLib.window import hierarchy, mrml, results
from RefaceLib.window.nodes import nodes_of_class
from RefaceLib.window.parameters import Mode
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

_CONTRASTS = (  # the first that fits; names of series are as various as scanners and sites
    ("FLAIR", r"flair|dark.?fluid"),
    ("SWI", r"swi|swan|t2.?(\*|starw?)|gre.?t2|venobold"),
    ("DWI", r"dwi|dti|diff|adc|trace|ep2d"),
    ("ASL", r"asl|pcasl|perf"),
    ("BOLD", r"bold|fmri|rest"),
    ("MRA", r"tof|mra|angio"),
    ("PET", r"pet|fdg|suv"),
    ("CT", r"ct|ctac"),
    ("PD", r"pd|pdw|proton"),
    ("T1w", r"t1\w*|unit1|mp2?rage|f?spgr|bravo|tfe|tfl|vibe|lava"),
    ("T2w", r"t2\w*|tse|fse|space|cube"),
)
_MODALITIES = {"CT": "CT", "PT": "PET"}


@dataclass(frozen=True)
class Row:
    """What the table says of a volume; `first` is the one that gets the face, `promise` how much of it is gone."""

    volume: slicer.vtkMRMLScalarVolumeNode
    name: str
    first: bool
    ticked: bool
    contrast: str
    work: str
    state: str
    promise: str
    tip: str


@dataclass
class Said:
    """What is known of volumes besides their results, by node ID: what was `found` in one, and why one `failed`.

    Another scene has other nodes of the same IDs, so it gets another Said.
    """

    found: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def forget(self, volumes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
        for volume in volumes:
            self.found.pop(volume.GetID(), None)
            self.failed.pop(volume.GetID(), None)


# ---- who ----


def volumes_of_person(volume: slicer.vtkMRMLScalarVolumeNode) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The volumes under the patient of a volume, or under its study where there is no patient; at least itself.

    Results of Reface and label maps are none of them.
    """
    above = hierarchy.person_item(volume)
    found = volumes_under(volume.GetScene(), above) if above else []
    return found if volume in found else [volume, *found]


def volumes_under(scene: slicer.vtkMRMLScene, item: int) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The original volumes in a branch of the subject hierarchy: of a patient, a study, a folder, or a volume alone."""
    return [node for node in hierarchy.nodes_in_branch(scene, item) if is_original(node)]


def is_original(node: slicer.vtkMRMLNode) -> bool:
    """Whether a node is a scalar volume of a scene, and no result of Reface."""
    if node.GetScene() is None:  # while it is being removed, its item is still there
        return False
    return node.GetClassName() == "vtkMRMLScalarVolumeNode" and not mrml.is_result(node)


def best_for_face(
    volumes: Sequence[slicer.vtkMRMLScalarVolumeNode],
) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume that gets the face: a T1w, in which a face is made best, of those the one with the smallest voxels."""
    return min(volumes, key=lambda node: (contrast(node) != "T1w", max(node.GetSpacing())), default=None)


def others_kept(
    former: slicer.vtkMRMLScalarVolumeNode | None,
    volume: slicer.vtkMRMLScalarVolumeNode,
    others: Sequence[slicer.vtkMRMLScalarVolumeNode],
) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """Which `others` stay ticked when `volume` takes the place of the `former` input: none of another person.

    A volume that was ticked itself changes places with the former input.
    """
    if volume in others:
        changed = [former] if former is not None else []
        return [*changed, *(other for other in others if other is not volume)]
    person = volumes_of_person(volume)
    return [other for other in others if other in person]


# ---- what is said ----


def contrast(volume: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The contrast by the modality in the subject hierarchy and by the name; empty where they do not tell it."""
    attribute = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    item = hierarchy.item_of(volume)
    modality = hierarchy.hierarchy_of(volume.GetScene()).GetItemAttribute(item, attribute) if item else ""
    if modality in _MODALITIES:
        return _MODALITIES[modality]
    name = re.sub(r"[_\-.\s:()\[\]+]+", " ", volume.GetName().lower())
    return next((kind for kind, words in _CONTRASTS if re.search(rf"\b({words})(?![a-z])", name)), "")


def result_of(volume: slicer.vtkMRMLScalarVolumeNode | None) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The newest result of a volume in its scene; None where there is none."""
    scene = volume.GetScene() if volume is not None else None
    if scene is None:
        return None
    nodes = reversed(nodes_of_class(scene, "vtkMRMLScalarVolumeNode"))
    found = filter(mrml.is_result, nodes)
    return next((node for node in found if node.GetNodeReference(results.INPUT_ROLE) is volume), None)


def table_rows(
    ticked: Sequence[slicer.vtkMRMLScalarVolumeNode],
    mode: Mode,
    turn: Callable[[slicer.vtkMRMLScalarVolumeNode], int | None],
    said: Said,
) -> list[Row]:
    """The rows of the table: the input first, then the person's other volumes, then what the user has added.

    `ticked` are the volumes of the run, first the input. `turn` says whether a volume is worked on (0) or waits for
    its run (1, 2, ...).
    """
    volume = ticked[0]
    listed = [volume]
    for each in (*volumes_of_person(volume), *ticked):
        if each not in listed:
            listed.append(each)
    return [_row(each, each is volume, each in ticked, mode, turn(each), said) for each in listed]


def _row(
    volume: slicer.vtkMRMLScalarVolumeNode, first: bool, ticked: bool, mode: Mode, turn: int | None, said: Said
) -> Row:
    kind = contrast(volume)
    work = _work(mode) if first else _("deface")
    done = result_of(volume)
    report = mrml.report_of(done)
    failed, found = (known.get(volume.GetID(), "") for known in (said.failed, said.found))
    state = _state(turn, bool(failed), report)
    tip = "\n".join(filter(None, [volume.GetName(), found, failed, results.result_text(done)]))
    promise = "" if failed or not report else results.share_text(results.least_removed(report))
    return Row(volume, volume.GetName(), first, ticked, kind, work if ticked else "", state, promise, tip)


def _work(mode: Mode) -> str:
    return {
        Mode.AUTO: _("new face"),
        Mode.REFACE: _("new face"),
        Mode.DEFACE: _("deface"),
        Mode.RECOVER: _("recover"),
    }[mode]


def _state(turn: int | None, failed: bool, report: Mapping[str, Any]) -> str:
    if turn is not None:
        return _("under way") if turn == 0 else _("waiting")
    if failed:
        return _("failed")
    if not report:
        return ""
    return _("warned") if report["warnings"] else _("done")
