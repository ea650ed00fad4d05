"""Estimate any registered metric from the examples seen, by weighting, with intervals.

A metric is a function of totals of per-example statistics (`core.metrics._measure`). The original's totals are known
on all N examples; what is estimated is the total of the differences `d` that the tempered model makes: in a stratum
of size N_h with n_h seen, each seen example stands for N_h / n_h. That is the stratified difference estimator
(Särndal, Swensson and Wretman 1992, Model assisted survey sampling, section 6.3), and the metric is its function.

Intervals: the unseen examples of a stratum are drawn from what was seen there and, with the weight of half an
example, from the changed examples seen anywhere: the Polya posterior of a finite population (Ghosh and Meeden 1997,
Bayesian methods for finite population sampling) with a prior that knows of changes not yet seen in that stratum.
Only unseen examples vary, so the interval closes as they run out. An error of calibration is a sum of absolute
values, which noise inflates: the inflation that the draws show is taken off the estimate. Rates are never surer than
the accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.sparse import csr_array, hstack

from core.engine.estimate import LEVEL, LOOKS, Strata, counted
from core.metrics._measure import Cells, Measure
from core.metrics._numbers import errors, half_widths
from core.registry import method
from core.task import Task
from core.types import Floats, How, Integers, Interval, Labels, Outcome, Quantity

RIGHT = "right"  # names the statistics of the recalls
RATES = ("macro_f1", "coverage")  # move by about 1 / N with each change, as the accuracy does
DRAWS = 300  # the spread of the draws is then known to 4 %
PRIOR = 0.5  # weight, in examples, of changes not yet seen in a stratum: Jeffreys' for a proportion
LEAST_SPREAD = 0.25  # shape of the draws in a stratum of which two or fewer were seen
# Where a bin's gap is nothing but noise, a second noise inflates its absolute value by sqrt(2) - 1 of what the first
# did: what is taken off may then fall short by 1 / (sqrt(2) - 1) - 1 times as much.
MORE = 1 / (2**0.5 - 1) - 1
# Degrees of freedom of Student's t: one for so many examples seen, since a few strata carry most of the spread.
PER_FREEDOM, LEAST_FREEDOM, MOST_FREEDOM = 40, 4, 20
SHARE = (1 - LEVEL) / len(LOOKS)  # looks share the 5 % between them


@dataclass(frozen=True)
class Weighted:
    """Estimates of metrics and of each class's recall, with those of their changes."""

    values: Mapping[str, Quantity]
    changes: Mapping[str, Quantity]
    recalls: tuple[Quantity, ...]
    recall_changes: tuple[Quantity, ...]


def estimated(task: Task) -> tuple[str, ...]:
    """The metrics that are estimated by weighting: all that are stated but the accuracy, which is counted."""
    return tuple(name for name in task.facts.stated if name != "accuracy")


def weighted(
    strata: Strata,
    seen: NDArray[np.bool_],
    original: Outcome,
    after: Floats,
    least: float,
    whole: Mapping[str, Floats],
) -> Weighted:
    """Estimate from an original, known whole, and what the tempered model predicts, `after` `(n, K)`.

    `after` holds the seen examples in order; `least` is the width of the accuracy's interval, as a fraction, which
    numbers do not have; `whole` are the original's `totals`.
    """
    task, labels = original.task, original.labels
    rows = np.flatnonzero(seen)
    old, new = original.predicted[rows], after
    if not task.decides:
        least = _crossings(strata, seen, old, new, labels[rows])
    changed = old.argmax(1) != new.argmax(1) if task.decides else _heavy(old, new, labels[rows])
    weights, draws = _weights(strata, seen, changed)
    every = _cells(task)
    blocks = [cells(new, labels[rows]) - cells(old, labels[rows]) for cells in every.values()]
    moves = hstack(blocks, format="csr").T
    middle, spread = moves @ weights, (moves @ draws).T
    ends = np.cumsum([0, *(block.shape[1] for block in blocks)])
    n, total = len(rows), len(labels)
    how: How = "measured" if n == total else "estimated"
    freedom = min(max(n / PER_FREEDOM, LEAST_FREEDOM), MOST_FREEDOM)
    reach = float(special.stdtrit(freedom, 1 - SHARE / 2))
    rank = _one_moved(labels) * (1 - n / total) if task.kind == "binary" else 0.0

    def pair(
        known: float, value: float, drawn: Floats, unit: str, width: float, inflated: float = 0.0,
        limits: tuple[float, float] = (0.0, 1.0),
    ) -> tuple[Quantity, Quantity]:  # fmt: skip
        """The value and its change, between the ends that the draws give."""
        low, high = _ends(value, drawn, reach, width, inflated)
        interval = Interval(max(limits[0], low), min(limits[1], high))
        kept = min(max(value, interval.low), interval.high)
        change = Quantity(kept - known, unit, how, Interval(low - known, high - known), n)
        return Quantity(kept, unit, how, interval, n), change

    values, changes = {}, {}
    for place, name in enumerate(estimated(task)):
        measure: Measure = method("metric", name).function
        part = slice(ends[place], ends[place + 1])
        known = float(measure.total(whole[name]))
        binned = float(measure.total(whole[name] + middle[part]))
        # Where totals only come close to the metric, the original says by how much they miss it, until all is seen.
        base = measure.of(original) if measure.exact else known
        missed = base - known
        if measure.exact and n == total:
            missed = measure.of(replace(original, predicted=new)) - binned
        value, drawn = binned + missed, measure.total(whole[name] + spread[:, part]) + missed
        inflation = max(0.0, float(drawn.mean()) - value) if name == "ece" else 0.0
        values[name], changes[name] = pair(
            base,
            max(value - inflation, 0.0) if inflation else value,
            drawn - 2 * inflation,
            task.unit_of(measure.unit),
            least if name in RATES else rank if measure.one_sided else 0.0,
            MORE * inflation,
            (measure.least, min(measure.most, 1.0) if measure.unit == "fraction" else measure.most),
        )
    if not task.decides:
        return Weighted(values, changes, (), ())
    classes = len(task.classes)
    part = slice(ends[-2], ends[-1])
    size = np.maximum(np.bincount(labels, minlength=classes), 1)
    right, floor = whole[RIGHT] / size, least * np.sqrt(total / size)
    rates, drawn = right + middle[part] / size, right + spread[:, part] / size
    pairs = [pair(float(right[c]), float(rates[c]), drawn[:, c], "fraction", floor[c]) for c in range(classes)]
    return Weighted(values, changes, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def _one_moved(labels: Labels) -> float:
    """What an area under a curve moves by where one example of the rarer of two classes passes half of the other."""
    return 0.5 / max(int(np.bincount(labels, minlength=2).min()), 1)


def _crossings(strata: Strata, seen: NDArray[np.bool_], old: Floats, new: Floats, labels: Labels) -> float:
    """The width of an interval of the coverage's change, a fraction, where values that leave the interval shown and
    values that come into it are counted like changes of sides."""
    inside = [np.abs(errors(one, labels)) <= half_widths(one) for one in (old, new)]
    widths = []
    for went, came in (inside, inside[::-1]):
        hit = np.zeros(len(seen), bool)
        hit[seen] = came & ~went
        low, high = counted(strata, seen, hit, np.ones(len(strata.size), np.int64), 1 - SHARE)[1]
        widths.append((high - low) / len(seen))
    return math.hypot(*widths)


def _heavy(old: Floats, new: Floats, labels: Labels) -> NDArray[np.bool_]:
    """The few examples that carry half of how much the squared error moved `(n,)`."""
    moved = np.abs(errors(new, labels) ** 2 - errors(old, labels) ** 2)
    order = np.argsort(-moved, kind="stable")
    before = np.cumsum(moved[order]) - moved[order]
    heavy = np.zeros(len(labels), bool)
    heavy[order] = before < moved.sum() / 2
    return heavy


def totals(original: Outcome) -> Mapping[str, Floats]:
    """The totals of every per-example statistic over all examples, by name."""
    return {
        name: np.asarray(cells(original.predicted, original.labels).sum(0), np.float64).reshape(-1)
        for name, cells in _cells(original.task).items()
    }


def _cells(task: Task) -> dict[str, Cells]:
    """Per-example statistics of every metric estimated and, last, of the recalls where there are classes."""

    def facing(measure: Measure) -> Cells:
        return lambda predicted, labels: measure.cells(*measure.facing(task, predicted, labels))

    found: dict[str, Cells] = {name: facing(method("metric", name).function) for name in estimated(task)}
    return found | {RIGHT: _right} if task.decides else found


def _right(probabilities: Floats, labels: Integers) -> csr_array:
    """One column a class: 1 where an example of the class is predicted right."""
    n, classes = probabilities.shape
    hit = (probabilities.argmax(1) == labels).astype(np.float64)
    return csr_array((hit, labels, np.arange(n + 1)), shape=(n, classes))


def _weights(
    strata: Strata, seen: NDArray[np.bool_], changed: NDArray[np.bool_], draws: int = DRAWS
) -> tuple[Floats, Floats]:
    """How many examples each seen one stands for `(n,)`, and in each draw of the unseen ones `(n, DRAWS)`."""
    generator = np.random.default_rng(0)
    of = strata.of[seen]
    count = len(strata.size)
    taken = np.bincount(of, minlength=count)
    unseen = (strata.size - taken).astype(np.float64)
    # The mean of the unseen ones varies about that of the seen ones also because they are few: 1 / n + 1 / unseen.
    left = unseen / np.maximum(strata.size, 1)
    spread = (left * np.maximum((taken - 2) / np.maximum(taken, 1), LEAST_SPREAD))[of]
    share = generator.standard_gamma(spread[:, None], (len(of), draws))
    sums = np.zeros((count, draws))
    for stratum in range(count):
        sums[stratum] = share[of == stratum].sum(0)
    pool = [np.flatnonzero(changed & (strata.right[of] == side)) for side in strata.right]
    prior = generator.gamma(PRIOR * left[:, None], size=(count, draws))
    prior[[len(p) == 0 for p in pool]] = 0
    scale = unseen[:, None] / np.maximum(sums + prior, 1e-300)
    share *= scale[of]
    share += 1
    every = np.arange(draws)
    for stratum in range(count):
        if len(pool[stratum]):
            drawn = generator.choice(pool[stratum], draws)
            share[drawn, every] += scale[stratum] * prior[stratum]
    return 1 + unseen[of] / np.maximum(taken, 1)[of], share


def _ends(value: float, drawn: Floats, reach: float, width: float, inflated: float = 0.0) -> tuple[float, float]:
    """An interval of `reach` deviations around `value` from draws, skewed as they are and at least `width` wide.

    Draws whose mean lies above the value, as the prior makes them, reach further up and no less far down.
    `inflated` is how much more noise may have been added to the value than was taken off.
    """
    off = drawn - drawn.mean()
    below = float(np.sqrt((np.minimum(off, 0) ** 2).sum() / max((off < 0).sum(), 1)))
    above = float(np.sqrt((np.maximum(off, 0) ** 2).sum() / max((off > 0).sum(), 1)))
    shift = float(drawn.mean() - value)
    low = value - reach * below + min(shift, 0.0) - inflated
    high = value + reach * above + max(shift, 0.0)
    missing = max(0.0, width - (high - low)) / 2
    return low - missing, high + missing
