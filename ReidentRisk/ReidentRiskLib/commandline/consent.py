"""Consent to the licence of a network, at a terminal: the words are shown, and accepted by an option or an answer."""

from __future__ import annotations

import sys

from ReidentRiskLib.attack import models

_ANSWER = "accept"


def ask_for_consent(name: str | None, accept_licence: bool, progress: str) -> None:
    """Show the words of a licence that is not accepted yet, and keep an answer that accepts them.

    `name` is that of --model, `accept_licence` is the option, which needs no answer. Nobody is asked where there is no
    terminal, or where `progress` ("json") is for a program. Without consent models.ensure refuses the model.
    """
    model = models.MODELS.get(name or models.default_model(accept_licence))
    if model is None or models.is_accepted(model.name):
        return
    if accept_licence:
        print(f"You accept the licence of '{model.name}': {model.licence_text}", file=sys.stderr)
        return
    if progress == "json" or sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    print(model.licence_text, file=sys.stderr)
    print(f"Type '{_ANSWER}' to accept this licence: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() == _ANSWER:
        models.accept(model.name)
