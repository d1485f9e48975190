"""The volumes of one person: who belongs to them, what the table says, and what the window does with both."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.phantom import make_phantom
from helpers.reface.child import NO_HEAD, STRANGER

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface import hospital  # noqa: E402
from helpers.reface.fixtures import *  # noqa: E402, F403
from helpers.reface.fixtures import SIZE, node_of, report_of, voxels  # noqa: E402
from RefaceLib.window import mrml, person, results, shared  # noqa: E402
from RefaceLib.window.nodes import nodes_of_class  # noqa: E402
from RefaceLib.window.parameters import Mode  # noqa: E402

TICKED, UNTICKED = 2, 0


def volume(scene, name, parent=None, kind="vtkMRMLScalarVolumeNode"):
    node = scene.AddNewNodeByClass(kind, name)
    image = vtk.vtkImageData()
    image.SetDimensions(2, 2, 2)
    image.AllocateScalars(vtk.VTK_SHORT, 1)
    node.SetAndObserveImageData(image)
    hierarchy = hierarchy_of(scene)
    hierarchy.CreateItem(hierarchy.GetSceneItemID() if parent is None else parent, node)
    return node


def result(scene, source, mode="reface", **report):
    """A result of a volume, as a run leaves it."""
    node = volume(scene, f"{source.GetName()} refaced")
    mrml.set_provenance(node, report_of(node, mode, **report))
    node.SetNodeReferenceID(results.INPUT_ROLE, source.GetID())
    return node


def hierarchy_of(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


@pytest.fixture
def patient(scene):
    """A patient with two studies, and another person: name -> node."""
    hierarchy = hierarchy_of(scene)
    anna = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Anna")
    studies = [hierarchy.CreateStudyItem(anna, name) for name in ("first", "second")]
    nodes = {name: volume(scene, name, studies[0]) for name in ("T1", "T2")}
    nodes["FLAIR"] = volume(scene, "FLAIR", studies[1])
    volume(scene, "labels", studies[0], "vtkMRMLLabelMapVolumeNode")
    hierarchy.SetItemParent(hierarchy.GetItemByDataNode(result(scene, nodes["T1"])), studies[0])
    nodes["Bert"] = volume(scene, "Bert", hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Bert"))
    nodes["loose"] = volume(scene, "loose")
    return nodes


# ---- who ----


def test_the_volumes_of_a_patient_are_those_of_all_studies_without_results_and_labels(patient):
    found = person.volumes_of_person(patient["FLAIR"])
    assert {node.GetName() for node in found} == {"T1", "T2", "FLAIR"}
    assert person.volumes_of_person(patient["loose"]) == [patient["loose"]]


def test_a_volume_without_a_place_in_the_hierarchy_is_its_own_person(scene):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Head")
    assert person.volumes_of_person(node) == [node] and person.contrast(node) == ""


def test_a_study_without_a_patient_is_a_person(scene):
    hierarchy = hierarchy_of(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "Study")
    nodes = [volume(scene, name, study) for name in ("a", "b")]
    assert person.volumes_of_person(nodes[1]) == nodes


def test_a_branch_holds_the_volume_of_its_item_and_those_below(scene, patient):
    hierarchy = hierarchy_of(scene)
    item = hierarchy.GetItemByDataNode(patient["T1"])
    assert person.volumes_under(hierarchy.GetScene(), item) == [patient["T1"]]
    assert len(person.volumes_under(hierarchy.GetScene(), hierarchy.GetItemParent(hierarchy.GetItemParent(item)))) == 3


@pytest.mark.parametrize(
    ("name", "contrast"),
    [
        ("3: T1_MPRAGE_sag", "T1w"), ("sub-01_T2w", "T2w"), ("t2_flair_tra", "FLAIR"), ("t2*_gre", "SWI"),
        ("ep2d_diff_trace", "DWI"), ("Head CT", "CT"), ("t1_space", "T1w"), ("MPRAGE+Gd", "T1w"), ("Patient 7", ""),
        ("sub-01_T2starw", "SWI"), ("sub-01_UNIT1", "T1w"),
        ("MRHead", ""), ("contrast", ""), ("protocol", ""), ("PD", "PD"),
    ],
)  # fmt: skip
def test_the_contrast_is_guessed_from_the_name(scene, name, contrast):
    assert person.contrast(volume(scene, name)) == contrast


def test_the_modality_of_a_dicom_series_tells_more_than_its_name(scene):
    node = volume(scene, "t1")
    hierarchy = hierarchy_of(scene)
    hierarchy.SetItemAttribute(hierarchy.GetItemByDataNode(node), "DICOM.Modality", "CT")
    assert person.contrast(node) == "CT"


def test_the_face_goes_into_the_t1w_with_the_smallest_voxels(scene):
    nodes = [volume(scene, name) for name in ("FLAIR", "T1 thick", "T1 fine")]
    nodes[1].SetSpacing(1, 1, 5)
    assert person.best_for_face(nodes) is nodes[2] and person.best_for_face(nodes[:1]) is nodes[0]
    assert person.best_for_face([]) is None


def test_ticks_of_another_person_go_with_the_input(patient):
    t1, t2, flair, bert, loose = (patient[name] for name in ("T1", "T2", "FLAIR", "Bert", "loose"))
    assert person.others_kept(t1, t2, [flair, loose]) == [flair]
    assert person.others_kept(t1, bert, [t2, flair]) == []
    assert person.others_kept(t1, loose, [t2, loose]) == [t1, t2]  # it was ticked, so it belongs to them
    assert person.others_kept(None, t1, [t2]) == [t2]


# ---- what the table says ----


def rows(ticked, mode=Mode.AUTO, turn=lambda _volume: None, said=None):
    return person.table_rows(ticked, mode, turn, said or person.Said())


def test_a_row_a_volume_first_the_input_then_the_person_then_what_was_added(patient):
    table = rows([patient["T2"], patient["loose"]])
    told = [(row.name, row.contrast, row.ticked, row.first, row.work) for row in table]
    assert told == [
        ("T2", "T2w", True, True, "new face"),
        ("T1", "T1w", False, False, ""),
        ("FLAIR", "FLAIR", False, False, ""),
        ("loose", "", True, False, "deface"),
    ]


@pytest.mark.parametrize(("mode", "work"), [(Mode.DEFACE, "deface"), (Mode.RECOVER, "recover")])
def test_the_work_on_the_input_is_that_of_the_mode(patient, mode, work):
    assert rows([patient["loose"]], mode)[0].work == work


def test_state_and_promise_are_those_of_the_newest_result(scene, patient):
    t1, t2, flair = (patient[name] for name in ("T1", "T2", "FLAIR"))
    result(scene, t2, warnings=["It is odd."], face_removed={"face": 0.99999, "ears": 0.2}, ears=False)
    said = person.Said(found={t1.GetID(): "whole"}, failed={flair.GetID(): "No head was found."})
    table = {row.name: row for row in rows([t1, t2, flair], said=said)}
    assert (table["T1"].state, table["T1"].promise) == ("done", "99.8 %")  # never rounded up
    assert (table["T2"].state, table["T2"].promise) == ("warned", "99.9 %")
    assert (table["FLAIR"].state, table["FLAIR"].promise) == ("failed", "")
    assert "It is odd." in table["T2"].tip and "No head was found." in table["FLAIR"].tip and "whole" in table["T1"].tip
    result(scene, t1, "apply-to", face_removed={"face": 1.0})
    assert {row.name: row.promise for row in rows([t1])}["T1"] == "100 %"


def test_a_row_that_failed_promises_nothing_of_an_earlier_result(scene, patient):
    result(scene, patient["T1"])
    said = person.Said(failed={patient["T1"].GetID(): "No head was found."})
    (first, *_) = person.table_rows([patient["T1"]], Mode.AUTO, lambda _node: None, said)
    assert (first.state, first.promise) == ("failed", "") and "No head" in first.tip


def test_the_state_tells_of_runs_under_way(patient):
    turns = {patient["T1"]: 0, patient["T2"]: 2}
    states = [row.state for row in rows([patient["T1"], patient["T2"]], turn=turns.get)]
    assert states == ["under way", "waiting", ""]


# ---- in the window ----


def names(widget):
    return [row[0] for row in widget.ui.personTable.texts()]


def test_the_table_is_filled_with_the_person_and_ticks_become_parameters(widget, patient):
    parameters = widget._parameterNode
    parameters.inputVolume = patient["T1"]
    assert names(widget) == ["T1", "T2", "FLAIR"]
    table = widget.ui.personTable
    assert not table.item(0, 0).flags() & 16 and table.item(1, 0).flags() & 16  # the input cannot be unticked
    table.tick(2, TICKED)
    assert parameters.otherVolumes == [patient["FLAIR"]]
    widget.ui.tickAllButton.emit("clicked()")
    assert parameters.otherVolumes == [patient["T2"], patient["FLAIR"]]
    table.tick(1, UNTICKED)
    assert parameters.otherVolumes == [patient["FLAIR"]] and table.texts()[1][2] == ""


def test_a_volume_that_the_user_adds_is_ticked_and_the_selector_is_free_again(widget, patient):
    widget._parameterNode.inputVolume = patient["T1"]
    for _ in range(2):  # twice is once
        widget.ui.addVolumeSelector.setCurrentNode(patient["loose"])
        assert widget.ui.addVolumeSelector.currentNode() is None
    assert widget._parameterNode.otherVolumes == [patient["loose"]]
    assert names(widget) == ["T1", "T2", "FLAIR", "loose"]
    widget.ui.addVolumeSelector.setCurrentNode(patient["T1"])
    assert widget._parameterNode.otherVolumes == [patient["loose"]]


def test_ticks_of_one_person_do_not_stay_for_another(widget, patient):
    parameters = widget._parameterNode
    parameters.inputVolume, parameters.otherVolumes = patient["T1"], [patient["T2"], patient["loose"]]
    parameters.inputVolume = patient["Bert"]
    assert parameters.otherVolumes == [] and names(widget) == ["Bert"]


@pytest.mark.parametrize(
    ("mode", "then"), [(Mode.RECOVER, Mode.AUTO), (Mode.REFACE, Mode.AUTO), (Mode.DEFACE, Mode.DEFACE)]
)
def test_a_mode_that_says_what_one_input_is_does_not_stay_for_another(widget, patient, runs, mode, then):
    parameters = widget._parameterNode
    parameters.inputVolume, parameters.mode = patient["T1"], mode
    parameters.inputVolume = patient["T2"]
    assert parameters.mode is mode  # nothing was done yet: the user is still choosing
    widget.onApplyButton()
    parameters.inputVolume = patient["Bert"]
    assert parameters.mode is then


def test_where_the_result_of_one_input_went_does_not_stay_for_another(widget, scene, patient, runs):
    """The scan of another person replaced the result, and had its name."""
    parameters = widget._parameterNode
    parameters.inputVolume = patient["T1"]
    parameters.outputVolume = mine = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    parameters.maskSegmentation = mask = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Mask")
    parameters.inputVolume = patient["T2"]
    assert parameters.outputVolume is mine and parameters.maskSegmentation is mask  # the user is still choosing
    widget.onApplyButton()
    parameters.inputVolume = patient["Bert"]
    assert parameters.outputVolume is None and parameters.maskSegmentation is None


def test_a_ticked_volume_that_cannot_be_used_fails_alone(widget, patient, reface, monkeypatch, runs):
    """One frame of a sequence among the ticks kept the whole person from being done."""
    parameters = widget._parameterNode
    parameters.inputVolume, parameters.otherVolumes = patient["T1"], [patient["T2"], patient["FLAIR"]]
    patient["T2"].SetAndObserveImageData(None)
    given = []
    create = reface.RefaceLogic.createRunner
    monkeypatch.setattr(
        reface.RefaceLogic,
        "createRunner",
        lambda *volumes, **options: given.append(options["otherVolumes"]) or create(*volumes, **options),
    )
    widget.onApplyButton()
    assert given == [[patient["FLAIR"]]] and len(runs) == 1
    assert [row[3] for row in widget.ui.personTable.texts()][1] == "failed"


def test_the_result_of_a_row_is_compared_and_saved(widget, scene, patient):
    first, second = result(scene, patient["T1"]), result(scene, patient["T2"], "apply-to", registered_mm=0.5)
    second.SetNodeReferenceID(results.FIRST_ROLE, first.GetID())
    widget._parameterNode.inputVolume = patient["T1"]
    for row, shown in ((1, second), (0, first), (2, first)):  # the third has no result
        widget.ui.personTable.emit("currentCellChanged(int,int,int,int)", row, 0, 0, 0)
        assert widget._parameterNode.resultVolume is shown
    widget.ui.personTable.emit("currentCellChanged(int,int,int,int)", 1, 0, 0, 0)
    text = widget.ui.resultLabel.text
    assert "defaced beside T1 refaced" in text and "99.8 % or more is gone" in text and "of the brain: 0" in text
    assert widget.ui.compareButton.enabled and widget.ui.saveButton.enabled


def test_nothing_is_known_of_the_volumes_of_another_scene(widget, scene, patient):
    widget._parameterNode.inputVolume = patient["T1"]
    widget.person.failed(patient["T1"], "No head was found.")
    assert widget.ui.personTable.texts()[0][3] == "failed"
    widget.ui.parameterNodeSelector.setCurrentNode(None)  # as the application does when its node goes
    scene.Clear()
    again = volume(scene, "T1")
    again.SetName("T1")
    widget._parameterNode.inputVolume = again
    assert widget.ui.personTable.texts() == [["T1", "T1w", "new face", "", ""]]


def test_a_volume_that_was_removed_is_in_no_run(widget, scene, patient, runs):
    widget._parameterNode.inputVolume, widget._parameterNode.otherVolumes = patient["T1"], [patient["loose"]]
    scene.RemoveNode(patient["loose"])
    assert names(widget) == ["T1", "T2", "FLAIR"]
    widget.onApplyButton()
    assert widget.panel.turn(patient["T1"]) == 0


# ---- each for itself ----


def test_each_volume_has_its_mask_and_that_of_the_row_is_shown(widget, scene):
    t1, t2 = (hospital.scan(scene, name) for name in ("T1", "T2"))
    made = hospital.refaced(t1, t2)
    (other,) = made.others
    mask = other.GetNodeReference(results.MASK_ROLE)
    assert mask.GetName() == "T2 face mask" and mask is not made.mask
    assert np.array_equal(shared.face_mask(other), shared.face_mask(made.volume))
    assert shown_masks(scene) == [made.mask]
    parameters = widget._parameterNode
    parameters.inputVolume, parameters.otherVolumes, parameters.resultVolume = t1, [t2], made.volume
    widget.ui.maskCheckBox.checked = True
    for row, expected in ((1, mask), (0, made.mask)):
        widget.ui.personTable.emit("currentCellChanged(int,int,int,int)", row, 0, 0, 0)
        assert shown_masks(scene) == [expected]
    again = hospital.refaced(t1, t2)  # an input has one mask
    assert again.others[0].GetNodeReference(results.MASK_ROLE) is mask


def shown_masks(scene):
    nodes = nodes_of_class(scene, "vtkMRMLSegmentationNode")
    displays = [(node, node.GetDisplayNode(), mrml.mask_segment(node)) for node in nodes]
    assert not any(display.GetSegmentVisibility2DFill(segment) for _node, display, segment in displays)
    return [node for node, display, segment in displays if display.GetSegmentVisibility(segment)]


def test_each_volume_succeeds_or_fails_alone(reface, app, scene, head):
    def other(name, top):
        phantom = make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), "LPS")
        stored = phantom.stored.astype(np.int16)
        stored[0, 0, 0] = top
        return node_of(scene, type(phantom)(stored, phantom.affine), name)

    good, stranger, empty = other("T2", 1000), other("Stranger", STRANGER), other("Empty", NO_HEAD)
    done = reface.RefaceLogic().process(head, otherVolumes=[good, stranger, empty])
    assert [node.GetName() for node in done.others] == ["T2 defaced", "Stranger defaced"]
    assert done.failed == [(empty, "No head was found in the volume.")]
    for source, node in zip((good, stranger), done.others, strict=True):
        assert node.GetNodeReference(results.INPUT_ROLE) is source
        assert (voxels(node)[1:, : SIZE // 3 - 1] == 0).all()
    beside, alone = map(results.result_text, done.others)
    assert "defaced beside Head refaced" in beside and "defaced by itself" in alone
    assert "check that both show one person" in alone
    assert "Not defaced: 'Empty'" in results.done_text(done)
