"""The sets of views and the lights."""

from __future__ import annotations

import re

import numpy as np
import pytest

from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.views import LIGHTS, VIEW_SETS, view_set


@pytest.mark.parametrize("name, count", [("frontal", 1), ("standard", 45), ("full", 81)])
def test_a_set_has_so_many_views_of_different_names(name, count):
    views = view_set(name)
    assert len(views) == len({view.name for view in views}) == count
    assert all(re.fullmatch(r"[\w+-]+", view.name) for view in views)  # they become names of files
    assert {view.light for view in views} <= set(LIGHTS)


def test_the_standard_views_are_those_of_the_protocol():
    views = view_set("standard")
    assert {(view.yaw, view.pitch) for view in views} == {(y, p) for y in (-30, -15, 0, 15, 30) for p in (-10, 0, 10)}
    assert len(LIGHTS) == 3


def test_each_set_holds_the_smaller_one():
    frontal, standard, full = (set(VIEW_SETS[name]) for name in ("frontal", "standard", "full"))
    assert frontal < standard < full
    assert {(view.yaw, view.pitch) for view in frontal} == {(0, 0)}


def test_an_unknown_set_is_refused():
    with pytest.raises(InputError, match="frontal, standard, full"):
        view_set("profile")


def test_the_key_lights_mirror_each_other_and_all_rigs_have_as_many_lights():
    mirrored = tuple(((-x, y, z), strength) for (x, y, z), strength in LIGHTS["key_left"])
    assert mirrored == LIGHTS["key_right"]
    assert len({len(rig) for rig in LIGHTS.values()}) == 1


@pytest.mark.parametrize("light", LIGHTS)
def test_no_rig_saturates_the_skin(light):
    normals = np.random.default_rng(0).standard_normal((2000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    brightness = sum(
        strength * np.maximum(normals @ np.array(towards) / np.linalg.norm(towards), 0)
        for towards, strength in LIGHTS[light]
    )
    assert 0.7 < brightness.max() < 1.1
