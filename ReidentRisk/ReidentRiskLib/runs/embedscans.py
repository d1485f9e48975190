"""The scans of a calibration: embedded in several processes, and kept between runs.

A scan is kept until the user deletes it, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from RefaceLib.common.errors import InputError
from RefaceLib.common.hashing import sha256_of
from RefaceLib.common.imagenames import image_extension
from RefaceLib.common.progress import Cancelled, Progress, raise_if_cancelled
from RefaceLib.face.weights import read_registry
from RefaceLib.volume.io import read_volume
from ReidentRiskLib.attack.views import LIGHTS, view_set
from ReidentRiskLib.runs.gallery import EXTENSION, load_gallery, save_gallery
from ReidentRiskLib.runs.rescan import RECIPE, scan_again
from ReidentRiskLib.runs.tools import Tools, load_tools

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding

SCANS = 2  # simulated further scans of every head
PARSERS = ("localizer", "parser")  # RefaceLib's networks that a head's pose comes from


@dataclass(frozen=True)
class CalibrateOptions:
    """What is calibrated: several `models` (names or ONNX files) and `views`, from the files `pattern` of a folder.

    One head in `rescan_every` is embedded in `scans` further scans as well.
    """

    models: tuple[str, ...]
    views: tuple[str, ...] = ("standard",)
    pattern: str = "*"
    scans: int = SCANS
    rescan_every: int = 1
    device: str = "auto"
    accept_licence: bool = False
    data: str = ""
    jobs: int = 1

    @property
    def widest(self) -> str:
        """The view set that holds all others (every set holds the ones before it): only that one is drawn."""
        return max(self.views, key=lambda name: len(view_set(name)))


@dataclass(frozen=True)
class Scan:
    """One scan of one head, to be embedded with all models; `number` 0 is the scan itself."""

    path: Path
    number: int
    options: CalibrateOptions
    folder: Path

    @property
    def name(self) -> str:
        return _stem(self.path)

    def kept(self, model: str) -> Path:
        """Where its embedding with `model` is kept."""
        return self.folder / f"{self.name}_{self.number}_{model}_{self.options.widest}{EXTENSION}"

    def key(self) -> str:
        """What the embedding is made of: another file, recipe or way of drawing makes a kept one void."""
        return f"{sha256_of(self.path)}:{self.number}:{RECIPE}:{_drawing(self.options.widest)}"


def _drawing(views: str) -> str:
    """A hash of what finds, draws and lights the faces."""
    from ReidentRiskLib.attack.render import renderer_name

    parsers = {name: entry["sha256"] for name, entry in read_registry()["models"].items() if name in PARSERS}
    return hashlib.sha256(repr((view_set(views), LIGHTS, renderer_name(), parsers)).encode()).hexdigest()[:16]


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(image_extension(path) or "")]


@cache
def load_all_tools(models: tuple[str, ...], device: str, accept_licence: bool) -> tuple[Tools, ...]:
    """The tools of every model, loaded once in each process; they share parser and detector."""
    from ReidentRiskLib.attack.embedder import load_embedder

    first = load_tools(models[0], device, accept_licence=accept_licence)
    others = (load_embedder(model, device, accept_licence) for model in models[1:])
    return (first, *(replace(first, embedder=embedder) for embedder in others))


def embed_scan(scan: Scan) -> str | None:
    """Embed one scan with every model and keep the result; what is kept already is not made again.

    Returns None, or a sentence when no head was found in it.
    """
    from ReidentRiskLib.attack.heads import embed_head, read_head

    options = scan.options
    every = load_all_tools(options.models, options.device, options.accept_licence)
    missing = [tools for tools in every if load_scan(scan, tools) is None]
    if not missing:
        return None
    first = every[0]
    try:
        volume = read_volume(scan.path)
        if scan.number:
            volume = scan_again(volume, np.random.default_rng([scan.number, *os.fsencode(scan.name)]))
        head = read_head(volume, name=scan.name, models=first.head_models, detector=first.detector)
    except InputError as error:  # one head that cannot be used does not stop the others
        return f"{scan.path.name} was left out: {error}"
    for tools in missing:
        embedding = embed_head(head, tools.embedder, options.widest, tools.detector)
        save_gallery(scan.kept(tools.embedder.name), [embedding], tools.embedder.sha256, [scan.key()], overwrite=True)
    return None


def load_scan(scan: Scan, tools: Tools) -> HeadEmbedding | None:
    """What is kept of a scan, None where that is nothing of use."""
    embedder = tools.embedder
    try:
        kept = load_gallery(
            scan.kept(embedder.name), model=embedder.name, sha256=embedder.sha256, views=scan.options.widest
        )
    except InputError:
        return None
    return kept.heads[0] if kept.keys[0] == scan.key() else None


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    import torch

    torch.set_num_threads(1)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """New processes compute with one thread each: there are as many of them as cores are wanted."""
    before = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def embed_scans(scans: Sequence[Scan], count: int, progress: Progress, cancelled: Cancelled | None) -> list[str]:
    """Embed every scan in `count` processes (1: in this one); the sentences about those that could not be used."""
    notes: list[str] = []

    def done(index: int, note: str | None) -> None:
        notes.extend([note] if note else [])
        progress((index + 1) / len(scans), f"scan {index + 1} of {len(scans)}")
        raise_if_cancelled(cancelled, "The run was stopped: start it again to continue.")

    if count == 1:
        for index, scan in enumerate(scans):
            done(index, embed_scan(scan))
        return notes
    import multiprocessing

    context = multiprocessing.get_context("spawn")  # a fork would share the threads and windows of this process
    with _one_thread_each(), ProcessPoolExecutor(count, context, initializer=_prepare_worker) as pool:
        try:
            running = [pool.submit(embed_scan, scan) for scan in scans]
            for index, future in enumerate(as_completed(running)):
                done(index, future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return notes
