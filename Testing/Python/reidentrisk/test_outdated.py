"""Volumes that were overwritten or moved after they were compared: what the window says of their verdicts."""

from __future__ import annotations

import dataclasses
import sys
from unittest import mock

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.reidentrisk.nodes import add_result, moved  # noqa: E402
from helpers.reidentrisk.resultfixtures import *  # noqa: E402, F403
from helpers.scenes import saved_and_read  # noqa: E402
from ReidentRiskLib.window import fingerprints, outdated, results, summary  # noqa: E402
from ReidentRiskLib.window.fingerprints import CHANGED, MOVED  # noqa: E402

PICTURE = np.full((60, 400, 3), 255, np.uint8)


@pytest.fixture(name="findings")
def with_a_picture_fixture(findings):
    return dataclasses.replace(findings, explanation=PICTURE)


def overwrite(node, value=7):
    """Write into a voxel in place, as other modules do."""
    slicer.util.arrayFromVolume(node)[1, 1, 1] += value
    node.GetImageData().GetPointData().GetScalars().Modified()
    node.GetImageData().Modified()


def words(result):
    return summary.summary(result, (), outdated.changes(result))


def told(result):
    """What picture, plots and table say after the result was looked at."""
    outdated.mark(result, outdated.changes(result))
    verdicts = result.table.GetTable().GetColumn(3)
    return (
        slicer.util.arrayFromVolume(result.explanation).shape[1] - len(PICTURE),
        {chart.GetTitle().count("outdated") for chart in result.charts},
        [verdicts.GetValue(row).endswith("(outdated)") for row in range(verdicts.GetNumberOfValues())],
    )


NOTHING = (0, {0}, [False] * 4)


def test_nothing_is_said_of_volumes_that_are_as_they_were(result):
    assert outdated.changes(result) == {} and told(result) == NOTHING
    assert "outdated" not in words(result) and "Changed since" not in words(result)


def test_an_overwritten_volume_is_named_and_its_verdict_called_outdated(volumes, result):
    """It kept its verdict without a word."""
    overwrite(volumes[1])
    assert outdated.changes(result) == {"Defaced": CHANGED}
    text = words(result)
    assert text.count("Changed since they were compared: &#x27;Defaced&#x27;.") == 1
    assert text.count("(outdated)") == 1 and text.index("<b>Defaced</b>") < text.index("(outdated)")
    rows, titles, verdicts = told(result)
    assert rows > 20 and titles == {1} and verdicts == [True, True, False, False]
    assert told(result) == (rows, titles, verdicts)  # once


def test_an_overwritten_original_makes_all_verdicts_outdated(volumes, result):
    overwrite(volumes[0])
    assert words(result).count("(outdated)") == 2 and told(result)[2] == [True] * 4


def test_what_is_put_back_is_no_longer_called_outdated(volumes, result):
    overwrite(volumes[1])
    told(result)
    overwrite(volumes[1], -7)
    assert outdated.changes(result) == {} and told(result) == NOTHING
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(result.explanation)[0], PICTURE)


def test_the_note_on_the_picture_is_text_on_a_band_above_it(volumes, result):
    overwrite(volumes[1])
    rows = told(result)[0]
    (picture,) = slicer.util.arrayFromVolume(result.explanation)
    np.testing.assert_array_equal(picture[rows:], PICTURE)
    band = picture[:rows]
    assert (band[0] == outdated._NOTE_COLOUR).all() and (band < 60).all(axis=-1).mean() > 0.01


@pytest.mark.parametrize(("by", "found"), [(0.001, {}), (3.0, {"B": CHANGED})])
def test_another_grid_is_a_change(volumes, result, by, found):
    volumes[2].SetOrigin(*(np.array(volumes[2].GetOrigin()) + (by, 0, 0)))
    assert outdated.changes(result) == found


def test_a_transform_is_told_and_no_verdict_depends_on_it(scene, volumes, result):
    """Volumes are compared without their parent transforms."""
    moved(scene, volumes[1], by=5.0)
    assert outdated.changes(result) == {"Defaced": MOVED} and told(result) == NOTHING
    assert "Moved by a transform since they were compared: &#x27;Defaced&#x27;." in words(result)
    assert "(outdated)" not in words(result)


def test_a_volume_that_is_changed_during_the_run_is_told_after_it(scene, volumes, request_, findings):
    overwrite(volumes[1])
    assert outdated.changes(add_result(scene, request_, findings)) == {"Defaced": CHANGED}


def test_voxels_are_hashed_only_when_the_image_was_modified(volumes, result):
    outdated.changes(result)
    with mock.patch.object(fingerprints, "voxels_sha256", return_value="other") as hashed:
        outdated.changes(result)
        assert not hashed.called
        overwrite(volumes[1])
        outdated.changes(result)
        outdated.changes(result)
        assert hashed.call_count == 1


def test_a_volume_without_an_image_has_changed(volumes, result):
    volumes[1].SetAndObserveImageData(None)
    assert outdated.changes(result) == {"Defaced": CHANGED}


def test_a_deleted_volume_is_no_changed_one(scene, volumes, result):
    scene.RemoveNode(volumes[1])
    assert outdated.changes(results.find_result(result.table)) == {}


def test_a_saved_scene_still_tells(volumes, result, tmp_path):
    told(result)
    images = {volume.GetName(): slicer.util.arrayFromVolume(volume).copy() for volume in volumes}
    again = saved_and_read(result.table.GetScene(), tmp_path)
    found = results.find_result(again.GetFirstNodeByName(result.table.GetName()))
    for volume in found.volumes:  # the scene's file holds no voxels
        slicer.util.updateVolumeFromArray(volume, images[volume.GetName()])
    assert found.fingerprints == result.fingerprints and outdated.changes(found) == {}
    overwrite(found.volumes[2])
    assert outdated.changes(found) == {"B": CHANGED}


# ---- Recompute ----


def test_landmarks_of_an_overwritten_original_are_found_anew(volumes, result):
    """It may be another head now, or lie elsewhere."""
    landmarks = result.landmarks[0]
    overwrite(volumes[0])
    assert results.request_again(result, landmarks).landmarks is None
    landmarks.SetNthControlPointPosition(0, 1.0, 2.0, 3.0)  # by the user, who has looked at the new voxels
    assert results.request_again(result, landmarks).landmarks is landmarks


def test_landmarks_that_a_transform_has_moved_are_the_users(scene, result):
    landmarks = result.landmarks[0]
    moved(scene, landmarks, by=3.0)
    assert results.request_again(result, landmarks).landmarks is landmarks


def test_landmarks_that_were_given_are_kept(result):
    report = {**result.report, "reference": {**result.report["reference"], "landmarks": "given"}}
    given = dataclasses.replace(result, report=report)
    assert results.request_again(given, result.landmarks[0]).landmarks is result.landmarks[0]


def test_the_watch_calls_back_for_its_volumes_and_no_others(volumes, result, monkeypatch):
    monkeypatch.setitem(sys.modules, "qt", mock.MagicMock())
    watch = outdated.ChangeWatch(lambda: None)
    watch._timer = mock.Mock()
    watch.watch(result)
    overwrite(volumes[1])
    assert watch._timer.start.called
    watch._timer.start.reset_mock()
    moved(result.table.GetScene(), volumes[2], by=1.0)
    assert watch._timer.start.called
    watch.watch(None)
    watch._timer.start.reset_mock()
    overwrite(volumes[1])
    assert not watch._timer.start.called
