"""Galleries: embeddings of heads in one file, so that they need not be drawn and embedded again.

An embedding is biometric data: it can be matched with other pictures of the same person. A gallery is therefore only
ever written where the user asks for it, readable by its owner alone, and says what it is.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.common.files import OutputSet, check_writable
from ReidentRiskLib.judge.scores import ALIGNED, DETECTED

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding

EXTENSION = ".npz"
FORMAT = 1
WARNING = (
    "This file holds face embeddings, which are biometric data: with them the persons can be recognised in other "
    "pictures. Keep it as safe as the scans, do not share it, and delete it when it is no longer needed."
)


@dataclass(frozen=True, eq=False)
class Gallery:
    """Heads embedded with one model and one view set.

    ``keys`` say for each head, in the order of ``heads``, what it was made of (hash of the file and such), so that a
    cached embedding is not used for another file.
    """

    heads: tuple[HeadEmbedding, ...]
    model: str
    sha256: str
    views: str
    keys: tuple[str, ...] = ()
    warning: str = WARNING

    def by_key(self) -> Mapping[str, HeadEmbedding]:
        return dict(zip(self.keys, self.heads, strict=True))


def save_gallery(
    path: str | Path, heads: Sequence[HeadEmbedding], sha256: str, keys: Sequence[str] = (), *, overwrite: bool = False
) -> None:
    """Write `heads`, all of one model (of the hash `sha256`) and one view set, without pictures, to one .npz file.

    The file appears whole or not at all, and only its owner may read it. Raises OutputError where it cannot be
    written, InputError for heads of different kinds.
    """
    if not heads:
        raise InputError("There is no head to put into a gallery: give at least one.")
    kinds = {(head.model, head.views, head.aligned.shape) for head in heads}
    if len(kinds) > 1:
        raise InputError("The heads of a gallery must be of one model and one view set: embed them anew.")
    check_writable(path, overwrite, (EXTENSION,))
    keys = tuple(keys) or ("",) * len(heads)
    if len(keys) != len(heads):
        raise ValueError("a gallery needs one key a head")
    content: dict[str, Any] = {  # arrays, and numpy has an option beside them
        "format": np.array(FORMAT),
        "warning": np.array(WARNING),
        "model": np.array(heads[0].model),
        "sha256": np.array(sha256),
        "views": np.array(heads[0].views),
        "names": np.array([head.name for head in heads]),
        "keys": np.array(keys),
        ALIGNED: np.stack([head.aligned for head in heads]).astype(np.float32),
        DETECTED: np.stack([head.detected for head in heads]).astype(np.float32),
    }
    with OutputSet(overwrite) as out:
        staged = out.stage(path)
        descriptor = os.open(staged, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(descriptor, "wb") as file:
            np.savez_compressed(file, **content)


def load_gallery(
    path: str | Path, *, model: str | None = None, sha256: str | None = None, views: str | None = None
) -> Gallery:
    """Read a gallery; nothing in it is executed (no pickle).

    Raises InputError when the file is no gallery, or is not of the `model`, its hash `sha256` and the `views` that are
    asked for.
    """
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        gallery = _gallery(content)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist: check the name.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read as a gallery: check the file and its permissions.") from error
    except (ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged or not a gallery of ReidentRisk: make it again.") from error
    for what, wanted, found in (("model", model, gallery.model), ("view set", views, gallery.views)):
        if wanted not in (None, found):
            raise InputError(f"{path} is a gallery of the {what} '{found}', not of '{wanted}': make another one.")
    if sha256 not in (None, gallery.sha256):
        raise InputError(f"{path} was made with another file of the model '{gallery.model}': make it again.")
    return gallery


def _gallery(content: Mapping[str, np.ndarray]) -> Gallery:
    from ReidentRiskLib.attack.heads import HeadEmbedding

    if int(content["format"]) != FORMAT:
        raise ValueError("format")
    aligned, detected = content[ALIGNED], content[DETECTED]
    names, keys = [str(name) for name in content["names"]], [str(key) for key in content["keys"]]
    if aligned.ndim != 3 or aligned.shape != detected.shape or not len(aligned) == len(names) == len(keys):
        raise ValueError("shape")
    model, views = str(content["model"]), str(content["views"])
    heads = tuple(
        HeadEmbedding(name=name, model=model, views=views, aligned=one, detected=other)
        for name, one, other in zip(names, aligned.astype(np.float32), detected.astype(np.float32), strict=True)
    )
    return Gallery(heads, model, str(content["sha256"]), views, tuple(keys), str(content["warning"]))
