"""What must not be found after anything that a user does in the application: errors, leftovers, faces of other heads.

For tour.py and presses.py, which run in the application.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from pathlib import Path

import slicer

BAD_LEVELS = ("Error", "Critical", "Fatal")
OURS = ("Reface.", "ReidentRisk.")  # attributes of the nodes that the modules make
VIEWS = ("1", "2")  # the 3D views that both modules use
MADE_OF, FACE_OF = "Reface.FaceMadeOf", "Reface.FaceOf"  # see RefaceLib.window.faces
NOISE = (  # of the application itself, with whatever modules it was built
    "is not a displayable manager",
    "dependency",
    "Failed to load Qt translation",
    "libGL",
    "OpenGL",
    "QXcbConnection",
    "propagateSizeHints",
    "DICOMInstance",
    "Slicer-tmp",
)


class Watch:
    """Notes what goes wrong from now on; `shown` are the messages that the user has seen since they were last taken.

    Everything temporary is made in `folder` from now on. Message boxes are not opened, as nobody is there to close
    them; questions are answered by `answer`.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        tempfile.tempdir = str(folder)
        os.environ["TMPDIR"] = str(folder)
        self.shown: list[str] = []
        self.asked: list[str] = []
        self.answer = True
        self._told: list[str] = []  # all that was ever shown
        self._exceptions: list[str] = []
        self._seen = self._log().rowCount()
        sys.excepthook = self._hook(sys.excepthook)
        slicer.util.errorDisplay = self._show
        slicer.util.confirmYesNoDisplay = self._confirm

    def take_shown(self) -> list[str]:
        shown, self.shown = self.shown, []
        return shown

    def problems(self, running: bool = False) -> list[str]:
        """What is wrong now, a sentence each. While a run is under way its child and its folder are no leftovers."""
        found = [*self._exceptions, *self._new_entries(), *stale_surfaces()]
        self._exceptions = []
        if not running:
            found += [f"A child process is left: {child}" for child in children()]
            found += [f"A temporary folder is left: {name}" for name in self.leftovers()]
        return found

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if path.name.startswith(("reface", "reident")))

    @staticmethod
    def _log():
        return slicer.app.errorLogModel()

    def _hook(self, former):
        def hook(kind, value, trace):
            from RefaceLib.common.errors import RefaceError

            if isinstance(value, RefaceError):  # tryWithErrorDisplay raises it instead of showing it, when testing
                self._show(value)
            else:
                self._exceptions.append(f"Exception {kind.__name__}: {value}")
            former(kind, value, trace)

        return hook

    def _new_entries(self) -> list[str]:
        log = self._log()
        first, self._seen = self._seen, log.rowCount()
        found = []
        for row in range(first, self._seen):
            level, text = (str(log.data(log.index(row, column))) for column in (2, 4))
            text = log.logEntryDescription(row) or text
            if level in BAD_LEVELS and text.strip() and not any(known in text for known in (*NOISE, *self._told)):
                found.append(f"{level} in the log: {text.strip()[-600:]}")
        return found

    def _show(self, text, *_arguments, **_more):
        self.shown.append(str(text))
        self._told.append(str(text))
        logging.info("Shown to the user: %s", text)

    def _confirm(self, text, *_arguments, **_more):
        self.asked.append(str(text))
        return self.answer


def children() -> list[str]:
    """The command lines of the child processes that the application has started; none are known without /proc."""
    return [line for pid, line in _children().items() if pid not in _THERE_BEFORE]


def _children() -> dict[str, str]:
    """The command lines of the child processes by their numbers."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rsplit(")", 1)[1].split()[:2]
            if int(parent) == os.getpid() and state != "Z":
                line = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
                found[status.parent.name] = line
        except OSError:  # it has just ended
            continue
    return found


_THERE_BEFORE = _children()  # a launcher may have started the display


def faces_in(view_name: str) -> list[slicer.vtkMRMLModelNode]:
    """The faces of both modules that a 3D view shows, by their display nodes."""
    view = slicer.mrmlScene.GetSingletonNode(view_name, "vtkMRMLViewNode")
    if view is None:
        return []
    found = []
    for model in slicer.util.getNodesByClass("vtkMRMLModelNode"):
        display = model.GetDisplayNode()
        ours = any(name.startswith(OURS) for name in model.GetAttributeNames())
        if ours and display is not None and display.GetVisibility() and display.IsDisplayableInView(view.GetID()):
            found.append(model)
    return found


def stale_surfaces() -> list[str]:
    """Two faces in one view, or a face of a volume that was removed or has another image now."""
    found = []
    for name in VIEWS:
        faces = faces_in(name)
        if len(faces) > 1:
            found.append(f"View {name} shows {len(faces)} faces: {', '.join(face.GetName() for face in faces)}")
        for face in faces:
            if face.GetAttribute(MADE_OF) is None:  # of ReidentRisk, which keeps what it has compared
                continue
            volume = face.GetNodeReference(FACE_OF)
            if volume is None:
                found.append(f"View {name} shows the face of a volume that was removed: {face.GetName()}")
            elif not face.GetAttribute(MADE_OF).startswith(f"{volume.GetID()} {volume.GetImageData().GetMTime()} "):
                found.append(f"View {name} shows a face that '{volume.GetName()}' has no more")
    return found + _drawn()


def _drawn() -> list[str]:
    """The same by what is drawn: more than one skin in a 3D view on the screen."""
    manager, found = slicer.app.layoutManager(), []
    for index in range(manager.threeDViewCount if manager is not None else 0):
        widget = manager.threeDWidget(index)
        if not widget.visible:
            continue
        actors = widget.threeDView().renderWindow().GetRenderers().GetFirstRenderer().GetActors()
        skins = 0
        for number in range(actors.GetNumberOfItems()):
            actor = actors.GetItemAsObject(number)
            data = actor.GetMapper().GetInput() if actor.GetVisibility() and actor.GetMapper() is not None else None
            skins += data is not None and data.GetNumberOfPolys() > 5000
        name = widget.mrmlViewNode().GetName()
        if skins > 1:
            found.append(f"{skins} skins are drawn over each other in {name}")
        if skins and not faces_in(widget.mrmlViewNode().GetLayoutName()):
            found.append(f"A skin is drawn in {name} that no node shows")
    return found
