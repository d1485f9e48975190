"""Nothing leaves the computer: both command lines and the libraries run where no network is, and leave no stray file.

onnxruntime has telemetry. Unless it is turned off before the import, it keeps an identifier of the computer and a
database below the user's cache, and sends what it has counted.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.offline import OfflineHome
from RefaceLib.volume.io import Volume, write_volume
from ReidentRiskLib.attack import models

_OPEN = """
import onnx, sys
from onnx import TensorProto, helper
node = helper.make_node("Relu", ["x"], ["y"])
ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])] for name in "xy"]
graph = helper.make_graph([node], "g", *ends)
made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(made, sys.argv[1])
from ReidentRiskLib.attack.sessions import open_session
"""
_HERE = _OPEN + "open_session(sys.argv[1], 'cpu')\n"
_CHILD = (  # as `reident-risk calibrate --jobs`
    _OPEN
    + """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(print, "started").result()
        assert pool.submit(eval, "__import__('ReidentRiskLib.attack.sessions').attack.sessions.open_session("
            + repr(sys.argv[1]) + ", 'cpu').get_providers()").result()
"""
)


@pytest.fixture
def home(tmp_path: Path) -> OfflineHome:
    return OfflineHome(tmp_path)


def test_the_guards_refuse_every_connection_and_note_it(home):
    code = "import socket; s = socket.socket()\ntry: s.connect(('192.0.2.1', 9))\nexcept OSError as e: print(e)"
    assert "forbidden" in home.run("-c", code).stdout and home.attempts
    native = "import _socket; s = _socket.socket()\ntry: s.connect(('192.0.2.1', 9))\nexcept OSError as e: print(e)"
    if (home.folder / "guard" / "guard.so").exists():
        assert "unreachable" in home.run("-c", native).stdout
        assert any(attempt.startswith("native connect") for attempt in home.attempts)


@pytest.mark.parametrize("has_switch", [True, False], ids=["with a switch", "without"])
def test_telemetry_is_off_before_onnxruntime_is_imported(home, has_switch):
    """By a stand-in, whatever the release: only 1.32 and later have files to leave behind."""
    switch = "def disable_telemetry_events(): called.append(True)\n" if has_switch else ""
    stand_in = f"import os\nat_import, called = os.environ.get('ORT_DISABLE_TELEMETRY'), []\n{switch}"
    (home.folder / "guard" / "onnxruntime.py").write_text(stand_in)
    code = "from ReidentRiskLib.attack.sessions import load_runtime as r; print(r().at_import, len(r().called))"
    done = home.run("-c", code)
    assert done.stdout.split() == ["1", "2" if has_switch else "0"], done.stderr


@pytest.mark.parametrize("code", [_HERE, _CHILD], ids=["this process", "a child"])
def test_a_network_is_opened_without_telemetry(home, code):
    script = home.folder / "guard" / "script.py"
    script.write_text(code)
    done = home.run(script, home.folder / "out" / "net.onnx")
    assert done.returncode == 0, done.stderr
    assert home.left_behind() == [] and home.attempts == []


def test_both_command_lines_run_without_a_network_and_leave_no_stray_file(home, small_head: Volume):
    """Their networks are on this computer already; the head has voxels of 2 mm."""
    folder = home.folder / "out"
    head, refaced, risk = folder / "head.nii.gz", folder / "refaced.nii.gz", folder / "risk"
    write_volume(head, small_head, small_head.stored)
    cache = Path(os.path.commonpath([models.ensure("sface"), models.ensure("yunet")]))
    done = home.run("-m", "RefaceLib", "image", head, refaced, "--seed", "1", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    options = ["--model", "sface", "--views", "frontal", "--device", "cpu", "--out", risk]
    done = home.run("-m", "ReidentRiskLib", "compare", head, refaced, *options, REIDENT_RISK_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert (risk / "compare.json").is_file() and refaced.is_file()
    assert home.left_behind() == [] and home.attempts == []
