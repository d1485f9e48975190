"""Making a calibration: the statistics, resuming, and the shipped figures against real heads."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.reidentrisk.faces import Fakes, head, volume
from RefaceLib.common.errors import CancelledError, InputError
from RefaceLib.volume.io import write_volume
from ReidentRiskLib.attack.views import VIEW_SETS
from ReidentRiskLib.commandline import cli
from ReidentRiskLib.judge.calibration import calibration_file_content, load_calibration
from ReidentRiskLib.judge.scores import ALIGNED, ATTACKERS, DETECTED, score_of
from ReidentRiskLib.runs import embedscans
from ReidentRiskLib.runs.calibrate import calibrate, pair_scores, with_views
from ReidentRiskLib.runs.embedscans import CalibrateOptions, Scan, embed_scan, load_scan
from ReidentRiskLib.runs.gallery import load_gallery

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

PERSONS = 16
VIEWS = len(VIEW_SETS["standard"])

# ---- statistics ----


def test_every_pair_is_counted_once():
    heads = [[head(f"{person}", seed=scan) for scan in range(3)] for person in range(5)]
    different, same = pair_scores(heads, ALIGNED)
    assert (len(different), len(same)) == (5 * 4 / 2, 5 * 3)
    assert different[0] == pytest.approx(score_of(heads[0][0], heads[1][0], ALIGNED).mean_embedding)
    assert different[-1] == pytest.approx(score_of(heads[3][0], heads[4][0], ALIGNED).mean_embedding)
    expected = [score_of(heads[0][a], heads[0][b], ALIGNED).mean_embedding for a, b in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(same[:3], expected)
    assert same.min() > different.max()


def test_heads_without_a_face_are_failures_of_the_detector_alone():
    missed = [range(6), (), (), (), ()]
    heads = [[head(f"{person}", seed=scan, missed=missed[person]) for scan in range(2)] for person in range(5)]
    for attacker, failed in ((ALIGNED, (0, 0)), (DETECTED, (4, 1))):
        counts = [int(np.isnan(scores).sum()) for scores in pair_scores(heads, attacker)]
        assert tuple(counts) == failed


def test_a_view_set_is_taken_out_of_one_that_holds_it():
    full = head("a", views=len(VIEW_SETS["full"]), view_set="full")
    standard = with_views(full, "standard")
    assert standard.views == "standard" and len(standard.aligned) == VIEWS
    for row, view in zip(standard.aligned, VIEW_SETS["standard"], strict=True):
        names = [each.name for each in VIEW_SETS["full"]]
        np.testing.assert_array_equal(row, full.aligned[names.index(view.name)])


# ---- the run ----


@pytest.fixture
def fakes(monkeypatch):
    made = Fakes().install(monkeypatch)
    monkeypatch.setattr(embedscans, "load_tools", made.load_tools)
    # A simulated scan of the stand-in's volumes keeps the person.
    monkeypatch.setattr(
        embedscans, "scan_again", lambda scan, random: volume(int(scan.stored[0, 0, 0]), int(random.integers(1, 1000)))
    )
    embedscans.load_all_tools.cache_clear()
    yield made
    embedscans.load_all_tools.cache_clear()


@pytest.fixture
def heads(tmp_path):
    folder = tmp_path / "heads"
    folder.mkdir()
    for person in range(1, PERSONS + 1):
        made = volume(person)
        write_volume(folder / f"p{person:02d}_T1w.nii.gz", made, made.stored)
    write_volume(folder / "p01_labels.nii.gz", volume(99), volume(99).stored)
    return folder


OPTIONS = CalibrateOptions(models=("fake",), views=("frontal", "standard"), pattern="*_T1w.nii.gz")


def test_a_run_counts_the_pairs_of_all_view_sets_and_attackers(fakes, heads, tmp_path):
    made = calibrate(heads, tmp_path / "out", OPTIONS)
    kinds = [(entry.model, entry.views, entry.attacker) for entry in made.calibrations]
    assert kinds == [("fake", views, attacker) for views in ("frontal", "standard") for attacker in ATTACKERS]
    for entry in made.calibrations:
        assert entry.different.n == PERSONS * (PERSONS - 1) / 2
        assert entry.same.n == PERSONS * 3
        assert entry.same.mean > 0.9 > 0.5 > entry.different.mean
        assert entry.about["heads"] == PERSONS
        assert entry.about["command"] == (
            "reident-risk calibrate heads out --model fake --views frontal standard --pattern '*_T1w.nii.gz'"
        )
        assert entry.model_sha256 == "ab" * 32 and entry.about["detector_sha256"] == "cd" * 32
    single = made.checks["fake"]["standard"]["forced"]
    assert single["single_views"]["auc"] > 0.99 and single["single_views"]["rank1_held_out_views"]["value"] == 1.0
    assert single["further_scans"]["rank1"]["hits"] == 2 * PERSONS
    assert "single_views" not in made.checks["fake"]["frontal"]["forced"]


def test_a_run_goes_on_where_it_was(fakes, heads, tmp_path):
    def stop():
        if len(fakes.embedded) == 10:
            raise KeyboardInterrupt

    fakes.step = stop
    with pytest.raises(KeyboardInterrupt):
        calibrate(heads, tmp_path / "out", OPTIONS)
    kept = sorted((tmp_path / "out" / "embeddings").iterdir())
    assert len(kept) == 9
    fakes.step = lambda: None
    fakes.embedded.clear()
    first = calibrate(heads, tmp_path / "out", OPTIONS)
    assert len(fakes.embedded) == 3 * PERSONS - 9
    fakes.embedded.clear()
    second = calibrate(heads, tmp_path / "out", OPTIONS)
    assert fakes.embedded == []
    assert calibration_file_content(first.calibrations) == calibration_file_content(second.calibrations)


def test_what_is_kept_of_another_file_or_model_is_made_again(fakes, heads, tmp_path):
    calibrate(heads, tmp_path / "out", OPTIONS)
    fakes.embedded.clear()
    made = volume(77)
    write_volume(heads / "p03_T1w.nii.gz", made, made.stored, overwrite=True)
    calibrate(heads, tmp_path / "out", OPTIONS)
    assert fakes.embedded == ["p03_T1w"] * 3
    fakes.embedded.clear()
    fakes.tools = dataclasses.replace(fakes.tools, embedder=dataclasses.replace(fakes.tools.embedder, sha256="ef" * 32))
    embedscans.load_all_tools.cache_clear()
    calibrate(heads, tmp_path / "out", OPTIONS)
    assert len(fakes.embedded) == 3 * PERSONS


def test_what_was_drawn_in_another_light_or_by_another_renderer_is_made_again(fakes, heads, tmp_path, monkeypatch):
    calibrate(heads, tmp_path / "out", OPTIONS)
    for target, value in (
        ("ReidentRiskLib.runs.embedscans.LIGHTS", {"torch": ()}),
        ("ReidentRiskLib.attack.render.renderer_name", lambda: "another"),
    ):
        fakes.embedded.clear()
        monkeypatch.setattr(target, value)
        calibrate(heads, tmp_path / "out", OPTIONS)
        assert len(fakes.embedded) == 3 * PERSONS


def test_the_embeddings_that_are_kept_warn_of_what_they_are(fakes, heads, tmp_path):
    calibrate(heads, tmp_path / "out", OPTIONS)
    for path in (tmp_path / "out" / "embeddings").iterdir():
        kept = load_gallery(path)
        assert "biometric" in kept.warning and kept.heads[0].pictures is None


def test_a_head_that_cannot_be_used_is_left_out_and_named(fakes, heads, tmp_path):
    write_volume(heads / "p02_T1w.nii.gz", volume(0), volume(0).stored, overwrite=True)
    made = calibrate(heads, tmp_path / "out", OPTIONS)
    assert made.heads == PERSONS - 1
    assert len(made.notes) == 3 and all("p02_T1w.nii.gz was left out" in note for note in made.notes)


def test_too_few_heads_are_refused(fakes, heads, tmp_path):
    for person in (1, 2):
        write_volume(heads / f"p0{person}_T1w.nii.gz", volume(0), volume(0).stored, overwrite=True)
    with pytest.raises(InputError, match="14 heads.*15"):
        calibrate(heads, tmp_path / "out", OPTIONS)


def test_a_run_can_be_cancelled(fakes, heads, tmp_path):
    with pytest.raises(CancelledError, match="to continue"):
        calibrate(heads, tmp_path / "out", OPTIONS, cancelled=lambda: len(fakes.embedded) >= 2)
    assert len(fakes.embedded) == 2


def test_the_command_writes_numbers_only(fakes, heads, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["calibrate", "heads", "out", "--model", "fake", "--pattern", "*_T1w.nii.gz", "--data", "drawn heads"]
    assert cli.main(arguments) == 0
    assert sorted(os.listdir("out")) == ["calibration.json", "checks.json", "embeddings"]
    entry = load_calibration("fake", "standard", ALIGNED, "ab" * 32, "out/calibration.json")
    assert entry.about["data"] == "drawn heads" and entry.different.n == 120
    assert Path("out/calibration.json").stat().st_size < 20_000
    text = Path("out/calibration.json").read_text()
    assert "p01" not in text and str(tmp_path) not in text  # neither names nor folders
    assert json.loads(Path("out/checks.json").read_text())["fake"]["standard"]["gated"]["views_with_a_face"] == 1.0
    said = capsys.readouterr()
    assert "biometric" in said.out
    assert cli.main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert cli.main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize("name", ["calibration.json", "checks.json"])
def test_a_file_of_others_is_never_overwritten(fakes, heads, tmp_path, capsys, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"mine": 1}')
    assert cli.main(["calibrate", "heads", "out", "--model", "fake", "--overwrite"]) == 2
    assert name in capsys.readouterr().err and fakes.embedded == []
    assert (tmp_path / "out" / name).read_text() == '{"mine": 1}'


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names of any bytes")
def test_a_head_of_any_name_is_scanned_again(fakes, heads, tmp_path):
    latin = Path(os.fsdecode(os.fsencode(heads) + b"/M\xfcller.nii.gz"))
    os.rename(heads / "p01_T1w.nii.gz", latin)
    options = dataclasses.replace(OPTIONS, pattern="M*")
    (tmp_path / "kept").mkdir()
    assert embed_scan(Scan(latin, 1, options, tmp_path / "kept")) is None


def test_several_processes_are_started_with_a_thread_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with embedscans._one_thread_each():
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


# ---- what is shipped ----

CHECKED = 3  # heads; a few seconds each


@pytest.mark.parametrize("attacker", ATTACKERS)
@pytest.mark.parametrize("views", VIEW_SETS)
@pytest.mark.parametrize("model", ["arcface", "sface"])
def test_every_view_set_of_the_networks_is_calibrated(model, views, attacker):
    shipped = load_calibration(model, views, attacker)
    assert shipped.different.n >= 12_000 and shipped.same.n >= 40
    assert shipped.same.mean > shipped.different.mean + 3 * shipped.different.sd


@pytest.fixture(scope="module")
def real_heads(shared_data, tmp_path_factory):
    """The first scans of a few real heads and a further one of each, embedded from the front with the free model."""
    shipped = load_calibration("sface", "frontal", ALIGNED)
    if shipped is None:
        pytest.skip("no calibration of sface is shipped yet")
    folder = tmp_path_factory.mktemp("kept")
    options = CalibrateOptions(models=("sface",), views=("frontal",), scans=1, device="cpu")
    files = sorted((shared_data / "ixi-t1-2mm").glob("*_T1w.nii.gz"))[::53][:CHECKED]
    (tools,) = embedscans.load_all_tools(options.models, options.device, options.accept_licence)
    heads = []
    for path in files:
        scans = [Scan(path, number, options, folder) for number in range(2)]
        assert [embed_scan(scan) for scan in scans] == [None, None]
        heads.append([load_scan(scan, tools) for scan in scans])
    return heads


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_the_shipped_figures_hold_for_real_heads(real_heads, attacker):
    shipped = load_calibration("sface", "frontal", attacker)
    different, same = pair_scores(real_heads, attacker)
    different, same = different[np.isfinite(different)], same[np.isfinite(same)]
    margin = 0.02
    low, high = shipped.different.quantiles[[0, -1]]
    assert low - margin <= different.min() and different.max() <= high + margin
    assert different.mean() == pytest.approx(shipped.different.mean, abs=3 * shipped.different.sd)
    assert shipped.same.quantiles[0] - margin <= same.min() and same.max() <= 1.0
    assert same.mean() == pytest.approx(shipped.same.mean, abs=4 * shipped.same.sd + margin)
    assert same.mean() > different.mean()
