"""Embeddings without faces, for the tests of scores and statistics: directions that are drawn at random.

And stand-ins for everything that makes embeddings out of volumes, for the tests of what is built on it.
"""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from RefaceLib.common.errors import CancelledError, HeadNotFoundError
from RefaceLib.volume.io import Volume
from ReidentRiskLib.attack.evidence import Evidence
from ReidentRiskLib.attack.heads import Head, HeadEmbedding
from ReidentRiskLib.attack.landmarks import Pose
from ReidentRiskLib.attack.models import MODELS, Model
from ReidentRiskLib.attack.views import PHOTO, view_set
from ReidentRiskLib.judge.calibration import Calibration, distribution_of
from ReidentRiskLib.judge.scores import ALIGNED
from ReidentRiskLib.runs.tools import Finders, Tools

SIZE = 16  # numbers in an embedding
VIEWS = 6


def directions(random: np.random.Generator, count: int, size: int = SIZE) -> np.ndarray:
    """Unit vectors (count, size), float32."""
    vectors = random.standard_normal((count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def head(
    name: str,
    centre: np.ndarray | None = None,
    *,
    spread: float = 0.2,
    seed: int = 0,
    views: int = VIEWS,
    missed: tuple[int, ...] = (),
    model: str = "fake",
    view_set: str = "standard",
    pictures: bool = False,
) -> HeadEmbedding:
    """A head whose views lie about the direction `centre` (by default one of its own, told by the name).

    In the views `missed` no face was found.
    """
    random = np.random.default_rng([seed, *name.encode("utf-8", "surrogateescape")])
    if centre is None:
        centre = directions(np.random.default_rng(list(name.encode("utf-8", "surrogateescape"))), 1)[0]
    rows = centre + spread * directions(random, views, len(centre))
    aligned = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    detected = aligned.copy()
    detected[[view for view in missed if view < views]] = np.nan
    drawn = random.integers(0, 255, (views, 32, 32, 3), dtype=np.uint8) if pictures else None
    crops = drawn[:, :16, :16].copy() if pictures else None
    return HeadEmbedding(
        name=name, model=model, views=view_set, aligned=aligned, detected=detected, pictures=drawn, crops=crops
    )


# ---- stand-ins for the networks and the pictures: a head is told by its voxels ----

GRID = (6, 5, 4)
DEFACED = 100  # added to a person: the same head with another face


def volume(person: int, scan: int = 0, missed: int = 0, shift: float = 0.0) -> Volume:
    """A volume that the stand-ins take for a scan of `person`; the detector fails in the first `missed` views.

    `person` 0 is nobody. `shift` (mm) moves the grid.
    """
    stored = np.full(GRID, 50, np.int16)
    stored[0, 0, :3] = person, scan, missed
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[0, 3] = shift
    return Volume(stored, affine)


@dataclasses.dataclass(frozen=True, eq=False)
class FakeEmbedder:
    name: str = "fake"
    sha256: str = "ab" * 32
    size: int = SIZE
    model: Model = MODELS["sface"]


@dataclasses.dataclass(frozen=True, eq=False)
class FakeDetector:
    name: str = "fake-detector"
    sha256: str = "cd" * 32


class Fakes:
    """What takes the place of networks and pictures; `found` and `embedded` remember what was asked for."""

    def __init__(self) -> None:
        self.tools = Tools(embedder=FakeEmbedder(), detector=FakeDetector(), head_models=None)
        self.loaded: list[tuple] = []
        self.parsed: list[int] = []
        self.found: list[dict] = []
        self.embedded: list[str] = []
        self.step = lambda: None  # called in the middle of the work

    def load_tools(self, model=None, device="auto", *, accept_licence=False, progress=None, cancelled=None):
        self.loaded.append((model, device, accept_licence))
        return self.tools

    def load_finders(self, device="auto", *, progress=None, cancelled=None):
        return Finders(detector=self.tools.detector, head_models=None)

    def parse_volume(self, volume, models):
        person = int(volume.stored[0, 0, 0])
        self.parsed.append(person)
        if person == 0:
            raise HeadNotFoundError("No head was found in the volume: give a T1-weighted head MRI.")
        return f"parse of {person}"

    def read_head(
        self, source, affine=None, *, name=None, points=None, landmarks_of=None, models=None, detector=None, parse=None
    ):  # fmt: skip
        person, scan, missed = (int(code) for code in source.stored[0, 0, :3])
        if landmarks_of is None and parse is None:
            self.parsed.append(person)
        self.found.append({"name": name, "points": points, "landmarks_of": landmarks_of and landmarks_of.name})
        if person == 0:
            raise HeadNotFoundError("No head was found in the volume: give a T1-weighted head MRI.")
        if landmarks_of is not None and person % DEFACED != landmarks_of.surface.person % DEFACED:
            raise HeadNotFoundError("The volume does not hold the head of the original in the same space.")
        pose = Pose(np.eye(4), np.arange(15.0).reshape(5, 3) if points is None else points)
        return Head(name, SimpleNamespace(person=person, scan=scan, missed=missed), pose)

    def embed_head(
        self, head_, embedder, views="standard", detector=None, *, landmarks_of=None, keep_pictures=False,
        progress=None, cancelled=None,
    ):  # fmt: skip
        self.embedded.append(head_.name)
        if progress:
            progress(0.5, "embed")
        self.step()
        if cancelled and cancelled():
            raise CancelledError("The run was stopped; nothing was written.")
        count, person = len(view_set(views)), head_.surface
        centre = directions(np.random.default_rng(person.person), 1, embedder.size)[0]
        made = head(
            head_.name, centre, seed=person.scan, views=count, missed=range(person.missed), pictures=keep_pictures
        )
        return dataclasses.replace(made, model=embedder.name, views=views)

    def find_evidence(self, volume, parse, detector, views="standard", faces=None):
        """A head with a whole face; that of a person who was DEFACED has a tenth of one."""
        person, _, missed = (int(code) for code in volume.stored[0, 0, :3])
        assert parse == f"parse of {person}"
        self.step()
        count, tissue = len(view_set(views)), 0.1 if person > DEFACED else 1.0
        return Evidence(tissue, {"nose": 1.0 - tissue}, count - missed if faces is None else faces, count)

    def embed_photo(self, path, embedder, detector=None, *, name=None, points=None, keep_pictures=False):
        self.embedded.append(name)
        centre = directions(np.random.default_rng(1), 1, embedder.size)[0]
        return head(name, centre, views=1, model=embedder.name, view_set=PHOTO, pictures=keep_pictures)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> Fakes:
        for name in ("read_head", "embed_head", "parse_volume"):
            monkeypatch.setattr(f"ReidentRiskLib.attack.heads.{name}", getattr(self, name))
        monkeypatch.setattr("ReidentRiskLib.attack.evidence.find_evidence", self.find_evidence)
        monkeypatch.setattr("ReidentRiskLib.attack.photo.embed_photo", self.embed_photo)
        monkeypatch.setattr("ReidentRiskLib.runs.tools.load_tools", self.load_tools)
        monkeypatch.setattr("ReidentRiskLib.runs.tools.load_finders", self.load_finders)
        monkeypatch.setattr("ReidentRiskLib.attack.render.renderer_name", lambda: "fake")
        return self


def calibration(attacker: str = ALIGNED, model: str = "fake", views: str = "standard") -> Calibration:
    """Strangers about 0, the same head about 0.97: what the stand-ins give."""
    random = np.random.default_rng(0)
    parts = distribution_of(random.normal(0.0, 0.25, 5000)), distribution_of(random.normal(0.97, 0.01, 500))
    return Calibration(model, "ab" * 32, views, attacker, *parts, {"heads": 100, "data": "drawn"})


def stepwise_calibration(
    different: np.ndarray | None = None, same: np.ndarray | None = None, attacker: str = ALIGNED
) -> Calibration:
    """Different heads at 0.000, 0.001 ... 0.999, the same head at 0.80 ... 0.99, unless told otherwise."""
    different = np.arange(1000) / 1000 if different is None else different
    same = np.linspace(0.8, 0.99, 100) if same is None else same
    parts = distribution_of(different), distribution_of(same)
    return Calibration("fake", "ab" * 32, "standard", attacker, *parts, {"heads": 46, "data": "drawn"})
