"""The two skins that the 3D views show, before and after: models that are made when they are looked at.

There are never more than two of ours in a scene, so that no head lies over another. They are not saved with the scene:
the face before is what should not leave the computer, and both are made quickly.
"""

from __future__ import annotations

import slicer
import vtk

from RefaceLib.window import mrml
from RefaceLib.window.nodes import nodes_of_class

WHICH = ("before", "after")
_WHICH = "Reface.Face"  # the attribute that marks a model of ours, and says which of the two it is
_MADE_OF = "Reface.FaceMadeOf"  # what it was made of: the skin is made anew when that has changed
_VOLUME_ROLE = "Reface.FaceOf"  # from the model to its volume
_OURS = ("Reface.", "ReidentRisk.")  # attributes of what either module shows in the same 3D views


def face_model(
    scene: slicer.vtkMRMLScene, which: str, volume_node: slicer.vtkMRMLScalarVolumeNode
) -> slicer.vtkMRMLModelNode:
    """The model of WHICH, with the skin of a volume as it is now, in the light for skin.

    HeadNotFoundError where there is no skin to draw.
    """
    from RefaceLib.skin.surface import face_surface

    model = _face(scene, which)
    made_of = _made_of(volume_node)
    if model is None or model.GetAttribute(_MADE_OF) != made_of:
        volume = mrml.volume_from_node(volume_node)
        surface = face_surface(volume.values(), volume.affine)
        model = model or _new_model(scene, which)
        model.SetAndObservePolyData(surface)
        model.SetAttribute(_MADE_OF, made_of)
    model.SetName(f"{volume_node.GetName()} face")
    model.SetNodeReferenceID(_VOLUME_ROLE, volume_node.GetID())
    model.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    return model


def hide_faces(scene: slicer.vtkMRMLScene) -> None:
    """Hide every face and landmark that Reface and ReidentRisk have put into the 3D views; models of others stay."""
    for kind in ("vtkMRMLModelNode", "vtkMRMLMarkupsNode"):
        for node in nodes_of_class(scene, kind):
            if any(name.startswith(_OURS) for name in node.GetAttributeNames()):
                node.SetDisplayVisibility(False)


def shown_volumes(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLScalarVolumeNode]:
    """The volumes whose skins are shown, that before first."""
    models = filter(None, (_face(scene, which) for which in WHICH))
    return [model.GetNodeReference(_VOLUME_ROLE) for model in models if model.GetDisplayVisibility()]


def remove_faces(scene: slicer.vtkMRMLScene, volume_node: slicer.vtkMRMLScalarVolumeNode | None = None) -> None:
    """Remove the skin of a volume that has another face now, or (None) those of volumes that have left the scene."""
    for which in WHICH:
        model = _face(scene, which)
        if model is not None and model.GetNodeReference(_VOLUME_ROLE) is volume_node:
            scene.RemoveNode(model)


def _face(scene: slicer.vtkMRMLScene, which: str) -> slicer.vtkMRMLModelNode | None:
    models = nodes_of_class(scene, "vtkMRMLModelNode")
    return next((model for model in models if model.GetAttribute(_WHICH) == which), None)


def _new_model(scene: slicer.vtkMRMLScene, which: str) -> slicer.vtkMRMLModelNode:
    """A model in the light for skin: matt with a broad, weak gloss, and Phong's shading, which shows no triangles."""
    from RefaceLib.skin.portrait import SKIN_COLOUR

    model = slicer.vtkMRMLModelNode()
    model.SetSaveWithScene(False)
    model.SetAttribute(_WHICH, which)
    model = scene.AddNode(model)
    model.CreateDefaultDisplayNodes()
    display = model.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetColor(*SKIN_COLOUR)
    display.SetInterpolation(slicer.vtkMRMLDisplayNode.PhongInterpolation)
    display.SetAmbient(0.05)
    display.SetDiffuse(0.9)
    display.SetSpecular(0.15)
    display.SetPower(8.0)
    return model


def _made_of(volume_node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """The volume, the state of its image (VTK gives every change another number) and where its voxels lie."""
    mrml.check_input(volume_node)
    ijk_to_ras = vtk.vtkMatrix4x4()
    volume_node.GetIJKToRASMatrix(ijk_to_ras)
    return f"{volume_node.GetID()} {volume_node.GetImageData().GetMTime()} {ijk_to_ras.GetData()}"
