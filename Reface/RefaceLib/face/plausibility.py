"""How plausible a drawn face is, measured on its surface against the law of true faces.

Random draws are stretched, so some of them are faces that no one has: slabs for a chin, horns at the temples, wings
before the ears, lips beyond the nose. docs/experiments.md (85) has the measurements behind the constants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from RefaceLib.face.rasters import to_raster, warp_at
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


@dataclass(frozen=True, eq=False)
class Gauge:
    """Measures faces drawn for one head.

    Outside the ``mask`` the head's own skin is seen, of signed ``distance`` (mm). ``mask`` and ``view`` (in the field
    of view) are bool; all three are of the box at 2 mm.
    """

    model: ShapeModel
    distance: np.ndarray
    mask: np.ndarray
    view: np.ndarray

    def measure(self, solid: np.ndarray, field: np.ndarray) -> Plausibility:
        """The plausibility of the face that a warp ``field`` (3, 96, 88, 88; mm) makes of an atlas.

        ``solid`` is the atlas's depth under the outer skin (mm).
        """
        drawn = self.distance.copy()
        drawn[self._near] = warp_at(solid, field, self._near)
        head = np.where(self.mask, drawn, self.distance)
        return Plausibility(
            *self._explained(head), self._strain(field, drawn), _horns(head, self._hidden), _profile(head)
        )

    @cached_property
    def _hidden(self) -> np.ndarray:
        """Where a face is judged (bool): the mask, and the skin that was fitted at its edge."""
        return ndimage.binary_dilation(self.mask, iterations=2)

    @cached_property
    def _near(self) -> tuple[np.ndarray, ...]:
        return np.nonzero(self._hidden)

    @cached_property
    def _known(self) -> np.ndarray:
        return to_raster(self.view.astype(np.float32), 2.0, SPACING) > 0.99

    @cached_property
    def _face(self) -> np.ndarray:
        """What of the raster of SPACING is masked, in view, and no throat (bool)."""
        masked = to_raster(self.mask.astype(np.float32), 2.0, SPACING) > 0
        return self._known & masked & (_places(SPACING)[2] > _THROAT_Z)

    @cached_property
    def _project(self) -> Callable[[np.ndarray], np.ndarray]:
        return self.model.projector(self._known)

    def _explained(self, head: np.ndarray) -> tuple[float, float, float]:
        """What of the masked skin of a ``head`` (mm) no code explains (mm), and the norm of the best code."""
        small = to_raster(head, 2.0, SPACING)
        code = self._project(small)
        face = self._face & (np.abs(small) < _SHELL_MM)
        explained = self.model.mean[face] + np.einsum("k,kn->n", code, self.model.modes[:, face])
        left = np.abs(small[face] - explained)
        most, peaks = np.percentile(left, (95, 99)) if left.size else (0.0, 0.0)
        return float(most), float(peaks), float(np.linalg.norm(code))

    def _strain(self, field: np.ndarray, drawn: np.ndarray) -> float:
        """Hencky's strain of the warp ``field`` (3, X, Y, Z; mm) at the ``drawn`` skin (mm) where it is hidden."""
        _x, y, z = _places(2.0)
        skin = np.flatnonzero(_inner(self._hidden & (np.abs(drawn) < _SKIN_MM) & (z > _THROAT_Z) & (y > _EARS_Y)))
        if not skin.size:
            return 0.0
        strides = np.array(drawn.strides) // drawn.itemsize
        components = field.reshape(3, -1)
        slopes = np.stack([(components[:, skin + step] - components[:, skin - step]) / 4.0 for step in strides], axis=1)
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
    front = _foremost(middle, y).max(axis=0)
    nose = (z > _NOSE_Z[0]) & (z < _NOSE_Z[1])
    tip = z[nose][front[nose].argmax()]
    lips = (z > _LIPS_Z) & (z < tip - _UNDER_NOSE)
    places = [front[part].max() for part in (nose, lips, (z > _CHIN_Z[0]) & (z < _CHIN_Z[1]))]
    places = [place if np.isfinite(place) else np.nan for place in places]
    return float(places[0] - places[1]), float(places[1] - places[2])


def _foremost(depth: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where the lines along y of a ``depth`` (X, Y, Z; mm) leave the head for the last time: places on ``y`` (mm).

    (X, Z); -inf where a line is never in the head.
    """
    inside = depth > 0
    last = len(y) - 1 - inside[:, ::-1].argmax(axis=1)
    here, there = (
        np.take_along_axis(depth, index[:, None], axis=1)[:, 0] for index in (last, np.minimum(last + 1, len(y) - 1))
    )
    share = np.where(there <= 0, here / np.maximum(here - there, 1e-6), 0)  # 0 where the head reaches the last voxel
    return np.where(inside.any(axis=1), y[last] + (y[1] - y[0]) * share, -np.inf)


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
