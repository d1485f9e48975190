"""The tutorial and the window agree: a newcomer finds the controls in the order in which they are told of."""

from __future__ import annotations

import re

from helpers.checkout import REPOSITORY
from helpers.uifiles import ui_path


def words(text: str) -> str:
    return text.replace("&amp;", "").rstrip(":. ").lower()


def test_the_controls_of_the_tutorial_stand_in_the_window_in_its_order():
    text = (REPOSITORY / "docs" / "tutorial.md").read_text(encoding="utf-8")
    told = [words(name) for name in re.findall(r"\*\*(.+?)\*\*", text)]
    window = ui_path("Reface").read_text(encoding="utf-8")
    shown = [words(name) for name in re.findall(r'<property name="text">\s*<string>(.+?)</string>', window)]
    places = [shown.index(name) for name in told if name in shown]
    assert len(places) >= 15
    assert places == sorted(places)
