"""Results in the scene: nodes, words, saving and restoring."""

from __future__ import annotations

import dataclasses
import json
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
import slicer  # noqa: E402

from helpers.commandline import run_python  # noqa: E402
from helpers.reidentrisk.child import SKIN, calibrate  # noqa: E402
from helpers.reidentrisk.nodes import VIEWS, add_result, moved, node_of, nodes, run  # noqa: E402
from helpers.reidentrisk.resultfixtures import *  # noqa: E402, F403
from helpers.scenes import saved_and_read  # noqa: E402
from ReidentRiskLib.judge.verdict import NO_HEAD, NOT_RECOGNISABLE  # noqa: E402
from ReidentRiskLib.runs import colours  # noqa: E402
from ReidentRiskLib.window import faceviews, mrml, results, summary, words  # noqa: E402
from ReidentRiskLib.window.job import Request  # noqa: E402
from ReidentRiskLib.window.parameters import Views  # noqa: E402


def hierarchy(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def folder_of(result):
    shown = hierarchy(result.table.GetScene())
    return shown.GetItemParent(shown.GetItemByDataNode(result.table))


def column(node, title):
    array = node.GetTable().GetColumnByName(title)
    return [array.GetVariantValue(row).ToString() for row in range(array.GetNumberOfTuples())]


def test_everything_is_in_one_folder(scene, result):
    assert hierarchy(scene).GetItemName(folder_of(result)) == "Comparison 1. Head - Defaced, B"
    inside = mrml.nodes_in(scene, folder_of(result))
    for node in (result.table, *result.surfaces, result.landmarks[0], *result.pictures, *result.charts):
        assert node in inside
    assert [node.GetName() for node in result.surfaces] == ["Head face", "Defaced face", "B face"]


def test_faces_have_skin_landmarks_and_renderings(result):
    assert result.surfaces[1].GetPolyData().GetNumberOfPoints() == len(SKIN[0])
    np.testing.assert_allclose(
        slicer.util.arrayFromMarkupsControlPoints(result.landmarks[0]), np.arange(15).reshape(5, 3)
    )
    assert slicer.util.arrayFromVolume(result.pictures[2]).shape == (VIEWS, 32, 32, 3)


def test_only_the_landmarks_of_the_reference_can_be_moved_and_only_where_they_are_seen(result):
    assert [node.GetLocked() for node in result.landmarks] == [1, 1, 1]
    faceviews.show_pair(result, 1)
    assert [node.GetLocked() for node in result.landmarks] == [0, 1, 1]


def test_only_the_landmarks_of_the_reference_can_be_chosen(result):
    """Recompute cut the original's face out by the points of another head."""
    assert [node.GetHideFromEditors() for node in result.landmarks] == [0, 1, 1]


def test_landmarks_are_named_as_people_read_them_and_are_seen_through_the_skin(result):
    labels = [result.landmarks[0].GetNthControlPointLabel(index) for index in range(5)]
    assert labels == ["right eye", "left eye", "nose tip", "right mouth", "left mouth"]
    display = result.landmarks[0].GetDisplayNode()
    assert display.GetOccludedVisibility() and display.GetOccludedOpacity() >= 0.5


def test_the_table_holds_a_row_for_each_probe_and_attacker(result):
    assert column(result.table, "volume") == ["Defaced", "Defaced", "B", "B"]
    assert column(result.table, "attacker") == ["knowing where the face is", "looking for the face"] * 2


def test_the_numbers_of_the_table_come_first_and_nothing_in_it_is_long(result):
    table = result.table.GetTable()
    titles = [table.GetColumnName(index) for index in range(table.GetNumberOfColumns())]
    assert titles[:4] == ["volume", "strangers %", "cosine", "verdict"]
    assert column(result.table, "strangers %")[1] == ""  # no face was found
    longest = max(len(cell) for title in titles for cell in column(result.table, title))
    assert longest <= len(NETWORK)


NETWORK = "fake (sha256 abababababab)"


def test_charts_mark_the_probes(result):
    names = [chart.GetName() for chart in result.charts]
    assert names == ["Knowing where the face is, plot", "Looking for the face, plot"]
    aligned, detected = result.charts[:2]
    series = [aligned.GetNthPlotSeriesNode(index).GetName() for index in range(aligned.GetNumberOfPlotSeriesNodes())]
    zones = ["not recognisable", "uncertain", "recognisable"]
    assert series == ["different heads", "the same head", "Defaced", "B", *zones]
    assert detected.GetNumberOfPlotSeriesNodes() == 3 + len(zones)  # no face was found in the defaced head


def test_what_a_chart_draws_is_not_in_the_data_tree(scene, result):
    """14 tables and series a run were beside what is of use."""
    hidden = [node for node in nodes(scene) if node.GetClassName() in ("vtkMRMLTableNode", "vtkMRMLPlotSeriesNode")]
    seen = [node for node in hidden if not node.GetHideFromEditors()]
    assert [node.GetName() for node in seen] == ["1. Head - Defaced, B", "Ranks"] and len(hidden) > 20
    assert all(hierarchy(scene).GetItemByDataNode(node) == 0 for node in hidden if node not in seen)


def names_of(result):
    """Of the folder, of the table, by which it is chosen, and of all else in it."""
    table, *others = (
        node.GetName()
        for node in sorted(
            mrml.nodes_in(result.table.GetScene(), folder_of(result)), key=lambda node: node is not result.table
        )
    )
    return hierarchy(result.table.GetScene()).GetItemName(folder_of(result)), table, *others


def test_names_tell_results_apart(scene, request_, findings):
    """All results of an original were called alike, but for what the scene had put behind their names."""
    first, second = (add_result(scene, request_, findings) for _ in range(2))
    assert names_of(second)[:2] == ("Comparison 2. Head - Defaced, B", "2. Head - Defaced, B")
    assert not set(names_of(first)) & set(names_of(second))
    assert "Head landmarks" in names_of(first) and "Head landmarks (2)" in names_of(second)


def test_a_result_in_the_place_of_another_one_gets_its_number(scene, request_, findings):
    first, _second = (add_result(scene, request_, findings) for _ in range(2))
    before, folder = names_of(first), folder_of(first)
    results.remove_result(first.table)
    hierarchy(scene).RemoveItem(folder, False, True)  # as the application does when its nodes have gone
    assert names_of(add_result(scene, request_, findings, first.number)) == before
    assert add_result(scene, request_, findings).number == 3


def test_results_that_are_read_into_a_scene_get_numbers_of_their_own(scene, request_, findings):
    first, second = (add_result(scene, request_, findings) for _ in range(2))
    expected = names_of(second)
    before = names_of(first)
    results.remove_result(first.table)
    copy = add_result(scene, request_, findings, second.number)  # as the same result in another file
    results.tell_apart(scene)
    assert names_of(second) == expected and not set(names_of(copy)) & {*expected, *before}
    assert [result.number for result in results.all_results(scene)] == [2, 3]
    results.tell_apart(scene)
    assert [result.number for result in results.all_results(scene)] == [2, 3]


def test_names_of_many_volumes_stay_short():
    names = ["IXI012", "IXI012 refaced", "IXI012_defaced", "Other", "a", "b"]
    assert results._title(4, names) == "4. IXI012 - refaced, defaced, Other, +2"


def test_a_result_that_is_not_finished_leaves_nothing(scene, request_, findings):
    before = {node.GetID() for node in nodes(scene)}
    pieces = results.add_result(scene, request_, findings)
    for _ in range(3):
        next(pieces)
        assert results.all_results(scene) == []
    pieces.close()
    hierarchy_alone = {node.GetClassName() for node in nodes(scene) if node.GetID() not in before}
    assert hierarchy_alone <= {"vtkMRMLSubjectHierarchyNode"}


def test_faces_move_with_their_volumes(scene, volumes, request_, findings):
    transform = moved(scene, volumes[1], by=5.0)
    result = add_result(scene, request_, findings)
    assert result.surfaces[1].GetParentTransformNode() is transform
    assert result.landmarks[1].GetParentTransformNode() is transform
    assert result.surfaces[0].GetParentTransformNode() is None


def test_without_a_calibration_there_is_no_histogram(scene, request_, findings, monkeypatch):
    monkeypatch.setattr(results, "load_calibration", lambda *arguments: None)
    result = add_result(scene, request_, findings)
    assert result.charts == []


def test_without_a_gallery_there_is_no_look_up(scene, request_, findings):
    findings = dataclasses.replace(findings, identification=None, ranks={})
    result = add_result(scene, request_, findings)
    assert result.identification is None and len(result.charts) == 2
    assert "Looked up" not in summary.summary(result)


def test_a_failure_leaves_the_scene_as_it_was(scene, request_, findings, monkeypatch):
    mrml.remove_folder(scene, mrml.add_folder(scene, "the hierarchy node itself stays"))
    before = {node.GetID() for node in nodes(scene)}
    monkeypatch.setattr(mrml, "add_histogram", mock.Mock(side_effect=ValueError("odd")))
    with pytest.raises(ValueError, match="odd"):
        add_result(scene, request_, findings)
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
    found = results.find_result(again.GetFirstNodeByName("1. Head - Defaced, B"))
    assert [node.GetName() for node in found.surfaces] == ["Head face", "Defaced face", "B face"]
    assert [node.GetName() for node in found.pictures] == [node.GetName() for node in result.pictures]
    assert found.surfaces[0].GetPolyData().GetNumberOfPoints() == len(SKIN[0])
    assert column(found.table, "volume") == column(result.table, "volume")
    assert [chart.GetName() for chart in found.charts] == [chart.GetName() for chart in result.charts]
    assert found.names == ["Head", "Defaced", "B"]
    assert summary.summary(found) == summary.summary(result)


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
    text = summary.summary(result)
    assert text.index("Defaced") < text.index("<b>B</b>")
    for probe in result.report["probes"]:
        assert colours.VERDICTS[probe["verdict"]] in text
        assert probe["attackers"]["forced"]["sentence"] in text
    assert "no face was found in any of the 45 views" in text


def test_the_summary_says_what_was_compared_how_and_what_verdicts_mean(result):
    text = summary.summary(result)
    assert "Original: <b>Head</b>" in text and "Views: <b>Standard (45 views)</b>" in text
    assert all(sentence in text for sentence in words.thresholds().values())
    assert "as private as the scans" in text and "weak" not in text


def test_attackers_are_told_in_plain_words_with_a_tool_tip(result):
    text = summary.summary(result)
    assert '(forced alignment).">Knowing where the face is</span>: ' in text
    assert '(detector-gated).">Looking for the face</span>: ' in text
    assert "pairs of strangers" in text and "as similar as" not in text


def test_one_view_is_said_to_be_weak(result):
    assert "weak" in Views.FRONTAL.label() and "weak" not in Views.STANDARD.label()
    one = dataclasses.replace(result, report={**result.report, "views": "frontal"})
    assert "One view is weak" in summary.summary(one)


def test_a_volume_without_a_head_is_marked_with_the_cause(scene, volumes, reident_fakes, monkeypatch, tmp_path):
    calibrate(monkeypatch)
    request = Request(volumes[0], [node_of(scene, "Nobody", 0), volumes[1]])
    result = add_result(scene, request, run(request, tmp_path))
    assert [probe["verdict"] for probe in result.report["probes"]] == [NO_HEAD, NOT_RECOGNISABLE]
    text = summary.summary(result)
    assert "<b>Nobody</b> <span" in text and text.count("No head was found in the volume") == 1
    assert [surface is not None for surface in result.surfaces] == [True, False, True]
    assert [node is not None for node in result.landmarks] == [True, False, True]
    faceviews.show_pair(result, 1)
    faceviews.look_at_faces(result, 1, (None, None))
    assert column(result.table, "verdict")[::2] == ["no head", "not recognisable"]


def test_a_look_up_lists_ranks_and_counts_no_hits(result):
    """Two probes of one person gave areas and curves of no meaning, and a stranger is no miss."""
    assert all(each["cmc"] is each["auc"] is None for each in result.identification["attackers"].values())
    text = summary.summary(result)
    assert "Defaced&#x27;: no face found, so rank 4 of 4" in text and "&#x27;B&#x27;: rank " in text
    assert "Looked up among 4 persons" in text and "hits" not in text and "found first" not in text


def test_summary_charts_and_tables_name_the_network(result):
    assert f"Network: <b>{NETWORK}</b>" in summary.summary(result)
    assert all(NETWORK in chart.GetTitle() for chart in result.charts)
    ranks = result.table.GetScene().GetFirstNodeByName("Ranks")
    assert {*column(result.table, "network"), *column(ranks, "network")} == {NETWORK}


def test_the_original_is_called_by_its_name_and_nothing_is_said_twice(result):
    text = summary.summary(result)
    assert text.count("&#x27;B&#x27; does not lie where &#x27;Head&#x27; lies") == 1 and "reference" not in text


def test_the_summary_shows_names_and_warnings_as_text(result):
    report = json.loads(json.dumps(result.report))
    report["probes"][0]["name"] = "<b>&x"
    report["warnings"] = ["One <i>.", "One <i>."]
    text = summary.summary(dataclasses.replace(result, report=report))
    assert "&lt;b&gt;&amp;x" in text and text.count("One &lt;i&gt;.") == 1


# ---- the picture that explains ----


def test_the_explanation_is_a_picture_of_the_result(scene, result):
    picture = slicer.util.arrayFromVolume(result.explanation)
    assert picture.tolist() == [[[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]]]
    assert hierarchy(scene).GetItemParent(hierarchy(scene).GetItemByDataNode(result.explanation)) == folder_of(result)


def test_adding_a_result_loads_no_large_package():
    """The window stood still for a second at the end of the first run."""
    code = "import sys; import ReidentRiskLib.window.results; from RefaceLib.skin.meshes import polydata; "
    done = run_python("-c", code + "print(sorted({'scipy', 'torch', 'matplotlib'} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr
