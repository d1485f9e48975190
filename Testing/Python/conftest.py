"""What every test may use (phantom, demo head, shared data), and the rule that nothing is skipped in silence.

With REFACE_REQUIRE_ALL=1 (the continuous integration sets it) a skipped test is a failed test. Two reasons are allowed:
the folder of real heads and the application 3D Slicer, which a fresh clone does not have.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.checkout import REPOSITORY

if TYPE_CHECKING:
    from RefaceLib.face.shapemodel import Atlas, ShapeModel
    from RefaceLib.face.weights import Models
    from RefaceLib.head.headparser import HeadParse
    from RefaceLib.training.boxes import Box

SHARED = Path(os.environ.get("REFACE_SHARED", REPOSITORY.parent / "shared"))
NEEDS_SHARED = "needs ../shared"
NEEDS_SLICER = "needs REFACE_SLICER"  # the path of the executable of 3D Slicer
REQUIRE_ALL = os.environ.get("REFACE_REQUIRE_ALL") == "1"
REQUIRED_MODULES = (
    "torch", "vtkmodules", "slicer", "nibabel", "nrrd", "safetensors", "scipy", "matplotlib", "SimpleITK",
    "onnx", "onnxruntime", "sklearn", "PIL", "pydicom", "dicomanonymizer", "gdcm", "openjpeg", "jpeg_ls", "dcm2niix",
    "ancpbids", "distributed",
)  # fmt: skip

for library, module_folder in (("RefaceLib", "Reface"), ("ReidentRiskLib", "ReidentRisk")):
    spec = importlib.util.find_spec(library)
    if spec is None or spec.origin is None:  # not installed, or nothing but the folder of an earlier installation
        sys.path.insert(0, str(REPOSITORY / module_folder))

import RefaceLib  # noqa: E402
from helpers.phantom import make_phantom  # noqa: E402  (needs RefaceLib on the path)
from helpers.realhead import averaged  # noqa: E402
from RefaceLib.face.weights import load_models  # noqa: E402
from RefaceLib.head.pose import parse_head  # noqa: E402
from RefaceLib.pipeline import RefaceOptions, RefaceResult, reface_volume  # noqa: E402
from RefaceLib.volume.io import Volume, read_volume  # noqa: E402


def pytest_report_header() -> list[str]:
    return [f"RefaceLib: {Path(RefaceLib.__file__).parent}", f"shared data: {SHARED if SHARED.is_dir() else 'absent'}"]


def pytest_configure(config: pytest.Config) -> None:
    missing = [name for name in REQUIRED_MODULES if importlib.util.find_spec(name) is None]
    if REQUIRE_ALL and missing:
        raise pytest.UsageError(f"REFACE_REQUIRE_ALL=1, but these cannot be imported: {', '.join(missing)}")


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure, unless it is one of those that are allowed."""
    if not (REQUIRE_ALL and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    needs = reason.removeprefix("Skipped: ")
    if needs.startswith(NEEDS_SHARED) and not SHARED.is_dir():
        return
    if needs.startswith(NEEDS_SLICER) and not os.environ.get("REFACE_SLICER"):
        return
    report.outcome = "failed"
    report.longrepr = f"Skipped, but REFACE_REQUIRE_ALL=1 allows no skip here: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real heads (`ixi-t1-2mm` and others); the test is skipped where there is none."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"{NEEDS_SHARED}/data (or REFACE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def slicer_application() -> Path:
    """The executable of 3D Slicer; the test is skipped where none is named."""
    named = os.environ.get("REFACE_SLICER")
    if not named:
        pytest.skip(NEEDS_SLICER)
    return Path(named)


@pytest.fixture
def phantom_head() -> Volume:
    """A head of ellipsoids, 64 x 64 x 64 voxels of 4 mm, int16, RAS; `phantom.make_phantom` makes any other."""
    return make_phantom()


@pytest.fixture(scope="session")
def demo_path() -> Path:
    """The demo head's NIfTI file: a real head, fetched once and cached."""
    from RefaceLib.common.demo import demo_head

    return demo_head()


@pytest.fixture(scope="session")
def demo_volume(demo_path: Path) -> Volume:
    """The demo head, read; shared by the session, so its arrays must not be written to."""
    volume = read_volume(demo_path)
    volume.stored.setflags(write=False)
    return volume


@pytest.fixture(scope="session")
def models() -> Models:
    """The shipped networks on the CPU, loaded once."""
    return load_models("cpu")


@pytest.fixture(scope="session")
def small_head(demo_volume: Volume) -> Volume:
    """The demo head averaged to 2 mm, 104 x 128 x 128 int16: its arrays must not be written to."""
    volume = averaged(demo_volume, (2, 2, 2))
    volume.stored.setflags(write=False)
    return volume


@pytest.fixture(scope="session")
def parsed(small_head: Volume, models: Models) -> HeadParse:
    """The parse of the small head: the slow part, always the same."""
    return parse_head(small_head.values(), small_head.affine, models.localizer, models.parser, models.device)


@pytest.fixture(scope="session")
def refaced(small_head: Volume, models: Models) -> RefaceResult:
    """The small head with the face of seed 0."""
    return reface_volume(small_head, RefaceOptions(device="cpu"), models=models)


@pytest.fixture(scope="session")
def defaced(small_head: Volume, models: Models) -> RefaceResult:
    """The small head without a face."""
    return reface_volume(small_head, RefaceOptions(mode="deface", device="cpu"), models=models)


@pytest.fixture(scope="session")
def phantom_boxes() -> list[Box]:
    """Two phantoms as training heads."""
    from helpers.phantomfaces import make_boxes

    return make_boxes()


@pytest.fixture(scope="session")
def face_model(phantom_boxes: list[Box]) -> tuple[ShapeModel, Atlas]:
    """Shape model and atlas of the phantoms."""
    from helpers.phantomfaces import make_face_model

    return make_face_model(phantom_boxes)
