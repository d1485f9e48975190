"""Hands for the application: waiting in its event loop, pressing, choosing files, taking pictures, measuring a panel.

For tour.py and presses.py, which run in the application.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import qt
import slicer

PANEL_WIDTH = 400  # pixels that the panel of a module has to fit
POLL_MS = 30


def wait(seconds: float) -> None:
    """Let the application live for a while."""
    loop = qt.QEventLoop()
    qt.QTimer.singleShot(int(1000 * seconds), loop.quit)
    loop.exec_()


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Let the application live until the condition holds; TimeoutError when it does not within the time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        wait(POLL_MS / 1000)


class ModuleWindow:
    """The window of a module, looked up anew each time: a reload makes another one."""

    module: str

    @property
    def widget(self):
        return getattr(slicer.modules, f"{self.module}Widget")

    @property
    def ui(self):
        return self.widget.ui

    @property
    def parameters(self):
        return self.widget._parameterNode


def picture_in_red() -> str:
    """The ID of what lies in the red slice view."""
    return slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode().GetBackgroundVolumeID()


def files_for(*paths: object) -> None:
    """The paths that the next file dialogs return, one each; those after them are cancelled."""
    from RefaceLib.window import slicerui

    coming = [str(path) for path in paths]
    slicerui.ask_for_path = lambda *_arguments, **_more: coming.pop(0) if coming else ""


def in_dialog(act: Callable[[object], None], problems: list[str]) -> None:
    """Call `act` with the modal dialog that the next press opens; what it raises is added to `problems`.

    The dialog is closed afterwards, if `act` has left it open.
    """

    def step():
        dialog = qt.QApplication.activeModalWidget()
        if dialog is None:
            problems.append("no dialog was opened")
            return
        try:
            act(dialog)
        except Exception as error:
            problems.append(f"in the dialog: {type(error).__name__}: {error}")
        if dialog.visible:
            dialog.reject()

    qt.QTimer.singleShot(1500, step)


def picture(path: Path, widget: object = None) -> None:
    """Save a picture of a widget; of the main window without one."""
    manager = slicer.app.layoutManager()
    for index in range(manager.threeDViewCount):
        manager.threeDWidget(index).threeDView().forceRender()
    wait(0.3)
    (widget or slicer.util.mainWindow()).grab().save(str(path))


def style(name: str) -> None:
    """The style of the application, such as "dark slicer"."""
    slicer.app.setStyle(name)
    slicer.app.setPalette(slicer.app.style().standardPalette())
    wait(0.5)


def narrow_panel() -> None:
    """Give the panel of modules the width that it has to fit, or the smallest that it takes."""
    window = slicer.util.mainWindow()
    dock = window.findChild(qt.QDockWidget, "PanelDockWidget")
    window.resizeDocks([dock], [PANEL_WIDTH], qt.Qt.Horizontal)
    wait(0.2)


def panel_faults(module: str) -> list[str]:
    """What is wrong with the panel of a module as it is on the screen: too wide, cut texts, controls that overlap."""
    panel = slicer.util.getModuleWidget(module).parent
    found = []
    if panel.minimumSizeHint.width() > PANEL_WIDTH:
        found.append(f"the panel takes {panel.minimumSizeHint.width()} px: {', '.join(_widest(panel))}")
    for widget in slicer.util.findChildren(panel, className="QAbstractButton"):
        named = bool(widget.text) and widget.visible and not widget.inherits("ctkCollapsibleButton")
        if named and not widget.inherits("ctkExpandButton") and widget.sizeHint.width() > widget.width + 2:
            found.append(f"the text of the button '{widget.text}' is cut")
    for label in slicer.util.findChildren(panel, className="QLabel"):
        if not label.visible or not label.text:
            continue
        if label.wordWrap and label.heightForWidth(label.width) > label.height + 2:
            found.append(f"the text '{label.text[:40]}' is cut below ({label.objectName})")
        elif not label.wordWrap and label.sizeHint.width() > label.width + 2:
            found.append(f"the text '{label.text[:40]}' is cut ({label.objectName})")
    return found + _overlaps(panel)


def _widest(panel) -> list[str]:
    children = [child for child in slicer.util.findChildren(panel) if child.isWidgetType() and child.visible]
    wide = [child for child in children if child.minimumSizeHint.width() > PANEL_WIDTH - 60]
    return [f"{child.objectName or child.className()} {child.minimumSizeHint.width()}" for child in wide]


def _overlaps(panel) -> list[str]:
    named = [
        child
        for child in slicer.util.findChildren(panel)
        if child.isWidgetType() and child.visible and child.objectName and not child.objectName.startswith("qt_")
    ]
    found = []
    for index, one in enumerate(named):
        for other in named[index + 1 :]:
            if one.parent() is other.parent() and one.parent() is not panel and one.geometry.intersects(other.geometry):
                found.append(f"{one.objectName} overlaps {other.objectName}")
    return found
