"""Every threshold on one probability: what it catches, what it costs, and which one a wish chooses.

An example is called positive where its score is at least the threshold. Pure functions of `scores` float64 `(N,)`,
the probabilities of the positive class, and `positive` bool `(N,)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import TemperError
from core.types import Floats, Integers

Flags = NDArray[np.bool_]
ALWAYS = 0.0  # the threshold that calls every example positive
NEVER = math.inf  # and none
ROUNDING = 1e-9  # costs and shares this near each other, relatively, are equal: sums of decimals are not exact


@dataclass(frozen=True)
class Costs:
    """What the two errors cost, in any one unit: finite, not negative and not both zero. Raises `TemperError`."""

    false_alarm: float = 1.0
    miss: float = 1.0

    def __post_init__(self) -> None:
        for cost in (self.false_alarm, self.miss):
            if not (isinstance(cost, int | float) and math.isfinite(cost) and cost >= 0):
                raise TemperError(f"A cost must be a number of 0 or more; got {cost!r:.40}.")
        if self.false_alarm + self.miss == 0:
            raise TemperError(
                "Both errors cost 0, so that no threshold is cheaper than another.", "Give one of them a cost."
            )

    @property
    def threshold(self) -> float:
        """Where a calibrated model is cheapest: c_fa / (c_fa + c_miss) (Elkan 2001, IJCAI, The foundations...)."""
        return self.false_alarm / (self.false_alarm + self.miss)


@dataclass(frozen=True)
class Curve:
    """The counts at every threshold that tells examples apart, from never to always: arrays `(T,)`, T at least 2.

    `thresholds` fall from infinity to 0 and lie midway between neighbouring scores; `tp` and `fp` rise. `levels`
    `(T - 1,)` are the scores, falling, each once.
    """

    thresholds: Floats
    levels: Floats
    tp: Integers
    fp: Integers

    @property
    def positives(self) -> int:
        """Number of positive examples."""
        return int(self.tp[-1])

    @property
    def negatives(self) -> int:
        """Number of negative examples."""
        return int(self.fp[-1])

    @property
    def n(self) -> int:
        """Number of examples."""
        return self.positives + self.negatives

    @property
    def fn(self) -> Integers:
        """Positive examples that are missed."""
        return self.positives - self.tp

    @property
    def tn(self) -> Integers:
        """Negative examples that are left alone."""
        return self.negatives - self.fp

    @property
    def sensitivity(self) -> Floats:
        """Share of the positives that are caught (recall, true positive rate); 0 where there are none."""
        return self.tp / max(self.positives, 1)

    @property
    def false_alarm_rate(self) -> Floats:
        """Share of the negatives called positive, 1 - specificity; 0 where there are none."""
        return self.fp / max(self.negatives, 1)

    @property
    def precision(self) -> Floats:
        """Share of the calls that are right; 1 where there is no call, as scikit-learn has it."""
        calls = self.tp + self.fp
        return np.divide(self.tp, calls, out=np.ones(len(calls)), where=calls > 0)

    def at(self, threshold: Floats | float) -> Integers:
        """The place in the arrays whose counts are those of any given threshold."""
        found: Integers = np.searchsorted(-self.levels, -np.asarray(threshold, np.float64), side="right")
        return found

    def cost(self, costs: Costs) -> Floats:
        """Mean cost an example at each threshold."""
        return (costs.false_alarm * self.fp + costs.miss * self.fn) / max(self.n, 1)


def curve(scores: Floats, positive: Flags) -> Curve:
    """The curve of all thresholds; equal scores are never told apart. Raises `TemperError` for no example."""
    if not len(scores):
        raise TemperError("A threshold needs at least one example; got none.")
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.flatnonzero(np.diff(falling, append=-1.0))
    caught = np.cumsum(positive[order], dtype=np.int64)[last]
    upper, lower = falling[last[:-1]], falling[last[:-1] + 1]
    between = (upper + lower) / 2
    between = np.where(between > lower, between, upper)  # neighbouring floats have nothing between them
    thresholds = np.concatenate([[NEVER], between, [ALWAYS]])
    return Curve(thresholds, falling[last], np.r_[0, caught], np.r_[0, last + 1 - caught])


def cheapest(of: Curve, costs: Costs) -> float:
    """The threshold with the least mean cost on these examples.

    Of equally cheap ones the nearest to `costs.threshold`, and of two equally near the higher, so that the choice
    does not hang on the order of the examples.
    """
    cost = of.cost(costs)
    cheap = np.flatnonzero(cost <= cost.min() + ROUNDING * (costs.false_alarm + costs.miss))
    away = np.abs(of.thresholds[cheap] - costs.threshold)
    return float(of.thresholds[cheap[np.argmin(away)]])  # the first of equals: thresholds fall


def of_sensitivity(of: Curve, wish: float) -> float:
    """The highest threshold that catches at least a share `wish` of the positives. Raises `TemperError`."""
    _check(wish, "sensitivity", of.positives, "positive")
    return float(of.thresholds[_first(of.tp, wish * of.positives)])


def of_specificity(of: Curve, wish: float) -> float:
    """The lowest threshold that leaves at least a share `wish` of the negatives alone. Raises `TemperError`."""
    _check(wish, "specificity", of.negatives, "negative")
    enough = np.flatnonzero(of.tn >= wish * of.negatives - ROUNDING * of.n)
    return float(of.thresholds[enough[-1]])


def _first(rising: Integers, least: float) -> int:
    return int(np.searchsorted(rising, least - ROUNDING * max(float(rising[-1]), 1.0)))


def _check(wish: float, name: str, n: int, kind: str) -> None:
    if not (isinstance(wish, int | float) and 0 <= wish <= 1):
        raise TemperError(f"The {name} wished for must be a share from 0 to 1; got {wish!r:.40}.")
    if n == 0:
        raise TemperError(
            f"A threshold by {name} needs a {kind} example to choose it on; the split has none.",
            "Choose the threshold by costs or by hand.",
        )


CHOOSERS: dict[str, Callable[[Curve, float], float]] = {"sensitivity": of_sensitivity, "specificity": of_specificity}
