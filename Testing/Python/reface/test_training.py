"""The trainings run, resume where they were stopped, and never see a head that is held out."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from functools import partial
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from helpers.phantom import brain_mask, make_phantom
from RefaceLib.face import rasters, skindistance
from RefaceLib.face.shapemodel import Atlas
from RefaceLib.face.weights import models_folder, read_registry
from RefaceLib.head import canonical, headparser
from RefaceLib.head.canonical import BRAIN_POINTS, FACE_POINTS, LANDMARKS
from RefaceLib.head.headparser import LabelledHead
from RefaceLib.networks import layers
from RefaceLib.training import (
    atlas,
    boxes,
    defaced,
    discriminator,
    fineloop,
    ganloop,
    heads,
    parserdata,
    parserloop,
    state,
)
from RefaceLib.training import train as training
from RefaceLib.training.faces import from_to, random_face
from RefaceLib.training.heads import SWAP, ParserSample
from RefaceLib.volume import geometry

TRAINED, HELD_OUT = "IXI012-HH-1211", "IXI105-HH-1471"
STEP = 1 / 60  # minutes: a training with this budget ends after one step


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes a second each time it is read, so that a step takes one second of the time budget."""
    ticks = itertools.count()
    monkeypatch.setattr(state, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))


# ---- what all trainings share ----


def test_the_learning_rate_warms_up_stays_and_falls_to_a_twentieth():
    assert state.learning_rate(1.0, 0.0, 0) == pytest.approx(0.02)
    assert state.learning_rate(1.0, 0.0, 24) == pytest.approx(0.5)
    assert [state.learning_rate(2.0, f, 1000) for f in (0.1, 0.5)] == [2.0, 2.0]
    assert state.learning_rate(2.0, 0.75, 1000) == pytest.approx(1.0)
    assert [state.learning_rate(2.0, f, 1000) for f in (0.99, 1.0)] == pytest.approx([0.1, 0.1])


def test_the_average_follows_the_weights_quickly_at_first_and_slowly_later():
    net = torch.nn.Linear(1, 1)
    average = state.Averaged(net, decay=0.99)
    with torch.no_grad():
        net.weight.add_(1.0)
    before = average.net.weight.item()
    average.update(net, step=0)
    first = average.net.weight.item()
    assert first - before == pytest.approx(0.9)
    average.update(net, step=10**6)
    assert average.net.weight.item() - first == pytest.approx(0.01 * 0.1, rel=0.01)
    assert not average.net.weight.requires_grad


def test_a_checkpoint_brings_back_weights_optimiser_and_progress(tmp_path, clock):
    net, progress = torch.nn.Linear(2, 2), state.TrainingProgress(1.0)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    for _ in range(3):
        progress.tick({"loss": 1.0})
    state.save_checkpoint(tmp_path / "x.pt", progress, {"net": net, "optimiser": optimiser})
    other, later = torch.nn.Linear(2, 2), state.TrainingProgress(1.0)
    parts = {"net": other, "optimiser": torch.optim.Adam(other.parameters())}
    assert state.load_checkpoint(tmp_path / "x.pt", later, parts)
    assert torch.equal(other.weight, net.weight) and parts["optimiser"].state_dict()["state"]
    assert (later.step, later.seconds) == (3, progress.seconds)
    assert not state.load_checkpoint(tmp_path / "none.pt", later, parts)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


# ---- the training data ----


def test_swapping_left_and_right_twice_changes_nothing():
    assert [SWAP[i] for i in SWAP] == list(range(len(LANDMARKS)))
    assert {LANDMARKS[i]: LANDMARKS[SWAP[i]] for i in range(6)} == {
        "left_eye": "right_eye", "right_eye": "left_eye", "nose_tip": "nose_tip",
        "left_mouth": "right_mouth", "right_mouth": "left_mouth", "chin": "chin",
    }  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with two phantoms and DLMUSE labels; one of them is a subject of the validation list."""
    folder = tmp_path_factory.mktemp("data")
    volume = make_phantom((40, 52, 52), (5.0, 5.0, 5.0))
    labels = brain_mask(volume.stored.shape, volume.affine).astype(np.int16) * 4
    for name, region in heads._DLMUSE.items():
        point = BRAIN_POINTS[canonical.BRAIN_LANDMARKS.index(name)] * 0.85
        i, j, k = np.rint(geometry.apply_affine(np.linalg.inv(volume.affine), point)).astype(int)
        labels[i - 1 : i + 2, j - 1 : j + 2, k - 1 : k + 2] = region
    for name in (TRAINED, HELD_OUT):
        nib.save(nib.Nifti1Image(volume.stored, volume.affine), folder / f"{name}_T1w.nii.gz")
        nib.save(nib.Nifti1Image(labels, volume.affine), folder / f"{name}_dlmuse.nii.gz")
    return folder


@pytest.fixture(scope="module")
def samples(data):
    return parserloop.load_samples(data)


def test_the_parser_is_never_trained_on_a_head_that_is_held_out(samples):
    real, maps, validation = samples
    assert [s.name for s in real] == [TRAINED] and not maps
    assert [s.name for s in validation] == [HELD_OUT]


def test_the_generator_is_never_trained_on_a_head_that_is_held_out(data, tmp_path, monkeypatch):
    def small(name, *_):
        return boxes.Box(name, 2.0, **{field.name: np.zeros(3) for field in dataclasses.fields(boxes.Box)[2:]})

    monkeypatch.setattr(boxes, "labelled_box", small)
    seen = []

    def build(training, **_):
        seen.extend(b.name for b in training)
        return None, None

    monkeypatch.setattr(training, "build_face_model", build)
    trained, validation, _, _ = training.TrainCommand(data, tmp_path).coarse_data()
    assert seen == [TRAINED]
    assert [b.name for b in trained] == [TRAINED] and [b.name for b in validation] == [HELD_OUT]


def test_the_fine_stage_is_never_trained_on_a_head_that_is_held_out(tmp_path):
    for name, size in (("philips", 1.0), ("uihb", 1.0), ("haase", 1.6)):
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([size, size, size, 1])),
                 tmp_path / f"{name}_T1w.nii.gz")  # fmt: skip
    assert [path.name for path in heads.fine_heads(tmp_path)] == ["philips_T1w.nii.gz"]


def test_every_held_out_and_excluded_head_is_a_known_subject():
    held_out, excluded, known = heads.validation_ids(), heads.excluded_ids(), set(heads.read_landmarks())
    assert len({name for name in held_out if name.startswith("IXI")}) == 20
    assert {name for name in held_out | excluded if name.startswith("IXI")} <= known
    assert not held_out & excluded


def test_the_shared_heads_are_split_as_the_lists_say(shared_data):
    found = set(heads.labelled_heads(shared_data))
    assert len(found) == 159 and {n for n in heads.validation_ids() if n.startswith("IXI")} <= found
    assert (
        not {path.name.removesuffix("_T1w.nii.gz") for path in heads.fine_heads(shared_data)} & heads.validation_ids()
    )


class _Inline:
    """An executor that runs everything here, where the parser can be replaced."""

    def __init__(self, jobs):
        self.map = map

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_where_a_defaced_brain_is_seen_is_found_in_canonical_places(data, tmp_path, monkeypatch, capsys):
    """In the head as its labels place it, whatever the parser sees in the whole head; of a trained head alone."""
    shifts, given = [np.zeros(3), np.array([3.4, -1.7, 0.85])], []

    def parse(values, affine, *_):
        given.append((values == 0).mean())
        points = 0.85 * np.concatenate([FACE_POINTS, BRAIN_POINTS])
        points = points + shifts[len(given) > 2] * (len(given) % 2 == 0)
        grid = geometry.ras_grid(values.shape, affine, 2.0)
        nothing = np.zeros(grid.shape, bool)
        return LabelledHead(grid, nothing, nothing, points, np.ones(len(LANDMARKS)))

    monkeypatch.setattr(defaced, "parse_head", parse)
    monkeypatch.setattr(defaced, "ProcessPoolExecutor", _Inline)
    own = shutil.copytree(models_folder(), tmp_path / "Models")
    before, found = read_registry(own), []
    for options in ([], ["--models", str(own)]):
        assert defaced.main([str(data), *options]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("1 heads") and len(lines) == 1 + len(canonical.BRAIN_LANDMARKS)
        found.append({line.split()[0]: np.array(line.split()[1:], float) for line in lines[1:]})
    assert given[1] > given[0] + 0.05  # the second parse is that of a head without its face
    for name, place in found[0].items():
        assert np.abs(place - BRAIN_POINTS[canonical.BRAIN_LANDMARKS.index(name)]).max() < 4  # labels of 5 mm
        # 2 mm farther back and 1 mm up at the mean adult's size; to the right in one mirror, to the left in the other.
        assert np.allclose(found[1][name] - place, [0, -2, 1], atol=0.35)
    written = {name: place.tolist() for name, place in found[1].items()}
    assert read_registry(own) == {**before, "fitted": {**before["fitted"], "defaced_brain_points": written}}


def test_landmarks_are_not_measured_for_a_folder_without_weights(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(defaced, "ProcessPoolExecutor", _Inline)
    assert defaced.main([str(data), "--models", str(tmp_path)]) == 2
    assert "holds no weights of Reface" in capsys.readouterr().err


def test_without_labelled_heads_no_defaced_brain_is_seen(tmp_path, capsys):
    assert defaced.main([str(tmp_path)]) == 2
    assert "no head with brain labels" in capsys.readouterr().err


def _labelled_sample() -> ParserSample:
    """A head whose brain is a ball about the brain stem, and whose head is a ball about the left thalamus."""
    shape = (96, 112, 112)
    points = np.concatenate([FACE_POINTS, BRAIN_POINTS]) / 2 + [48.0, 56.0, 64.0]
    index = np.moveaxis(np.indices(shape), 0, -1)
    ball = {
        name: ((index - points[LANDMARKS.index(name)]) ** 2).sum(axis=-1) < 6**2
        for name in ("brain_stem", "left_temporal_pole")
    }
    image = np.random.default_rng(0).integers(20, 160, shape).astype(np.uint8)
    return ParserSample("x", image, ball["brain_stem"], ball["left_temporal_pole"], points, 0)


@pytest.mark.parametrize("posed", [True, False])
def test_landmarks_and_masks_of_a_random_picture_go_together(posed, monkeypatch):
    sample = _labelled_sample()
    monkeypatch.setattr(parserdata.synth, "random_removal", lambda rng, brain, points: torch.zeros_like(brain) > 0)
    shape = canonical.head_box(2.0).shape if posed else parserdata.CROP
    flips = set()
    for seed in range(4):
        rng = np.random.default_rng(seed)
        image, masks, points = parserdata.random_sample(rng, sample, posed=posed)
        assert image.shape == (1, *shape) and masks.shape == (2, *shape) and points.shape == (17, 3)
        assert image.dtype == masks.dtype == torch.float32 and set(masks.unique().tolist()) <= {0.0, 1.0}
        named = dict(zip(LANDMARKS, points, strict=True))
        centres = [np.argwhere(mask.numpy() > 0).mean(axis=0) for mask in masks]
        assert np.allclose(centres[0], named["brain_stem"], atol=1.0)
        # Left stays left in a mirror, too: the ball that was at the left pole is then at the one that is right.
        assert named["left_temporal_pole"][0] < named["right_temporal_pole"][0]
        sides = [np.linalg.norm(centres[1] - named[f"{side}_temporal_pole"]) for side in ("left", "right")]
        assert min(sides) < 1.5 < 10 < max(sides)
        flips.add(sides[0] > sides[1])
    assert flips == {True, False}


def test_landmarks_come_back_from_their_heat_maps():
    points = np.array([[10.0, 20.0, 30.0], [31.5, 8.25, 12.75], [np.nan] * 3, [70.0, 5.0, 5.0]])
    maps, valid = parserdata.heat_targets(points, (48, 48, 48))
    assert valid.tolist() == [True, True, False, False]  # unknown, outside
    assert maps.shape == (4, 24, 24, 24) and torch.allclose(maps.sum((1, 2, 3)), torch.ones(4))
    grid = geometry.Grid((48, 48, 48), np.eye(4))
    found, certainty = headparser.decode_heatmaps(maps.numpy(), grid)
    assert np.allclose(found[:2], points[:2], atol=0.3) and (certainty[:2] > 0.8).all()


# ---- one or two steps of every training ----


@pytest.mark.parametrize("posed", [True, False])
def test_the_parser_trains_and_goes_on_where_it_was_stopped(posed, samples, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(parserloop, "load_samples", lambda _: samples)
    small = layers.HeadParserNet((8, 8), coordinates=posed)
    for name in ("parser_net", "localizer_net"):
        monkeypatch.setattr(parserloop, name, partial(layers.HeadParserNet, (8, 8), coordinates=posed))
    monkeypatch.setattr(parserdata, "CROP", (48, 48, 48))
    figures = []
    monkeypatch.setattr(parserloop, "validate", lambda net, samples, **_: figures.append([s.name for s in samples]))
    config = partial(parserloop.ParserTraining, tmp_path, tmp_path, posed)
    first = parserloop.train(config(minutes=2 * STEP))
    assert torch.load(tmp_path / "parser.pt", weights_only=True)["step"] == 2
    again = parserloop.train(config(minutes=2 * STEP))  # the budget is used up
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    parserloop.train(config(minutes=3 * STEP))
    assert torch.load(tmp_path / "parser.pt", weights_only=True)["step"] == 3
    assert figures == [[HELD_OUT]] * 3
    small.load_state_dict(torch.load(tmp_path / "parser.pt", weights_only=True)["parts"]["average"])


def test_the_parser_trains_without_validation_heads(samples, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(parserloop, "localizer_net", partial(layers.HeadParserNet, (8, 8)))
    monkeypatch.setattr(parserdata, "CROP", (48, 48, 48))
    monkeypatch.setattr(parserloop, "load_samples", lambda _: (*samples[:2], []))
    parserloop.train(parserloop.ParserTraining(tmp_path, tmp_path, posed=False, minutes=STEP))
    assert (tmp_path / "parser.pt").exists()


def test_the_figures_of_a_perfect_parser_are_perfect(samples, monkeypatch):
    sample = samples[0][0]
    known = np.where(np.isfinite(sample.points), sample.points, 0)

    def perfect(net, image, device):
        heat = parserdata.heat_targets(known, sample.brain.shape)[0].numpy()
        return sample.brain.astype(np.float32), sample.head.astype(np.float32), heat

    monkeypatch.setattr(headparser, "run_network", perfect)
    figures = parserloop.validate(None, [sample], posed=False, device="cpu")
    assert figures["brain_dice_mean"] == figures["brain_dice_min"] == 1.0
    assert figures["all_mm_median"] < 1.0


@pytest.fixture(scope="module")
def shape_model(face_model):
    return face_model[0]


@pytest.fixture(scope="module")
def still_atlas(phantom_boxes):
    """An atlas whose displacements are 0."""
    field = np.zeros(atlas.fields_shape(), np.float32)
    box = phantom_boxes[0]
    picture = box.image.astype(np.float32) / boxes.EIGHT_BIT
    return Atlas(picture, box.distance.astype(np.float32), field, np.stack([field] * 2))


def _small_networks(monkeypatch):
    monkeypatch.setattr(ganloop, "Generator", partial(layers.Generator, widths=(8, 8)))
    monkeypatch.setattr(ganloop, "Discriminator", partial(discriminator.Discriminator, widths=(8, 8)))
    monkeypatch.setattr(fineloop, "FineGenerator", partial(layers.FineGenerator, widths=(8, 8)))
    monkeypatch.setattr(fineloop, "Discriminator", lambda widths: discriminator.Discriminator(widths=(8, 8)))


def test_the_coarse_stage_trains_and_goes_on_where_it_was_stopped(
    phantom_boxes, shape_model, still_atlas, tmp_path, clock, monkeypatch
):
    _small_networks(monkeypatch)
    for steps in (1, 2):
        config = ganloop.FaceTraining(tmp_path, minutes=steps * STEP)
        net = ganloop.train_faces(config, phantom_boxes, shape_model, still_atlas)
        assert torch.load(tmp_path / "faces.pt", weights_only=True)["step"] == steps
    assert all(torch.isfinite(p).all() for p in net.parameters())


def test_a_trained_generator_waits_for_the_new_critic(
    phantom_boxes, shape_model, still_atlas, tmp_path, clock, monkeypatch
):
    _small_networks(monkeypatch)
    monkeypatch.setattr(ganloop, "_LEAD", 1)
    trained = ganloop.Generator(shape_model.size)
    for steps, same in ((1, True), (2, False)):
        config = ganloop.FaceTraining(tmp_path, minutes=steps * STEP, start=trained)
        net = ganloop.train_faces(config, phantom_boxes, shape_model, still_atlas)
        weights = zip(trained.parameters(), net.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights) is same


def test_a_step_on_a_drawn_face_trains_as_one_on_the_heads_own(
    phantom_boxes, shape_model, still_atlas, tmp_path, monkeypatch
):
    _small_networks(monkeypatch)
    trainer = ganloop.FaceTrainer(ganloop.FaceTraining(tmp_path), shape_model.size)
    for own, kind in ((False, "drawn_"), (True, "own_")):
        before = [p.clone() for p in trainer.generator.parameters()]
        sample = random_face(np.random.default_rng(0), phantom_boxes[0], shape_model, still_atlas, own=own)
        losses = trainer.step(sample)
        assert set(losses) == {"critic", kind + "critic", kind + "features", kind + "l1"}
        assert np.isfinite(list(losses.values())).all()
        assert any(not torch.equal(a, b) for a, b in zip(before, trainer.generator.parameters(), strict=True))


def test_the_truth_of_a_drawn_face_is_the_head_warped_and_only_in_the_mask(phantom_boxes, face_model):
    box, model, atlas = phantom_boxes[0], *face_model
    own, drawn = (random_face(np.random.default_rng(3), box, model, atlas, own=own) for own in (True, False))
    mask = own.mask[0, 0].numpy() > 0
    assert torch.equal(own.mask, drawn.mask)
    heads = [s.image[0, 0].numpy() for s in (own, drawn)]
    assert np.array_equal(heads[0][~mask], heads[1][~mask])
    assert np.abs(heads[0] - heads[1])[mask].mean() > 0.002


def test_the_skin_of_the_conditioning_is_that_of_the_truth(phantom_boxes, face_model):
    for own in (True, False):
        sample = random_face(np.random.default_rng(3), phantom_boxes[0], *face_model, own=own)
        shape, image = sample.shape[0, 0].numpy() * skindistance.CLIP, sample.image[0, 0].numpy()
        hidden = (sample.mask * sample.view)[0, 0].numpy() > 0
        assert image[hidden & (np.abs(shape - 4) < 1)].mean() > 0.3  # under the skin there is flesh,
        assert image[hidden & (np.abs(shape + 5) < 1)].mean() < 0.1  # and before it air


def test_a_head_warped_from_its_own_code_to_another_is_the_atlas_warped_to_that():
    grid = canonical.box(2.0).shape
    rng = np.random.default_rng(0)
    picture = ndimage.gaussian_filter(rng.random(grid), 3).astype(np.float32)
    mine, other = (
        np.stack([ndimage.gaussian_filter(rng.normal(0, 1, grid), 12) * 250 for _ in range(3)]).astype(np.float32)
        for _ in range(2)
    )
    assert 2 < np.abs(mine).max() < 15
    again = rasters.warp(rasters.warp(picture, mine), from_to(mine, other))
    wanted, before = rasters.warp(picture, other), rasters.warp(picture, mine)
    inner = (slice(10, -10),) * 3
    assert np.abs(again - wanted)[inner].mean() < 0.2 * np.abs(before - wanted)[inner].mean()


def test_a_sample_of_a_face_has_the_shapes_that_the_generator_takes(phantom_boxes, shape_model, still_atlas):
    for own in (True, False):
        sample = random_face(np.random.default_rng(1), phantom_boxes[1], shape_model, still_atlas, own=own)
        for tensor in (sample.image, sample.mask, sample.shape, sample.atlas, sample.view):
            assert tensor.shape == (1, 1, 96, 88, 88) and tensor.dtype == torch.float32
        assert sample.code.shape == (1, 2) and sample.own is own
        assert 0.05 < sample.mask.mean() < 0.6 and 0 <= sample.image.min() and sample.image.max() <= 2.02
        assert sample.shape.abs().max() <= 1 + 1e-5


def _fine_head() -> fineloop.FineHead:
    rng = np.random.default_rng(0)
    picture = rng.random((80, 80, 80)).astype(np.float16)
    mask = np.zeros(picture.shape, bool)
    mask[:, 40:] = True
    centres = np.array([[2, 70, 70], [40, 41, 40], [79, 79, 79]])  # at the edges, too
    return fineloop.FineHead(picture, picture, mask, centres)


def test_a_patch_lies_in_its_head(monkeypatch):
    for seed in range(5):
        tensors = fineloop.random_patch(np.random.default_rng(seed), [_fine_head()])
        assert all(t.shape == (1, 1, 64, 64, 64) and t.dtype == torch.float32 for t in tensors)
        assert tensors[2].max() == 1 and tensors[1].min() >= 0


def test_the_fine_stage_trains_and_goes_on_where_it_was_stopped(tmp_path, clock, monkeypatch):
    _small_networks(monkeypatch)
    monkeypatch.setattr(fineloop, "fine_heads", lambda *_: [_fine_head()])
    for steps in (1, 2):
        net = fineloop.train_fine(fineloop.FineTraining(tmp_path, minutes=steps * STEP), [])
        assert torch.load(tmp_path / "fine.pt", weights_only=True)["step"] == steps
    assert all(torch.isfinite(p).all() for p in net.parameters())
