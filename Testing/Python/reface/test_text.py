"""File names and locales that no terminal and no report may stumble over."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.commandline import run_python
from helpers.phantom import make_phantom
from RefaceLib.common.files import write_json
from RefaceLib.volume.io import write_volume

LOCALES = {
    "UTF-8": {"PYTHONIOENCODING": "utf-8:strict"},
    "Windows": {"PYTHONIOENCODING": "cp1252"},
    "C": {"LC_ALL": "C"},
    "plain ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names of any bytes")
@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
def test_any_name_is_refaced_and_reported_in_any_locale(tmp_path, locale):
    """The input has a name in Latin-1, which is no UTF-8, and the outputs have Chinese names."""
    source, output, mask = (
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        for name in (b"M\xfcller.nii.gz", "\u5934.nii.gz".encode(), "\u8138.nii.gz".encode())
    )
    head = make_phantom((48, 48, 48), (5.0, 5.0, 5.0))
    write_volume(source, head, head.stored)
    arguments = ["-m", "helpers.reface.child", "image", source, output, "--seed", "5", "--mask-out", mask]
    done = run_python(*arguments, "--picture", tmp_path / "p.png", environment=locale)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr and "Glyph" not in done.stderr
    (report,) = tmp_path.glob("*.json")
    written = json.loads(report.read_bytes().decode("utf-8"))
    assert (
        output.exists()
        and os.path.basename(written["output"].encode("utf-8", "surrogateescape")) == output.name.encode()
    )


def test_json_holds_any_name_and_gives_it_back(tmp_path):
    name = os.fsdecode(b"M\xfcller") if sys.platform == "linux" else "M\udcfcller"
    write_json(tmp_path / "a.json", {"name": name, "other": "\u5934", "number": np.float32(1.5)})
    text = (tmp_path / "a.json").read_bytes().decode("utf-8")
    assert json.loads(text) == {"name": name, "other": "\u5934", "number": 1.5} and "\u5934" in text
