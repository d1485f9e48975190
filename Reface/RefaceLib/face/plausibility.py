"""How plausible a drawn face is, measured on its surface against the law of true faces.

Random draws are stretched, so some of them are faces that no one has: slabs for a chin, horns at the temples, wings
before the ears, lips beyond the nose. docs/experiments.md (85) has the measurements behind the constants.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from scipy import ndimage

from RefaceLib.face.rasters import to_raster
from RefaceLib.face.shapemodel import SPACING, ShapeModel
from RefaceLib.head import canonical

_SHELL_MM, _SKIN_MM, _AT_SKIN_MM = 4.0, 2.0, 1.5  # from the skin: where it is unexplained, strained, curved
_THROAT_Z, _EARS_Y = -130.0, 5.0  # canonical mm: below, and behind, is no face
_TEMPLE_X, _TEMPLE_Z = 35.0, -45.0  # canonical mm: farther to the side, and higher, are the temples
_SMOOTHING_MM = 2.0  # before curvature is measured
_MOST_SQUEEZED = 0.05  # stretch factor; smaller ones count as this
# The profile, canonical mm: half its width, and the heights at which nose, lips (below the nose's tip) and chin are.
_MIDDLE, _NOSE_Z, _UNDER_NOSE, _LIPS_Z, _CHIN_Z = 6.0, (-75.0, -35.0), 12.0, -100.0, (-125.0, -100.0)
_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 0.5)  # of the five numbers in the score
_HEADS_SHARE = 0.5  # of a likeliest face's score above the usual one: the visible skin's fault, not that of the face
# By so much the limit rises with each attempt: where most faces fail, a strict one leaves few to choose from.
_PATIENCE = 0.005
_LEAST_NOSE, _LEAST_LIPS = 5.0, -0.5  # mm that the nose reaches beyond the lips, and the lips beyond the chin


@dataclass(frozen=True)
class Plausibility:
    """Five numbers that are larger in misshapen faces, and two of the profile.

    ``unexplained`` and ``peaks``: distance (mm) of the skin from the nearest face of the model, 95th and 99th
    percentile; ``unusual``: norm of that face's code in standard deviations. They are the distance from the space of
    faces, and in it, of Moghaddam and Pentland (1997). ``strain``: root mean square of Hencky's strain of the warp at
    the skin. ``horns``: 99th percentile of the larger principal curvature (1/mm) at the temples. ``profile``: mm that
    the nose reaches beyond the lips and the lips beyond the chin, in the middle; NaN where one is not in view.
    """

    unexplained: float
    peaks: float
    unusual: float
    strain: float
    horns: float
    profile: tuple[float, float] = (np.nan, np.nan)

    @property
    def has_profile(self) -> bool:
        """Whether nose, lips and chin are in the order of true faces, as far as they are in view."""
        nose, lips = self.profile
        return not (nose < _LEAST_NOSE or lips < _LEAST_LIPS)


@dataclass(frozen=True)
class Law:
    """What true faces look like to one shape model.

    ``most``: what 95 % of true faces do not exceed, in the order of Plausibility's five numbers. ``limit`` is the
    largest score that passes on a head whose likeliest face has the score ``usual``.
    """

    most: tuple[float, float, float, float, float]
    limit: float
    usual: float

    def score(self, found: Plausibility) -> float:
        """The weighted geometric mean of the five numbers, each relative to true faces; less is more plausible."""
        ratios = np.maximum(np.array(astuple(found)[:5]) / self.most, 1e-3)
        return float(np.exp(np.average(np.log(ratios), weights=_WEIGHTS)))

    def passes(self, found: Plausibility, likeliest: Plausibility, attempt: int = 0) -> bool:
        """Whether a true face may look like this, on a head with this ``likeliest`` face, in this ``attempt``.

        Unusual skin around the mask raises the score of every face of the head, so it raises the limit too.
        """
        limit = self.limit + _HEADS_SHARE * (self.score(likeliest) - self.usual) + _PATIENCE * attempt
        return found.has_profile and self.score(found) < limit

    def rank(self, found: Plausibility) -> tuple[bool, float]:
        """Less is more plausible: faces with the profile of true faces come first."""
        return not found.has_profile, self.score(found)


def measure(
    model: ShapeModel, field: np.ndarray, drawn: np.ndarray, distance: np.ndarray, mask: np.ndarray, view: np.ndarray
) -> Plausibility:
    """The plausibility of a face ``drawn`` (depth under the outer skin, mm) by a warp ``field`` (3, 96, 88, 88; mm).

    Outside the ``mask`` the head's own skin is seen, of signed ``distance`` (mm). ``mask`` and ``view`` (in the field
    of view) are bool; all of them are of the box at 2 mm.
    """
    head = np.where(mask, drawn, distance).astype(np.float32)
    hidden = ndimage.binary_dilation(mask, iterations=2)
    return Plausibility(
        *_explained(model, head, mask, view), _strain(field, drawn, hidden), _horns(head, hidden), _profile(head)
    )


def _explained(model: ShapeModel, head: np.ndarray, mask: np.ndarray, view: np.ndarray) -> tuple[float, float, float]:
    """What of the skin of a ``head`` (mm, at 2 mm) in the ``mask`` no code explains (mm), and the norm of the best."""
    small, known, hidden = (to_raster(a.astype(np.float32), 2.0, SPACING) for a in (head, view, mask))
    code = model.project(small, known > 0.99)
    face = (known > 0.99) & (hidden > 0) & (np.abs(small) < _SHELL_MM) & (_places(SPACING)[2] > _THROAT_Z)
    left = np.abs(small - model.shape(code))[face]
    most, peaks = np.percentile(left, (95, 99)) if left.size else (0.0, 0.0)
    return float(most), float(peaks), float(np.linalg.norm(code))


def _strain(field: np.ndarray, drawn: np.ndarray, hidden: np.ndarray) -> float:
    """Hencky's strain of the warp ``field`` (3, X, Y, Z; mm) at the ``drawn`` skin (mm) where it is ``hidden``."""
    _x, y, z = _places(2.0)
    skin = _inner(hidden & (np.abs(drawn) < _SKIN_MM) & (z > _THROAT_Z) & (y > _EARS_Y))
    if not skin.any():
        return 0.0
    slopes = np.array([[slope[skin] for slope in np.gradient(component, 2.0)] for component in field])
    gradient = np.moveaxis(slopes, -1, 0) + np.eye(3)
    squares = np.linalg.eigvalsh(np.swapaxes(gradient, 1, 2) @ gradient)  # of the stretch factors
    logarithms = np.log(np.maximum(squares, _MOST_SQUEEZED**2)) / 2
    return float(np.sqrt((logarithms**2).sum(axis=1).mean()))


def _horns(head: np.ndarray, hidden: np.ndarray) -> float:
    """The 99th percentile of the larger principal curvature (1/mm) of a ``head``'s skin at the hidden temples."""
    x, y, z = _places(2.0)
    above = np.s_[:, np.flatnonzero(y.ravel() > _EARS_Y)[0] - 4 :, np.flatnonzero(z.ravel() > _TEMPLE_Z)[0] - 4 :]
    temples = _inner(hidden & (np.abs(x) > _TEMPLE_X) & (y > _EARS_Y) & (z > _TEMPLE_Z))[above]
    smooth = ndimage.gaussian_filter(np.clip(head[above], -8, 8), _SMOOTHING_MM / 2.0)
    slope = np.array(np.gradient(smooth, 2.0))
    length = np.sqrt((slope**2).sum(axis=0))
    skin = temples & (np.abs(smooth) < _AT_SKIN_MM) & (length > 0.1)
    if not skin.any():
        return 0.0
    # Mean and Gaussian curvature of a level set, from the derivatives of its outward normal.
    normal = [[d[skin] for d in np.gradient(-component / (length + 1e-3), 2.0)] for component in slope]
    mean = sum(normal[i][i] for i in range(3)) / 2
    pairs = ((0, 1), (0, 2), (1, 2))
    gaussian = sum(normal[i][i] * normal[j][j] - normal[i][j] * normal[j][i] for i, j in pairs)
    return float(np.percentile(mean + np.sqrt(np.maximum(mean**2 - gaussian, 0)), 99))


def _profile(head: np.ndarray) -> tuple[float, float]:
    """How far (mm) the nose of a ``head`` (mm, at 2 mm) reaches beyond the lips and the lips beyond the chin."""
    x, y, z = (a.ravel() for a in _places(2.0))
    middle = ndimage.gaussian_filter(np.clip(head, -8, 8)[np.abs(x) < _MIDDLE + 4], 0.5)[2:-2]
    front = np.array([[_foremost(line, y) for line in plane.T] for plane in middle]).max(axis=0)
    nose = (z > _NOSE_Z[0]) & (z < _NOSE_Z[1])
    tip = z[nose][front[nose].argmax()]
    lips = (z > _LIPS_Z) & (z < tip - _UNDER_NOSE)
    places = [front[part].max() for part in (nose, lips, (z > _CHIN_Z[0]) & (z < _CHIN_Z[1]))]
    places = [place if np.isfinite(place) else np.nan for place in places]
    return float(places[0] - places[1]), float(places[1] - places[2])


def _foremost(line: np.ndarray, y: np.ndarray) -> float:
    """Where a ``line`` of depths (mm) leaves the head for the last time, as a place on ``y`` (mm); -inf for never."""
    inside = np.flatnonzero(line > 0)
    if not inside.size:
        return -np.inf
    last = inside[-1]
    if last + 1 == len(line):
        return float(y[last])
    return float(y[last] + (y[last + 1] - y[last]) * line[last] / (line[last] - line[last + 1]))


def _inner(where: np.ndarray) -> np.ndarray:
    """``where`` (bool) without the outermost voxels of the box, where slopes are wrong."""
    inner = np.zeros_like(where)
    inner[3:-3, 2:-2, 3:] = where[3:-3, 2:-2, 3:]
    return inner


def _places(spacing: float) -> tuple[np.ndarray, ...]:
    """Canonical coordinates (mm) of the box's voxels, one array an axis, which broadcast."""
    grid = canonical.box(spacing)
    lines = [grid.affine[axis, 3] + spacing * np.arange(n) for axis, n in enumerate(grid.shape)]
    return tuple(np.meshgrid(*lines, indexing="ij", sparse=True))
