"""A run with real child processes, whose networks are stand-ins: to the end, cancelled, crashed, stopped."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
import slicer  # noqa: E402

from helpers.reidentrisk.commands import put  # noqa: E402
from helpers.reidentrisk.nodes import node_of  # noqa: E402
from helpers.windows import CHILD_PATH, let_children_run, temporary_fixture  # noqa: E402, F401
from RefaceLib.common.errors import InputError, RefaceError  # noqa: E402
from RefaceLib.common.progress import no_progress  # noqa: E402
from RefaceLib.common.steps import Step, StepRunner  # noqa: E402
from RefaceLib.window.job import face_judge  # noqa: E402
from ReidentRiskLib.attack import models  # noqa: E402
from ReidentRiskLib.window import job  # noqa: E402
from ReidentRiskLib.window.job import Request, RiskFiles, stage_title  # noqa: E402


@pytest.fixture
def request_(tmp_path):
    """Two volumes of one person, and a gallery of two others."""
    scene = slicer.vtkMRMLScene()
    (tmp_path / "known").mkdir()
    for person in (2, 3):
        put(tmp_path / "known" / f"s{person}.nii.gz", person)
    volumes = [node_of(scene, "Head", 1), node_of(scene, "Again", 1, scan=1)]
    yield Request(volumes[0], volumes[1:], gallery=tmp_path / "known")
    assert scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode") == 2


class Watched:
    """A run and what it tells; `done` and `failed` hold what the callbacks got."""

    def __init__(self, request: Request) -> None:
        self.progress: list[tuple[float, str]] = []
        self.done: list[job.Findings] = []
        self.failed: list[str | None] = []
        self.run = StepRunner(
            lambda folder: RiskFiles(request, folder),
            on_progress=lambda *told: self.progress.append(told),
            on_done=self.done.append,
            on_failed=self.failed.append,
        )

    @property
    def ended(self) -> list:
        return [*self.done, *self.failed]

    def until(self, ready, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < end, (self.progress, self.failed)
            self.run.poll()
            time.sleep(0.02)

    def to_the_end(self):
        """What was found, or the sentence of a failure."""
        self.run.start()
        self.until(lambda: self.ended)
        assert not self.run.running
        (end,) = self.ended
        return end


@pytest.fixture
def watch(monkeypatch):
    """Makes a Watched run, whose children go as REIDENT_CHILD says."""
    let_children_run(monkeypatch)

    def make(request: Request, how: str = "", module: str = "helpers.reidentrisk.child") -> Watched:
        monkeypatch.setattr(job, "MODULE", module)
        monkeypatch.setenv("REIDENT_CHILD", how)
        return Watched(request)

    return make


def test_both_steps_run_and_their_results_are_read(watch, request_):
    watched = watch(request_)
    watched.to_the_end()
    (found,) = watched.done
    assert [face.name for face in found.faces] == ["Head", "Again"]
    assert found.identification["attackers"]["forced"]["rank1"]["hits"] == 1
    fractions = [fraction for fraction, _ in watched.progress]
    assert fractions == sorted(fractions) and 0.9 < fractions[-1] <= 1.0


def test_waiting_for_a_run(watch, request_):
    watched, calls = watch(request_), []
    watched.run.wait(lambda: calls.append(1))
    assert calls and watched.failed == []
    assert watched.done[0].report["reference"]["name"] == "Head"


@pytest.mark.parametrize("how", ["slow", "stubborn"])
def test_a_run_is_cancelled_within_a_second(watch, request_, how):
    watched = watch(request_, how)
    watched.run.start()
    watched.until(lambda: any(stage == "embed" for _, stage in watched.progress))
    start = time.monotonic()
    watched.run.cancel()
    watched.until(lambda: watched.ended)
    assert time.monotonic() - start < 1.5  # of them 0.7 until a child that does not listen is killed
    assert (watched.done, watched.failed) == ([], [None])


def test_a_crash_is_told_in_one_sentence(watch, request_):
    sentence = watch(request_, "crash").to_the_end()
    assert sentence.count(".") >= 1 and "\n" not in sentence


def test_an_error_of_the_second_step_is_told_and_nothing_is_found(watch, request_):
    watched = watch(request_, "second")
    assert watched.to_the_end() == "This cannot be done."
    assert watched.done == []


def test_errors_name_the_volume_and_no_temporary_file(watch, request_):
    scene = request_.reference.GetScene()
    nobody = node_of(scene, "Nobody", 0)
    sentence = watch(Request(request_.reference, [nobody])).to_the_end()
    assert sentence.startswith("'Nobody': No head was found")
    assert "temporary" not in sentence
    scene.RemoveNode(nobody)


# Python imports a sitecustomize at its start, wherever the package is installed: a module of the name of onnxruntime
# would come behind the true one where both libraries lie in one folder.
_RECORDER = """import os, sys

class Recorder:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            with open(os.environ["RECORD"], "a") as file:
                print(os.environ.get("ORT_DISABLE_TELEMETRY"), file=file)
            raise ImportError("a stand-in")

sys.meta_path.insert(0, Recorder())
"""


@pytest.mark.parametrize("of", ["ReidentRisk", "Faces to try"])
def test_children_of_the_windows_import_onnxruntime_with_its_telemetry_off(request_, tmp_path, monkeypatch, of):
    """onnxruntime reads the variable when it is imported, and writes files into the user's cache without it."""
    (tmp_path / "stand-ins").mkdir()
    (tmp_path / "stand-ins" / "sitecustomize.py").write_text(_RECORDER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "stand-ins"), CHILD_PATH]))
    monkeypatch.setenv("RECORD", str(tmp_path / "record.txt"))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    models.ensure("sface")  # the network is there: what is missing is onnxruntime

    def files(folder):
        made = RiskFiles(Request(request_.reference, request_.probes, model="sface"), folder)
        if of == "ReidentRisk":
            return made
        paths = [Path(argument) for argument in made.steps[0].arguments[1:3]]
        judge = face_judge()
        step = Step(judge.module, judge.arguments(paths[0], paths[1:], folder / "compared"), 1.0)
        return SimpleNamespace(steps=[step], names={}, read=None)

    run = StepRunner(files, on_progress=no_progress, on_done=lambda _: None, on_failed=lambda _: None)
    with pytest.raises(RefaceError, match="onnxruntime"):
        run.wait()
    assert set((tmp_path / "record.txt").read_text().split()) == {"1"}


def test_a_run_is_stopped_without_a_word(watch, request_):
    watched = watch(request_, "slow")
    watched.run.start()
    watched.until(lambda: watched.progress)
    watched.run.stop()
    assert not watched.run.running and not watched.run.poll()
    assert watched.ended == []


def test_what_cannot_be_compared_leaves_no_folder(watch, request_):
    with pytest.raises(InputError, match="given twice"):
        watch(Request(request_.reference, [request_.reference])).run.start()


def test_a_module_that_is_not_there_is_told(watch, request_):
    assert "no_such_module" in watch(request_, module="no_such_module").to_the_end()


@pytest.mark.parametrize(
    ("stage", "title"),
    [
        ("load", "loading the networks"),
        ("embedding Head", "comparing faces"),
        ("gallery 3 of 20", "looking at the gallery (3 of 20)"),
        ("something new", "something new"),
    ],
)
def test_stages_have_titles(stage, title):
    assert stage_title(stage) == title
