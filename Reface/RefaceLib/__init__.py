"""RefaceLib replaces the face in a head MRI by a generated one and leaves every other voxel as it was."""

__version__ = "0.1.0"
