"""The menu of the subject hierarchy: where "Reface..." is shown, and that it opens the module with the table filled."""

from __future__ import annotations

import sys
import types
from unittest import mock

import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
pytest.importorskip("vtk", reason="vtk is not installed", exc_type=ImportError)
from helpers.phantom import make_phantom  # noqa: E402
from helpers.reface.fixtures import *  # noqa: E402, F403
from helpers.reface.fixtures import node_of  # noqa: E402


class _Abstract:
    """As SubjectHierarchyPlugins.AbstractScriptedSubjectHierarchyPlugin."""

    def __init__(self, scriptedPlugin):
        self.scriptedPlugin = scriptedPlugin


@pytest.fixture(name="menu")
def menu_fixture(reface, widget, scene, monkeypatch):
    """The plugin as the application makes it; `menu.current` is the item that was clicked on."""
    monkeypatch.setitem(
        sys.modules,
        "SubjectHierarchyPlugins",
        types.SimpleNamespace(AbstractScriptedSubjectHierarchyPlugin=_Abstract),
    )
    monkeypatch.delitem(sys.modules, "RefaceLib.window.RefaceSubjectHierarchyPlugin", raising=False)
    module = types.SimpleNamespace(reface=mock.MagicMock())
    module.reface.widgetRepresentation().self.return_value = widget
    handler = mock.MagicMock()
    scripted = mock.MagicMock()
    with (
        mock.patch.multiple(
            slicer,
            create=True,
            modules=module,
            qSlicerSubjectHierarchyPluginHandler=handler,
            qSlicerSubjectHierarchyScriptedPlugin=scripted,
        ),
        mock.patch.object(slicer.util, "selectModule", create=True) as selected,
    ):
        reface.Reface.setup(mock.Mock())
        from RefaceLib.window import RefaceSubjectHierarchyPlugin as file

        (path,), _none = scripted.return_value.setPythonSource.call_args
        assert path == file.__file__ and path.endswith("RefaceSubjectHierarchyPlugin.py")
        plugin = file.RefaceSubjectHierarchyPlugin(mock.Mock())
        plugin.refaceAction = types.SimpleNamespace(visible=False)
        plugin.handler, plugin.selected = handler.instance.return_value, selected
        yield plugin


@pytest.fixture(name="items")
def items_fixture(scene):
    """A patient with a FLAIR and a T1, and an empty folder: name -> item."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "Anna")
    study = hierarchy.CreateStudyItem(patient, "2026")
    items = {name: hierarchy.CreateItem(study, node_of(scene, make_phantom(), name)) for name in ("FLAIR", "T1")}
    return {**items, "Anna": patient, "study": study, "folder": hierarchy.CreateFolderItem(0, "folder")}


def names(nodes):
    return [node.GetName() for node in nodes]


@pytest.mark.parametrize(("name", "visible"), [("Anna", True), ("study", True), ("T1", True), ("folder", False)])
def test_the_action_is_shown_where_there_is_a_volume(menu, items, name, visible):
    menu.showContextMenuActionsForItem(items[name])
    assert menu.refaceAction.visible is visible and menu.itemContextMenuActions() == [menu.refaceAction]


@pytest.mark.parametrize(
    ("name", "chosen", "ticked"), [("Anna", "T1", ["FLAIR"]), ("study", "T1", ["FLAIR"]), ("FLAIR", "FLAIR", [])]
)
def test_the_module_opens_with_the_table_filled(menu, items, widget, name, chosen, ticked):
    menu.handler.currentItem.return_value = items[name]
    menu.onReface()
    menu.selected.assert_called_once_with("Reface")
    assert widget._parameterNode.inputVolume.GetName() == chosen
    assert names(widget._parameterNode.otherVolumes) == ticked
    assert len(widget.ui.personTable.texts()) == 2
    assert menu.scriptedPlugin.name == "Reface" and menu.canOwnSubjectHierarchyItem(items[name]) == 0.0


def test_the_scene_itself_has_no_action(menu):
    menu.showContextMenuActionsForItem(0)
    assert not menu.refaceAction.visible
