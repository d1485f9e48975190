"""Save for sharing: results and what may be said of them, under neutral names, in a new folder or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import slicer

import RefaceLib
from RefaceLib.common.errors import InputError
from RefaceLib.common.files import new_folder, write_json
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.imagenames import report_beside
from RefaceLib.window import export, hierarchy, leftout, mrml, results
from RefaceLib.window.leftout import LeftOut
from RefaceLib.window.shared import SharedResult, shared_results
from RefaceLib.window.sharedscene import write_scene
from RefaceLib.window.slicerui import translator

if TYPE_CHECKING:
    from RefaceLib.dicom.anonymise import Anonymiser

_ = translator(__name__)

LEFT_OUT_FILE = "left_out.txt"


@dataclass(frozen=True)
class Ways:
    """What is written: image files with masks and reports, a scene, and DICOM series with reports."""

    files: bool = True
    scene: bool = False
    dicom: bool = False


def share(nodes: Sequence[slicer.vtkMRMLScalarVolumeNode], folder: str | Path, label: str, ways: Ways) -> list[LeftOut]:
    """Write results into an empty or a new folder, all or none; what was left out.

    `label` begins the neutral names and is the patient's name and ID in DICOM files. Raises InputError for a label that
    will not do, for nodes that are no results, and where nothing is to be written; OutputError where a file cannot be.
    """
    if not nodes:
        raise InputError(_("No result is ticked: tick what is to be shared."))
    if not (ways.files or ways.scene or ways.dicom):
        raise InputError(_("Nothing is to be written: tick files, a scene or DICOM."))
    shared = shared_results(nodes, label)
    gone = leftout.left_out(nodes[0].GetScene(), nodes)
    with new_folder(Path(folder), overwrite=False) as made:
        if ways.files:
            for one in shared:
                _write_files(one, made)
        if ways.scene:
            write_scene(shared, made / f"{label}.mrb", label)
        if ways.dicom:
            _write_dicom(shared, made, label)
        (made / LEFT_OUT_FILE).write_text(_about(gone), encoding="utf-8")
    return gone


def results_of_person(node: slicer.vtkMRMLScalarVolumeNode) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """One result, and then all others that lie under its subject."""
    subject = hierarchy.subject_of(node)
    nodes = hierarchy.nodes_in_branch(node.GetScene(), subject) if subject else []
    found = [each for each in nodes if each.IsA("vtkMRMLScalarVolumeNode") and mrml.is_result(each)]
    return [node, *(each for each in found if each is not node)]


def latest_results(node: slicer.vtkMRMLScalarVolumeNode) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """Of the results of a person, the one given and the last one of every other input: what one mostly shares."""
    latest = {}
    for each in results_of_person(node):
        latest[each.GetNodeReference(results.INPUT_ROLE) or each] = each
    latest[node.GetNodeReference(results.INPUT_ROLE) or node] = node
    return [each for each in results_of_person(node) if each in latest.values()]


def _write_files(one: SharedResult, folder: Path) -> None:
    """The volume, its mask and its report, named as `reface image` does."""
    image = folder / f"{one.name}.nii.gz"
    export.write_image(one.node, image)
    also = []
    if one.mask is not None:
        mask = folder / f"{one.name}_mask.nii.gz"
        export.write_image(one.node, mask, one.mask.astype(np.uint8))
        also.append(mask)
    _write_report(one, report_beside(image), image, sha256_of(image), also)


def _write_dicom(shared: Sequence[SharedResult], folder: Path, label: str) -> None:
    """A folder a series, which are of one study; the reports are not among them, as they are no DICOM files."""
    from RefaceLib.dicom.anonymise import Anonymiser

    originals = [each for one in shared if export.original_files(each := export.original_of(one.node))]
    if len(set(originals)) < len(originals):  # both would have the UIDs of the same files
        raise InputError(
            _("Two of these results are of one original, and a DICOM study can hold one of them: untick the other.")
        )
    anonymiser: Anonymiser = Anonymiser(subject=label)
    for number, one in enumerate(shared, start=1):
        target = folder / "dicom" / f"SE{number:04d}"
        target.mkdir(parents=True)
        files = export.write_series(one.node, target, anonymiser, number)
        _write_report(one, folder / f"{one.name}_dicom_reface.json", target, None, files)


def _write_report(one: SharedResult, report: Path, output: Path, sha256: str | None, also: Sequence[Path]) -> None:
    """Write the public report of what was written; names are relative to its folder."""
    names = {path: path.relative_to(report.parent).as_posix() for path in (output, *also)}
    written = [{"name": names[path], "sha256": sha256_of(path)} for path in also]
    write_json(report, {"output": names[output], "output_sha256": sha256, **one.report, "also_written": written})


def _about(gone: Sequence[LeftOut]) -> str:
    """The text that goes along: it names nobody, and nothing of the scene."""
    first = _("Written by Reface {version} for sharing. Left out of the scene that it came from:")
    lines = [first.format(version=RefaceLib.__version__), leftout.text_with_numbers(gone) or _("nothing")]
    last = _("A face was replaced or removed. The brain and the skull can still identify a person.")
    return "\n".join([*lines, "", last, ""])
