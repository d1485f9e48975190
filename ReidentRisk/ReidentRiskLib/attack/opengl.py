"""A matte surface drawn by VTK off screen, with whatever OpenGL there is.

No other package is imported, and VTK inside the functions. A process that only tries a window is done in less than half
the time that way.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from ReidentRiskLib.attack.views import AMBIENT, LIGHTS, Rig

if TYPE_CHECKING:
    from vtkmodules.vtkCommonCore import vtkUnsignedCharArray
    from vtkmodules.vtkCommonDataModel import vtkPolyData
    from vtkmodules.vtkRenderingCore import vtkActor, vtkCamera, vtkLight, vtkRenderer, vtkRenderWindow

Triple = tuple[float, float, float]

DEFAULT_WINDOW = "vtkRenderWindow"  # VTK's own choice for this machine
COLOUR: Triple = (0.8, 0.8, 0.8)
BACKGROUND: Triple = (0.0, 0.0, 0.0)
_COLOURS = 3  # of lights: red, green and blue


class Stand(NamedTuple):
    """Where a camera stands and looks: mm, ``up`` a unit vector, ``angle`` the degrees from top to bottom."""

    position: Sequence[float]
    target: Sequence[float]
    up: Sequence[float]
    angle: float
    distance: float


def draw(
    name: str, side: int, surface: vtkPolyData, scenes: Sequence[tuple[Stand, list[Rig]]], ambient: float = AMBIENT
) -> Generator[vtkUnsignedCharArray, None, None]:
    """The pixels (RGB, rows from below) of each scene, ``side`` wide and high, drawn in the window ``name``.

    A scene has up to three rigs of lights, one a colour. One window and one actor serve all; only camera and lights
    move. The array is a new one each time.
    """
    window, renderer = _open_window(name, side)
    try:
        lamps = max(len(rig) for _, rigs in scenes for rig in rigs)
        renderer.AddActor(_matte_actor(surface, lamps, ambient))
        lights = _coloured_lights(renderer, lamps)
        for stand, rigs in scenes:
            look(renderer.GetActiveCamera(), stand)
            _shine(lights, rigs)
            window.Render()
            yield _pixels(window, side)
    finally:
        window.Finalize()


def probe(name: str) -> bool:
    """Draw a triangle into the window ``name`` and see whether it shows; ends the process where OpenGL is missing."""
    stand = Stand((0.0, 900.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0), 16.0, 900.0)
    side = 64
    (pixels,) = draw(name, side, _triangle(), [(stand, [LIGHTS["front"]] * _COLOURS)])
    middle = 3 * (side // 2 * side + side // 2)
    shown = min(pixels.GetValue(middle + colour) for colour in range(3))
    return shown > 100 and max(pixels.GetValue(colour) for colour in range(3)) == 0


def main() -> int:
    """0 where the window of the name in the first argument draws: `python -c` of this, in a process that may crash."""
    sys.modules["numpy"] = None  # type: ignore[assignment]  # VTK would import it, and does without it
    return int(not probe(sys.argv[1]))


def _triangle() -> vtkPolyData:
    from vtkmodules.vtkCommonCore import vtkFloatArray, vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    points, normals, triangles, surface = vtkPoints(), vtkFloatArray(), vtkCellArray(), vtkPolyData()
    normals.SetNumberOfComponents(3)
    for corner in ((-50.0, 0.0, -50.0), (0.0, 0.0, 60.0), (50.0, 0.0, -50.0)):
        points.InsertNextPoint(corner)
        normals.InsertNextTuple3(0.0, 1.0, 0.0)
    triangles.InsertNextCell(3, (0, 1, 2))
    surface.SetPoints(points)
    surface.SetPolys(triangles)
    surface.GetPointData().SetNormals(normals)
    return surface


def _open_window(name: str, side: int) -> tuple[vtkRenderWindow, vtkRenderer]:
    from vtkmodules import vtkRenderingCore, vtkRenderingOpenGL2

    window = getattr(vtkRenderingCore if name == DEFAULT_WINDOW else vtkRenderingOpenGL2, name)()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)  # drivers differ in it; pictures are drawn larger and averaged instead
    window.SetSize(side, side)
    renderer = vtkRenderingCore.vtkRenderer()
    renderer.SetBackground(*BACKGROUND)
    renderer.AutomaticLightCreationOff()
    window.AddRenderer(renderer)
    return window, renderer


def _matte_actor(surface: vtkPolyData, lamps: int, ambient: float) -> vtkActor:
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    mapper = vtkPolyDataMapper()
    mapper.SetInputData(surface)
    mapper.ScalarVisibilityOff()
    actor = vtkActor()
    actor.SetMapper(mapper)
    matte = actor.GetProperty()
    matte.SetColor(*COLOUR)
    matte.SetAmbient(ambient)
    matte.SetDiffuse(1.0)
    matte.SetSpecular(0.0)
    matte.BackfaceCullingOn()
    actor.GetShaderProperty().AddFragmentShaderReplacement("//VTK::Light::Impl", True, _matte_shader(lamps), False)
    return actor


def _matte_shader(lamps: int) -> str:
    """VTK's own shader without the highlights, which a matte surface has not, and without the light's other colours.

    The same bits in less time.
    """
    one = "diffuse.{1} += max(0.0, dot(normalVCVSOutput, -lightDirectionVC{0})) * lightColor{0}.{1};\n"
    every = "".join(one.format(number, "rgb"[number // lamps]) for number in range(_COLOURS * lamps))
    return f"vec3 diffuse = vec3(0.0);\n{every}gl_FragData[0] = vec4(ambientColor + diffuse * diffuseColor, opacity);\n"


def _coloured_lights(renderer: vtkRenderer, lamps: int) -> list[list[vtkLight]]:
    """So many red, green and blue lights that go with the camera."""
    from vtkmodules.vtkRenderingCore import vtkLight

    lights = [[vtkLight() for _ in range(lamps)] for _ in range(_COLOURS)]
    for number, same in enumerate(lights):
        for light in same:
            light.SetLightTypeToCameraLight()
            light.SetColor(*(float(number == channel) for channel in range(_COLOURS)))
            renderer.AddLight(light)
    return lights


def _shine(lights: list[list[vtkLight]], rigs: list[Rig]) -> None:
    """Put up to three rigs into the three colours; all other lights go out."""
    for same, rig in zip_longest(lights, rigs, fillvalue=()):
        dark = [((0.0, 0.0, 1.0), 0.0)] * (len(same) - len(rig))
        for light, (direction, strength) in zip(same, [*rig, *dark], strict=True):
            light.SetPosition(*direction)  # a directional light: from its position towards the focal point, the origin
            light.SetIntensity(strength)


def look(camera: vtkCamera, stand: Stand) -> None:
    """Put VTK's camera where ``stand`` says."""
    camera.SetPosition(*stand.position)
    camera.SetFocalPoint(*stand.target)
    camera.SetViewUp(*stand.up)
    camera.SetViewAngle(stand.angle)
    camera.SetClippingRange(0.5 * stand.distance, 2.0 * stand.distance)


def _pixels(window: vtkRenderWindow, side: int) -> vtkUnsignedCharArray:
    from vtkmodules.vtkCommonCore import vtkUnsignedCharArray

    pixels = vtkUnsignedCharArray()
    window.GetPixelData(0, 0, side - 1, side - 1, 0, pixels, 0)
    return pixels
