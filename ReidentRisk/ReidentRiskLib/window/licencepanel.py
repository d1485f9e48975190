"""Consent to the licence of a network: the tick, the licence's words, and the deletion of the networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from RefaceLib.window.slicerui import translator
from ReidentRiskLib.attack import models

_ = translator(__name__)


class LicencePanel:
    """Asks for consent where the chosen network needs it. What is stored is read once for each network.

    :param ui: the widgets of ReidentRisk.ui
    :param onChanged: called when consent was given or taken back
    """

    def __init__(self, ui: Any, onChanged: Callable[[], None]):
        self.ui = ui
        self._onChanged = onChanged
        self._model: str | None = None
        self._updating = False
        self.accepted = False
        ui.licenceCheckBox.connect("toggled(bool)", self.onToggled)
        ui.removeModelsButton.connect("clicked(bool)", self.onRemoveModelsButton)

    def show(self, model: str) -> None:
        """Show what is known of this network."""
        if model != self._model:
            self._model, self.accepted = model, models.is_accepted(model)
        about = models.find_model(model)
        self._updating = True
        self.ui.licenceCheckBox.setVisible(about.needs_consent)
        self.ui.licenceCheckBox.setChecked(self.accepted)
        self.ui.licenceLabel.setText(about.licence_text)
        self.ui.licenceLabel.setVisible(about.needs_consent and not self.accepted)
        self._updating = False

    def onToggled(self, accepted: bool) -> None:
        import slicer

        if self._model is None or self._updating:
            return
        with slicer.util.tryWithErrorDisplay(_("Your choice could not be stored.")):
            (models.accept if accepted else models.remove)(self._model)
        self._readAgain()

    def onRemoveModelsButton(self, _checked: bool = False) -> None:
        import slicer

        with slicer.util.tryWithErrorDisplay(_("The networks could not be removed.")):
            removed = [name for name in models.MODELS if models.remove(name)]
            names = ", ".join(removed) or _("none was there")
            self.ui.statusLabel.setText(_("Removed networks: {names}.").format(names=names))
        self._readAgain()

    def _readAgain(self) -> None:
        self._model = None
        self._onChanged()
