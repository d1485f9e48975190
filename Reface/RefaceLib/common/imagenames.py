"""The file names of images: by its ending a name promises a format."""

from __future__ import annotations

from pathlib import Path

FORMATS = {".nii.gz": "NIfTI", ".nii": "NIfTI", ".nrrd": "NRRD", ".mgz": "MGH", ".mgh": "MGH"}
IMAGE_EXTENSIONS = tuple(FORMATS)


def image_extension(path: str | Path) -> str:
    """The extension of IMAGE_EXTENSIONS that the name ends with, in lower case; "" when there is none."""
    name = Path(path).name.lower()
    return next((extension for extension in IMAGE_EXTENSIONS if name.endswith(extension)), "")
