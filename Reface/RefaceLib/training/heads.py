"""The training heads: files, ids, validation list, and head-parser samples conformed to 2 mm RAS."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage
from scipy import ndimage

from RefaceLib.common.errors import InputError
from RefaceLib.head import headparser
from RefaceLib.head.canonical import BRAIN_LANDMARKS, FACE_LANDMARKS, LANDMARKS
from RefaceLib.volume import geometry

# Regions of the DLMUSE labels and of FreeSurfer's, whose centres of mass are the brain landmarks.
_DLMUSE = dict(zip(BRAIN_LANDMARKS, (60, 59, 35, 39, 38, 121, 120, 157, 156, 203, 202), strict=True))
_FREESURFER = {
    "left_thalamus": 10,
    "right_thalamus": 49,
    "brain_stem": 16,
    "left_cerebellum": 8,
    "right_cerebellum": 47,
}
SWAP = [LANDMARKS.index(n.replace("left", "#").replace("right", "left").replace("#", "right")) for n in LANDMARKS]


@dataclass(frozen=True, eq=False)
class ParserSample:
    """A head at 2 mm RAS: ``image`` (uint8, x/160) or class indices, ``brain``, ``head`` (bool), points in voxels."""

    name: str
    image: np.ndarray
    brain: np.ndarray
    head: np.ndarray
    points: np.ndarray
    classes: int  # number of label classes, 0 for a real picture


def validation_ids() -> frozenset[str]:
    """Subject ids that no network is ever trained on (validation.txt beside this file)."""
    text = resources.files(__package__).joinpath("validation.txt").read_text(encoding="utf-8")
    return frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def read_landmarks(path: Path | None = None) -> dict[str, np.ndarray]:
    """Face landmarks by subject id: (6, 3) RAS mm in the order of FACE_LANDMARKS (landmarks.tsv beside this file)."""
    source = path or resources.files(__package__).joinpath("landmarks.tsv")
    table: dict[str, np.ndarray] = {}
    for row in csv.DictReader(source.read_text(encoding="utf-8").splitlines(), delimiter="\t"):
        points = [[float(row[f"{name}_{axis}"]) for axis in "ras"] for name in FACE_LANDMARKS]
        table[row["subject"]] = np.array(points)
    return table


def labelled_heads(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Heads ``<id>_T1w.nii.gz`` with labels ``<id>_dlmuse.nii.gz`` beside them: id -> (T1w, labels)."""
    found = {}
    for image in all_heads(folder):
        labels = image.with_name(image.name.replace("_T1w", "_dlmuse"))
        if labels.exists():
            found[head_id(image)] = (image, labels)
    return found


def open_image(path: Path) -> SpatialImage:
    """An image whose data are read when they are asked for."""
    image = nib.load(path)
    if not isinstance(image, SpatialImage):
        raise InputError(f"{path} holds no image: give NIfTI files of heads.")
    return image


def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A volume's scaled values (float32, IJK) and its RAS affine."""
    image = open_image(path)
    return np.asarray(image.dataobj, dtype=np.float32), image.affine


def region_centres(labels: np.ndarray, affine: np.ndarray, regions: dict[str, int]) -> np.ndarray:
    """Centres of mass (11, 3) RAS mm of the brain landmarks' regions; NaN where a region is not there."""
    points = np.full((len(BRAIN_LANDMARKS), 3), np.nan)
    for index, name in enumerate(BRAIN_LANDMARKS):
        voxels = np.argwhere(labels == regions.get(name, -1))
        if len(voxels) > 20:
            points[index] = geometry.apply_affine(affine, voxels.mean(axis=0))
    return points


def head_mask(image: np.ndarray) -> np.ndarray:
    """Head against air of a conformed picture: a threshold at a fraction of the tissue's, closed and filled."""
    smooth = ndimage.gaussian_filter(image, 0.7)
    tissue = np.median(smooth[smooth > smooth.mean()])
    head = ndimage.binary_opening(smooth > 0.2 * tissue, iterations=1)
    head = headparser.largest_component(head)
    head = ndimage.binary_closing(np.pad(head, 6), iterations=5)[6:-6, 6:-6, 6:-6]
    return ndimage.binary_fill_holes(head)


def labelled_sample(name: str, image_path: Path, label_path: Path, face: np.ndarray | None) -> ParserSample:
    """A real head with DLMUSE labels, conformed."""
    values, affine = load(image_path)
    labels = np.asarray(open_image(label_path).dataobj).astype(np.int16)
    image, grid = headparser.conform(values, affine)
    brain = geometry.resample((labels > 0).astype(np.float32), affine, grid) > 0.5
    points = np.full((len(LANDMARKS), 3), np.nan)
    points[len(FACE_LANDMARKS) :] = region_centres(labels, affine, _DLMUSE)
    if face is not None:
        points[: len(FACE_LANDMARKS)] = face
    voxels = geometry.apply_affine(np.linalg.inv(grid.affine), points)
    packed = np.clip(image * 160, 0, 255).astype(np.uint8)
    return ParserSample(name, packed, brain, head_mask(image) | brain, voxels, 0)


def labelled_parse(image_path: Path, label_path: Path, face: np.ndarray) -> headparser.LabelledHead:
    """What a parser that knew the truth would see in a head with DLMUSE labels and face landmarks (6, 3) in RAS mm."""
    sample = labelled_sample(head_id(image_path), image_path, label_path, face)
    image = open_image(image_path)
    grid = geometry.ras_grid(image.shape, image.affine, headparser.SPACING, multiple=16)
    points = geometry.apply_affine(grid.affine, sample.points)
    certainty = np.isfinite(points).all(axis=1).astype(float)
    return headparser.LabelledHead(grid, sample.brain, sample.head, points, certainty)


def label_map_sample(path: Path) -> ParserSample:
    """A whole-head label map (SynthSeg's), conformed by nearest neighbour; air inside the head stays air."""
    image = open_image(path)
    labels = np.asarray(image.dataobj).astype(np.int16)
    grid = geometry.ras_grid(labels.shape, image.affine, headparser.SPACING, multiple=16)
    small = geometry.resample(labels, image.affine, grid, nearest=True).astype(np.int16)
    # These maps follow the cord down the neck; DLMUSE's brain stem ends with the cerebellum, and so must ours.
    bottom = np.argwhere((small == 8) | (small == 47))[:, 2].min()
    cord = small[:, :, :bottom]
    cord[(cord == 16)] = 24
    names, classes = np.unique(small, return_inverse=True)
    classes = classes.reshape(small.shape).astype(np.uint8)
    points = np.full((len(LANDMARKS), 3), np.nan)
    points[len(FACE_LANDMARKS) :] = region_centres(small, grid.affine, _FREESURFER)
    voxels = geometry.apply_affine(np.linalg.inv(grid.affine), points)
    brain = ndimage.binary_fill_holes((small > 0) & (small < 100))
    brain[:, :, :bottom] = False
    head = ndimage.binary_fill_holes(ndimage.binary_closing(small > 0, iterations=4))
    return ParserSample(path.name.split(".")[0], classes, brain, head, voxels, len(names))


def excluded_ids() -> frozenset[str]:
    """Subject ids whose faces are broken by artefacts (excluded.txt): not for the generator."""
    text = resources.files(__package__).joinpath("excluded.txt").read_text(encoding="utf-8")
    return frozenset(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


def head_id(path: Path) -> str:
    """``sub-01`` of ``sub-01_T1w.nii.gz``."""
    return path.name.removesuffix("_T1w.nii.gz")


def all_heads(folder: Path) -> list[Path]:
    """Every ``<id>_T1w.nii.gz`` below ``folder``."""
    return sorted(Path(folder).rglob("*_T1w.nii.gz"))


def fine_heads(folder: Path, finest: float = 1.25) -> list[Path]:
    """T1w heads of at most ``finest`` mm without labels, those of validation.txt left out."""
    held_out, labelled = validation_ids(), labelled_heads(folder)
    free = [path for path in all_heads(folder) if head_id(path) not in held_out and head_id(path) not in labelled]
    return [path for path in free if max(open_image(path).header.get_zooms()[:3]) <= finest]
