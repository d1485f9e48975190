"""Pictures of a head's skin, in the pose of the head: VTK draws them off screen, numpy where VTK cannot.

The camera looks at the middle of the face from a portrait lens's distance; its place is given by the head's frame
(landmarks.Pose), so that a head looks the same in whatever position it was scanned. Both renderers follow one recipe
(camera, matte grey, lights of views.LIGHTS, twice the size averaged) and agree to about a grey level.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.skin import raster
from RefaceLib.skin.raster import SUPERSAMPLING, Camera
from RefaceLib.skin.surface import vertices
from RefaceLib.volume.geometry import apply_affine
from ReidentRiskLib.attack import opengl
from ReidentRiskLib.attack.opengl import BACKGROUND, COLOUR, DEFAULT_WINDOW
from ReidentRiskLib.attack.views import AMBIENT, LIGHTS, Rig, View

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

SIZE = 224  # pixels
TARGET = (0.0, 50.0, -40.0)  # canonical mm: behind the bridge of the nose
HEIGHT = 260.0  # canonical mm at the target that fill the picture: crown to throat
DISTANCE = 900.0  # canonical mm; a portrait lens: no big noses

Scene = tuple[Camera, list[Rig]]  # what is drawn at once: one camera, up to three lights

_PROBE = "import sys; from ReidentRiskLib.attack.opengl import main; sys.exit(main())"
_PROBE_SECONDS = 60


def camera(frame: np.ndarray, view: View) -> Camera:
    """Where ``view`` looks from, in RAS mm; ``frame`` (4, 4) is the similarity canonical -> RAS mm of the head."""
    scale = float(np.cbrt(np.linalg.det(frame[:3, :3])))
    yaw, pitch = np.radians(view.yaw), np.radians(view.pitch)
    level = np.array([-np.sin(yaw), np.cos(yaw), 0.0])  # -x is the subject's left
    direction = np.cos(pitch) * level + [0.0, 0.0, np.sin(pitch)]
    up = [0.0, 0.0, np.cos(pitch)] - np.sin(pitch) * level
    turn = frame[:3, :3] / scale
    return Camera(apply_affine(frame, np.array(TARGET)), turn @ direction, turn @ up, HEIGHT * scale, DISTANCE * scale)


def project(points: np.ndarray, frame: np.ndarray, view: View, size: int = SIZE) -> np.ndarray:
    """Where ``points`` (N, 3) RAS mm lie in the picture: (N, 2) pixels, x to the right and y down.

    The middle of the first pixel is (0, 0), as in OpenCV and in the templates of face recognisers.
    """
    look = camera(frame, view)
    seen = (np.asarray(points, float) - look.target) @ look.axes().T
    scale = size / look.height * look.distance / (look.distance - seen[:, 2])
    return 0.5 * (size - 1) + np.stack([seen[:, 0], -seen[:, 1]], axis=1) * scale[:, None]


def render_views(
    surface: vtkPolyData,
    frame: np.ndarray,
    views: Sequence[View],
    size: int = SIZE,
    *,
    renderer: str | None = None,
    each: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Pictures (V, size, size, 3) uint8, rows from the top, of a surface in RAS mm with point normals.

    ``frame`` (4, 4) is the similarity canonical -> RAS mm of the head; ``renderer`` (None: renderer_name()) is
    'numpy' or what VTK draws with; ``each`` is called with the number of pictures that are done, and may raise. The
    same surface and renderer give the same bits.
    """
    renderer = renderer or renderer_name()
    shots = _shots(views)
    scenes = [(camera(frame, views[same[0]]), [LIGHTS[views[i].light] for i in same]) for same in shots]
    drawn = _draw_numpy(surface, scenes, size) if renderer == "numpy" else _draw_vtk(surface, scenes, size, renderer)
    pictures = np.empty((len(views), size, size, 3), np.uint8)
    with closing(drawn):  # the window, whatever happens
        done = 0
        for same in shots:
            if each:
                each(done)
            pictures[same] = np.moveaxis(next(drawn)[..., : len(same)], -1, 0)[..., None]
            done += len(same)
    return pictures


def _shots(views: Sequence[View]) -> list[list[int]]:
    """Numbers of views that differ in nothing but the light, three at a time.

    The skin is grey, so that one drawing shows it in three lights: by a red one, a green one and a blue one.
    """
    places: dict[tuple[float, float], list[int]] = {}
    for i, view in enumerate(views):
        places.setdefault((view.yaw, view.pitch), []).append(i)
    return [same[start : start + 3] for same in places.values() for start in range(0, len(same), 3)]


@cache
def renderer_name() -> str:
    """What this process draws with: a class of VTK's render windows, or 'numpy' where VTK cannot draw.

    VTK ends the whole process where OpenGL is missing, so it is tried in another one, once. Inside 3D Slicer, whose
    window is proof enough, nothing is tried.
    """
    if _has_slicer_window():
        return DEFAULT_WINDOW
    return next((name for name in _candidates() if _draws_in_child(name)), "numpy")


def _has_slicer_window() -> bool:
    slicer = sys.modules.get("slicer")
    return slicer is not None and getattr(slicer, "app", None) is not None and slicer.util.mainWindow() is not None


def _candidates() -> list[str]:
    """Render windows worth a try. On Linux VTK's own choice needs a display, unless the user made it."""
    if not sys.platform.startswith("linux"):
        return [DEFAULT_WINDOW]
    chosen = any(os.environ.get(name) for name in ("DISPLAY", "VTK_DEFAULT_OPENGL_WINDOW"))
    return [DEFAULT_WINDOW] * chosen + ["vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow"]


def _draws_in_child(name: str) -> bool:
    """Whether VTK draws into the window ``name`` (a class of VTK), found out in a process that may crash."""
    if not sys.executable:
        return False
    path = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, name],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _draw_numpy(surface: vtkPolyData, scenes: list[Scene], size: int) -> Generator[np.ndarray, None, None]:
    """Pictures (size, size, 3) uint8: each channel shows the scene in one of its lights."""
    points, normals, triangles = vertices(surface)
    for look, rigs in scenes:
        three = [*rigs, *rigs[-1:] * (3 - len(rigs))]
        yield raster.draw(
            points, normals, triangles, look, size, rigs=three, colour=COLOUR, background=BACKGROUND, ambient=AMBIENT
        )


def _draw_vtk(surface: vtkPolyData, scenes: list[Scene], size: int, name: str) -> Generator[np.ndarray, None, None]:
    """As _draw_numpy."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    fine = size * SUPERSAMPLING
    stands = [(_stand(look), rigs) for look, rigs in scenes]
    with closing(opengl.draw(name, fine, surface, stands, AMBIENT)) as drawn:
        for pixels in drawn:
            yield _averaged(vtk_to_numpy(pixels).reshape(fine, fine, 3)[::-1], size)


def _stand(look: Camera) -> opengl.Stand:
    position = look.target + look.distance * look.direction
    angle = float(np.degrees(2 * np.arctan(0.5 * look.height / look.distance)))
    return opengl.Stand(position.tolist(), look.target.tolist(), look.up.tolist(), angle, look.distance)


def _averaged(pixels: np.ndarray, size: int) -> np.ndarray:
    """The picture (uint8) with squares of SUPERSAMPLING pixels averaged into one, rounded to nearest."""
    rows = pixels.reshape(size, SUPERSAMPLING, -1).sum(axis=1, dtype=np.uint16)
    squares = rows.reshape(size, size, SUPERSAMPLING, 3).sum(axis=2, dtype=np.uint16)
    return (squares + SUPERSAMPLING**2 // 2) // SUPERSAMPLING**2
