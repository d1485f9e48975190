"""A scene as a hospital has it: scans of an invented patient from the DICOM database, and what Reface made of them."""

from __future__ import annotations

import types
import zipfile
from collections.abc import Iterator
from gzip import decompress
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from helpers.dicomfiles import write_classic
from helpers.phantom import make_phantom
from helpers.scenes import volume_node
from RefaceLib.dicom.series import find_series
from RefaceLib.window import results
from RefaceLib.window.job import OtherAnswer, RefaceAnswer

SHAPE = (24, 20, 16)
SPACING = (10.0, 12.0, 14.0)
# The patient as helpers.dicomfiles.PERSON has it, and what only this scene holds.
SECRETS = (
    "doe", "jane", "quentin", "roe^", "richard", "pid-4711", "19560704", "1956-07-04", "20010203", "fiction",
    "acc-0815", "sn12345", "1.2.999.", "ward7", "/hospital", "tumour of d",
)  # fmt: skip
REPORT = {
    "report_version": 2, "reface_version": "1", "mode": "reface", "seed": 3, "draws": 1, "ears": True, "device": "cpu",
    "model": {"name": "m", "version": "1", "sha256": "00"}, "voxels_changed": 5, "voxels_changed_outside_mask": 0,
    "brain_voxels_changed": 0, "mask_ml": 1.0, "seconds": {"total": 1.0}, "warnings": ["The chin is cut off."],
}  # fmt: skip
APPLIED = {
    "report_version": 2, "reface_version": "1", "mode": "apply-to", "ears": True, "model": {"name": "none"},
    "voxels_changed": 5, "voxels_changed_outside_mask": 0, "brain_voxels_changed": 0, "face_removed": {"nose": 1.0},
    "registered_mm": 0.5, "registered_degrees": 0.25, "warnings": [],
}  # fmt: skip


def scan(scene: slicer.vtkMRMLScene, name: str, folder: Path | None = None, seed: int = 0) -> Any:
    """A volume node with the patient in its attributes, description and file name; of DICOM files in the folder."""
    phantom = make_phantom(SHAPE, SPACING, "LPS", seed=seed)
    node = volume_node(scene, phantom, name)
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(321, 123)
    if folder is not None:
        write_classic(folder, phantom, number=seed + 1, change=_acquired)
        (series,) = find_series([folder])
        (stack,) = series.stacks()
        stored = stack.read()
        slicer.util.updateVolumeFromArray(node, stored.stored.transpose(2, 1, 0))
        matrix = vtk.vtkMatrix4x4()
        matrix.DeepCopy(stored.affine.ravel())
        node.SetIJKToRASMatrix(matrix)
        node.SetAttribute("DICOM.instanceUIDs", " ".join(str(header.SOPInstanceUID) for _, header in series.files))
    node.SetAttribute("DICOM.PatientName", "DOE^JANE^QUENTIN")
    node.SetAttribute("Note", "for Richard, ward7")
    node.SetDescription("Head of Jane Doe, 1956-07-04")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName("/hospital/doe_jane.nrrd")
    node.SetAndObserveStorageNodeID(storage.GetID())
    return node


def _acquired(_index: int, dataset: Any) -> None:
    dataset.RepetitionTime = "2300"


def admit(scene: slicer.vtkMRMLScene, *nodes: Any, name: str = "DOE^JANE^QUENTIN", number: str = "PID-4711") -> int:
    """Put scans under a patient and a study, as the DICOM module does; the patient's item."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), f"{name} ({number})")
    for tag, value in {"PatientName": name, "PatientID": number, "PatientBirthDate": "19560704"}.items():
        hierarchy.SetItemAttribute(patient, f"DICOM.{tag}", value)
    hierarchy.SetItemUID(patient, "DICOM", number)
    study = hierarchy.CreateStudyItem(patient, "Head MRI of Doe (20010203)")
    hierarchy.SetItemUID(study, "DICOM", "1.2.999.1")
    for index, node in enumerate(nodes):
        item = hierarchy.CreateItem(study, node)
        hierarchy.SetItemUID(item, "DICOM", f"1.2.999.3.{index + 1}")
        hierarchy.SetItemAttribute(item, "DICOM.SeriesModality", "MR")
    return patient


def database(*folders: Path) -> Any:
    """The DICOM database with the files of these folders."""
    files = {str(header.SOPInstanceUID): str(path) for one in find_series(folders) for path, header in one.files}
    return types.SimpleNamespace(isOpen=True, fileForInstance=files.get)


def refaced(node: Any, *others: Any, **more: Any) -> results.RefaceResultNodes:
    """What a run leaves in the scene: 7 in the face, the front third of the head (axis J)."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, : SHAPE[1] // 3] = True
    face = _with_face(node, mask)
    applied = tuple(OtherAnswer(_with_face(other, mask), mask, APPLIED) for other in others)
    answer = RefaceAnswer(face, mask, applied, REPORT)
    return results.show_answer(results.RefaceNodes(node, others, **more), answer)


def _with_face(node: Any, mask: np.ndarray) -> np.ndarray:
    stored = slicer.util.arrayFromVolume(node).transpose(2, 1, 0).copy()
    stored[mask] = 7
    return stored


# ---- what was written ----


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every file, and of what is packed in it, at any depth."""
    for path in sorted(folder.rglob("*")):
        yield path.relative_to(folder).as_posix(), b""
        if path.is_file():
            yield from _unpacked(path.relative_to(folder).as_posix(), path.read_bytes())


def _unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    import io

    yield name, content
    if content[:2] == b"\x1f\x8b":
        yield from _unpacked(f"{name}>", decompress(content))
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for inner in archive.namelist():
                yield from _unpacked(f"{name}>{inner}", archive.read(inner))
    if content[:4] == b"NRRD" and b"encoding: gzip" in content.partition(b"\n\n")[0]:
        yield from _unpacked(f"{name}>", content.partition(b"\n\n")[2])


def secrets_in(folder: Path, secrets: tuple[str, ...] = SECRETS) -> list[tuple[str, str]]:
    """Where a secret is in the name or the bytes of a file, in any case of its letters, in any of four encodings."""
    found = []
    for name, content in contents(folder):
        small = content.lower()
        for secret in secrets:
            forms = {secret.encode(code) for code in ("utf-8", "latin-1", "utf-16-le", "utf-16-be")}
            if secret in name.lower() or any(form in small for form in forms):
                found.append((name, secret))
    return found
