"""The checkout itself: what is in it, how large it is, and that its files agree with each other."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

import RefaceLib
import ReidentRiskLib
from helpers.checkout import REPOSITORY
from ReidentRiskLib.judge.calibration import CALIBRATION_FILE, LEVELS, resources_folder

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10, where pytest brings the same parser under its older name
    import tomli as tomllib

MODELS = REPOSITORY / "Reface" / "Resources" / "Models"

INSTALL_AND_REFACE = "pip install . && reface demo out/"
INSTALL_AND_TEST = 'pip install ".[test]" && pytest'

MEGABYTE = 1_000_000
VOLUME_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mgz", ".mgh", ".dcm", ".npz")
# Only looked at where there is no git to say what belongs to the checkout.
NOT_OURS = {"out", "build", "dist", "runs", "venv", "__pycache__"}


def repository_files() -> list[Path]:
    """Files that belong to the checkout: what git tracks or would add, or everything in an unpacked archive."""
    if (REPOSITORY / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
        return sorted({REPOSITORY / name for name in names if name and (REPOSITORY / name).is_file()})
    walked = (path for path in REPOSITORY.rglob("*") if path.is_file())
    return sorted(path for path in walked if not NOT_OURS & set(path.relative_to(REPOSITORY).parts))


def registry_entries(node: object, name: str = "") -> dict[str, str]:
    """{file name: sha256} of everything in the registry that has a sha256, however deep it stands."""
    if isinstance(node, list):
        return {file: digest for child in node for file, digest in registry_entries(child).items()}
    if not isinstance(node, dict):
        return {}
    found = {str(node.get("file", name)): node["sha256"]} if "sha256" in node else {}
    for key, child in node.items():
        found |= registry_entries(child, key)
    return found


def test_no_volume_is_in_the_repository() -> None:
    assert [path.name for path in repository_files() if path.name.lower().endswith(VOLUME_SUFFIXES)] == []


def test_the_checkout_is_smaller_than_100_megabytes() -> None:
    assert sum(path.stat().st_size for path in repository_files()) < 100 * MEGABYTE


def test_text_files_end_their_lines_with_lf() -> None:
    texts = ((path, path.read_bytes()) for path in repository_files())
    assert [str(path) for path, content in texts if b"\0" not in content and b"\r" in content] == []


def test_every_weights_file_is_in_the_registry_with_its_sha256() -> None:
    weights = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in MODELS.glob("*.safetensors")}
    assert weights, f"no weights in {MODELS}"
    registered = registry_entries(json.loads((MODELS / "registry.json").read_text(encoding="utf-8")))
    assert weights == registered


def test_the_weights_are_at_most_40_megabytes() -> None:
    sizes = [path.stat().st_size for path in MODELS.iterdir()]
    assert 0 < sum(sizes) <= 40 * MEGABYTE


def test_the_weights_are_found_beside_the_installed_package() -> None:
    package = Path(RefaceLib.__file__).parent
    installed = package / "Resources" / "Models"
    models = installed if installed.is_dir() else package.parent / "Resources" / "Models"
    assert sorted(path.name for path in models.iterdir()) == sorted(path.name for path in MODELS.iterdir())


def test_the_calibration_is_found_beside_the_installed_package() -> None:
    package = Path(ReidentRiskLib.__file__).parent
    installed = package / "Resources"
    folder = installed if installed.is_dir() else package.parent / "Resources"
    assert resources_folder() == folder
    shipped = REPOSITORY / "ReidentRisk" / "Resources" / CALIBRATION_FILE
    assert (folder / CALIBRATION_FILE).read_bytes() == shipped.read_bytes()


def test_the_calibration_holds_no_embedding() -> None:
    content = json.loads((REPOSITORY / "ReidentRisk" / "Resources" / CALIBRATION_FILE).read_text(encoding="utf-8"))

    def lists(node: object, name: str = "") -> list[tuple[str, list]]:
        """Every list of numbers with its name."""
        if isinstance(node, dict):
            return [found for key, child in node.items() for found in lists(child, key)]
        if isinstance(node, list) and node and isinstance(node[0], (int, float)):
            return [(name, node)]
        return [found for child in node for found in lists(child, name)] if isinstance(node, list) else []

    for name, numbers in lists(content):
        assert name in ("levels", "quantiles")
        assert numbers == sorted(numbers)  # nobody's embedding is
        assert len(numbers) == len(LEVELS)


def test_no_recognition_network_is_in_the_repository() -> None:
    assert [path.name for path in repository_files() if path.suffix == ".onnx"] == []


def test_both_libraries_are_packaged_with_their_resources() -> None:
    wheel = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    included = wheel["targets"]["wheel"]["force-include"]
    assert wheel["targets"]["wheel"]["packages"] == ["Reface/RefaceLib", "ReidentRisk/ReidentRiskLib"]
    assert [source for source in included if not (REPOSITORY / source).exists()] == []
    assert "ReidentRiskLib/Resources/calibration.json" in included.values()
    assert {"Reface", "ReidentRisk", "Testing"} <= set(wheel["targets"]["sdist"]["only-include"])


@pytest.mark.parametrize("command", ["reface", "reident-risk"])
def test_every_command_leads_to_a_function(command: str) -> None:
    from importlib import import_module

    scripts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    module, function = scripts[command].split(":")
    assert callable(getattr(import_module(module), function))


def test_reface_does_not_depend_on_reidentrisk() -> None:
    files = (REPOSITORY / "Reface").rglob("*.py")
    # Its command line may be started where it is installed (RefaceLib.window.job), but nothing of it is imported.
    imported = re.compile(r"^\s*(?:from|import)\s+ReidentRisk", re.MULTILINE)
    assert [path.name for path in files if imported.search(path.read_text(encoding="utf-8"))] == []


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    source = (REPOSITORY / project["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert f'__version__ = "{RefaceLib.__version__}"' in source


def test_the_installed_version_is_that_of_the_source() -> None:
    try:
        installed = metadata.version("slicer-reface")
    except metadata.PackageNotFoundError:
        installed = RefaceLib.__version__  # running from the source tree: there is nothing that could disagree
    assert installed == RefaceLib.__version__


def test_the_changelog_has_a_section_for_this_version() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{RefaceLib.__version__}]" in changelog


@pytest.mark.parametrize("command", [INSTALL_AND_REFACE, INSTALL_AND_TEST])
def test_the_readme_gives_the_commands_that_continuous_integration_runs(command: str) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)
    script = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert command in [line for block in blocks for line in block.splitlines()]
    assert command in [line.strip() for line in script.splitlines()]


def test_files_named_by_the_readme_exist() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", readme)
    assert [link for link in links if not (REPOSITORY / link).exists()] == []
