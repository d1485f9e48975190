"""Child processes: what they tell, how they end, and that nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from RefaceLib.common import process
from RefaceLib.common.errors import RefaceError
from RefaceLib.common.process import ChildProcess, Workspace, describe_crash, time_left


class Run:
    """A child with what it told; `wait()` polls it to its end."""

    def __init__(self, arguments, module, **options):
        self.progress, self.outcomes = [], []
        self.child = ChildProcess(
            arguments,
            module=module,
            on_progress=lambda *told: self.progress.append(told),
            on_done=self.outcomes.append,
            **options,
        )
        self.child.start()

    def wait(self, seconds=30.0):
        end = time.monotonic() + seconds
        while self.child.poll():
            assert time.monotonic() < end
            time.sleep(0.02)
        (outcome,) = self.outcomes
        return outcome


@pytest.fixture
def script(tmp_path):
    """Makes a module `child` of some lines, which may print JSON by tell(); its environment."""

    def make(*lines):
        head = "import json, os, signal, subprocess, sys, time\ndef tell(**x): print(json.dumps(x), flush=True)\n"
        (tmp_path / "child.py").write_text(head + "\n".join(lines) + "\n")
        return {"PYTHONPATH": str(tmp_path)}

    return make


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid):
    """Whether the process does anything (one that is dead and waits for its parent does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# ---- what it tells ----


def test_the_command_line_runs_in_a_child_and_its_error_is_one_sentence(tmp_path):
    outcome = Run(["image", str(tmp_path / "no.nii"), "out.nii"], "RefaceLib").wait()
    assert outcome.exit_code == 2 and not outcome.cancelled
    assert outcome.error == f"{tmp_path / 'no.nii'} does not exist: check the name."


def test_progress_comes_in_order_and_on_the_thread_of_poll(script):
    lines = ["for i in range(5): tell(progress=i / 4, stage='s%d' % i); time.sleep(0.05)", "tell(done=True)"]
    run = Run([], "child", environment=script(*lines))
    assert run.progress == []  # nothing before poll()
    outcome = run.wait()
    fractions = [fraction for fraction, _stage in run.progress]
    assert fractions == sorted(fractions) and run.progress[-1] == (1.0, "s4")
    assert (outcome.exit_code, outcome.error) == (0, None)


def test_other_output_is_kept_and_does_not_disturb(script):
    lines = ["print('hello')", "print('[1, 2]')", "tell(progress=0.5, stage='a')", "print('w\\u00e9', file=sys.stderr)"]
    outcome = Run([], "child", environment=script(*lines)).wait()
    assert outcome.error is None
    assert {"hello", "[1, 2]", "wé"} <= set(outcome.output.splitlines())


def test_a_child_that_writes_very_much_does_not_hang(script):
    outcome = Run([], "child", environment=script("for i in range(20000): print('x' * 100, file=sys.stderr)")).wait()
    assert outcome.exit_code == 0 and len(outcome.output) <= 12_000


def test_the_child_imports_the_libraries_of_this_process_and_asks_for_json(script):
    lines = ["import RefaceLib", "print(RefaceLib.__file__)", "print(sys.argv[1:])"]
    folder = script(*lines)["PYTHONPATH"]
    run = Run(["a b"], "child", environment={"PYTHONPATH": f"{folder}{os.pathsep}{_pythonpath()}"})
    import RefaceLib

    assert run.wait().output.splitlines() == [RefaceLib.__file__, "['a b', '--progress', 'json']"]


def _pythonpath():
    return process._child_environment()["PYTHONPATH"]


# ---- how it ends ----


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("import no_such_package", "The package no_such_package is missing"),
        ("raise MemoryError", "not enough memory"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "The computer ended the run"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        ("1 / 0", "division by zero"),
        ("tell(error='Give a head.', exit_code=2); sys.exit(2)", "Give a head."),
    ],
)
def test_every_end_is_told_in_one_sentence(script, line, words):
    outcome = Run([], "child", environment=script(line)).wait()
    assert outcome.exit_code != 0 and words in outcome.error
    assert "Traceback" not in outcome.error and "\n" not in outcome.error


def test_a_launcher_that_tells_of_a_signal_by_its_exit_code_is_understood():
    assert "SIGSEGV" in describe_crash(139, "")
    assert "memory" in describe_crash(137, "")
    assert "0xc0000005" in describe_crash(0xC0000005, "")
    assert "memory" in describe_crash(1, "RuntimeError: CUDA out of memory. Tried to allocate")


def test_a_python_that_is_not_there_is_told_in_one_sentence():
    with pytest.raises(RefaceError, match="cannot be started"):
        Run([], "child", python="/no/such/python")


def test_cancel_lets_the_child_clean_up(script, tmp_path):
    lines = [
        f"path = {str(tmp_path / 'half')!r}; open(path, 'w').close()",
        "signal.signal(signal.SIGTERM, lambda *_: (os.remove(path), sys.exit(130)))",
        "tell(progress=0.5, stage='a')",
        "time.sleep(60)",
    ]
    run = Run([], "child", environment=script(*lines))
    wait_until(lambda: run.child.poll() and run.progress)
    start = time.monotonic()
    run.child.cancel()
    outcome = run.wait()
    assert time.monotonic() - start < 1.0
    assert outcome.cancelled and outcome.error is None
    assert not (tmp_path / "half").exists()


def test_cancel_ends_within_a_second_whatever_the_child_and_its_own_children_do(script):
    grandchild = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    lines = [  # as PythonSlicer: a launcher, which dies at once, whose child would live on
        f"other = subprocess.Popen([sys.executable, '-c', {grandchild!r}])",
        "time.sleep(0.5)",
        "tell(progress=0.1, stage=str(other.pid))",
        "time.sleep(60)",
    ]
    run = Run([], "child", environment=script(*lines))
    wait_until(lambda: run.child.poll() and run.progress)
    pid = int(run.progress[0][1])
    assert alive(pid)
    start = time.monotonic()
    run.child.cancel()
    assert run.wait().cancelled
    assert time.monotonic() - start < 1.0
    assert not alive(pid)


def test_stop_ends_the_child_without_a_callback(script):
    run = Run([], "child", environment=script("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "time.sleep(60)"))
    run.child.stop()
    assert run.child._process.poll() is not None
    assert not run.child.running and not run.child.poll() and run.outcomes == []


def test_children_end_with_the_program(script):
    environment = script("time.sleep(60)")
    code = (
        "import os, sys\n"
        "from RefaceLib.common.process import ChildProcess, Workspace\n"
        "child = ChildProcess([], module='child', on_progress=print, on_done=print)\n"
        "child.start()\n"
        "kept = Workspace()\n"
        "print(child._process.pid, kept.path, flush=True)\n"
    )
    path = os.pathsep.join([environment["PYTHONPATH"], _pythonpath()])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=30
    )
    pid, folder = done.stdout.split()
    wait_until(lambda: not alive(int(pid)), 2.0)
    assert not Path(folder).exists()


# ---- around it ----


def test_a_workspace_is_private_and_goes_with_whoever_holds_it():
    with Workspace() as workspace:
        path = workspace.path
        (path / "scan.nrrd").write_bytes(b"x")
        if os.name == "posix":
            assert path.stat().st_mode & 0o777 == 0o700
    assert not path.exists()
    workspace = Workspace()
    path = workspace.path
    del workspace
    assert not path.exists()


def test_the_time_left_is_not_guessed_too_early():
    assert time_left(0.01, 100.0) is None and time_left(0.5, 1.0) is None
    assert time_left(0.25, 10.0) == pytest.approx(30.0)
    assert time_left(1.0, 10.0) == 0.0


@pytest.mark.parametrize("module", ["process", "steps", "options"])
def test_importing_what_windows_and_help_need_imports_no_package(module):
    names = "{'numpy', 'torch', 'nibabel', 'slicer', 'qt', 'vtk'}"
    code = f"import sys, RefaceLib.common.{module}; print(sorted({names} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": _pythonpath()},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "[]", done.stderr
