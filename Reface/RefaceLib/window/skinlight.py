"""A light for skin in the 3D views: from above and beside, as a photographer has it.

The views' own light sits at the camera and makes a face flat. MRML knows no lights, so this asks for the renderers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vtk

KEY_TO_FILL = 3.0  # the light from above is so much brighter than the one that softens its shadows


def light_views(layout_manager: Any, names: Sequence[str]) -> None:
    """Light the 3D views of these names; again is the same as once. None as layout manager: without a window."""
    for index in range(layout_manager.threeDViewCount if layout_manager is not None else 0):
        view = layout_manager.threeDWidget(index).threeDView()
        if view.mrmlViewNode() is not None and view.mrmlViewNode().GetLayoutName() in names:
            light(view.renderWindow().GetRenderers().GetFirstRenderer())
            view.scheduleRender()


def light(renderer: vtk.vtkRenderer) -> None:
    """Replace the lights of a renderer by a key light from above, a fill light and two from behind."""
    kit = vtk.vtkLightKit()
    kit.SetKeyToFillRatio(KEY_TO_FILL)
    renderer.RemoveAllLights()
    kit.AddLightsToRenderer(renderer)
