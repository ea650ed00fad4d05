"""Cost against the ratio of costs: its mean is the Brier score, hindsight is never beaten, counts by hand."""

from __future__ import annotations

import calibrating
import numpy as np
import pytest
from conftest import outcome

from core.calibration.calibration_lab import contest
from core.decisions.cost_curve import cheapest, cost_at, cost_curve
from core.errors import TemperError
from core.registry import method


def test_the_mean_over_all_ratios_is_the_brier_score():
    before, after = calibrating.pair(2)
    found = cost_curve(before, after)
    brier = method("metric", "brier").function
    assert found.mean_before == pytest.approx(brier.of(before) / 2)
    assert found.change.value == pytest.approx(found.mean_after - found.mean_before)
    fine = (np.arange(200_000) + 0.5) / 200_000
    scores, positive = after.probabilities[:, 1], after.labels == 1
    # A step moves by at most one cell of width 1 / 200,000 and jumps by at most 2, averaged over the examples.
    assert cost_at(scores, positive, fine)[0].mean() == pytest.approx(found.mean_after, abs=1e-5)


def test_costs_are_counted_as_by_hand():
    scores, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    shares = np.array([0.0, 0.3, 0.4, 0.5, 1.0])
    # Called from the share on: at .3 and .4 one false alarm, at .5 one miss, at 0 two false alarms that cost nothing.
    expected = [0.0, 2 * 0.3 / 4, 2 * 0.4 / 4, 2 * 0.5 / 4, 0.0]
    np.testing.assert_allclose(cost_at(scores, positive, shares)[0], expected)
    np.testing.assert_allclose(cost_at(scores, positive, shares)[1], [4 * e**2 for e in expected])


def test_hindsight_is_the_best_of_all_thresholds():
    generator = np.random.default_rng(0)
    scores, positive = np.round(generator.random(60), 2), generator.random(60) < 0.4
    shares = np.linspace(0, 1, 31)
    by_force = np.full(31, np.inf)
    for cut in [*np.unique(scores), np.inf]:
        called = scores >= cut
        alarms, misses = (called & ~positive).sum(), (~called & positive).sum()
        by_force = np.minimum(by_force, 2 * (shares * alarms + (1 - shares) * misses) / 60)
    np.testing.assert_allclose(cheapest(scores, positive, shares), by_force, atol=1e-12)
    assert (cost_at(scores, positive, shares)[0] >= by_force - 1e-12).all()


def test_a_calibration_that_keeps_the_order_stays_above_hindsight():
    given = calibrating.material(2)
    for entry in contest(given):
        if entry.name in ("", "temperature", "platt", "beta"):
            found = cost_curve(given.evaluation, entry.outcome)
            assert (found.after >= found.hindsight - 1e-12).all(), entry.name


def test_only_of_two_classes():
    three = outcome(np.eye(3)[np.arange(30) % 3], np.arange(30) % 3)
    with pytest.raises(TemperError, match="of two classes; got 3"):
        cost_curve(three, three)
