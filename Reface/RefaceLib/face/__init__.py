"""The new face: its shape, its picture, its contrast and texture, and the promises about it."""
