"""Volumes that have changed since they were compared: told wherever a verdict is seen, in pictures, plots, tables.

qt is imported inside functions, as in slicerui.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from RefaceLib.window.slicerui import translator
from ReidentRiskLib.window import mrml
from ReidentRiskLib.window.fingerprints import CHANGED, MOVED, change
from ReidentRiskLib.window.results import RiskResultNodes

_ = translator(__name__)

_QUIET_MS = 400  # without another change, before it is looked what has changed: a brush changes voxels at every move
_NOTE_ROWS = "ReidentRisk.NoteRows"  # attribute of a picture: how many of its rows, from the top, are a note
_NOTE_SIZE, _NOTE_COLOUR = 20, (247, 217, 139)
_LETTERS = 0.11  # of a note in a line, a pixel of the picture's width


def changes(result: RiskResultNodes) -> dict[str, str]:
    """What happened to the volumes of a result since they were compared, by their names in it: see fingerprints.change.

    Those that have not changed, and those that were deleted, are left out; so is everything while a scene is read.
    """
    if result.table.GetScene() is None or result.table.GetScene().IsBatchProcessing():
        return {}
    each = zip(result.names, result.volumes, result.fingerprints, strict=False)
    found = {name: change(volume, before) for name, volume, before in each if volume is not None}
    return {name: what for name, what in found.items() if what}


def sentences(found: Mapping[str, str]) -> list[str]:
    """What is said above the words of a result of which `changes` were found."""
    texts = {
        CHANGED: _(
            "Changed since they were compared: {names}. The verdict is of the voxels before; Recompute compares those "
            "that are there now."
        ),
        MOVED: _("Moved by a transform since they were compared: {names}. No verdict depends on that."),
    }
    told = {kind: [f"'{name}'" for name, what in found.items() if what == kind] for kind in texts}
    return [texts[kind].format(names=", ".join(names)) for kind, names in told.items() if names]


def mark(result: RiskResultNodes, found: Mapping[str, str]) -> None:
    """Say in picture, plots and table of a result which verdicts are of former voxels; or that none is, any more."""
    changed = [name for name, what in found.items() if what == CHANGED]
    note = sentences(dict.fromkeys(changed, CHANGED))
    if result.explanation is not None:
        _note_on_picture(result.explanation, "".join(note))
    for chart in result.charts:
        mrml.note_on_chart(chart, _("outdated: {names} changed").format(names=", ".join(changed)) if changed else "")
    _mark_table(result.table, outdated(found, result))


def outdated(found: Mapping[str, str], result: RiskResultNodes) -> set[str]:
    """The probes whose verdicts are of former voxels: of their own, or of those of the original."""
    return {name for name in result.names[1:] if CHANGED in (found.get(name), found.get(result.names[0]))}


def mark_of_outdated() -> str:
    """What stands behind a verdict of former voxels."""
    return _("(outdated)")


def _mark_table(node: slicer.vtkMRMLTableNode, probes: set[str]) -> None:
    """Mark the verdicts of these probes, and no others. The table begins as results._score_columns made it."""
    names, verdicts = (node.GetTable().GetColumn(column) for column in (0, 3))
    if verdicts is None:  # as where the file of a scene was not found
        return
    ending = f" {mark_of_outdated()}"
    for row in range(verdicts.GetNumberOfValues()):
        plain = verdicts.GetValue(row).removesuffix(ending)
        text = plain + ending if names.GetValue(row) in probes else plain
        if text != verdicts.GetValue(row):
            verdicts.SetValue(row, text)
            node.GetTable().Modified()
            node.Modified()


# ---- the picture ----


def _note_on_picture(node: slicer.vtkMRMLVectorVolumeNode, text: str) -> None:
    """Write a note above a picture of mrml.add_pictures, in place of the one that is there; without a text, none."""
    rows = int(node.GetAttribute(_NOTE_ROWS) or 0)
    nothing_to_do = node.GetDescription() == text if rows else not text
    if nothing_to_do or node.GetImageData() is None:  # as where the file of a scene was not found
        return
    picture = slicer.util.arrayFromVolume(node)[:, rows:]
    note = _drawn(text, picture.shape[2]) if text else picture[0, :0]
    mrml.set_pictures(node, np.concatenate([np.broadcast_to(note, (len(picture), *note.shape)), picture], axis=1))
    node.SetAttribute(_NOTE_ROWS, str(len(note)))
    node.SetDescription(text)


def _drawn(text: str, columns: int) -> np.ndarray:
    """A text on a band (rows, columns, 3) uint8, rows from the top."""
    style = vtk.vtkTextProperty()
    style.SetFontSize(_NOTE_SIZE)
    style.SetColor(0.0, 0.0, 0.0)
    image, size = vtk.vtkImageData(), [0, 0]
    renderer = vtk.vtkTextRenderer.GetInstance()
    lines = "\n".join(textwrap.wrap(text, max(20, int(_LETTERS * columns))))
    renderer.RenderString(style, lines, image, size, 72, renderer.FreeType)
    width, height = image.GetDimensions()[:2]
    drawn = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[: size[1], :columns][::-1]
    band = np.empty((len(drawn) + _NOTE_SIZE, columns, 3))
    band[:] = _NOTE_COLOUR
    part = band[_NOTE_SIZE // 2 :, _NOTE_SIZE // 2 :][: len(drawn), : drawn.shape[1]]
    part *= 1.0 - drawn[:, : part.shape[1], 3:] / 255.0  # black letters
    return band.astype(np.uint8)


# ---- while the window is open ----


class ChangeWatch:
    """Calls back when one of the volumes that it watches may have changed, once they have been quiet for a while."""

    def __init__(self, onChanged: Callable[[], None]):
        import qt

        self._observed: list[tuple[slicer.vtkMRMLNode, int]] = []
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_QUIET_MS)
        self._timer.connect("timeout()", onChanged)

    def watch(self, result: RiskResultNodes | None) -> None:
        """The volumes of this result, and no others."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._timer.stop()
        volumes = [volume for volume in result.volumes if volume is not None] if result else []
        self._observed = [
            (node, node.AddObserver(event, self._on_event))
            for node in volumes
            for event in (vtk.vtkCommand.ModifiedEvent, node.ImageDataModifiedEvent, node.TransformModifiedEvent)
        ]

    def _on_event(self, _node: Any, _event: Any) -> None:
        self._timer.start()
