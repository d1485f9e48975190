"""Before and after in the views: two volumes over each other in the slices, both faces side by side in 3D.

Takes the scene as an argument, as mrml does; views are asked for by their MRML nodes, so that no Qt is needed. Of a
result of a result, "before" is what it was made of: the earlier result, not the scan at the beginning.
"""

from __future__ import annotations

import slicer

from RefaceLib.common.errors import HeadNotFoundError
from RefaceLib.window import cameras, masks
from RefaceLib.window.faces import WHICH, face_model, hide_faces
from RefaceLib.window.nodes import nodes_of_class

LAYOUT = slicer.vtkMRMLLayoutNode.SlicerLayoutDual3DView  # two 3D views above three slice views
VIEW_NAMES = ("1", "2")
_INTO_THE_FACE = 40.0  # mm forward of the middle of a portrait, to where all three slices cut the face
_MARGIN = 1.1  # of the frame of a portrait: a view is wider than high, and has a bar above


def show_before_after(
    scene: slicer.vtkMRMLScene, before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode
) -> list[slicer.vtkMRMLModelNode]:
    """Show `before` under `after` in the slice views, and the skin of each in a 3D view of its own; both models.

    Nothing else of ours stays in the 3D views, and the masks are hidden. The views are linked, with one camera in
    front of the face. HeadNotFoundError where there is no skin to draw: then the slices alone are shown.
    """
    compare_slices(scene, before, after, 1.0)
    masks.show_mask(scene, None)
    hide_faces(scene)
    layout = _layout(scene)
    if layout is not None:
        layout.SetViewArrangement(LAYOUT)
    try:
        models = [face_model(scene, which, volume) for which, volume in zip(WHICH, (before, after), strict=True)]
    except HeadNotFoundError:
        hide_faces(scene)  # one of them would be in all views
        raise
    for name, model in zip(VIEW_NAMES, models, strict=True):
        _show_in(scene.GetSingletonNode(name, "vtkMRMLViewNode"), model)
    look_at_face(scene, models[0])
    return models


def in_layout(scene: slicer.vtkMRMLScene) -> bool:
    """Whether the views are those of show_before_after, and no others that the user has chosen since."""
    layout = _layout(scene)
    return layout is not None and layout.GetViewArrangement() == LAYOUT


def _layout(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLLayoutNode | None:
    return scene.GetFirstNodeByClass("vtkMRMLLayoutNode")


def compare_slices(
    scene: slicer.vtkMRMLScene,
    before: slicer.vtkMRMLScalarVolumeNode,
    after: slicer.vtkMRMLScalarVolumeNode,
    share: float,
) -> None:
    """Show `after` over `before` in every slice view; `share` from 0 (before only) to 1 (after only)."""
    for composite in nodes_of_class(scene, "vtkMRMLSliceCompositeNode"):
        composite.SetBackgroundVolumeID(before.GetID())
        composite.SetForegroundVolumeID(after.GetID())
        composite.SetForegroundOpacity(share)


def look_at_face(scene: slicer.vtkMRMLScene, model: slicer.vtkMRMLModelNode) -> None:
    """Give all our 3D views one camera, in front of the face of a model, far enough for crown and chin."""
    from RefaceLib.skin.portrait import CAMERA_DISTANCE, portrait_framing
    from RefaceLib.skin.surface import vertices

    target, forward, up, height = portrait_framing(vertices(model.GetPolyData())[0])
    reach = 0.5 * _MARGIN * height
    # The parent transform may have turned the head: the camera goes with it.
    forward, up = cameras.directions(model, target, forward, up)
    (target,) = cameras.in_the_world(model, target)
    ours = (each for each in nodes_of_class(scene, "vtkMRMLCameraNode") if each.GetLayoutName() in VIEW_NAMES)
    for camera in ours:  # a camera has the name of its view as layout name
        cameras.stand_in_front(camera, target, forward, up, reach, distance=CAMERA_DISTANCE)


def centre_slices(scene: slicer.vtkMRMLScene, model: slicer.vtkMRMLModelNode) -> None:
    """Move every slice view into the face of a model: about the eyes in a coronal slice, the nose in an axial one."""
    from RefaceLib.skin.portrait import portrait_framing
    from RefaceLib.skin.surface import vertices

    target, forward, _up, _height = portrait_framing(vertices(model.GetPolyData())[0])
    (place,) = cameras.in_the_world(model, target + _INTO_THE_FACE * forward)
    slicer.vtkMRMLSliceNode.JumpAllSlices(scene, *place)


def _show_in(view: slicer.vtkMRMLViewNode | None, model: slicer.vtkMRMLModelNode) -> None:
    """Show a model in one 3D view alone (None: without a window), as a portrait: without box and labels of axes."""
    display = model.GetDisplayNode()
    display.RemoveAllViewNodeIDs()
    display.SetVisibility(True)
    if view is not None:
        display.AddViewNodeID(view.GetID())
        view.SetLinkedControl(True)
        view.SetBoxVisible(False)
        view.SetAxisLabelsVisible(False)
