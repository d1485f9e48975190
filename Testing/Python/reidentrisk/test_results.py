"""Results in the scene: nodes, words, saving and restoring, and the layout that shows two faces."""

from __future__ import annotations

import dataclasses
import json
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
import slicer  # noqa: E402

from helpers.reidentrisk.child import SKIN, calibrate  # noqa: E402
from helpers.reidentrisk.commands import put  # noqa: E402
from helpers.reidentrisk.faces import DEFACED  # noqa: E402
from helpers.reidentrisk.nodes import VIEWS, moved, node_of, nodes, run  # noqa: E402
from helpers.scenes import saved_and_read  # noqa: E402
from ReidentRiskLib.attack.landmarks import FIVE  # noqa: E402
from ReidentRiskLib.window import faceviews, mrml, results
from ReidentRiskLib.window.job import Request  # noqa: E402


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


@pytest.fixture
def volumes(scene):
    return [node_of(scene, "Head", 1), node_of(scene, "Defaced", 1 + DEFACED, missed=VIEWS), node_of(scene, "B", 2)]


@pytest.fixture
def findings(volumes, reident_fakes, monkeypatch, tmp_path):
    """The head against its defaced version and another person, looked up among three persons."""
    calibrate(monkeypatch)
    for name in ("known", "work"):
        (tmp_path / name).mkdir()
    for person in (2, 3, 4):
        put(tmp_path / "known" / f"s{person}.nii.gz", person)
    return run(Request(volumes[0], volumes[1:], gallery=tmp_path / "known"), tmp_path / "work")


@pytest.fixture
def result(scene, volumes, findings):
    return results.add_result(scene, volumes, findings)


def hierarchy(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def folder_of(result):
    shown = hierarchy(result.table.GetScene())
    return shown.GetItemParent(shown.GetItemByDataNode(result.table))


def column(node, title):
    array = node.GetTable().GetColumnByName(title)
    return [array.GetVariantValue(row).ToString() for row in range(array.GetNumberOfTuples())]


def test_everything_is_in_one_folder(scene, result):
    assert hierarchy(scene).GetItemName(folder_of(result)) == "Faces of Head"
    inside = mrml.nodes_in(scene, folder_of(result))
    for node in (result.table, *result.surfaces, *result.landmarks, *result.pictures, *result.charts):
        assert node in inside
    assert [node.GetName() for node in result.surfaces] == ["Head face", "Defaced face", "B face"]


def test_faces_have_skin_landmarks_and_renderings(result):
    assert result.surfaces[1].GetPolyData().GetNumberOfPoints() == len(SKIN[0])
    np.testing.assert_allclose(
        slicer.util.arrayFromMarkupsControlPoints(result.landmarks[0]), np.arange(15).reshape(5, 3)
    )
    assert slicer.util.arrayFromVolume(result.pictures[2]).shape == (VIEWS, 32, 32, 3)


def test_only_the_landmarks_of_the_reference_can_be_moved(result):
    assert [node.GetLocked() for node in result.landmarks] == [0, 1, 1]
    assert [result.landmarks[0].GetNthControlPointLabel(index) for index in range(5)] == list(FIVE)


def test_the_table_holds_a_row_for_each_probe_and_attacker(result):
    assert column(result.table, "probe") == ["Defaced", "Defaced", "B", "B"]
    assert column(result.table, "attacker") == ["forced", "gated"] * 2


NETWORK = "fake (sha256 abababababab)"


def test_charts_mark_the_probes(result):
    names = [chart.GetName() for chart in result.charts]
    assert len(names) == 2 and "aligned faces" in names[0] and "detected faces" in names[1]
    aligned, detected = result.charts[:2]
    series = [aligned.GetNthPlotSeriesNode(index).GetName() for index in range(aligned.GetNumberOfPlotSeriesNodes())]
    assert series == ["different heads", "the same head", "Defaced", "B"]
    assert detected.GetNumberOfPlotSeriesNodes() == 3  # no face was found in the defaced head


def test_faces_move_with_their_volumes(scene, volumes, findings):
    transform = moved(scene, volumes[1], by=5.0)
    result = results.add_result(scene, volumes, findings)
    assert result.surfaces[1].GetParentTransformNode() is transform
    assert result.landmarks[1].GetParentTransformNode() is transform
    assert result.surfaces[0].GetParentTransformNode() is None


def test_without_a_calibration_there_is_no_histogram(scene, volumes, findings, monkeypatch):
    monkeypatch.setattr(results, "load_calibration", lambda *arguments: None)
    result = results.add_result(scene, volumes, findings)
    assert result.charts == []


def test_without_a_gallery_there_is_no_look_up(scene, volumes, findings):
    findings = dataclasses.replace(findings, identification=None, ranks={})
    result = results.add_result(scene, volumes, findings)
    assert result.identification is None and len(result.charts) == 2
    assert "found first" not in results.summary(result)


def test_a_failure_leaves_the_scene_as_it_was(scene, volumes, findings, monkeypatch):
    mrml.remove_folder(scene, mrml.add_folder(scene, "the hierarchy node itself stays"))
    before = {node.GetID() for node in nodes(scene)}
    monkeypatch.setattr(mrml, "add_histogram", mock.Mock(side_effect=ValueError("odd")))
    with pytest.raises(ValueError, match="odd"):
        results.add_result(scene, volumes, findings)
    assert {node.GetID() for node in nodes(scene)} == before


def stored(node, folder):
    """Write the node's data as the application does when it saves a scene."""
    storage = node.CreateDefaultStorageNode()
    storage = node.GetScene().AddNode(storage)
    node.SetAndObserveStorageNodeID(storage.GetID())
    storage.SetFileName(str(folder / f"{node.GetID()}.{storage.GetDefaultWriteFileExtension()}"))
    assert storage.WriteData(node)


def test_a_saved_scene_brings_the_result_back(result, tmp_path):
    for node in (*result.surfaces, result.table):
        stored(node, tmp_path)
    again = saved_and_read(result.table.GetScene(), tmp_path)
    found = results.find_result(again.GetFirstNodeByName("Similarities"))
    assert [node.GetName() for node in found.surfaces] == ["Head face", "Defaced face", "B face"]
    assert [node.GetName() for node in found.pictures] == [node.GetName() for node in result.pictures]
    assert found.surfaces[0].GetPolyData().GetNumberOfPoints() == len(SKIN[0])
    assert column(found.table, "probe") == column(result.table, "probe")
    assert [chart.GetName() for chart in found.charts] == [chart.GetName() for chart in result.charts]
    assert found.names == ["Head", "Defaced", "B"]
    assert results.summary(found) == results.summary(result)


def test_a_result_is_found_when_some_of_it_is_deleted(scene, result):
    scene.RemoveNode(result.surfaces[1])
    scene.RemoveNode(result.charts[0])
    found = results.find_result(result.table)
    assert [node is not None for node in found.surfaces] == [True, False, True]
    assert [chart.GetName() for chart in found.charts] == [chart.GetName() for chart in result.charts[1:]]
    faceviews.show_pair(found, 1)


@pytest.mark.parametrize("report", [None, "", "{", "{}", '{"probes": 3}', "[]"])
def test_a_table_of_others_is_no_result(scene, report):
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Other")
    if report is not None:
        table.SetAttribute("ReidentRisk.Report", report)
    assert results.find_result(table) is None
    assert results.find_result(None) is None


def test_a_result_is_removed_as_a_whole(scene, volumes, result):
    results.remove_result(result.table)
    for kind in ("Model", "Table", "PlotChart", "PlotSeries", "VectorVolume", "MarkupsFiducial"):
        assert scene.GetNumberOfNodesByClass(f"vtkMRML{kind}Node") == 0
    assert all(scene.IsNodePresent(volume) for volume in volumes)


def test_a_result_is_removed_wherever_it_lies_and_nothing_else_with_it(scene, volumes, result):
    shown = hierarchy(scene)
    study = shown.CreateFolderItem(shown.GetSceneItemID(), "Study of the user")
    own = scene.AddNewNodeByClass("vtkMRMLTextNode", "Of the user")
    for node in (result.table, own):
        shown.SetItemParent(shown.GetItemByDataNode(node) or shown.CreateItem(study, node), study)
    beside = shown.GetItemParent(shown.GetItemByDataNode(result.surfaces[0]))
    shown.SetItemParent(shown.GetItemByDataNode(volumes[0]) or shown.CreateItem(beside, volumes[0]), beside)
    results.remove_result(result.table)
    for kind in ("Model", "Table", "PlotChart", "PlotSeries", "VectorVolume", "MarkupsFiducial"):
        assert scene.GetNumberOfNodesByClass(f"vtkMRML{kind}Node") == 0
    assert scene.IsNodePresent(own) and all(scene.IsNodePresent(volume) for volume in volumes)
    assert shown.GetItemName(study) == "Study of the user" and shown.GetItemName(beside)


def test_the_summary_says_the_verdict_in_words_and_colour(result):
    text = results.summary(result)
    assert text.index("Defaced") < text.index("<b>B</b>")
    for probe in result.report["probes"]:
        assert results.COLOURS[probe["verdict"]] in text
        assert probe["attackers"]["forced"]["sentence"] in text
    assert "no face was found in any of the 45 views" in text
    hits = result.identification["attackers"]["forced"]["rank1"]["hits"]
    assert f"aligned faces: {hits} of 2 found first among 4 persons (by guessing 25.0%)" in text


def test_a_look_up_of_one_person_lists_ranks_and_no_curve(result):
    """Two probes of one person gave areas and curves of no meaning."""
    assert all(each["cmc"] is each["auc"] is None for each in result.identification["attackers"].values())
    text = results.summary(result)
    assert "Defaced&#x27;: no face found, so rank 4 of 4" in text and "&#x27;B&#x27;: rank " in text


def test_summary_charts_and_tables_name_the_network(result):
    assert f"Compared by the network {NETWORK}" in results.summary(result)
    assert all(NETWORK in chart.GetTitle() for chart in result.charts)
    ranks = result.table.GetScene().GetFirstNodeByName("Ranks")
    assert {*column(result.table, "network"), *column(ranks, "network")} == {NETWORK}


def test_the_summary_shows_names_and_warnings_as_text(result):
    report = json.loads(json.dumps(result.report))
    report["probes"][0]["name"] = "<b>&x"
    report["warnings"] = ["One <i>.", "One <i>."]
    text = results.summary(dataclasses.replace(result, report=report))
    assert "&lt;b&gt;&amp;x" in text and text.count("One &lt;i&gt;.") == 1


# ---- the layout ----


@pytest.fixture
def views(scene):
    made = []
    for tag in faceviews.VIEWS:
        view = slicer.vtkMRMLViewNode()
        view.SetSingletonTag(tag)
        made.append(scene.AddNode(view))
    return made


def shown_in(node):
    display = node.GetDisplayNode()
    return list(display.GetViewNodeIDs()) if display.GetVisibility() else None


def test_two_faces_are_seen_each_in_a_view_of_its_own(result, views):
    first, second = (view.GetID() for view in views)
    for probe, other in ((1, 2), (2, 1)):
        faceviews.show_pair(result, probe)
        for group in (result.surfaces, result.landmarks):
            assert shown_in(group[0]) == [first]
            assert shown_in(group[probe]) == [second]
            assert shown_in(group[other]) is None


def test_the_layout_is_one_that_the_application_can_read(scene):
    node = scene.AddNewNodeByClass("vtkMRMLLayoutNode")
    for _ in range(2):
        assert faceviews.add_layout(node) == faceviews.LAYOUT_ID
    node.SetViewArrangement(faceviews.LAYOUT_ID)
    root = node.GetLayoutRootElement()
    assert root is not None and root.GetName() == "layout"
    for tag in (*faceviews.VIEWS, "PlotView1", "TableView1"):
        assert f'singletontag="{tag}"' in node.GetCurrentLayoutDescription()


def test_the_camera_stands_in_front_of_the_face(scene, result):
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode", "Camera")
    faceviews.look_at_face(camera, result.surfaces[0])
    assert camera.GetFocalPoint() == pytest.approx((35, 40, 45))
    position = camera.GetPosition()
    assert position[1] > 80 and (position[0], position[2]) == pytest.approx((35, 45))
    before = camera.GetPosition()
    faceviews.look_at_face(camera, None)
    assert camera.GetPosition() == before


def test_the_camera_follows_a_moved_head(scene, result):
    moved(scene, result.surfaces[0], by=100.0)
    camera = scene.AddNewNodeByClass("vtkMRMLCameraNode", "Camera")
    faceviews.look_at_face(camera, result.surfaces[0])
    assert camera.GetFocalPoint() == pytest.approx((135, 40, 45))
