"""Estimates of areas under curves and of numbers: they hold the exact value as stated, and close to it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import regression
from conftest import outcome

from core.engine.estimate import LOOKS, Estimate
from core.engine.look import Watch, ground
from core.engine.meaning import meaning
from core.metrics._ranking import BINS, falling
from core.registry import method
from core.types import Outcome

N = 4_000
SEEDS = 50  # of each situation, four of them a task: 200 runs
STATED = 0.93  # of 95 % promised, less one and a third standard errors of 200 runs
CLOSE = 1e-9


def two_classes(seed: int, noise: float, skill: float = 2.0, share: float = 0.5, sharpness: float = 1.0):
    """An original and the logits of a disturbed copy; `share` of the examples are positive."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(N) < share).astype(np.int64)
    odds = generator.normal(size=N) + skill * (labels - share)
    logits = np.stack([-odds / 2, odds / 2], 1)
    moved = logits + noise * generator.normal(size=logits.shape)
    return outcome(sharpness * logits, labels), (sharpness * moved).astype(np.float32)


def numbers(seed: int, noise: float, tail: float = math.inf, few: bool = False):
    """An over-confident original and a disturbed copy; errors follow Student's t of `tail` degrees of freedom.

    With `few`, one prediction in fifty moves a hundred times as far as the others.
    """
    generator = np.random.default_rng(seed)
    value, deviation = generator.normal(20, 8, N), np.exp(generator.normal(0, 0.7, N))
    errors = generator.normal(size=N) if math.isinf(tail) else generator.standard_t(tail, N)
    outputs = np.stack([value, np.log(0.7 * deviation)], 1).astype(np.float32)
    reach = np.where(generator.random(N) < 0.02, 10, 0.1) if few else 1
    moved = outputs + noise * np.stack([reach * generator.normal(size=N), 0.3 * generator.normal(size=N)], 1)
    return regression.outcome(outputs, value + deviation * errors), moved.astype(np.float32)


def prices(seed: int):
    """Log-normal prices whose predictions move by a share of themselves."""
    outputs, labels = regression.prices(N, seed)
    generator = np.random.default_rng(10_000 + seed)
    moved = outputs.copy()
    moved[:, 0] *= np.exp(generator.normal(0.02, 0.1, N))
    return regression.outcome(outputs, labels), moved


SITUATIONS = {
    "binary": (
        lambda seed: two_classes(seed, 0.05),
        lambda seed: two_classes(seed, 0.5),
        lambda seed: two_classes(seed, 0.3, 2.5, 0.05),
        lambda seed: two_classes(seed, 0.3, 6.0, 0.3, 8.0),
    ),
    "regression": (
        lambda seed: numbers(seed, 0.1),
        lambda seed: numbers(seed, 0.3, 2),
        lambda seed: numbers(seed, 0.5, 3, few=True),
        prices,
    ),
}
NAMES = [("binary", "auroc"), ("binary", "average_precision")]
NAMES += [("regression", name) for name in ("rmse", "mae", "r2", "coverage", "interval_width", "interval_score")]


def exactly(original: Outcome, logits: np.ndarray) -> dict[str, float]:
    """Every stated measure from all examples."""
    after = replace(original, logits=logits, predicted=meaning(original.task, logits))
    return {name: method("metric", name).function.of(after) for name in original.task.facts.stated}


def looks(original: Outcome, logits: np.ndarray, budgets: tuple[int, ...], seed: int = 0) -> list[Estimate]:
    """The estimates after each budget, as the engine makes them."""
    watch, found = Watch.of(original, on=ground(original, seed)), []
    places = np.arange(original.n, dtype=np.float32)[:, None]
    for budget in budgets:
        watch.fill(lambda some: logits[some[:, 0].astype(int)], places, min(budget, original.n), None)
        found.append(watch.estimate())
    return found


@pytest.fixture(scope="module")
def runs():
    """By task and measure, a list of runs; a run is a list of looks: the quantity and the exact value."""
    found: dict[str, dict[str, list]] = {}
    for task, situations in SITUATIONS.items():
        for make in situations:
            for seed in range(SEEDS):
                original, logits = make(seed)
                assert original.task.kind == task
                truth = exactly(original, logits)
                every = looks(original, logits, LOOKS, seed)
                for name, value in truth.items():
                    pairs = [(one.values[name], value) for one in every]
                    found.setdefault(task, {}).setdefault(name, []).append(pairs)
    return found


@pytest.mark.parametrize(("task", "name"), NAMES)
def test_all_looks_hold_the_exact_value_at_the_stated_rate(runs, task, name):
    every = runs[task][name]
    assert len(every) == 4 * SEEDS
    held = [all(q.interval.low - CLOSE <= v <= q.interval.high + CLOSE for q, v in run) for run in every]
    assert np.mean(held) >= STATED


@pytest.mark.parametrize(("task", "name"), NAMES)
def test_the_intervals_are_no_wider_than_they_need_be(runs, task, name):
    """Where errors are normal: at most six times the typical error, of which a look needs some two and a half.

    Heavy tails and a ranking with almost nothing left to rank get more room.
    """
    for look in range(len(LOOKS)):
        some = runs[task][name][:SEEDS]
        widths = np.array([run[look][0].interval.high - run[look][0].interval.low for run in some]) / 2
        errors = np.array([run[look][0].value - run[look][1] for run in some])
        assert np.median(widths) <= 6 * math.sqrt(np.mean(errors**2))


def test_estimates_say_what_they_are(runs):
    units = {"rmse": "US dollars", "mae": "US dollars", "mse": "US dollars squared", "r2": "", "coverage": "fraction"}
    for measures in runs.values():
        for name, every in measures.items():
            measure = method("metric", name).function
            for run in every:
                assert [q.n for q, _ in run] == sorted(q.n for q, _ in run)
                for quantity, _ in run:
                    assert quantity.how == "estimated" and quantity.n < N
                    assert measure.least <= quantity.interval.low <= quantity.value + CLOSE, name
                    assert quantity.value - CLOSE <= quantity.interval.high <= measure.most, name
                    assert quantity.unit == units.get(name, quantity.unit)


def test_numbers_have_no_flips_and_no_recalls():
    (found,) = looks(*numbers(1, 0.3), (LOOKS[0],))
    assert found.flips is None and found.recalls == found.recall_changes == ()
    assert tuple(found.values) == tuple(found.changes) == regression.PRICES.facts.stated


@pytest.mark.parametrize("make", [two_classes, numbers])
def test_with_all_seen_it_is_exact_and_sure(make):
    original, logits = make(3, 0.4)
    first, found = looks(original, logits, (LOOKS[0], N))
    known, values = exactly(original, original.logits), exactly(original, logits)
    assert found.n == N and set(found.values) == set(values)
    for name, value in values.items():
        quantity, change = found.values[name], found.changes[name]
        for end in (quantity.value, quantity.interval.low, quantity.interval.high):
            assert end == pytest.approx(value, rel=1e-9, abs=1e-9), name
        for end in (change.value, change.interval.low, change.interval.high):
            assert end == pytest.approx(value - known[name], rel=1e-9, abs=1e-8), name
        assert first.values[name].interval.high - first.values[name].interval.low > 0


@pytest.mark.parametrize("make", [two_classes, numbers])
def test_nothing_changed_changes_nothing(make):
    original, _ = make(0, 0.0)
    for found in looks(original, original.logits, LOOKS):
        for name, change in found.changes.items():
            assert change.value == pytest.approx(0, abs=1e-9), name
            assert change.interval.low - CLOSE <= 0 <= change.interval.high + CLOSE, name


@pytest.mark.parametrize("place", [0, 1])
def test_the_class_looked_for_may_stand_first(place):
    """Which one it is changes what is said of it, not how surely."""
    held = 0
    for seed in range(12):
        original, logits = two_classes(seed, 0.5, share=0.2)
        turned = replace(original, task=replace(original.task, positive=place))
        (found,) = looks(turned, logits, (LOOKS[1],), seed)
        value, interval = exactly(turned, logits)["average_precision"], found.values["average_precision"].interval
        assert (value > 0.85) == (place == 0), "the common class is found more precisely"
        held += interval.low <= value <= interval.high
    assert held >= 10


def test_counts_below_zero_keep_the_ranking():
    """Where an estimate takes more out of a bin than it holds, the mass stays where it is, also in many draws."""
    counts = np.zeros((2, 2 * BINS))
    counts[:, 100], counts[:, BINS + 250] = 50, 50
    counts[1, 100:104] += [-70, 30, 30, 10]
    counts[1, BINS + 248 : BINS + 252] += [40, -40, -30, 30]
    negatives, positives = falling(counts)
    assert (negatives >= 0).all() and (positives >= 0).all()
    assert negatives.sum(1) == pytest.approx([50, 50]) and positives.sum(1) == pytest.approx([50, 50])
    exact = counts[0, BINS - 1 :: -1], counts[0, : BINS - 1 : -1]
    assert np.array_equal(falling(counts[0])[0], exact[0]) and np.array_equal(falling(counts[0])[1], exact[1])
    middle = (np.arange(BINS) * negatives[1]).sum() / 50, (np.arange(BINS) * positives[1]).sum() / 50
    assert middle == pytest.approx((BINS - 1 - 100, BINS - 1 - 250), abs=4), "no mass wanders"
