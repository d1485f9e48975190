"""`reident-risk models`: lists, downloads and deletes the networks."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from RefaceLib.common.console import reporter
from ReidentRiskLib.commandline.base import STOPPED
from ReidentRiskLib.commandline.consent import ask_for_consent


@dataclass(frozen=True)
class ModelsCommand:
    """`reident-risk models`: list the networks and their licences, download them, delete them."""

    fetch: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    accept_licence: bool = False
    progress: str = "auto"

    stopped = STOPPED

    def run(self) -> int:
        from ReidentRiskLib.attack import models

        for name in (*self.fetch, *self.remove):
            models.find_model(name)
        for name in self.remove:
            removed = models.remove(name)
            print(f"{name} was removed." if removed else f"{name} is not on this computer.")
        for name in self.fetch:
            ask_for_consent(name, self.accept_licence, self.progress)
            with contextlib.closing(reporter(self.progress)) as progress:
                path = models.ensure(name, self.accept_licence, progress=progress)
            print(f"{name} is in {path}.")
        if not (self.fetch or self.remove):
            self._list()
        return 0

    def _list(self) -> None:
        from ReidentRiskLib.attack import models

        for status in models.status():
            model = status.model
            where = f"{status.path} ({status.size / 1e6:.1f} MB)" if status.path else "not on this computer"
            print(f"{model.name}: {model.title}")
            print(f"  {model.use}, licence: {model.licence}")
            print(f"  {where}; from the package {model.package}, sha256 {model.sha256}")
            if model.needs_consent:
                print(f"  {model.licence_text}")
                print(f"  You have {'' if models.is_accepted(model.name) else 'not '}accepted this licence.")
