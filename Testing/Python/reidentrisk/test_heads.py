"""From a volume to embeddings: any orientation, defaced heads, users' points, and what is no head."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.realhead import EYES, NOSE_TIP, behind_a_plane, in_a_box, reoriented, tilted, without
from RefaceLib.common.errors import CancelledError, HeadNotFoundError, InputError
from RefaceLib.volume.io import Volume
from ReidentRiskLib.attack import align, landmarks, sights
from ReidentRiskLib.attack.embedder import load_embedder
from ReidentRiskLib.attack.heads import Head, embed_head, read_head
from ReidentRiskLib.attack.landmarks import check_points
from ReidentRiskLib.attack.models import cached, is_accepted
from ReidentRiskLib.attack.render import project, render_views
from ReidentRiskLib.attack.views import View, view_set

VIEWS = [View("front", 0, 0, "front"), View("left", 30, 10, "key_left"), View("right", -30, -10, "key_right")]


class Embedder:
    """Stands in for a recogniser: an embedding is the crop in 8 x 8 blocks, as a unit vector."""

    name = "blocks"

    def embed(self, crops: np.ndarray) -> np.ndarray:
        blocks = crops[..., 0].reshape(len(crops), 8, 14, 8, 14).mean(axis=(2, 4)).reshape(len(crops), 64)
        blocks = blocks - blocks.mean(axis=1, keepdims=True)
        return (blocks / np.linalg.norm(blocks, axis=1, keepdims=True)).astype(np.float32)


class Detector:
    """Stands in for YuNet: finds the same place in every picture but the first ``missed``."""

    def __init__(self, missed: int) -> None:
        self.missed, self.calls = missed, 0

    def detect(self, image: np.ndarray) -> SimpleNamespace | None:
        self.calls += 1
        points = [[85.0, 90], [140, 90], [112, 125], [92, 150], [133, 150]]
        return SimpleNamespace(points=np.array(points)) if self.calls > self.missed else None


@pytest.fixture(scope="module")
def head(small_head: Volume, models) -> Head:
    return read_head(small_head, models=models, name="demo")


@pytest.fixture(scope="module")
def embedding(head):
    return embed_head(head, Embedder(), "standard", Detector(missed=10), keep_pictures=True)


def drawn(head: Head) -> np.ndarray:
    return render_views(head.surface, head.pose.frame, VIEWS).astype(float)


def networks() -> list:
    """The recognisers whose weights are on this computer and may be used."""
    names = [name for name in ("arcface", "sface") if cached(name) and is_accepted(name)]
    return [load_embedder(name) for name in names]


def test_a_head_stored_in_another_orientation_looks_the_same(small_head, head, models):
    other = read_head(reoriented(small_head, "PIL"), models=models)
    assert np.abs(other.pose.points - head.pose.points).max() < 1.0  # mm
    assert np.abs(drawn(other) - drawn(head)).mean() < 0.5  # grey levels
    for network in [Embedder(), *networks()]:
        one, two = (embed_head(each, network, "frontal").aligned[0] for each in (head, other))
        assert one @ two > 0.99


def test_a_tilted_head_looks_almost_the_same(small_head, head, models):
    other = read_head(tilted(small_head, 12), models=models)
    assert np.abs(drawn(other) - drawn(head)).mean() < 12
    for network in networks():
        one, two = (embed_head(each, network, "frontal").aligned[0] for each in (head, other))
        assert one @ two > 0.9


def test_the_points_are_those_of_the_face(head):
    assert np.array_equal(check_points(head.pose.points, head.pose.frame), head.pose.points)
    marked = np.vstack([EYES[::-1], NOSE_TIP])  # the subject's right first
    seen, expected = (project(points, head.pose.frame, VIEWS[0]) for points in (head.pose.points[:3], marked))
    assert np.linalg.norm(seen - expected, axis=1).max() < 8  # pixels of about 1.2 mm


@pytest.mark.parametrize("removed", [in_a_box, behind_a_plane])
def test_a_defaced_head_is_looked_at_with_the_pose_of_the_original(small_head, head, removed):
    defaced = without(small_head, removed(small_head))
    found = read_head(defaced.values(), defaced.affine, landmarks_of=head)
    assert found.pose is head.pose
    assert np.abs(drawn(found) - drawn(head)).mean() > 2  # the face is gone, the rest is not
    original, altered = (embed_head(each, Embedder(), "frontal", landmarks_of=head).aligned for each in (head, found))
    assert np.isfinite(altered).all() and (original * altered).sum() < 0.95


def test_embedding_can_take_the_pose_of_another_head(head):
    aside = landmarks.Pose(head.pose.frame @ np.diag([1.1, 1.1, 1.1, 1.0]), head.pose.points)
    as_it_is = embed_head(head, Embedder(), "frontal")
    otherwise = embed_head(Head("other", head.surface, aside), Embedder(), "frontal", landmarks_of=head)
    assert np.array_equal(as_it_is.aligned, otherwise.aligned)


def test_a_head_elsewhere_is_not_the_originals(small_head, head):
    affine = small_head.affine.copy()
    affine[2, 3] += 40
    with pytest.raises(HeadNotFoundError, match="same space"):
        read_head(Volume(small_head.stored, affine), landmarks_of=head)


@pytest.mark.parametrize("known", [True, False], ids=["with the original", "alone"])
def test_points_of_the_user_replace_those_found(small_head, head, models, known):
    given = head.pose.points + [2.0, 0, 1.0]
    found = read_head(small_head, points=given, models=models, landmarks_of=head if known else None)
    assert np.array_equal(found.pose.points, given)
    assert np.allclose(found.pose.frame, head.pose.frame)


@pytest.mark.parametrize(
    "wrong", [lambda p: p[[1, 0, 2, 4, 3]], lambda p: p * [-1, -1, 1], lambda p: p[[2, 0, 1, 3, 4]]],
    ids=["sides", "LPS", "order"],
)  # fmt: skip
def test_wrong_points_of_the_user_are_refused(small_head, head, wrong):
    with pytest.raises(InputError, match="exchanged|LPS|order"):
        read_head(small_head, points=wrong(head.pose.points), landmarks_of=head)


def noise(shape: tuple[int, int, int]) -> np.ndarray:
    """A volume in which the parser may see a head, because its contrast is even everywhere."""
    return np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)


@pytest.mark.parametrize(
    "values, error",
    [(noise((80, 80, 80)), HeadNotFoundError), (np.zeros((40, 40, 40)), InputError), (np.zeros((9, 9)), InputError)],
    ids=["noise", "nothing", "2D"],
)
def test_a_volume_without_a_head_is_refused(values, error, models):
    with pytest.raises(error):
        read_head(values, np.diag([2.0, 2, 2, 1]), models=models)


def test_an_array_needs_an_affine(models):
    with pytest.raises(InputError, match="affine"):
        read_head(noise((20, 20, 20)), models=models)


def test_a_volume_without_a_head_is_no_version_of_the_original(small_head, head):
    with pytest.raises(HeadNotFoundError):
        read_head(noise((60, 60, 60)), small_head.affine, landmarks_of=head)


def test_the_name_is_that_of_the_file(small_head, head, tmp_path):
    import nibabel

    path = tmp_path / "sub-01_T1w.nii.gz"
    nibabel.save(nibabel.Nifti1Image(small_head.stored, small_head.affine), path)
    assert read_head(path, landmarks_of=head).name == "sub-01_T1w"
    assert read_head(path, landmarks_of=head, name="other").name == "other"


def test_each_view_has_an_embedding_of_both_attackers(embedding):
    views = view_set("standard")
    assert (embedding.name, embedding.model, embedding.views) == ("demo", "blocks", "standard")
    assert embedding.aligned.shape == embedding.detected.shape == (len(views), 64)
    assert np.allclose(np.linalg.norm(embedding.aligned, axis=1), 1, atol=1e-5)
    assert np.isnan(embedding.detected[:10]).all() and np.isfinite(embedding.detected[10:]).all()
    assert embedding.pictures.shape == (len(views), 224, 224, 3) and embedding.crops.shape == (len(views), 112, 112, 3)


def test_what_was_seen_of_a_head_is_neither_drawn_nor_searched_again(small_head, models, monkeypatch):
    detector, drawn_views = Detector(missed=0), []
    head = read_head(small_head, models=models, detector=detector)
    monkeypatch.setattr(sights, "render_views", lambda *given, **named: record(drawn_views, *given, **named))
    known, anew = (
        embed_head(each, Embedder(), "standard", detector, keep_pictures=True)
        for each in (head, Head("anew", head.surface, head.pose))
    )
    assert list(map(len, drawn_views)) == [36, 45]
    assert detector.calls == 18 + 36 + 45
    for name in ("pictures", "crops", "aligned", "detected"):
        assert np.array_equal(getattr(known, name), getattr(anew, name))


def record(views: list, surface, frame, chosen, **named) -> np.ndarray:
    views.append(chosen)
    return render_views(surface, frame, chosen, **named)


@pytest.mark.parametrize("views", ["frontal", "full"])
def test_what_was_seen_fits_every_set_of_views(small_head, models, views):
    head = read_head(small_head, models=models, detector=Detector(missed=0))
    known, anew = (
        embed_head(each, Embedder(), views, keep_pictures=True).pictures
        for each in (head, Head("anew", head.surface, head.pose))
    )
    assert np.array_equal(known, anew)


def test_another_detector_and_another_pose_look_for_themselves(small_head, models):
    head = read_head(small_head, models=models, detector=Detector(missed=0))
    other = Detector(missed=45)
    assert np.isnan(embed_head(head, Embedder(), "standard", other).detected).all() and other.calls == 45
    same = read_head(small_head, landmarks_of=head)
    assert same.pose is head.pose and same.sights is None


def test_without_a_detector_nothing_is_detected(head):
    found = embed_head(head, Embedder(), "frontal")
    assert np.isnan(found.detected).all() and np.isfinite(found.aligned).all()
    assert found.pictures is None and found.crops is None


def test_the_aligned_face_has_its_eyes_and_nose_where_recognisers_expect_them(head, embedding):
    for view, crop in zip(view_set("standard"), embedding.crops, strict=True):
        pixels = project(head.pose.points, head.pose.frame, view)
        matrix = align.similarity(pixels, align.TEMPLATE)
        there = pixels @ matrix[:, :2].T + matrix[:, 2]
        assert np.linalg.norm(there - align.TEMPLATE, axis=1).max() < 16  # turned by 30 degrees, it cannot fit well
        assert (crop > 0).mean() > 0.5


def test_progress_grows_and_a_cancel_stops(head):
    told = []
    embed_head(head, Embedder(), "frontal", Detector(0), progress=lambda fraction, text: told.append((fraction, text)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and all("demo" in text for _, text in told)
    with pytest.raises(CancelledError):
        embed_head(head, Embedder(), "standard", cancelled=lambda: True)
