"""What the Extensions Index of 3D Slicer checks of an entry, as far as it can be told from the checkout.

The patterns are those of scripts/check_description_files.py in Slicer/ExtensionsIndex, which reads CMakeLists.txt as
text.
"""

from __future__ import annotations

import json
import re

import pytest

from helpers.checkout import REPOSITORY, TESTS
from helpers.commandline import run_python

CMAKE = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
ENTRY = json.loads((REPOSITORY / "docs" / "Reface.json").read_text(encoding="utf-8"))
KEYS = {  # of the schema in its version 1.0.1
    "$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "build_subdirectory", "enabled",
    "tier",
}  # fmt: skip
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def value(name: str) -> str:
    (found,) = re.findall(rf'set\s*\({name}\s*"([^"]+)"[ ]*\)', CMAKE)
    return found


def test_the_entry_has_the_keys_of_its_schema():
    assert {"$schema", "category", "scm_url"} <= set(ENTRY) <= KEYS
    assert ENTRY["$schema"].endswith("slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert ENTRY["category"] == "Utilities"  # one of those that the index knows
    assert 1 <= ENTRY["tier"] <= 5
    assert b"\r" not in (REPOSITORY / "docs" / "Reface.json").read_bytes()


def test_the_entry_agrees_with_cmake_and_the_readme():
    (project,) = re.findall(r"project\s*\(\s*([^\s\)]+)", CMAKE)
    assert project == "Reface"  # the name of the entry's file
    assert ENTRY["scm_url"] == f"{value('EXTENSION_HOMEPAGE')}.git" and ENTRY["scm_url"] in README
    assert ENTRY["scm_url"].rsplit("/", 1)[1] == f"Slicer{project}.git"
    assert ENTRY["build_dependencies"] == value("EXTENSION_DEPENDS").split()


def test_addresses_of_pictures_are_written_out_and_lead_to_files():
    """The index takes what stands between the quotation marks for the address."""
    raw = value("EXTENSION_HOMEPAGE").replace("https://github.com/", "https://raw.githubusercontent.com/")
    start = f"{raw}/{ENTRY['scm_revision']}/"
    urls = [value("EXTENSION_ICONURL"), *value("EXTENSION_SCREENSHOTURLS").split()]
    assert len(urls) >= 2
    for url in urls:
        assert url.startswith(start) and url.endswith(".png")
        assert (REPOSITORY / url.removeprefix(start)).is_file(), url


def test_the_licences_and_the_modules_are_told_of():
    assert "Apache-2.0" in README and "Apache-2.0" in value("EXTENSION_DESCRIPTION")
    assert (REPOSITORY / "LICENSE").is_file()
    for module in ("Reface", "ReidentRisk"):
        assert re.search(rf"\*\*{module}\*\*", README)
    assert "![" in README and "arXiv" in README


@pytest.mark.parametrize("module", ["Reface", "ReidentRisk"])
def test_a_module_that_is_loaded_imports_nothing_that_3d_slicer_lacks(module):
    """Else it could never be loaded, and never ask for what it needs. Two stand-ins take the place of Qt and CTK."""
    pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
    code = (
        f"import sys; sys.path[:0] = [{str(TESTS)!r}]\n"
        "from helpers.slicer_stubs import scripted_module\n"
        "before = set(sys.modules)\n"
        f"with scripted_module({module!r}):\n"
        "    new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "brought = {'slicer', 'vtk', 'vtkmodules', 'numpy', 'qt', 'ctk', 'RefaceLib', 'ReidentRiskLib'}\n"
        "print(sorted(new - brought - set(sys.stdlib_module_names)))\n"
    )
    run = run_python("-c", code)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
