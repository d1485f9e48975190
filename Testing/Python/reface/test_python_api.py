"""The lines of Python that docs/python.md and the README show do what they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from RefaceLib.volume.io import Volume, read_volume, write_volume

REPOSITORY = Path(__file__).resolve().parents[3]


def shown_lines(name: str) -> str:
    """The first block of Python in a document."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)[0]


def test_the_readme_shows_the_same_lines():
    assert shown_lines("README.md") == shown_lines("docs/python.md")


def test_the_shown_lines_give_a_head_a_new_face(small_head: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_volume("head.nii.gz", small_head, small_head.stored)
    names: dict[str, object] = {}
    exec(shown_lines("docs/python.md"), names)
    refaced = read_volume("refaced.nii.gz").stored
    changed = refaced != small_head.stored
    assert changed.any() and not (changed & ~names["result"].mask).any()
    assert np.array_equal(refaced, names["result"].stored)
