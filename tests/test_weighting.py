"""Weighted estimates of every measure: they close to the exact value, lean to no side, and hold it as stated."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conftest import outcome, prune, quantize, recipe

from core.calibrators._fitted import softmax
from core.data.handle import load_split
from core.engine.evaluate import evaluate
from core.engine.look import Watch, ground, look_first
from core.engine.memory import RESULTS
from core.engine.weighting import estimated
from core.errors import TemperError
from core.recipe import Recipe, Step
from core.registry import method
from core.task import task_of_classes

ESTIMATED = estimated(task_of_classes(("a", "b", "c")))
N, BUDGETS = 1_500, (300, 900)
RUNS = 200
NOISES = (0.05, 1.5)  # hardly changed, and much
CLOSE = 1e-9


def models(n: int, seed: int, noise: float, classes: int = 5, skill: float = 3.0):
    """An original's outcome and the logits of a disturbed copy: small margins change first."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n)
    logits = generator.normal(size=(n, classes)) + skill * np.eye(classes)[labels]
    return outcome(logits, labels), (logits + noise * generator.normal(size=logits.shape)).astype(np.float32)


def exactly(original, logits, mapped=softmax) -> tuple[dict[str, float], np.ndarray]:
    """Every stated measure and the recall of each class, from all examples."""
    after, labels = mapped(logits), original.labels
    right = after.argmax(1) == labels
    classes = logits.shape[1]
    hits, size = (np.bincount(labels[keep], minlength=classes) for keep in (right, np.ones(len(labels), bool)))
    beside = replace(original, predicted=after)
    values = {name: method("metric", name).function.of(beside) for name in original.task.facts.stated}
    return values, hits / np.maximum(size, 1)


def looks(original, logits, budgets, seed: int = 0, mapped=None):
    """The estimates after each budget, as the engine makes them."""
    watch = Watch.of(original, on=ground(original, seed))
    watch.mapped = mapped
    places = np.arange(original.n, dtype=np.float32)[:, None]
    found = []
    for budget in budgets:
        watch.fill(lambda some: logits[some[:, 0].astype(int)], places, min(budget, original.n), None)
        found.append(watch.estimate())
    return found


def holds(quantity, value: float) -> bool:
    return quantity.interval.low - CLOSE <= value <= quantity.interval.high + CLOSE


# All seen


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("mapped", [None, lambda logits: softmax(logits / 2.5)])
def test_with_all_seen_it_is_exact_and_sure(noise, mapped):
    original, logits = models(900, 3, noise)
    found = looks(original, logits, (200, 900), mapped=mapped)[-1]
    values, recalls = exactly(original, logits, mapped or softmax)
    known = exactly(original, original.logits)
    assert found.n == found.total == 900
    assert tuple(found.values) == tuple(found.changes) == ("accuracy", *ESTIMATED)
    assert len(found.recalls) == len(found.recall_changes) == 5
    pairs = [(found.values[name], found.changes[name], values[name], known[0][name]) for name in values]
    pairs += list(zip(found.recalls, found.recall_changes, recalls, known[1], strict=True))
    for value, change, exact, before in pairs:
        for end in (value.value, value.interval.low, value.interval.high):
            assert end == pytest.approx(exact, abs=1e-9)
        for end in (change.value, change.interval.low, change.interval.high):
            assert end == pytest.approx(exact - before, abs=1e-9)


def test_intervals_tighten():
    original, logits = models(3_000, 1, 0.5)
    found = looks(original, logits, (300, 1_000, 2_000, 2_900, 3_000))
    for name in ESTIMATED:
        widths = [one.values[name].interval.high - one.values[name].interval.low for one in found]
        assert widths == sorted(widths, reverse=True)
        assert widths[-1] == pytest.approx(0, abs=1e-9)
        assert widths[0] > 3 * widths[3] > 0


# Some seen


@pytest.fixture(scope="module")
def runs():
    """Many runs on ten models of each noise: for every measure value, interval and truth at each look."""
    found = {noise: {name: [] for name in (*ESTIMATED, "recall")} for noise in NOISES}
    for noise in NOISES:
        truths = [(models(N, seed, noise), exactly(*models(N, seed, noise))) for seed in range(10)]
        for seed in range(RUNS // 2):
            (original, logits), (values, recalls) = truths[seed % 10]
            estimates = looks(original, logits, BUDGETS, seed)
            for name in ESTIMATED:
                found[noise][name].append([(one.values[name], values[name]) for one in estimates])
            place = seed % 5
            found[noise]["recall"].append([(one.recalls[place], recalls[place]) for one in estimates])
    return found


@pytest.mark.parametrize("name", [*ESTIMATED, "recall"])
def test_all_looks_hold_the_exact_value_at_the_stated_rate(runs, name):
    """95 % over both looks together; three standard errors of 200 runs below are 90.4 %."""
    inside = [all(holds(q, truth) for q, truth in run) for noise in NOISES for run in runs[noise][name]]
    assert len(inside) == RUNS
    assert np.mean(inside) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / RUNS)


@pytest.mark.parametrize("name", ["nll", "brier"])
@pytest.mark.parametrize("noise", NOISES)
def test_a_sum_over_examples_is_estimated_without_bias(runs, name, noise):
    """At the first look, whose sample does not depend on what was seen."""
    errors = np.array([run[0][0].value - run[0][1] for run in runs[noise][name]])
    assert abs(errors.mean()) <= 3 * errors.std(ddof=1) / math.sqrt(len(errors))
    assert errors.std() > 0


def test_estimates_say_what_they_are(runs):
    for noise in NOISES:
        for name, every in runs[noise].items():
            for first, second in every:
                assert first[0].how == second[0].how == "estimated"
                assert first[0].n < second[0].n < N
                for quantity, _ in (first, second):
                    assert quantity.interval.low <= quantity.value <= quantity.interval.high, name
                    assert quantity.interval.low >= 0


def test_changes_belong_to_their_values():
    original, logits = models(3_000, 2, 0.5)
    known, recalls = exactly(original, original.logits)
    (found,) = looks(original, logits, (500,))
    for name in ESTIMATED:
        assert found.changes[name].value == pytest.approx(found.values[name].value - known[name], abs=1e-9)
    for change, value, before in zip(found.recall_changes, found.recalls, recalls, strict=True):
        assert change.value == pytest.approx(value.value - before, abs=1e-9)


def test_no_change_seen_still_leaves_room_for_rates():
    """Macro F1 and recalls move with single predictions, and some may have changed unseen."""
    original, _ = models(4_000, 0, 0.0)
    (found,) = looks(original, original.logits, (800,))
    accuracy = found.changes["accuracy"].interval.high - found.changes["accuracy"].interval.low
    assert accuracy > 0
    for quantity in (found.changes["macro_f1"], *found.recall_changes):
        assert quantity.value == pytest.approx(0, abs=1e-9)
        assert quantity.interval.high - quantity.interval.low >= accuracy - 1e-12


@pytest.mark.parametrize(
    "case",
    {
        "at chance": {"skill": 0.0},
        "perfect": {"skill": 60.0},
        "always wrong": {"skill": -60.0},
        "two classes": {"classes": 2},
        "thirty examples": {"n": 30},
        "two examples": {"n": 2},
        "many classes": {"n": 200, "classes": 50},
        "nothing changed": {"noise": 0.0},
        "all changed": {"noise": 1e4},
    }.items(),
    ids=lambda case: case[0],
)
def test_extremes_give_numbers_in_range(case):
    settings = {"n": 900, "seed": 5, "noise": 0.5} | case[1]
    check(*models(**settings))


def test_all_margins_equal():
    original, logits = models(900, 5, 0.5)
    check(outcome(np.zeros_like(original.logits), original.labels), logits)
    check(original, np.zeros_like(logits))
    check(outcome(np.tile([[4.0, 1, 0, 0, 0]], (900, 1)), original.labels), logits)


def test_a_class_without_examples():
    original, logits = models(900, 5, 0.5)
    without = outcome(original.logits, np.where(original.labels == 3, 0, original.labels))
    for found in check(without, logits):
        assert found.recalls[3].value == 0


def test_huge_logits():
    original, logits = models(900, 5, 0.5)
    check(outcome(1e20 * original.logits, original.labels), 1e20 * logits)


def check(original, logits):
    """Finite, in range, in order and without a warning, from hardly anything seen to all."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        every = looks(original, logits, (2, 20, 300, 900))
    for found in every:
        assert tuple(found.values) == original.task.facts.stated
        rates = [q for name, q in found.values.items() if method("metric", name).function.most == 1] + [
            *found.recalls
        ]
        rates += [found.values["accuracy"], found.values["macro_f1"], found.values["ece"]]
        for quantity in [*found.values.values(), *found.recalls]:
            low, high = quantity.interval.low, quantity.interval.high
            assert math.isfinite(quantity.value) and math.isfinite(high)
            assert 0 <= low <= quantity.value + CLOSE and quantity.value <= high + CLOSE
        assert all(quantity.interval.high <= 1 + CLOSE for quantity in rates)
        for quantity in [*found.changes.values(), *found.recall_changes]:
            assert math.isfinite(quantity.value)
            assert quantity.interval.low - CLOSE <= quantity.interval.high
    values, _ = exactly(original, logits)
    for name, quantity in every[-1].values.items():
        assert quantity.value == pytest.approx(values[name], abs=1e-7)
    return every


# On the way to an exact result


def test_the_calibration_is_fitted_once_after_the_first_look():
    original, logits = models(4_000, 1, 0.4)
    shown, fits = [], []

    def fit():
        fits.append(len(shown))
        return lambda found: softmax(found / 3)

    places = np.arange(4_000, dtype=np.float32)[:, None]
    found = look_first(
        lambda some: logits[some[:, 0].astype(int)], places, labelled(original, "once"), shown.append, fit=fit
    )
    assert np.array_equal(found, logits), "the logits stay as they are"
    assert fits == [1]
    assert [one.calibrated for one in shown] == [False, True]
    assert (set(shown[0].values), set(shown[0].changes), shown[0].recalls) == ({"accuracy"}, {"accuracy"}, ())
    assert shown[0].recall_changes == ()
    values, recalls = exactly(original, logits, lambda found: softmax(found / 3))
    for name in ESTIMATED:
        assert holds(shown[1].values[name], values[name])
    assert all(holds(quantity, value) for quantity, value in zip(shown[1].recalls, recalls, strict=True))


def labelled(original, name: str):
    """The outcome under a name of its own, so that what is remembered of another is not taken for it."""
    return replace(original, provenance=replace(original.provenance, model=name))


@pytest.mark.parametrize("fit", [None, lambda: pytest.fail("fitted on what is no number")])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_shows_nothing(fit, wrong):
    original, logits = models(4_000, 1, 0.4)
    logits[:, 2] = wrong
    shown = []
    places = np.arange(4_000, dtype=np.float32)[:, None]
    with pytest.raises(TemperError, match="not finite"):
        look_first(
            lambda some: logits[some[:, 0].astype(int)], places, labelled(original, "nan"), shown.append, fit=fit
        )
    assert shown == []


@pytest.mark.parametrize("calibration", ["temperature", "vector"])
def test_the_second_look_holds_the_calibrated_values(pictures, calibration):
    model, data = pictures
    RESULTS.clear()
    shown = []
    of = recipe(prune(0.6), quantize(5, 8), Step.of("calibrate", calibration))
    result = evaluate(model, data, of, look=shown.append)
    assert [one.calibrated for one in shown] == [False, True]
    assert set(shown[0].values) == {"accuracy"}, "which the calibration is not said to leave alone"
    after = result.tempered
    assert not np.allclose(after.probabilities, result.uncalibrated.probabilities, atol=1e-3)
    for name in ESTIMATED:
        assert holds(shown[1].values[name], method("metric", name).function.value(after.probabilities, after.labels))
    for place, quantity in enumerate(shown[1].recalls):
        assert holds(quantity, after.correct[after.labels == place].mean())
    assert holds(shown[1].values["accuracy"], after.correct.mean())
    assert shown[0].n < shown[1].n < load_split(data, "evaluation").y.size
    RESULTS.clear()


def test_without_a_calibration_both_looks_hold_every_measure(pictures):
    model, data = pictures
    RESULTS.clear()
    shown = []
    result = evaluate(model, data, recipe(prune(0.5), quantize(4, 8)), look=shown.append)
    original = evaluate(model, data, Recipe()).original
    after = result.tempered
    assert len(shown) == 2
    for found in shown:
        for name in ESTIMATED:
            measure = method("metric", name).function
            value = measure.value(after.probabilities, after.labels)
            assert holds(found.values[name], value)
            assert holds(found.changes[name], value - measure.value(original.probabilities, original.labels))
    RESULTS.clear()
