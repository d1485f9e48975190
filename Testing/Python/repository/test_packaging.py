"""What the extension packages is what is on disk: a file missing from the CMake lists is silently left out of it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from helpers.checkout import REPOSITORY

MODULES = ["Reface", "ReidentRisk"]


def cmake_list(text: str, variable: str, name: str) -> list[str]:
    """The items of `set(variable ...)`, comments dropped and ${MODULE_NAME} replaced."""
    text = re.sub(r"#.*", "", text)
    found = re.search(rf"set\(\s*{variable}\s+(.*?)\)", text, re.DOTALL)
    assert found, f"no set({variable} ...) in the CMakeLists.txt of {name}"
    return found[1].replace("${MODULE_NAME}", name).split()


def files_on_disk(module: Path, folder: str) -> set[str]:
    """Files below a folder of the module, as the CMake lists write them."""
    paths = [path for path in (module / folder).rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(module).as_posix() for path in paths if "__pycache__" not in path.parts}


def listed(name: str) -> tuple[Path, list[str], list[str]]:
    """Folder of a module, its scripts and its resources as listed."""
    folder = REPOSITORY / name
    text = (folder / "CMakeLists.txt").read_text(encoding="utf-8")
    lists = [cmake_list(text, f"MODULE_PYTHON_{kind}", name) for kind in ("SCRIPTS", "RESOURCES")]
    return folder, *lists


@pytest.fixture(params=MODULES)
def module(request) -> tuple[Path, list[str], list[str]]:
    return listed(request.param)


def test_every_file_of_the_library_is_packaged(module):
    folder, scripts, resources = module
    library = files_on_disk(folder, f"{folder.name}Lib")
    python = {name for name in library if name.endswith(".py")}
    assert sorted(python - set(scripts)) == [], "add these to MODULE_PYTHON_SCRIPTS"
    assert sorted(library - python - set(resources)) == [], "add these to MODULE_PYTHON_RESOURCES"


def test_every_resource_is_packaged(module):
    folder, _, resources = module
    assert sorted(files_on_disk(folder, "Resources") - set(resources)) == [], "add these to MODULE_PYTHON_RESOURCES"


def test_every_file_that_is_listed_is_there(module):
    folder, scripts, resources = module
    assert [name for name in scripts + resources if not (folder / name).is_file()] == []


def test_no_file_is_listed_twice(module):
    _, scripts, resources = module
    assert [name for name, count in Counter(scripts + resources).items() if count > 1] == []


def test_every_library_folder_is_a_package(module):
    folder, scripts, _ = module
    parents = {str(Path(name).parent) for name in scripts} - {"."}
    assert [parent for parent in parents if f"{Path(parent).as_posix()}/__init__.py" not in scripts] == []


def size_of(png: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    header = png.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(header[16:20], "big"), int.from_bytes(header[20:24], "big")


def test_the_module_has_an_icon_of_128_pixels(module):
    folder, _, resources = module
    icon = f"Resources/Icons/{folder.name}.png"
    assert icon in resources
    assert size_of(folder / icon) == (128, 128)


def test_the_extension_has_an_icon_of_128_pixels():
    assert size_of(REPOSITORY / "Reface.png") == (128, 128)


def test_modules_do_not_overwrite_each_other():
    # All modules of an extension are installed into one folder.
    names = [name for module in MODULES for group in listed(module)[1:] for name in group]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_the_extension_adds_every_module_and_names_files_that_exist():
    text = (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")
    for name in MODULES:
        assert re.search(rf"^add_subdirectory\({name}\)$", text, re.MULTILINE)
    named = re.findall(r'"\$\{CMAKE_CURRENT_SOURCE_DIR\}/(.*?)"', text)
    assert named and [path for path in named if not (REPOSITORY / path).is_file()] == []


def test_every_test_that_slicer_runs_is_there():
    folder = REPOSITORY / "Testing" / "Application"
    scripts = re.findall(r"slicer_add_python_unittest\(SCRIPT (\S+?)\)", (folder / "CMakeLists.txt").read_text())
    assert scripts
    assert [name for name in scripts if not (folder / name).is_file()] == []
