"""What the tests of MRML nodes share."""

from __future__ import annotations

from pathlib import Path

import slicer
import vtk

from RefaceLib.volume.io import Volume


def volume_node(scene: slicer.vtkMRMLScene, volume: Volume, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """A node with the voxels and the affine of a volume."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    native = volume.stored.astype(volume.stored.dtype.newbyteorder("="))
    slicer.util.updateVolumeFromArray(node, native.transpose(2, 1, 0))
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(volume.affine.ravel())
    node.SetIJKToRASMatrix(matrix)
    return node


def add_views(scene: slicer.vtkMRMLScene) -> None:
    """What the application has of views: a layout, two slice views, and two 3D views with a camera each."""
    layout = slicer.vtkMRMLLayoutNode()
    layout.AddLayoutDescription(slicer.vtkMRMLLayoutNode.SlicerLayoutDual3DView, "<layout/>")
    scene.AddNode(layout)
    for name in ("Red", "Green"):
        for kind in (slicer.vtkMRMLSliceCompositeNode, slicer.vtkMRMLSliceNode):
            node = kind()
            node.SetLayoutName(name)
            scene.AddNode(node)
    for name in ("1", "2"):
        for kind in (slicer.vtkMRMLViewNode, slicer.vtkMRMLCameraNode):
            node = kind()
            node.SetSingletonTag(name)
            node.SetLayoutName(name)
            scene.AddNode(node)


def saved_and_read(scene: slicer.vtkMRMLScene, folder: Path) -> slicer.vtkMRMLScene:
    """The scene as it comes back from its file, which is written into the folder."""
    path = str(folder / "scene.mrml")
    scene.SetURL(path)
    assert scene.Commit()
    again = slicer.vtkMRMLScene()
    again.SetURL(path)
    assert again.Connect()
    return again
