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

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse import csr_array, hstack

from core.engine.estimate import LEVEL, LOOKS, Strata
from core.metrics._measure import Measure
from core.registry import method
from core.types import Floats, Integers, Interval, Quantity

ESTIMATED = ("macro_f1", "ece", "nll", "brier")
RATES = ("macro_f1",)  # move by about 1 / N with each change, as the accuracy does
DRAWS = 300  # the spread of the draws is then known to 4 %
PRIOR = 0.5  # weight, in examples, of changes not yet seen in a stratum: Jeffreys' for a proportion
REACH = float(stats.norm.ppf(0.5 + (1 - (1 - LEVEL) / len(LOOKS)) / 2))  # looks share the 5 % between them


@dataclass(frozen=True)
class Weighted:
    """Estimates of metrics and of each class's recall, with those of their changes."""

    values: Mapping[str, Quantity]
    changes: Mapping[str, Quantity]
    recalls: tuple[Quantity, ...]
    recall_changes: tuple[Quantity, ...]


def weighted(
    strata: Strata,
    seen: NDArray[np.bool_],
    before: Floats,
    after: Floats,
    labels: Integers,
    least: float,
) -> Weighted:
    """Estimate from the original's probabilities `before` `(N, C)` and the tempered ones `after` `(n, C)`.

    `after` holds the seen examples in order; `least` is the width of the accuracy's interval, as a fraction.
    """
    rows = np.flatnonzero(seen)
    old, new = before[rows], after
    changed = old.argmax(1) != new.argmax(1)
    weights, draws = _weights(strata, seen, changed)
    blocks, whole = [], []
    for name in ESTIMATED:
        measure: Measure = method("metric", name).function
        blocks.append(measure.cells(new, labels[rows]) - measure.cells(old, labels[rows]))
        whole.append(_totals(measure, before, labels))
    classes = before.shape[1]
    blocks.append(_right(new, labels[rows]) - _right(old, labels[rows]))
    whole.append(np.asarray(_right(before, labels).sum(0), np.float64).reshape(-1))
    moves = hstack(blocks, format="csr").T
    middle, spread = moves @ weights, (moves @ draws).T
    ends = np.cumsum([0, *(len(totals) for totals in whole)])
    n, total = len(rows), len(labels)

    def both(known: Floats, value: Floats, drawn: Floats, unit: str, width: float) -> tuple[Quantity, Quantity]:
        low, high = _ends(value, drawn, width)
        base = float(known)
        interval = Interval(max(0.0, low), min(1.0, high) if unit == "fraction" else high)
        kept = min(max(float(value), interval.low), interval.high)
        change = Quantity(kept - base, unit, "estimated", Interval(low - base, high - base), n)
        return Quantity(kept, unit, "estimated", interval, n), change

    values, changes = {}, {}
    for place, name in enumerate(ESTIMATED):
        measure = method("metric", name).function
        part = slice(ends[place], ends[place + 1])
        known = measure.total(whole[place])
        value, drawn = measure.total(whole[place] + middle[part]), measure.total(whole[place] + spread[:, part])
        if name == "ece":
            inflation = max(0.0, float(drawn.mean() - value))
            drawn, value = drawn - 2 * inflation, np.maximum(value - inflation, 0.0)
        pair = both(known, value, drawn, measure.unit, least if name in RATES else 0.0)
        values[name], changes[name] = pair
    part = slice(ends[-2], ends[-1])
    size = np.maximum(np.bincount(labels, minlength=classes), 1)
    known = whole[-1] / size
    rates, drawn = known + middle[part] / size, known + spread[:, part] / size
    pairs = [both(known[c], rates[c], drawn[:, c], "fraction", 2 / size[c] * (n < total)) for c in range(classes)]
    return Weighted(values, changes, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))


def _totals(measure: Measure, probabilities: Floats, labels: Integers) -> Floats:
    return np.asarray(measure.cells(probabilities, labels).sum(0), np.float64).reshape(-1)


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
    share = generator.standard_exponential((len(of), draws))
    sums = np.zeros((count, draws))
    for stratum in range(count):
        sums[stratum] = share[of == stratum].sum(0)
    pool = [np.flatnonzero(changed & (strata.right[of] == side)) for side in strata.right]
    prior = generator.gamma(PRIOR, size=(count, draws))
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


def _ends(value: Floats, drawn: Floats, width: float) -> tuple[float, float]:
    """An interval around `value` from draws around it, skewed as they are and at least `width` wide."""
    off = drawn - value
    below = float(np.sqrt((np.minimum(off, 0) ** 2).sum() / max((off < 0).sum(), 1)))
    above = float(np.sqrt((np.maximum(off, 0) ** 2).sum() / max((off > 0).sum(), 1)))
    low, high = float(value) - REACH * below, float(value) + REACH * above
    missing = max(0.0, width - (high - low)) / 2
    return low - missing, high + missing
