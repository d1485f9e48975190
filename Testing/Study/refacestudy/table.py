"""The table of all heads: which promises held, medians and worst cases, as Markdown and CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Row = Mapping[str, Any]

PEERS = ("shell", "plane", "ragged", "ragged_grey")

# Sentence, the measure, what it must be, and whether it is asked of the validation heads only. A head without the
# measure is not asked.
_Promise = tuple[str, str, Callable[[float], bool], bool]
PROMISES: tuple[_Promise, ...] = (
    ("no voxel outside the mask changes", "changed_outside_mask", lambda x: x == 0, False),
    ("no DLMUSE voxel is in the mask", "dlmuse_in_mask", lambda x: x == 0, False),
    ("no DLMUSE voxel changes", "dlmuse_changed", lambda x: x == 0, False),
    ("brain Dice at 2 mm is at least 0.97", "brain_dice", lambda x: x >= 0.97, True),
    ("noise within 30 % (Laplacian)", "noise_laplacian", lambda x: 0.7 <= x <= 1.3, True),
    ("noise within 30 % (Haar)", "noise_haar", lambda x: 0.7 <= x <= 1.3, True),
    ("air in the mask as dark as outside (2 % of tissue)", "air_step", lambda x: abs(x) <= 2.0, True),
    ("another face than the subject's (0.75 mm)", "surface_mm", lambda x: x >= 0.75, False),
    ("another seed, another face (0.75 mm)", "seeds_mm", lambda x: x >= 0.75, False),
    *((f"recover finds 90 % of the lost face ({peer})", f"recover_{peer}_found_face", lambda x: x >= 0.9, True)
      for peer in PEERS),
)  # fmt: skip

# Measure, its heading, digits, and which is the worst case: the least, the most, or the ratio farthest off one.
MEASURES = (
    ("brain_dice", "brain Dice", 4, "least"),
    ("dlmuse_in_mask", "DLMUSE voxels in mask", 0, "most"),
    ("changed_outside_mask", "changed outside mask", 0, "most"),
    ("mask_ml", "mask, ml", 0, "most"),
    ("mask_tissue_ml", "tissue in the mask, ml", 0, "most"),
    ("landmarks_mm", "landmarks off, mm", 1, "most"),
    ("noise_laplacian", "noise ratio, Laplacian", 2, "off"),
    ("noise_haar", "noise ratio, Haar", 2, "off"),
    ("noise_original_laplacian", "the same of the true face, Laplacian", 2, "off"),
    ("noise_original_haar", "the same of the true face, Haar", 2, "off"),
    ("air_step", "air brighter in the mask, % of tissue", 2, "most"),
    ("air_step_original", "the same of the true face", 2, "most"),
    ("surface_mm", "true to new face, mm", 2, "least"),
    ("surface_forward_mm", "new before true face, mm", 2, "most"),
    ("surface_elsewhere_mm", "surface elsewhere, mm", 2, "most"),
    ("seeds_mm", "one seed to the other, mm", 2, "least"),
    ("seconds", "seconds", 1, "most"),
    *((f"seconds_{stage}", f"seconds, {stage}", 2, "most")
      for stage in ("parse", "mask", "generate", "blend", "check")),
    *((f"recover_{peer}_{name}", f"recover {peer.replace('_', ' ')}: {text}", 2, worst)
      for peer in PEERS
      for name, text, worst in (
          ("found", "found", "least"), ("found_face", "found of the face", "least"),
          ("restored_face", "restored of the face", "least"), ("extra_ml", "intact painted, ml", "most"))),
)  # fmt: skip
COLUMNS = (
    "brain_dice", "dlmuse_in_mask", "changed_outside_mask", "mask_ml", "noise_laplacian", "noise_haar", "surface_mm",
    "seeds_mm", "seconds",
)  # fmt: skip


def numbers(rows: Sequence[Row], key: str) -> list[tuple[float, str]]:
    """The measure ``key`` of all rows that have it, with the heads' names; NaN left out."""
    found = ((row.get(key), row["name"]) for row in rows)
    return [(float(x), name) for x, name in found if isinstance(x, int | float) and math.isfinite(x)]


def broken(rows: Sequence[Row]) -> dict[str, list[str]]:
    """The promises that did not hold: sentence -> the heads, each with its number."""
    found: dict[str, list[str]] = {}
    failed = [f"{row['name']} ({row.get('error', '')})" for row in rows if row["status"] != "ok"]
    if failed:
        found["every run succeeds"] = failed
    for sentence, key, holds, validation_only in PROMISES:
        asked = [row for row in rows if row["validation"] or not validation_only]
        names = [f"{name} ({x:.4g})" for x, name in numbers(asked, key) if not holds(x)]
        # A measure that is not a number could not be taken: that is no proof that the promise held.
        names += [f"{row['name']} (no number)" for row in asked if _nan(row.get(key))]
        if names:
            found[sentence] = names
    for peer in PEERS:
        errors = [f"{row['name']} ({row[key]})" for row in rows if (key := f"recover_{peer}_error") in row]
        if errors:
            found[f"recover succeeds ({peer})"] = errors
    return found


def _nan(x: Any) -> bool:
    return isinstance(x, float) and math.isnan(x)


def markdown(rows: Sequence[Row]) -> str:
    """Promises, medians and worst cases, and one line a head."""
    validation = [row for row in rows if row["validation"]]
    lines = [f"# {len(rows)} heads, {len(validation)} of them held out for validation", ""]
    lost = broken(rows)
    if not lost:
        lines += ["Every promise held on every head.", ""]
    else:
        lines += ["## Broken promises", ""]
        lines += [f"- **{sentence}**: {len(names)}: {', '.join(names)}" for sentence, names in lost.items()] + [""]
    lines += ["## Medians and worst cases", "", "| measure | heads | median | worst | of | median, validation |",
              "|---|---:|---:|---:|---|---:|"]  # fmt: skip
    for key, heading, digits, worst in MEASURES:
        found = numbers(rows, key)
        if found:
            value, name = _worst(found, worst)
            held_out = [x for x, _ in numbers(validation, key)]
            typical = f"{np.median(held_out):.{digits}f}" if held_out else ""
            middle = f"{np.median([x for x, _ in found]):.{digits}f}"
            lines.append(f"| {heading} | {len(found)} | {middle} | {value:.{digits}f} | {name} | {typical} |")
    return "\n".join([*lines, "", *_per_head(rows), ""])


def _worst(found: list[tuple[float, str]], which: str) -> tuple[float, str]:
    if which == "off":  # of a ratio
        return max(found, key=lambda pair: abs(math.log(max(pair[0], 1e-6))))
    return min(found) if which == "least" else max(found)


def _per_head(rows: Sequence[Row]) -> list[str]:
    about = {key: (heading, digits) for key, heading, digits, _ in MEASURES}
    lines = ["## Heads", "", f"| head | {' | '.join(about[key][0] for key in COLUMNS)} | warnings |"]
    lines.append("|---|" + "---:|" * len(COLUMNS) + "---|")
    for row in rows:
        cells = [f"{row[key]:.{about[key][1]}f}" if row.get(key) is not None else "" for key in COLUMNS]
        name = row["name"] + (" (validation)" if row["validation"] else "")
        lines.append(f"| {name} | {' | '.join(cells)} | {row.get('error') or row.get('warnings', '')} |")
    return lines


def brief(row: Row) -> str:
    """One head in a few words, while the others are measured."""
    parts = [f"{key} {row[key]:.4g}" for key in COLUMNS if row.get(key) is not None]
    return ", ".join(parts)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """All measures of all heads; the columns are those of any row."""
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "fingerprint"))
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
