""" "Reface..." in the menu of a patient, a study, a folder or a volume of the subject hierarchy.

3D Slicer loads this file by its path and finds the class by the file's name, so both are named alike.
"""

from __future__ import annotations

import qt
import slicer
from SubjectHierarchyPlugins import AbstractScriptedSubjectHierarchyPlugin

from RefaceLib.window import person
from RefaceLib.window.slicerui import translator

_ = translator("RefaceLib.window.RefaceSubjectHierarchyPlugin")


class RefaceSubjectHierarchyPlugin(AbstractScriptedSubjectHierarchyPlugin):  # type: ignore[misc]  # untyped
    """A plugin that owns no item, and only adds an action to those of others."""

    filePath = __file__  # setPythonSource() is called with it

    def __init__(self, scriptedPlugin):
        scriptedPlugin.name = "Reface"
        AbstractScriptedSubjectHierarchyPlugin.__init__(self, scriptedPlugin)
        self.refaceAction = qt.QAction(_("Reface..."), scriptedPlugin)
        self.refaceAction.toolTip = _("Open the module Reface with the volumes of this item.")
        self.refaceAction.connect("triggered()", self.onReface)

    def canAddNodeToSubjectHierarchy(self, _node, _parentItemID):
        return 0.0

    def canOwnSubjectHierarchyItem(self, _itemID):
        return 0.0

    def roleForPlugin(self):
        return "N/A"

    def itemContextMenuActions(self):
        return [self.refaceAction]

    def showContextMenuActionsForItem(self, itemID):
        """3D Slicer has hidden all actions before: show ours where there is something to reface."""
        if itemID and self._volumes(itemID):
            self.refaceAction.visible = True

    def onReface(self):
        """Open the module with the volumes of the item that was clicked on."""
        volumes = self._volumes(slicer.qSlicerSubjectHierarchyPluginHandler.instance().currentItem())
        slicer.util.selectModule("Reface")
        slicer.modules.reface.widgetRepresentation().self().choosePerson(volumes)

    def _volumes(self, itemID):
        return person.volumes_under(slicer.mrmlScene, itemID) if itemID else []


def register() -> None:
    """Add the action to the application; called once, when the module is set up."""
    plugin = slicer.qSlicerSubjectHierarchyScriptedPlugin(None)
    plugin.setPythonSource(RefaceSubjectHierarchyPlugin.filePath)
