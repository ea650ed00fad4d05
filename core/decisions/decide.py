"""A decision by threshold: chosen on the calibration split, judged on the evaluation split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from core.decisions.thresholds import ALWAYS, CHOOSERS, NEVER, Costs, Curve, Flags, cheapest, curve
from core.engine.statistics import LEVEL, Flips, matched_pairs, wilson
from core.errors import TemperError
from core.types import Floats, Interval, Outcome, Quantity

How = Literal["cheapest", "hand", "sensitivity", "specificity"]
HOWS: tuple[How, ...] = ("cheapest", "hand", "sensitivity", "specificity")


@dataclass(frozen=True)
class Judged:
    """Original and tempered of a binary task, each on the split that chooses and on the one that judges.

    Raises `TemperError` where the task is not binary, or the two models did not see the same examples.
    """

    original_calibration: Outcome
    tempered_calibration: Outcome
    original: Outcome
    tempered: Outcome

    def __post_init__(self) -> None:
        task = self.original.task
        if task.kind != "binary":
            raise TemperError(f"A threshold tells two classes apart; this model's task is {task.kind}.")
        for one, other in ((self.original_calibration, self.tempered_calibration), (self.original, self.tempered)):
            if one.task != task or other.task != task or not np.array_equal(one.labels, other.labels):
                raise TemperError("Original and tempered must be judged on the same examples of one task.")

    @property
    def positive(self) -> str:
        """Name of the class that is looked for."""
        return self.original.classes[self.original.task.positive]

    @property
    def negative(self) -> str:
        """Name of the other class."""
        return self.original.classes[1 - self.original.task.positive]

    @property
    def key(self) -> tuple[str, ...]:
        """What the four outcomes are made of."""
        made = self.tempered.provenance
        return made.model, made.data, made.recipe


@dataclass(frozen=True)
class Rule:
    """How the threshold is found: for these costs, by hand, or for at least a wished share. Raises `TemperError`."""

    how: How = "cheapest"
    costs: Costs = field(default_factory=Costs)
    threshold: float = 0.5  # where it is set by hand
    wish: float = 0.95  # least sensitivity or specificity on the calibration split

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise TemperError(f"A threshold is found by one of {', '.join(HOWS)}; got {self.how!r:.40}.")
        for name, share in (("threshold", self.threshold), ("wished share", self.wish)):
            if not (isinstance(share, int | float) and 0 <= share <= 1):
                raise TemperError(f"The {name} must be a number from 0 to 1; got {share!r:.40}.")

    def choose(self, of: Curve) -> float:
        """The threshold on the examples of a curve, those of the calibration split."""
        if self.how == "hand":
            return self.threshold
        return cheapest(of, self.costs) if self.how == "cheapest" else CHOOSERS[self.how](of, self.wish)


def scores(outcome: Outcome) -> Floats:
    """Probability of the positive class, float64 `(N,)`."""
    return outcome.probabilities[:, outcome.task.positive]


def truth(outcome: Outcome) -> Flags:
    """Whether each example is of the positive class, bool `(N,)`."""
    found: Flags = outcome.labels == outcome.task.positive
    return found


def curve_of(outcome: Outcome) -> Curve:
    """All thresholds of an outcome."""
    return curve(scores(outcome), truth(outcome))


@dataclass(frozen=True)
class Decision:
    """One model at one threshold on some examples: its errors and what they cost.

    Rates have Wilson's intervals; one of nothing has no value and says so. `cost`, `always` and `never` are mean
    costs an example of the model and of calling every example, or none, positive.
    """

    threshold: float
    tp: int
    fp: int
    tn: int
    fn: int
    sensitivity: Quantity
    specificity: Quantity
    precision: Quantity
    cost: Quantity
    always: Quantity
    never: Quantity

    @property
    def policy(self) -> str:
        """`always` or `never` where the threshold asks no score, else `threshold`."""
        return "always" if self.threshold <= ALWAYS else "never" if self.threshold == NEVER else "threshold"


def judge(outcome: Outcome, threshold: float, costs: Costs) -> Decision:
    """Judge a threshold on an outcome's examples."""
    calls, positive = scores(outcome) >= threshold, truth(outcome)
    tp, fp = int((calls & positive).sum()), int((calls & ~positive).sum())
    positives = int(positive.sum())
    negatives = len(positive) - positives
    fn, tn = positives - tp, negatives - fp
    return Decision(
        threshold,
        tp,
        fp,
        tn,
        fn,
        rate(tp, positives, "there is no positive example"),
        rate(tn, negatives, "there is no negative example"),
        rate(tp, tp + fp, "nothing is called positive"),
        cost_of(fp, fn, outcome.n, costs),
        cost_of(negatives, 0, outcome.n, costs),
        cost_of(0, positives, outcome.n, costs),
    )


def rate(successes: int, n: int, nothing: str) -> Quantity:
    """A share with Wilson's interval; without a value, `nothing` saying why, where it is of no example."""
    if n == 0:
        return Quantity(None, "fraction", "measured", None, 0, nothing)
    low, high = (float(end) for end in wilson(float(successes), float(n)))
    return Quantity(successes / n, "fraction", "measured", Interval(low, high, LEVEL), n)


def cost_of(false_alarms: int, misses: int, n: int, costs: Costs) -> Quantity:
    """Mean cost an example, with its interval."""
    return _weighted((false_alarms, misses), (costs.false_alarm, costs.miss), n)


def cost_difference(before: Outcome, after: Outcome, at: tuple[float, float], costs: Costs) -> Quantity:
    """The paired difference of mean cost, `after - before`, each at its own threshold `at`, with its interval.

    Only examples that the two call differently count: alarms and misses that came and that went. Equal scores at
    one threshold differ by nothing.
    """
    one, other, positive = scores(before) >= at[0], scores(after) >= at[1], truth(after)
    if _alike(before, after, at):
        return Quantity(0.0, "cost an example", "measured", Interval(0.0, 0.0, LEVEL), after.n)
    raised, dropped = ~one & other, one & ~other
    counts = [int((moved & kind).sum()) for kind in (~positive, positive) for moved in (raised, dropped)]
    return _weighted(counts, (costs.false_alarm, -costs.false_alarm, -costs.miss, costs.miss), after.n)


def _weighted(counts: Sequence[int], costs: Sequence[float], n: int) -> Quantity:
    """The sum of shares of `n`, each times its cost, with the interval made of their Wilson intervals (MOVER).

    Zou and Donner 2008, doi 10.1002/sim.3095. The shares exclude each other, which is not used: with few errors the
    interval holds more than 95 %. A bootstrap is set aside: it collapses where an error was not seen, and that may
    be the dear one (with misses ten times as dear and in 1 % of 171 examples it held in 82 %).
    """
    cost, share = np.array(costs, np.float64), np.array(counts, np.float64) / max(n, 1)
    low, high = wilson(np.array(counts, np.float64), float(n))
    down = np.where(cost > 0, share - low, high - share) * cost
    up = np.where(cost > 0, high - share, share - low) * cost
    value = float(cost @ share)
    least = 0.0 if (cost >= 0).all() else -math.inf
    ends = Interval(max(least, value - float(np.linalg.norm(down))), value + float(np.linalg.norm(up)), LEVEL)
    return Quantity(value, "cost an example", "measured", ends, n)


def _alike(before: Outcome, after: Outcome, at: tuple[float, float]) -> bool:
    return at[0] == at[1] and np.array_equal(scores(before), scores(after))


def share_difference(before: Outcome, after: Outcome, at: tuple[float, float], of: Flags) -> Quantity:
    """The paired difference of the share called rightly among the examples `of`: sensitivity or specificity.

    Agresti and Min's interval for matched pairs.
    """
    positive, n = truth(after)[of], int(of.sum())
    if n == 0:
        return Quantity(None, "fraction", "measured", None, 0, "there is no such example")
    was, now = (scores(before)[of] >= at[0]) == positive, (scores(after)[of] >= at[1]) == positive
    gained, lost = int((~was & now).sum()), int((was & ~now).sum())
    ends = matched_pairs(Flips(gained + lost, gained, lost, 0, n))
    if _alike(before, after, at):
        ends = Interval(0.0, 0.0, LEVEL)
    return Quantity((gained - lost) / n, "fraction", "measured", ends, n)
