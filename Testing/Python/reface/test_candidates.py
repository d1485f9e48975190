"""Faces to try: the pictures of all faces of a run, and taking another one without a new run."""

from __future__ import annotations

import json
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from helpers.phantom import make_phantom
from RefaceLib.volume.io import Volume
from RefaceLib.window import handover

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.reface.fixtures import *  # noqa: E402, F403
from helpers.reface.fixtures import SIZE, node_of, report_of, voxels  # noqa: E402
from RefaceLib.window import job, results  # noqa: E402

THIRD = SIZE // 3
PNG = b"\x89PNG"


def answer(volume: Volume, seeds=(4, 5, 6), kept=1) -> job.RefaceAnswer:
    """As a run leaves it: the face of a seed is the seed, in the front third."""
    mask = np.zeros(volume.stored.shape, bool)
    mask[:, :THIRD] = True
    stored = volume.stored.copy()
    stored[mask] = seeds[kept]

    def report(seed, how):
        made = {**report_of(mock.Mock(**{"GetName.return_value": "x"})), "seed": seed}
        return {**made, "candidates": {"seeds": list(seeds), "kept": how}}

    faces = tuple(
        job.Candidate(seed, np.full(mask.sum(), seed, volume.stored.dtype), report(seed, "chosen"), PNG)
        for seed in seeds
    )
    return job.RefaceAnswer(stored, mask, (), report(seeds[kept], "the least like the original"), faces)


@pytest.fixture(name="done")
def done_fixture(widget, scene, head, runs):
    """A run of three faces that has ended in the window; the second is kept."""
    widget._parameterNode.inputVolume, widget._parameterNode.candidates = head, 3
    widget.onApplyButton()
    nodes = results.RefaceNodes(head)
    runs[0].on_done(results.show_answer(nodes, answer(results.make_request(nodes).volume[1])))
    return widget._parameterNode.resultVolume


def press(widget, index):
    widget.candidates._take(index)


def test_another_face_becomes_the_result_and_nothing_else_changes(widget, scene, head, done):
    assert (voxels(done)[:, :THIRD] == 5).all() and widget._parameterNode.seed == 5
    assert widget.ui.candidatesFrame.visible
    kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
    counts = [scene.GetNumberOfNodesByClass(kind) for kind in kinds]
    press(widget, 2)
    assert (voxels(done)[:, :THIRD] == 6).all()
    assert np.array_equal(voxels(done)[:, THIRD:], voxels(head)[:, THIRD:])
    assert widget._parameterNode.seed == 6 and "seed 6" in widget.ui.resultLabel.text
    mask = done.GetNodeReference(results.MASK_ROLE)
    for node in (done, mask):
        report = json.loads(node.GetAttribute("Reface.Report"))
        assert (report["seed"], report["candidates"]["kept"]) == (6, "chosen")
    assert [scene.GetNumberOfNodesByClass(kind) for kind in kinds] == counts
    assert done.GetNodeReference(results.INPUT_ROLE) is head
    press(widget, 0)
    assert (voxels(done)[:, :THIRD] == 4).all()


def test_a_result_that_was_changed_since_gets_no_other_face(widget, app, done):
    slicer.util.arrayFromVolume(done)[-1, -1, -1] += 1
    done.GetImageData().Modified()
    press(widget, 2)
    assert (voxels(done)[:, :THIRD] == 5).all() and "was changed after Reface had made it" in app.shown[0]


def test_the_face_that_the_result_has_is_pressed(widget, done):
    pressed = [button.setChecked.call_args.args[0] for button in widget.candidates._buttons]
    assert pressed == [False, True, False]


@pytest.mark.parametrize("how", ["another run", "another result", "removed"])
def test_faces_of_a_result_that_is_gone_are_not_offered(widget, scene, head, done, how):
    if how == "another run":  # into the same volume
        nodes = results.RefaceNodes(head, output=done)
        results.show_answer(nodes, answer(results.make_request(nodes).volume[1], seeds=(8, 9)))
        widget._onParametersChanged()
    elif how == "another result":
        widget._parameterNode.resultVolume = node_of(scene, make_phantom(), "Other")
    else:
        scene.RemoveNode(done)
    assert not widget.ui.candidatesFrame.visible
    before = voxels(done).copy()
    if how != "another result":
        press(widget, 0)
    assert np.array_equal(voxels(done), before)


def test_the_faces_of_the_next_run_take_the_place_of_the_former(widget, scene, head, done):
    old = list(widget.candidates._buttons)
    nodes = results.RefaceNodes(head)
    widget.candidates.offer(results.show_answer(nodes, answer(results.make_request(nodes).volume[1], (1, 2))).choices)
    assert len(widget.candidates._buttons) == 2
    assert all(button.deleteLater.called for button in old)


def test_small_pictures_are_drawn_in_a_child_and_a_volume_without_a_head_has_none(tmp_path, small_head):
    faces = [tmp_path / "face0.nrrd", tmp_path / "face1.nrrd"]
    handover.write_exchange(faces[0], small_head)
    handover.write_exchange(faces[1], Volume(np.zeros((8, 8, 8), np.int16), np.eye(4)))
    command = [sys.executable, "-m", job.PORTRAITS_MODULE, tmp_path / "out", *faces, "--progress", "json"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["face0.png"]
    assert (tmp_path / "out" / "face0.png").read_bytes().startswith(PNG)
    assert json.loads(run.stdout.splitlines()[0]) == {"progress": 0.0, "stage": "draw"}
