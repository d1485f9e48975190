"""A film of the heads as they turn, for a talk: by Slicer's module Screen Capture, which draws the views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import vtk

from RefaceLib.common.errors import OutputError
from RefaceLib.common.files import new_folder

FRAMES = 72  # of a whole turn: one every five degrees
FRAME_RATE = 24  # a second
FRAME = "frame_%05d.png"
VIDEO = "turntable.mp4"


def screen_capture() -> ModuleType | None:
    """Slicer's module Screen Capture; None where the application lacks it."""
    try:
        import ScreenCapture
    except ImportError:
        return None
    return ScreenCapture


def film(screen_capture: ModuleType, views: Sequence[Any], folder: Path, frames: int | None = None) -> None:
    """Turn every 3D view of `views` (view nodes) once, and write the film, all side by side, into an empty folder.

    It is a video where Screen Capture finds ffmpeg, and else its frames, as PNG. The folder is filled as a whole or
    not at all. Raises OutputError with one sentence.
    """
    frames = frames or FRAMES
    capture = screen_capture.ScreenCaptureLogic()
    with new_folder(folder, overwrite=False) as made:
        parts = [f"view{index}_%05d.png" for index in range(len(views))]
        last = 360.0 * (frames - 1) / frames  # degrees: the next frame would be the first again
        try:
            for view, part in zip(views, parts, strict=True):
                capture.capture3dViewRotation(view, 0.0, last, frames, screen_capture.AXIS_YAW, str(made), part)
        except ValueError as error:  # such as a view that is not on the screen
            raise OutputError(f"The film was not made: {error}") from error
        for frame in range(frames):
            _join([made / (part % frame) for part in parts], made / (FRAME % frame))
        if capture.isFfmpegPathValid() or capture.findFfmpeg():
            _encode(capture, made, frames)


def _join(parts: Sequence[Path], path: Path) -> None:
    """Put pictures side by side into one, and remove them."""
    row = vtk.vtkImageAppend()
    row.SetAppendAxis(0)
    for part in parts:
        reader = vtk.vtkPNGReader()
        reader.SetFileName(str(part))
        row.AddInputConnection(reader.GetOutputPort())
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(row.GetOutputPort())
    writer.Write()
    for part in parts:
        part.unlink()


def _encode(capture: Any, folder: Path, frames: int) -> None:
    """Make a video of the frames in a folder; where ffmpeg cannot (without its H.264), the frames stay."""
    try:
        capture.createVideo(FRAME_RATE, capture.videoFormatPresets[0]["extraVideoOptions"], str(folder), FRAME, VIDEO)
    except ValueError:  # Screen Capture has written ffmpeg's own words into the log
        (folder / VIDEO).unlink(missing_ok=True)
        return
    capture.deleteTemporaryFiles(str(folder), FRAME, frames)
