"""What is seen of a head: pictures in its own frame, and the faces that a detector finds in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ReidentRiskLib.attack.render import render_views
from ReidentRiskLib.attack.views import VIEW_SETS, View

if TYPE_CHECKING:
    from vtkmodules.vtkCommonDataModel import vtkPolyData

    from ReidentRiskLib.attack.detector import Detection, Detector

# The nine by which the points of a face are found. They are among the standard views, and so they are drawn once.
FIRST = tuple(view for view in VIEW_SETS["standard"] if abs(view.yaw) <= 15 and view.pitch == 0)


@dataclass(frozen=True, eq=False)
class Sight:
    """A ``picture`` (S, S, 3) uint8, grey, and the face in it and in its mirror image; None where there is none."""

    picture: np.ndarray
    face: Detection | None
    mirrored: Detection | None


@dataclass(frozen=True, eq=False)
class Sights:
    """Views of one head, in its own frame, as the ``detector`` saw them."""

    detector: Detector
    views: Mapping[View, Sight]


def look(surface: vtkPolyData, frame: np.ndarray, detector: Detector) -> Sights:
    """The head with this ``surface`` (RAS mm) and ``frame`` (4, 4; canonical -> RAS mm) in the views FIRST."""
    pictures = render_views(surface, frame, FIRST)
    views = {}
    for view, picture in zip(FIRST, pictures, strict=True):
        face, mirrored = (detector.detect(grey) for grey in (picture[..., :1], picture[:, ::-1, :1]))
        views[view] = Sight(picture, face, mirrored)
    return Sights(detector, views)


def draw(
    surface: vtkPolyData,
    frame: np.ndarray,
    views: Sequence[View],
    known: Sights | None,
    each: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Pictures (V, S, S, 3) as render_views makes them, of which those of ``known`` sights are not drawn again."""
    seen = known.views if known else {}
    missing = [view for view in views if view not in seen]
    drawn = iter(render_views(surface, frame, missing, each=each)) if missing else iter(())
    return np.stack([seen[view].picture if view in seen else next(drawn) for view in views])


def detect(
    pictures: np.ndarray, views: Sequence[View], detector: Detector, known: Sights | None
) -> list[Detection | None]:
    """The face in each of ``pictures`` (V, S, S, 3), None where there is none; what is known is not sought again."""
    seen = known.views if known and known.detector is detector else {}
    return [
        seen[view].face if view in seen else detector.detect(picture[..., :1])
        for view, picture in zip(views, pictures, strict=True)
    ]
