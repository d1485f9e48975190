"""The views in which a head is drawn: their directions and their lights.

Yaw and pitch are degrees in the pose of the head: yaw > 0 sees more of the subject's left, pitch > 0 looks from above.
Lights move with the camera; a rig is the directions towards its lights (right, up, towards the viewer) and their
strengths, of which 1 makes skin that faces the light as bright as its colour.
"""

from __future__ import annotations

from dataclasses import dataclass

from RefaceLib.common.errors import InputError

Rig = tuple[tuple[tuple[float, float, float], float], ...]

# Two lights each: as many in every rig as in the others, so that the shaders of OpenGL stay the same. Light from above
# the camera parts different heads better than light from the camera itself (40 heads: d' 7.6 against 6.8).
LIGHTS: dict[str, Rig] = {
    "front": (((0.0, 0.5, 1.0), 0.85), ((0.0, 1.0, 0.4), 0.15)),
    "key_left": (((-0.8, 0.7, 0.9), 0.80), ((0.9, 0.1, 0.8), 0.25)),  # left of the picture
    "key_right": (((0.8, 0.7, 0.9), 0.80), ((-0.9, 0.1, 0.8), 0.25)),
}
AMBIENT = 0.08

PHOTO = "photo"  # the "view set" of a photograph, which is compared with every view of a head


@dataclass(frozen=True)
class View:
    """One picture of a head: ``yaw`` and ``pitch`` in degrees, ``light`` one of LIGHTS."""

    name: str
    yaw: float
    pitch: float
    light: str


def _grid(yaws: tuple[int, ...], pitches: tuple[int, ...] = (-10, 0, 10)) -> tuple[View, ...]:
    return tuple(
        View(f"yaw{yaw:+d}_pitch{pitch:+d}_{light}", yaw, pitch, light)
        for yaw in yaws
        for pitch in pitches
        for light in LIGHTS
    )


# Each set holds the one before it.
VIEW_SETS: dict[str, tuple[View, ...]] = {
    "frontal": (View("yaw+0_pitch+0_key_left", 0, 0, "key_left"),),
    "standard": _grid((-30, -15, 0, 15, 30)),
    "full": _grid((-60, -45, -30, -15, 0, 15, 30, 45, 60)),
}


def view_set(name: str) -> tuple[View, ...]:
    """The views of the set ``name``; InputError for a name that is not in VIEW_SETS."""
    if name not in VIEW_SETS:
        raise InputError(f"There is no view set '{name}': choose one of {', '.join(VIEW_SETS)}.")
    return VIEW_SETS[name]


def frontal_view(name: str) -> int:
    """The index of the view of a set that looks the face in the eye."""
    views = view_set(name)
    return min(range(len(views)), key=lambda index: (abs(views[index].yaw) + abs(views[index].pitch), index))
