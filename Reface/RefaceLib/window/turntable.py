"""A film of the heads as they turn, for a talk: by Slicer's module Screen Capture, which draws the views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import vtk

from RefaceLib.common.errors import OutputError
from RefaceLib.common.files import new_folder
from RefaceLib.common.progress import Cancelled, Progress, no_progress, part, raise_if_cancelled
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

FRAMES = 72  # of a whole turn: one every five degrees
FRAME_RATE = 24  # a second
FRAME = "frame_%05d.png"
VIDEO = "turntable.mp4"
STOPPED = "The film was stopped; nothing was written."
_TURNED, _JOINED = 0.8, 0.95  # of the work, when all frames are drawn, and when they lie side by side


def screen_capture() -> ModuleType | None:
    """Slicer's module Screen Capture; None where the application lacks it."""
    try:
        import ScreenCapture
    except ImportError:
        return None
    return ScreenCapture


def film(
    screen_capture: ModuleType,
    views: Sequence[Any],
    folder: Path,
    frames: int | None = None,
    progress: Progress = no_progress,
    cancelled: Cancelled | None = None,
) -> None:
    """Turn every 3D view of `views` (view nodes) once, and write the film, all side by side, into an empty folder.

    It is a video where Screen Capture finds ffmpeg, and else its frames, as PNG. The folder is filled as a whole or
    not at all. Raises OutputError with one sentence, and CancelledError.
    """
    frames = frames or FRAMES
    capture = screen_capture.ScreenCaptureLogic()
    each = 1.0 / len(views)
    with new_folder(folder, overwrite=False) as made:
        names = [f"view{index}_%05d.png" for index in range(len(views))]
        last = 360.0 * (frames - 1) / frames  # degrees: the next frame would be the first again
        try:
            for index, (view, name) in enumerate(zip(views, names, strict=True)):
                told = part(progress, _TURNED * index * each, _TURNED * (index + 1) * each)
                capture.logCallback = _counter(capture, frames, told, cancelled)
                capture.capture3dViewRotation(view, 0.0, last, frames, screen_capture.AXIS_YAW, str(made), name)
        except ValueError as error:  # such as a view that is not on the screen
            raise_if_cancelled(cancelled, STOPPED)
            raise OutputError(f"The film was not made: {error}") from error
        for frame in range(frames):
            raise_if_cancelled(cancelled, STOPPED)
            part(progress, _TURNED, _JOINED)(frame / frames, _("Putting the pictures side by side"))
            _join([made / (name % frame) for name in names], made / (FRAME % frame))
        progress(_JOINED, _("Making a video"))
        if capture.isFfmpegPathValid() or capture.findFfmpeg():
            _encode(capture, made, frames)


def _counter(capture: Any, frames: int, progress: Progress, cancelled: Cancelled | None) -> Callable[[str], None]:
    """What Screen Capture calls before each frame of a view: tells of it, and stops where the user wants to."""
    drawn = iter(range(frames))

    def before_a_frame(_text: str) -> None:
        progress(next(drawn, frames) / frames, _("Turning the heads"))
        if cancelled is not None and cancelled():
            capture.requestCancel()

    return before_a_frame


def _join(parts: Sequence[Path], path: Path) -> None:
    """Put pictures side by side into one, and remove them."""
    row = vtk.vtkImageAppend()
    row.SetAppendAxis(0)
    for each in parts:
        reader = vtk.vtkPNGReader()
        reader.SetFileName(str(each))
        row.AddInputConnection(reader.GetOutputPort())
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(row.GetOutputPort())
    writer.Write()
    for each in parts:
        each.unlink()


def _encode(capture: Any, folder: Path, frames: int) -> None:
    """Make a video of the frames in a folder; where ffmpeg cannot (without its H.264), the frames stay."""
    try:
        capture.createVideo(FRAME_RATE, capture.videoFormatPresets[0]["extraVideoOptions"], str(folder), FRAME, VIDEO)
    except ValueError:  # Screen Capture has written ffmpeg's own words into the log
        (folder / VIDEO).unlink(missing_ok=True)
        return
    capture.deleteTemporaryFiles(str(folder), FRAME, frames)
