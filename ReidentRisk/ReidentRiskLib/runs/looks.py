"""One look at each head of a data set: its evidence of a face and, where there are originals, its embedding.

What was seen is kept in a folder by what it was made of (contents, options, networks), so a run that was stopped goes
on, and files that have changed are looked at again. Embeddings are biometric data: the folder is as private as scans.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib import __version__
from RefaceLib.bids.carry import pointer_sentence
from RefaceLib.common.errors import CancelledError, HeadNotFoundError, InputError, RefaceError
from RefaceLib.common.files import OutputSet, write_json
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.shell import sentence_of
from RefaceLib.volume.io import read_volume
from ReidentRiskLib.attack.evidence import Evidence
from ReidentRiskLib.runs.faces import LocatedHead, embed_source, find_head, missing_face
from ReidentRiskLib.runs.gallery import EXTENSION, load_gallery, save_gallery
from ReidentRiskLib.runs.tools import Finders, Tools

if TYPE_CHECKING:
    from RefaceLib.head.headparser import HeadParse
    from RefaceLib.volume.io import Volume
    from ReidentRiskLib.attack.heads import HeadEmbedding

_LOST = "No head was found in it, so it is counted as not recognisable."


@dataclass(frozen=True)
class Job:
    """An ``original`` (None: there is none) and the heads ``shared`` that were made of it."""

    original: Path | None
    shared: tuple[Path, ...]


@dataclass(frozen=True)
class Look:
    """What was seen of one file: ``evidence`` of a face (None: no head, or an original), or a ``failure``.

    ``key`` names what is kept of it; ``landmarks`` says where those of the aligned attacker come from.
    """

    key: str = ""
    evidence: Evidence | None = None
    landmarks: str = ""
    failure: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LookOptions:
    """How heads are looked at, and the ``folder`` where what was seen is kept.

    ``made_by`` is a hash of the networks and the renderer (see tools.about); with other ones everything is new.
    ``model`` is the network that compares faces, None where there are no originals to compare with.
    """

    folder: Path
    made_by: str
    views: str = "standard"
    own_landmarks: bool = False
    model: str | None = None
    device: str = "auto"
    accept_licence: bool = False

    def key(self, path: Path, original: Path | None, compared: bool) -> str:
        """What names all that is kept of a file; InputError where it, or its original, cannot be read."""
        try:
            contents = [sha256_of(each) for each in (path, original) if each is not None]
        except OSError as error:
            raise InputError(f"{path.name} cannot be read: check the file and its permissions.") from error
        made_of = (__version__, self.made_by, self.views, self.own_landmarks, compared, contents)
        return hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]

    def embedding(self, look: Look, tools: Finders) -> HeadEmbedding | None:
        """What is kept of a look; None where there is nothing."""
        if not isinstance(tools, Tools):
            return None
        try:
            path = self.folder / f"{look.key}{EXTENSION}"
            return load_gallery(path, sha256=tools.embedder.sha256, views=self.views).heads[0]
        except InputError:
            return None


def look_in_worker(task: tuple[Job, LookOptions]) -> dict[Path, Look]:
    """``look_at`` in a process of its own, which loads the networks once."""
    job, options = task
    return look_at(job, _tools(options.model, options.device, options.accept_licence), options)


@cache
def _tools(model: str | None, device: str, accept_licence: bool) -> Finders:
    from ReidentRiskLib.runs.tools import load_finders, load_tools

    if model is None:
        return load_finders(device)
    return load_tools(model, device, accept_licence=accept_licence)


def look_at(job: Job, tools: Finders, options: LookOptions) -> dict[Path, Look]:
    """A look at the original and at every head of the job, by its file; each succeeds or fails alone."""
    looker = _Looker(job, tools, options)
    looks = {} if job.original is None else {job.original: _kept_or(options, job.original, None, looker.at_original)}
    for path in job.shared:
        looks[path] = _kept_or(options, path, job.original, looker.at_shared, compared=job.original is not None)
    return looks


def _kept_or(
    options: LookOptions,
    path: Path,
    original: Path | None,
    look: Callable[[Path, str], Look],
    compared: bool = True,
) -> Look:
    """What is kept of a file, or else a new look at it."""
    try:
        if elsewhere := pointer_sentence(path):
            raise InputError(elsewhere)
        key = options.key(path, original, compared)
        kept = _read(options.folder / f"{key}.json")
        return kept or _keep(options.folder / f"{key}.json", look(path, key))
    except CancelledError:
        raise
    except Exception as error:  # of one file: the others have their turn, and the next run tries it again
        return Look(failure=sentence_of(error).replace(str(path), "The file"))


@dataclass
class _Looker:
    job: Job
    tools: Finders
    options: LookOptions

    @property
    def located(self) -> LocatedHead:
        """The head of the original; InputError where that cannot be used."""
        if isinstance(self._original, InputError):
            raise self._original
        return self._original

    @cached_property
    def _original(self) -> LocatedHead | InputError:
        """The head of the original, or why it cannot be used: one try serves all heads that were made of it."""
        path = self.job.original
        if path is None:
            return InputError("There is no original.")
        try:
            return find_head("the original", path, self.tools)
        except RefaceError as error:
            said = str(error).replace(str(path), "the file").removeprefix("the original: ")
            return InputError(f"The original cannot be used: {said}")

    def at_original(self, path: Path, key: str) -> Look:
        from ReidentRiskLib.attack.heads import embed_head

        located, tools = self.located, self._comparing()
        self._save(key, embed_head(located.head, tools.embedder, self.options.views, tools.detector), tools)
        return Look(key, landmarks=located.landmarks, notes=located.notes)

    def at_shared(self, path: Path, key: str) -> Look:
        volume = read_volume(path)
        parse = self._parse(volume)
        if self.job.original is None:
            return Look(key, self._evidence(volume, parse), notes=tuple(volume.warnings))
        tools, views = self._comparing(), self.options.views
        original = None if self.options.own_landmarks else self.located
        try:
            face = embed_source("The head", volume, tools, views, original=original, parse=parse)
        except HeadNotFoundError:
            face = missing_face("The head", tools, views, _LOST, _LOST)
        self._save(key, face.embedding, tools)
        faces = int(np.isfinite(face.embedding.detected).all(axis=1).sum())
        return Look(key, self._evidence(volume, parse, faces), face.landmarks, notes=tuple(face.notes))

    def _comparing(self) -> Tools:
        """The networks, of which one compares faces: a job with an original has one."""
        if not isinstance(self.tools, Tools):
            raise TypeError("a head is compared with its original by a face recogniser, and none is loaded")
        return self.tools

    def _parse(self, volume: Volume) -> HeadParse | None:
        """The parse that serves both landmarks and evidence; None where there is no head."""
        from ReidentRiskLib.attack.heads import parse_volume

        try:
            return parse_volume(volume, self.tools.head_models)
        except HeadNotFoundError:
            return None

    def _evidence(self, volume: Volume, parse: HeadParse | None, faces: int | None = None) -> Evidence | None:
        from ReidentRiskLib.attack.evidence import find_evidence

        if parse is None:
            return None
        try:
            return find_evidence(volume, parse, self.tools.detector, self.options.views, faces)
        except HeadNotFoundError:
            return None

    def _save(self, key: str, embedding: HeadEmbedding, tools: Tools) -> None:
        path = self.options.folder / f"{key}{EXTENSION}"
        save_gallery(path, [embedding], tools.embedder.sha256, overwrite=True)


# ---- on the disk ----


def _keep(path: Path, look: Look) -> Look:
    with OutputSet(overwrite=True) as out:
        write_json(out.stage(path), asdict(look))
    return look


def _read(path: Path) -> Look | None:
    """The look in a file; None where there is none that can be understood."""
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        evidence = Evidence(**content["evidence"]) if content["evidence"] else None
        return Look(**{**content, "evidence": evidence, "notes": tuple(content["notes"])})
    except (OSError, ValueError, LookupError, TypeError):
        return None
