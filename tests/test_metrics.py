"""Metrics against scikit-learn, netcal, torchmetrics and plain loops, and their properties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from conftest import outcome
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from core.calibrators._fitted import softmax
from core.engine.statistics import resampled_sums
from core.metrics._reliability import reliability
from core.registry import method, methods

NAMES = [m.name for m in methods("metric", "multi-class")]


def measure(name):
    return method("metric", name).function


def made(n: int, classes: int, seed: int, sharpness: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, classes)) * sharpness
    labels = np.array([generator.choice(classes, p=p) for p in softmax(logits * 0.6)])
    return softmax(logits), labels


def looped_ece(probabilities, labels, edges) -> float:
    """Straight from the definition: bins (low, high], mean confidence, weight by count."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    total = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize(("n", "classes"), [(30, 2), (1_000, 10), (500, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(n, classes, seed):
    p, y = made(n, classes, seed)
    every = range(classes)
    assert measure("accuracy").value(p, y) == pytest.approx(accuracy_score(y, p.argmax(1)), abs=1e-12)
    assert measure("macro_f1").value(p, y) == pytest.approx(f1_score(y, p.argmax(1), average="macro"), abs=1e-12)
    assert measure("nll").value(p, y) == pytest.approx(log_loss(y, p, labels=list(every)), abs=1e-12)
    # Summed over classes; scikit-learn halves it for two classes unless told not to.
    expected = brier_score_loss(y, p if classes > 2 else p[:, 1], labels=list(every), scale_by_half=False)
    assert measure("brier").value(p, y) == pytest.approx(expected, abs=1e-12)


def test_macro_f1_leaves_out_classes_never_seen_like_scikit_learn():
    p = np.eye(4)[[0, 0, 1, 2, 1]] * 0.9 + 0.025
    y = np.array([0, 0, 1, 1, 0])
    assert measure("macro_f1").value(p, y) == pytest.approx(f1_score(y, p.argmax(1), average="macro"))


def test_infinite_surprise_is_clipped_like_scikit_learn():
    p, y = np.array([[1.0, 0.0], [0.3, 0.7]]), np.array([1, 1])
    assert measure("nll").value(p, y) == pytest.approx(log_loss(y, p, labels=[0, 1]), rel=1e-9)


@pytest.mark.parametrize(("n", "classes"), [(200, 2), (2_000, 10), (3_000, 100)])
def test_ece_equals_netcal_torchmetrics_and_a_loop(n, classes):
    from netcal import metrics as netcal  # here, because importing it takes seconds

    p, y = made(n, classes, seed=n)
    found = measure("ece").value(p, y)
    assert found == pytest.approx(looped_ece(p, y, np.linspace(0, 1, 16)), abs=1e-12)
    assert found == pytest.approx(netcal.ECE(15).measure(p.max(1), (p.argmax(1) == y).astype(int)), abs=1e-9)
    theirs = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(y), classes, n_bins=15, norm="l1")
    assert found == pytest.approx(float(theirs), abs=1e-6)  # torchmetrics computes in float32
    worst = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(y), classes, n_bins=15, norm="max")
    assert measure("mce").value(p, y) == pytest.approx(float(worst), abs=1e-6)


def test_equal_mass_bins_against_a_loop():
    p, y = made(1_500, 5, seed=4)
    edges = np.quantile(p.max(1), np.linspace(0, 1, 16))
    edges[0], edges[-1] = 0, 1
    assert measure("ece_equal_mass").value(p, y) == pytest.approx(looped_ece(p, y, edges), abs=1e-12)


def test_classwise_ece_against_a_loop():
    p, y = made(800, 4, seed=5)
    edges, per_class = np.linspace(0, 1, 16), []
    for c in range(4):
        total = 0.0
        for low, high in itertools.pairwise(edges):
            inside = (p[:, c] > low) & (p[:, c] <= high) | ((low == 0) & (p[:, c] == 0))
            if inside.any():
                total += inside.mean() * abs((y[inside] == c).mean() - p[inside, c].mean())
        per_class.append(total)
    assert measure("classwise_ece_sum").value(p, y) == pytest.approx(sum(per_class), abs=1e-12)
    assert measure("classwise_ece_mean").value(p, y) == pytest.approx(np.mean(per_class), abs=1e-12)


def test_bins_are_closed_on_the_right():
    """A confidence of exactly 0.6 is the ninth bin's (0.5333, 0.6]; 1.0 is the last one's."""
    p = np.array([[0.6, 0.4]] * 4 + [[1.0, 0.0]] * 2)
    found = reliability(outcome(np.log(p + 1e-300), np.zeros(6, int)))
    assert found.count[8] == 4
    assert found.count[14] == 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "classes"), [(30, 2), (30, 10), (400, 10)])
def test_contracts(name, n, classes):
    p, y = made(n, classes, seed=1)
    before = p.copy(), y.copy()
    one = measure(name)
    value = one.value(p, y)
    assert np.array_equal(p, before[0])
    assert np.array_equal(y, before[1])
    assert value == one.value(p, y)
    assert np.isfinite(value)
    assert value >= 0
    order = np.random.default_rng(0).permutation(n)
    assert one.value(p[order], y[order]) == pytest.approx(value, abs=1e-12)
    # Twice the same examples are the same rates.
    doubled = one.value(np.concatenate([p, p]), np.concatenate([y, y]))
    if name not in ("ece_equal_mass", "ece_debiased"):  # whose edges interpolate; what chance adds depends on n
        assert doubled == pytest.approx(value, abs=1e-12)
    totals = one.total(resampled_sums(one.cells(p, y)))
    assert totals.shape == (500,)
    assert np.isfinite(totals).all()


@pytest.mark.parametrize("name", NAMES)
def test_no_example_is_no_error(name):
    """Nothing seen is 0, without a warning or nan; so is every total over an empty resample."""
    one = measure(name)
    assert one.value(np.zeros((0, 3)), np.zeros(0, np.int64)) == 0
    width = one.cells(*made(30, 3, seed=0)).shape[1]
    assert np.array_equal(one.total(np.zeros((2, 5, width))), np.zeros((2, 5)))


@pytest.mark.parametrize("name", NAMES)
def test_perfect_and_hopeless_predictions(name):
    y = np.arange(40) % 4
    sure = np.full((40, 4), 1e-12)
    sure[np.arange(40), y] = 1 - 3e-12
    one = measure(name)
    best, worst = one.value(sure, y), one.value(sure, (y + 1) % 4)
    assert best == pytest.approx(1 if one.higher_is_better else 0, abs=1e-9)
    if name == "sharpness":
        assert worst == best, "it is of the forecasts alone"
        return
    assert worst < best if one.higher_is_better else worst > best


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 80), classes=st.integers(2, 6), seed=st.integers(0, 10**6), sharpness=st.floats(0, 60))
def test_rates_stay_rates(n, classes, seed, sharpness):
    p, y = made(n, classes, seed, sharpness)
    for name in ("accuracy", "macro_f1", "ece", "ece_equal_mass", "mce", "classwise_ece_mean"):
        assert 0 <= measure(name).value(p, y) <= 1 + 1e-12, name
    assert 0 <= measure("brier").value(p, y) <= 2 + 1e-12


@pytest.mark.parametrize("by", ["width", "mass"])
def test_reliability_adds_up(by):
    p, y = made(2_000, 10, seed=9)
    whole = outcome(np.log(p), y)
    found = reliability(whole, by=by)
    assert found.count.sum() == 2_000
    assert (found.count * found.accuracy).sum() == pytest.approx(whole.correct.sum())
    assert (found.count * found.confidence).sum() == pytest.approx(whole.confidence.sum())
    full = found.count > 0
    assert ((found.confidence > found.low) & (found.confidence <= found.high + 1e-12))[full].all()
    assert (found.band_low[full] < found.band_high[full]).all(), "no band has zero width"
    assert ((found.band_low <= found.accuracy) & (found.accuracy <= found.band_high))[full].all()
    if by == "mass":
        assert found.count.max() - found.count.min() <= 2


@pytest.mark.parametrize(("labels", "low", "high"), [(0, 0.83, 1.0), (1, 0.0, 0.17)])
def test_bands_of_pure_bins_are_wilsons(labels, low, high):
    """Twenty of twenty right leave room down to 84 %, none of twenty up to 16 %."""
    found = reliability(outcome(np.tile([2.0, 0.0], (20, 1)), np.full(20, labels)))
    inside = found.count > 0
    assert inside.sum() == 1
    assert found.band_low[inside] == pytest.approx(low, abs=0.012)
    assert found.band_high[inside] == pytest.approx(high, abs=0.012)
    assert (found.band_low[~inside] == 0).all()
    assert (found.band_high[~inside] == 1).all()
