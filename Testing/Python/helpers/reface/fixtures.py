"""The module Reface in a scene, with stand-ins for the networks and for the application, for its tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.phantom import make_phantom

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.scenes import volume_node  # noqa: E402
from helpers.slicer_stubs import reface_module  # noqa: E402  (needs slicer)
from helpers.windows import (  # noqa: E402
    let_children_run,
    opened,
    scene_fixture,
    temporary_fixture,
    window_application,
)
from RefaceLib.window import job  # noqa: E402

__all__ = [
    "app_fixture",
    "head_fixture",
    "reface_fixture",
    "scene_fixture",
    "temporary_fixture",
    "widget_fixture",
]  # what tests import by a star: all fixtures

SIZE = 48
CHILD = "helpers.reface.child"


@pytest.fixture(scope="module", name="reface")
def reface_fixture():
    with reface_module() as module:
        yield module


@pytest.fixture(name="app")
def app_fixture(reface, scene, monkeypatch):
    """The application; children are helpers.reface.child, and compare faces by the number in REFACE_JUDGE."""
    monkeypatch.setattr(job, "FACES_MODULE", CHILD)
    monkeypatch.setattr(job, "face_judge", fake_judge)
    let_children_run(monkeypatch)
    with window_application("Reface", scene, reface) as made:
        yield made


def fake_judge():
    def arguments(reference, faces, folder):
        return ["judge", *map(str, (reference, *faces, folder))]

    return job.Judge(CHILD, Path("requirements.txt"), arguments, "judged.json", lambda report: report["least"])


def node_of(scene, volume, name="Head"):
    """A volume node with the voxels and the geometry of a RefaceLib volume, which is displayed."""
    node = volume_node(scene, volume, name)
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
