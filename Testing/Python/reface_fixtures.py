"""The module Reface in a scene, with stand-ins for the networks and for the application, for its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from phantom import make_phantom

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from reface_window import application, reface_module  # noqa: E402  (needs slicer)
from RefaceLib.window import job  # noqa: E402
from windows import let_children_run, opened, scene_fixture, temporary_fixture  # noqa: E402

__all__ = [
    "app_fixture",
    "head_fixture",
    "reface_fixture",
    "scene_fixture",
    "temporary_fixture",
    "widget_fixture",
]  # what tests import by a star: all fixtures

SIZE = 48


@pytest.fixture(scope="module", name="reface")
def reface_fixture():
    with reface_module() as module:
        yield module


@pytest.fixture(name="app")
def app_fixture(reface, scene, monkeypatch):
    """The application; children are reface_child, and compare faces by the number in REFACE_JUDGE."""
    monkeypatch.setattr(job, "FACES_MODULE", "reface_child")
    monkeypatch.setattr(job, "face_judge", fake_judge)
    let_children_run(monkeypatch)
    with application(scene, reface) as made:
        yield made


def fake_judge():
    def arguments(reference, faces, folder):
        assert reference.is_file() and all(face.is_file() for face in faces)
        return ["judge", str(folder)]

    return job.Judge("reface_child", Path("requirements.txt"), arguments, "judged.json", lambda report: report["least"])


def node_of(scene, volume, name="Head"):
    """A volume node with the voxels and the geometry of a RefaceLib volume."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    native = volume.stored.astype(volume.stored.dtype.newbyteorder("="))
    slicer.util.updateVolumeFromArray(node, native.transpose(2, 1, 0))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(volume.affine.ravel())
    node.SetIJKToRASMatrix(matrix)
    node.CreateDefaultDisplayNodes()
    return node


@pytest.fixture(name="head")
def head_fixture(scene):
    return node_of(scene, make_phantom((SIZE, SIZE, SIZE), (5.0, 5.0, 5.0), "LPS"))


@pytest.fixture(name="widget")
def widget_fixture(reface, app):
    yield from opened(reface.RefaceWidget())


def voxels(node):
    return slicer.util.arrayFromVolume(node).transpose(2, 1, 0)
