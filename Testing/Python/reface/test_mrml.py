"""RefaceLib.window.mrml on real MRML nodes, without the application."""

from __future__ import annotations

import json

import numpy as np
import pytest

from helpers.commandline import run_python
from RefaceLib import __version__
from RefaceLib.common.errors import InputError, OutputError

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
vtk = pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from vtk.util.numpy_support import vtk_to_numpy  # noqa: E402

from helpers.scenes import saved_and_read  # noqa: E402
from RefaceLib.window import mrml, seal  # noqa: E402  (needs slicer)

SHAPE = (7, 6, 5)
RAS = np.diag([1.0, 1.0, 1.0, 1.0])
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
OBLIQUE = np.array(
    [[0.64, -0.384, 1.6, -12.3], [0.48, 0.512, -1.2, 45.7], [0.0, 0.48, 1.5, 3.21], [0.0, 0.0, 0.0, 1.0]]
)
GEOMETRIES = {"ras": RAS, "lps": LPS, "oblique": OBLIQUE, "left-handed": np.diag([-0.7, 1.1, 2.5, 1.0])}
TYPES = ("uint8", "int8", "int16", "uint16", "int32", "float32", "float64")


def vtk_matrix(matrix: np.ndarray) -> vtk.vtkMatrix4x4:
    result = vtk.vtkMatrix4x4()
    result.DeepCopy(matrix.ravel())
    return result


def ijk_to_ras(node) -> np.ndarray:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.array([[matrix.GetElement(i, j) for j in range(4)] for i in range(4)])


def voxels(node) -> np.ndarray:
    """(I, J, K), as Slicer's own function reads them"""
    return slicer.util.arrayFromVolume(node).transpose(2, 1, 0)


def add_volume(scene, name="Head", dtype="int16", affine=RAS, seed=0):
    """A volume node of random voxels with a window that nothing would choose by itself."""
    stored = np.random.default_rng(seed).integers(0, 100, SHAPE).astype(dtype)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, stored.transpose(2, 1, 0))
    node.SetIJKToRASMatrix(vtk_matrix(affine))
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAutoWindowLevel(False)
    node.GetDisplayNode().SetWindowLevel(77.0, 33.5)
    return node


def add_transform(scene, node):
    matrix = np.array([[0.0, -1.0, 0.0, 50.0], [1.0, 0.0, 0.0, -20.0], [0.0, 0.0, 1.0, 5.0], [0.0, 0.0, 0.0, 1.0]])
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    transform.SetMatrixTransformToParent(vtk_matrix(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def place_in_study(scene, node):
    """Patient and study items as the DICOM module makes them, with the node in the study."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Doe^Jane")
    study = hierarchy.CreateStudyItem(patient, "2001-01-01")
    item = hierarchy.CreateItem(study, node)
    hierarchy.SetItemAttribute(patient, "DICOM.PatientName", "Doe^Jane")
    hierarchy.SetItemUID(study, "DICOM", "1.2.3")
    hierarchy.SetItemUID(item, "DICOM", "1.2.3.4")
    hierarchy.SetItemAttribute(item, "DICOM.SeriesModality", "MR")
    return hierarchy, patient, study, item


@pytest.fixture
def scene():
    return slicer.vtkMRMLScene()


REPORT = {
    "input": "Head",
    "mode": "reface",
    "seed": 12,
    "ears": True,
    "model": {"name": "reface-2mm", "version": "1.0", "sha256": "ab" * 32},
    "voxels_changed": 1234,
    "brain_voxels_changed": 0,
    "mask_ml": 456.7,
    "seconds": {"read": 0.1, "total": 7.25},
    "warnings": ["One thing.", 'Another "thing" ü.'],
}


@pytest.mark.parametrize("affine", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_volume_is_read_in_ijk_order_with_the_geometry_of_its_node(scene, affine):
    node = add_volume(scene, affine=affine)
    volume = mrml.volume_from_node(node)
    assert volume.stored.shape == SHAPE
    assert np.array_equal(volume.stored, voxels(node))
    np.testing.assert_allclose(volume.affine, affine, atol=1e-12)
    point = np.array([3.0, 1.0, 4.0, 1.0])
    np.testing.assert_allclose(volume.affine @ point, affine @ point, atol=1e-9)


def test_a_volume_read_is_a_copy_of_the_node(scene):
    node = add_volume(scene)
    before = voxels(node).copy()
    mrml.volume_from_node(node).stored[...] = 0
    assert np.array_equal(voxels(node), before)


def test_a_parent_transform_is_left_out_of_the_geometry_that_is_read(scene):
    node = add_volume(scene, affine=OBLIQUE)
    add_transform(scene, node)
    np.testing.assert_allclose(mrml.volume_from_node(node).affine, OBLIQUE, atol=1e-12)


def test_an_image_whose_extent_does_not_begin_at_zero_is_read_where_it_lies(scene):
    node = add_volume(scene, affine=OBLIQUE)
    node.GetImageData().SetExtent(2, 8, -1, 4, 10, 14)
    expected = OBLIQUE @ np.array([2.0, -1.0, 10.0, 1.0])
    volume = mrml.volume_from_node(node)
    np.testing.assert_allclose(volume.affine[:, 3], expected, atol=1e-9)
    result = mrml.add_result_volume(scene, node, volume.stored, "Result")
    assert result.GetImageData().GetExtent() == node.GetImageData().GetExtent()


@pytest.mark.parametrize("dtype", TYPES)
def test_a_result_has_the_scalar_type_and_the_very_voxels_that_were_given(scene, dtype):
    node = add_volume(scene, dtype=dtype)
    stored = mrml.volume_from_node(node).stored
    assert stored.dtype == np.dtype(dtype)
    stored[2:4] = 1
    result = mrml.add_result_volume(scene, node, stored, "Result")
    assert result.GetImageData().GetScalarType() == node.GetImageData().GetScalarType()
    assert np.array_equal(voxels(result), stored)


@pytest.mark.parametrize("scalar_type", [vtk.VTK_LONG, vtk.VTK_LONG_LONG, vtk.VTK_ID_TYPE])
def test_a_result_has_the_scalar_type_even_where_vtk_has_several_for_one_of_numpy(scene, scalar_type):
    node = add_volume(scene)
    node.GetImageData().AllocateScalars(scalar_type, 1)
    vtk_to_numpy(node.GetImageData().GetPointData().GetScalars())[:] = 7
    result = mrml.add_result_volume(scene, node, mrml.volume_from_node(node).stored, "Result")
    assert result.GetImageData().GetScalarType() == node.GetImageData().GetScalarType()


@pytest.mark.parametrize("affine", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_result_has_the_geometry_of_the_input_to_the_last_bit(scene, affine):
    node = add_volume(scene, affine=affine)
    result = mrml.add_result_volume(scene, node, mrml.volume_from_node(node).stored, "Result")
    assert np.array_equal(ijk_to_ras(result), ijk_to_ras(node))


def test_a_result_goes_with_the_parent_transform_of_the_input(scene):
    node = add_volume(scene)
    transform = add_transform(scene, node)
    result = mrml.add_result_volume(scene, node, mrml.volume_from_node(node).stored, "Result")
    assert result.GetParentTransformNode() is transform


@pytest.mark.parametrize("automatic", [False, True])
def test_a_result_is_shown_with_the_window_level_threshold_and_colours_of_the_input(scene, automatic):
    node = add_volume(scene)
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(automatic)
    display.SetThreshold(3, 60)
    display.SetApplyThreshold(True)
    display.SetInterpolate(False)
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeRed")
    window, level = display.GetWindow(), display.GetLevel()
    result = mrml.add_result_volume(scene, node, np.full(SHAPE, 3, dtype=np.int16), "Result")
    shown = result.GetDisplayNode()
    assert shown is not display
    assert (shown.GetWindow(), shown.GetLevel(), shown.GetAutoWindowLevel()) == (window, level, 0)
    assert (shown.GetLowerThreshold(), shown.GetUpperThreshold(), shown.GetApplyThreshold()) == (3, 60, 1)
    assert shown.GetColorNodeID() == "vtkMRMLColorTableNodeRed"
    assert not shown.GetInterpolate()
    assert display.GetAutoWindowLevel() == automatic


def test_a_result_of_a_volume_that_was_never_shown_gets_a_display_of_its_own(scene):
    node = add_volume(scene)
    scene.RemoveNode(node.GetDisplayNode())
    result = mrml.add_result_volume(scene, node, mrml.volume_from_node(node).stored, "Result")
    assert result.GetDisplayNode() is not None


def test_a_result_knows_nothing_of_the_files_and_the_patient_of_the_input(scene):
    node = add_volume(scene)
    hierarchy, *_ = place_in_study(scene, node)
    for name in ("DICOM.instanceUIDs", "DICOM.PatientName", "DICOM_0010_0010_PatientName", "PatientName"):
        node.SetAttribute(name, "secret")
    node.SetDescription("secret")
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName("secret.nrrd")
    node.SetAndObserveStorageNodeID(storage.GetID())
    result = mrml.add_result_volume(scene, node, mrml.volume_from_node(node).stored, "Result")
    assert result.GetAttributeNames() == ()
    assert not result.GetDescription()
    assert result.GetStorageNode() is None
    item = hierarchy.GetItemByDataNode(result)
    assert hierarchy.GetItemUIDNames(item) == ()
    assert not [name for name in hierarchy.GetItemAttributeNames(item) if name.startswith("DICOM")]
    assert node.GetAttribute("DICOM.instanceUIDs") == "secret"


def test_an_existing_output_becomes_like_a_new_result_and_keeps_its_name(scene):
    node = add_volume(scene, affine=OBLIQUE)
    transform = add_transform(scene, node)
    output = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    output.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    output.SetAttribute("Reface.Seed", "1")
    stored = mrml.volume_from_node(node).stored + 1
    mrml.update_result_volume(scene, node, output, stored)
    assert output.GetName() == "Mine"
    assert np.array_equal(voxels(output), stored)
    assert np.array_equal(ijk_to_ras(output), ijk_to_ras(node))
    assert output.GetParentTransformNode() is transform
    assert (output.GetDisplayNode().GetWindow(), output.GetDisplayNode().GetLevel()) == (77.0, 33.5)
    assert output.GetAttributeNames() == ()


def test_an_original_that_is_overwritten_keeps_nothing_but_its_name(scene):
    """What a saved scene would tell of it, and the file on the disk over which the scene would be saved."""
    node, original = add_volume(scene), add_volume(scene, "Mine")
    bare = add_volume(scene, "Bare")
    hierarchy, _patient, study, item = place_in_study(scene, original)
    hierarchy.SetItemAttribute(item, "Site.Ward", "secret")
    drawn = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Drawn")
    below = hierarchy.CreateItem(item, drawn)
    for name in ("DICOM.instanceUIDs", "PatientName", "ITK_original_file"):
        original.SetAttribute(name, "secret")
    original.SetDescription("secret")
    storages = [scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode") for _ in range(2)]
    for index, storage in enumerate(storages):
        storage.SetFileName("/hospital/secret.nrrd")
        storage.SetURI("file:///hospital/secret.nrrd")
        storage.AddFileName("/hospital/secret_2.nrrd")
        storage.SetAttribute("Tag", "secret")
        original.SetAndObserveNthStorageNodeID(index, storage.GetID())
    bare.SetAndObserveStorageNodeID(storages[1].GetID())
    original.SetNodeReferenceID("Registration.Moving", bare.GetID())
    colours = scene.AddNewNodeByClass("vtkMRMLColorTableNode", "secret")
    display = original.GetDisplayNode()
    display.SetAndObserveColorNodeID(colours.GetID())
    display.SetAttribute("Preset", "secret")
    added, existing = (
        mrml.add_result_volume(scene, node, mrml.volume_from_node(node).stored, "Result"),
        original,
    )
    mrml.update_result_volume(scene, node, original, mrml.volume_from_node(node).stored)
    assert existing.GetName() == "Mine" and existing.GetAttributeNames() == () == added.GetAttributeNames()
    assert existing.GetStorageNode() is None and existing.GetNumberOfStorageNodes() == 0
    assert not existing.GetDescription()
    roles = [sorted(roles_of(each)) for each in (added, existing)]
    assert roles[0] == roles[1] == ["display"]
    assert existing.GetDisplayNode() is not display and existing.GetDisplayNode().GetAttributeNames() == ()
    assert existing.GetDisplayNode().GetColorNodeID() == node.GetDisplayNode().GetColorNodeID()
    assert not scene.IsNodePresent(display) and not scene.IsNodePresent(storages[0])
    assert bare.GetStorageNode() is storages[1]  # another volume has it too
    item = hierarchy.GetItemByDataNode(existing)
    assert hierarchy.GetItemAttributeNames(item) == () == hierarchy.GetItemUIDNames(item)
    assert hierarchy.GetItemParent(item) == hierarchy.GetItemParent(hierarchy.GetItemByDataNode(added))
    assert hierarchy.GetItemParent(below) == study


def roles_of(node):
    """The roles of the nodes to which a node refers."""
    roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
    return [role for role in roles if node.GetNumberOfNodeReferences(role)]


def test_a_result_takes_over_what_its_numbers_mean_and_no_more_of_its_display(scene):
    node = add_volume(scene)
    unit = slicer.vtkCodedEntry()
    unit.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(unit)
    node.GetDisplayNode().SetAttribute("Preset", "secret")
    node.GetDisplayNode().SetDescription("secret")
    output = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    mrml.update_result_volume(scene, node, output, mrml.volume_from_node(node).stored)
    for result in (output, mrml.add_result_volume(scene, node, mrml.volume_from_node(node).stored, "Result")):
        assert result.GetVoxelValueUnits().GetCodeMeaning() == "Hounsfield unit"
        assert result.GetDisplayNode().GetAttributeNames() == () and not result.GetDisplayNode().GetDescription()


def test_an_existing_output_of_another_size_and_type_is_made_over(scene):
    node = add_volume(scene, dtype="uint8")
    output = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Mine")
    slicer.util.updateVolumeFromArray(output, np.zeros((3, 3, 3), dtype=np.float64))
    mrml.update_result_volume(scene, node, output, mrml.volume_from_node(node).stored)
    assert np.array_equal(voxels(output), voxels(node))
    assert voxels(output).dtype == np.uint8


def test_the_input_is_never_taken_as_the_output(scene):
    node = add_volume(scene)
    before = voxels(node).copy()
    with pytest.raises(OutputError, match="input volume"):
        mrml.update_result_volume(scene, node, node, np.zeros(SHAPE, dtype=np.int16))
    assert np.array_equal(voxels(node), before)


def test_an_output_of_another_kind_or_scene_is_refused(scene):
    node = add_volume(scene)
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    with pytest.raises(OutputError, match="'Labels'"):
        mrml.check_output(node, labels)
    with pytest.raises(OutputError, match="not in the scene"):
        mrml.check_output(node, add_volume(slicer.vtkMRMLScene()))


def test_an_array_of_another_shape_or_type_is_refused_and_leaves_no_node(scene):
    node = add_volume(scene)
    count = scene.GetNumberOfNodes()
    with pytest.raises(ValueError, match="volume needs"):
        mrml.add_result_volume(scene, node, np.zeros((5, 6, 7), dtype=np.int16), "Result")
    with pytest.raises(ValueError, match="volume needs"):
        mrml.add_result_volume(scene, node, np.zeros(SHAPE, dtype=np.float32), "Result")
    with pytest.raises(ValueError, match="volume needs"):
        mrml.add_mask_segmentation(scene, node, np.zeros((5, 6, 7), dtype=bool), "Mask")
    assert scene.GetNumberOfNodes() == count


def test_nodes_that_are_no_scalar_volume_are_refused_in_one_sentence(scene):
    labels = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Labels")
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Empty")
    colour = add_volume(scene, "Colour")
    colour.GetImageData().AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    stray = slicer.vtkMRMLScalarVolumeNode()
    stray.SetName("Stray")
    for node, words in ((None, "No input"), (labels, "'Labels'"), (empty, "no image"), (colour, "3 numbers")):
        with pytest.raises(InputError, match=words):
            mrml.volume_from_node(node)
    with pytest.raises(InputError, match="in no scene"):
        mrml.volume_from_node(stray)


@pytest.mark.parametrize("affine", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("transformed", [False, True], ids=["plain", "transformed"])
def test_the_mask_becomes_a_segmentation_with_the_voxels_and_the_geometry_of_the_input(scene, affine, transformed):
    node = add_volume(scene, affine=affine)
    transform = add_transform(scene, node) if transformed else None
    mask = np.random.default_rng(1).random(SHAPE) < 0.4
    segmentation = mrml.add_mask_segmentation(scene, node, mask, "Mask")
    segments = segmentation.GetSegmentation()
    assert segments.GetNumberOfSegments() == 1
    assert segments.GetNthSegment(0).GetName() == mrml.SEGMENT_NAME
    assert segmentation.GetParentTransformNode() is transform
    role = segmentation.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReference(role) is node

    # Resampled by Slicer into the geometry of the input volume, as any user of the segmentation does.
    labelmap = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    logic, extent = slicer.vtkSlicerSegmentationsModuleLogic, slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
    assert logic.ExportAllSegmentsToLabelmapNode(segmentation, labelmap, extent)
    assert np.array_equal(voxels(labelmap) != 0, mask)
    np.testing.assert_allclose(ijk_to_ras(labelmap), ijk_to_ras(node), atol=1e-9)


def test_an_empty_mask_becomes_an_empty_segment(scene):
    segmentation = mrml.add_mask_segmentation(scene, add_volume(scene), np.zeros(SHAPE, dtype=bool), "Mask")
    assert segmentation.GetSegmentation().GetNumberOfSegments() == 1


def test_a_second_mask_replaces_the_first_in_an_existing_segmentation(scene):
    node = add_volume(scene)
    first = mrml.add_mask_segmentation(scene, node, np.ones(SHAPE, dtype=bool), "Mask")
    mask = np.zeros(SHAPE, dtype=bool)
    mask[3, 2, 1] = True
    second = mrml.add_mask_segmentation(scene, node, mask, "Mask", existing=first)
    assert second is first
    assert first.GetSegmentation().GetNumberOfSegments() == 1
    labelmap = first.GetBinaryLabelmapInternalRepresentation(first.GetSegmentation().GetNthSegmentID(0))
    assert vtk_to_numpy(labelmap.GetPointData().GetScalars()).sum() == 1


@pytest.mark.parametrize("transformed", [False, True], ids=["plain", "transformed"])
def test_a_mask_joins_other_segments_where_they_lie(scene, transformed):
    """A segmentation under another transform, with a segment and a geometry of its own: neither is moved."""
    node, other = add_volume(scene, affine=OBLIQUE), add_volume(scene, affine=RAS)
    first = np.zeros(SHAPE, dtype=bool)
    first[1, 2, 3] = True
    mine = mrml.add_mask_segmentation(scene, other, first, "Mine")
    mine.GetSegmentation().GetSegment(mrml.mask_segment(mine)).RemoveTag(mrml.SEGMENT_TAG)
    geometry = mine.GetSegmentation().GetConversionParameter("Reference image geometry")
    transform = add_transform(scene, node) if transformed else None
    mask = np.random.default_rng(1).random(SHAPE) < 0.4
    mrml.add_mask_segmentation(scene, node, mask, "Mask", mine)
    assert mine.GetParentTransformNode() is None and mine.GetSegmentation().GetNumberOfSegments() == 2
    assert mine.GetSegmentation().GetConversionParameter("Reference image geometry") == geometry
    labelmap = mine.GetBinaryLabelmapInternalRepresentation(mrml.mask_segment(mine))
    place = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(place)
    moved = vtk.vtkMatrix4x4()
    if transformed:
        transform.GetMatrixTransformToWorld(moved)
    expected = np.array(moved.GetData()).reshape(4, 4) @ OBLIQUE
    np.testing.assert_allclose(np.array(place.GetData()).reshape(4, 4), expected, atol=1e-9)
    assert np.array_equal(mrml._voxels(labelmap) > 0, mask)


def test_a_segmentation_tells_whether_it_holds_a_mask(scene):
    node = add_volume(scene, affine=OBLIQUE)
    mask = np.random.default_rng(1).random(SHAPE) < 0.4
    segmentation = mrml.add_mask_segmentation(scene, node, mask, "Mask")
    assert mrml.holds_mask(segmentation, node, mask) and not mrml.holds_mask(segmentation, node, ~mask)
    add_transform(scene, node)
    assert not mrml.holds_mask(segmentation, node, mask)


def test_a_result_of_a_result_inherits_no_references_of_any_module(scene):
    node, mask = add_volume(scene), scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    for role in ("Reface.Mask", "Someone.Else"):
        node.SetNodeReferenceID(role, mask.GetID())
    stored = mrml.volume_from_node(node).stored
    result = mrml.add_result_volume(scene, node, stored, "Result")
    assert result.GetNodeReference("Reface.Mask") is None and result.GetNodeReference("Someone.Else") is None
    assert result.GetDisplayNode() is not None and node.GetNodeReference("Reface.Mask") is mask
    result.SetNodeReferenceID("Reface.Mask", mask.GetID())
    mrml.update_result_volume(scene, node, result, stored)
    assert result.GetNodeReference("Reface.Mask") is None


def test_results_of_several_volumes_in_one_scene_keep_to_their_own_input(scene):
    nodes = [add_volume(scene, "Head", affine=affine, seed=i) for i, affine in enumerate((RAS, LPS, OBLIQUE))]
    results = [mrml.add_result_volume(scene, n, mrml.volume_from_node(n).stored + 1, "Head refaced") for n in nodes]
    assert len({result.GetName() for result in results}) == 3
    for node, result in zip(nodes, results, strict=True):
        assert np.array_equal(voxels(result), voxels(node) + 1)
        assert np.array_equal(ijk_to_ras(result), ijk_to_ras(node))


def test_provenance_is_written_as_attributes_that_a_saved_scene_keeps(scene, tmp_path):
    node = add_volume(scene)
    mrml.set_provenance(node, REPORT)
    attributes = {name: node.GetAttribute(name) for name in node.GetAttributeNames()}
    assert json.loads(attributes.pop("Reface.Report")) == REPORT
    assert len(attributes.pop(seal.SEAL)) == 64
    assert attributes == {
        "Reface.Version": __version__,
        "Reface.Model": "reface-2mm 1.0",
        "Reface.ModelSha256": "ab" * 32,
        "Reface.Seed": "12",
        "Reface.Mode": "reface",
        "Reface.Ears": "true",
        "Reface.VoxelsChanged": "1234",
        "Reface.BrainVoxelsChanged": "0",
        "Reface.MaskMl": "456.7",
        "Reface.Seconds": "7.25",
        "Reface.Warnings": 'One thing. Another "thing" ü.',
    }
    again = saved_and_read(scene, tmp_path)
    assert json.loads(again.GetFirstNodeByName("Head").GetAttribute("Reface.Report")) == REPORT


def test_the_active_volume_of_the_application_is_found(scene):
    logic = slicer.vtkMRMLApplicationLogic()
    logic.SetMRMLScene(scene)
    assert mrml.active_volume(scene, logic) is None
    node = add_volume(scene)
    logic.GetSelectionNode().SetActiveVolumeID(node.GetID())
    assert mrml.active_volume(scene, logic) is node
    assert mrml.active_volume(scene, logic.GetSelectionNode()) is node
    assert mrml.active_volume(scene, None) is None


def test_importing_the_bridge_imports_neither_torch_nor_nibabel():
    code = "import sys, RefaceLib.window.mrml; print(sorted({'torch', 'nibabel', 'scipy'} & set(sys.modules)))"
    run = run_python("-c", code)
    assert (run.stdout.strip(), run.returncode) == ("[]", 0), run.stderr
