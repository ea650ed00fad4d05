"""Original against tempered, once a point: differences with intervals, flips, significance, one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from core.engine.memory import RESULTS
from core.engine.statistics import (
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
from core.types import Interval, Outcome, Quantity, Result

STATED = ("accuracy", "macro_f1", "ece", "nll", "brier")
SIGNIFICANT = 0.05  # two-sided; the level of every interval shown


@dataclass(frozen=True)
class Comparison:
    """Everything that is said about two models on the same examples.

    `original` and `tempered` hold each metric's value with its interval, `change` the paired difference
    with its own, all as fractions (NLL in nats); `recalls` are the tempered model's, one a class.
    `detectable` is the smallest accuracy difference this set could have shown.
    """

    original: Mapping[str, Quantity]
    tempered: Mapping[str, Quantity]
    change: Mapping[str, Quantity]
    flips: Flips
    test: McNemar
    detectable: float
    recalls: tuple[Quantity, ...] = ()
    recall_changes: tuple[Quantity, ...] = ()

    @property
    def significant(self) -> bool:
        """Whether the accuracies differ beyond chance (McNemar, mid-p)."""
        return self.test.mid_p < SIGNIFICANT


def compare(result: Result) -> Comparison:
    """Compare a result's two outcomes. Remembered by what produced them."""
    made = result.tempered.provenance
    key = ("comparison", made.model, made.data, made.recipe)
    return RESULTS.remember(key, lambda: _compare(result.original, result.tempered), lambda _: 5_000)


def _compare(before: Outcome, after: Outcome) -> Comparison:
    changed = flips(before, after)
    recalls = [recall(before, after, place) for place in range(len(after.classes))]
    return Comparison(
        original={name: _quantity(name, before) for name in STATED},
        tempered={name: _quantity(name, after) for name in STATED},
        change={name: difference(name, before, after) for name in STATED},
        flips=changed,
        test=mcnemar(changed),
        detectable=detectable(changed),
        recalls=tuple(now for now, _ in recalls),
        recall_changes=tuple(change for _, change in recalls),
    )


def _quantity(name: str, outcome: Outcome) -> Quantity:
    measure = method("metric", name).function
    value = measure.value(outcome.probabilities, outcome.labels)
    interval: Interval = interval_of(name, outcome)
    return Quantity(value, measure.unit, "measured", interval, outcome.n)


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
