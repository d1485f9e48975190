"""Where results lie in the subject hierarchy: never under the patient, those of two persons never together."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface import hospital  # noqa: E402  (needs slicer)
from helpers.scenes import saved_and_read  # noqa: E402
from RefaceLib.window import hierarchy  # noqa: E402

OTHER = {"name": "ROE^RICHARD", "number": "PID-0002"}


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


def tree(scene):
    return hierarchy.hierarchy_of(scene)


def parent(node):
    return tree(node.GetScene()).GetItemParent(hierarchy.item_of(node))


def test_all_results_of_a_patient_lie_under_one_subject_whose_item_says_nothing(scene):
    t1, t2, flair = (hospital.scan(scene, f"{name} of Jane Doe") for name in ("T1", "T2", "FLAIR"))
    patient = hospital.admit(scene, t1, t2, flair)
    first, second = hospital.refaced(t1, t2), hospital.refaced(flair)
    nodes = [first.volume, first.mask, *first.others, second.volume, second.mask]
    (subject,) = {parent(node) for node in nodes}
    assert subject != patient and tree(scene).GetItemParent(subject) == tree(scene).GetSceneItemID()
    assert tree(scene).GetItemName(subject) == "De-identified" and tree(scene).IsItemLevel(subject, "Patient")
    assert tree(scene).GetItemUIDNames(subject) == ()
    assert set(tree(scene).GetItemAttributeNames(subject)) == {"Level", hierarchy.RESULTS_OF}
    assert parent(t1) != subject  # the originals stay where they are
    for node in nodes:
        assert hierarchy.patient_tags_warning(node) is None
        assert not [name for name in tree(scene).GetItemAttributeNames(hierarchy.item_of(node)) if "DICOM" in name]


def test_two_patients_get_two_subjects(scene):
    jane, richard = hospital.scan(scene, "T1"), hospital.scan(scene, "T1")
    hospital.admit(scene, jane)
    hospital.admit(scene, richard, **OTHER)
    first, second = hospital.refaced(jane, richard), hospital.refaced(richard)
    assert parent(first.volume) != parent(second.volume) == parent(first.others[0])
    assert [tree(scene).GetItemName(parent(done.volume)) for done in (first, second)] == [
        "De-identified", "De-identified 2",
    ]  # fmt: skip


def test_a_volume_of_no_patient_is_a_person_of_its_own_unless_it_was_defaced_beside_another(scene):
    head, t2, other = (hospital.scan(scene, name) for name in ("head", "t2", "other"))
    first, second = hospital.refaced(head, t2), hospital.refaced(other)
    assert parent(first.volume) == parent(first.others[0]) != parent(second.volume)
    assert parent(hospital.refaced(head).volume) == parent(first.volume)
    jane = hospital.scan(scene, "T1")
    hospital.admit(scene, jane)
    third = hospital.refaced(jane, hospital.scan(scene, "T2 from a file"))
    assert parent(third.volume) == parent(third.others[0]) != parent(first.volume)


def test_the_result_of_a_result_lies_beside_it(scene):
    jane = hospital.scan(scene, "T1")
    hospital.admit(scene, jane)
    first = hospital.refaced(jane)
    again = hospital.refaced(first.volume, hospital.scan(scene, "T2 from a file"))
    assert parent(again.volume) == parent(again.mask) == parent(again.others[0]) == parent(first.volume)


def test_an_output_that_is_chosen_is_taken_away_from_the_patient(scene):
    jane, mine = hospital.scan(scene, "T1"), hospital.scan(scene, "Mine")
    patient = hospital.admit(scene, jane, mine)
    done = hospital.refaced(jane, output=mine, overwrite=True)
    assert done.volume is mine and hierarchy.subject_of(mine) not in (0, patient)
    folder = tree(scene).CreateFolderItem(hierarchy.subject_of(mine), "Mine")
    tree(scene).SetItemParent(hierarchy.item_of(mine), folder)
    hospital.refaced(jane, output=mine)
    assert parent(mine) == folder  # a place in the subject that the user has chosen


def test_an_item_that_the_application_makes_is_moved(scene):
    @vtk.calldata_type(vtk.VTK_OBJECT)
    def make_item(_scene, _event, added):
        tree(scene).CreateItem(tree(scene).GetSceneItemID(), added)

    jane = hospital.scan(scene, "T1")
    hospital.admit(scene, jane)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, make_item)
    done = hospital.refaced(jane)
    (subject,) = {parent(done.volume), parent(done.mask)}
    assert tree(scene).GetItemName(subject) == "De-identified"


def test_the_subject_is_found_again_in_a_scene_that_was_saved(scene, tmp_path):
    jane = hospital.scan(scene, "T1")
    hospital.admit(scene, jane)
    hospital.refaced(jane)
    jane.SetAndObserveStorageNodeID(None)
    again = saved_and_read(scene, tmp_path)
    jane = again.GetFirstNodeByName("T1")
    slicer.util.updateVolumeFromArray(jane, slicer.util.arrayFromVolume(scene.GetFirstNodeByName("T1")))
    subject = parent(again.GetFirstNodeByName("T1 refaced"))
    assert subject and parent(hospital.refaced(jane).volume) == subject


def test_the_first_subjects_of_two_scenes_stay_apart_when_both_are_read(scene):
    """A number in place of the token would be the same in both."""
    tokens = []
    for each in (scene, slicer.vtkMRMLScene()):
        jane = hospital.scan(each, "T1")
        subject = parent(hospital.refaced(jane).volume)
        tokens.append(tree(each).GetItemAttribute(subject, hierarchy.RESULTS_OF))
    assert tokens[0] != tokens[1]


def test_a_result_that_was_dragged_under_the_patient_is_warned_of(scene):
    jane = hospital.scan(scene, "T1 of Jane Doe")
    patient = hospital.admit(scene, jane)
    done = hospital.refaced(jane)
    tree(scene).SetItemParent(hierarchy.item_of(done.volume), patient)
    warning = hierarchy.patient_tags_warning(done.volume)
    assert "PatientName" in warning and "PatientID" in warning
    assert not any(secret in warning.lower() for secret in hospital.SECRETS)
    again = hospital.refaced(jane, output=done.volume)
    assert hierarchy.patient_tags_warning(again.volume) is None  # the next run puts it right


def test_a_mask_of_the_users_own_stays_where_it_is(scene):
    jane = hospital.scan(scene, "T1")
    patient = hospital.admit(scene, jane)
    mask = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mine")
    tree(scene).CreateItem(patient, mask)
    assert hospital.refaced(jane, mask=mask).mask is mask and parent(mask) == patient
