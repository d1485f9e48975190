"""Consent to the licence of a network: asked once, remembered in the user's settings, taken back at any time."""

from __future__ import annotations

from typing import Any, Protocol

from ReidentRiskLib.attack import models

_KEY = "ReidentRisk/AcceptedLicences"  # names of models, separated by commas


class Settings(Protocol):
    """What is used of the application's settings (QSettings)."""

    def value(self, key: str, default: Any = None) -> Any: ...

    def setValue(self, key: str, value: Any) -> None: ...


def is_given(model: str, settings: Settings) -> bool:
    """Whether the model needs no consent, or it was given: in the window, or on the command line."""
    return model in _accepted(settings) or models.is_accepted(model)


def remember(model: str, settings: Settings, given: bool = True) -> None:
    """Remember that the user accepts the licence of the model, or (`given` False) does so no longer.

    Without consent there is no need for the file: it is deleted. Raises OutputError where that fails.
    """
    accepted = [name for name in _accepted(settings) if name != model]
    settings.setValue(_KEY, ",".join([*accepted, model] if given else accepted))
    if not given and models.find_model(model).needs_consent:
        models.remove(model)


def remove_models(settings: Settings) -> list[str]:
    """Delete every downloaded network, forget every consent; the names of those that were there. Raises OutputError."""
    removed = [name for name in models.MODELS if models.remove(name)]
    settings.setValue(_KEY, "")
    return removed


def _accepted(settings: Settings) -> list[str]:
    return [name for name in str(settings.value(_KEY, "") or "").split(",") if name in models.MODELS]
