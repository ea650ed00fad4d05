"""Original against tempered, once a point: differences with intervals, flips, significance, one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from core.engine.memory import RESULTS
from core.engine.statistics import (
    NORMAL,
    POWER,
    Flips,
    McNemar,
    detectable,
    difference,
    flips,
    interval_of,
    matched_pairs,
    mcnemar,
    wilson,
)
from core.registry import method
from core.task import Task
from core.types import Interval, Outcome, Quantity, Result

SIGNIFICANT = 0.05  # two-sided; the level of every interval shown


@dataclass(frozen=True)
class Comparison:
    """Everything that is said about two models on the same examples.

    `task` is what both are asked for. `original` and `tempered` hold each metric's value with its interval, `change`
    the paired difference with its own; `recalls` are the tempered model's, one a class. `detectable` is the smallest
    difference of the task's headline that this set could have shown. `flips` and their `test` are of classes only.
    """

    task: Task
    original: Mapping[str, Quantity]
    tempered: Mapping[str, Quantity]
    change: Mapping[str, Quantity]
    detectable: float
    flips: Flips | None = None
    test: McNemar | None = None
    recalls: tuple[Quantity, ...] = ()
    recall_changes: tuple[Quantity, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether the headline differs beyond chance: McNemar's mid-p of accuracies, else the paired interval."""
        if self.test is not None:
            return self.test.mid_p < SIGNIFICANT
        interval = self.change[self.task.facts.headline].interval
        return interval is not None and not interval.low <= 0 <= interval.high


def compare(result: Result) -> Comparison:
    """Compare a result's two outcomes. Remembered by what produced them."""
    made = result.tempered.provenance
    key = ("comparison", made.model, made.data, made.recipe)
    return RESULTS.remember(key, lambda: _compare(result.original, result.tempered), lambda _: 5_000)


def _compare(before: Outcome, after: Outcome) -> Comparison:
    task = after.task
    names = task.facts.stated
    original = {name: stated(name, before) for name in names}
    tempered = {name: stated(name, after) for name in names}
    change = {name: difference(name, before, after) for name in names}
    if not task.decides:
        return Comparison(task, original, tempered, change, shown_by(change[task.facts.headline]))
    changed = flips(before, after)
    recalls = [recall(before, after, place) for place in range(len(after.classes))]
    return Comparison(
        task, original, tempered, change, detectable(changed), changed, mcnemar(changed),
        recalls=tuple(now for now, _ in recalls),
        recall_changes=tuple(moved for _, moved in recalls),
    )  # fmt: skip


def shown_by(change: Quantity) -> float:
    """The smallest difference this set could have shown with 80 % power at the 5 % level, by its normal error."""
    interval = change.interval
    if interval is None:
        return 0.0
    error = (interval.high - interval.low) / (2 * NORMAL)
    return error * (NORMAL + float(special.ndtri(POWER)))


def stated(name: str, outcome: Outcome) -> Quantity:
    """A metric of an outcome with its interval."""
    measure = method("metric", name).function
    interval: Interval = interval_of(name, outcome)
    return Quantity(measure.of(outcome), outcome.task.unit_of(measure.unit), "measured", interval, outcome.n)


def recall(before: Outcome, after: Outcome, place: int) -> tuple[Quantity, Quantity]:
    """A class's recall (Wilson's interval) and its paired change (Agresti and Min's); 0 of 0 for an empty class."""
    of = before.labels == place
    n = int(of.sum())
    was, now = before.correct[of], after.correct[of]
    right, size = float(now.sum()), max(n, 1)
    low, high = (float(end) for end in wilson(right, float(n)))
    gained, lost = int((~was & now).sum()), int((was & ~now).sum())
    change = Interval(0.0, 0.0)
    if gained or lost or not np.array_equal(before.probabilities, after.probabilities):
        change = matched_pairs(Flips(gained + lost, gained, lost, 0, n))
    return (
        Quantity(right / size, "fraction", "measured", Interval(low, high), n),
        Quantity((gained - lost) / size, "fraction", "measured", change, n),
    )
