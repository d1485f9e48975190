"""The five points of a face as a user gives them: a point list of 3D Slicer, or a plain file of coordinates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from RefaceLib.common.errors import InputError

OWN, ORIGINAL, GIVEN, NONE = "own", "original", "given", "none"  # where the points of a face come from


def order_points(points: Sequence[tuple[str, Sequence[float]]], labels: Sequence[str], what: str) -> np.ndarray:
    """The labelled `points` as (N, 3) in the order of `labels`; `what` names their origin in an error.

    Points are known by their labels (case, blanks and underscores do not matter), or taken in the order they are in
    where none has such a label. Raises InputError where points are missing, or cannot be told apart.
    """
    wanted = [_key(label) for label in labels]
    found = [_key(label) for label, _ in points]
    if all(found.count(key) == 1 for key in wanted):
        return np.array([points[found.index(key)][1] for key in wanted], float)
    if len(points) == len(labels) and not set(wanted) & set(found):
        return np.array([position for _, position in points], float)
    names = ", ".join(label.replace("_", " ") for label in labels)
    raise InputError(f"{what} must hold each of these points once: {names}.")


def _key(label: str) -> str:
    return "".join(character for character in label.lower() if character.isalnum())


def read_points(path: str | Path, labels: Sequence[str]) -> np.ndarray:
    """Points (N, 3) in RAS mm of a point list saved by 3D Slicer (.mrk.json), or of JSON like {"nose_tip": [x, y, z]}.

    A plain file is in RAS mm; a point list says itself whether it is in LPS. Raises InputError.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        points = _slicer_points(content["markups"][0]) if "markups" in content else _plain_points(content)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: check the name.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the file and its permissions.") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{path} is not a list of points: save one from 3D Slicer as .mrk.json.") from error
    return order_points(points, labels, str(path))


def _slicer_points(markup: dict[str, Any]) -> list[tuple[str, list[float]]]:
    flip = {"LPS": (-1, -1, 1), "RAS": (1, 1, 1)}[markup.get("coordinateSystem", "LPS")]
    if markup.get("coordinateUnits", "mm") != "mm":
        raise ValueError("units")
    placed = (point for point in markup["controlPoints"] if point.get("positionStatus", "defined") == "defined")
    return [(str(point.get("label", "")), _position(point["position"], flip)) for point in placed]


def _plain_points(content: dict[str, Any]) -> list[tuple[str, list[float]]]:
    return [(label, _position(position, (1, 1, 1))) for label, position in content.items()]


def _position(position: Sequence[Any], flip: Sequence[int]) -> list[float]:
    x, y, z = (sign * float(value) for sign, value in zip(flip, position, strict=True))
    return [x, y, z]
