"""The figures of the study are right, on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.reidentrisk.faces import directions
from refacestudy import goals, morphometry, oracle, people, realism, risk, stats, summary
from refacestudy.faces import Face
from ReidentRiskLib.attack.heads import HeadEmbedding

SEED = 11


def face(name: str, rows: np.ndarray, skin: np.ndarray | None = None) -> Face:
    embedding = HeadEmbedding(name, "arcface", "standard", rows.astype(np.float32), rows.astype(np.float32))
    return Face(embedding, np.eye(4), np.zeros((5, 3)), np.zeros((0, 3)) if skin is None else skin)


# ---- statistics ----


def test_the_frechet_distance_of_normal_clouds_is_that_of_the_closed_form():
    random = np.random.default_rng(SEED)
    first, second = np.array([1.0, 2.0, 0.5]), np.array([2.0, 1.0, 0.5])  # standard deviations
    one = random.standard_normal((200_000, 3)) * first
    other = random.standard_normal((200_000, 3)) * second + [3.0, 0.0, 0.0]
    assert stats.frechet(one, other) == pytest.approx(9.0 + ((first - second) ** 2).sum(), rel=0.02)


def test_the_frechet_distance_is_zero_for_one_cloud_and_does_not_depend_on_the_axes():
    random = np.random.default_rng(SEED)
    one, other = random.standard_normal((500, 4)), random.standard_normal((400, 4)) @ np.diag([1, 2, 3, 4]) + 1
    turn = np.linalg.qr(random.standard_normal((4, 4)))[0]
    assert stats.frechet(one, one) == pytest.approx(0.0, abs=1e-9)
    assert stats.frechet(one @ turn, other @ turn) == pytest.approx(stats.frechet(one, other))
    assert np.isnan(stats.frechet(one, other[:1]))


def test_a_paired_interval_is_that_of_the_t_distribution():
    found = stats.paired([1.0, 2.0, 3.0, 4.0, 5.0, None, float("nan")])
    half = 2.7764451 * np.sqrt(2.5 / 5)  # t of 0.975 with four degrees of freedom
    assert (found.n, found.value) == (5, 3.0)
    assert (found.low, found.high) == (pytest.approx(3 - half), pytest.approx(3 + half))
    assert found.effect == pytest.approx(3 / np.sqrt(2.5))
    assert found.p == pytest.approx(2 / 2**5)  # all of five differences are of one sign


def test_a_paired_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(SEED)
    hits = [abs(found.value - 0.3) <= found.high - found.value for found in
            (stats.paired(random.normal(0.3, 1.0, 12)) for _ in range(400))]  # fmt: skip
    assert 0.92 < np.mean(hits) < 0.98


def test_nothing_to_sum_up_gives_no_number_and_no_error():
    assert np.isnan(stats.mean([]).value) and stats.mean([None]).n == 0
    assert np.isnan(stats.paired([2.0]).low) and stats.paired([2.0]).value == 2.0
    assert np.isnan(stats.median([float("nan")]))


# ---- morphometry ----


def test_volume_change_and_dice_are_those_of_the_voxels_that_were_moved():
    before = np.zeros((10, 10, 10), np.uint8)
    before[2:8, 2:8, 2:8] = 1
    before[4:8, 2:8, 2:8] = 2
    before[6:8, 2:8, 2:8] = 3
    after = before.copy()
    after[6, 2:8, 2:8] = 2  # half of the white matter becomes grey matter
    known = {"errors": {}, "seconds": {}, "brain_outside_box": 0, "spacing": np.array([2.0, 2.0, 2.0])}
    first, now = ({**known, "brain": labels > 0, "hmrf": labels} for labels in (before, after))
    row = morphometry.compared(now, first)
    assert row["brain_change"] == 0.0 and row["brain_dice"] == 1.0
    assert row["hmrf_wm_change"] == pytest.approx(-50.0) and row["hmrf_gm_change"] == pytest.approx(50.0)
    assert row["hmrf_wm_dice"] == pytest.approx(2 * 36 / (36 + 72))
    assert row["hmrf_csf_ml"] == pytest.approx(72 * 8 / 1000)
    assert "atropos_gm_change" not in row


def test_the_box_of_a_brain_has_a_margin_in_millimetres_and_stays_in_the_volume():
    mask = np.zeros((40, 40, 40), bool)
    mask[10:20, 15:25, 20:39] = True
    assert morphometry.box_around(mask, np.array([3.0, 3.0, 3.0])) == [[5, 25], [10, 30], [15, 40]]


def test_brain_voxels_that_changed_are_counted_in_the_brain_only():
    before = np.full((8, 8, 8), 100.0, np.float32)
    after = before.copy()
    after[0] = 0.0  # outside the box
    after[4, 4, 4] = 50.0
    after[5, 5, 5] *= np.float32(1.0000001)
    brain = np.zeros((6, 8, 8), bool)
    brain[2:4, 3:5, 3:5] = True  # eight voxels, (4, 4, 4) among them
    stored = {"box": np.array([[2, 8], [0, 8], [0, 8]]), "brain": brain}
    assert realism.brain_changed(after, before, stored) == pytest.approx(1 / 8)


# ---- people ----


def test_the_most_alike_are_of_the_same_sex_and_nearest_in_age_and_size():
    def person(name, age, sex):
        return people.Person(name, None, age=age, sex=sex)

    me = person("me", 40.0, "F")
    others = [me, person("he", 40.0, "M"), person("near", 42.0, "F"), person("old", 70.0, "F"),
              person("unknown", None, None), person("large", 41.0, "F"), person("unseen", 40.0, "F")]  # fmt: skip
    sizes = {"me": 1.0, "he": 1.0, "near": 1.0, "old": 1.0, "unknown": 1.0, "large": 1.2}
    assert people.most_alike(me, others, sizes, 3) == ["near", "unknown", "old"]
    assert people.most_alike(person("nobody", 1.0, "F"), others, sizes, 3) == []


# ---- risk and leakage ----


def test_a_face_that_is_its_subjects_is_found_and_one_that_is_a_donors_is_not_counted_as_a_miss():
    random = np.random.default_rng(SEED)
    centres = directions(random, 4, 32)
    gallery = {name: face(name, np.repeat(centres[i : i + 1], 3, 0)) for i, name in enumerate("abcd")}
    found = risk.look_up(gallery, gallery, "forced")
    assert found.rank1.hits == 4 and found.own == pytest.approx(1.0) and found.chance == 0.25
    mixed = {"a": face("a", np.repeat(0.6 * centres[:1] + 0.8 * centres[1:2], 3, 0))}  # b's face on a's head
    assert risk.look_up(gallery, mixed, "forced").ranks[0] == 2
    assert risk.look_up(gallery, mixed, "forced", {"a": "b"}).ranks[0] == 1


def test_the_distance_of_faces_does_not_depend_on_where_they_are():
    random = np.random.default_rng(SEED)
    x, y = random.uniform(-40, 40, (2, 3000))
    target = np.stack([x, 60 - 0.01 * x**2 + 5 * np.exp(-(x**2 + y**2) / 200), y], axis=1)
    c, s = np.cos(0.05), np.sin(0.05)
    moved = target[::2] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]).T + [2.0, -3.0, 1.0]
    flat = target[::2].copy()
    flat[:, 1] -= 5 * np.exp(-(flat[:, 0] ** 2 + flat[:, 2] ** 2) / 200)  # another nose
    assert risk.face_distance(moved, target) < 0.35
    assert risk.face_distance(flat, target) > risk.face_distance(moved, target) + 0.2
    assert np.isnan(risk.face_distance(np.zeros((3, 3)), target))


def test_leakage_compares_the_own_subject_with_matched_others():
    random = np.random.default_rng(SEED)
    centres = directions(random, 6, 32)
    gallery = {name: face(name, np.repeat(centres[i : i + 1], 2, 0)) for i, name in enumerate("abcdef")}
    lookup = risk.look_up(gallery, {name: gallery[name] for name in "abc"}, "forced")
    alike = {name: [other for other in "abcdef" if other != name] for name in "abc"}
    leak = risk.leak(gallery, lookup, {}, alike)
    assert leak.own_similarity == pytest.approx([1.0] * 3)
    assert leak.similarity().n == 3 and leak.similarity().low > 0.5
    assert leak.against(leak)[0].value == 0.0
    assert np.isnan(leak.distance().value)


def test_seeds_of_one_subject_are_compared_with_strangers_across_the_seeds():
    random = np.random.default_rng(SEED)
    one, other = directions(random, 8, 64), directions(random, 8, 64)
    faces_of = lambda rows: {name: face(name, rows[i : i + 1]) for i, name in enumerate("abcdefgh")}  # noqa: E731
    strangers = stats.paired(list(risk.same_less_strangers([faces_of(one), faces_of(other)]).values()))
    assert strangers.n == 8 and strangers.low < 0 < strangers.high
    same = risk.same_less_strangers([faces_of(one), faces_of(one)])
    assert list(same) == list("abcdefgh") and min(same.values()) > 0.5
    assert risk.same_less_strangers([{}, {}]) == {} and risk.same_less_strangers([faces_of(one)]) == {}


def test_all_pairs_of_seeds_count():
    random = np.random.default_rng(SEED)
    one, other = directions(random, 8, 64), directions(random, 8, 64)
    faces_of = lambda rows: {name: face(name, rows[i : i + 1]) for i, name in enumerate("abcdefgh")}  # noqa: E731
    alike, apart = faces_of(one), faces_of(other)
    third = risk.same_less_strangers([alike, alike, apart])
    pairs = [risk.same_less_strangers(pair) for pair in ([alike, alike], [alike, apart], [alike, apart])]
    assert third == pytest.approx({name: np.mean([pair[name] for pair in pairs]) for name in "abcdefgh"})
    assert risk.same_less_strangers([alike, alike, {}]) == pytest.approx(pairs[0])  # a seed that nobody has


# ---- oracle and patches ----


def test_the_oracles_bend_brings_the_skin_of_the_donor_to_the_skin_that_is_seen():
    index = np.indices((40, 40, 40)) - 19.5
    radius = np.sqrt((index**2).sum(axis=0)) * oracle.SPACING
    own, other = (np.clip(size - radius, -oracle.CLIP, oracle.CLIP) for size in (30.0, 26.0))
    hidden = index[1] > 8
    field = oracle.bend_to_meet(own, other, hidden)
    seen = (np.abs(own) < 2) & (index[1] > 2) & ~hidden
    towards_the_middle = -(field * index).sum(axis=0) / np.sqrt((index**2).sum(axis=0))
    assert towards_the_middle[seen].mean() == pytest.approx(4.0, abs=0.8)
    assert np.abs(field[:, :, 39]).max() <= oracle.LONGEST


def test_patches_lie_at_the_skin_and_know_bright_from_dark():
    shape = (96, 88, 88)
    values = np.zeros(shape, np.float32)
    values[:, :60] = 1.0
    mask = np.zeros(shape, bool)
    mask[20:80, 40:80, 20:70] = True
    box = oracle.canonical.box(2.0)
    found = realism.patches(values, values > 0.5, mask, box.affine, np.eye(4))
    brighter = realism.patches(2 * values, values > 0.5, mask, box.affine, np.eye(4))
    assert found.shape == (realism.PATCHES, len(realism.FEATURES))
    assert (found[:, realism.FEATURES.index("air")] > 0).all()
    assert brighter[:, 0] == pytest.approx(2 * found[:, 0])
    assert realism.patches(values, values > 0.5, mask & False, box.affine, np.eye(4)).shape[0] == 0


# ---- goals ----


def test_goals_are_judged_by_the_figures_and_not_judged_without():
    rows = [
        {"method": "reface", "brain_change": 0.02, "rank1_forced": 0.3, "rank1_forced_low": 0.1, "cosine_forced": 0.4,
         "accepted": 0.9, "pair_cosine": 0.5, "mm_less_oracle": -0.2, "mm_less_oracle_low": -0.3,
         "mm_less_oracle_high": -0.1},
        {"method": "average_face", "brain_change": 0.04, "cosine_forced": 0.35},
        {"method": "oracle", "rank1_forced": 0.2, "rank1_forced_high": 0.4, "cosine_forced": 0.38},
        {"method": "original", "accepted": 1.0, "pair_cosine": 0.4},
    ]  # fmt: skip
    less_average, less_strangers = {"a": -0.05, "b": 0.03, "c": -0.01}, {"a": 0.05, "b": 0.06, "c": 0.07}
    found = goals.judge(
        rows, goals.Seeds(np.array([0.4]), np.array([0.6]), {}, {}, less_average, less_strangers), ("hmrf",)
    )
    held = {goal.sentence.split(",")[0].split(" (")[0]: goal.holds for goal in found}
    assert held["reface"] is True  # the brain
    assert held["rank-1 not above the oracle's"] is True
    assert held["cosine to the own original at most the oracle's plus 0.03"] is True
    assert held["cosine to the own original below the average face's"] is False
    assert held["mean cosine of all seeds to the own original below the average face's"] is True  # by a hundredth
    assert held["mean cosine of all seeds to the own original not above that of strangers' faces in the head"] is False
    assert held["surface no nearer to the own face than the oracle's"] is False
    assert held["surface no nearer to the own face than the average face's"] is None
    assert held["detector accepts at least 95% of what it accepts of originals"] is False
    assert held["two seeds of one subject"] is True


@pytest.mark.parametrize(("more", "holds"), [(0.0, True), (-0.03, True), (0.03, False), (None, None)])
def test_two_seeds_are_judged_beside_real_faces_in_one_head(more, holds):
    """More alike than strangers by as much as real faces are in the head: that is the head, which stays."""
    names = [f"{i}" for i in range(20)]
    real = dict(zip(names, np.random.default_rng(SEED).normal(0.06, 0.01, 20), strict=True))
    ours = {} if more is None else {name: real[name] + more + 0.01 * (-1) ** int(name) for name in names}
    seeds = goals.Seeds(np.array([0.42]), np.zeros(0), ours, real, {}, {})
    held = {goal.sentence: goal.holds for goal in goals.judge([{"method": "reface", "pair_cosine": 0.38}], seeds, ())}
    assert next(value for key, value in held.items() if key.startswith("two seeds of one subject")) is False
    assert next(value for key, value in held.items() if key.startswith("two seeds no more alike")) is holds
    assert (
        held["mean cosine of all seeds to the own original below the average face's (the difference)"] is None
    )  # nobody has both


def test_the_own_cosine_of_all_seeds_is_compared_with_that_of_other_faces_by_subject():
    """By the methods that were measured; subjects that lack one of them are left out."""
    cosines = {"a": (0.3, 0.5, 0.35, 0.45), "b": (0.4, None, 0.3, 0.3), "c": (0.2, 0.4, None, 0.1)}
    methods = ("reface", "reface_seed1", "average_face", "oracle_anybody")
    rows = [
        {"head": head, "method": method, **({} if cosine is None else {"cosine_forced": cosine})}
        for head, each in cosines.items()
        for method, cosine in zip(methods, each, strict=True)
    ]
    found = summary.Summary(None, rows)
    seeds = ("reface", "reface_seed1", "reface_seed2")
    assert found.own_less(seeds, ["average_face"]) == pytest.approx({"a": 0.05})
    assert found.own_less(seeds, ["oracle_anybody"]) == pytest.approx({"a": -0.05, "c": 0.2})
    assert found.own_less(seeds, ["average_face", "oracle_anybody"]) == pytest.approx({"a": 0.0})
    assert found.own_less(("reface_seed2",), ["average_face"]) == found.own_less(seeds, [""]) == {}
