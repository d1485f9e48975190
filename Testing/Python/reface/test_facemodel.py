"""How the face model is made: heads in the canonical box, registration, components, details."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from helpers.phantomfaces import NoPool
from RefaceLib.face import rasters, shapemodel
from RefaceLib.head import canonical
from RefaceLib.training import atlas, boxes
from RefaceLib.volume import geometry


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


def test_the_atlas_warped_to_a_heads_own_code_is_nearer_to_the_head(phantom_boxes, face_model):
    model, made = face_model
    everywhere = np.ones(model.mean.shape, bool)
    errors = []
    for box in phantom_boxes:
        small = rasters.to_raster(box.distance.astype(np.float32), 2.0, shapemodel.SPACING)
        for code in (np.zeros(2), model.project(small, everywhere)):
            shape = made.warp(made.field(code))[1]
            errors.append(np.abs(shape - box.distance.astype(np.float32))[box.view].mean())
    assert errors[1] + errors[3] < errors[0] + errors[2]


def test_the_face_model_is_the_mean_of_the_heads_whose_scans_show_the_skin(phantom_boxes, face_model):
    """A model that is 3 mm too wide, as one is made of scans that end beside the ears, is put right."""
    model, made = face_model
    sign = np.where(np.arange(atlas.fields_shape()[1]) < atlas.fields_shape()[1] // 2, -1, 1)[:, None, None]
    wide = dataclasses.replace(made, centre=made.centre - 3.0 * np.stack([sign, 0 * sign, 0 * sign]).astype(np.float32))
    errors = []
    for centred in (wide, atlas.recentred(phantom_boxes, model, wide)[1]):
        drawn = centred.warp(centred.field(np.zeros(2)))[1]
        side = np.abs(drawn) < 4
        side[20:-20] = False
        errors.append(np.mean([(box.distance - drawn)[side & box.view].mean() for box in phantom_boxes]))
    assert errors[0] < -1.5 and abs(errors[1]) < 0.8


def test_details_are_what_codes_leave_of_the_skin(phantom_boxes, face_model, monkeypatch):
    """An atlas whose skin lies 3 mm too deep all over: of the 3 mm, visible skin tells a part."""
    monkeypatch.setattr(atlas, "ProcessPoolExecutor", NoPool)
    monkeypatch.setattr(atlas, "_DETAIL_HEADS", 1)
    model, made = face_model
    left = {}
    for thinner in (0.0, 3.0):
        lean = dataclasses.replace(made, depth=np.clip(made.depth - thinner, -16, 16))
        detail = atlas.detail_of(phantom_boxes, model, lean, size=2)
        assert detail.mean.shape == model.mean.shape and detail.modes.shape == (2, *model.mean.shape)
        x, y, z = atlas._places(shapemodel.SPACING)
        depth = rasters.to_raster(lean.depth, 2.0, shapemodel.SPACING)
        assert not detail.modes[:, np.abs(depth) > 14].any()
        cheeks = (np.abs(depth) < 3) & (y > 45) & (z > -100) & (z < -30)
        left[thinner] = detail.mean[cheeks].mean()
        assert np.allclose(np.abs(detail.modes), np.abs(detail.modes[:, ::-1]), atol=0.3)  # mirror images were seen
    assert 1.2 < left[3.0] - left[0.0] < 3.0


def test_drawn_faces_are_on_average_as_full_as_true_ones(phantom_boxes, face_model, monkeypatch):
    """Of details whose mean lies 3 mm too deep all over, what the cheeks of drawn faces lack is given back."""
    monkeypatch.setattr(atlas, "ProcessPoolExecutor", NoPool)
    monkeypatch.setattr(atlas, "_DETAIL_HEADS", 1)
    model, made = face_model
    detail = atlas.detail_of(phantom_boxes, model, made, size=2)
    lean = dataclasses.replace(detail, mean=detail.mean - 3.0 * detail.modes.any(axis=0))
    x, y, z = atlas._places(2.0)
    cheeks = (np.abs(made.solid) < 3) & (y > 45) & (z > -100) & (z < -30) & (np.abs(x) > 20)

    def lacking(face_model):
        found = [atlas._left_out(box, model, face_model, seed=i) for i, box in enumerate(phantom_boxes)]
        return np.mean([depth[cheeks & known].mean() for depth, known in found])

    thin = dataclasses.replace(made, detail=lean)
    full = atlas.balanced(phantom_boxes, model, made, lean)
    assert lacking(thin) > 1.5 and abs(lacking(full)) < 0.5
    assert np.array_equal(full.detail.modes, lean.modes)


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


def test_registration_tells_where_to_look_and_by_how_many_millimetres():
    index = np.moveaxis(np.indices((48, 44, 40)), 0, -1).astype(float)

    def blob(centre):
        return np.exp(-(((index - centre) / [7.0, 6.0, 8.0]) ** 2).sum(axis=-1) / 2).astype(np.float32)

    fixed, shift = np.array([24.0, 22, 20]), np.array([3.0, -2.0, 1.5])  # voxels of 2 mm
    field = atlas.register(blob(fixed), blob(fixed + shift))
    assert field.shape == (3, 48, 44, 40) and field.dtype == np.float32
    near = blob(fixed) > 0.5
    assert np.allclose(field[:, near].mean(axis=1), 2 * shift, atol=1.0)
    warped = rasters.warp(blob(fixed + shift), field)
    assert np.abs(warped - blob(fixed)).mean() < 0.25 * np.abs(blob(fixed + shift) - blob(fixed)).mean()
