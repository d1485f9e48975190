"""The pose of a head and its five points: found on the skin, in their order, and wrong ones refused."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.phantom import LANDMARKS, make_phantom
from RefaceLib.common.errors import InputError
from RefaceLib.head import canonical
from RefaceLib.skin.surface import face_surface, vertices
from RefaceLib.volume.geometry import apply_affine
from ReidentRiskLib.attack import align, landmarks
from ReidentRiskLib.attack.landmarks import FIVE, SKIN_POINTS, check_points, find_pose, pose_from_points
from ReidentRiskLib.attack.render import project
from ReidentRiskLib.attack.sights import look
from ReidentRiskLib.attack.views import View

FRONT = View("front", 0, 0, "front")
MIRRORED = [1, 0, 2, 4, 3]


def similarity(seed: int, degrees: float = 15.0) -> np.ndarray:
    """A frame (4, 4): turned by up to so many degrees about each axis, scaled, moved far away."""
    random = np.random.default_rng(seed)
    turn = np.eye(3)
    for i, j in ((0, 1), (1, 2), (0, 2)):
        angle = np.radians(random.uniform(-degrees, degrees))
        about = np.eye(3)
        about[[i, j], [i, j]] = np.cos(angle)
        about[i, j], about[j, i] = -np.sin(angle), np.sin(angle)
        turn = turn @ about
    frame = np.eye(4)
    frame[:3, :3] = random.uniform(0.85, 1.15) * turn
    frame[:3, 3] = random.uniform(-60, 60, 3)
    return frame


def parsed(frame: np.ndarray | None = None, **changed: tuple[np.ndarray, float]) -> SimpleNamespace:
    """The parse of the phantom, moved by ``frame``; ``changed``: points and certainties by name."""
    points = np.vstack([[LANDMARKS[name] for name in canonical.FACE_LANDMARKS], canonical.BRAIN_POINTS])
    certainty = np.full(len(points), 0.9)
    for name, (point, sure) in changed.items():
        index = canonical.LANDMARKS.index(name)
        points[index], certainty[index] = point, sure
    return SimpleNamespace(points=points if frame is None else apply_affine(frame, points), certainty=certainty)


@pytest.fixture(scope="module")
def surface():
    head = make_phantom((80, 100, 107), (2.4, 2.4, 2.4))
    return face_surface(head.values(), head.affine)


def of_phantom(name: str) -> np.ndarray:
    return np.array(LANDMARKS[name])


def test_the_points_lie_on_the_skin_before_those_of_the_parser(surface):
    pose = find_pose(parsed(), surface)
    away = np.linalg.norm(vertices(surface)[0][:, None] - pose.points, axis=2).min(axis=0)
    assert away.max() < 3
    assert np.allclose(pose.frame, np.eye(4), atol=1e-6)
    for name, point in zip(FIVE, pose.points, strict=True):
        assert np.abs((point - LANDMARKS[name])[[0, 2]]).max() < 1e-6
        assert 0 <= point[1] - LANDMARKS[name][1] + 2 < 22


def test_the_points_are_in_the_order_of_the_template(surface):
    pixels = project(find_pose(parsed(), surface).points, np.eye(4), FRONT)
    matrix = align.similarity(pixels, align.TEMPLATE)
    there = pixels @ matrix[:, :2].T + matrix[:, 2]
    assert np.linalg.norm(there - align.TEMPLATE, axis=1).max() < 6
    assert np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) == pytest.approx(0, abs=2)


def test_a_point_that_the_parser_is_not_sure_of_is_guessed_from_the_others(surface):
    pose = find_pose(parsed(nose_tip=(np.array([5.0, 140.0, 10.0]), 0.2)), surface)
    assert np.linalg.norm(pose.points[2] - LANDMARKS["nose_tip"]) < 12


def test_without_sure_points_of_the_face_the_mean_heads_are_taken(surface):
    unsure = {name: (of_phantom(name), 0.1) for name in canonical.FACE_LANDMARKS}
    pose = find_pose(parsed(**unsure), surface)
    assert np.abs((pose.points - SKIN_POINTS)[:, [0, 2]]).max() < 1e-6


def test_points_that_make_no_face_give_way_to_the_mean_heads(surface):
    wrong = {name: (of_phantom(name) * [-1, 1, 1], 0.9) for name in canonical.FACE_LANDMARKS}
    pose = find_pose(parsed(**wrong), surface)
    assert np.abs((pose.points - SKIN_POINTS)[:, [0, 2]]).max() < 1e-6


# ---- with a detector of faces ----


class Detector:
    """Stands in for YuNet: it is called for nine views, each followed by its mirror image, and knows the truth."""

    def __init__(self, truth: np.ndarray, noise: float = 0.0, finds: int = 18) -> None:
        views = [View("", yaw, 0, "front") for yaw in (-15, 0, 15) for _ in range(3)]
        random = np.random.default_rng(0)
        self.answers = []
        for view in views:
            pixels = project(truth, np.eye(4), view) + noise * random.standard_normal((5, 2))
            self.answers += [pixels, [223, 0] + pixels[MIRRORED] * [-1, 1]]
        self.finds, self.calls = finds, 0

    def detect(self, image: np.ndarray) -> SimpleNamespace | None:
        self.calls += 1
        return SimpleNamespace(points=self.answers[self.calls - 1]) if self.calls <= self.finds else None


def on_skin(surface, shift: np.ndarray) -> np.ndarray:
    """The phantom's five points moved by ``shift`` and brought onto its skin."""
    moved = {name: (of_phantom(name) + shift, 0.9) for name in FIVE}
    return find_pose(parsed(**moved), surface).points


def test_what_a_detector_finds_takes_the_place_of_the_parsers_points(surface):
    truth = on_skin(surface, np.array([3.0, 0.0, 5.0]))
    pose = find_pose(parsed(), surface, look(surface, np.eye(4), Detector(truth, noise=1.0)).views)
    assert np.linalg.norm(pose.points - truth, axis=1).max() < 3


@pytest.mark.parametrize(
    "shift, noise, finds",
    [((0, 0, 40), 0.0, 18), ((3, 0, 5), 25.0, 18), ((3, 0, 5), 0.0, 4), ((3, 0, 5), 0.0, 0)],
    ids=["elsewhere", "scattered", "seldom", "never"],
)
def test_a_detector_that_invents_is_not_believed(surface, shift, noise, finds):
    truth = on_skin(surface, np.zeros(3)) + shift
    pose = find_pose(parsed(), surface, look(surface, np.eye(4), Detector(truth, noise, finds)).views)
    assert np.allclose(pose.points, find_pose(parsed(), surface).points)


# ---- points that the user gives ----


@pytest.fixture(params=range(4))
def frame(request) -> np.ndarray:
    return similarity(request.param)


@pytest.fixture(params=[True, False], ids=["parsed head", "points alone"])
def known(request, frame) -> np.ndarray | None:
    """What is known of the frame when points are checked."""
    return frame if request.param else None


def marked(frame: np.ndarray, seed: int = 0) -> np.ndarray:
    """Five points (5, 3) RAS mm as a user would mark them."""
    return apply_affine(frame, SKIN_POINTS + np.random.default_rng(seed).normal(0, 3, (5, 3)))


def test_good_points_pass_and_make_a_pose(frame, known):
    points = marked(frame)
    pose = pose_from_points(points, known)
    assert np.array_equal(pose.points, points)
    tolerance = 0 if known is not None else 12  # mm at the face; the points alone are five, and marked by hand
    assert np.abs(apply_affine(pose.frame, SKIN_POINTS) - apply_affine(frame, SKIN_POINTS)).max() <= tolerance


def test_exchanged_sides_are_caught(frame, known):
    with pytest.raises(InputError, match="exchanged"):
        check_points(marked(frame)[MIRRORED], known)


def test_lps_is_caught(frame, known):
    with pytest.raises(InputError, match="LPS"):
        check_points(marked(frame) * [-1, -1, 1], known)


@pytest.mark.parametrize("order", [[3, 4, 2, 0, 1], [0, 1, 3, 2, 4], [2, 0, 1, 3, 4], [1, 0, 2, 3, 4], [0, 1, 2, 4, 3]])
def test_another_order_is_caught(frame, known, order):
    with pytest.raises(InputError, match="order|exchanged"):
        check_points(marked(frame)[order], known)


def test_points_of_another_space_are_caught(frame):
    with pytest.raises(InputError, match="not on this head"):
        check_points(marked(frame) + [0, 0, 120], frame)


@pytest.mark.parametrize(
    "points",
    [np.zeros((5, 3)), np.full((5, 3), np.nan), np.zeros((4, 3)), np.zeros((5, 2)), 0.3 * SKIN_POINTS],
    ids=["one place", "not finite", "four", "flat", "tiny"],
)
@pytest.mark.parametrize("frame", [None, np.eye(4)], ids=["points alone", "parsed head"])
def test_what_is_no_face_is_refused(points, frame):
    with pytest.raises(InputError):
        check_points(points, frame)


def test_the_names_are_the_subjects_sides():
    assert SKIN_POINTS[FIVE.index("right_eye"), 0] > 0 > SKIN_POINTS[FIVE.index("left_eye"), 0]  # x: to the right
    assert SKIN_POINTS[FIVE.index("right_mouth"), 0] > 0 > SKIN_POINTS[FIVE.index("left_mouth"), 0]
    assert landmarks.FIVE[2] == "nose_tip"
