"""Pictures of results: what is drawn where, on panels of plain colours and known distributions."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from helpers.commandline import run_python
from helpers.reidentrisk.faces import head
from ReidentRiskLib.commandline import canvas, figures
from ReidentRiskLib.judge.calibration import Calibration, distribution_of
from ReidentRiskLib.judge.identify import identify
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKERS, DETECTED

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

NAMES = [f"view{index}" for index in range(6)]
NETWORK = "fake (sha256 abababababab)"


@pytest.fixture
def figure(monkeypatch):
    """Everything that is saved also stays here, to be looked at."""
    kept = []
    save = canvas.save

    def keep(made, path):
        kept.append(made)
        save(made, path)

    monkeypatch.setattr(canvas, "save", keep)
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


def pictures(figure):
    """Those that stand side by side."""
    from matplotlib.image import BboxImage

    return figure.findobj(BboxImage)


def texts(figure):
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize(("draw", "offset"), [(figures.faces, 0), (figures.crops, 100)])
def test_heads_stand_side_by_side_in_the_same_views(tmp_path, figure, draw, offset):
    columns = [figures.Column(plain("a", 10), "reference"), figures.Column(plain("b", 50), "probe", "0.93")]
    draw(tmp_path / "f.png", columns, NAMES, NETWORK)
    read(tmp_path / "f.png")
    shown = [int(picture.get_array()[0, 0, 0]) - offset for picture in pictures(figure[0])]
    rows = figures.chosen_views(NAMES)
    assert shown == [10 + row for row in rows] + [50 + row for row in rows]
    assert {"reference", "probe", "0.93"} <= set(texts(figure[0]))
    places = [picture.get_window_extent() for picture in pictures(figure[0])]
    across, down = [place.x0 for place in places], [place.y0 for place in places]
    assert max(across[: len(rows)]) < min(across[len(rows) :])  # the reference is on the left
    assert down[: len(rows)] == sorted(down[: len(rows)], reverse=True)  # the first view is on top


def test_a_photograph_is_shown_once(tmp_path, figure):
    columns = [figures.Column(plain("a", 10), "a"), figures.Column(plain("p", 200, 1, "photo"), "p")]
    figures.faces(tmp_path / "f.png", columns, NAMES, NETWORK)
    assert int(pictures(figure[0])[-1].get_array()[0, 0, 0]) == 200
    assert len(pictures(figure[0])) == len(figures.chosen_views(NAMES)) + 1


def test_a_crowd_is_cut_and_that_is_said(tmp_path, figure):
    columns = [figures.Column(plain(str(index), 10), str(index)) for index in range(15)]
    figures.faces(tmp_path / "f.png", columns, NAMES, NETWORK)
    assert len(pictures(figure[0])) == figures.MOST_HEADS * figures.SHOWN_VIEWS
    assert "3 more\nnot shown" in texts(figure[0])


@pytest.mark.parametrize(("count", "shown"), [(1, [0]), (3, [0, 1, 2]), (45, [0, 11, 22, 33, 44])])
def test_the_views_that_are_shown_are_spread_over_the_set(count, shown):
    assert figures.chosen_views([str(index) for index in range(count)]) == shown


def test_names_keep_their_ends():
    assert canvas.short("sub-01_T1w_defaced.nii.gz", 40) == "sub-01_T1w_defaced.nii.gz"
    short = canvas.short("a" * 50 + "_refaced.nii.gz", 26)
    assert len(short) == 26 and short.endswith("faced.nii.gz")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["\u5934.nii", "M\udcfcller.nii", "a$\\foo$.nii"])
def test_any_name_of_a_file_is_drawn(tmp_path, name):
    figures.faces(tmp_path / "f.png", [figures.Column(plain("a", 10), name)], NAMES, NETWORK)
    figures.histogram(tmp_path / "h.png", {ALIGNED: calibration()}, {ALIGNED: {name: 0.5}}, NETWORK)


def marks(axes):
    """Where the threshold lines and the dots of an axes are."""
    return [line.get_xdata()[0] for line in axes.lines]


def test_scores_are_marked_below_the_histogram(tmp_path, figure):
    known = {ALIGNED: calibration(), DETECTED: None}
    scores = {ALIGNED: {"p.nii": 0.42, "q.nii": 0.88}, DETECTED: {"p.nii": float("nan"), "q.nii": 0.5}}
    figures.histogram(tmp_path / "h.png", known, scores, NETWORK)
    read(tmp_path / "h.png")
    aligned, rows, detected, other_rows = figure[0].axes
    thresholds = [calibration().different.value_at_share(share) for share in (0.01, 0.1)]
    assert marks(aligned) == thresholds and marks(rows) == [0.42, 0.88, *thresholds]
    assert [label.get_text() for label in rows.get_yticklabels()] == ["p.nii", "q.nii"]
    assert "not calibrated" in [text.get_text() for text in detected.texts]
    assert [text.get_text() for text in other_rows.texts] == ["no face found"] and marks(other_rows) == [0.5]
    labels = [text.get_text() for text in aligned.get_legend().get_texts()]
    assert "1 of 100 pairs of strangers is to the right" in labels


LONG = [f"sub-{index:02d}_ses-baseline_acq-mprage_rec-norm_T1w_refaced.nii.gz" for index in range(20)]
OTHERS = [
    "\u5f20\u4f1f\u5934\u90e8\u626b\u63cf" * 6 + ".nii.gz",
    "M\udcfcller.nii.gz",
    "a$\\foo$_x^2.nii",
    "\u0645\u0631\u064a\u0645.nii",
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("names", [["a.nii", "b.nii"], LONG, OTHERS], ids=["few", "long", "other scripts"])
def test_no_text_lies_on_another_or_leaves_the_picture(tmp_path, figure, results, names):
    close = {name: 0.5 + 0.001 * index for index, name in enumerate(names)}
    figures.histogram(
        tmp_path / "h.png", dict.fromkeys(ATTACKERS, calibration()), dict.fromkeys(ATTACKERS, close), NETWORK
    )
    columns = [
        figures.Column(plain(str(i), 10), name, "not recognisable\naligned faces: 0.12\ndetected faces: no face found")
        for i, name in enumerate(names)
    ]
    figures.faces(tmp_path / "f.png", columns, ["key_left_yaw15"] * 6, NETWORK)
    for draw in (figures.cmc, figures.roc, figures.pairs):
        draw(tmp_path / f"{draw.__name__}.png", results, NETWORK)
    for drawn in figure:
        boxes = text_boxes(drawn)
        width, height = drawn.canvas.get_width_height()
        for index, (text, box) in enumerate(boxes):
            assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
            for other, another in boxes[index + 1 :]:
                assert not (box.overlaps(another) and text != other), (text, other)


def text_boxes(figure):
    """Every text that is drawn, and its box in pixels, without its rim."""
    from matplotlib.text import Text

    renderer = figure.canvas.get_renderer()
    hidden = []
    for axes in figure.axes:
        if not axes.axison:
            hidden += [each for each in axes.findobj(Text) if each not in axes.texts]
        for axis, limits, place in ((axes.xaxis, axes.get_xlim(), 0), (axes.yaxis, axes.get_ylim(), 1)):
            shown = axis.get_tick_params().get("labelbottom", True)
            labels = axis.get_ticklabels()
            hidden += [
                each for each in labels if not shown or not min(limits) <= each.get_position()[place] <= max(limits)
            ]
    found = [each for each in figure.findobj(Text) if each.get_visible() and each.get_text().strip()]
    boxes = [(each.get_text(), each.get_window_extent(renderer)) for each in found if each not in hidden]
    return [(text, box.padded(-1)) for text, box in boxes if box.width > 2 and box.height > 2]


def test_a_character_that_no_font_has_is_written_as_an_escape(monkeypatch):
    monkeypatch.setattr(canvas, "_fonts", lambda: (["DejaVu Sans"], frozenset(map(ord, "abc.ni"))))
    assert canvas.short("a\u5934.nii", 30) == "a\\u5934.nii"


def test_wide_letters_count_twice(monkeypatch):
    monkeypatch.setattr(canvas, "drawable", lambda text: text)
    assert canvas.short("\u5934" * 10, 11) == "\u5934" * 2 + "\u2026" + "\u5934" * 3


@pytest.mark.parametrize("draw", ["faces", "crops", "histogram", "roc", "cmc", "pairs"])
def test_every_picture_names_the_network(tmp_path, figure, results, draw):
    columns = [figures.Column(plain("a", 10), "reference")]
    contents = {"faces": (columns, NAMES), "crops": (columns, NAMES), "histogram": ({ALIGNED: calibration()}, {})}
    getattr(figures, draw)(tmp_path / "x.png", *contents.get(draw, (results,)), NETWORK)
    assert f"network: {NETWORK}" in [text for text, _ in text_boxes(figure[0])]


def test_of_few_subjects_ranks_are_listed_and_no_curve_is_drawn(tmp_path, figure):
    names = ["s1", "s2", "s3"]
    found = {ALIGNED: identify([head(name) for name in names], [("s2", head("s2", seed=1))], ALIGNED)}
    for draw in (figures.cmc, figures.roc):
        draw(tmp_path / f"{draw.__name__}.png", found, NETWORK)
    (listed,), (reason,) = ([text.get_text() for text in each.axes[0].texts] for each in figure)
    assert "s2: rank 1 of 3" in listed and "at least 10" in listed and "at least 10" in reason
    assert not any(each.axes[0].lines for each in figure)


@pytest.fixture
def results():
    names = [f"s{number:02d}" for number in range(12)]
    gallery = [head(name) for name in names]
    probes = [(name, head(name, seed=1, missed=range(6) if name == "s00" else ())) for name in names]
    return {attacker: identify(gallery, probes, attacker) for attacker in ATTACKERS}


def test_the_match_curves_are_those_of_the_attackers(tmp_path, figure, results):
    figures.cmc(tmp_path / "c.png", results, NETWORK)
    read(tmp_path / "c.png")
    (axes,) = figure[0].axes
    lines = {line.get_label(): line for line in axes.lines}
    detected = next(line for label, line in lines.items() if label.startswith("detected faces"))
    np.testing.assert_allclose(detected.get_ydata(), results[DETECTED].cmc)
    assert "detected faces: rank 1 in 11 of 12, no face found in 1" in lines
    assert "aligned faces: rank 1 in 12 of 12" in lines
    np.testing.assert_allclose(lines["chance, 12 subjects"].get_ydata(), np.arange(1, 13) / 12)


def test_the_roc_curves_carry_their_areas(tmp_path, figure, results):
    figures.roc(tmp_path / "r.png", results, NETWORK)
    read(tmp_path / "r.png")
    (axes,) = figure[0].axes
    labels = " ".join(line.get_label() for line in axes.lines)
    assert f"AUC {results[DETECTED].auc:.4f}" in labels and "AUC 1.0000" in labels
    np.testing.assert_allclose(axes.lines[0].get_xdata(), results[ALIGNED].roc[0])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), results[ALIGNED].roc[1])


def test_the_histograms_say_how_many_pairs_have_a_score(tmp_path, figure, results):
    figures.pairs(tmp_path / "p.png", results, NETWORK)
    read(tmp_path / "p.png")
    labels = [text.get_text() for text in figure[0].axes[1].get_legend().get_texts()]
    assert labels == ["others: 121 of 132 pairs", "own subject: 11 of 12 pairs"]


def test_scores_that_are_all_the_same_make_a_histogram(tmp_path, figure):
    names = [f"s{number}" for number in range(3)]
    heads = [head(name, spread=0.0) for name in names]
    result = {ALIGNED: identify(heads, list(zip(names, heads, strict=True)), ALIGNED)}
    assert np.ptp(result[ALIGNED].mated) < 1e-6
    figures.pairs(tmp_path / "p.png", result, NETWORK)
    read(tmp_path / "p.png")


def test_nothing_at_all_was_found_and_still_there_is_a_picture(tmp_path):
    names = [f"s{number}" for number in range(3)]
    blind = [(name, head(name, missed=range(6))) for name in names]
    result = {DETECTED: identify([head(name) for name in names], blind, DETECTED)}
    for draw in (figures.cmc, figures.roc, figures.pairs):
        draw(tmp_path / f"{draw.__name__}.png", result, NETWORK)
        read(tmp_path / f"{draw.__name__}.png")


def test_importing_it_does_not_import_matplotlib():
    code = "import sys, ReidentRiskLib.commandline.figures; print('matplotlib' in sys.modules)"
    run = run_python("-c", code)
    assert run.stdout.strip() == "False", run.stderr
