"""Pictures of results: what is drawn where, on panels of plain colours and known distributions."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from helpers.commandline import run_python
from helpers.reidentrisk.faces import head
from ReidentRiskLib.commandline import figures
from ReidentRiskLib.judge.calibration import Calibration, distribution_of
from ReidentRiskLib.judge.identify import identify
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKERS, DETECTED

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

NAMES = [f"view{index}" for index in range(6)]


@pytest.fixture
def figure(monkeypatch):
    """Everything that is saved also stays here, to be looked at."""
    kept = []
    save = figures._save

    def keep(made, path):
        kept.append(made)
        save(made, path)

    monkeypatch.setattr(figures, "_save", keep)
    return kept


def plain(name, colour, views=6, view_set="standard"):
    """A head whose picture of view v is `colour` + v all over."""
    made = head(name, views=views, view_set=view_set)
    pictures = np.stack([np.full((20, 20, 3), colour + view, np.uint8) for view in range(views)])
    return dataclasses.replace(made, pictures=pictures, crops=pictures[:, :10, :10] + 100)


def calibration(attacker=ALIGNED):
    random = np.random.default_rng(0)
    parts = [distribution_of(random.normal(middle, 0.05, 3000)) for middle in (0.3, 0.9)]
    return Calibration("fake", "ab" * 32, "standard", attacker, *parts, {})


def read(path):
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG")
    return imread(io.BytesIO(path.read_bytes()), format="png")


def texts(figure):
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize(("draw", "offset"), [(figures.faces, 0), (figures.crops, 100)])
def test_heads_stand_side_by_side_in_the_same_views(tmp_path, figure, draw, offset):
    columns = [figures.Column(plain("a", 10), "reference"), figures.Column(plain("b", 50), "probe", "0.93")]
    draw(tmp_path / "f.png", columns, NAMES)
    read(tmp_path / "f.png")
    shown = [int(axes.images[0].get_array()[0, 0, 0]) - offset for axes in figure[0].axes]
    rows = figures.chosen_views(NAMES)
    assert shown == [10 + row for row in rows] + [50 + row for row in rows]
    assert {"reference", "probe", "0.93"} <= set(texts(figure[0]))
    across = [axes.get_position().x0 for axes in figure[0].axes]
    down = [axes.get_position().y0 for axes in figure[0].axes]
    assert max(across[: len(rows)]) < min(across[len(rows) :])  # the reference is on the left
    assert down[: len(rows)] == sorted(down[: len(rows)], reverse=True)  # the first view is on top


def test_a_photograph_is_shown_once(tmp_path, figure):
    columns = [figures.Column(plain("a", 10), "a"), figures.Column(plain("p", 200, 1, "photo"), "p")]
    figures.faces(tmp_path / "f.png", columns, NAMES)
    assert [int(axes.images[0].get_array()[0, 0, 0]) for axes in figure[0].axes if axes.images][-1] == 200
    assert sum(1 for axes in figure[0].axes if axes.images) == len(figures.chosen_views(NAMES)) + 1


def test_a_crowd_is_cut_and_that_is_said(tmp_path, figure):
    columns = [figures.Column(plain(str(index), 10), str(index)) for index in range(15)]
    figures.faces(tmp_path / "f.png", columns, NAMES)
    assert len(figure[0].axes) == figures.MOST_HEADS * figures.SHOWN_VIEWS
    assert "3 more\nnot shown" in texts(figure[0])


@pytest.mark.parametrize(("count", "shown"), [(1, [0]), (3, [0, 1, 2]), (45, [0, 11, 22, 33, 44])])
def test_the_views_that_are_shown_are_spread_over_the_set(count, shown):
    assert figures.chosen_views([str(index) for index in range(count)]) == shown


def test_names_keep_their_ends():
    assert figures._short("sub-01_T1w_defaced.nii.gz", 40) == "sub-01_T1w_defaced.nii.gz"
    short = figures._short("a" * 50 + "_refaced.nii.gz", 26)
    assert len(short) == 26 and short.endswith("faced.nii.gz")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["\u5934.nii", "M\udcfcller.nii", "a$\\foo$.nii"])
def test_any_name_of_a_file_is_drawn(tmp_path, name):
    figures.faces(tmp_path / "f.png", [figures.Column(plain("a", 10), name)], NAMES)
    figures.histogram(tmp_path / "h.png", {ALIGNED: calibration()}, {ALIGNED: {name: 0.5}})


def test_scores_are_marked_in_the_histogram(tmp_path, figure):
    known = {ALIGNED: calibration(), DETECTED: None}
    scores = {ALIGNED: {"p.nii": 0.42, "q.nii": 0.88}, DETECTED: {"p.nii": float("nan"), "q.nii": 0.5}}
    figures.histogram(tmp_path / "h.png", known, scores)
    read(tmp_path / "h.png")
    aligned, detected = figure[0].axes
    marks = [line.get_xdata()[0] for line in aligned.lines if len(set(line.get_xdata())) == 1]
    assert 0.42 in marks and 0.88 in marks
    thresholds = [calibration().different.value_at_share(share) for share in (0.01, 0.1)]
    assert set(thresholds) <= set(marks)
    assert [text.get_text().strip() for text in aligned.texts] == ["p.nii", "q.nii"]
    assert "not calibrated" in [text.get_text() for text in detected.texts]
    assert "no face found in 1 of 2" in detected.get_xlabel()


@pytest.fixture
def results():
    names = [f"s{number:02d}" for number in range(12)]
    gallery = [head(name) for name in names]
    probes = [(name, head(name, seed=1, missed=range(6) if name == "s00" else ())) for name in names]
    return {attacker: identify(gallery, probes, attacker) for attacker in ATTACKERS}


def test_the_match_curves_are_those_of_the_attackers(tmp_path, figure, results):
    figures.cmc(tmp_path / "c.png", results)
    read(tmp_path / "c.png")
    (axes,) = figure[0].axes
    lines = {line.get_label(): line for line in axes.lines}
    detected = next(line for label, line in lines.items() if label.startswith("detected faces"))
    np.testing.assert_allclose(detected.get_ydata(), results[DETECTED].cmc)
    assert "detected faces: rank 1 in 11 of 12" in lines and "aligned faces: rank 1 in 12 of 12" in lines
    assert "  no face found in 1 of 12" in lines
    np.testing.assert_allclose(lines["chance, 12 subjects"].get_ydata(), np.arange(1, 13) / 12)


def test_the_roc_curves_carry_their_areas(tmp_path, figure, results):
    figures.roc(tmp_path / "r.png", results)
    read(tmp_path / "r.png")
    (axes,) = figure[0].axes
    labels = " ".join(line.get_label() for line in axes.lines)
    assert f"AUC {results[DETECTED].auc:.4f}" in labels and "AUC 1.0000" in labels
    np.testing.assert_allclose(axes.lines[0].get_xdata(), results[ALIGNED].roc[0])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), results[ALIGNED].roc[1])


def test_the_histograms_say_how_many_pairs_have_a_score(tmp_path, figure, results):
    figures.pairs(tmp_path / "p.png", results)
    read(tmp_path / "p.png")
    labels = [text.get_text() for text in figure[0].axes[1].get_legend().get_texts()]
    assert labels == ["others: 121 of 132 pairs", "own subject: 11 of 12 pairs"]


def test_scores_that_are_all_the_same_make_a_histogram(tmp_path, figure):
    names = [f"s{number}" for number in range(3)]
    heads = [head(name, spread=0.0) for name in names]
    result = {ALIGNED: identify(heads, list(zip(names, heads, strict=True)), ALIGNED)}
    assert np.ptp(result[ALIGNED].mated) < 1e-6
    figures.pairs(tmp_path / "p.png", result)
    read(tmp_path / "p.png")


def test_nothing_at_all_was_found_and_still_there_is_a_picture(tmp_path):
    names = [f"s{number}" for number in range(3)]
    blind = [(name, head(name, missed=range(6))) for name in names]
    result = {DETECTED: identify([head(name) for name in names], blind, DETECTED)}
    for draw in (figures.cmc, figures.roc, figures.pairs):
        draw(tmp_path / f"{draw.__name__}.png", result)
        read(tmp_path / f"{draw.__name__}.png")


def test_importing_it_does_not_import_matplotlib():
    code = "import sys, ReidentRiskLib.commandline.figures; print('matplotlib' in sys.modules)"
    run = run_python("-c", code)
    assert run.stdout.strip() == "False", run.stderr
