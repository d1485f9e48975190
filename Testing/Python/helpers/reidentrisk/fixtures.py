"""The module ReidentRisk in a scene, with stand-ins for the networks and for the application, for its tests."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
from helpers.reidentrisk.child import calibrate  # noqa: E402
from helpers.reidentrisk.faces import DEFACED  # noqa: E402
from helpers.reidentrisk.nodes import VIEWS, node_of  # noqa: E402
from helpers.reidentrisk.window import application  # noqa: E402
from helpers.slicer_stubs import reident_module  # noqa: E402
from helpers.windows import let_children_run, opened, scene_fixture, temporary_fixture  # noqa: E402

__all__ = [
    "app_fixture",
    "defaced_fixture",
    "head_fixture",
    "module_fixture",
    "scene_fixture",
    "temporary_fixture",
    "widget_fixture",
]  # what tests import by a star: all fixtures


@pytest.fixture(scope="module", name="module")
def module_fixture():
    with reident_module() as made:
        yield made


@pytest.fixture(name="app")
def app_fixture(module, scene, monkeypatch, tmp_path):
    """The application; children are helpers.reidentrisk.child, and nobody has accepted a licence yet."""
    calibrate(monkeypatch)
    monkeypatch.setattr("ReidentRiskLib.window.job.MODULE", "helpers.reidentrisk.child")
    let_children_run(monkeypatch)
    monkeypatch.setenv("REIDENT_RISK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("REIDENT_RISK_ACCEPT_LICENCE", raising=False)
    with application(scene, module) as made:
        yield made


@pytest.fixture(name="head")
def head_fixture(scene):
    return node_of(scene, "Head", 1)


@pytest.fixture(name="defaced")
def defaced_fixture(scene):
    return node_of(scene, "Head defaced", 1 + DEFACED, missed=VIEWS)


@pytest.fixture(name="widget")
def widget_fixture(module, app):
    yield from opened(module.ReidentRiskWidget())


def choose(widget, reference, *probes):
    widget._parameterNode.reference = reference
    widget._parameterNode.probes = list(probes)
