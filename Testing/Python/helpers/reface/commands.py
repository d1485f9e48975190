"""What the tests of `reface` share: a pipeline that takes no time, and a folder with two heads."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import RefaceLib
import RefaceLib.session  # noqa: F401  (before a pipeline of tests could get into it)
from helpers.phantom import LANDMARKS, brain_mask, make_phantom
from RefaceLib.companion import CompanionResult
from RefaceLib.face import promise
from RefaceLib.pipeline import RefaceOptions
from RefaceLib.volume.io import write_volume

__all__ = ["folder_fixture", "pipeline_fixture"]  # what tests import by a star: the fixtures

PROGRAM = "reface"

SHAPE, SPACING = (24, 30, 32), (8.0, 8.0, 8.0)


class FakePipeline(ModuleType):
    """As RefaceLib.pipeline, but the face becomes the seed; `step` is called in the middle of the work."""

    RefaceOptions = RefaceOptions

    def __init__(self):
        super().__init__("RefaceLib.pipeline")
        self.options: RefaceOptions | None = None
        self.models: Path | None = None
        self.step = lambda: None
        self.counts: dict[str, float] = {}
        self.warnings = ("The chin is outside the field of view.",)

    def load_models(self, device="auto", folder=None):
        self.models = folder
        return None

    def reface_volume(self, volume, options=None, *, models=None, progress=None, cancelled=None):
        self.options = options
        brain = brain_mask(volume.stored.shape, volume.affine)
        grid = np.indices(volume.stored.shape).reshape(3, -1).T @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        mask = ((grid[:, 1] > 60) & (grid[:, 2] < -20)).reshape(brain.shape) & ~brain
        if progress:
            progress(0.5, "generate")
        self.step()
        stored = volume.stored.copy()
        stored[mask] = options.seed % 100
        counts = {"voxels_changed": int((stored != volume.stored).sum()), "voxels_changed_outside_mask": 0}
        counts |= {"brain_voxels_changed": 0, "mask_ml": 100.0, "tissue_ml": 60.0, **self.counts}
        return SimpleNamespace(
            stored=stored,
            mask=mask,
            brain=brain,
            landmarks=LANDMARKS,
            warnings=self.warnings,
            seconds=dict.fromkeys(("conform", "parse", "mask", "generate", "blend", "check"), 0.1),
            model={"name": "fake", "version": "1", "sha256": "0" * 64},
            device="cpu",
            mode=options.mode,
            seed=options.seed,
            draws=1,
            ears=options.ears,
            counts=counts,
            face_removed={"nose": 1.0},
        )


def zero_in_mask(other, volume, result, models):
    """As RefaceLib.companion.deface_companion, for a volume on the grid of the mask."""
    stored = other.stored.copy()
    stored[result.mask] = 0
    return companion_result(other, stored, result)


def companion_result(other, stored, result):
    counts = {**promise.count_changes(other.stored, stored, result.mask, result.brain), "tissue_ml": 1.0}
    return CompanionResult(stored, result.mask, result.brain, counts, {"nose": 1.0}, 0.5, 0.25, other.warnings)


@pytest.fixture(autouse=True, name="pipeline")
def pipeline_fixture(monkeypatch):
    fake = FakePipeline()
    monkeypatch.setitem(sys.modules, "RefaceLib.pipeline", fake)
    monkeypatch.setattr(RefaceLib, "pipeline", fake, raising=False)
    monkeypatch.setattr("RefaceLib.face.weights.load_models", fake.load_models)
    monkeypatch.setattr("RefaceLib.companion.deface_companion", zero_in_mask)
    monkeypatch.delenv("REFACE_DEBUG", raising=False)
    return fake


@pytest.fixture(name="folder")
def folder_fixture(tmp_path, monkeypatch):
    """A folder with two coregistered heads, which is the current one."""
    write_volume(tmp_path / "t1.nii.gz", make_phantom(SHAPE, SPACING), make_phantom(SHAPE, SPACING).stored)
    write_volume(tmp_path / "t2.nii.gz", make_phantom(SHAPE, SPACING), make_phantom(SHAPE, SPACING, seed=2).stored)
    (tmp_path / "notes.txt").write_text("no image")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report_of(stem):
    """The report beside the output with that stem, in the current folder."""
    return json.loads(Path(f"{stem}_reface.json").read_text(encoding="utf-8"))
