"""docs/slicer-api.md lists every call that slicer-core lacks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from helpers.checkout import REPOSITORY

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)

FOLDERS = ("Reface", "ReidentRisk")
# In slicer.util of slicer-core, and working there.
WORKING = {
    "arrayFromVolume",
    "updateVolumeFromArray",
    "updateTableFromArray",
    "VTKObservationMixin",
    "NodeModify",
    "arrayFromMarkupsControlPoints",
    "arrayFromVTKMatrix",
}


def calls(path: Path) -> set[str]:
    """What a file uses of `slicer`: the first name, and the second one for app, modules and util."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "slicer":
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and node.value in ("slicerHome",):
            found.add(f"slicer.app.{node.value}")
    names = [re.match(r"slicer\.(?:(?:app|modules|util)\.\w+|\w+)", name) for name in found]
    return {name[0] for name in names if name}


def is_lacking(name: str) -> bool:
    parts = name.split(".")
    if parts[1] == "util":
        return len(parts) == 3 and parts[2] not in WORKING
    return not hasattr(slicer, parts[1])


def used() -> set[str]:
    paths = [path for folder in FOLDERS for path in (REPOSITORY / folder).rglob("*.py") if "training" not in path.parts]
    return {name for path in paths for name in calls(path) if is_lacking(name)} - {"slicer.app", "slicer.modules"}


def listed() -> dict[str, str]:
    text = (REPOSITORY / "docs" / "slicer-api.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(slicer\.[\w.]+)` \| ([\d.]+) \|$", text, re.MULTILINE))


def test_every_call_that_slicer_core_lacks_is_listed_and_no_other():
    assert len(used()) > 10
    assert sorted(used()) == sorted(listed())


def test_nothing_is_newer_than_the_version_that_is_asked_for():
    assert max(tuple(map(int, version.split("."))) for version in listed().values()) <= (5, 12)
