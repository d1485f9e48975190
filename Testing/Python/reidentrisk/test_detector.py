"""The face detector: its decoding on made outputs, and the network itself on pictures of a real head."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.reidentrisk.pictures import demo_face
from RefaceLib.common.errors import InputError
from ReidentRiskLib.attack.detector import Detector, decode, letterbox, load_detector, non_maximum_suppression


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector()


def outputs(columns: int, rows: int) -> dict[str, np.ndarray]:
    """What the network gives where there is no face; `columns` and `rows` of anchors at stride 8."""
    made = {}
    for stride in (8, 16, 32):
        count = columns * 8 // stride * (rows * 8 // stride)
        for kind, length in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            made[f"{kind}_{stride}"] = np.zeros((1, count, length), np.float32)
    return made


def test_a_face_is_decoded_from_its_anchor():
    made = outputs(columns=16, rows=8)
    anchor = 3 * 8 + 5  # row 3, column 5 of the 8 columns at stride 16
    made["cls_16"][0, anchor], made["obj_16"][0, anchor] = 0.9, 0.4
    made["bbox_16"][0, anchor] = [0.5, 0.25, np.log(2.0), np.log(3.0)]
    made["kps_16"][0, anchor] = [-0.5, -1, 0.5, -1, 0, 0, -0.25, 1, 0.25, 1]
    scores, boxes, points = decode(made, 16, 0.5)
    assert scores == pytest.approx([0.6])
    middle = np.array([5.5, 3.25]) * 16
    assert boxes[0] == pytest.approx([*(middle - [16, 24]), *(middle + [16, 24])])
    assert points[0] == pytest.approx(16 * np.array([[4.5, 2], [5.5, 2], [5, 3], [4.75, 4], [5.25, 4]]))


def test_scores_beyond_one_are_cut_and_low_ones_left_out():
    made = outputs(8, 8)
    made["cls_8"][0, 7], made["obj_8"][0, 7] = 1.5, 0.81
    made["cls_32"][0, 0], made["obj_32"][0, 0] = 0.3, 0.3
    scores, boxes, points = decode(made, 8, 0.6)
    assert scores == pytest.approx([0.9]) and boxes.shape == (1, 4) and points.shape == (1, 5, 2)


def test_one_box_a_face_is_kept():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 0, 30, 10], [0, 0, 10, 10.5]], float)
    assert non_maximum_suppression(boxes, np.array([0.7, 0.9, 0.8, 0.6])).tolist() == [1, 2]
    assert non_maximum_suppression(np.zeros((0, 4)), np.zeros(0)).tolist() == []


@pytest.mark.parametrize("shape, expected", [((224, 224), (320, 320)), ((100, 50), (320, 160)), ((30, 300), (32, 320))])
def test_a_picture_enters_in_full(shape, expected):
    picture, scale = letterbox(np.full((*shape, 3), 200, np.uint8), 320)
    assert picture.shape == (*expected, 3)
    assert scale == 320 / max(shape)
    filled = (picture == 200).all(axis=2)
    assert filled.sum() == np.prod(np.rint(np.array(shape) * scale))


def test_a_picture_is_averaged_when_it_becomes_smaller():
    y, x = np.mgrid[:960, :960]
    checked = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    picture, _ = letterbox(checked, 320)
    assert np.abs(picture[4:-4, 4:-4] - 127.5).max() < 16


def test_blue_enters_first():
    class Session:
        def run(self, names, feed):
            self.seen = feed["input"]
            return [outputs(40, 40)[name] for name in names]

    session = Session()
    assert Detector("fake", "", session).detect(np.full((320, 320, 3), [10, 20, 30], np.uint8)) is None
    assert session.seen.dtype == np.float32 and session.seen.shape == (1, 3, 320, 320)
    assert session.seen[0, :, 5, 5].tolist() == [30, 20, 10]


def test_a_grey_picture_of_one_channel_is_what_three_would_be(detector):
    picture = demo_face()[0][0]
    one, three = detector.detect(picture[..., :1]), detector.detect(picture)
    assert one.score == three.score and np.array_equal(one.points, three.points)


def test_the_points_of_a_real_face_are_found_in_the_order_of_the_template(detector):
    pictures, points = demo_face()
    for picture, expected in zip(pictures, points, strict=True):
        found = detector.detect(picture)
        assert found.score > 0.8
        assert np.linalg.norm(found.points - expected, axis=1).max() < 16  # the eyes are 48 apart
        swapped = found.points[[1, 0, 2, 4, 3]]
        assert np.linalg.norm(swapped - expected, axis=1).max() > 30
        left, top, right, bottom = found.box
        assert (found.points > [left, top]).all() and (found.points < [right, bottom]).all()


def test_a_mirrored_face_begins_with_the_eye_on_the_left_too(detector):
    picture = demo_face()[0][0]
    here, there = detector.detect(picture), detector.detect(np.ascontiguousarray(picture[:, ::-1]))
    mirrored = there.points[[1, 0, 2, 4, 3]] * [-1, 1] + [picture.shape[1] - 1, 0]
    assert np.linalg.norm(mirrored - here.points, axis=1).max() < 14  # the light comes from one side


def test_a_face_is_found_where_it_lies_in_a_larger_picture(detector):
    face = demo_face()[0][0]
    wide = np.zeros((400, 800, 3), np.uint8)
    wide[100:324, 50:274] = face
    alone, found = detector.detect(face), detector.detect(wide, size=640)
    assert np.abs(found.points - alone.points - [50, 100]).max() < 8
    assert np.abs(found.box - alone.box - [50, 100, 50, 100]).max() < 20


def test_all_faces_are_found_and_the_best_one_comes_first(detector):
    pictures, _ = demo_face()
    found = detector.detect_all(np.hstack([pictures[1], pictures[2]]))
    assert len(found) == 2 and found[0].score >= found[1].score
    assert sorted(int(face.points[2, 0] > 224) for face in found) == [0, 1]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_there_is_no_face_in_an_empty_picture(detector, value):
    assert detector.detect(np.full((224, 224, 3), value, np.uint8)) is None


def test_there_is_no_face_in_noise(detector):
    assert detector.detect(np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)) is None


def test_the_same_picture_gives_the_same_bits(detector):
    picture = demo_face()[0][0]
    one, two = detector.detect(picture), detector.detect(picture)
    assert one.score == two.score and np.array_equal(one.points, two.points)


@pytest.mark.parametrize("picture", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 3))], ids=["grey", "float"])
def test_what_is_no_picture_is_refused(detector, picture):
    with pytest.raises(InputError, match="picture"):
        detector.detect(picture)
