"""Whether a result still holds the voxels that the run made: another module may have written a real face into it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import slicer

from RefaceLib.common.errors import InputError
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

SEAL, MASK_SEAL = "Reface.VoxelsSha256", "Reface.MaskSha256"


def seal(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Keep the hash of a volume's voxels in its attributes, which a saved scene keeps as well."""
    node.SetAttribute(SEAL, voxels_sha256(node))


def check_seal(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Raise InputError unless the node holds the very voxels with which it was sealed."""
    if node.GetAttribute(SEAL) != voxels_sha256(node):
        text = _(
            "'{name}' was changed after Reface had made it, so it may show a real face: press Apply again, or save it "
            "with Save only: Volume."
        )
        raise InputError(text.format(name=node.GetName()))


def seal_mask(node: slicer.vtkMRMLScalarVolumeNode, mask: np.ndarray) -> None:
    """Keep the hash of a result's mask, (I, J, K) bool on its grid, in the attributes of its volume."""
    node.SetAttribute(MASK_SEAL, _mask_sha256(mask))


def sealed_mask(node: slicer.vtkMRMLScalarVolumeNode, masks: Iterable[np.ndarray | None]) -> np.ndarray:
    """That of the `masks`, (I, J, K) bool on the grid of the result, with which it was sealed; InputError for none."""
    for mask in masks:
        if mask is not None and node.GetAttribute(MASK_SEAL) == _mask_sha256(mask):
            return mask
    text = _(
        "The mask of '{name}' was changed or moved after Reface had made it: press Apply again, or remove the mask."
    )
    raise InputError(text.format(name=node.GetName()))


def _mask_sha256(mask: np.ndarray) -> str:
    return hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()


def voxels_sha256(node: slicer.vtkMRMLScalarVolumeNode) -> str:
    """Of the numbers, little endian, the first axis fastest; a file between makes no difference."""
    stored = slicer.util.arrayFromVolume(node)
    little = stored.astype(stored.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little).data).hexdigest()
