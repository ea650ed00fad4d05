"""AUROC and average precision against scikit-learn, their bins against the exact values, and their edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import outcome, quantize, recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score

from core.engine.evaluate import evaluate
from core.engine.statistics import resampled_sums
from core.metrics._ranking import BINS
from core.models.samples import load_sample
from core.registry import method, methods
from core.task import task_of_classes

NAMES = {"auroc": roc_auc_score, "average_precision": average_precision_score}
BINARY = ("breast-cancer", "credit-default", "rain-6h")


def measure(name):
    return method("metric", name).function


def made(n: int, seed: int, levels: int = 0, sharpness: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two classes and labels of both; with `levels` only that many scores, so that many tie."""
    generator = np.random.default_rng(seed)
    p = expit(sharpness * generator.normal(size=n))
    p = np.round(p * levels) / levels if levels else p
    labels = (generator.random(n) < 0.2 + 0.5 * p).astype(np.int64)
    labels[:2] = [0, 1]
    return np.stack([1 - p, p], 1), labels


def test_they_speak_of_binary_tasks_only():
    binary, many = ({m.name for m in methods("metric", task)} for task in ("binary", "multi-class"))
    assert set(NAMES) <= binary
    assert not set(NAMES) & many


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "levels"), [(2, 0), (30, 3), (200, 0), (5_000, 20), (5_000, 0)])
@pytest.mark.parametrize("seed", range(3))
def test_against_scikit_learn(name, n, levels, seed):
    p, y = made(n, seed, levels)
    assert measure(name).value(p, y) == pytest.approx(NAMES[name](y, p[:, 1]), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sample", BINARY)
def test_the_bins_come_close_on_the_samples(name, sample):
    """Over-confident, coarse and calibrated: the total of the bins lies within 0.001 of the exact value."""
    model, data = load_sample(sample)
    from core.recipe import Step

    result = evaluate(model, data, recipe(quantize(3, 8), Step.of("calibrate", "temperature", {})))
    for one in (result.original, result.uncalibrated, result.tempered):
        sums = np.asarray(measure(name).cells_of(one).sum(0), np.float64).reshape(-1)
        assert float(measure(name).total(sums)) == pytest.approx(measure(name).of(one), abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_one_an_example_and_totals_are_finite(name):
    p, y = made(300, seed=7)
    cells = measure(name).cells(p, y)
    assert cells.shape == (300, 2 * BINS)
    assert (cells.sum(1) == 1).all()
    assert cells[:, BINS:].sum() == y.sum()
    resampled = measure(name).total(resampled_sums(cells))
    assert np.isfinite(resampled).all()
    assert ((resampled >= 0) & (resampled <= 1)).all()
    # An estimate's totals may hold fractions of examples, and less than none of some.
    assert np.isfinite(measure(name).total(np.asarray(cells.sum(0)).reshape(-1) * 0.3 - 0.2))


def test_one_class_alone():
    p, y = made(20, seed=1)
    for labels, base in ((np.zeros_like(y), 0.0), (np.ones_like(y), 1.0)):
        assert measure("auroc").value(p, labels) == 0.5
        assert measure("average_precision").value(p, labels) == base
        sums = np.asarray(measure("auroc").cells(p, labels).sum(0)).reshape(-1)
        assert measure("auroc").total(sums) == 0.5
        assert measure("average_precision").total(sums) == pytest.approx(base)
    empty = np.zeros((0, 2)), np.zeros(0, np.int64)
    assert measure("auroc").value(*empty) == 0.5
    assert measure("average_precision").value(*empty) == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_the_class_that_is_looked_for_may_stand_first(name):
    p, y = made(200, seed=3)
    second = replace(outcome(np.log(p), y), predicted=p)
    first = replace(second, task=task_of_classes(second.classes, positive=0))
    assert measure(name).of(first) == pytest.approx(NAMES[name](1 - y, p[:, 0]), abs=1e-12)
    mirrored = replace(first, predicted=p[:, ::-1].copy(), labels=1 - y, task=second.task)
    assert measure(name).of(first) == measure(name).of(mirrored)
    assert (measure(name).cells_of(first) != measure(name).cells_of(mirrored)).nnz == 0


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 60), seed=st.integers(0, 10**6), levels=st.integers(1, 5), sharpness=st.floats(0, 800))
def test_only_the_order_counts(n, seed, levels, sharpness):
    """A rising map of the scores changes nothing; neither does the order of the examples."""
    p, y = made(max(n, 2), seed, levels, sharpness)
    squeezed = np.stack([1 - p[:, 1] / 4, p[:, 1] / 4], 1)
    order = np.random.default_rng(seed).permutation(len(y))
    for name in NAMES:
        value = measure(name).value(p, y)
        assert 0 <= value <= 1
        assert measure(name).value(squeezed, y) == pytest.approx(value, abs=1e-12)
        assert measure(name).value(p[order], y[order]) == pytest.approx(value, abs=1e-12)
    assert measure("auroc").value(p[:, ::-1], y) == pytest.approx(1 - measure("auroc").value(p, y), abs=1e-12)
