"""Splits: disjoint, complete, stratified, seeded, and honest about what cannot be split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.data.splits import groups_of, leaked, split_places, stratified_part
from core.errors import TemperError

NAMES = ("fit", "calibration", "evaluation")
counts_of_classes = st.lists(st.integers(0, 400), min_size=2, max_size=12)


def labels(counts, seed=0):
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)).astype(np.int64)


def possible(counts):
    return sum(counts) >= 4 and sum(n > 0 for n in counts) > 1 and max(counts) > 1


@settings(max_examples=150, deadline=None)
@given(counts_of_classes, st.integers(0, 2**31))
def test_default_split_is_disjoint_complete_stratified_and_seeded(counts, seed):
    assume(possible(counts))
    y, n = labels(counts), sum(counts)
    places = split_places(y, None, seed, len(counts))
    assert tuple(places) == NAMES
    together = np.concatenate([places[name] for name in NAMES])
    assert np.array_equal(np.sort(together), np.arange(n)), "each example in exactly one part"
    assert all(places[name].dtype == np.int64 and (np.diff(places[name]) > 0).all() for name in NAMES)
    assert len(places["evaluation"]) >= len(places["calibration"]) > 0
    for name, share in (("calibration", min(n // 3, 5000) / n), ("evaluation", None)):
        if share is None:
            share = 1 - min(n // 3, 5000) / n - (int(0.2 * n) / n if n > 3000 else 0)
        for c, size in enumerate(counts):
            got = int((y[places[name]] == c).sum())
            if size == 1:
                assert got == (name == "evaluation"), "a class with one example is judged by"
            elif size:
                assert abs(got - size * share) <= 1 + 1e-9
    again = split_places(y.copy(), None, seed, len(counts))
    assert all(np.array_equal(places[name], again[name]) for name in NAMES)


def test_sizes_of_the_default_split():
    for n, sizes in {60_000: (12_000, 5_000), 10_000: (2_000, 3_333), 3_000: (0, 1_000), 4: (0, 1)}.items():
        places = split_places(labels([n // 2, n - n // 2]), None, 0, 2)
        assert (len(places["fit"]), len(places["calibration"])) == sizes


def test_another_seed_is_another_split():
    y = labels([50, 50])
    assert not np.array_equal(split_places(y, None, 0, 2)["evaluation"], split_places(y, None, 1, 2)["evaluation"])


@settings(max_examples=80, deadline=None)
@given(counts_of_classes, counts_of_classes, st.integers(0, 1000))
def test_calibration_is_taken_out_of_train_and_never_out_of_test(train, test, seed):
    assume(sum(train) > 0 and sum(test) > 0)
    y = np.concatenate([labels(train), labels(test)])
    assume(len(y) >= 4 and len(np.unique(y)) > 1)
    part = np.repeat(np.array([0, 2], np.int8), [sum(train), sum(test)])
    places = split_places(y, part, seed, 12)
    assert np.array_equal(places["evaluation"], np.flatnonzero(part == 2))
    assert 0 < len(places["calibration"]) == min(5000, sum(train), sum(test))
    assert np.array_equal(np.union1d(places["fit"], places["calibration"]), np.flatnonzero(part == 0))
    assert not np.intersect1d(places["fit"], places["calibration"]).size
    for c, size in enumerate(train):
        got = int((y[places["calibration"]] == c).sum())
        assert abs(got - size * len(places["calibration"]) / sum(train)) <= 1


def test_an_own_split_in_three_is_kept():
    y, part = labels([30, 30]), np.repeat(np.array([0, 1, 2], np.int8), 20)
    places = split_places(y, part, 3, 2)
    for code, name in enumerate(NAMES):
        assert np.array_equal(places[name], np.flatnonzero(part == code))


def test_train_and_validation_alone_divide_the_validation():
    y, part = labels([60, 60]), np.repeat(np.array([0, 1], np.int8), 60)
    places = split_places(y, part, 3, 2)
    assert np.array_equal(places["fit"], np.arange(60)), "what the model was trained on judges nothing"
    assert len(places["calibration"]) == 20
    assert len(places["evaluation"]) == 40


@pytest.mark.parametrize(
    ("y", "says"),
    [
        ([], "no examples"),
        ([0, 1, 1], "At least 4"),
        ([1, 1, 1, 1, 1], "needs two"),
        ([0, 1, 2, 3], "cannot be split"),
        ([0, 1, 1, 9], "between 0 and 3"),
        ([-1, 1, 1, 0], "between 0 and 3"),
    ],
)
def test_what_cannot_be_split_is_refused(y, says):
    with pytest.raises(TemperError, match=says):
        split_places(np.array(y, np.int64), None, 0, 4)


@settings(max_examples=80, deadline=None)
@given(counts_of_classes, st.integers(1, 500), st.integers(0, 99))
def test_a_part_keeps_proportions_and_every_class_that_fits(counts, keep, seed):
    assume(sum(counts))
    y = labels(counts)
    part = stratified_part(y, keep, seed)
    assert len(part) == min(keep, len(y)) == len(np.unique(part))
    if keep >= sum(n > 0 for n in counts):
        assert set(y[part]) == set(y)


def test_what_is_identical_across_parts_is_counted():
    x = np.array([[1, 2], [3, 4], [1, 2], [5, 6], [5, 6], [7, 8]], np.float32)
    groups = groups_of(x)
    assert groups[0] == groups[2] != groups[1]
    places = {"fit": np.array([0]), "calibration": np.array([1, 3]), "evaluation": np.array([2, 4, 5])}
    assert leaked(groups, places) == 2


@settings(max_examples=120, deadline=None)
@given(counts_of_classes, st.floats(0, 0.8), st.integers(0, 2**31))
def test_a_wished_share_to_train_on_is_disjoint_stratified_and_leaves_judges(counts, share, seed):
    assume(possible(counts) and sum(counts) >= 12 and int(share * sum(counts)))
    y, n = labels(counts), sum(counts)
    wanted, largest = int(share * n), sum(counts) - sum(c == 1 for c in counts)
    assume(wanted + n // 3 + len(counts) <= largest)  # nothing is short
    places = split_places(y, None, seed, len(counts), share)
    assert np.array_equal(np.sort(np.concatenate([places[name] for name in NAMES])), np.arange(n))
    calibration = min(n // 3, 5000, (n - wanted) // 2)
    assert len(places["evaluation"]) >= len(places["calibration"]) > 0
    for c, size in enumerate(counts):
        got = {name: int((y[places[name]] == c).sum()) for name in NAMES}
        if size > 1:
            assert abs(got["fit"] - size * wanted / n) <= 2
            assert abs(got["calibration"] - size * calibration / n) <= 1 + 1e-9
            assert got["evaluation"] >= 1
        assert size != 1 or got["evaluation"] == 1


def test_sizes_of_a_wished_share():
    for (n, share), sizes in {
        (24, 0.5): (12, 6), (40, 0.25): (10, 13), (1_000, 0): (0, 333), (60_000, 0): (0, 5_000),
        (10_000, 0.2): (2_000, 3_333), (1_000, 0.8): (800, 100),
    }.items():  # fmt: skip
        places = split_places(labels([n // 2, n - n // 2]), None, 0, 2, share)
        assert (len(places["fit"]), len(places["calibration"])) == sizes
    default, same = (split_places(labels([5_000, 5_000]), None, 3, 2, share) for share in (None, 0.2))
    assert all(np.array_equal(default[name], same[name]) for name in NAMES), "as where nobody asks"


def test_a_wished_share_of_an_own_split():
    y = labels([50, 50])
    train_test = np.repeat(np.array([0, 2], np.int8), [40, 60])
    assert not len(split_places(y, train_test, 0, 2)["fit"]), "all of it calibrates where nobody asks"
    places = split_places(y, train_test, 0, 2, 0.2)
    assert np.array_equal(np.union1d(places["fit"], places["calibration"]), np.arange(40))
    assert len(places["fit"]) == 20
    assert len(split_places(y, train_test, 0, 2, 0.7)["fit"]) == 26, "two thirds of the part at most"
    three = np.repeat(np.array([0, 1, 2], np.int8), [20, 30, 50])
    kept = split_places(y, three, 0, 2, 0.7)
    assert all(np.array_equal(kept[name], np.flatnonzero(three == code)) for code, name in enumerate(NAMES))


@pytest.mark.parametrize(
    ("counts", "part", "share", "says"),
    [
        ([10, 10], None, 0.9, "between 0 and 0.8; got 0.9"),
        ([10, 10], None, -0.1, "between 0 and 0.8"),
        ([10, 10], None, float("nan"), "between 0 and 0.8"),
        ([10, 10], None, 0.01, "less than one"),
        ([2, 1, 1], None, 0.25, "none is left to train on"),
        ([2, 2], None, 0.8, "cannot be split"),
        ([10, 10], [1, 2], 0.3, "nothing to train on"),
    ],
)
def test_a_share_that_cannot_be_is_a_sentence(counts, part, share, says):
    y = labels(counts)
    own = None if part is None else np.resize(np.array(part, np.int8), len(y))
    with pytest.raises(TemperError, match=says):
        split_places(y, own, 0, len(counts), share)
