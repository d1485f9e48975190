"""Heads with wrong headers, tilts, crops, scalings, noise: the face goes and the brain stays, or nothing is written.

Judged by labels that the program never sees: DLMUSE brain voxels, and face tissue placed by the landmarks that they
give. With REFACE_TORTURE=all every case runs on six heads (about half an hour), else on one, and fewer turns of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from RefaceLib.common.errors import RefaceError
from RefaceLib.face.promise import LEAST_REMOVED
from RefaceLib.head import facemask, faceparts, pose
from RefaceLib.head.headparser import brain_frame
from RefaceLib.pipeline import RefaceOptions, reface_volume
from RefaceLib.training import heads
from RefaceLib.volume.geometry import Grid
from RefaceLib.volume.io import Volume, read_volume

ALL = os.environ.get("REFACE_TORTURE") == "all"
HEADS = ("IXI161-HH-2533", "IXI052-HH-1343", "IXI104-HH-1450", "IXI204-HH-1651", "IXI276-HH-1840", "IXI387-HH-2101")
DEFACE = RefaceOptions(mode="deface", device="cpu")
MUST_WORK = ("as it is", "turn", "scaled", "offset", "padded", "undershoot", "noise", "NaN slab")


@dataclass(frozen=True, eq=False)
class Truth:
    """A head and what is known of it without the program: `brain` and tissue of the `face` (I, J, K; bool)."""

    volume: Volume
    brain: np.ndarray
    face: np.ndarray

    def with_values(self, values: np.ndarray) -> Truth:
        return Truth(Volume(values.astype(np.float32), self.volume.affine), self.brain, self.face)

    def with_affine(self, affine: np.ndarray) -> Truth:
        return Truth(Volume(self.volume.stored, affine), self.brain, self.face)

    def cut(self, *window: slice) -> Truth:
        affine = self.volume.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [piece.start or 0 for piece in window]
        return Truth(Volume(self.volume.stored[window], affine), self.brain[window], self.face[window])


def read_truth(folder: Path, name: str) -> Truth:
    image, labels = _files(folder, name)
    volume = read_volume(image)
    volume = Volume(volume.values(), volume.affine)
    places = faceparts.places(Grid(volume.stored.shape, volume.affine), _true_frame(folder, name))
    brain = np.asarray(nib.load(labels).dataobj) > 0
    tissue = volume.stored > 0.25 * np.percentile(volume.stored[brain], 90)
    away = ndimage.distance_transform_edt(~brain, sampling=2.0) > 10.0
    parts = np.any([places[part] for part in ("face", "nose", "eyes", "mouth", "chin")], axis=0)
    return Truth(volume, brain, parts & tissue & away)


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    image, labels = (folder / "ixi-t1-2mm" / f"{name}_{kind}.nii.gz" for kind in ("T1w", "dlmuse"))
    return image, labels


def _true_frame(folder: Path, name: str) -> np.ndarray:
    known = heads.labelled_parse(*_files(folder, name), np.full((6, 3), np.nan))
    return brain_frame(known.points, known.certainty)


def turned(angle_or_turn: float | np.ndarray, axis: int = 0) -> Callable[[Truth], Truth]:
    """The header turned against the head: by a right-angle turn, or by degrees about an axis."""
    if isinstance(angle_or_turn, np.ndarray):
        turn = angle_or_turn
    else:
        turn, (i, j) = np.eye(3), [other for other in range(3) if other != axis]
        cos, sin = np.cos(np.radians(angle_or_turn)), np.sin(np.radians(angle_or_turn))
        turn[[i, j, i, j], [i, j, j, i]] = cos, cos, -sin, sin

    def change(head: Truth) -> Truth:
        middle = pose.about_middle(turn, head.volume.stored.shape, head.volume.affine)
        return head.with_affine(middle @ head.volume.affine)

    return change


def along(head: Truth, axis: int, start: float, stop: float) -> Truth:
    """What lies from `start` to `stop` (mm from the middle of the brain) along R, A or S."""
    affine = head.volume.affine
    array_axis = int(np.abs(affine[axis, :3]).argmax())
    middle = np.argwhere(head.brain).mean(axis=0)[array_axis]
    ends = sorted(middle + np.array([start, stop]) / affine[axis, array_axis])
    window = [slice(None)] * 3
    window[array_axis] = slice(max(0, int(ends[0])), max(1, int(ends[1])))
    return head.cut(*window)


def in_blank_volume(head: Truth) -> Truth:
    """The head in a volume that is 20 voxels larger on every side."""
    affine = head.volume.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [20, 20, 20]
    values, brain, face = (np.pad(array, 20) for array in (head.volume.stored, head.brain, head.face))
    return Truth(Volume(values, affine), brain, face)


def noisy(share: float) -> Callable[[Truth], Truth]:
    def change(head: Truth) -> Truth:
        values, random = head.volume.stored, np.random.default_rng(3)
        sd = share * np.percentile(values, 98)
        real, imaginary = random.normal(0, sd, (2, *values.shape))
        return head.with_values(np.hypot(values + real, imaginary))

    return change


def padded(with_value: float) -> Callable[[Truth], Truth]:
    """A field of view whose rim holds one value far below the others."""

    def change(head: Truth) -> Truth:
        values = head.volume.stored.copy()
        grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in values.shape], indexing="ij"))
        values[(grid**2).sum(axis=0) > 1.9] = with_value
        return head.with_values(values)

    return change


def slab_of_nan(head: Truth) -> Truth:
    values = head.volume.stored.copy()
    axis = int(np.abs(head.volume.affine[2, :3]).argmax())
    low = head.volume.affine[2, axis] > 0
    count = int(0.16 * values.shape[axis])
    index = [slice(None)] * 3
    index[axis] = slice(0, count) if low else slice(values.shape[axis] - count, None)
    values[tuple(index)] = np.nan
    return Truth(Volume(values, head.volume.affine), head.brain, head.face & np.isfinite(values))


TURNS = {f"turn {number}": turned(turn) for number, turn in enumerate(pose.right_turns()) if number}
TILTS = {
    f"tilt {angle} about {'RAS'[axis]}": turned(float(angle), axis) for axis in range(3) for angle in (-45, -30, 40)
}
CASES: dict[str, Callable[[Truth], Truth]] = {
    "as it is": lambda head: head,
    **(TURNS if ALL else {name: TURNS[name] for name in ("turn 8", "turn 23")}),
    **{name: tilt for name, tilt in TILTS.items() if ALL or "-30" not in name},
    "crop above the mouth": lambda head: along(head, 2, -60, 200),
    "crop above the chin": lambda head: along(head, 2, -95, 200),
    "crop before the nose": lambda head: along(head, 1, -200, 100),
    "crop of an ear": lambda head: along(head, 0, -60, 200),
    "crop of the back": lambda head: along(head, 1, -40, 200),
    "as wide as the brain": lambda head: along(head, 0, -70, 70),
    "as wide as the brain, in a blank volume": lambda head: in_blank_volume(along(head, 0, -70, 70)),
    "crop below the brain's middle": lambda head: along(head, 2, -30, 200),
    "crop through the brain": lambda head: along(head, 2, -200, 20),
    **{f"scaled by {factor:g}": (lambda f: lambda head: head.with_values(head.volume.stored * f))(factor)
       for factor in (1e-12, 1e-10, 1e-3, 1e9)},
    "offset by 500": lambda head: head.with_values(head.volume.stored + 500.0),
    "offset by -1000": lambda head: head.with_values(head.volume.stored - 1000.0),
    "padded with -2000": padded(-2000.0),
    "undershoot": lambda head: head.with_values(ndimage.shift(head.volume.stored, 0.4, order=3)),
    "noise of 4 %": noisy(0.04),
    "noise of 8 %": noisy(0.08),
    "NaN slab": slab_of_nan,
    "voxels that are 1.2 times too large": lambda head: head.with_affine(head.volume.affine * [[1.2, 1.2, 1.2, 1]]),
    "voxels twice too large": lambda head: head.with_affine(head.volume.affine * [[2, 2, 2, 1]]),
}  # fmt: skip


@pytest.fixture(scope="module", params=HEADS if ALL else HEADS[:1])
def truth(request, shared_data) -> Truth:
    return read_truth(shared_data, request.param)


@pytest.mark.parametrize("case", CASES)
def test_the_face_is_gone_and_the_brain_is_there_or_nothing_is_written(case, truth, models):
    _torture(CASES[case](truth), models, must_work=case.startswith(MUST_WORK))


@pytest.mark.parametrize(
    "name, case",
    [
        ("IXI204-HH-1651", "tilt 40 about A"),  # the pose was just too good to be refined
        ("IXI387-HH-2101", "tilt -30 about A"),
        ("IXI387-HH-2101", "turn 17"),  # upside down and back to front: its brain was trusted where it lay
        ("IXI276-HH-1840", "turn 17"),
    ],
)
def test_heads_that_once_lost_brain_and_kept_their_face_without_a_word(name, case, shared_data, models):
    _torture((TILTS | TURNS)[case](read_truth(shared_data, name)), models, must_work=True)


def _torture(head: Truth, models, *, must_work: bool) -> None:
    try:
        result = reface_volume(head.volume, DEFACE, models=models)
    except RefaceError as error:
        text = str(error)
        assert text.endswith(".") and ":" in text and "\n" not in text
        assert not must_work, error
        return
    changed = (result.stored != head.volume.stored) & np.isfinite(head.volume.stored)
    brain, removed = int((changed & head.brain).sum()), float(result.mask[head.face].mean()) if head.face.any() else 1.0
    assert (brain, removed >= LEAST_REMOVED) == (0, True)


@pytest.mark.parametrize("name", ["IXI052-HH-1343", "IXI387-HH-2101"])
def test_a_head_whose_eyes_another_tool_took_out_keeps_its_brain_and_gets_them_back(name, shared_data, models):
    """The parser misses some millimetres of brain beside such a gap."""
    truth = read_truth(shared_data, name)
    grid = Grid(truth.volume.stored.shape, truth.volume.affine)
    x, y, z = facemask.canonical_coordinates(grid, _true_frame(shared_data, name))
    gap = (np.abs(x) < 60) & (y > 45) & (z > -45) & (z < 0) & ~truth.brain
    values = np.where(gap, 0, truth.volume.stored)
    result = reface_volume(Volume(values, grid.affine), RefaceOptions(device="cpu"), models=models)
    assert result.mode == "reface"
    assert not (result.mask & truth.brain & (values > 0)).any()
    assert result.mask[truth.face & ~gap].mean() >= LEAST_REMOVED
    tissue = truth.face & gap
    assert (result.stored[tissue] > 0.2 * np.percentile(values[truth.brain], 90)).mean() > 0.5
    assert not result.warnings
