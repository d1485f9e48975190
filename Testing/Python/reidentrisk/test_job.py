"""A run of the window as files: what the children get, and what is read back. The networks are stand-ins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
import slicer  # noqa: E402

from helpers.reidentrisk.child import calibrate  # noqa: E402
from helpers.reidentrisk.commands import put  # noqa: E402
from helpers.reidentrisk.faces import DEFACED  # noqa: E402
from helpers.reidentrisk.nodes import VIEWS, moved, node_of, points_node, run  # noqa: E402
from RefaceLib.common.errors import InputError  # noqa: E402
from RefaceLib.common.steps import with_names  # noqa: E402
from ReidentRiskLib.attack.landmarks import FIVE  # noqa: E402
from ReidentRiskLib.judge.scores import ATTACKERS  # noqa: E402
from ReidentRiskLib.judge.verdict import NOT_RECOGNISABLE  # noqa: E402
from ReidentRiskLib.window.job import Request, RiskFiles, names_of  # noqa: E402


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


@pytest.fixture
def head(scene):
    return node_of(scene, "Head", 1)


@pytest.fixture
def defaced(scene):
    return node_of(scene, "Head defaced", 1 + DEFACED, missed=VIEWS)


@pytest.fixture
def fakes(reident_fakes, monkeypatch):
    calibrate(monkeypatch)
    return reident_fakes


@pytest.fixture
def gallery(tmp_path):
    """A folder with the heads of persons 2 to 9."""
    folder = tmp_path / "known"
    folder.mkdir()
    for person in range(2, 10):
        put(folder / f"s{person}_T1w.nii.gz", person)
    return folder


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def options(request: Request, folder: Path, step: int = 0) -> list[str]:
    return RiskFiles(request, folder).steps[step].arguments


def test_what_is_found_comes_back_with_the_names_of_the_nodes(fakes, work, head, defaced):
    before = [slicer.util.arrayFromVolume(node).copy() for node in (head, defaced)]
    findings = run(Request(head, [defaced]), work)
    assert findings.report["reference"]["name"] == "Head"
    assert [face.name for face in findings.faces] == ["Head", "Head defaced"]
    assert findings.scores["probe"] == ["Head defaced"] * 2
    assert findings.scores["attacker"] == list(ATTACKERS)
    assert findings.scores["acquired_views"] == [VIEWS, 0]
    assert findings.scores["verdict"][1] == NOT_RECOGNISABLE
    assert findings.identification is None
    assert str(work) not in json.dumps([findings.report, findings.scores])
    for node, voxels in zip((head, defaced), before, strict=True):
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(node), voxels)


def test_a_gallery_is_looked_up_with_the_reference_in_it(fakes, work, gallery, scene, head):
    again = node_of(scene, "Again", 1, scan=1)
    findings = run(Request(head, [again], gallery=gallery), work)
    found = findings.identification["attackers"]["forced"]
    assert (found["gallery"], found["rank1"]["hits"], found["rank1"]["of"]) == (9, 1, 1)
    assert findings.ranks["most_similar"] == ["Head"] * 2
    assert findings.ranks["landmarks"] == ["original"] * 2
    assert str(work) not in json.dumps([findings.identification, findings.ranks])


def test_the_file_of_the_reference_is_no_other_person(fakes, work, gallery, scene, head, defaced):
    put(gallery / "s1_T1w.nii.gz", 1)
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(gallery / "s1_T1w.nii.gz"))
    head.SetAndObserveStorageNodeID(storage.GetID())
    findings = run(Request(head, [defaced], gallery=gallery), work)
    assert findings.identification["attackers"]["forced"]["gallery"] == 9


def test_the_files_of_the_compared_volumes_are_no_other_persons(work, gallery, scene, head, defaced):
    """A probe would find itself, and the original would be second."""
    put(gallery / "s1_T1w.nii.gz", 1)
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(gallery / "s1_T1w.nii.gz"))
    defaced.SetAndObserveStorageNodeID(storage.GetID())
    RiskFiles(Request(head, [defaced], gallery=gallery), work)
    assert "s1_T1w" not in (work / "gallery.tsv").read_text()


def test_a_person_of_the_gallery_may_have_the_name_of_the_reference(fakes, work, gallery, scene):
    head, again = node_of(scene, "s2", 1), node_of(scene, "Again", 1, scan=1)
    findings = run(Request(head, [again], gallery=gallery), work)
    assert findings.ranks["most_similar"] == ["s2 (original)"] * 2


def test_the_steps_share_the_work_by_the_number_of_heads(work, gallery, head, defaced):
    shares = [step.share for step in RiskFiles(Request(head, [defaced], gallery=gallery), work).steps]
    assert shares == pytest.approx([2 / 12, 10 / 12])


def test_options_become_arguments(work, head, defaced):
    request = Request(
        head, [defaced], model="arcface", views="full", own_landmarks=True, device="cpu", accept_licence=True
    )
    arguments = options(request, work)
    assert arguments[arguments.index("--model") + 1] == "arcface"
    assert arguments[arguments.index("--views") + 1] == "full"
    assert arguments[arguments.index("--device") + 1] == "cpu"
    assert {"--own-landmarks", "--accept-licence"} <= set(arguments)


def test_consent_is_never_given_by_itself(work, head, defaced):
    assert "--accept-licence" not in options(Request(head, [defaced], model="arcface"), work)


def test_points_are_those_that_are_seen_in_the_reference(fakes, work, gallery, scene, head, defaced):
    moved(scene, head, by=100.0)
    points = points_node(scene, list(FIVE))
    run(Request(head, [defaced], landmarks=points, gallery=gallery), work)
    given = [call["points"] for call in fakes.found if call["points"] is not None]
    assert len(given) == 2  # compare and identify
    for each in given:
        np.testing.assert_allclose(each, [[index - 100, 10, 20] for index in range(5)])


def test_a_parent_transform_does_not_move_the_voxels(fakes, work, scene, head, defaced):
    moved(scene, defaced, by=50.0)
    findings = run(Request(head, [defaced]), work)
    assert findings.scores["landmarks"] == ["original"] * 2


def test_messages_call_volumes_by_their_names(work, head, defaced):
    files = RiskFiles(Request(head, [defaced]), work)
    path = files.steps[0].arguments[2]
    assert with_names(f"{path}: No head was found.", files.names) == "'Head defaced': No head was found."


def test_volumes_of_one_name_are_told_apart(scene, head):
    other = node_of(scene, "Head", 2)
    assert names_of([head, other]) == [f"Head ({head.GetID()})", f"Head ({other.GetID()})"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda scene, head: (None, [head]), "No input volume"),
        (lambda scene, head: (head, [head]), "given twice"),
        (lambda scene, head: (head, []), "at least one"),
        (lambda scene, head: (head, [scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "L")]), "'L'"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_a_file_is_written(work, scene, head, make, words):
    reference, probes = make(scene, head)
    with pytest.raises(InputError, match=words):
        RiskFiles(Request(reference, probes), work)
    assert list(work.iterdir()) == []


def test_a_gallery_without_other_persons_is_refused(work, tmp_path, head, defaced):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no volume"):
        RiskFiles(Request(head, [defaced], gallery=tmp_path / "empty"), work)


def test_missing_points_are_refused(work, scene, head, defaced):
    with pytest.raises(InputError, match="'Mine' must hold"):
        RiskFiles(Request(head, [defaced], landmarks=points_node(scene, ["a", "b"])), work)


def test_nothing_left_behind_is_told_in_one_sentence(work, head, defaced):
    with pytest.raises(InputError, match="no report"):
        RiskFiles(Request(head, [defaced]), work).read()
