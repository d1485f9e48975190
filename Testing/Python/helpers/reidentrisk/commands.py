"""What the tests of `reident-risk` share: heads to compare, what each sub-command writes, and reading it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from helpers.reidentrisk.faces import DEFACED, calibration, volume
from RefaceLib.volume.io import write_volume
from ReidentRiskLib.attack.views import VIEW_SETS
from ReidentRiskLib.commandline import explanation, figures, guesssheet
from ReidentRiskLib.judge.calibration import calibration_file_content
from ReidentRiskLib.judge.scores import ATTACKERS

pytest.importorskip("matplotlib", reason="matplotlib is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

PROGRAM = "reident-risk"
PERSONS = 10  # as many as curves take
VIEWS = len(VIEW_SETS["standard"])
COMPARED = {"compare.json", "compare.csv", "compare_views.csv", "compare_faces.png", "compare_crops.png"} | {
    "compare_histogram.png",
    "compare_explanation.png",
}
IDENTIFIED = {"identify.json", "identify.csv", "identify_cmc.png", "identify_roc.png", "identify_histogram.png"}
RUNS = {
    "compare": ["compare", "one.nii.gz", "two.nii.gz", "--out", "out"],
    "identify": ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--save-gallery", "g.npz"],
}
PICTURE = bytes.fromhex(  # a PNG of two rows: red, green; blue, nearly black
    "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a730000001349444154789c63f8cfc0c000c2"
    "0cff393939011a2a0319ee357d000000000049454e44ae426082"
)
DRAWN = {
    **{(figures, name): getattr(figures, name) for name in ("faces", "crops", "histogram", "cmc", "roc", "pairs")},
    (explanation, "explanation"): explanation.explanation,
    (guesssheet, "sheet"): guesssheet.sheet,
}


def draw_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture is PICTURE: matplotlib takes a second for each."""
    for module, name in DRAWN:
        monkeypatch.setattr(module, name, lambda path, *contents: path.write_bytes(PICTURE))


def put(path: Path, person: int, **options) -> None:
    """Write a volume that the stand-ins take for a scan of `person`."""
    made = volume(person, **options)
    write_volume(path, made, made.stored, overwrite=True)


def put_heads(folder: Path) -> None:
    """A head, versions of it, another one, nobody, two folders of ten persons, and a calibration."""
    put(folder / "one.nii.gz", 1)
    put(folder / "again.nii.gz", 1, scan=1)
    put(folder / "defaced.nii.gz", 1 + DEFACED, missed=VIEWS)
    put(folder / "moved.nii.gz", 1, scan=2, shift=9.0)
    put(folder / "two.nii.gz", 2)
    put(folder / "nobody.nii.gz", 0)
    (folder / "notes.txt").write_text("no image")
    for name in ("me.png", "me.jpg"):
        (folder / name).write_bytes(b"a photograph")
    for name, scan in (("known", 0), ("unknown", 1)):
        (folder / name).mkdir()
        for person in range(1, PERSONS + 1):
            put(folder / name / f"s{person}_T1w.nii.gz", person, scan=scan)
    entries = [calibration(attacker) for attacker in ATTACKERS]
    (folder / "cal.json").write_text(json.dumps(calibration_file_content(entries)))


def report(path: str) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def table(path: str) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
