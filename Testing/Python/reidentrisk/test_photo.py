"""Photographs as reference or probe; pictures of a real head stand in for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.reidentrisk.pictures import demo_face
from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.align import crop
from ReidentRiskLib.attack.detector import Detector, load_detector
from ReidentRiskLib.attack.embedder import Embedder, load_embedder
from ReidentRiskLib.attack.photo import embed_photo, find_face, read_photo
from ReidentRiskLib.attack.views import PHOTO


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector()


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder("sface")


def saved(picture: np.ndarray, path: Path, **options) -> Path:
    Image.fromarray(picture).save(path, **options)
    return path


def test_a_photograph_of_the_head_is_recognised(tmp_path, embedder, detector):
    pictures, points = demo_face()
    large = np.asarray(Image.fromarray(pictures[1]).resize((900, 900)))
    head = embed_photo(saved(large, tmp_path / "someone.jpg", quality=90), embedder, detector, keep_pictures=True)
    assert (head.name, head.model, head.views) == ("someone", "sface", PHOTO)
    assert head.aligned.shape == (1, embedder.size) and np.array_equal(head.aligned, head.detected)
    assert head.pictures.shape == (1, 224, 224, 3) and head.crops.shape == (1, 112, 112, 3)
    assert np.abs(head.pictures[0, 56:-56, 56:-56].astype(int) - head.crops[0]).mean() < 3
    assert (head.aligned @ embedder.embed(crop(pictures[0], points[0])[None])[0])[0] > 0.7


def test_points_spare_the_detector(tmp_path, embedder):
    pictures, points = demo_face()
    path = saved(pictures[0], tmp_path / "someone.png")
    head = embed_photo(path, embedder, points=points[0], name="known")
    assert (head.name, head.pictures, head.crops) == ("known", None, None)
    assert np.array_equal(head.aligned[0], embedder.embed(crop(pictures[0], points[0])[None])[0])
    with pytest.raises(InputError, match="detector"):
        embed_photo(path, embedder)


def test_a_photograph_is_turned_as_the_camera_was_held(tmp_path):
    picture = np.ascontiguousarray(demo_face()[0][0][:, :180])
    exif = Image.Exif()
    exif[0x0112] = 6  # the top of the scene is on the right of the file
    path = saved(np.ascontiguousarray(np.rot90(picture)), tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read_photo(path), picture)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGBA", "1", "CMYK", "I;16"])
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode):
    grey = demo_face()[0][0][..., 0]
    path = tmp_path / ("someone.jpg" if mode == "CMYK" else "someone.png")
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).convert(mode).save(path)
    picture = read_photo(path)
    assert picture.shape == (*grey.shape, 3) and picture.dtype == np.uint8
    tolerance = {"1": 60, "P": 12, "CMYK": 4}.get(mode, 0.5)  # black and white, few colours, lossy
    assert np.abs(picture.mean(axis=2) - grey).mean() < tolerance


def test_a_huge_photograph_is_reduced(tmp_path):
    path = saved(np.zeros((3000, 1500, 3), np.uint8), tmp_path / "large.png")
    assert read_photo(path).shape == (2048, 1024, 3)


def test_files_that_are_no_photograph_are_told(tmp_path):
    whole = saved(demo_face()[0][0], tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("half.png", "text.jpg", "empty.png", "missing.png"):
        with pytest.raises(InputError, match="PNG or JPEG") as caught:
            read_photo(tmp_path / name)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_a_photograph_without_a_face_is_told(detector):
    with pytest.raises(InputError, match="No face was found in holiday.jpg"):
        find_face(np.full((300, 400, 3), 90, np.uint8), detector, "holiday.jpg")


def test_two_persons_are_ambiguous_and_someone_far_behind_is_not(detector):
    pictures, _ = demo_face()
    with pytest.raises(InputError, match="several faces"):
        find_face(np.hstack([pictures[0], pictures[1]]), detector)
    small = np.asarray(Image.fromarray(pictures[1]).resize((90, 90)))
    scene = np.zeros((224, 330, 3), np.uint8)
    scene[:, :224], scene[60:150, 235:325] = pictures[0], small
    assert find_face(scene, detector).points[:, 0].max() < 224


def test_a_small_face_is_found(detector):
    scene = np.full((1600, 1600, 3), 60, np.uint8)
    scene[700:764, 900:964] = np.asarray(Image.fromarray(demo_face()[0][0]).resize((64, 64)))
    points = find_face(scene, detector).points
    assert (points > [900, 700]).all() and (points < [964, 764]).all()
