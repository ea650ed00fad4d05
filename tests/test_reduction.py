"""One pass over the probabilities, against the registered metrics, torchmetrics, scikit-learn and plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, confusion_matrix, log_loss
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from core.blocks import by_blocks
from core.calibrators._fitted import softmax
from core.errors import TemperError
from core.metrics._bins import bin_of, edges
from core.metrics._reduction import CUT, MAX_BINS, reduce, reduce_logits
from core.registry import method

MEASURES = (
    "accuracy", "ece", "ece_equal_mass", "classwise_ece_sum", "classwise_ece_mean", "mce", "nll", "brier",
)  # fmt: skip
COUNTS = (1, 2, 10, 15, 37, MAX_BINS)


def drawn(n: int, classes: int, sharpness: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    p = softmax(generator.normal(size=(n, classes)) * sharpness)
    return p, np.array([generator.choice(classes, p=row) for row in p], np.int64)


def on_edges() -> tuple[np.ndarray, np.ndarray]:
    """Every probability is an edge of 10 bins and of 100, also the cut itself."""
    tenths = np.linspace(0, 1, 11)
    p = np.stack([tenths, 1 - tenths, np.zeros(11)], 1)
    fine = np.array([[CUT, 1 - CUT, 0], [np.nextafter(CUT, 1), 1 - CUT, 0], [np.nextafter(CUT, 0), 1 - CUT, 0]])
    return np.concatenate([p, fine]), np.arange(14) % 3


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    two, ten, thousand = drawn(300, 2, 1.5), drawn(2_000, 10, 2.0), drawn(40, 1_000, 4.0)
    one_hot = np.eye(7)[np.arange(50) % 7]
    absent = drawn(200, 5, 1.0)
    return {
        "two classes": two,
        "ten classes": ten,
        "more classes than rows": thousand,
        "more than a block": drawn(3_000, 200, 5.0),
        "ties": (np.tile([[0.4, 0.4, 0.2]], (9, 1)), np.arange(9) % 3),
        "one-hot": (one_hot, np.arange(50) % 5),
        "uniform": (np.full((60, 200), 1 / 200), np.arange(60)),
        "uniform above the cut": (np.full((60, 8), 1 / 8), np.arange(60) % 8),
        "on edges": on_edges(),
        "a class without examples": (absent[0], np.where(absent[1] == 3, 0, absent[1])),
        "one example": (np.array([[0.2, 0.5, 0.3]]), np.array([2])),
        "no example": (np.zeros((0, 3)), np.zeros(0, np.int64)),
    }


CASES = cases()


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request):
    return CASES[request.param]


def bounded(p: np.ndarray) -> float:
    """Rounding: each sum of N terms in another order is off by at most N eps of its size, means by N eps."""
    return max(1e-13, len(p) * np.finfo(float).eps)


def looped(values: np.ndarray, hits: np.ndarray, at: np.ndarray) -> tuple[list[int], list[float], list[float]]:
    """Count, sum of values and hits of bins (low, high], the first also with its low end."""
    found = []
    for place, (low, high) in enumerate(itertools.pairwise(at)):
        inside = (values > low) & (values <= high) | (place == 0) & (values <= low)
        found.append((int(inside.sum()), float(values[inside].sum()), float(hits[inside].sum())))
    return tuple(map(list, zip(*found, strict=True)))


def looped_error(values, hits, at) -> float:
    _, total, right = looped(values, hits, at)
    return float(np.abs(np.subtract(right, total)).sum()) / max(1, len(values))


def test_it_agrees_with_every_registered_metric(case):
    p, y = case
    found = reduce(p, y).measures()
    assert tuple(found) == MEASURES
    for name, value in found.items():
        one = method("metric", name).function
        from_cells = float(one.total(np.asarray(one.cells(p, y).sum(0), np.float64).reshape(-1)))
        assert value == pytest.approx(from_cells, rel=1e-12, abs=bounded(p)), name
        assert one.value(p, y) == pytest.approx(from_cells, rel=1e-12, abs=bounded(p)), name


def test_classwise_totals_are_those_of_the_cells(case):
    """Bin by bin: a sum over bins would hide an entry in the wrong one."""
    p, y = case
    cells = method("metric", "classwise_ece_sum").function.cells(p, y)
    expected = np.asarray(cells.sum(0)).reshape(-1)
    assert reduce(p, y).classwise_totals() == pytest.approx(expected, rel=1e-12, abs=len(p) * bounded(p))


@pytest.mark.parametrize("bins", COUNTS)
def test_any_bin_count_agrees_with_loops(case, bins):
    p, y = case
    found, at = reduce(p, y), np.linspace(0, 1, bins + 1)
    right = (p.argmax(1) == y).astype(float)
    assert found.ece(bins) == pytest.approx(looped_error(p.max(1), right, at), abs=bounded(p))
    mass = edges(p.max(1), bins, "mass")
    assert found.ece(bins, "mass") == pytest.approx(looped_error(p.max(1), right, mass), abs=bounded(p))
    count, total, hits = looped(p.max(1), right, at)
    gaps = [abs(h - t) / c for c, t, h in zip(count, total, hits, strict=True) if c]
    assert found.mce(bins) == pytest.approx(max(gaps, default=0), abs=bounded(p))
    some = range(p.shape[1]) if p.shape[1] < 50 else (0, 1, 17, p.shape[1] - 1)
    by_class = found.classwise_ece(bins)
    assert by_class.shape == p.shape[1:]
    for c in some:
        assert by_class[c] == pytest.approx(looped_error(p[:, c], y == c, at), abs=bounded(p))
        one = found.of_class(c, bins)
        count, total, hits = looped(p[:, c], y == c, at)
        assert one.count.tolist() == count
        assert one.confidence * one.count == pytest.approx(np.array(total), abs=len(p) * bounded(p))
        assert one.accuracy * one.count == pytest.approx(np.array(hits), abs=len(p) * bounded(p))
        assert one.ece == pytest.approx(by_class[c], abs=bounded(p))
        assert ((one.band_low <= one.accuracy + 1e-12) & (one.accuracy <= one.band_high + 1e-12))[one.count > 0].all()


@pytest.mark.parametrize("name", ["two classes", "ten classes", "more classes than rows", "a class without examples"])
@pytest.mark.parametrize("bins", [2, 15, 37])
def test_it_agrees_with_torchmetrics_and_scikit_learn(name, bins):
    p, y = CASES[name]
    found, classes = reduce(p, y), p.shape[1]
    given = torch.from_numpy(p), torch.from_numpy(y)
    # torchmetrics sums in float32.
    for norm, ours in (("l1", found.ece(bins)), ("max", found.mce(bins))):
        theirs = multiclass_calibration_error(*given, classes, n_bins=bins, norm=norm)
        assert ours == pytest.approx(float(theirs), abs=1e-5)
    for c in (0, classes - 1):
        theirs = binary_calibration_error(given[0][:, c], (given[1] == c).long(), n_bins=bins, norm="l1")
        assert found.classwise_ece(bins)[c] == pytest.approx(float(theirs), abs=1e-5)
    measures, every = found.measures(), list(range(classes))
    assert measures["nll"] == pytest.approx(log_loss(y, p, labels=every), rel=1e-12)
    brier = brier_score_loss(y, p if classes > 2 else p[:, 1], labels=every, scale_by_half=False)
    assert measures["brier"] == pytest.approx(brier, rel=1e-12)


@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.5, 0.9, 1.0])
def test_one_class_against_the_rest(case, threshold):
    p, y = case
    found = reduce(p, y)
    for c in {0, p.shape[1] - 1}:
        one = found.one_vs_rest(c, threshold)
        if len(y):  # scikit-learn wants one
            (tn, fp), (fn, tp) = confusion_matrix(y == c, p[:, c] >= threshold, labels=[False, True])
        else:
            tn = fp = fn = tp = 0
        assert (one.true_positives, one.false_positives) == (tp, fp)
        assert (one.false_negatives, one.true_negatives) == (fn, tn)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_logits_give_what_their_softmax_gives(kind):
    logits = (np.random.default_rng(3).normal(size=(3_000, 200)) * 6).astype(kind)
    labels = np.arange(3_000) % 200
    one, other = reduce_logits(logits, labels), reduce(softmax(logits), labels)
    assert one.measures() == pytest.approx(other.measures(), rel=1e-12)
    assert np.array_equal(one.columns, other.columns)
    assert one.values == pytest.approx(other.values, rel=1e-14)


def test_what_is_not_listed_lies_in_the_first_bin():
    """The reason why the list is enough, for every number of bins there may be."""
    values = np.array([0.0, np.nextafter(CUT, 0), CUT])
    for bins in range(1, MAX_BINS + 1):
        assert not bin_of(values, edges(values, bins, "width")).any()
    p, y = CASES["more than a block"]
    found = reduce(p, y)
    assert len(found.values) == (p > CUT).sum() < p.size / 10
    assert found.hits.sum() == (p[np.arange(len(y)), y] > CUT).sum()


@pytest.mark.parametrize(("values", "blocks"), [(10, 2_000), (370, 55), (19_990, 2), (20_000, 1)])
def test_given_arrays_are_left_alone_and_blocks_change_nothing(monkeypatch, values, blocks):
    """One row a block, an uneven rest, a rest of one row, and all at once."""
    p, y = CASES["ten classes"]
    before = p.copy()
    whole = reduce(p, y)
    assert np.array_equal(p, before)
    monkeypatch.setattr("core.blocks.BLOCK", values)
    assert len(by_blocks(lambda block: block, *p.shape)) == blocks
    pieces = reduce(p, y)
    assert np.array_equal(pieces.values, whole.values)
    assert np.array_equal(pieces.confidence, whole.confidence)
    assert pieces.measures() == pytest.approx(whole.measures(), rel=1e-12)


@pytest.mark.parametrize("bins", [0, -1, MAX_BINS + 1, 2.5])
@pytest.mark.parametrize("ask", ["ece", "mce", "classwise_ece", "gaps"])
def test_a_bin_count_out_of_range_is_a_sentence(ask, bins):
    with pytest.raises(TemperError, match=rf"whole number of bins from 1 to {MAX_BINS}; got {bins}\."):
        getattr(reduce(*CASES["ties"]), ask)(bins)
    with pytest.raises(TemperError, match="number of bins"):
        reduce(*CASES["ties"]).of_class(0, bins)


@pytest.mark.parametrize("threshold", [0.0, CUT, 1.01, float("nan")])
def test_a_threshold_out_of_range_is_a_sentence(threshold):
    with pytest.raises(TemperError, match=r"above 0\.01 and be at most 1"):
        reduce(*CASES["ties"]).one_vs_rest(0, threshold)


@pytest.mark.parametrize("column", [-1, 3])
def test_a_class_that_is_not_there_is_a_sentence(column):
    found = reduce(*CASES["ties"])
    for ask in (lambda: found.of_class(column), lambda: found.one_vs_rest(column, 0.5)):
        with pytest.raises(TemperError, match=f"from 0 to 2; got {column}"):
            ask()


@pytest.mark.parametrize(
    ("given", "labels", "words"),
    [
        (np.ones(3), np.zeros(3, int), "need"),
        (np.ones((3, 2)), np.zeros(2, int), "N labels"),
        (np.full((3, 2), 0.5), np.array([0, 1, 2]), "from 0 to 1; they run from 0 to 2"),
        (np.full((3, 2), np.nan), np.zeros(3, int), "finite"),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(given, labels, words):
    for call in (reduce, reduce_logits):
        with pytest.raises(TemperError, match=words):
            call(given, labels)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 60),
    classes=st.integers(2, 30),
    seed=st.integers(0, 10**6),
    sharpness=st.floats(0, 60),
    bins=st.integers(1, MAX_BINS),
)
def test_any_probabilities_at_any_bin_count(n, classes, seed, sharpness, bins):
    generator = np.random.default_rng(seed)
    p, y = softmax(generator.normal(size=(n, classes)) * sharpness), generator.integers(0, classes, n)
    found, at = reduce(p, y), np.linspace(0, 1, bins + 1)
    expected = [looped_error(p[:, c], y == c, at) for c in range(classes)]
    assert found.classwise_ece(bins) == pytest.approx(np.array(expected), abs=bounded(p))
    assert found.gaps(bins).sum() == pytest.approx(0, abs=n * bounded(p)), "both hits and probabilities sum to N"
