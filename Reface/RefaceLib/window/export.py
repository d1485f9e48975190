"""Saving a result where other programs find it: one image file, or a DICOM series whose header names nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import slicer

from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.files import new_folder
from RefaceLib.window import mrml, results

FILE_FILTERS = ("NIfTI (*.nii.gz *.nii)", "NRRD (*.nrrd)")


def result_report(node: slicer.vtkMRMLNode | None) -> dict[str, Any]:
    """The report that mrml.set_provenance left in a result; InputError where there is none."""
    text = node.GetAttribute(f"{mrml.ATTRIBUTE_PREFIX}Report") if node is not None else None
    if not text:
        raise InputError("This volume is no result of Reface: press Apply first.")
    return json.loads(text)


def save_file(node: slicer.vtkMRMLScalarVolumeNode, path: str | Path) -> None:
    """Write a result's voxels and geometry (without the parent transform) as NIfTI or NRRD, without its attributes.

    OutputError where the file cannot be written.
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii.gz", ".nii", ".nrrd")):
        raise OutputError(f"{path.name} has no known ending: choose .nii.gz or .nrrd.")
    result_report(node)
    alone = slicer.vtkMRMLScene()
    copy = alone.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "volume")  # attributes would become fields of NRRD
    copy.CopyOrientation(node)
    copy.SetAndObserveImageData(node.GetImageData())
    storage = alone.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    if not path.parent.is_dir() or not storage.WriteData(copy):
        raise OutputError(f"{path} cannot be written: check the folder and the space on the disk.")


def save_report(node: slicer.vtkMRMLNode, path: str | Path) -> None:
    """Write a result's report as JSON, as the command line does; OutputError where the file cannot be written."""
    text = json.dumps(result_report(node), indent=2, ensure_ascii=False)
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror}): choose another folder.") from error


def save_dicom(node: slicer.vtkMRMLScalarVolumeNode, folder: str | Path) -> None:
    """Write a result as a DICOM series, whose header names nobody, into an empty or a new folder.

    Where the input of the result came from the DICOM database, the new voxels go into copies of its files, which keep
    what they say of the acquisition. Otherwise the series and its header are new. The folder is
    filled as a whole or not at all. Raises OutputError with one sentence.
    """
    from RefaceLib.dicom.newseries import write_new_series
    from RefaceLib.dicom.writer import write_into_copies

    description = f"{result_report(node)['mode']} by Reface"
    volume = mrml.volume_from_node(node)
    source = node.GetNodeReference(results.INPUT_ROLE)
    with new_folder(Path(folder), overwrite=False) as made:
        if not write_into_copies(volume, original_files(source), made, description):
            write_new_series(volume, made, description)


def original_files(source: slicer.vtkMRMLScalarVolumeNode | None) -> list[Path]:
    """The files of the DICOM database that a volume was loaded from; none where it did not come from there."""
    uids = source.GetAttribute("DICOM.instanceUIDs") if source is not None else None
    database = slicer.dicomDatabase if hasattr(slicer, "dicomDatabase") else None
    if not uids or database is None:
        return []
    files = [database.fileForInstance(uid) for uid in uids.split()]
    return [Path(file) for file in files] if all(file and Path(file).is_file() for file in files) else []
