"""Intervals that cover: split conformal and scale calibration, against their exact distributions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regression import made
from scipy.optimize import minimize_scalar
from scipy.stats import betabinom, norm

from core.calibrators.conformal import NEEDED, rank
from core.engine.numbers import stated
from core.errors import TemperError
from core.registry import method, methods
from core.task import LEVEL, LEVELS

NAMES = [m.name for m in methods("calibrate", "regression")]
SPLITS = 1_000


def fit(name, outputs, labels):
    return method("calibrate", name).function(outputs, labels)


def covered(predicted, labels) -> np.ndarray:
    """How many labels lie in each level's interval."""
    return (np.abs(labels - predicted[:, 0])[:, None] <= predicted[:, 1:]).sum(0)


def test_numbers_have_calibrations_of_their_own():
    assert NAMES == ["conformal", "scale"]
    assert not set(NAMES) & {m.name for m in methods("calibrate", "multi-class")}


@pytest.mark.parametrize(("scale", "n"), [(True, 200), (False, 19)])
def test_conformal_intervals_cover_over_resampled_splits(scale, n):
    """However wrong the stated deviations, over random splits the count covered is beta-binomial, exactly.

    Of one set without equal scores, split at random, the number of new scores below the k-th of n is negative
    hypergeometric, which is beta-binomial(new, k, n + 1 - k); its mean share is k / (n + 1), at least the level.
    """
    outputs, labels = made(n + 300, seed=3, stated_share=0.3, scale=scale)
    generator = np.random.default_rng(0)
    counts = np.zeros((SPLITS, len(LEVELS)))
    for split in range(SPLITS):
        order = generator.permutation(len(labels))
        known, new = order[:n], order[n:]
        found = fit("conformal", outputs[known], labels[known])
        counts[split] = covered(found.probabilities(outputs[new]), labels[new])
    for place, level in enumerate(LEVELS):
        k = math.ceil(round((n + 1) * level, 6))
        exact = betabinom(300, k, n + 1 - k)
        assert level - 1e-9 <= exact.mean() / 300 <= level + 1 / (n + 1) + 1e-9
        sure = 4.5 * exact.std() / math.sqrt(SPLITS)  # one in 10,000 of 38 looks would stray further by chance
        assert abs(counts[:, place].mean() - exact.mean()) < sure, level
        assert counts[:, place].std() == pytest.approx(exact.std(), rel=0.15), level
    raw = covered(stated(outputs), labels)[LEVELS.index(LEVEL)] / len(labels)
    assert raw < 0.5, "before, the network's own intervals hold far less than they claim"


def test_conformal_follows_the_network_where_it_states_a_deviation():
    outputs, labels = made(4_000, seed=1, stated_share=0.3)
    found = fit("conformal", outputs[:2_000], labels[:2_000])
    assert found.form.scaled and found.fitted["scaled"]
    predicted = found.probabilities(outputs[2_000:])
    half = predicted[:, 1:] / np.exp(outputs[2_000:, 1].astype(float))[:, None]
    assert half == pytest.approx(np.tile(found.form.factors, (2_000, 1)))
    # Normal errors of deviation 1, stated as 0.3: the factors tend to normal quantiles over 0.3.
    assert found.form.factors == pytest.approx(norm.ppf((1 + np.array(LEVELS)) / 2) / 0.3, rel=0.1)
    alone = fit("conformal", outputs[:2_000, :1], labels[:2_000])
    assert not alone.form.scaled
    assert np.ptp(alone.probabilities(outputs[2_000:, :1])[:, -1]) == 0


@pytest.mark.parametrize("n", [19, 20, 39, 99, 100, 1_000])
def test_the_factor_is_the_right_order_statistic(n):
    outputs, labels = made(n, seed=n, scale=False)
    scores = sorted(abs(y - float(o)) for o, y in zip(outputs[:, 0], labels, strict=True))
    factors = fit("conformal", outputs, labels).form.factors
    for factor, level in zip(factors, LEVELS, strict=True):
        place = next(k for k in range(1, n + 1) if k * 100 >= round(level * 100) * (n + 1))  # in whole numbers
        assert factor == scores[place - 1]


def test_too_few_examples_are_a_sentence_and_not_an_infinite_interval():
    assert NEEDED == 19 and rank(18, 0.95) > 18
    outputs, labels = made(18, seed=0)
    with pytest.raises(TemperError, match="at least 19 examples for its 95 % intervals; got 18"):
        fit("conformal", outputs, labels)


@pytest.mark.parametrize("share", [0.2, 1.0, 3.0])
def test_the_scale_is_at_the_maximum_of_the_likelihood(share):
    outputs, labels = made(3_000, seed=2, stated_share=share)
    value, deviation = outputs[:, 0].astype(float), np.exp(outputs[:, 1].astype(float))
    best = minimize_scalar(
        lambda log: -norm.logpdf(labels, value, np.exp(log) * deviation).mean(),
        bounds=(-5, 5), method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    found = fit("scale", outputs, labels)
    assert np.log(found.fitted["factor"]) == pytest.approx(best.x, abs=1e-6)
    assert found.fitted["factor"] == pytest.approx(1 / share, rel=0.05)
    expected = stated(outputs)
    expected[:, 1:] *= found.fitted["factor"]
    assert found.probabilities(outputs) == pytest.approx(expected, rel=1e-12)


def test_scale_needs_a_stated_deviation():
    with pytest.raises(TemperError, match="states only values"):
        fit("scale", *made(50, seed=0, scale=False))


@pytest.mark.parametrize("name", NAMES)
def test_values_that_are_all_right_have_intervals_of_no_width(name):
    outputs, _ = made(40, seed=0)
    found = fit(name, outputs, outputs[:, 0].astype(np.float64))
    assert not found.probabilities(outputs)[:, 1:].any()
    assert name != "scale" or "no width" in found.fitted["warning"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [19, 300])
def test_contracts(name, n):
    outputs, labels = made(n, seed=n)
    before = outputs.copy(), labels.copy()
    found = fit(name, outputs, labels)
    assert np.array_equal(outputs, before[0]) and np.array_equal(labels, before[1])
    assert found.form.factors.shape == (len(LEVELS),)
    for new in (outputs, outputs[:1], np.array([[0.0, 200.0], [1.0, -200.0]], np.float32)):
        predicted = found.probabilities(new)
        assert predicted.shape == (len(new), 1 + len(LEVELS)) and predicted.dtype == np.float64
        assert np.array_equal(predicted[:, 0], new[:, 0].astype(np.float64)), "a calibration never moves a value"
        assert np.isfinite(predicted).all() and (predicted[:, 1:] >= 0).all()
        assert (np.diff(predicted[:, 1:], axis=1) >= 0).all(), "a higher level is never a narrower interval"
    assert np.array_equal(fit(name, outputs, labels).probabilities(outputs), found.probabilities(outputs))
    assert json.loads(json.dumps(found.fitted)) == found.fitted
    order = np.random.default_rng(0).permutation(n)
    assert fit(name, outputs[order], labels[order]).form.factors == pytest.approx(found.form.factors, rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(19, 200), seed=st.integers(0, 10**6), factor=st.floats(1e-3, 1e3))
def test_widths_follow_the_unit_of_the_target(n, seed, factor):
    outputs, labels = made(n, seed, scale=False)
    outputs = outputs.astype(np.float64)
    here = fit("conformal", outputs, labels).form.factors
    assert fit("conformal", outputs * factor, labels * factor).form.factors == pytest.approx(here * factor, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("outputs", "labels", "words"),
    [
        (np.full((20, 2), np.nan), np.ones(20), "finite outputs .* 40 are not"),
        (np.full((20, 2), 1e300), np.ones(20), "finite outputs"),
        (np.ones((20, 2)), np.full(20, np.inf), "finite labels .* 20 are not"),
        (np.ones((9, 2)), np.ones(9), "at least 10 examples; got 9"),
        (np.ones((20, 3)), np.ones(20), "needs outputs"),
        (np.ones((20, 2)), np.ones(19), "needs outputs"),
        (np.ones(20), np.ones(20), "needs outputs"),
        (np.ones((20, 2)), np.ones((20, 1)), "needs outputs"),
        (np.ones((20, 2), object), np.ones(20), "numbers as outputs"),
        (np.ones((20, 2)), np.full(20, "a"), "numbers as outputs"),
    ],
)
def test_what_cannot_be_fitted_is_a_sentence(name, outputs, labels, words):
    with pytest.raises(TemperError, match=words):
        fit(name, outputs, labels)
