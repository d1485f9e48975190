"""The exercise for a class: who is asked for, among whom, and what is said to a guess."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.reidentrisk.commands import PICTURE, draw_nothing, report
from ReidentRiskLib.commandline import cli, guesssheet
from ReidentRiskLib.runs.guesswho import FACES, make_exercise


def picture(value):
    return np.full((8, 8, 3), value, np.uint8)


KNOWN = {f"s{number}": picture(number) for number in range(12)}


@pytest.mark.parametrize("seed", range(5))
def test_the_person_is_once_among_eight_different_ones(seed):
    made = make_exercise([("s3", "Refaced", picture(99))], KNOWN, np.random.default_rng(seed))
    shown = [int(face[0, 0, 0]) for face in made.faces]
    assert len(shown) == len(set(shown)) == FACES and shown[made.answer - 1] == 3
    assert made.probe == "Refaced" and made.asked[0, 0, 0] == 99


def test_the_answer_is_not_always_in_one_place():
    draws = (make_exercise([("s3", "p", picture(9))], KNOWN, np.random.default_rng(seed)) for seed in range(60))
    assert {made.answer for made in draws} == set(range(1, FACES + 1))


def test_a_head_that_was_not_found_is_not_asked_for():
    probes = [("s1", "nobody", None), ("unknown", "x", picture(1)), ("s2", "Refaced", picture(50))]
    assert make_exercise(probes, KNOWN, np.random.default_rng(0)).probe == "Refaced"
    few = {name: KNOWN[name] for name in list(KNOWN)[: FACES - 1]}
    assert make_exercise(probes, few, np.random.default_rng(0)) is None


def test_the_sheet_is_a_picture_with_numbers_and_without_the_answer(tmp_path, monkeypatch):
    from matplotlib.text import Text

    from ReidentRiskLib.commandline import canvas

    kept, save = [], canvas.save
    monkeypatch.setattr(canvas, "save", lambda made, path: (kept.append(made), save(made, path)))
    exercise = make_exercise([("s3", "The answer", picture(99))], KNOWN, np.random.default_rng(0))
    guesssheet.sheet(tmp_path / "sheet.png", exercise)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    said = [each.get_text() for each in kept[0].findobj(Text)]
    assert {"?", *map(str, range(1, FACES + 1))} <= set(said) and "The answer" not in said
    shown = [image.get_array()[0, 0, 0] for axes in kept[0].axes for image in axes.get_images()]
    assert shown == [99, *(face[0, 0, 0] for face in exercise.faces)]


def test_the_command_line_writes_the_sheet_and_the_answer(reident_folder, monkeypatch):
    sheets = []
    draw_nothing(monkeypatch)
    monkeypatch.setattr(guesssheet, "sheet", lambda path, made: (sheets.append(made), path.write_bytes(PICTURE)))
    arguments = ["identify", "--gallery", "known", "--probes", "unknown", "--out", "out"]
    assert cli.main([*arguments, "--guess-who"]) == 0
    written = report("out/identify.json")
    assert written["guess_who"] == {"probe": sheets[0].probe, "answer": sheets[0].answer, "rank": 1, "of": 10}
    assert "identify_guess_who.png" in {entry["name"] for entry in written["files"]}
    assert sheets[0].asked.shape == (32, 32, 3) and len(sheets[0].faces) == FACES


def test_a_gallery_of_few_persons_has_no_exercise_and_says_so(reident_folder, capsys):
    for person in range(4, 11):
        (reident_folder / "known" / f"s{person}_T1w.nii.gz").unlink()
        (reident_folder / "unknown" / f"s{person}_T1w.nii.gz").unlink()
    assert cli.main(["identify", "--gallery", "known", "--probes", "unknown", "--out", "out", "--guess-who"]) == 0
    assert "guess_who" not in report("out/identify.json")
    assert "There is no exercise" in capsys.readouterr().err


def test_a_guess_is_answered():
    pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
    from ReidentRiskLib.window.guesspanel import answer

    found = {"guess_who": {"probe": "Head defaced", "answer": 5, "rank": 4, "of": 9}}
    assert answer(found, 5) == "Yes, it is number 5. The network put the original at rank 4 of 9 persons."
    assert answer(found, 2).startswith("No, it is number 5.")
    assert answer({}, 2) == ""
