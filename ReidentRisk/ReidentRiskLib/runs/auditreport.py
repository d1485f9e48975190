"""What an audit says: a table with a row a head, a report ready for JSON, and a summary in words."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from RefaceLib.head.faceparts import PARTS
from ReidentRiskLib.attack.evidence import SHOWN
from ReidentRiskLib.judge.identify import identification_record
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKER_NAMES, ATTACKERS
from ReidentRiskLib.judge.statistics import rate, rate_record
from ReidentRiskLib.judge.verdict import RECOGNISABLE, THRESHOLDS, VERDICTS, assessment_record, calibration_record

if TYPE_CHECKING:
    from ReidentRiskLib.runs.audit import Audit, HeadAudit

_NO_HEAD = "no head"
_FEW = 5  # of the worst heads, listed at the terminal
LIMIT = (
    "Whose face it is cannot be told without the originals: an artificial face is a face, too. "
    "Give --originals to compare."
)
_SCORES = {"mean_embedding": "cosine", "share_of_strangers": "share_of_strangers"}  # of a record, and their columns


def _shown(head: HeadAudit) -> str | None:
    """One of SHOWN, `no head`, or None for a head that nobody could look at."""
    if head.evidence:
        return head.evidence.shown
    return None if head.failure and not head.assessments else _NO_HEAD


def row_of(head: HeadAudit) -> dict[str, Any]:
    """A head as a row of the table; None where there is nothing to say."""
    evidence = head.evidence
    missing: Mapping[str, float] = evidence.missing if evidence else {}
    row: dict[str, Any] = {
        "subject": head.subject,
        "head": head.name,
        "verdict": head.verdict,
        "shows": _shown(head),
        "sentence": head.failure or (head.assessments[ALIGNED].sentence if head.assessments else None),
        "views_with_a_face": evidence.faces if evidence else None,
        "views": evidence.views if evidence else None,
        "face_tissue": evidence.tissue if evidence else None,
        **{f"missing_{part}": missing.get(part) for part in PARTS},
    }
    for attacker in ATTACKERS:
        record = assessment_record(head.assessments[attacker], per_view=False) if head.assessments else {}
        row[f"{attacker}_verdict"] = record.get("verdict")
        row[f"{attacker}_rank"] = head.ranks[attacker] if head.ranks else None
        row |= {f"{attacker}_{column}": record.get(key) for key, column in _SCORES.items()}
    row["landmarks"] = head.landmarks or None
    row["declared"] = head.declared or None
    return row


def table(heads: Sequence[HeadAudit]) -> str:
    """The heads as tab-separated values, "n/a" for what is not there."""
    rows = [row_of(head) for head in heads]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    return "n/a" if value is None else " ".join(str(value).split())


def build_report(audit: Audit, about: Mapping[str, Any], views: str) -> dict[str, Any]:
    """An audit ready for JSON; ``about`` are the networks (see tools.about)."""
    compared = audit.originals is not None
    judged = [head.verdict for head in audit.heads if head.verdict]
    report: dict[str, Any] = {
        **about,
        "views": views,
        "heads": len(audit.heads),
        "shows": dict(Counter(shown for head in audit.heads if (shown := _shown(head)))),
        "not_judged": sum(bool(head.failure) for head in audit.heads),
    }
    if compared:
        report |= {
            "thresholds": dict(THRESHOLDS),
            "calibration": {name: calibration_record(each) for name, each in audit.calibrations.items()},
            "originals": {"subjects": audit.originals},
            "verdicts": {verdict: count for verdict in VERDICTS if (count := judged.count(verdict))},
            "recognisable": rate_record(rate(judged.count(RECOGNISABLE), len(judged))) if judged else None,
            "attackers": {attacker: identification_record(found) for attacker, found in audit.found.items()},
        }
    else:
        report["limit"] = LIMIT
    rows = [row_of(head) for head in audit.heads]
    return {**report, "rows": rows, "warnings": list(audit.warnings)}


def summary(report: Mapping[str, Any]) -> Iterator[str]:
    """The report in words."""
    total, shows = report["heads"], report["shows"]
    if "verdicts" in report:
        yield from _risk(report)
    seen = [f"{kind} in {shows[kind]}" for kind in (*SHOWN, _NO_HEAD) if kind in shows]
    yield f"Of {total} volumes, these show: {', '.join(seen) or 'nothing that could be looked at'}."
    if "limit" in report:
        yield report["limit"]
    if report["not_judged"]:
        yield f"{report['not_judged']} of {total} heads could not be judged; the table says why."


def _risk(report: Mapping[str, Any]) -> Iterator[str]:
    share = report["recognisable"]
    if share is None:
        return
    counts = ", ".join(f"{count} {verdict}" for verdict, count in report["verdicts"].items())
    low, high = share["interval"]
    yield f"Verdicts on {share['of']} heads: {counts} (recognisable: 95 % interval {low:.1%} to {high:.1%})."
    for attacker, found in report["attackers"].items():
        first = found["rank1"]
        low, high = first["interval"]
        yield (
            f"{ATTACKER_NAMES[attacker]}: the own original is the most similar of {found['gallery']} persons for "
            f"{first['hits']} of {first['of']} heads (95 % interval {low:.1%} to {high:.1%}; by chance "
            f"{found['chance_rank1']:.1%})."
        )
    worst = [row for row in report["rows"] if row["verdict"] == RECOGNISABLE]
    for row in worst[:_FEW]:
        yield f"  {row['head']}: {row['verdict']}; {row['sentence']}"
    if len(worst) > _FEW:
        yield f"  and {len(worst) - _FEW} more"
