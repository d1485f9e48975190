"""Volumes and their files: reading and writing without changing a bit, grids and affines."""
