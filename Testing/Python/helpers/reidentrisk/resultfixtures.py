"""A result in a scene of its own: a head, its defaced version and another person, looked up among three persons."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.reidentrisk.child import calibrate  # noqa: E402
from helpers.reidentrisk.commands import put  # noqa: E402
from helpers.reidentrisk.faces import DEFACED  # noqa: E402
from helpers.reidentrisk.nodes import VIEWS, add_result, node_of, run  # noqa: E402
from ReidentRiskLib.window.job import Request  # noqa: E402

__all__ = [
    "findings_fixture",
    "request_fixture",
    "result_fixture",
    "scene_fixture",
    "volumes_fixture",
]  # what tests import by a star: all fixtures


@pytest.fixture(name="scene")
def scene_fixture():
    return slicer.vtkMRMLScene()


@pytest.fixture(name="volumes")
def volumes_fixture(scene):
    return [node_of(scene, "Head", 1), node_of(scene, "Defaced", 1 + DEFACED, missed=VIEWS), node_of(scene, "B", 2)]


@pytest.fixture(name="request_")
def request_fixture(volumes, tmp_path):
    return Request(volumes[0], volumes[1:], gallery=tmp_path / "known")


@pytest.fixture(name="findings")
def findings_fixture(request_, reident_fakes, monkeypatch, tmp_path):
    """The head against its defaced version and another person, looked up among three persons."""
    calibrate(monkeypatch)
    for name in ("known", "work"):
        (tmp_path / name).mkdir()
    for person in (2, 3, 4):
        put(tmp_path / "known" / f"s{person}.nii.gz", person)
    return run(request_, tmp_path / "work")


@pytest.fixture(name="result")
def result_fixture(scene, request_, findings):
    return add_result(scene, request_, findings)
