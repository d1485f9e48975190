"""Portraits of a head: where the camera stands, and the picture, drawn without a display or a graphics driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.skin.raster import Camera, draw
from RefaceLib.skin.surface import face_surface, vertices

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

Landmarks = Mapping[str, Sequence[float]]

YAW = {"front": 0.0, "three_quarter": 40.0, "profile": 90.0}  # degrees towards the subject's left
SKIN_COLOUR = (0.74, 0.72, 0.70)
BACKGROUNDS = {"black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}
CAMERA_DISTANCE = 900.0  # mm; a portrait lens: no big noses
HEAD_HEIGHT = 235.0  # mm that fill the picture when an adult's head is framed by its bounding box
FACE_HEIGHT = 215.0  # mm, when the face is framed by its landmarks
EYE_MOUTH_LEAN = 14.0  # degrees
ADULT_LENGTH = 190.0  # mm, forehead to back of the head


def render_face(
    values: np.ndarray,
    affine: np.ndarray,
    *,
    view: str = "front",
    landmarks: Landmarks | None = None,
    size: int = 320,
    background: str = "black",
) -> np.ndarray:
    """Picture of the head in `values` ((I, J, K)), as (size, size, 3) uint8, rows from the top.

    `affine` (4, 4): IJK -> RAS mm. `view`: "front", "three_quarter" or "profile" (of the subject's left side).
    `landmarks` (RAS mm; left_eye, right_eye, left_mouth, right_mouth) turn the camera with the head and frame the face;
    without them the camera looks along the RAS axes at the head's bounding box. `background`: "black" or "white".
    Raises InputError where there is no head to draw.
    """
    return render_surface(
        face_surface(values, affine), view=view, landmarks=landmarks, size=size, background=background
    )


def render_surface(
    surface: vtkPolyData,
    *,
    view: str = "front",
    landmarks: Landmarks | None = None,
    framed: vtkPolyData | None = None,
    size: int = 320,
    background: str = "black",
) -> np.ndarray:
    """As render_face, for a surface of face_surface: several views then cost one surface.

    Without landmarks, `framed` is the surface whose bounding box counts, so that pictures of two heads can be compared.
    """
    if view not in YAW:
        raise InputError(f"There is no view {view!r}; the views are {', '.join(YAW)}.")
    points, normals, triangles = vertices(surface)
    target, forward, up, height = portrait_framing(points if framed is None else vertices(framed)[0], landmarks)
    angle = np.radians(YAW[view])
    left = np.cross(up, forward)  # the subject's left
    direction = np.cos(angle) * forward + np.sin(angle) * left
    # Seen from the side the head reaches far behind the face.
    target = target - np.sin(angle) * 0.14 * height * forward
    height *= 1.0 + 0.1 * np.sin(angle)
    camera = Camera(target, direction, up, height, CAMERA_DISTANCE)
    return draw(points, normals, triangles, camera, size, colour=SKIN_COLOUR, background=BACKGROUNDS[background])


def portrait_framing(
    points: np.ndarray, landmarks: Landmarks | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Where to look: target (RAS mm), forward and up (unit vectors), height of the frame (mm).

    `points` (N, 3) are the skin's vertices in RAS mm.
    """
    framing = _landmark_framing(landmarks) if landmarks else None
    if framing is not None:
        return framing
    top = np.percentile(points[:, 2], 99.95)
    crown = points[points[:, 2] > top - 100.0]  # above neck and shoulders
    front, back = np.percentile(crown[:, 1], (99.5, 0.5))
    scale = float(np.clip((front - back) / ADULT_LENGTH, 0.75, 1.15))
    middle = 0.5 * (crown[:, 0].min() + crown[:, 0].max())
    target = np.array([middle, front - 0.35 * (front - back), top - 118.0 * scale])
    return target, np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]), HEAD_HEIGHT * scale


def _landmark_framing(landmarks: Landmarks) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """Frame by the eyes and the mouth corners; None when they are missing or cannot be those of a face in RAS."""
    names = ("left_eye", "right_eye", "left_mouth", "right_mouth")
    if any(name not in landmarks for name in names):
        return None
    left_eye, right_eye, left_mouth, right_mouth = (np.asarray(landmarks[name], float) for name in names)
    eyes, mouth = 0.5 * (left_eye + right_eye), 0.5 * (left_mouth + right_mouth)
    across, down = right_eye - left_eye, float(np.linalg.norm(eyes - mouth))
    if not (30.0 < np.linalg.norm(across) < 100.0 and 30.0 < down < 120.0):
        return None
    right = across / np.linalg.norm(across)
    up = (eyes - mouth) - ((eyes - mouth) @ right) * right
    up /= np.linalg.norm(up)
    # From the eyeballs down to the mouth corners the line comes forward by about 14 degrees in a head held upright.
    lean = np.radians(EYE_MOUTH_LEAN)
    forward = np.cross(up, right)
    forward, up = np.cos(lean) * forward - np.sin(lean) * up, np.cos(lean) * up + np.sin(lean) * forward
    if min(right[0], forward[1], up[2]) < 0.5:  # 60 degrees away from RAS: wrong points rather than a turned head
        return None
    scale = float(np.clip(0.5 * (down / 62.0 + np.linalg.norm(across) / 62.5), 0.7, 1.2))
    target = eyes - 15.0 * scale * up - 30.0 * scale * forward
    return target, forward, up, FACE_HEIGHT * scale
