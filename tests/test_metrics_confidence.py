"""Calibration errors without bins, or with their bias taken off, against plain loops and against known truths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.calibrate import calibrate_arrays
from core.engine.statistics import interval_of
from core.metrics._bins import BINS
from core.registry import method

NAMES = ("ece_debiased", "ece_smooth", "ks_calibration")


def value(name: str, p: np.ndarray, y: np.ndarray) -> float:
    return method("metric", name).function.value(p, y)


def honest(n: int, seed: int, tilt: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes whose labels are drawn from the probabilities stated, these then sharpened by `tilt`."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(0.5, 1.5, n)
    labels = (generator.random(n) < 1 / (1 + np.exp(-logit))).astype(int)
    stated = 1 / (1 + np.exp(-tilt * logit))
    return np.stack([1 - stated, stated], 1), labels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n", [40, 400])
def test_debiased_against_a_loop(n, seed):
    p, y = honest(n, seed, 2.0)
    confidence, right = p.max(1), p.argmax(1) == y
    edges = [float(np.quantile(confidence, k / BINS)) for k in range(1, BINS)]
    total = 0.0
    for b in range(BINS):
        low, high = (edges[b - 1] if b else -1.0), (edges[b] if b < BINS - 1 else 2.0)
        inside = [i for i in range(n) if low < confidence[i] <= high]
        if len(inside) > 1:
            a = sum(right[i] for i in inside) / len(inside)
            c = sum(confidence[i] for i in inside) / len(inside)
            total += len(inside) / n * ((a - c) ** 2 - a * (1 - a) / (len(inside) - 1))
    assert value("ece_debiased", p, y) == pytest.approx(math.sqrt(max(total, 0.0)), abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_ks_against_a_loop(seed):
    p, y = honest(300, seed, 2.0)
    p = np.round(p, 2)  # ties
    confidence, right = p.max(1), p.argmax(1) == y
    greatest = 0.0
    for cut in sorted(set(confidence)):
        greatest = max(greatest, abs(sum(right[i] - confidence[i] for i in range(300) if confidence[i] <= cut)))
    assert value("ks_calibration", p, y) == pytest.approx(greatest / 300, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_smooth_against_a_loop(seed):
    """The definition: reflected Gaussian kernels summed on a grid, the bandwidth halved to where it is the error."""
    p, y = honest(60, seed, 3.0)
    confidence, right = p.max(1), p.argmax(1) == y
    grid = (np.arange(2000) + 0.5) / 2000

    def error(width: float) -> float:
        smoothed = np.zeros(2000)
        for c, r in zip(confidence, right, strict=True):
            for image in range(-6, 7):
                for centre in (c + 2 * image, -c + 2 * image):
                    smoothed += (r - c) * np.exp(-0.5 * ((grid - centre) / width) ** 2)
        return float(np.abs(smoothed).mean() / (width * math.sqrt(2 * math.pi)) / 60)

    low, high = 0.0, 1.0
    for _ in range(18):
        middle = (low + high) / 2
        low, high = (low, middle) if error(middle) <= middle else (middle, high)
    assert value("ece_smooth", p, y) == pytest.approx(high, abs=5e-5)


def test_chance_alone_inflates_bins_and_not_the_debiased_error():
    """On honest models the usual error is what chance puts into bins; in squares the debiased one is nothing."""
    usual, squares = [], []
    for seed in range(150):
        p, y = honest(300, seed)
        usual.append(value("ece", p, y))
        squares.append(value("ece_debiased", p, y) ** 2)
    assert np.mean(usual) > 0.03
    tilted = [value("ece_debiased", *honest(300, seed, 2.5)) for seed in range(30)]
    assert np.mean(squares) < 0.1 * np.mean(np.square(tilted))


@pytest.mark.parametrize("name", NAMES)
def test_value_lies_in_its_interval(name):
    from conftest import outcome

    p, y = honest(500, 4, 2.0)
    found = interval_of(name, outcome(np.log(p), y))
    assert 0 <= found.low <= value(name, p, y) <= found.high <= 1
    assert found.high - found.low > 0.005


def test_sharpness_is_the_brier_score_of_forecasts_that_hold():
    p = np.random.default_rng(1).dirichlet(np.ones(5), 200)
    sharp = method("metric", "sharpness").function
    assert sharp.value(p, np.zeros(200, int)) == pytest.approx(np.mean([sum(q * q for q in row) for row in p]))
    # Over all truths that the probabilities themselves deal, each row's Brier score is 1 - its sum of squares.
    brier = sum(p[:, c] @ ((p - np.eye(5)[c]) ** 2).sum(1) for c in range(5)) / 200
    assert 1 - sharp.value(p, np.zeros(200, int)) == pytest.approx(brier)
    assert sharp.value(np.eye(5), np.zeros(5, int)) == 1
    assert sharp.value(np.full((4, 5), 0.2), np.zeros(4, int)) == pytest.approx(0.2)


def test_the_reported_sharpness_is_the_registered_one():
    p = np.random.default_rng(1).dirichlet(np.ones(5), 200)
    y = np.arange(200) % 5
    given = calibrate_arrays(np.log(p), y, np.log(p), y)["before"]["sharpness"]
    assert given == pytest.approx(method("metric", "sharpness").function.value(p, y))
