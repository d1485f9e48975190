"""How similar two heads are: the cosines of their embeddings, for each attacker.

What a cosine means is judged in verdict.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.views import PHOTO

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding

# The values are the keys of reports and files. A face is aligned by the points of the original, or where a detector
# finds it.
ALIGNED, DETECTED = ATTACKERS = ("forced", "gated")
ATTACKER_NAMES = {ALIGNED: "aligned faces", DETECTED: "detected faces"}


@dataclass(frozen=True, eq=False)
class Score:
    """Cosines of two heads for one attacker.

    ``per_view`` (V,) is NaN where a face was not acquired; ``mean_embedding`` compares the means over the ``acquired``
    of ``views`` views in which both faces were; it and ``maximum`` (over views) are NaN where there is no such view.
    """

    attacker: str
    per_view: np.ndarray
    mean_embedding: float
    maximum: float
    acquired: int
    views: int


def rows_of(head: HeadEmbedding, attacker: str) -> np.ndarray:
    """The head's embeddings (V, D) for an attacker, float64 and of length 1; NaN rows where no face was acquired."""
    if attacker not in ATTACKERS:
        raise ValueError(f"attacker must be one of {ATTACKERS}, not {attacker!r}")
    rows = np.asarray(head.aligned if attacker == ALIGNED else head.detected, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def check_comparable(heads: Iterable[HeadEmbedding]) -> None:
    """Raise InputError unless all are of one model and one view set; a photograph goes with any view set."""
    heads = list(heads)
    models = sorted({head.model for head in heads})
    if len(models) > 1:
        raise InputError(f"The embeddings are of different models ({', '.join(models)}): embed all with one model.")
    views = sorted({head.views for head in heads} - {PHOTO})
    if len(views) > 1:
        raise InputError(f"The embeddings are of different view sets ({', '.join(views)}): embed all with one set.")


def score_of(reference: HeadEmbedding, probe: HeadEmbedding, attacker: str) -> Score:
    """Compare two heads, view by view and as a whole; a photograph is compared with every view of a head.

    Raises InputError for embeddings of different models or view sets.
    """
    check_comparable([reference, probe])
    per_view = (rows_of(reference, attacker) * rows_of(probe, attacker)).sum(axis=1)
    per_view = np.clip(per_view, -1.0, 1.0)
    seen = np.isfinite(per_view)
    return Score(
        attacker=attacker,
        per_view=per_view,
        mean_embedding=float(similarity_matrix([reference], [probe], attacker)[0, 0]),
        maximum=float(per_view[seen].max()) if seen.any() else float("nan"),
        acquired=int(seen.sum()),
        views=len(per_view),
    )


def similarity_matrix(
    references: Sequence[HeadEmbedding], probes: Sequence[HeadEmbedding], attacker: str
) -> np.ndarray:
    """Cosines (P, R) of the mean embeddings of P probes and R references, as Score.mean_embedding has them.

    The means are over the views in which both faces were acquired, which is what a clever attacker would compare; NaN
    where there is none.
    """
    views = max(len(head.aligned) for head in (*references, *probes))
    first, first_seen = _stacked(references, attacker, views)
    second, second_seen = _stacked(probes, attacker, views)
    if first_seen.all() and second_seen.all():
        return np.clip(_unit(second.mean(axis=1)) @ _unit(first.mean(axis=1)).T, -1.0, 1.0)
    matrix = np.empty((len(probes), len(references)))
    for column, (rows, seen) in enumerate(zip(first, first_seen, strict=True)):
        common = second_seen & seen  # (P, V)
        reference_sums = common.astype(float) @ rows
        probe_sums = np.einsum("pv,pvd->pd", common.astype(float), second)
        matrix[:, column] = (_unit(reference_sums) * _unit(probe_sums)).sum(axis=1)
    return np.clip(matrix, -1.0, 1.0)


def _stacked(heads: Sequence[HeadEmbedding], attacker: str, views: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, views, D) with zeros where no face was acquired, and where one was (N, views)."""
    every = [rows_of(head, attacker) for head in heads]
    rows = np.stack([np.broadcast_to(each, (views, each.shape[1])) if len(each) == 1 else each for each in every])
    seen = np.isfinite(rows).all(axis=2)
    return np.where(seen[..., None], rows, 0.0), seen


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, D) at length 1; NaN where there is no direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.full_like(vectors, np.nan), where=lengths > 0)


def number(value: float | None, digits: int = 5) -> float | None:
    """A number for JSON: rounded, None for NaN."""
    return None if value is None or not np.isfinite(value) else round(float(value), digits)
