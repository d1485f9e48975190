"""The trainings run, resume where they were stopped, and never see a head that is held out."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from functools import partial
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from phantom import LANDMARKS as PHANTOM_LANDMARKS
from phantom import brain_mask, make_phantom
from RefaceLib import canonical, geometry, headparser, networks, shapemodel
from RefaceLib.canonical import BRAIN_POINTS, FACE_LANDMARKS, FACE_POINTS, LANDMARKS
from RefaceLib.headparser import HeadParse
from RefaceLib.shapemodel import Atlas
from RefaceLib.training import atlas, boxes, discriminator, fineloop, ganloop, heads, parserdata, parserloop, state
from RefaceLib.training import train as training
from RefaceLib.training.faces import from_to, random_face
from RefaceLib.training.heads import SWAP, ParserSample
from RefaceLib.weights import models_folder, read_registry, sha256_of

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
    net, progress = torch.nn.Linear(2, 2), state.Progress(1.0)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    for _ in range(3):
        progress.tick({"loss": 1.0})
    state.save_checkpoint(tmp_path / "x.pt", progress, {"net": net, "optimiser": optimiser})
    other, later = torch.nn.Linear(2, 2), state.Progress(1.0)
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
    small = networks.HeadParserNet((8, 8), coordinates=posed)
    for name in ("parser_net", "finder_net"):
        monkeypatch.setattr(parserloop, name, partial(networks.HeadParserNet, (8, 8), coordinates=posed))
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
    monkeypatch.setattr(parserloop, "finder_net", partial(networks.HeadParserNet, (8, 8)))
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
def phantom_boxes():
    """The phantom in the canonical box (2 mm), and itself larger: two heads."""
    volume = make_phantom()
    grid = geometry.ras_grid(volume.stored.shape, volume.affine, 2.0)
    brain = brain_mask(grid.shape, grid.affine)
    head = geometry.resample(volume.values(), volume.affine, grid) > 150
    points = np.concatenate([[PHANTOM_LANDMARKS[name] for name in FACE_LANDMARKS], BRAIN_POINTS])
    made = []
    for name, scale in (("a", 1.0), ("b", 1.07)):
        parse = HeadParse(grid, brain, head, points * [scale, 1, 1], np.ones(len(points)))
        made.append(boxes.make_box(name, volume.values(), volume.affine, parse, 2.0))
    return made


@pytest.fixture(scope="module")
def face_model(phantom_boxes):
    """Shape model and atlas of the phantoms, registered with few iterations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atlas, "_LEVELS", ((4, 8), (2, 4)))
        patch.setattr(atlas, "_SHARES", (1,))
        patch.setattr(atlas, "ProcessPoolExecutor", _NoPool)
        return atlas.build_face_model(phantom_boxes, size=2)


class _NoPool:
    """In place of a pool of processes, which would not know of the patches."""

    def __init__(self, jobs):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def map(self, function, *arguments, chunksize):
        return map(function, *arguments)


@pytest.fixture(scope="module")
def shape_model(face_model):
    return face_model[0]


@pytest.fixture(scope="module")
def still_atlas(phantom_boxes):
    """An atlas that does not bend."""
    field = np.zeros(atlas.fields_shape(), np.float32)
    box = phantom_boxes[0]
    picture = box.image.astype(np.float32) / boxes.EIGHT_BIT
    return Atlas(picture, box.distance.astype(np.float32), field, np.stack([field] * 2))


def test_a_box_holds_the_head_in_its_canonical_pose(phantom_boxes):
    box = phantom_boxes[0]
    assert box.image.shape == box.distance.shape == canonical.box(2.0).shape and box.image.dtype == np.uint8
    index = np.rint(geometry.apply_affine(np.linalg.inv(canonical.box(2.0).affine), [0.0, 0.0, 0.0])).astype(int)
    assert box.brain[tuple(index)] and 0.6 < box.image[tuple(index)] / boxes.EIGHT_BIT < 1.4 and box.view.mean() > 0.8
    mirrored = boxes.mirrored(boxes.mirrored(box))
    assert np.array_equal(mirrored.image, box.image) and np.array_equal(mirrored.points, box.points)


def test_the_face_model_is_that_of_heads_and_their_mirror_images(face_model):
    model, made = face_model
    assert model.mean.shape == canonical.box(shapemodel.SPACING).shape and model.size == len(made.modes) == 2
    assert np.allclose(model.mean, model.mean[::-1], atol=0.1) and np.allclose(made.picture, made.picture[::-1])
    assert np.allclose(made.centre[0], -made.centre[0][::-1], atol=0.05)
    assert made.depth.shape == made.picture.shape == canonical.box(2.0).shape
    assert (made.picture[made.depth > 6] > 0.1).mean() > 0.8 and (made.picture[made.depth < -6] < 0.3).all()


def test_the_atlas_bent_to_a_heads_own_code_is_nearer_to_the_head(phantom_boxes, face_model):
    model, made = face_model
    everywhere = np.ones(model.mean.shape, bool)
    errors = []
    for box in phantom_boxes:
        small = shapemodel.to_raster(box.distance.astype(np.float32), 2.0, shapemodel.SPACING)
        for code in (np.zeros(2), model.project(small, everywhere)):
            shape = made.bend(made.field(code))[1]
            errors.append(np.abs(shape - box.distance.astype(np.float32))[box.view].mean())
    assert errors[1] + errors[3] < errors[0] + errors[2]


def test_the_face_model_is_the_mean_of_the_heads_whose_scans_show_the_skin(phantom_boxes, face_model):
    """A model that is 3 mm too wide, as one is made of scans that end beside the ears, is put right."""
    model, made = face_model
    sign = np.where(np.arange(atlas.fields_shape()[1]) < atlas.fields_shape()[1] // 2, -1, 1)[:, None, None]
    wide = dataclasses.replace(made, centre=made.centre - 3.0 * np.stack([sign, 0 * sign, 0 * sign]).astype(np.float32))
    errors = []
    for centred in (wide, atlas.recentred(phantom_boxes, model, wide)[1]):
        drawn = centred.bend(centred.field(np.zeros(2)))[1]
        side = np.abs(drawn) < 4
        side[20:-20] = False
        errors.append(np.mean([(box.distance - drawn)[side & box.view].mean() for box in phantom_boxes]))
    assert errors[0] < -1.5 and abs(errors[1]) < 0.8


def test_details_are_what_codes_leave_of_the_skin(phantom_boxes, face_model, monkeypatch):
    """An atlas whose skin lies 3 mm too deep all over: of the 3 mm, visible skin tells a part."""
    monkeypatch.setattr(atlas, "ProcessPoolExecutor", _NoPool)
    monkeypatch.setattr(atlas, "_DETAIL_HEADS", 1)
    model, made = face_model
    left = {}
    for thinner in (0.0, 3.0):
        lean = dataclasses.replace(made, depth=np.clip(made.depth - thinner, -16, 16))
        detail = atlas.detail_of(phantom_boxes, model, lean, size=2)
        assert detail.mean.shape == model.mean.shape and detail.modes.shape == (2, *model.mean.shape)
        x, y, z = atlas._places(shapemodel.SPACING)
        depth = shapemodel.to_raster(lean.depth, 2.0, shapemodel.SPACING)
        assert not detail.modes[:, np.abs(depth) > 14].any()
        cheeks = (np.abs(depth) < 3) & (y > 45) & (z > -100) & (z < -30)
        left[thinner] = detail.mean[cheeks].mean()
        assert np.allclose(np.abs(detail.modes), np.abs(detail.modes[:, ::-1]), atol=0.3)  # mirror images were seen
    assert 1.2 < left[3.0] - left[0.0] < 3.0


def test_components_give_back_data_of_low_rank_though_some_of_it_is_unknown():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 300)) + 5
    known = rng.random(truth.shape) > 0.1
    mean, modes = atlas.components(np.where(known, truth, 99).astype(np.float32), known, np.ones(300), 2, rounds=25)
    assert modes.shape == (2, 300) and np.abs(mean - truth.mean(axis=0)).max() < 0.2
    assert (modes**2).sum() == pytest.approx(truth.var(axis=0).sum(), rel=0.1)  # a mode is a standard deviation


def test_components_explain_what_has_weight():
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(size=(50, 1)) * np.ones(10), 9 * rng.normal(size=(50, 1)) * np.ones(10)], axis=1)
    weight = np.repeat([1.0, 0.001], 10)
    _, modes = atlas.components(data.astype(np.float32), np.ones(data.shape, bool), weight, 1)
    assert np.abs(modes[0, :10]).mean() == pytest.approx(data[:, 0].std(), rel=0.05)


def test_a_face_model_of_few_heads_has_as_many_components_as_they_allow():
    data = np.random.default_rng(0).normal(size=(4, 30)).astype(np.float32)
    _, modes = atlas.components(data, np.ones(data.shape, bool), np.ones(30), 64, rounds=1)
    assert 1 <= len(modes) <= 4 and np.isfinite(modes).all()


def _small_networks(monkeypatch):
    monkeypatch.setattr(ganloop, "Generator", partial(networks.Generator, widths=(8, 8)))
    monkeypatch.setattr(ganloop, "Discriminator", partial(discriminator.Discriminator, widths=(8, 8)))
    monkeypatch.setattr(fineloop, "FineGenerator", partial(networks.FineGenerator, widths=(8, 8)))
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


def test_the_truth_of_a_drawn_face_is_the_head_bent_and_only_in_the_mask(phantom_boxes, face_model):
    box, model, atlas = phantom_boxes[0], *face_model
    own, drawn = (random_face(np.random.default_rng(3), box, model, atlas, own=own) for own in (True, False))
    mask = own.mask[0, 0].numpy() > 0
    assert torch.equal(own.mask, drawn.mask)
    heads = [s.image[0, 0].numpy() for s in (own, drawn)]
    assert np.array_equal(heads[0][~mask], heads[1][~mask])
    assert np.abs(heads[0] - heads[1])[mask].mean() > 0.002


def test_the_skin_that_is_told_is_that_of_the_truth(phantom_boxes, face_model):
    for own in (True, False):
        sample = random_face(np.random.default_rng(3), phantom_boxes[0], *face_model, own=own)
        shape, image = sample.shape[0, 0].numpy() * shapemodel.CLIP, sample.image[0, 0].numpy()
        hidden = (sample.mask * sample.view)[0, 0].numpy() > 0
        assert image[hidden & (np.abs(shape - 4) < 1)].mean() > 0.3  # under the skin there is flesh,
        assert image[hidden & (np.abs(shape + 5) < 1)].mean() < 0.1  # and before it air


def test_a_head_bent_from_its_own_code_to_another_is_the_atlas_bent_to_that():
    grid = canonical.box(2.0).shape
    rng = np.random.default_rng(0)
    picture = ndimage.gaussian_filter(rng.random(grid), 3).astype(np.float32)
    mine, other = (
        np.stack([ndimage.gaussian_filter(rng.normal(0, 1, grid), 12) * 250 for _ in range(3)]).astype(np.float32)
        for _ in range(2)
    )
    assert 2 < np.abs(mine).max() < 15
    again = shapemodel.bend(shapemodel.bend(picture, mine), from_to(mine, other))
    wanted, before = shapemodel.bend(picture, other), shapemodel.bend(picture, mine)
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


def test_registration_tells_where_to_look_and_by_how_many_millimetres():
    index = np.moveaxis(np.indices((48, 44, 40)), 0, -1).astype(float)

    def blob(centre):
        return np.exp(-(((index - centre) / [7.0, 6.0, 8.0]) ** 2).sum(axis=-1) / 2).astype(np.float32)

    fixed, shift = np.array([24.0, 22, 20]), np.array([3.0, -2.0, 1.5])  # voxels of 2 mm
    field = atlas.register(blob(fixed), blob(fixed + shift))
    assert field.shape == (3, 48, 44, 40) and field.dtype == np.float32
    near = blob(fixed) > 0.5
    assert np.allclose(field[:, near].mean(axis=1), 2 * shift, atol=1.0)
    bent = shapemodel.bend(blob(fixed + shift), field)
    assert np.abs(bent - blob(fixed)).mean() < 0.25 * np.abs(blob(fixed + shift) - blob(fixed)).mean()


def test_an_export_takes_what_was_not_trained_from_the_shipped_weights(tmp_path, monkeypatch, models):
    (tmp_path / "faces").mkdir()
    changed = copy.deepcopy(models.coarse)
    with torch.no_grad():
        next(changed.parameters()).add_(1.0)
    torch.save({"parts": {"average": changed.state_dict()}}, tmp_path / "faces" / "faces.pt")
    (tmp_path / "faces" / "log.jsonl").write_text('{"step": 7, "s": 120}\n')
    data = ([], [], models.shape, models.atlas)
    monkeypatch.setattr(training.TrainCommand, "coarse_data", lambda self: data)
    monkeypatch.setattr(training, "coarse_error", lambda *arguments: 0.5)
    training.export(tmp_path, tmp_path)
    made, shipped = (read_registry(folder)["models"] for folder in (tmp_path / "Models", models_folder()))
    assert {name for name in shipped if made[name] != shipped[name]} == {"coarse"}
    assert (made["coarse"]["steps"], made["coarse"]["minutes"]) == (7, 2)
    assert made["coarse"]["figures"] == {"l1_in_mask": 0.5}
    for entry in made.values():
        assert sha256_of(tmp_path / "Models" / entry["file"]) == entry["sha256"]
