"""Whether a head shows a face at all: the tissue where a face must be, and the views in which a detector finds one.

It takes no original, and so it cannot tell whose face it is: an artificial face is one, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from RefaceLib.head.faceparts import FaceParts, share_left
from RefaceLib.head.headcheck import DEFACED, WHOLE, parts_there
from RefaceLib.head.headparser import brain_frame
from RefaceLib.skin.surface import face_surface
from ReidentRiskLib.attack.heads import head_values
from ReidentRiskLib.attack.render import render_views
from ReidentRiskLib.attack.views import view_set

if TYPE_CHECKING:
    from RefaceLib.head.headparser import HeadParse
    from RefaceLib.volume.io import Volume
    from ReidentRiskLib.attack.detector import Detector

FACE, UNCLEAR, NO_FACE = SHOWN = ("a face", "unclear", "no face")
# Of the views: in whole heads the detector finds a face in all, and in defaced ones in up to 0.84 of them. It takes
# smooth skin for one, so it is not believed alone.
_SURE = 0.9


@dataclass(frozen=True)
class Evidence:
    """What there is of a face.

    ``tissue`` is that of eyes, nose, mouth and chin, as a share of a usual face's; ``missing`` (0..1) says of each part
    how much of the usual tissue is not there. A detector found a face in ``faces`` of ``views`` pictures.
    """

    tissue: float
    missing: Mapping[str, float]
    faces: int
    views: int

    @property
    def shown(self) -> str:
        """One of SHOWN: UNCLEAR unless tissue and detector agree."""
        seen = self.faces >= _SURE * self.views
        if seen and self.tissue >= WHOLE:
            return FACE
        return NO_FACE if not seen and self.tissue < DEFACED else UNCLEAR


def find_evidence(
    volume: Volume, parse: HeadParse, detector: Detector, views: str = "standard", faces: int | None = None
) -> Evidence:
    """The evidence in a volume, drawn in the ``views`` of a set and in the pose of its brain.

    ``parse`` is that of the volume (see heads.parse_volume); ``faces`` is the number of views with a face where it is
    known already. Raises InputError (HeadNotFoundError where there is no skin).
    """
    values, affine = head_values(volume)
    parts = parts_there(values, affine, parse, FaceParts(parse, values.shape, affine))
    chosen = view_set(views)
    if faces is None:
        frame = brain_frame(parse.points, parse.certainty)
        pictures = render_views(face_surface(values, affine), frame, chosen)
        faces = sum(detector.detect(picture[..., :1]) is not None for picture in pictures)
    missing = {name: round(float(part.removed), 4) for name, part in parts.items()}
    return Evidence(round(share_left(parts), 4), missing, faces, len(chosen))
