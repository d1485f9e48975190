"""A run of several child processes: its order, its progress, its ends, and that nothing is left behind."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path

import pytest

from RefaceLib.common.errors import CancelledError, InputError, RefaceError
from RefaceLib.common.steps import Step, StepRunner, with_names

CHILD = """\
import json, sys, time
from pathlib import Path
how, out = sys.argv[1], Path(sys.argv[2])
def tell(**record): print(json.dumps(record), flush=True)
tell(progress=0.5, stage=how)
while how == "slow": time.sleep(0.05)
if how == "fail":
    print("a hint for developers", file=sys.stderr)
    tell(error=f"{out} cannot be used.")
    sys.exit(2)
with open(out, "a") as file: file.write(how + "\\n")
tell(progress=1.0, stage=how)
"""


class Files:
    """A run of one child a word, each of which adds its word to a file; `read` gives the words."""

    def __init__(self, folder, words, module="steps_child"):
        self.out = folder / "words.txt"
        self.steps = [Step(module, [word, str(self.out)], 1 / len(words)) for word in words]
        self.names = {self.out: "'Head'"}

    def read(self):
        words = self.out.read_text().split()
        if "unusable" in words:
            raise InputError(f"{self.out} is unusable.")
        if "bug" in words:
            raise ZeroDivisionError
        return words


class Run:
    """A StepRunner with what it told."""

    def __init__(self, *words, **options):
        self.progress, self.done, self.failed = [], [], []
        self.runner = StepRunner(
            lambda folder: Files(folder, words, **options),
            on_progress=lambda *told: self.progress.append(told),
            on_done=self._on_done,
            on_failed=self._on_failed,
        )

    def _on_done(self, result):
        assert temporary_folders() == []
        self.done.append(result)

    def _on_failed(self, sentence):
        assert temporary_folders() == []
        self.failed.append(sentence)

    def until(self, ready, seconds=30.0):
        end = time.monotonic() + seconds
        while not ready(self):
            assert time.monotonic() < end
            self.runner.poll()
            time.sleep(0.02)


def temporary_folders():
    return list(Path(tempfile.gettempdir()).iterdir())


@pytest.fixture(autouse=True)
def child(tmp_path, monkeypatch):
    """The module steps_child, and a folder for temporary ones, which is empty again after every test."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "steps_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    yield
    assert temporary_folders() == []


def test_steps_run_one_after_the_other_and_share_the_progress():
    run = Run("one", "two", "three")
    run.runner.start()
    assert run.runner.running and run.progress == []  # nothing before poll()
    run.until(lambda run: not run.runner.running)
    assert (run.done, run.failed) == ([["one", "two", "three"]], [])
    last = {stage: fraction for fraction, stage in run.progress}
    assert list(last) == ["one", "two", "three"]
    assert last == pytest.approx({"one": 1 / 3, "two": 2 / 3, "three": 1.0}) and last["three"] <= 1.0


def test_an_error_ends_the_run_in_the_words_of_the_window(caplog):
    run = Run("one", "fail", "three")
    with caplog.at_level(logging.ERROR), pytest.raises(RefaceError, match="^'Head' cannot be used.$"):
        run.runner.wait()
    assert (run.done, run.failed) == ([], ["'Head' cannot be used."])
    assert "a hint for developers" in caplog.text
    assert "three" not in {stage for _fraction, stage in run.progress}


def test_a_result_that_cannot_be_used_is_told_in_the_words_of_the_window():
    run = Run("unusable")
    with pytest.raises(InputError, match="^'Head' is unusable.$"):
        run.runner.wait()
    assert (run.done, run.failed) == ([], ["'Head' is unusable."])


def test_a_python_that_cannot_start_the_next_step_is_told():
    run = Run("one", "two")
    run.runner.start()
    run.runner._python = "/no/such/python"
    run.until(lambda run: run.failed)
    assert "cannot be started" in run.failed[0]


def test_an_error_of_the_program_leaves_no_folder():
    with pytest.raises(ZeroDivisionError):
        Run("bug").runner.wait()


def test_what_cannot_be_prepared_leaves_no_folder():
    def prepare(folder):
        (folder / "scan.nrrd").write_bytes(b"x")
        raise InputError("There is no head.")

    runner = StepRunner(prepare, on_progress=print, on_done=print, on_failed=print)
    with pytest.raises(InputError, match="no head"):
        runner.start()
    assert not runner.running and not runner.poll()


def test_cancel_ends_the_run_within_a_second_and_no_further_step_starts():
    run = Run("slow", "two")
    run.runner.start()
    run.until(lambda run: run.progress)
    start = time.monotonic()
    run.runner.cancel()
    run.until(lambda run: not run.runner.running)
    assert time.monotonic() - start < 1.0
    assert (run.done, run.failed) == ([], [None])


def test_a_script_that_waits_can_cancel():
    run = Run("slow")
    with pytest.raises(CancelledError, match="nothing was written"):
        run.runner.wait(cancelled=lambda: bool(run.progress))
    assert run.failed == [None]


def test_stop_ends_the_run_at_once_without_a_word():
    run = Run("slow")
    run.runner.start()
    run.until(lambda run: run.progress)
    child = run.runner._child._process
    run.runner.stop()
    assert child.poll() is not None and temporary_folders() == []
    assert not run.runner.running and not run.runner.poll()
    assert (run.done, run.failed) == ([], [])


def in_pieces(run, count=3):
    """Let the run end in so many pieces of work; where they stand."""
    log = []

    def pieces(_result):
        try:
            for number in range(count):
                log.append(number)
                yield
            log.append("done")
        finally:
            log.append("closed")

    run.runner._on_done = pieces
    run.runner.start()
    run.until(lambda run: log)
    return log


def test_the_work_at_the_end_is_done_in_pieces_one_a_poll():
    run = Run("one")
    log = in_pieces(run)
    assert log == [0] and run.runner.running and temporary_folders() == []
    assert [run.runner.poll() for _ in range(3)] == [True, True, False]
    assert log == [0, 1, 2, "done", "closed"]


@pytest.mark.parametrize(("end", "failed"), [("cancel", [None]), ("stop", [])])
def test_pieces_that_are_left_are_not_done_after_cancel_or_stop(end, failed):
    run = Run("one")
    log = in_pieces(run)
    getattr(run.runner, end)()
    assert log == [0, "closed"] and run.failed == failed
    assert not run.runner.poll() and not run.runner.running


def test_an_error_in_a_piece_ends_the_run():
    run = Run("one")

    def pieces(_result):
        yield
        raise ZeroDivisionError

    run.runner._on_done = pieces
    with pytest.raises(ZeroDivisionError):
        run.runner.wait()
    assert not run.runner.running


def test_every_file_has_its_name():
    names = {Path("/tmp/a1.nrrd"): "'First'", Path("/tmp/a10.nrrd"): "'Tenth'"}
    assert with_names("/tmp/a10.nrrd and /tmp/a1.nrrd differ.", names) == "'Tenth' and 'First' differ."
