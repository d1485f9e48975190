"""Writes what a study found: report.md, heads.csv, methods.csv, and pictures."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import RefaceLib
from RefaceLib.face import weights
from refacestudy import charts, goals, risk, stats, table
from refacestudy.methods import ANYBODY, METHODS, ORACLE, ORACLES, OTHER_BLOCK, SEEDS
from refacestudy.summary import ALIKE, Row, Summary, rescan_changes
from refacestudy.work import ORIGINAL, Study

_FACES = (
    "original", *ORACLES, "deface", "reface", "reface_seed1", "average_face", "average_face_pydeface",
    "niimath_deface", "quickshear", "radveil", "recover_deface", "recover_niimath", "recover_quickshear",
)  # fmt: skip


def write(study: Study, rescans: Path | None = None) -> None:
    """Compute every figure from what is on disk, and write the report into the study's folder."""
    summary = Summary(study)
    heads, methods = summary.per_head(), summary.per_method()
    study.folder.mkdir(parents=True, exist_ok=True)
    table.write_csv(study.folder / "heads.csv", heads)
    table.write_csv(study.folder / "methods.csv", methods)
    chance = 1.0 / max(len(summary.gallery), 1)
    kinds = {name: METHODS[name].kind for name in study.methods}
    charts.balance(
        study.folder / "balance.png", [r for r in methods if r["method"] != ORIGINAL], kinds, "brain", chance
    )
    charts.diversity(study.folder / "diversity.png", pair_groups(summary))
    pictures = {
        name: {method: study.cell(name, method).folder / "face.png" for method in study.methods} for name in study.names
    }
    charts.faces(study.folder / "faces.png", pictures, [name for name in _FACES if name in study.methods])
    pairs = read_pairs(rescans) if rescans else []
    text = "\n".join(
        [*_head(summary), *_goals(summary, methods), *_morphometry(summary, methods, pairs), *_risk(summary, methods),
         *_leakage(methods), *_realism(methods), *_diversity(summary, methods), *_cost(methods), *_failures(heads)]
    )  # fmt: skip
    (study.folder / "report.md").write_text(text + "\n", encoding="utf-8")


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Names of two scans of one person a line: a table with the columns first and second."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [(row["first"], row["second"]) for row in csv.DictReader(stream, delimiter="\t")]


def pair_groups(summary: Summary) -> dict[str, np.ndarray]:
    """Cosines of pairs of faces: of real people, of generated ones, of two seeds."""
    groups = {"real people": risk.pairwise(summary.probes.get(ORIGINAL, {}))}
    for method in (*ORACLES, *SEEDS, "average_face", "average_face_pydeface"):
        if summary.probes.get(method):
            groups[f"{method}, two subjects"] = risk.pairwise(summary.probes[method])
    groups["two seeds, one subject"] = summary.same(SEEDS)
    groups["seeds of two blocks, one subject"] = summary.across(SEEDS, OTHER_BLOCK)
    groups["two oracles, one head"] = summary.same(ORACLES)
    groups["one subject, real and reface"] = risk.paired_similarity(
        summary.probes.get(ORIGINAL, {}), summary.probes.get("reface", {})
    )
    return {name: values[np.isfinite(values)] for name, values in groups.items()}


# ---- the parts of the report ----


def _head(summary: Summary) -> list[str]:
    study = summary.study
    recogniser = next((face.embedding.model for face in summary.gallery.values()), "none")
    registry = json.dumps(weights.read_registry(), sort_keys=True).encode()
    digest, held_out = hashlib.sha256(registry).hexdigest(), sum(study.people[name].validation for name in study.names)
    return [
        "# Study", "",
        f"{date.today().isoformat()}; RefaceLib {RefaceLib.__version__}, weights {digest[:12]}, code and weights"
        f" {study.fingerprint[:12]}.",
        f"{len(study.names)} heads ({held_out} never trained on), gallery of {len(summary.gallery)} originals,"
        f" recogniser {recogniser}. docs/study.md explains the figures. Intervals are of 95 %.",
        "", "| method | kind | what |", "|---|---|---|",
        *(f"| {name} | {METHODS[name].kind} | {METHODS[name].what} |" for name in study.methods), "",
    ]  # fmt: skip


def _goals(summary: Summary, methods: Sequence[Row]) -> list[str]:
    seeds = goals.Seeds(
        cosines=summary.same(SEEDS),
        blocks=summary.across(SEEDS, OTHER_BLOCK),
        apart=summary.same_less_strangers(SEEDS),
        oracles=summary.same_less_strangers(ORACLES),
        less_average=summary.own_less(SEEDS, [goals.average_face(methods).get("method", "")]),
        less_strangers=summary.own_less(SEEDS, ANYBODY),
    )
    found = goals.judge(methods, seeds, summary.study.options.segmenters)
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [[goal.sentence, goal.figures, words[goal.holds]] for goal in found]
    return ["## What must hold", "", *_table(["goal", "figures", "holds"], rows), ""]


def _morphometry(summary: Summary, methods: Sequence[Row], pairs: Sequence[tuple[str, str]]) -> list[str]:
    shown = [row for row in methods if row["method"] != ORIGINAL]
    if pairs:
        shown.append(rescan_changes(summary, pairs))
    names = (
        [key.removesuffix("_change") for key in shown[0] if key.endswith("_change") and _any(shown, key)]
        if shown
        else []
    )
    change = [[row["method"], *(_number(row.get(f"{name}_change"), 3) for name in names)] for row in shown]
    overlap = [[row["method"], *(_number(row.get(f"{name}_dice"), 4) for name in names)] for row in shown]
    heading = ["method", *(name.replace("_", " ") for name in names)]
    return [
        "## Morphometry", "",
        "Median absolute change of volume against the original, %:", "", *_table(heading, change), "",
        "Median Dice with the original:", "", *_table(heading, overlap), "",
    ]  # fmt: skip


def _risk(summary: Summary, methods: Sequence[Row]) -> list[str]:
    rows = []
    for row in methods:
        for attacker in risk.ATTACKERS:
            if f"auc_{attacker}" in row:
                rate = _interval(row, f"rank1_{attacker}", 2)
                cosine = _interval(row, f"cosine_{attacker}", 3)
                rows.append([row["method"], attacker, rate, cosine, _number(row[f"auc_{attacker}"], 3),
                             _number(row[f"eer_{attacker}"], 2), str(row[f"failures_{attacker}"])])  # fmt: skip
    chance = 1.0 / max(len(summary.gallery), 1)
    heading = ["method", "attacker", "rank-1", "cosine to the own original", "AUC", "EER", "no face found"]
    return [
        "## Risk", "", f"Looked up among {len(summary.gallery)} originals; by chance rank-1 is {chance:.3f}.", "",
        *_table(heading, rows), "", "![balance](balance.png)", "",
    ]  # fmt: skip


def _leakage(methods: Sequence[Row]) -> list[str]:
    rows, against = [], []
    for row in methods:
        if "leak_cosine" not in row:
            continue
        rows.append([row["method"], *(text for key, digits in (("leak_cosine", 3), ("leak_mm", 2))
                                      for text in _paired(row, key, digits))])  # fmt: skip
        for other in (ORACLE, "average_face"):
            if f"mm_less_{other}" in row:
                against.append(
                    [
                        row["method"],
                        other,
                        *_paired(row, f"cosine_less_{other}", 3),
                        *_paired(row, f"mm_less_{other}", 2),
                    ]
                )
    heading = ["method", "cosine", "effect", "p", "surface, mm", "effect", "p"]
    return [
        "## Leakage", "",
        f"Own subject less {ALIKE} others of like size, age and sex (cosine above 0, or mm below 0: nearer to the own"
        " face):", "", *_table(heading, rows), "",
        "To the own face, less another method's on the same heads:", "",
        *_table(["method", "less", *heading[1:]], against), "",
    ]  # fmt: skip


def _realism(methods: Sequence[Row]) -> list[str]:
    columns = (
        ("accepted", 3), ("patch_distance", 3), ("embedding_distance", 4), ("noise_laplacian", 2), ("noise_haar", 2),
        ("air_step", 2), ("brightness", 2), ("surface_mm", 2), ("changed_outside_mask", 4), ("brain_changed", 5),
    )  # fmt: skip
    rows = [[row["method"], *(_number(row.get(key), digits) for key, digits in columns)] for row in methods]
    return ["## Realism", "", *_table(["method", *(key.replace("_", " ") for key, _ in columns)], rows), "",
            "![faces](faces.png)", ""]  # fmt: skip


def _diversity(summary: Summary, methods: Sequence[Row]) -> list[str]:
    rows = []
    for name, values in pair_groups(summary).items():
        found = stats.mean(values)
        rows.append([name, str(found.n), _number(found.value, 3), _number(float(values.std()) if found.n else None, 3)])
    return [
        "## Diversity",
        "",
        *_table(["pairs", "n", "mean cosine", "sd"], rows),
        "",
        "![diversity](diversity.png)",
        "",
    ]


def _cost(methods: Sequence[Row]) -> list[str]:
    columns = (("seconds", 1), ("cpu_seconds", 1), ("cpu_seconds_ratio", 2), ("peak_mb", 0), ("peak_mb_ratio", 2))
    rows = [[row["method"], *(_number(row.get(key), digits) for key, digits in columns)]
            for row in methods if np.isfinite(row.get("seconds", np.nan))]  # fmt: skip
    return [
        "## Time and memory", "",
        "Medians, from file to file in a process of its own, one thread; ratios to reface. Seconds of the processor do"
        " not depend on what else the computer does.", "",
        *_table(["method", "seconds", "of the processor", "ratio", "MB", "ratio"], rows), "",
    ]  # fmt: skip


def _failures(heads: Sequence[Row]) -> list[str]:
    failed = [row for row in heads if row["status"] == "failed"]
    groups: dict[tuple[str, str], list[str]] = {}
    for row in failed:
        groups.setdefault((row["method"], row["error"]), []).append(row["head"])
    rows = [
        [method, f"{len(names)}: {', '.join(names[:5])}", error.replace("|", "/")]
        for (method, error), names in groups.items()
    ]
    return ["## What failed", "", *(_table(["method", "heads", "why"], rows) if rows else ["Nothing."])]


# ---- text ----


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(heading)} |", "|---" * len(heading) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _number(value: Any, digits: int) -> str:
    return f"{value:.{digits}f}" if value is not None and np.isfinite(value) else ""


def _interval(row: Mapping[str, Any], key: str, digits: int) -> str:
    value, low, high = (_number(row.get(f"{key}{end}"), digits) for end in ("", "_low", "_high"))
    return f"{value} ({low} to {high})" if low and high else value


def _paired(row: Mapping[str, Any], key: str, digits: int) -> list[str]:
    return [_interval(row, key, digits), _number(row.get(f"{key}_effect"), 2), _number(row.get(f"{key}_p"), 3)]


def _any(rows: Sequence[Row], key: str) -> bool:
    return any(row.get(key) is not None and np.isfinite(row[key]) for row in rows)
