"""The choices of the window that are one of a few, with their names in the user's language."""

from __future__ import annotations

import enum

from RefaceLib.window.slicerui import translator

_ = translator(__name__)


class Mode(enum.Enum):
    """What to do with the face; the values are those of RefaceLib.pipeline.MODES."""

    REFACE = "reface"
    DEFACE = "deface"
    RECOVER = "recover"

    def label(self) -> str:
        return {
            Mode.REFACE: _("Reface"),
            Mode.DEFACE: _("Deface only"),
            Mode.RECOVER: _("Recover a defaced scan"),
        }[self]


class Device(enum.Enum):
    """Where the networks run; the values are those of `--device`."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"

    def label(self) -> str:
        return {
            Device.AUTO: _("Automatic"),
            Device.CPU: _("CPU"),
            Device.CUDA: _("NVIDIA graphics card (CUDA)"),
            Device.MPS: _("Apple graphics processor (MPS)"),
        }[self]
