"""The choices of the window: limits of numbers, and those that are one of a few, named in the user's language."""

from __future__ import annotations

import enum
from typing import Any

from RefaceLib.common.options import DEVICES, MODES
from RefaceLib.window.slicerui import translator

_ = translator(__name__)

MAX_CANDIDATES = 8
MAX_WINDOW_SEED = 999_999  # short enough to be written down; the command line takes up to options.MAX_SEED


class Mode(enum.Enum):
    """What to do with the face."""

    AUTO, REFACE, DEFACE, RECOVER = MODES

    def label(self) -> str:
        return {
            Mode.AUTO: _("Automatic: reface or recover"),
            Mode.REFACE: _("Reface"),
            Mode.DEFACE: _("Deface only"),
            Mode.RECOVER: _("Recover a defaced scan"),
        }[self]


class Device(enum.Enum):
    """Where the networks run."""

    AUTO, CPU, CUDA, MPS = DEVICES

    def label(self) -> str:
        return {
            Device.AUTO: _("Automatic"),
            Device.CPU: _("CPU"),
            Device.CUDA: _("NVIDIA graphics card (CUDA)"),
            Device.MPS: _("Apple graphics processor (MPS)"),
        }[self]


def nothing_chosen(parameters: Any) -> bool:
    """Whether nothing was chosen with these parameters of the window, and nothing made."""
    nodes = (parameters.inputVolume, parameters.resultVolume, parameters.outputVolume, parameters.maskSegmentation)
    return all(node is None for node in nodes) and not parameters.otherVolumes
