"""BIDS data sets: a small one of phantoms or any heads, and one of twelve persons and more from the real heads."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from helpers.phantom import make_phantom
from RefaceLib.pipeline import RefaceOptions, reface_volume
from RefaceLib.volume.io import Volume, read_volume, write_volume

PERSONAL = {
    "InstitutionAddress": "Am Südtor 1",
    "PatientName": "Müller^Änne",
    "AcquisitionDateTime": "2019-03-04T10:00",
}
MRI = {"Manufacturer": "Philips", "MagneticFieldStrength": 3}
ASL = {
    "ArterialSpinLabelingType": "PCASL",
    "PostLabelingDelay": 1.8,
    "LabelingDuration": 1.8,
    "BackgroundSuppression": False,
    "M0Type": "Absent",
    "TotalAcquiredPairs": 15,
    "MRAcquisitionType": "3D",
    "RepetitionTimePreparation": 4.0,
    "EchoTime": 0.012,
}


def begin(root: Path, name: str = "Heads for tests") -> Path:
    """The top of a data set at ``root``, which is made."""
    root.mkdir(parents=True)
    description = {"Name": name, "BIDSVersion": "1.9.0", "License": "CC0", "Authors": ["A. Nobody", "B. Nobody"]}
    write(root / "dataset_description.json", description)
    (root / "README").write_text("A data set for the tests of a program, of heads that may be used so. " * 3)
    return root


def write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def add(root: Path, path: str, volume: Path | Volume | np.ndarray, sidecar: Mapping[str, Any] | None = None) -> Path:
    """Put a volume (a file, a Volume, or numbers on a grid of 2 mm) with its sidecar at ``path`` in the data set."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(volume, Path):
        shutil.copyfile(volume, target)
    elif isinstance(volume, Volume):
        write_volume(target, replace(volume, source=None), volume.stored, overwrite=True)
    else:
        nib.save(nib.Nifti1Image(volume, np.diag([2.0, 2.0, 2.0, 1.0])), target)
    if sidecar is not None:
        write(target.with_name(target.name.replace(".nii.gz", ".json")), sidecar)
    return target


def finish(root: Path) -> Path:
    """participants.tsv, and a scans.tsv of each person or session, with true dates."""
    persons = sorted(path.name for path in root.glob("sub-*"))
    text = "".join(f"{name}\t{20 + index}\n" for index, name in enumerate(persons))
    (root / "participants.tsv").write_text("participant_id\tage\n" + text)
    for folder in [*root.glob("sub-*/ses-*"), *(path for path in root.glob("sub-*") if not list(path.glob("ses-*")))]:
        images = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.nii.gz"))
        rows = "".join(f"{name}\t2019-03-04T10:00:00\n" for name in images if "/ct/" not in f"/{name}")
        name = "_".join(folder.relative_to(root).parts)
        (folder / f"{name}_scans.tsv").write_text("filename\tacq_time\n" + rows)
    return root


def phantoms(root: Path, count: int) -> Path:
    """Persons 1, 2, ... with a small phantom each."""
    begin(root)
    for number in range(1, count + 1):
        head = make_phantom((16, 20, 18), (12.0, 12.0, 12.0))
        add(root, f"sub-{number}/anat/sub-{number}_T1w.nii.gz", head)
    return root


def outputs(out: Path) -> dict[str, bytes]:
    """What `reface bids` has written into ``out``, but the records and the table, which hold seconds."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if not name.startswith((".reface", "reface.tsv", "tried"))}


def validation_errors(folder: Path) -> list[str]:
    """What the official validator calls an error in a data set."""
    program = shutil.which("bids-validator-deno")
    assert program, "pip install bids-validator-deno"
    ran = subprocess.run([program, folder, "--format", "json"], capture_output=True, text=True)
    issues = json.loads(ran.stdout)["issues"]["issues"]
    return [f"{issue['code']} {issue['location']}" for issue in issues if issue["severity"] == "error"]


def turned(volume: Volume) -> Volume:
    """The same numbers in a header that says R for A and A for S."""
    affine = np.diag([*np.linalg.norm(volume.affine[:3, :3], axis=0), 1.0])[[2, 0, 1, 3]]
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(volume.stored.shape) - 1) / 2)
    return replace(volume, affine=affine)


def cut(path: Path) -> None:
    """Damage a compressed file: it ends in the middle of its voxels."""
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) // 2], mtime=0))


def twelve_persons(root: Path, data: Path) -> Path:
    """Thirteen persons of the real heads in ``data`` (../shared/data): what data sets hold, and what is wrong there.

    Two visits, T1w, T2w, FLAIR, DWI, ASL, echoes, a field map and CT; a file that ends too early (the T1w of sub-09), a
    head whose face was removed (08), a wrong orientation (07), two persons without T1w (06, 10).
    """
    begin(root)
    (root / ".bidsignore").write_text("*_ct.*\nct\n")
    sessions, contrasts, heads, ixi = (data / name for name in ("sessions", "contrasts", "heads-1mm", "ixi-t1-2mm"))
    for visit, number in (("1", "15"), ("2", "16")):
        for suffix in ("T1w", "FLAIR"):
            name = f"sub-01/ses-{visit}/anat/sub-01_ses-{visit}_{suffix}.nii.gz"
            add(root, name, sessions / f"elderly-{number}_{suffix}.nii.gz", {**MRI, **PERSONAL})
    for suffix in ("T1w", "FLAIR"):
        add(root, f"sub-02/anat/sub-02_{suffix}.nii.gz", sessions / f"elderly-01_{suffix}.nii.gz", MRI)
    add(root, "sub-03/anat/sub-03_T1w.nii.gz", heads / "adi_T1w.nii.gz", MRI)
    add(root, "sub-03/anat/sub-03_T2w.nii.gz", contrasts / "adi_T2w.nii.gz", MRI)
    _philips(root, sessions, heads)
    add(root, "sub-05/anat/sub-05_T1w.nii.gz", sessions / "decubitus_HFS_T1w.nii.gz", MRI)
    add(root, "sub-05/dwi/sub-05_dwi.nii.gz", sessions / "decubitus_HFS_dwi.nii.gz", MRI)
    for ending in ("bval", "bvec"):
        shutil.copyfile(sessions / f"decubitus_HFS_dwi.{ending}", root / f"sub-05/dwi/sub-05_dwi.{ending}")
    add(root, "sub-06/ct/sub-06_ct.nii.gz", contrasts / "dicom2stl_CT.nii.gz", {"Modality": "CT"})
    ixi_heads = sorted(ixi.glob("*_T1w.nii.gz"))
    add(root, "sub-07/anat/sub-07_T1w.nii.gz", turned(read_volume(ixi_heads[0])), MRI)
    whole = read_volume(ixi_heads[1])
    gone = reface_volume(whole, RefaceOptions(mode="deface", device="cpu")).stored
    add(root, "sub-08/anat/sub-08_T1w.nii.gz", replace(whole, stored=gone), MRI)
    cut(add(root, "sub-09/anat/sub-09_T1w.nii.gz", sessions / "elderly-02_T1w.nii.gz", MRI))
    add(root, "sub-09/anat/sub-09_FLAIR.nii.gz", sessions / "elderly-02_FLAIR.nii.gz", MRI)
    add(root, "sub-10/anat/sub-10_FLAIR.nii.gz", sessions / "elderly-04_FLAIR.nii.gz", MRI)
    for label, head in zip(("11", "12", "13"), ixi_heads[2:], strict=False):
        add(root, f"sub-{label}/anat/sub-{label}_T1w.nii.gz", head, MRI)
    bold = np.random.default_rng(0).integers(0, 900, (16, 16, 8, 3)).astype(np.int16)
    add(root, "sub-11/func/sub-11_task-rest_bold.nii.gz", bold, {"TaskName": "rest", "RepetitionTime": 1.0})
    return finish(root)


def _philips(root: Path, sessions: Path, heads: Path) -> None:
    """sub-04: a T1w, two echoes, a field map with its phase, and a series of perfusion."""
    add(root, "sub-04/anat/sub-04_T1w.nii.gz", heads / "philips_T1w.nii.gz", MRI)
    for echo in (1, 2):
        path = sessions / f"philips_GRE_e{echo}.nii.gz"
        times = {"EchoTime": 0.005 * echo}
        add(root, f"sub-04/anat/sub-04_echo-{echo}_MEGRE.nii.gz", path, {**MRI, **times})
        add(root, f"sub-04/fmap/sub-04_magnitude{echo}.nii.gz", path, {**MRI, **times})
    magnitude = read_volume(sessions / "philips_GRE_e1.nii.gz")
    phase = np.random.default_rng(0).integers(-2000, 2000, magnitude.stored.shape).astype(np.int16)
    difference = replace(magnitude, stored=phase, slope=1.0, inter=0.0)
    add(root, "sub-04/fmap/sub-04_phasediff.nii.gz", difference, {**MRI, "EchoTime1": 0.005, "EchoTime2": 0.01})
    asl = add(root, "sub-04/perf/sub-04_asl.nii.gz", sessions / "philips_pCASL.nii.gz", {**MRI, **ASL})
    frames = nib.load(asl).shape[3]
    rows = "".join(("label\n", "control\n")[index % 2] for index in range(frames))
    (root / "sub-04/perf/sub-04_aslcontext.tsv").write_text("volume_type\n" + rows)


def two_persons(root: Path, head: Volume) -> Path:
    """A data set of two persons, one with two visits, each image the same `head`; personal fields in sidecars."""
    begin(root)
    for visit in "ab":
        for suffix in ("T1w", "T2w"):
            name = f"sub-01/ses-{visit}/anat/sub-01_ses-{visit}_{suffix}.nii.gz"
            add(root, name, head, {"EchoTime": 0.01, **PERSONAL})
    add(root, "sub-02/anat/sub-02_run-01_T1w.nii.gz", head)
    return finish(root)
