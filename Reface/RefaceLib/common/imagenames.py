"""The file names of images, and of what lies beside them; by its ending a name promises a format."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

FORMATS = {".nii.gz": "NIfTI", ".nii": "NIfTI", ".nrrd": "NRRD", ".mgz": "MGH", ".mgh": "MGH"}
IMAGE_EXTENSIONS = tuple(FORMATS)


def image_extension(path: str | Path) -> str:
    """The extension of IMAGE_EXTENSIONS that the name ends with, in lower case; "" when there is none."""
    name = Path(path).name.lower()
    return next((extension for extension in IMAGE_EXTENSIONS if name.endswith(extension)), "")


def image_stem(path: Path) -> str:
    """The name without the extension of an image, or without its last suffix: `a` of `a.nii.gz`."""
    return path.name[: len(path.name) - len(image_extension(path) or path.suffix)]


def report_beside(output: Path) -> Path:
    """Where `reface` puts the report of `output` by default: `a_reface.json` for `a.nii.gz`.

    `a.json` is the name of a BIDS sidecar, which goes with the image under that very name.
    """
    return output.with_name(f"{image_stem(output)}_reface.json")


def masks_beside(output: Path) -> tuple[Path, Path]:
    """Where the masks of face and brain of a companion are: `a.nii.gz` has `a_mask.nii.gz` and `a_brain.nii.gz`."""
    stem, extension = image_stem(output), image_extension(output)
    mask, brain = (output.with_name(f"{stem}_{name}{extension}") for name in ("mask", "brain"))
    return mask, brain


def sidecar_beside(image: Path) -> Path:
    """Where BIDS has the metadata of `image`: `a.json` for `a.nii.gz`."""
    return image.with_name(f"{image_stem(image)}.json")


def file_name(path: Path) -> str:
    """The name of a file without its folder, in UTF-8, whatever the locale of the process is."""
    return os.fsencode(path.name).decode("utf-8", "surrogateescape")


def names_without_folders(paths: Sequence[Path]) -> list[str]:
    """The names of files without their folders, which may tell who was scanned; equal ones are numbered from 1."""
    names = [file_name(path) for path in paths]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]
