"""The recipes of the images: they install as the README does, let in nothing but that, and run as nobody special."""

from __future__ import annotations

import re

from helpers.checkout import REPOSITORY


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def installs(recipe: str) -> list[str]:
    """The commands of pip in a recipe."""
    lines = (line.strip().removeprefix("RUN ") for line in text_of(recipe).splitlines())
    return [line for line in lines if line.startswith("pip ")]


def copied_by_apptainer() -> set[str]:
    section = re.search(r"^%files\n(.*?)\n\n", text_of("reface.def"), re.MULTILINE | re.DOTALL)
    assert section
    pairs = [line.split() for line in section[1].splitlines()]
    assert all(target == f"/src/{source}" for source, target in pairs)
    return {source for source, _ in pairs}


def copied_by_docker() -> set[str]:
    lines = text_of(".dockerignore").splitlines()
    assert lines.index("*") < lines.index("!Reface")  # everything is left out, but for these
    return {line[1:] for line in lines if line.startswith("!")}


def test_both_recipes_install_as_the_readme_says():
    readme = text_of("README.md")
    blocks = re.findall(r"^```bash\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert installs("Dockerfile") == installs("reface.def") != []
    for line in installs("Dockerfile"):
        assert line in commands or f"({line})" in readme, line
    assert 'pip install ".[bids]"' in installs("Dockerfile")


def test_both_recipes_begin_and_end_alike():
    bases = [*re.findall(r"^FROM (\S+)", text_of("Dockerfile"), re.MULTILINE)]
    bases += re.findall(r"^From: (\S+)", text_of("reface.def"), re.MULTILINE)
    assert len(bases) == 3 and len(set(bases)) == 1
    packages = [re.findall(r"--no-install-recommends (.*?)(?: \\)?$", text_of(name), re.MULTILINE) for name in RECIPES]
    assert packages[0] == packages[1] and len(packages[0]) == 1


RECIPES = ("Dockerfile", "reface.def")


def test_nothing_but_what_is_installed_gets_into_an_image():
    assert copied_by_docker() == copied_by_apptainer()
    assert all((REPOSITORY / name).exists() for name in copied_by_docker())
    pyproject = text_of("pyproject.toml")
    packages = re.search(r"^packages = \[(.*)\]$", pyproject, re.MULTILINE)
    assert packages and {path.split("/")[0] for path in re.findall(r'"(.*?)"', packages[1])} <= copied_by_docker()
    assert {"README.md", "LICENSE", "pyproject.toml", "constraints.txt"} <= copied_by_docker()


def test_an_image_runs_without_root_and_writes_to_the_temporary_folder_alone():
    dockerfile = text_of("Dockerfile")
    users = re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
    assert users and "0" not in users[-1]
    assert dockerfile.index("\nUSER ") < dockerfile.index("\nCMD ")
    for name in RECIPES:
        folders = re.findall(r"\b(?:HOME|XDG_CACHE_HOME|MPLCONFIGDIR)=(\S+)", text_of(name))
        assert len(folders) >= 2 and all(folder.startswith("/tmp") for folder in folders)


def test_no_network_of_reidentrisk_is_fetched_into_an_image():
    assert all("--fetch" not in text_of(name) and "ACCEPT_LICENCE" not in text_of(name) for name in RECIPES)


def test_the_page_on_containers_names_what_is_there():
    page = text_of("docs/containers.md")
    assert all(name in page for name in (*RECIPES, ".dockerignore", "constraints.txt"))
    for program in ("docker build", "podman build", "apptainer build", "#SBATCH", "--network none"):
        assert program in page
