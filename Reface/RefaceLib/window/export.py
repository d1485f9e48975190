"""Saving a result where other programs find it: one image file, or a DICOM series whose header names nobody."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.window import mrml

FILE_FILTERS = ("NIfTI (*.nii.gz)", "NRRD (*.nrrd)")
DEIDENTIFIED = "ANONYMOUS"


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


def dicom_tags(node: slicer.vtkMRMLNode) -> dict[str, str]:
    """The header of a DICOM series of a result, by the names that DICOMExportScalarVolume knows.

    Nothing comes from the input or from the subject hierarchy. Every tag that is not set here is written empty.
    """
    report = result_report(node)
    tags: dict[str, str] = defaultdict(str)
    tags |= {
        "Patient Name": DEIDENTIFIED,
        "Patient ID": DEIDENTIFIED,
        "Modality": "MR",
        "Manufacturer": "Reface",
        "Model": f"Reface {report['reface_version']}",
        "Series Description": f"{report['mode']}, seed {report['seed']}" if "seed" in report else report["mode"],
        "Series Number": "1",
        "Patient Comments": "De-identified: face replaced in the image, header made anew",
    }
    for name in ("Study Instance UID", "Series Instance UID", "Frame of Reference UID"):
        tags[name] = f"2.25.{uuid.uuid4().int}"
    return tags


def save_dicom(
    node: slicer.vtkMRMLScalarVolumeNode, folder: str | Path, exporter: Callable[..., Any] | None = None
) -> None:
    """Write a result as a DICOM series into an empty folder, by Slicer's own exporter and with dicom_tags().

    :param exporter: used in place of DICOMLib.DICOMExportScalarVolume (for tests)
    :raises OutputError: with one sentence
    """
    folder = Path(folder)
    if not folder.is_dir() or any(folder.iterdir()):
        raise OutputError(f"The folder {folder} is not empty: choose an empty one for the DICOM series.")
    if node.GetImageData().GetScalarTypeAsString() in ("float", "double"):
        raise OutputError("DICOM holds whole numbers only: save this volume as NIfTI or NRRD.")
    tags = dicom_tags(node)
    if exporter is None:
        import DICOMLib

        exporter = DICOMLib.DICOMExportScalarVolume
    exporter("", node, tags, str(folder)).export()
    if not any(folder.iterdir()):
        raise OutputError("The DICOM series could not be written: see Slicer's error log.")
