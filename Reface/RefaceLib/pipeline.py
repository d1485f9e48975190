"""From a head to the same head with another face: conform, parse, mask, deface, generate, blend, check.

Reading and writing files is the command line's (io), nodes are the window's (mrml); both give a Volume to
``reface_volume``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.common.options import FOUND, MODES
from RefaceLib.common.progress import Cancelled, Progress, raise_if_cancelled
from RefaceLib.face import blend, promise, texture
from RefaceLib.face.deface import Defaced, deface
from RefaceLib.face.weights import Models, Parsers, load_models, load_parsers
from RefaceLib.head import facemask, headcheck
from RefaceLib.head.canonical import FACE_LANDMARKS
from RefaceLib.head.faceparts import INNER, LEAST_SEEN, FaceParts, Part
from RefaceLib.head.headparser import HeadParse
from RefaceLib.head.pose import parse_head, with_brain_beside
from RefaceLib.volume import geometry
from RefaceLib.volume.air import measure_air
from RefaceLib.volume.io import Volume, check_values, in_ordinary_units, tells_contradictions

if TYPE_CHECKING:
    from RefaceLib.face.painter import Painting

_IMPLAUSIBLE = (
    "None of {draws} faces of this seed looks like a true one; the best was taken: look at it, or try another seed."
)
STAGES = {"parse": 0.05, "mask": 0.25, "generate": 0.4, "blend": 0.75, "check": 0.95}  # fraction done at its start


@dataclass(frozen=True)
class RefaceOptions:
    """``mode``: reface (a raw head), deface (mask only), recover (a head that is defaced already), or auto.

    With auto a head that has its face is refaced, and one that was defaced is recovered.
    """

    mode: str = "auto"
    seed: int = 0
    ears: bool = True
    device: str = "auto"


@dataclass(frozen=True, eq=False)
class RefaceResult:
    """The new volume and what is known of it. Arrays (I, J, K) are in the grid of the input.

    ``landmarks`` are RAS mm of the head as it was given, ``parse`` is all that was found of it. ``mode`` is what was
    done. ``draws`` is how many faces were drawn of the ``seed`` until one was plausible, 0 where none was made.
    ``counts``, ``seconds`` and ``face_removed`` (the share of each part of the face that is in the mask) are what the
    report shows.
    """

    stored: np.ndarray
    mask: np.ndarray
    brain: np.ndarray
    landmarks: dict[str, tuple[float, float, float]]
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    model: dict[str, str]
    device: str
    mode: str
    seed: int
    draws: int
    ears: bool
    counts: dict[str, float]
    face_removed: dict[str, float]
    parse: HeadParse


@dataclass
class _Run:
    """Times the stages of one run, reports progress and notices a cancel."""

    progress: Progress | None
    cancelled: Cancelled | None
    seconds: dict[str, float] = field(default_factory=dict)
    fraction: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        raise_if_cancelled(self.cancelled)
        if self.progress:
            self.fraction = max(self.fraction, STAGES[name])  # a head is parsed twice: never go back
            self.progress(self.fraction, name)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def tell(self, what: str) -> None:
        """Say what was found, in place of the name of a stage."""
        if self.progress:
            self.progress(self.fraction, what)


@tells_contradictions
def reface_volume(
    volume: Volume,
    options: RefaceOptions = RefaceOptions(),
    *,
    models: Models | None = None,
    progress: Progress | None = None,
    cancelled: Cancelled | None = None,
) -> RefaceResult:
    """Give a head another face (or take it away, or give one back): see RefaceOptions.

    Raises InputError or HeadNotFoundError for a volume that cannot be used, PromiseError where a check of the result
    fails, and CancelledError. The input is never changed.
    """
    if options.mode not in MODES:
        raise InputError(f"The mode '{options.mode}' is unknown: choose one of {', '.join(MODES)}.")
    run = _Run(progress, cancelled)
    volume = in_ordinary_units(volume)
    warnings = list(volume.warnings) + list(check_values(volume))
    parsers: Parsers = models or load_parsers(options.device)
    with run.stage("parse"):
        values = volume.values()
        finite, air = np.isfinite(values), measure_air(values)
        values[~finite] = air.level
        parse = parse_head(values, volume.affine, parsers.localizer, parsers.parser, parsers.device, air)
        headcheck.inspect_head(values.shape, volume.affine, parse)
        headcheck.inspect_view(values, volume.affine, parse)
        headcheck.inspect_values(finite, volume.affine, parse)
        warnings += headcheck.inspect_pose(parse, placed=volume.placed)
    with run.stage("mask"):
        parts = FaceParts(parse, values.shape, volume.affine)
        mode = _choose_mode(options.mode, values, volume, parse, parts)
        if options.mode in ("auto", "recover"):  # which look for a face; before anything is made of it
            run.tell(FOUND[mode])
        gap = None if mode == "recover" else headcheck.gap(values, volume.affine, parse, parts)
        if gap is not None:
            parse = with_brain_beside(parse, geometry.resample(gap, volume.affine, parse.grid, nearest=True) > 0.5)
            parts = FaceParts(parse, values.shape, volume.affine)
        brain = facemask.to_native(parse.likelihood, parse.grid, values.shape, volume.affine)
        mask = _mask(values, volume, parse, parts, mode, options.ears)
        mask = (mask if gap is None else mask | gap) & finite & ~brain
        warnings += inspect_mask(mask, volume.affine, parse, parts.outside(), mode)
        if lost := parts.without_values(finite):
            warnings.append(f"Part of the face has no finite values ({', '.join(lost)}).")
        warnings += headcheck.inspect_contrast(values.shape, volume.affine, parse) if mode != "deface" else []
        values[~finite] = np.nan  # what stands there shall not come from the face
        defaced = deface(volume, values, mask)
        del values  # nothing after this line has a voxel of the face
    stored, draws, about = defaced.stored, 0, {"name": "none", "version": "", "sha256": ""}
    if mode != "deface":
        models = models or load_models(options.device)
        about = dict(models.about)
        if mask.any():
            stored, painting = _new_face(defaced, mask, models, options.seed, run)
            draws = painting.draws
            warnings += [] if painting.plausible else [_IMPLAUSIBLE.format(draws=draws)]
    del defaced
    with run.stage("check"):
        counts = check(volume, stored, mask, brain)
        counts["tissue_ml"] = round(parts.tissue_ml(mask), 2)
        left = parts.outside(mask | ~finite)
        promise.verify_removed(left, ears=options.ears, recovered=mode == "recover")
    return RefaceResult(
        stored=stored, mask=mask, brain=brain, landmarks=_named(parse), parse=parse,
        warnings=tuple(warnings), seconds=run.seconds,
        model=about, device=parsers.device, mode=mode, seed=options.seed, draws=draws, ears=options.ears, counts=counts,
        face_removed=promise.face_removed(left),
    )  # fmt: skip


def _mask(values: np.ndarray, volume: Volume, parse: HeadParse, parts: FaceParts, mode: str, ears: bool) -> np.ndarray:
    """The face; of a head that was defaced what is missing, and what that leaves of eyes, nose, mouth and chin."""
    face = facemask.face_mask(parse, values.shape, volume.affine, ears=ears)
    if mode != "recover":
        return face
    missing = facemask.missing_mask(values, volume.affine, parse)
    left = promise.parts_left(parts.outside(missing), ears=False, recovered=True)
    return missing | (face & parts.left(missing, left)) if left else missing


def _choose_mode(mode: str, values: np.ndarray, volume: Volume, parse: HeadParse, parts: FaceParts) -> str:
    """``mode``, or what is to be done where it is 'auto'; the face counts as left where no tool has taken it out."""
    if mode in ("reface", "deface"):
        return mode
    return headcheck.choose_mode(mode, headcheck.parts_there(values, volume.affine, parse, parts))


def _new_face(defaced: Defaced, mask: np.ndarray, models: Models, seed: int, run: _Run) -> tuple[np.ndarray, Painting]:
    """The stored numbers (I, J, K) of the head with a new face in the ``mask``, and the face.

    All of it comes from the defaced head.
    """
    from RefaceLib.face import painter

    values, grid = defaced.values, defaced.grid
    with run.stage("parse"):
        # Blank voxels are no measure of how noisy air is.
        rest = parse_head(values, grid.affine, models.localizer, models.parser, models.device, defaced.air)
        head, brain = (
            facemask.to_native(found, rest.grid, grid.shape, grid.affine) for found in (rest.head, rest.brain)
        )
    with run.stage("generate"):
        painting = painter.paint(defaced, mask, brain, rest, models, seed, run.cancelled)
    with run.stage("blend"):
        around = texture.Surroundings(values, mask, head & ~mask, brain, defaced.air)
        return blend.blend(defaced, around, painting, seed), painting


def check(volume: Volume, stored: np.ndarray, mask: np.ndarray, brain: np.ndarray) -> dict[str, float]:
    """Count what changed and how large the mask is; PromiseError where anything changed that must not."""
    counts = promise.count_changes(volume.stored, stored, mask, brain)
    promise.verify(counts)
    ml = round(float(mask.sum() * abs(np.linalg.det(volume.affine[:3, :3])) / 1000), 2)
    return {**counts, "mask_voxels": int(mask.sum()), "mask_ml": ml}


def inspect_mask(
    mask: np.ndarray, affine: np.ndarray, parse: HeadParse, parts: Mapping[str, Part], mode: str
) -> list[str]:
    """Warnings about what of the face is in the field of view, by its landmarks and by the places of its ``parts``."""
    if not mask.any():
        what = "missing region" if mode == "recover" else "face"
        return [f"No {what} lies in the field of view: nothing was changed."]
    points = geometry.apply_affine(np.linalg.inv(affine), parse.points[: len(FACE_LANDMARKS)])
    inside = np.all((points > -1) & (points < np.array(mask.shape)), axis=1)
    lost = [name.replace("_", " ") for name, ok in zip(FACE_LANDMARKS, inside, strict=True) if not ok]
    # Beyond the field of view a landmark is but a guess, and may lie inside; the brain tells where the part would be.
    for name in INNER:
        if parts[name].seen < LEAST_SEEN and not any(name.removesuffix("s") in said for said in lost):
            lost.append(name)
    return [f"Part of the face is outside the field of view ({', '.join(lost)})."] if lost else []


def _named(parse: HeadParse) -> dict[str, tuple[float, float, float]]:
    points = parse.points[: len(FACE_LANDMARKS)].round(2)
    return {name: (float(r), float(a), float(s)) for name, (r, a, s) in zip(FACE_LANDMARKS, points, strict=True)}
