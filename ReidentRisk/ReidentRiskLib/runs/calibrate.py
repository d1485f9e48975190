"""Makes the calibration: how similar strangers are, and how similar one head is to itself when scanned again.

Every head of a folder is embedded as it is, and again after simulated further scans: moved a little, on another grid,
with other noise and another bias of the coil, and parsed anew. Different heads give the scores of strangers, the scans
of one head those of a person with itself. Embeddings are kept in the folder of the output until the user deletes them,
so that an interrupted run goes on where it was; the calibration itself holds numbers of pairs only.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from RefaceLib.common.errors import CancelledError, InputError, RefaceError
from RefaceLib.common.hashing import sha256_of
from RefaceLib.face.weights import read_registry
from RefaceLib.volume import geometry
from RefaceLib.volume.io import Volume, read_volume
from ReidentRiskLib.attack.views import LIGHTS, view_set
from ReidentRiskLib.judge.calibration import Calibration, distribution_of
from ReidentRiskLib.judge.identify import compare_views, identify, rate_record, record
from ReidentRiskLib.judge.scores import ATTACKERS, number, rows_of, similarity_matrix
from ReidentRiskLib.runs.gallery import EXTENSION, load_gallery, save_gallery
from ReidentRiskLib.runs.tools import Tools, load_tools

if TYPE_CHECKING:
    from ReidentRiskLib.attack.heads import HeadEmbedding

SCANS = 2  # simulated further scans of every head
FEWEST_HEADS = 15  # 105 pairs of strangers: with fewer, "1 in 100" cannot be told
EMBEDDINGS = "embeddings"  # folder for what is kept between runs
RECIPE = "1"  # of the simulated scans; another number makes kept embeddings void
PARSERS = ("finder", "parser")  # RefaceLib's networks that a head's pose comes from

_TURN = 10.0  # degrees about each axis, at most
_SHIFT = 6.0  # mm along each axis, at most
_SPACING = 0.1  # share by which voxels become larger or smaller, at most
_BIAS = 0.15  # logarithm of the coil's bias field, at most
_NOISE = (0.01, 0.025)  # standard deviation as a share of bright tissue


# ---- simulated scans ----


def scan_again(volume: Volume, random: np.random.Generator) -> Volume:
    """The head of `volume` in another scan (float32): moved, on another grid, with another bias field and more noise.

    The move is within _TURN degrees and _SHIFT mm, as of somebody who lies down in the scanner again.
    """
    from scipy import ndimage

    values = volume.values()
    values[~np.isfinite(values)] = 0
    spacing = geometry.voxel_sizes(volume.affine)
    grid, affine = _new_grid(values.shape, volume.affine, spacing * random.uniform(1 - _SPACING, 1 + _SPACING))
    middle = geometry.apply_affine(affine, (np.array(grid) - 1) / 2)
    move = _move(random, middle)
    back = np.linalg.inv(volume.affine) @ np.linalg.inv(move) @ affine
    air = float(np.percentile(values, 1))
    picture = ndimage.affine_transform(values, back[:3, :3], back[:3, 3], grid, order=3, mode="constant", cval=air)
    picture *= np.exp(_bias(grid, random))
    bright = float(np.percentile(picture[picture > picture.mean()], 90)) - air
    sigma = random.uniform(*_NOISE) * bright
    signal_, noise = picture - air, random.normal(0.0, sigma, (2, *grid)).astype(np.float32)
    magnitude = np.hypot(signal_ + noise[0], noise[1])  # as receivers measure it
    return Volume((air + magnitude).astype(np.float32), affine)


def _new_grid(shape: Sequence[int], affine: np.ndarray, spacing: np.ndarray) -> tuple[tuple[int, ...], np.ndarray]:
    """A grid of another `spacing` (mm) over the same field of view."""
    old = geometry.voxel_sizes(affine)
    grid = tuple(int(n) for n in np.ceil(np.array(shape) * old / spacing))
    changed = affine @ np.diag([*(spacing / old), 1.0])
    middle = geometry.apply_affine(affine, (np.array(shape) - 1) / 2)
    changed[:3, 3] += middle - geometry.apply_affine(changed, (np.array(grid) - 1) / 2)
    return grid, changed


def _move(random: np.random.Generator, middle: np.ndarray) -> np.ndarray:
    """A rigid move (4, 4) in RAS mm about the point `middle`."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", random.uniform(-_TURN, _TURN, 3), degrees=True).as_matrix()
    move = np.eye(4)
    move[:3, :3] = turn
    move[:3, 3] = middle - turn @ middle + random.uniform(-_SHIFT, _SHIFT, 3)
    return move


def _bias(grid: Sequence[int], random: np.random.Generator) -> np.ndarray:
    """A smooth field (float32) between -_BIAS and _BIAS: a polynomial of the second degree."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in grid], indexing="ij", sparse=True)
    terms = (x, y, z, x * y, y * z, x * z, x * x, y * y, z * z)
    field = sum(np.float32(weight) * term for weight, term in zip(random.normal(size=len(terms)), terms, strict=True))
    field = field - field.mean()
    return field * np.float32(_BIAS / max(float(np.abs(field).max()), 1e-6))


# ---- embedding ----


@dataclass(frozen=True)
class CalibrateOptions:
    """What is calibrated: several `models` (names or ONNX files) and `views`, from the files `pattern` of a folder.

    Each head, or of many only one in `rescan_every`, is looked at in so many further `scans`.
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
class _Job:
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
    from RefaceLib.common.imagenames import image_extension

    return path.name[: len(path.name) - len(image_extension(path) or "")]


@cache
def _tools(models: tuple[str, ...], device: str, accept_licence: bool) -> tuple[Tools, ...]:
    """The tools of every model, loaded once in each process; they share parser and detector."""
    from ReidentRiskLib.attack.embedder import load_embedder

    first = load_tools(models[0], device, accept_licence=accept_licence)
    others = (load_embedder(model, device, accept_licence) for model in models[1:])
    return (first, *(replace(first, embedder=embedder) for embedder in others))


def embed_scan(job: _Job) -> str | None:
    """Embed one scan with every model and keep the result; what is kept already is not made again.

    Returns None, or a sentence when no head was found in it.
    """
    from ReidentRiskLib.attack.heads import embed_head, read_head

    options = job.options
    every = _tools(options.models, options.device, options.accept_licence)
    missing = [tools for tools in every if _load(job, tools) is None]
    if not missing:
        return None
    first = every[0]
    try:
        volume = read_volume(job.path)
        if job.number:
            volume = scan_again(volume, np.random.default_rng([job.number, *job.name.encode()]))
        head = read_head(volume, name=job.name, models=first.head_models, detector=first.detector)
    except InputError as error:  # one head that cannot be used does not stop the others
        return f"{job.path.name} was left out: {error}"
    for tools in missing:
        embedding = embed_head(head, tools.embedder, options.widest, tools.detector)
        save_gallery(job.kept(tools.embedder.name), [embedding], tools.embedder.sha256, [job.key()], overwrite=True)
    return None


def _load(job: _Job, tools: Tools) -> HeadEmbedding | None:
    """What is kept of a scan, None where that is nothing of use."""
    embedder = tools.embedder
    try:
        kept = load_gallery(
            job.kept(embedder.name), model=embedder.name, sha256=embedder.sha256, views=job.options.widest
        )
    except InputError:
        return None
    return kept.heads[0] if kept.keys[0] == job.key() else None


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


def _embed_all(
    jobs: Sequence[_Job], count: int, progress: Callable[[float, str], None], cancelled: Callable[[], bool] | None
) -> list[str]:
    """Embed every scan in `count` processes (1: in this one); the sentences about those that could not be used."""
    notes: list[str] = []

    def done(index: int, note: str | None) -> None:
        notes.extend([note] if note else [])
        progress((index + 1) / len(jobs), f"scan {index + 1} of {len(jobs)}")
        if cancelled and cancelled():
            raise CancelledError("The run was stopped; it goes on where it was when it is started again.")

    if count == 1:
        for index, job in enumerate(jobs):
            done(index, embed_scan(job))
        return notes
    import multiprocessing

    context = multiprocessing.get_context("spawn")  # a fork would share the threads and windows of this process
    with _one_thread_each(), ProcessPoolExecutor(count, context, initializer=_prepare_worker) as pool:
        try:
            running = [pool.submit(embed_scan, job) for job in jobs]
            for index, future in enumerate(as_completed(running)):
                done(index, future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return notes


# ---- statistics ----


def pair_scores(heads: Sequence[Sequence[HeadEmbedding]], attacker: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the first scans of different heads, all pairs, and of the scans of each head with each other.

    `heads` are the scans of each head; NaN stands for a pair without a face that was acquired.
    """
    firsts = [scans[0] for scans in heads]
    matrix = similarity_matrix(firsts, firsts, attacker)
    different = matrix[np.triu_indices(len(firsts), 1)]
    same = [
        similarity_matrix([one], [other], attacker)[0, 0]
        for scans in heads
        for one, other in itertools.combinations(scans, 2)
    ]
    return different, np.array(same)


def with_views(head: HeadEmbedding, views: str) -> HeadEmbedding:
    """The head in a view set that its own one holds."""
    names = [view.name for view in view_set(head.views)]
    index = [names.index(view.name) for view in view_set(views)]
    return replace(head, views=views, forced=head.forced[index], gated=head.gated[index], pictures=None, crops=None)


def make_calibrations(
    heads: Sequence[Sequence[HeadEmbedding]], views: Sequence[str], sha256: str, about: dict[str, Any]
) -> list[Calibration]:
    """The calibrations of both attackers for one model (of the file `sha256`) and each of the `views`."""
    made = []
    for name in views:
        chosen = [[with_views(scan, name) for scan in scans] for scans in heads]
        for attacker in ATTACKERS:
            different, same = (distribution_of(scores) for scores in pair_scores(chosen, attacker))
            model = chosen[0][0].model
            made.append(Calibration(model, sha256, name, attacker, different, same, about))
    return made


def check_heads(heads: Sequence[Sequence[HeadEmbedding]], views: str) -> dict[str, Any]:
    """How well a network tells the heads apart: single views against each other, and further scans in the gallery."""
    chosen = [[with_views(scan, views) for scan in scans] for scans in heads]
    firsts = [scans[0] for scans in chosen]
    again = [(scans[0].name, scan) for scans in chosen for scan in scans[1:]]
    result: dict[str, Any] = {}
    for attacker in ATTACKERS:
        result[attacker] = {"views_with_a_face": _acquired(firsts, attacker)}
        if len(view_set(views)) > 1:
            single = compare_views(firsts, attacker)
            result[attacker]["single_views"] = {
                "heads": single.heads,
                "same_pairs": single.same_pairs,
                "different_pairs": single.different_pairs,
                "auc": number(single.auc),
                "d_prime": number(single.d_prime),
                "rank1_held_out_views": rate_record(single.rank1),
            }
        if again:
            result[attacker]["further_scans"] = record(identify(firsts, again, attacker))
    return result


def _acquired(heads: Sequence[HeadEmbedding], attacker: str) -> float | None:
    """Share of the views of all heads in which the attacker has a face."""
    return number(np.mean([np.isfinite(rows_of(head, attacker)).all(axis=1).mean() for head in heads]))


# ---- the whole of it ----


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What a run gives: ``calibrations`` for all models, view sets and attackers; ``checks`` by model and view set."""

    calibrations: tuple[Calibration, ...]
    checks: dict[str, Any]
    heads: int
    notes: tuple[str, ...]


def head_files(folder: Path, pattern: str = "*") -> list[Path]:
    """The volumes of a folder whose names match `pattern`, in the order of their names. Raises InputError."""
    from RefaceLib.common.imagenames import image_extension

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give one that holds heads.")
    files = sorted(path for path in folder.glob(pattern) if path.is_file() and image_extension(path))
    if not files:
        raise InputError(f"{folder} holds no volume that is named like '{pattern}': check the folder and --pattern.")
    return files


def calibrate(
    heads: Path,
    out: Path,
    options: CalibrateOptions,
    *,
    progress: Callable[[float, str], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Calibrated:
    """Embed all heads of the folder `heads` and count; embeddings are kept in the folder `out` between runs.

    Raises InputError where there are not enough heads, and as load_tools does.
    """
    from ReidentRiskLib.attack.render import renderer_name

    progress = progress or (lambda fraction, stage: None)
    files = head_files(heads, options.pattern)
    _check_count(len(files), heads)
    folder = out / EMBEDDINGS
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefaceError(f"The folder {folder} cannot be made ({error.strerror}): choose another one.") from error
    every = _tools(options.models, options.device, options.accept_licence)  # downloads what is missing, once
    scans = [
        [
            _Job(path, number, options, folder)
            for number in range(1 + options.scans * (index % options.rescan_every == 0))
        ]
        for index, path in enumerate(files)
    ]
    notes = _embed_all([job for jobs in scans for job in jobs], options.jobs, progress, cancelled)

    about = {
        "data": options.data or f"{len(files)} heads of the folder {heads.name}",
        "scans": f"{options.scans} simulated further scan(s) of {_which(options.rescan_every)}, recipe {RECIPE}",
        "command": command_of(heads, out, options),
        "renderer": renderer_name(),
        "detector_sha256": every[0].detector.sha256,
        "date": date.today().isoformat(),
    }
    calibrations: list[Calibration] = []
    checks: dict[str, Any] = {}
    used = 0
    for tools in every:
        embedded = [[_load(job, tools) for job in jobs] for jobs in scans]
        complete = [[scan for scan in jobs if scan is not None] for jobs in embedded if jobs[0] is not None]
        used = len(complete)
        _check_count(used, heads)
        counted = {"heads": used, **about}
        calibrations += make_calibrations(complete, options.views, tools.embedder.sha256, counted)
        checks[tools.embedder.name] = {views: check_heads(complete, views) for views in options.views}
    return Calibrated(tuple(calibrations), checks, used, tuple(notes))


def _which(every: int) -> str:
    return "each head" if every == 1 else f"one head in {every}"


def _check_count(count: int, folder: Path) -> None:
    if count < FEWEST_HEADS:
        raise InputError(f"{folder} gives {count} heads, and a calibration takes at least {FEWEST_HEADS}: add some.")


def command_of(heads: Path, out: Path, options: CalibrateOptions) -> str:
    """The command that makes the same again, with the folders' names alone."""
    models = " ".join(Path(model).name for model in options.models)
    parts = ["reident-risk calibrate", heads.name, out.name, f"--model {models}", f"--views {' '.join(options.views)}"]
    parts += [f"--pattern '{options.pattern}'"] if options.pattern != "*" else []
    parts += [f"--scans {options.scans}"] if options.scans != SCANS else []
    parts += [f"--rescan-every {options.rescan_every}"] if options.rescan_every != 1 else []
    return " ".join(parts)
