"""An exercise for a class: a face beside a gallery of eight, one of which is the same person's. Which one?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FACES = 8  # to choose from


@dataclass(frozen=True, eq=False)
class Exercise:
    """The picture of `probe`, who is to be found, and FACES pictures, all (S, S, 3) uint8; `answer` counts from 1."""

    probe: str
    asked: np.ndarray
    faces: tuple[np.ndarray, ...]
    answer: int


def make_exercise(
    probes: Sequence[tuple[str, str, np.ndarray | None]], known: Mapping[str, np.ndarray], random: np.random.Generator
) -> Exercise | None:
    """An exercise of the first of `probes` (subject, name, picture or None) that can be asked; None where none can.

    `known` holds a picture of each subject of the gallery. The others are drawn from it, and all are shuffled.
    """
    for subject, name, picture in probes:
        others = [other for other in known if other != subject]
        if picture is None or subject not in known or len(others) < FACES - 1:
            continue
        chosen = [subject, *random.choice(np.array(others, object), FACES - 1, replace=False)]
        order = random.permutation(FACES)
        faces = tuple(known[chosen[index]] for index in order)
        return Exercise(name, picture, faces, 1 + int(np.flatnonzero(order == 0)[0]))
    return None
