"""Save for sharing on real MRML: what is written names nobody and loads again with the same voxels, or nothing is."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pydicom
import pytest

from helpers.imagefiles import assert_one_sentence
from RefaceLib.common.errors import InputError, OutputError
from RefaceLib.common.files import write_json
from RefaceLib.dicom.series import find_series
from RefaceLib.volume.io import read_volume

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface import hospital  # noqa: E402  (needs slicer)
from helpers.reface.hospital import REPORT, SHAPE, secrets_in  # noqa: E402
from RefaceLib.window import export, leftout, mrml, results, seal, shared, sharing  # noqa: E402
from RefaceLib.window.sharing import Ways  # noqa: E402

ALL = Ways(files=True, scene=True, dicom=True)
T1, T2 = "AX T1 MPRAGE DOE^JANE", "T2w of Quentin 19560704"


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


@pytest.fixture
def scans(scene, tmp_path, monkeypatch):
    """A T1 and a T2 of one patient, out of the DICOM database."""
    folders = [tmp_path / "in" / name for name in ("t1", "t2")]
    nodes = [hospital.scan(scene, name, folders[seed], seed) for seed, name in enumerate((T1, T2))]
    hospital.admit(scene, *nodes)
    monkeypatch.setattr(slicer, "dicomDatabase", hospital.database(*folders), raising=False)
    return nodes


@pytest.fixture
def done(scene, scans):
    """What a run leaves of both, in a scene in which more names lie about."""
    made = hospital.refaced(*scans)
    for name in (f"{T1} face", f"{T1} refaced face"):
        scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    tumour = slicer.vtkOrientedImageData()
    made.mask.GetBinaryLabelmapRepresentation(made.mask.GetSegmentation().GetNthSegmentID(0), tumour)
    made.mask.AddSegmentFromBinaryLabelmapRepresentation(tumour, "Tumour of Doe", (1, 0, 0))
    for node in (made.volume, made.mask, *made.others):
        node.SetAttribute("Comment", "Doe^Jane, ward7")
        node.SetDescription("Jane Doe")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Doe to atlas")
    made.volume.SetAndObserveTransformNodeID(transform.GetID())
    colours = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "Colours of Richard, ward7")
    made.volume.GetDisplayNode().SetAndObserveColorNodeID(colours.GetID())
    scene.AddNewNodeByClass("vtkMRMLTextNode", "Letter about Jane Doe").SetText("Dear Doe")
    return made


def values(node):
    return mrml.volume_from_node(node).stored


def read_scene(path, folder):
    """The scene in an .mrb, as the application reads it."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    scene = slicer.vtkMRMLScene()
    scene.SetURL(str(next(folder.rglob("*.mrml"))))
    assert scene.Connect()
    return scene


def test_what_is_searched_for_is_found_in_an_ordinary_scene(scene, scans, done, tmp_path):
    """The search sees what it must not find elsewhere, and so do archives."""
    (tmp_path / "out").mkdir()
    assert scene.WriteToMRB(str(tmp_path / "out" / "all.mrb"))
    found = {secret for _name, secret in secrets_in(tmp_path / "out")}
    assert {"doe", "jane", "pid-4711", "19560704", "1.2.999.", "ward7", "tumour of d", "1956-07-04"} <= found


def test_no_file_of_any_way_names_the_patient(scene, scans, done, tmp_path):
    gone = sharing.share([done.volume, *done.others], tmp_path / "out", "sub-07", ALL)
    assert secrets_in(tmp_path / "out") == []
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/*")) == [
        "dicom", "left_out.txt", "sub-07.mrb", "sub-07_T1w_refaced.nii.gz", "sub-07_T1w_refaced_dicom_reface.json",
        "sub-07_T1w_refaced_mask.nii.gz", "sub-07_T1w_refaced_reface.json", "sub-07_T2w_defaced.nii.gz",
        "sub-07_T2w_defaced_dicom_reface.json", "sub-07_T2w_defaced_mask.nii.gz", "sub-07_T2w_defaced_reface.json",
    ]  # fmt: skip
    told = leftout.text_with_names(gone)
    for name in (T1, T2, "Doe to atlas", "Tumour of Doe", "Letter about Jane Doe", "DICOM.PatientName", "Head MRI of"):
        assert name in told, name
    text = (tmp_path / "out" / "left_out.txt").read_text(encoding="utf-8")
    for line in ("Original volumes: 2", "Surfaces and models: 2", "Other segments of the masks: 1", "Transforms: 1"):
        assert line in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_files_hold_the_voxels_the_mask_and_the_public_report(done, tmp_path):
    sharing.share([done.volume, *done.others], tmp_path / "out", "sub-01", Ways())
    for node, name in ((done.volume, "sub-01_T1w_refaced"), (done.others[0], "sub-01_T2w_defaced")):
        volume = read_volume(tmp_path / "out" / f"{name}.nii.gz")
        assert np.array_equal(volume.stored, values(node)) and volume.stored.dtype == values(node).dtype
        np.testing.assert_allclose(volume.affine, mrml.volume_from_node(node).affine, atol=1e-4)
        report = json.loads((tmp_path / "out" / f"{name}_reface.json").read_text(encoding="utf-8"))
        assert report["output"] == f"{name}.nii.gz" and len(report["output_sha256"]) == 64
        mask = read_volume(tmp_path / "out" / f"{name}_mask.nii.gz").stored
        assert mask.dtype == np.uint8 and mask[:, : SHAPE[1] // 3].all() and not mask[:, SHAPE[1] // 3 :].any()
        assert report["also_written"][0]["name"] == f"{name}_mask.nii.gz"
    assert report["mask_from"] == "sub-01_T1w_refaced"


def test_a_scene_loads_again_with_the_results_alone(done, tmp_path):
    sharing.share([done.volume, *done.others], tmp_path / "out", "sub-01", Ways(files=False, scene=True))
    again = read_scene(tmp_path / "out" / "sub-01.mrb", tmp_path / "unpacked")
    count = again.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = [again.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(count)]
    assert [node.GetName() for node in nodes] == ["sub-01_T1w_refaced", "sub-01_T2w_defaced"]
    for node, source in zip(nodes, (done.volume, *done.others), strict=True):
        assert np.array_equal(values(node), values(source)) and values(node).dtype == values(source).dtype
        np.testing.assert_allclose(mrml.volume_from_node(node).affine, mrml.volume_from_node(source).affine, atol=1e-9)
        display = node.GetDisplayNode()
        assert (display.GetWindow(), display.GetLevel(), display.GetAutoWindowLevel()) == (321, 123, 0)
        assert node.GetParentTransformNode() is None and node.GetNodeReference(results.INPUT_ROLE) is None
        report = export.result_report(node)
        assert set(report) <= set(shared._REPORT) | {"mask_from"}
        mask = node.GetNodeReference(results.MASK_ROLE)
        assert mask.GetSegmentation().GetNumberOfSegments() == 1
        assert np.array_equal(shared.face_mask(node), shared.face_mask(source))
    assert nodes[1].GetNodeReference(results.FIRST_ROLE) is nodes[0]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(again)
    subject = hierarchy.GetItemByName("De-identified sub-01")
    assert hierarchy.IsItemLevel(subject, "Patient") and hierarchy.GetNumberOfItemChildren(subject) == 4
    assert hierarchy.GetNumberOfItemChildren(hierarchy.GetSceneItemID()) == 1
    sharing.share([nodes[0]], tmp_path / "again", "sub-02", Ways())  # a result is one there as well


def test_dicom_series_are_of_one_study_and_keep_the_acquisition(done, tmp_path):
    sharing.share([done.volume, *done.others], tmp_path / "out", "sub-01", Ways(files=False, dicom=True))
    headers = []
    for number, node in enumerate((done.volume, *done.others), start=1):
        folder = tmp_path / "out" / "dicom" / f"SE{number:04d}"
        (series,) = find_series([folder])
        (stack,) = series.stacks()
        assert np.array_equal(stack.read().stored, values(node))
        headers.append(pydicom.dcmread(series.paths[0]))
        (file,) = (tmp_path / "out").glob(f"*_{('refaced', 'defaced')[number - 1]}_dicom_reface.json")
        report = json.loads(file.read_text(encoding="utf-8"))
        assert report["output"] == f"dicom/{folder.name}" and len(report["also_written"]) == len(series.paths)
        assert {entry["name"] for entry in report["also_written"]} == {
            path.relative_to(tmp_path / "out").as_posix() for path in series.paths
        }
    assert {header.StudyInstanceUID for header in headers} == {headers[0].StudyInstanceUID}
    assert len({header.SeriesInstanceUID for header in headers}) == 2
    assert [header.SeriesDescription for header in headers] == ["refaced", "defaced"]
    assert all(header.PatientID == header.PatientName == "sub-01" for header in headers)
    assert all(header.RepetitionTime == 2300 for header in headers)


def test_series_that_come_from_no_files_are_of_one_study_too(done, tmp_path, monkeypatch):
    monkeypatch.delattr(slicer, "dicomDatabase")
    sharing.share([done.volume, *done.others], tmp_path / "out", "sub-01", Ways(files=False, dicom=True))
    assert secrets_in(tmp_path / "out") == []
    series = find_series([tmp_path / "out"])
    headers = [pydicom.dcmread(each.paths[0]) for each in series]
    assert len(headers) == 2 and len({header.StudyInstanceUID for header in headers}) == 1
    assert {header.SeriesNumber for header in headers} == {1, 2}


def test_the_result_of_a_result_goes_into_copies_of_the_files_of_the_first_input(scans, done, tmp_path):
    again = hospital.refaced(done.volume)
    assert export.original_of(again.volume) is scans[0]
    sharing.share([again.volume], tmp_path / "out", "sub-01", ALL)
    assert secrets_in(tmp_path / "out") == []
    (series,) = find_series([tmp_path / "out" / "dicom"])
    assert pydicom.dcmread(series.paths[0]).RepetitionTime == 2300


def test_a_damaged_file_of_the_database_is_told_of_and_nothing_is_left(scans, done, tmp_path, monkeypatch):
    file = sorted((tmp_path / "in" / "t1").iterdir())[3]
    file.write_bytes(file.read_bytes()[:-2000])
    for write in (
        lambda: sharing.share([done.volume], tmp_path / "out", "sub-01", ALL),
        lambda: export.save_dicom(done.volume, tmp_path / "out"),
    ):
        with pytest.raises(InputError) as error:
            write()
        assert_one_sentence(error)
        assert file.name in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_failed_write_leaves_nothing(done, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    for module, name in ((export, "write_series"), (sharing, "write_scene"), (sharing, "sha256_of")):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, full)
            with pytest.raises(OutputError, match="full"):
                sharing.share([done.volume], tmp_path / "out", "sub-01", ALL)
    slicer.util.updateVolumeFromArray(done.volume, slicer.util.arrayFromVolume(done.volume).astype(np.float32))
    seal.seal(done.volume)
    monkeypatch.delattr(slicer, "dicomDatabase")
    with pytest.raises(OutputError, match="whole numbers"):
        sharing.share([done.volume], tmp_path / "out", "sub-01", ALL)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_folder_with_files_is_refused(done, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "other").write_bytes(b"")
    with pytest.raises(OutputError, match="not empty"):
        sharing.share([done.volume], tmp_path / "out", "sub-01", Ways())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other"]


@pytest.mark.parametrize("label", ["", "-a", "a/b", "Jörg", "a b", "x" * 33])
def test_a_label_must_be_a_safe_name(done, tmp_path, label):
    with pytest.raises(InputError, match="label must be"):
        sharing.share([done.volume], tmp_path / "out", label, Ways())


@pytest.mark.parametrize("label", ["JaneDoe", "sub-4711", "quentin_1", "SUBQUENTIN"])
def test_a_label_may_not_hold_the_name_or_the_number_of_the_patient(done, tmp_path, label):
    with pytest.raises(InputError, match="patient's name or ID"):
        sharing.share([done.volume], tmp_path / "out", label, Ways())
    assert not (tmp_path / "out").exists()


def test_only_results_that_are_as_they_were_made_are_shared(scans, done, tmp_path):
    """Another module may have written the original into the node of a result."""
    slicer.util.updateVolumeFromArray(done.volume, slicer.util.arrayFromVolume(scans[0]))
    with pytest.raises(InputError, match="was changed after Reface"):
        sharing.share([done.volume], tmp_path / "out", "sub-01", Ways())
    with pytest.raises(InputError, match="no result"):
        sharing.share([scans[0]], tmp_path / "out", "sub-01", Ways())
    with pytest.raises(InputError, match="tick what"):
        sharing.share([], tmp_path / "out", "sub-01", Ways())
    with pytest.raises(InputError, match="tick files"):
        sharing.share([done.volume], tmp_path / "out", "sub-01", Ways(files=False))


def test_the_results_of_the_person_are_offered_the_latest_of_each_input(scene, scans, done):
    stranger = hospital.scan(scene, "T1 of another")
    hospital.admit(scene, stranger, name="ROE^RICHARD", number="PID-0002")
    hospital.refaced(stranger)
    second = hospital.refaced(scans[0])
    assert sharing.results_of_person(done.volume) == [done.volume, *done.others, second.volume]
    assert sharing.results_of_person(second.volume) == [second.volume, done.volume, *done.others]
    assert sharing.latest_results(second.volume) == [second.volume, *done.others]
    assert sharing.latest_results(done.volume) == [done.volume, *done.others]


def test_equal_names_are_numbered(scans, done):
    second, third = hospital.refaced(scans[0]).volume, hospital.refaced(scans[0]).volume
    names = shared.shared_names([done.volume, second, third], "a")
    assert names == ["a_T1w_refaced", "a_T1w_refaced_2", "a_T1w_refaced_3"]


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("4: AX T1_MPRAGE", "T1w"), ("T2_FLAIR_sag", "FLAIR"), ("T2*", "SWI"), ("Head CT 2mm", "CT"),
        ("DOE^JANE", "scan"),
    ],
)  # fmt: skip
def test_the_contrast_in_a_name_is_of_a_fixed_list(scene, name, contrast):
    node = hospital.scan(scene, name)
    assert shared.shared_names([hospital.refaced(node).volume], "a") == [f"a_{contrast}_refaced"]


# ---- the report ----


def test_the_report_in_the_scene_is_the_public_part(scans, done):
    """No name of a node: that of a DICOM series may be the patient's."""
    for node in (done.volume, done.mask, *done.others):
        attributes = " ".join(
            node.GetAttribute(name) for name in node.GetAttributeNames() if name.startswith(mrml.ATTRIBUTE_PREFIX)
        )
        assert not any(secret in attributes.lower() for secret in hospital.SECRETS)
    assert export.result_report(done.volume)["warnings"] == REPORT["warnings"]
    assert T1 in results.result_text(done.others[0])  # in the window the first result has its name


def test_what_a_report_holds_beside_the_known_keys_stays(done, tmp_path):
    report = {**REPORT, "input": "/hospital/doe.nii", "patient": "Doe", "warnings": [f"'{T1} refaced' is odd."]}
    mrml.set_provenance(done.volume, report)
    assert shared.public_report(done.volume) == {**REPORT, "warnings": ["'the volume' is odd."]}
    sharing.share([done.volume], tmp_path / "out", "sub-01", ALL)
    assert secrets_in(tmp_path / "out") == []


def test_the_public_part_has_every_key_of_the_command_lines_report(tmp_path):
    """A key that is new there is to be thought about here."""
    from types import SimpleNamespace

    from RefaceLib.commandline.report import build_applied_report, build_report

    counts = {key: 1 for key in ("voxels_changed", "voxels_changed_outside_mask", "brain_voxels_changed", "mask_ml")}
    counts |= {"mask_voxels": 1, "tissue_ml": 1.0}
    result = SimpleNamespace(
        counts=counts, mode="reface", seed=1, draws=1, ears=True, model={}, device="cpu", brain=np.ones(1),
        face_removed={}, seconds={}, registered_mm=1.0, registered_degrees=1.0,
    )  # fmt: skip
    reports = [
        build_report(result, output="a", output_sha256="b", seconds={}),
        build_applied_report(result, ears=True, output="a", output_sha256="b", mask_from="c"),
    ]
    for number, report in enumerate(reports):
        write_json(tmp_path / f"{number}.json", report)
        assert set(report) - set(shared._REPORT) == {"output", "output_sha256", "also_written"} | (
            {"mask_from"} if number else set()
        )
