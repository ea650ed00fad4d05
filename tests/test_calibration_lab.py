"""The calibration laboratory: fits on one split, judges on another, and says which is better and how surely."""

from __future__ import annotations

from dataclasses import replace

import calibrating
import numpy as np
import pytest
from conftest import prune, quantize, recipe

from core.calibration.calibration_lab import NONE, Entry, contest, material, with_calibration
from core.calibration.ranking import Standing, corrected, judges, rank
from core.engine.evaluate import evaluate
from core.engine.memory import RESULTS
from core.engine.statistics import NORMAL, difference
from core.models.samples import load_sample
from core.recipe import Recipe, Step
from core.registry import method, methods
from core.task import EVERY, LEVEL
from core.types import Interval, Quantity


@pytest.fixture(scope="module")
def cancer():
    model, data = load_sample("breast-cancer")
    asked = recipe(prune(0.5), quantize(4, 8))
    return model, data, asked, material(model, data, asked)


def test_every_method_of_the_task_says_what_the_studio_says(cancer):
    model, data, asked, given = cancer
    entries = contest(given)
    assert [entry.name for entry in entries] == [NONE, *(m.name for m in methods("calibrate", "binary"))]
    for entry in entries:
        expected = evaluate(model, data, with_calibration(asked, entry.name)).tempered
        assert entry.outcome is not None
        np.testing.assert_array_equal(entry.outcome.predicted, expected.predicted)


def test_the_recipe_s_own_parameters_are_kept(cancer):
    model, data, asked, _ = cancer
    own = Step.of("calibrate", "temperature")
    given = material(model, data, replace(asked, steps=(*asked.steps, own)))
    assert given.own == own
    assert with_calibration(replace(asked, steps=(*asked.steps, own)), "vector").steps[-1].method == "vector"
    assert with_calibration(replace(asked, steps=(*asked.steps, own)), NONE) == asked
    assert with_calibration(Recipe(), "isotonic").notation


def test_nothing_is_fitted_on_the_evaluation_split():
    given = calibrating.material(4)
    turned = replace(given.evaluation, labels=given.evaluation.labels[::-1].copy())
    other = replace(given, key=("turned",), evaluation=turned)
    for one, two in zip(contest(given), contest(other), strict=True):
        assert one.outcome is not None and two.outcome is not None
        np.testing.assert_array_equal(one.outcome.predicted, two.outcome.predicted)


@pytest.mark.parametrize("measure", ["nll", "ece", "accuracy"])
def test_ranking_is_by_value_with_paired_differences(measure):
    entries = contest(calibrating.material(4))
    found = rank(entries, measure)
    one = method("metric", measure).function
    values = [one.of(row.entry.outcome) for row in found.rows]
    assert values == sorted(values, reverse=one.higher_is_better)
    none = entries[0].outcome
    for row in found.rows:
        expected = difference(measure, none, row.entry.outcome)
        assert row.from_none == expected
        assert row.from_best == difference(measure, found.best.entry.outcome, row.entry.outcome)
        changed = int((none.predictions != row.entry.outcome.predictions).sum())
        assert row.flips.flips == changed
        assert (row.accuracy is None) == (changed == 0)


def test_equal_methods_are_seldom_called_behind_or_changed():
    """Twelve equal methods: in one of twenty rankings at most is any called worse than the best, or than none."""
    generator, naive, behind, sure = np.random.default_rng(0), 0, 0, 0
    for _ in range(400):
        values = np.sort(generator.normal(size=12))
        none = int(generator.integers(12))  # any of them may be the uncalibrated model
        reach = NORMAL * 2**0.5

        def change(k: int, other: int, values=values, reach=reach) -> Quantity:
            moved = float(values[k] - values[other])
            return Quantity(moved, "nats", "measured", Interval(moved - reach, moved + reach), 100)

        rows = [
            Standing(Entry(NONE if k == none else f"m{k}", "", None), change(k, k), change(k, none), change(k, 0),
                     None, None)
            for k in range(12)
        ]  # fmt: skip
        found = corrected(rows)
        behind += any(row.behind for row in found)
        sure += any(row.sure for row in found)
        naive += any(row.from_best.interval.low > 0 for row in rows)
    assert naive > 100, "uncorrected, the best of equals looks better than some"
    assert max(behind, sure) <= 400 * 0.05 + 3 * (400 * 0.05 * 0.95) ** 0.5
    for row in found:
        against = found[0] if row.entry.name == NONE else row
        if NONE in (row.entry.name, found[0].entry.name) and row is not found[0]:
            assert row.behind == against.sure, "of none, both columns say the same"
    far = replace(rows[1], from_best=Quantity(9.0, "nats", "measured", Interval(8.0, 10.0), 100))
    assert corrected([rows[0], far])[1].behind


def test_coverage_is_best_at_its_level_and_not_where_it_is_highest():
    found = rank(contest(calibrating.prices()), "coverage")
    gaps = [abs(row.value.value - LEVEL) for row in found.rows]
    assert gaps == sorted(gaps)
    assert found.rows[-1].entry.name == NONE


def test_a_method_that_cannot_be_fitted_stands_apart():
    small = calibrating.material(3, n=8)
    found = rank(contest(small), "brier")
    assert [row.entry.name for row in found.rows] == [NONE]
    assert len(found.failed) == len(methods("calibrate", "multi-class"))
    assert all("at least 10 examples" in entry.error for entry in found.failed)


def test_fits_tell_progress_and_what_was_done_is_kept(cancer):
    given = replace(cancer[3], key=("again",))
    seen = []

    def stop(fraction: float) -> None:
        seen.append(fraction)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contest(given, stop)
    assert seen[0] == 0 and 0 < seen[1] < 1
    first = methods("calibrate", "binary")[0].name
    assert RESULTS.get(("contest", "again", first)) is not None


@pytest.mark.parametrize("kind", EVERY)
def test_measures_offered_suit_the_task(kind):
    suiting = {one.name for one in methods("metric", kind)}
    assert set(judges(kind)) <= suiting
