"""Pictures of real heads for the tests of detector, embedder and photographs; drawn with numpy, so anywhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from helpers.realhead import CHIN, EYES, NOSE_TIP
from RefaceLib.common.demo import demo_head
from RefaceLib.head import canonical
from RefaceLib.skin.surface import face_surface
from RefaceLib.volume.geometry import fit_similarity
from RefaceLib.volume.io import read_volume
from ReidentRiskLib.attack.render import project, render_views
from ReidentRiskLib.attack.views import View

MARKED = ("left_eye", "right_eye", "nose_tip", "chin")
VIEWS = (View("front", 0, 0, "key_left"), View("yaw15", 15, 0, "key_left"), View("yaw-15", -15, 0, "key_left"))
# Of the demo head, RAS mm, marked by hand in the order of the template; the corners of the mouth as in the mean head.
FIVE = np.array([EYES[1], EYES[0], NOSE_TIP, [28.0, 124.0, -88.0], [-16.0, 124.0, -88.0]])


@cache
def demo_face() -> tuple[np.ndarray, np.ndarray]:
    """Pictures (3, 224, 224, 3) of the demo head in VIEWS, and its five points in them (3, 5, 2)."""
    frame = fit_similarity(_canonical(MARKED), np.vstack([EYES, NOSE_TIP, CHIN]), np.ones(4))
    volume = read_volume(demo_head())
    surface = face_surface(volume.values(), volume.affine)
    points = np.stack([project(FIVE, frame, view) for view in VIEWS])
    pictures = render_views(surface, frame, VIEWS, renderer="numpy")
    for array in (pictures, points):
        array.setflags(write=False)
    return pictures, points


def other_face(path: Path) -> np.ndarray:
    """Picture (224, 224, 3) of another head from the front, which lies about upright in its volume."""
    volume = read_volume(path)
    surface = face_surface(volume.values(), volume.affine)
    x0, x1, _, y1, _, z1 = surface.GetBounds()
    frame = np.eye(4)  # where the mean head's nose, sides and crown would be
    frame[:3, 3] = [(x0 + x1) / 2, y1 - 115, z1 - 92]
    return render_views(surface, frame, VIEWS[:1], renderer="numpy")[0]


def _canonical(names: tuple[str, ...]) -> np.ndarray:
    return canonical.FACE_POINTS[[canonical.FACE_LANDMARKS.index(name) for name in names]]
