"""The hash by which a file is known."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_if_file(path: str | Path) -> str | None:
    """SHA-256 of a file in hexadecimal; None when `path` is no file (a node of a scene, say)."""
    return sha256_of(Path(path)) if Path(path).is_file() else None
