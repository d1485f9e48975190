"""A result in words: what the window says about it, as HTML for a QTextBrowser."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from RefaceLib.window.slicerui import translator
from ReidentRiskLib.judge.verdict import NO_HEAD
from ReidentRiskLib.runs import colours
from ReidentRiskLib.runs.tools import network_name
from ReidentRiskLib.window import outdated, words
from ReidentRiskLib.window.parameters import Views
from ReidentRiskLib.window.results import RiskResultNodes

_ = translator(__name__)

_NONE: Mapping[str, str] = MappingProxyType({})


def summary(result: RiskResultNodes, notes: Iterable[str] = (), changes: Mapping[str, str] = _NONE) -> str:
    """What was found: by whom, the verdict of every probe on its colour, what each attacker sees, and warnings.

    `notes` are further sentences, which come first; `changes` are those of the volumes since (see outdated.changes).
    """
    parts = [_paragraph(f"<b>{html.escape(note)}</b>") for note in (*outdated.sentences(changes), *notes)]
    parts.append(_paragraph(_compared(result)))
    former = outdated.outdated(changes, result)
    parts += [_probe(probe, probe["name"] in former) for probe in result.report["probes"]]
    if result.identification:
        parts.append(_paragraph(_look_up(result.identification)))
    parts.append(_paragraph(_thresholds()))
    parts += [_paragraph(f"<i>{html.escape(sentence)}</i>") for sentence in _warnings(result)]
    return "".join(parts)


def failed(sentence: str) -> str:
    """What stands in place of a result after a run that failed."""
    text = _("The last comparison failed, so there is no verdict: {sentence}").format(sentence=sentence)
    return _paragraph(html.escape(text)) + _paragraph(html.escape(_("Earlier results can be chosen above.")))


def _paragraph(content: str) -> str:
    return f"<p>{content}</p>"


def _compared(result: RiskResultNodes) -> str:
    """The original, the views and the network."""
    lines = {
        _("Original"): result.names[0],
        _("Views"): Views(result.report["views"]).label(),
        _("Network"): network_name(result.report["model"]),
    }
    return "<br>".join(f"{title}: <b>{html.escape(text)}</b>" for title, text in lines.items())


def _probe(probe: Mapping[str, Any], former: bool) -> str:
    mark = f" <b>{html.escape(outdated.mark_of_outdated())}</b>" if former else ""
    lines = [f"<b>{html.escape(probe['name'])}</b> {_badge(probe['verdict'])}{mark}"]
    if probe["verdict"] == NO_HEAD:
        lines += {html.escape(found["sentence"]): None for found in probe["attackers"].values()}
    else:
        lines += [
            f"{_attacker(attacker)}: {html.escape(found['sentence'])}" for attacker, found in probe["attackers"].items()
        ]
    return _paragraph("<br>".join(lines))


def _badge(verdict: str) -> str:
    colour = colours.VERDICTS[verdict]
    return (
        f'<span style="background-color:{colour}; color:black">&nbsp;{html.escape(words.verdict(verdict))}&nbsp;</span>'
    )


def _attacker(name: str) -> str:
    """The attacker with what it does as its tool tip."""
    return (
        f'<span title="{html.escape(words.attacker_tip(name))}">{html.escape(words.attacker(name).capitalize())}</span>'
    )


def _look_up(report: Mapping[str, Any]) -> str:
    """The rank of the original for each probe. Whether that is a hit depends on whose head the probe is."""
    first = next(iter(report["attackers"].values()))
    lines = [
        html.escape(
            _("Looked up among {persons} persons, at which rank is the original (1: the most similar)?").format(
                persons=first["gallery"]
            )
        )
    ]
    for attacker, found in report["attackers"].items():
        lines.append(f"{_attacker(attacker)}:")
        lines += [f"&nbsp;&nbsp;{html.escape(rank)}" for rank in found["ranks"] or ()]
    return "<br>".join(lines)


def _thresholds() -> str:
    return "<br>".join(f"{_badge(verdict)} {html.escape(text)}" for verdict, text in words.thresholds().items())


def _warnings(result: RiskResultNodes) -> list[str]:
    weak = [_("One view is weak: a second scan of the same person is often no more than 'uncertain'. Choose Standard.")]
    private = _(
        "The result holds the faces that were compared, that of the original as well. A scene that is saved with it is "
        "as private as the scans."
    )
    every = [
        *(weak if result.report["views"] == Views.FRONTAL.value else ()),
        *result.report["warnings"],
        *(result.identification or {}).get("warnings", ()),
        private,
    ]
    return list(dict.fromkeys(every))
