"""From the records of a study to its figures: one row a head and method, and one row a method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np

from refacestudy import faces, people, risk, stats
from refacestudy.methods import AVERAGE_FACES, ORACLE, ORACLES
from refacestudy.morphometry import SEGMENTERS, TISSUES
from refacestudy.work import ORIGINAL, PARTS, Study
from ReidentRiskLib.judge.scores import ATTACKERS

ALIKE = 5  # others of like size, age and sex, for leakage
DIRECTIONS = 16  # principal directions of the embeddings that a Frechet distance compares
NEAR_FRONT = 16.0  # degrees of yaw and pitch of the views that it uses

Row = dict[str, Any]


@dataclass
class Summary:
    """Everything that a report shows, computed once, from what is on disk."""

    study: Study
    rows: list[Row] = field(default_factory=list)

    # ---- what is stored ----

    @cached_property
    def gallery(self) -> dict[str, faces.Face]:
        """The stored faces of the originals."""
        names = dict.fromkeys((*self.study.gallery, *self.study.names))
        return {name: face for name in names if (face := self._face(name, ORIGINAL))}

    @cached_property
    def probes(self) -> dict[str, dict[str, faces.Face]]:
        """The stored faces by method and head."""
        return {
            method: {name: face for name in self.study.names if (face := self._face(name, method))}
            for method in self.study.methods
        }

    def _face(self, name: str, method: str) -> faces.Face | None:
        if (self.study.record(name, method, "face") or {}).get("status") != "ok":
            return None
        return faces.load(self.study.cell(name, method).folder / "face.npz", name)

    def looks(self, method: str) -> dict[str, dict[str, np.ndarray]]:
        """Patches and skin by head."""
        found = {}
        for name in self.study.names:
            if (self.study.record(name, method, "look") or {}).get("status") == "ok":
                with np.load(self.study.cell(name, method).folder / "look.npz") as content:
                    found[name] = {key: content[key] for key in content.files}
        return found

    # ---- risk ----

    @cached_property
    def lookups(self) -> dict[tuple[str, str], risk.Lookup]:
        """By method and attacker; none where the gallery holds fewer than two heads."""
        found = {}
        for method, probes in self.probes.items():
            known = {name: face for name, face in probes.items() if name in self.gallery}
            if known and len(self.gallery) > 1:
                wearing = self._donors(method) if method in ORACLES else None
                for attacker in ATTACKERS:
                    found[method, attacker] = risk.look_up(self.gallery, known, attacker, wearing)
        return found

    def _donors(self, method: str) -> dict[str, str | None]:
        """Whose face the heads wear under an oracle."""
        return {name: (self.study.record(name, method, "run") or {}).get("donor") for name in self.study.names}

    @cached_property
    def leaks(self) -> dict[str, risk.Leak]:
        """By method."""
        everybody = [self.study.people[name] for name in self.gallery]
        sizes = {name: face.size for name, face in self.gallery.items()}
        alike = {name: people.most_alike(self.study.people[name], everybody, sizes, ALIKE) for name in self.study.names}
        return {
            method: risk.leak(
                self.gallery,
                lookup,
                {name: each["skin"].astype(float) for name, each in self.looks(method).items()},
                alike,
            )
            for (method, attacker), lookup in self.lookups.items()
            if attacker == ATTACKERS[0]
        }

    # ---- realism ----

    @cached_property
    def patch_distance(self) -> dict[str, float]:
        """Frechet distance of a method's patches to the originals'; of the original: of two halves."""
        originals = {name: each["patches"] for name, each in self.looks(ORIGINAL).items() if len(each["patches"])}
        if not originals:
            return {}
        every = np.concatenate(list(originals.values()))
        middle, spread = every.mean(axis=0), np.maximum(every.std(axis=0), 1e-6)
        found = {}
        for method in self.study.methods:
            clouds = [each["patches"] for each in self.looks(method).values() if len(each["patches"])]
            one, other = (
                (list(originals.values())[::2], list(originals.values())[1::2])
                if method == ORIGINAL
                else (clouds, [every])
            )
            if one and other:
                scaled = [(np.concatenate(cloud) - middle) / spread for cloud in (one, other)]
                found[method] = stats.frechet(*scaled)
        return found

    @cached_property
    def embedding_distance(self) -> dict[str, float]:
        """Frechet distance of the near-frontal embeddings of a method to those of originals that were not studied."""
        real = [face for name, face in self.gallery.items() if name not in self.study.names]
        real = real if len(real) >= 2 else list(self.gallery.values())
        if len(real) < 2:
            return {}
        reference = np.concatenate([_near_front(face) for face in real])
        middle = reference.mean(axis=0)
        directions = np.linalg.svd(reference - middle, full_matrices=False)[2][:DIRECTIONS].T
        return {
            method: stats.frechet(
                (np.concatenate([_near_front(face) for face in probes.values()]) - middle) @ directions,
                (reference - middle) @ directions,
            )
            for method, probes in self.probes.items()
            if probes
        }

    # ---- rows ----

    def per_head(self) -> list[Row]:
        """One flat row a head and method, with what failed."""
        if not self.rows:
            self.rows = [self._row(name, method) for name in self.study.names for method in self.study.methods]
        return self.rows

    def _row(self, name: str, method: str) -> Row:
        errors = []
        row: Row = {"head": name, "method": method, "status": "ok"}
        for part in PARTS:
            record = self.study.record(name, method, part)
            if record is None:
                errors += ["not run yet"] if part == "run" and method != ORIGINAL else []
                continue
            if record.get("status") == "failed":
                errors.append(f"{part}: {record['error']}")
            for key, value in record.items():
                if isinstance(value, int | float | str) and key not in ("key", "status", "error", "landmarks"):
                    row[key] = value
        for attacker in ATTACKERS:
            lookup = self.lookups.get((method, attacker))
            if lookup and name in lookup.probes:
                index = lookup.probes.index(name)
                row[f"cosine_{attacker}"] = float(lookup.own[index])
                row[f"rank_{attacker}"] = int(lookup.ranks[index])
        leak = self.leaks.get(method)
        if leak and name in leak.probes:
            index = leak.probes.index(name)
            row |= {"cosine_matched": leak.other_similarity[index], "own_mm": leak.own_mm[index]}
            row["matched_mm"] = leak.other_mm[index]
        if errors:
            row |= {"status": "failed", "error": "; ".join(errors)}
        return row

    def per_method(self) -> list[Row]:
        """One flat row a method: medians, rates with intervals, distances, ratios."""
        found = [self._method_row(method) for method in self.study.methods]
        base = next((row for row in found if row["method"] == "reface"), {})
        for row in found:
            for key in ("seconds", "cpu_seconds", "peak_mb"):
                row[f"{key}_ratio"] = row[key] / base[key] if base.get(key) else float("nan")
        return found

    def _method_row(self, method: str) -> Row:
        rows = [row for row in self.per_head() if row["method"] == method]
        row: Row = {"method": method, "heads": len(rows), "failed": sum(each["status"] == "failed" for each in rows)}
        for name in structures():
            row[f"{name}_change"] = stats.median([abs(each[key]) for each in rows if (key := f"{name}_change") in each])
            row[f"{name}_dice"] = stats.median([each.get(f"{name}_dice") for each in rows])
        for attacker in ATTACKERS:
            if lookup := self.lookups.get((method, attacker)):
                row |= _risk_row(lookup)
        if leak := self.leaks.get(method):
            row |= _paired_row("leak_cosine", leak.similarity()) | _paired_row("leak_mm", leak.distance())
            for other in (ORACLE, *AVERAGE_FACES):
                if other in self.leaks and other != method:
                    similarity, distance = leak.against(self.leaks[other])
                    row |= _paired_row(f"cosine_less_{other}", similarity) | _paired_row(f"mm_less_{other}", distance)
        for key in (
            "accepted",
            "surface_mm",
            "noise_laplacian",
            "noise_haar",
            "air_step",
            "brightness",
            "changed_outside_mask",
            "brain_changed",
        ):
            row[key] = stats.mean([each.get(key) for each in rows]).value
        row["patch_distance"] = self.patch_distance.get(method, float("nan"))
        row["embedding_distance"] = self.embedding_distance.get(method, float("nan"))
        pairs = stats.mean(risk.pairwise(self.probes[method]))
        row |= {"pair_cosine": pairs.value, "pairs": pairs.n}
        for key in ("seconds", "cpu_seconds", "peak_mb"):
            row[key] = stats.median([each.get(key) for each in rows])
        return row

    def same(self, methods: Sequence[str]) -> np.ndarray:
        """Cosines of two faces of one subject, by any two of the methods."""
        return self._cosines(combinations(methods, 2))

    def across(self, methods: Sequence[str], other: str) -> np.ndarray:
        """Cosines of two faces of one subject, by any of the methods and by the ``other``."""
        return self._cosines((method, other) for method in methods)

    def _cosines(self, pairs: Iterable[tuple[str, str]]) -> np.ndarray:
        """Cosines of the two faces of one subject, by each of the ``pairs`` of methods."""
        probes = [(self.probes.get(one, {}), self.probes.get(other, {})) for one, other in pairs]
        return np.concatenate([risk.paired_similarity(*each) for each in probes])

    def same_less_strangers(self, methods: Sequence[str]) -> dict[str, float]:
        """How much more alike the faces of one subject are than those of two subjects, by subject."""
        return risk.same_less_strangers([self.probes.get(method, {}) for method in methods])

    def own_less(self, methods: Sequence[str], others: Sequence[str]) -> dict[str, float]:
        """How much more alike the own original the faces of ``methods`` are than those of ``others``, by subject: the
        difference of the mean cosines, of those that were measured."""
        ours, theirs = self._own(methods), self._own(others)
        return {head: ours[head] - theirs[head] for head in ours if head in theirs}

    def _own(self, methods: Sequence[str]) -> dict[str, float]:
        """Mean cosine to the own original, by subject, of subjects that have a face of every measured method."""
        key = f"cosine_{ATTACKERS[0]}"
        rows = [row for row in self.per_head() if key in row]
        owns = [{row["head"]: row[key] for row in rows if row["method"] == method} for method in methods]
        measured = [own for own in owns if own]
        everywhere = [head for head in measured[0] if all(head in own for own in measured)] if measured else []
        return {head: float(np.mean([own[head] for own in measured])) for head in everywhere}


def structures() -> list[str]:
    """What volumes are compared: brain, and the tissues of each segmenter."""
    return ["brain", *(f"{segmenter}_{tissue}" for segmenter in SEGMENTERS for tissue in TISSUES)]


def _near_front(face: faces.Face) -> np.ndarray:
    """The embeddings (V, D) of the near-frontal views that have any."""
    views = faces.view_set(faces.VIEWS)
    chosen = [i for i, view in enumerate(views) if max(abs(view.yaw), abs(view.pitch)) < NEAR_FRONT]
    rows = face.embedding.aligned[chosen]
    return rows[np.isfinite(rows).all(axis=1)]


def _risk_row(lookup: risk.Lookup) -> Row:
    own, name = stats.mean(lookup.own), lookup.attacker
    return {
        f"rank1_{name}": lookup.rank1.value,
        f"rank1_{name}_low": lookup.rank1.low,
        f"rank1_{name}_high": lookup.rank1.high,
        f"cosine_{name}": own.value,
        f"cosine_{name}_low": own.low,
        f"cosine_{name}_high": own.high,
        f"auc_{name}": lookup.auc,
        f"eer_{name}": lookup.eer,
        f"d_prime_{name}": lookup.d_prime,
        f"failures_{name}": lookup.failures,
    }


def _paired_row(name: str, value: stats.Paired) -> Row:
    return {
        name: value.value, f"{name}_low": value.low, f"{name}_high": value.high, f"{name}_effect": value.effect,
        f"{name}_p": value.p, f"{name}_n": value.n,
    }  # fmt: skip


def rescan_changes(summary: Summary, pairs: Sequence[tuple[str, str]]) -> Row:
    """Median |change| in % of each structure between two scans of one person; NaN where they were not segmented."""
    changes: dict[str, list[float]] = {name: [] for name in structures()}
    for first, second in pairs:
        records = [summary.study.record(name, ORIGINAL, "morphometry") or {} for name in (first, second)]
        for name, found in changes.items():
            one, other = (record.get(f"{name}_ml") for record in records)
            if one and other:
                found.append(abs(100.0 * (other / one - 1.0)))
    return {"method": "rescan", **{f"{name}_change": stats.median(found) for name, found in changes.items()}}
