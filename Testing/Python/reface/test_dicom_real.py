"""Real DICOM series there and back, as dcm2niix and dciodvfy see them before and after."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from RefaceLib.commandline import cli
from RefaceLib.dicom.series import find_series

SERIES = ("philips_T1w", "philips_GRE_enhanced", "decubitus_HFS_T1w")
INVENTED = (
    "DOE", "Doe", "JANE", "QUENTIN", "ROE", "RICHARD", "Fiction", "Nowhere", "STATION1", "PID-4711", "ACC-0815",
    "STUDY-1", "19560704", "20010203", "Dept of Examples", "d2n_",
)  # fmt: skip


@pytest.fixture(scope="session")
def folder(shared_data, tmp_path_factory) -> Path:
    """`in` with the series of two studies, `out_*` with what became of them."""
    folder = tmp_path_factory.mktemp("dicom")
    for name in SERIES:
        archive = shared_data / "dicom" / f"{name}.tar.xz"
        if not archive.is_file():
            pytest.skip("needs ../shared/data/dicom")
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "in", filter="data")
    (folder / "study").mkdir()
    for name in SERIES[:2]:
        (folder / "in" / name).rename(folder / "study" / name)
    study = ["dicom", str(folder / "study"), str(folder / "out_study"), "--study", "--seed", "3", "-q"]
    assert cli.main(study) == 0
    one = ["dicom", str(folder / "in" / SERIES[2]), str(folder / "out_one"), "--mode", "deface", "-q"]
    assert cli.main(one) == 0
    return folder


def pairs(folder: Path) -> list[tuple[Path, Path]]:
    """The folders of each series, before and after."""
    return [
        (folder / "study" / SERIES[0], folder / "out_study" / "SE0001"),
        (folder / "study" / SERIES[1], folder / "out_study" / "SE0002"),
        (folder / "in" / SERIES[2], folder / "out_one" / "SE0001"),
    ]


def converted(source: Path, target: Path) -> dict[str, nib.Nifti1Image]:
    """What dcm2niix makes of a folder, by the names of its files."""
    target.mkdir()
    command = [sys.executable, "-m", "dcm2niix", "-f", "%s_%e", "-z", "n", "-o", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return {path.name: nib.load(path) for path in sorted(target.glob("*.nii"))}


def test_dcm2niix_finds_the_same_grids_and_the_same_voxels_outside_the_mask(folder, tmp_path):
    reports = [json.loads((folder / f"{name}_reface.json").read_text()) for name in ("out_study", "out_one")]
    entries = [*reports[0]["series"], *reports[1]["series"]]
    for index, ((source, target), entry) in enumerate(zip(pairs(folder), entries, strict=True)):
        before = converted(source, tmp_path / f"before{index}")
        after = converted(target, tmp_path / f"after{index}")
        assert before.keys() == after.keys() and len(before) == len(entry["volumes"])
        changes = []
        for name, image in before.items():
            assert np.array_equal(image.affine, after[name].affine)
            assert image.header["scl_slope"].tobytes() == after[name].header["scl_slope"].tobytes()
            first, second = (np.asarray(each.dataobj.get_unscaled()) for each in (image, after[name]))
            assert first.dtype == second.dtype
            changes.append(int((first != second).sum()))
        # No voxel beyond those that the promise counted, none of which is outside the mask.
        assert sorted(changes) == sorted(volume["voxels_changed"] for volume in entry["volumes"])
        assert all(volume["voxels_changed_outside_mask"] == 0 for volume in entry["volumes"])


def test_dcm2niix_names_the_scanner_as_before(folder, tmp_path):
    source, target = pairs(folder)[2]
    for path in (source, target):
        converted(path, tmp_path / path.name)
    before, after = (json.loads(next((tmp_path / path.name).glob("*.json")).read_text()) for path in (source, target))
    for name in ("Manufacturer", "ManufacturersModelName", "SoftwareVersions"):
        assert before[name] == after[name]


def test_nothing_of_the_input_is_found_in_any_byte(folder):
    outputs = [*folder.glob("out_*/**/*.dcm"), *folder.glob("out_*_reface.json")]
    content = b"".join(path.read_bytes() for path in outputs)
    assert len(outputs) == 170 + 1 + 35 + 2
    assert [words for words in INVENTED if words.encode() in content] == []
    uids = set()
    for source, _ in pairs(folder):
        for path in source.iterdir():
            header = pydicom.dcmread(path, stop_before_pixels=True)
            uids |= {value for dataset in (header, header.file_meta) for value in uids_of(dataset)}
    assert len(uids) > 400 and [uid for uid in uids if uid.encode() in content] == []


def uids_of(dataset: pydicom.Dataset) -> set[str]:
    found: set[str] = set()
    for element in dataset.iterall():
        if element.VR == "UI" and not element.is_empty:
            found |= {str(uid) for uid in (element.value if element.VM > 1 else [element.value])}
    return {uid for uid in found if not uid.startswith("1.2.840.10008.")}


def test_the_study_stays_one_and_its_acquisition_is_told(folder):
    headers = [pydicom.dcmread(next(target.iterdir()), stop_before_pixels=True) for _, target in pairs(folder)]
    first, enhanced, _ = headers
    assert first.StudyInstanceUID == enhanced.StudyInstanceUID and first.PatientID == "ANONYMOUS"
    assert (first.EchoTime, first.FlipAngle, first.ManufacturerModelName) == (2.93, 9, "Ingenia Elition X")
    assert enhanced.PerFrameFunctionalGroupsSequence[0].MREchoSequence[0].EffectiveEchoTime == 2.3
    assert all(header.RecognizableVisualFeatures == "NO" and header.ImageType[0] == "DERIVED" for header in headers)


def test_what_was_written_is_a_series_again_and_as_valid_as_before(folder):
    for source, target in pairs(folder):
        before, after = (find_series([path])[0].stacks() for path in (source, target))
        assert all(a.same_grid(b) for a, b in zip(before, after, strict=True))
        if shutil.which("dciodvfy"):
            first, second = (complaints(min(path.iterdir())) for path in (source, target))
            assert second - first == set()


def complaints(path: Path) -> set[str]:
    """The errors that dciodvfy (dicom3tools) finds in a file."""
    told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace")
    return {line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")}
