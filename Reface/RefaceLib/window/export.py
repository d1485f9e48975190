"""Saving a result where other programs find it: one image file, or a DICOM series whose header names nobody."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.files import OutputSet, new_folder, write_json
from RefaceLib.volume.io import read_volume
from RefaceLib.window import mrml, results, seal

if TYPE_CHECKING:
    from RefaceLib.dicom.anonymise import Anonymiser

FILE_FILTERS = ("NIfTI (*.nii.gz *.nii)", "NRRD (*.nrrd)")


def result_report(node: slicer.vtkMRMLNode | None) -> dict[str, Any]:
    """The report that mrml.set_provenance left in a result; InputError where there is none."""
    report = mrml.report_of(node)
    if not report:
        raise InputError("This volume is no result of Reface: press Apply first.")
    return report


def save_file(node: slicer.vtkMRMLScalarVolumeNode, path: str | Path) -> None:
    """Write a result's voxels and geometry (without the parent transform) as NIfTI or NRRD, without its attributes.

    OutputError where the file cannot be written; one that was there stays then.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii.gz", ".nii", ".nrrd")):
        raise OutputError(f"{path.name} has no known ending: choose .nii.gz or .nrrd.")
    result_report(node)
    with OutputSet(overwrite=True) as outputs:  # the file dialog has asked
        write_image(node, outputs.stage(path))


def write_image(node: slicer.vtkMRMLScalarVolumeNode, path: Path, voxels: np.ndarray | None = None) -> None:
    """Write the voxels, or others of the same shape, and the geometry of any volume, and nothing else of it.

    OutputError where the file cannot be written.
    """
    alone = slicer.vtkMRMLScene()
    copy = alone.AddNode(copy_of_volume(node, voxels))
    copy.SetName("volume")
    storage = alone.AddNode(slicer.vtkMRMLVolumeArchetypeStorageNode())
    storage.SetFileName(str(path))
    if not storage.WriteData(copy) or not _holds(path, copy):
        raise OutputError(f"{path} cannot be written: check the folder and the space on the disk.")


def _holds(path: Path, node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a file that was just written holds the voxels of a node: a full disk is no error to the writer."""
    try:
        return np.array_equal(read_volume(path).stored, mrml.volume_from_node(node).stored)
    except InputError:
        return False


def copy_of_volume(
    node: slicer.vtkMRMLScalarVolumeNode, voxels: np.ndarray | None = None
) -> slicer.vtkMRMLScalarVolumeNode:
    """A volume node in no scene with the voxels, or others of the same shape, and the local geometry of `node`.

    It has nothing else of it: attributes would become fields of NRRD.
    """
    volume = mrml.volume_from_node(node)
    copy = slicer.vtkMRMLScalarVolumeNode()
    slicer.util.updateVolumeFromArray(copy, (volume.stored if voxels is None else voxels).transpose(2, 1, 0))
    copy.CopyOrientation(node)
    copy.SetOrigin(volume.affine[:3, 3])  # indices of an image need not begin at 0, those of an array do
    return copy


def save_report(node: slicer.vtkMRMLNode, path: str | Path) -> None:
    """Write a result's report as JSON, as the command line does; OutputError as from save_file."""
    report = result_report(node)
    with OutputSet(overwrite=True) as outputs:
        write_json(outputs.stage(path), report)


def save_dicom(node: slicer.vtkMRMLScalarVolumeNode, folder: str | Path) -> None:
    """Write a result as a DICOM series, whose header names nobody, into an empty or a new folder.

    The folder is filled as a whole or not at all. Raises OutputError or InputError with one sentence, also for a result
    that was changed since: the header says that its face is gone.
    """
    result_report(node)
    seal.check_seal(node)
    with new_folder(Path(folder), overwrite=False) as made:
        write_series(node, made)


def write_series(
    node: slicer.vtkMRMLScalarVolumeNode, folder: Path, anonymiser: Anonymiser | None = None, number: int = 1
) -> list[Path]:
    """Write a result as a DICOM series into a folder; the files. Series with one `anonymiser` belong together.

    Where the original came from the DICOM database, the new voxels go into copies of its files, which keep what they
    say of the acquisition. Otherwise the series and its header are new, with that `number`. Raises OutputError or
    InputError with one sentence.
    """
    from RefaceLib.dicom.newseries import write_new_series
    from RefaceLib.dicom.writer import write_into_copies

    description = done_word(result_report(node)["mode"])
    volume = mrml.volume_from_node(node)
    if not write_into_copies(volume, original_files(original_of(node)), folder, description, anonymiser):
        write_new_series(volume, folder, description, anonymiser, number)
    return sorted(folder.iterdir())


def done_word(mode: str) -> str:
    """What was done in a mode, in the word that names of files and descriptions of series have."""
    return {"reface": "refaced", "recover": "recovered", "deface": "defaced", "apply-to": "defaced"}.get(mode, "result")


def original_of(node: slicer.vtkMRMLScalarVolumeNode | None) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume with which a result, or the result of a result, began; None where it is gone."""
    seen = set()
    while node is not None and node.GetID() not in seen and mrml.is_result(node):
        seen.add(node.GetID())
        node = node.GetNodeReference(results.INPUT_ROLE)
    return node


def original_files(source: slicer.vtkMRMLScalarVolumeNode | None) -> list[Path]:
    """The files of the DICOM database that a volume was loaded from; none where it did not come from there."""
    uids = source.GetAttribute("DICOM.instanceUIDs") if source is not None else None
    database = slicer.dicomDatabase if hasattr(slicer, "dicomDatabase") else None
    if not uids or database is None or not database.isOpen:  # a closed one fails for each file, in the log
        return []
    files = [database.fileForInstance(uid) for uid in uids.split()]
    return [Path(file) for file in files] if all(file and Path(file).is_file() for file in files) else []
