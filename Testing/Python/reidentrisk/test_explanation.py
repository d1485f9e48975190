"""The picture that explains verdicts: what stands in it, on faces of plain colours."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from helpers.reidentrisk.faces import calibration, head, stepwise_calibration
from ReidentRiskLib.attack.views import VIEW_SETS
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKERS, DETECTED
from ReidentRiskLib.judge.verdict import NO_HEAD, assess, places_in_words
from ReidentRiskLib.runs.compare import Comparison, ProbeResult, assess_all
from ReidentRiskLib.runs.faces import Face

pytest.importorskip("matplotlib", reason="matplotlib is not installed")

from ReidentRiskLib.commandline import canvas, explanation  # noqa: E402

VIEWS = len(VIEW_SETS["standard"])
CALIBRATIONS = {attacker: calibration(attacker) for attacker in ATTACKERS}


@pytest.fixture
def figure(monkeypatch):
    """What is saved also stays here, to be looked at."""
    kept, save = [], canvas.save
    monkeypatch.setattr(canvas, "save", lambda made, path: (kept.append(made), save(made, path)))
    return kept


def plain(name, colour, **options):
    pictures = np.full((VIEWS, 20, 20, 3), colour, np.uint8)
    made, crops = head(name, views=VIEWS, **options), pictures[:, :10, :10]
    seen = np.isfinite(made.detected).all(axis=1)[:, None, None, None]
    return dataclasses.replace(
        made, pictures=pictures, crops=crops, found=np.where(seen, crops + 1, 0).astype(np.uint8)
    )


def comparison(*probes, calibrations=CALIBRATIONS):
    reference = plain("Head", 10)
    made = [ProbeResult(Face(probe.name, probe), assess_all(reference, probe, calibrations)) for probe in probes]
    about = {"model": {"name": "fake", "sha256": "ab" * 32}}
    return Comparison(Face("Head", reference), tuple(made), about, "standard", calibrations, ())


def texts(figure):
    from matplotlib.text import Text

    return "\n".join(each.get_text() for each in figure.findobj(Text)).replace("\n", " ")


def test_it_shows_faces_and_says_what_the_attacker_did_and_where_the_face_lies(tmp_path, figure):
    """Scans of one head are recognised; a stranger's is not."""
    again = dataclasses.replace(plain("Head", 200, seed=3), name="Again")
    explanation.explanation(tmp_path / "out.png", comparison(again, plain("Stranger", 90)))
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    said = texts(figure[0])
    for words in ("What the attacker did", "the original", "Again", "Stranger"):
        assert words in said
    assert (said.count("RECOGNISABLE"), said.count("NOT RECOGNISABLE")) == (2, 1)
    assert (
        "Nearly all pairs of strangers are less alike." in said and "of 100 pairs of strangers are less alike." in said
    )
    assert "Step 2: it knew where eyes" in said and "fake (sha256" in said
    shown = [image.get_array().mean() for axes in figure[0].axes for image in axes.get_images()]
    assert shown.count(10.0) == 4 and shown.count(200.0) == 2 and shown.count(90.0) == 2


def test_what_the_network_saw_is_what_the_stronger_attacker_cut_out(tmp_path, figure):
    """The crops of the one that knows the place stood there for the other one as well."""
    front = 22
    made = comparison(plain("Probe", 90, missed=[front]))
    first = made.results[0]
    verdicts = {ALIGNED: "not recognisable", DETECTED: "uncertain"}
    judged = {name: dataclasses.replace(each, verdict=verdicts[name]) for name, each in first.assessments.items()}
    made = dataclasses.replace(made, results=(ProbeResult(first.face, judged),))
    explanation.explanation(tmp_path / "out.png", made)
    shown = [image.get_array().mean() for axes in figure[0].axes for image in axes.get_images()]
    assert shown == [10.0, 90.0, 11.0, 91.0]  # not from the front, where the detector found no face
    assert "what the network saw" in texts(figure[0])


def test_a_volume_is_called_by_its_title(tmp_path, figure):
    explanation.explanation(tmp_path / "out.png", comparison(plain("volume1.nrrd", 90)), ["-Head defaced"])
    assert "-Head defaced" in texts(figure[0]) and "volume1" not in texts(figure[0])


def test_a_volume_without_a_head_has_its_cause(tmp_path, figure):
    made = comparison(head("Nobody", views=VIEWS, missed=range(VIEWS)), plain("Stranger", 90))
    nothing = {
        name: dataclasses.replace(each, verdict=NO_HEAD, sentence="No head was found.", strangers=None)
        for name, each in made.results[0].assessments.items()
    }
    first = ProbeResult(made.results[0].face, nothing)
    explanation.explanation(tmp_path / "out.png", dataclasses.replace(made, results=(first, made.results[1])))
    assert "NO HEAD No head was found." in texts(figure[0]) and "no head found" in texts(figure[0])


def test_more_probes_than_can_be_read_are_counted_and_no_calibration_is_said(tmp_path, figure):
    probes = [plain(f"p{index}", 90) for index in range(6)]
    explanation.explanation(tmp_path / "out.png", comparison(*probes, calibrations=dict.fromkeys(ATTACKERS)))
    said = texts(figure[0])
    assert "2 more not shown" in said and "p3" in said and "p4" not in said
    assert said.count("not calibrated") == 4


@pytest.mark.parametrize(
    ("cosine", "strangers", "itself"),
    [(0.0, "51 of 100", "Nearly all"), (1.1, "Nearly all", "Hardly any"), (-0.9, "Hardly any", "Nearly all")],
)
def test_percentiles_are_said_in_words(cosine, strangers, itself):
    score = explanation_score(cosine)
    assert places_in_words(assess(score, CALIBRATIONS[ALIGNED])) == [
        f"{strangers} pairs of strangers are less alike.",
        f"{itself} pairs of scans of one head are more alike.",
    ]
    assert places_in_words(assess(score, None)) == []


@pytest.mark.parametrize(
    ("views", "said"), [(1, "a picture from the front. 2."), (5, "5 pictures from the front and the")]
)
def test_the_picture_tells_of_as_many_views_as_there_were(views, said):
    """Frontal has neither sides nor several lights."""
    assessment = assess(dataclasses.replace(explanation_score(0.3), views=views), CALIBRATIONS[ALIGNED])
    result = types.SimpleNamespace(assessments={ALIGNED: assessment})
    assert said in explanation._what_was_done([result])


@pytest.mark.parametrize(("share", "less"), [(0.0104, 98), (0.0096, 99), (0.0951, 91), (0.1049, 90)])
def test_rounding_crosses_no_threshold_of_a_verdict(share, less):
    assessment = dataclasses.replace(assess(explanation_score(0.3), CALIBRATIONS[ALIGNED]), strangers=share)
    assert places_in_words(assessment)[0] == f"{less} of 100 pairs of strangers are less alike."


def test_a_face_below_all_scans_of_one_head_is_below_nearly_all_of_them_however_few():
    """Of 46 pairs, one is 2 of 100."""
    few = stepwise_calibration(same=np.linspace(0.8, 0.99, 46))
    assert places_in_words(assess(explanation_score(0.1), few))[1].startswith("Nearly all pairs of scans")


def explanation_score(cosine):
    from ReidentRiskLib.judge.scores import Score

    return Score(DETECTED, np.array([cosine]), cosine, cosine, 1, 1)
