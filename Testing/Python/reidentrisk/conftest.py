"""What every test of ReidentRisk may use: stand-ins for the networks, and a folder of heads that they know."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.reidentrisk.faces import Fakes


@pytest.fixture
def reident_fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    """Stand-ins for the networks of ReidentRisk and for its pictures, which matplotlib takes a second for, each."""
    from helpers.reidentrisk.commands import draw_nothing

    monkeypatch.delenv("REFACE_DEBUG", raising=False)
    draw_nothing(monkeypatch)
    return Fakes().install(monkeypatch)


@pytest.fixture(scope="session")
def reident_heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `commands.put_heads`, which no test may change."""
    from helpers.reidentrisk.commands import put_heads

    folder = tmp_path_factory.mktemp("heads")
    put_heads(folder)
    return folder


@pytest.fixture
def reident_folder(reident_heads: Path, reident_fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of those heads, which is the current folder; the networks are stand-ins."""
    shutil.copytree(reident_heads, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
