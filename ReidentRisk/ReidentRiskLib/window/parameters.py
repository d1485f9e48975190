"""The choices of the window; the application saves them in a scene by the names of their members.

Device is that of RefaceLib.window.parameters.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from RefaceLib.window.slicerui import translator
from ReidentRiskLib.attack.views import VIEW_SETS

_ = translator(__name__)


class Model(Enum):
    """The network that compares faces; the value is its name in models.MODELS."""

    SFACE = "sface"
    ARCFACE = "arcface"

    def label(self) -> str:
        """What the window shows."""
        return {
            Model.SFACE: _("SFace (free)"),
            Model.ARCFACE: _("ArcFace (non-commercial research only)"),
        }[self]


class Views(Enum):
    """From where faces are looked at; the value is the name in views.VIEW_SETS."""

    FRONTAL = "frontal"
    STANDARD = "standard"
    FULL = "full"

    def label(self) -> str:
        """What the window shows."""
        text = {
            Views.FRONTAL: _("Frontal ({count} view, weak)"),
            Views.STANDARD: _("Standard ({count} views)"),
            Views.FULL: _("All around ({count} views)"),
        }[self]
        return text.format(count=len(VIEW_SETS[self.value]))


def nothing_chosen(parameters: Any) -> bool:
    """Whether nothing was chosen with these parameters of the window, and nothing made; the original is offered."""
    return not parameters.probes and parameters.result is None
