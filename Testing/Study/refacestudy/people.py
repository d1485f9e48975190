"""The heads of a study: whose they are, how old, how large, and who is like whom."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refacestudy.check_heads import find_heads

# What counts as one unit of unlikeness, when somebody of like age and head size is looked for
_YEARS, _SIZE = 10.0, 0.03
_UNKNOWN = 1.0  # units, where an age is not known


@dataclass(frozen=True)
class Person:
    """One head: ``labels`` are brain labels (None: there are none), ``age`` in years, ``sex`` M or F where known."""

    name: str
    image: Path
    labels: Path | None = None
    validation: bool = False
    age: float | None = None
    sex: str | None = None


def find_people(folder: Path) -> dict[str, Person]:
    """All heads ``<id>_T1w.nii.gz`` below a folder with what its ``participants.tsv`` say, validation heads first."""
    known: dict[str, dict[str, str]] = {}
    for table in sorted(folder.rglob("participants.tsv")):
        with table.open(encoding="utf-8", newline="") as stream:
            known |= {row["participant_id"]: row for row in csv.DictReader(stream, delimiter="\t")}
    return {
        head.name: Person(head.name, head.image, head.labels, head.validation, *_age_and_sex(known.get(head.name, {})))
        for head in find_heads(folder)
    }


def _age_and_sex(row: Mapping[str, str]) -> tuple[float | None, str | None]:
    sex = (row.get("sex") or "").strip().upper()[:1]
    try:
        age = float(row.get("age") or "nan")
    except ValueError:
        age = float("nan")
    return (age if np.isfinite(age) else None), (sex if sex in ("M", "F") else None)


def most_alike(person: Person, others: Sequence[Person], sizes: Mapping[str, float], count: int) -> list[str]:
    """Names of the ``count`` others of the same sex who are most alike in age and head size, the most alike first.

    ``sizes`` are head sizes by name (1: the mean adult's); who has none is left out. Where a sex is not known it does
    not part people.
    """
    if person.name not in sizes:
        return []
    ranked = []
    for other in others:
        sexes = {person.sex, other.sex} - {None}
        if other.name == person.name or other.name not in sizes or len(sexes) > 1:
            continue
        aged = person.age is not None and other.age is not None
        years = abs(person.age - other.age) / _YEARS if aged else _UNKNOWN
        size = abs(float(np.log(sizes[person.name] / sizes[other.name]))) / _SIZE
        ranked.append((years + size, other.name))
    return [name for _, name in sorted(ranked)[:count]]
