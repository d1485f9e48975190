"""Before and after in the views: two volumes over each other in the slices, both faces side by side in 3D.

Takes the scene as an argument, as mrml does; views are asked for by their MRML nodes, so that no Qt is needed.
"""

from __future__ import annotations

import slicer

from RefaceLib.window import mrml

LAYOUT = slicer.vtkMRMLLayoutNode.SlicerLayoutDual3DView  # two 3D views above three slice views
ROLES = ("Reface.SurfaceBefore", "Reface.SurfaceAfter")  # from the result volume to its surfaces
VIEW_NAMES = ("1", "2")


def show_before_after(
    scene: slicer.vtkMRMLScene, before: slicer.vtkMRMLScalarVolumeNode, after: slicer.vtkMRMLScalarVolumeNode
) -> list[slicer.vtkMRMLModelNode]:
    """Show `before` under `after` in the slice views, and the skin of each in a 3D view of its own; both models.

    The views are linked: the head turns in both. Surfaces of an earlier call are used again; they are not saved with
    the scene. HeadNotFoundError where there is no skin to draw.
    """
    models = [_surface_model(scene, after, role, volume) for role, volume in zip(ROLES, (before, after), strict=True)]
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    if layout is not None:
        layout.SetViewArrangement(LAYOUT)
    views = [_view(scene, name) for name in VIEW_NAMES]
    for view, model in zip(views, models, strict=True):
        display = model.GetDisplayNode()
        display.RemoveAllViewNodeIDs()
        if view is not None:
            display.AddViewNodeID(view.GetID())
            view.SetLinkedControl(True)
    compare_slices(scene, before, after, 1.0)
    return models


def compare_slices(
    scene: slicer.vtkMRMLScene,
    before: slicer.vtkMRMLScalarVolumeNode,
    after: slicer.vtkMRMLScalarVolumeNode,
    share: float,
) -> None:
    """Show `after` over `before` in every slice view; `share` from 0 (before only) to 1 (after only)."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")
        composite.SetBackgroundVolumeID(before.GetID())
        composite.SetForegroundVolumeID(after.GetID())
        composite.SetForegroundOpacity(share)


def hide_surfaces(scene: slicer.vtkMRMLScene, after: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Remove the surfaces of show_before_after: a new face has another skin."""
    for role in ROLES:
        model = after.GetNodeReference(role)
        if model is not None:
            scene.RemoveNode(model)


def _surface_model(
    scene: slicer.vtkMRMLScene,
    owner: slicer.vtkMRMLScalarVolumeNode,
    role: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkMRMLModelNode:
    from RefaceLib.skin.portrait import SKIN_COLOUR
    from RefaceLib.skin.surface import face_surface

    existing = owner.GetNodeReference(role)
    if existing is not None:
        return existing
    volume = mrml.volume_from_node(volume_node)
    model = slicer.vtkMRMLModelNode()
    model.SetName(f"{volume_node.GetName()} face")
    model.SetSaveWithScene(False)  # the face before is what should not leave the computer, and both are made quickly
    model.SetAndObservePolyData(face_surface(volume.values(), volume.affine))
    model = scene.AddNode(model)
    model.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    model.CreateDefaultDisplayNodes()
    display = model.GetDisplayNode()
    display.SetColor(*SKIN_COLOUR)
    display.SetSaveWithScene(False)
    owner.SetNodeReferenceID(role, model.GetID())
    return model


def _view(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLViewNode | None:
    """The 3D view of that name in the layout; None where there is no such view (without a window)."""
    return scene.GetSingletonNode(name, "vtkMRMLViewNode")
