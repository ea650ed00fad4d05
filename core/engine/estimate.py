"""Estimate the difference between two models from a few examples of a set whose original is fully known.

What is known: the original's logits and correctness on all N examples. What is asked: on how many of them does the
tempered model change sides. Assumptions: within a stratum the examples seen are a simple random sample without
replacement, which the fixed random order below gives; nothing is assumed of the rates themselves.

- Strata: the original's margin (top logit less the second) cut at quantiles, finer where it is small, times whether
  the original is right. In a stratum of right examples the tempered model can only lose, in a wrong one only gain, so
  each change is a Bernoulli draw (stratified evaluation: arXiv 2406.07320; active testing: Kossen et al. 2021,
  arXiv 2103.05331).
- Two phases: a pilot shared out by what margins usually do, then Neyman's allocation by what the pilot saw.
- Intervals: in each stratum the unseen examples follow a beta-binomial under Jeffreys' prior, which holds for rare
  changes and for none seen; only unseen examples are uncertain, so the finite population is respected and the
  interval closes to a point when all are seen. Strata are added by simulation, and the estimate lies inside. Each end
  uses the prior only of the changes that push it outwards: half a change in every stratum would otherwise add up, and
  lift both ends of the number of flips above the truth.
- Looks: the sample sizes at which an estimate is shown are fixed beforehand and share the 5 % between them
  (Bonferroni), so that watching the interval tighten does not cheat.
- Every example seen is part of the exact result; none is drawn or counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.types import Floats, How, Integers, Interval, Outcome, Quantity

CUTS = (0.04, 0.10, 0.20, 0.40)  # quantiles of the margin between strata
LOOKS = (800, 2_500)  # examples seen when an estimate is shown, at most; what follows is the exact result
WORTH = 1.5  # a set smaller than this many times the first look is evaluated whole at once
LEVEL = 0.95
DRAWS = 2_000  # simulated totals: each end of an interval then rests on some 25 draws
PILOT_RATE = 0.2  # share of the least sure examples that the pilot expects to change sides
LEAST = 10  # examples of a stratum seen at the first look
PRIOR = 0.5  # Jeffreys' for a proportion
LITTLE = 1e-3  # practically no prior, where beta needs one


@dataclass(frozen=True)
class Strata:
    """`of` `(N,)` names each example's stratum; the rest but `order` is `(H,)`.

    `right` says whether the original is right there; of numbers it always is. `spread` is how much one example's
    contribution is expected to vary before anything is seen; `counts` says that contributions are 0 or 1.
    `order` `(N,)` is the fixed random order in which examples are taken within each stratum.
    """

    of: Integers
    size: Integers
    right: NDArray[np.bool_]
    order: Integers
    spread: Floats
    counts: bool = True


@dataclass(frozen=True)
class Estimate:
    """What `n` examples say of all `total`.

    `values` and `changes` hold metrics by name, the task's headline first, `recalls` and `recall_changes` one
    quantity a class, `flips` the changed predictions as a count, None where numbers are predicted. While the recipe's
    confidence calibration is still to be fitted, which `calibrated` says, there is no more than accuracy and flips.
    """

    n: int
    total: int
    values: Mapping[str, Quantity] = field(default_factory=dict)
    changes: Mapping[str, Quantity] = field(default_factory=dict)
    flips: Quantity | None = None
    calibrated: bool = False
    recalls: tuple[Quantity, ...] = ()
    recall_changes: tuple[Quantity, ...] = ()


def stratify(original: Outcome, seed: int = 0) -> Strata:
    """Strata of an original's examples. Ties in the margin, also all margins equal, are split by place.

    Numbers have no margin: there the original's own error says where a difference matters, since the squared error
    moves by twice that error times the change.
    """
    n = original.n
    if original.task.decides:
        top = np.partition(original.logits.astype(np.float64), -2, axis=1)[:, -2:]
        key, right = np.abs(top[:, 1] - top[:, 0]), original.correct
    else:
        key, right = -np.abs(original.values - original.labels), np.ones(n, bool)
    rank = np.empty(n, np.int64)
    rank[np.argsort(key, kind="stable")] = np.arange(n)
    bins = np.searchsorted(np.asarray(CUTS) * n, rank, side="right")
    present, of = np.unique(2 * bins + ~right, return_inverse=True)
    size = np.bincount(of).astype(np.int64)
    if original.task.decides:  # the pilot assumes that changes halve from one margin stratum to the next
        rate = PILOT_RATE * 0.5 ** (present // 2)
        spread = np.sqrt(rate * (1 - rate))
    else:
        spread = np.bincount(of, np.abs(key)) / size
    order = np.random.default_rng(seed).permutation(n)
    return Strata(of.astype(np.int64), size, present % 2 == 0, order, spread, original.task.decides)


def next_examples(strata: Strata, seen: NDArray[np.bool_], moved: Floats, budget: int) -> Integers:
    """Which examples to evaluate next so that about `budget` are seen in all, ascending.

    Strata that are small or exhausted may leave it a little under or over. `seen` `(N,)` bool: what was evaluated;
    `moved` `(N,)` float64: what each contributes to the difference, such as 1 where it changed sides.
    """
    taken = np.bincount(strata.of[seen], minlength=len(strata.size))
    spread = strata.size * (_spread(strata, seen, moved, taken) if seen.any() else strata.spread)
    spread = np.maximum(spread, 1e-300)
    wanted = np.maximum(np.floor(budget * spread / spread.sum()).astype(np.int64), LEAST)
    more = np.maximum(np.minimum(wanted, strata.size) - taken, 0)
    fresh = strata.order[~seen[strata.order]]
    chosen = [fresh[strata.of[fresh] == stratum][:count] for stratum, count in enumerate(more)]
    return np.sort(np.concatenate(chosen))


def _spread(strata: Strata, seen: NDArray[np.bool_], moved: Floats, taken: Integers) -> Floats:
    """The deviation of the contributions seen in each stratum `(H,)`, of few drawn towards that of all."""
    of, values = strata.of[seen], moved[seen]
    if strata.counts:
        rate = (np.bincount(of, values, len(strata.size)) + 0.5) / (taken + 1)
        return np.sqrt(rate * (1 - rate))
    mean = np.bincount(of, values, len(strata.size)) / np.maximum(taken, 1)
    squares = np.bincount(of, (values - mean[of]) ** 2, len(strata.size))
    return np.sqrt((squares + float(values.var())) / (taken + 1))


def estimate(
    strata: Strata, seen: NDArray[np.bool_], before: Integers, after: Integers, labels: Integers
) -> Estimate:
    """Estimate accuracy and flips from predictions `before` (all) and `after` (valid where `seen`), each `(N,)`."""
    n, total = int(seen.sum()), len(labels)
    sides = (before == labels) != (after == labels)
    sign = np.where(strata.right, -1, 1)
    shares = 1 - (1 - LEVEL) / len(LOOKS)
    change, change_interval = counted(strata, seen, sides, sign, shares)
    flipped, flips_interval = counted(strata, seen, before != after, np.ones_like(sign), shares)
    how: How = "measured" if n == total else "estimated"
    base = float((before == labels).mean())
    low, high = change_interval[0] / total, change_interval[1] / total
    inside = Interval(max(0.0, base + low), min(1.0, base + high))
    return Estimate(
        n,
        total,
        {"accuracy": Quantity(base + change / total, "fraction", how, inside, n)},
        {"accuracy": Quantity(change / total, "fraction", how, Interval(low, high), n)},
        Quantity(flipped, "predictions", how, Interval(*flips_interval), n),
    )


def counted(
    strata: Strata, seen: NDArray[np.bool_], hit: NDArray[np.bool_], sign: Integers, level: float
) -> tuple[float, tuple[float, float]]:
    """The signed number of hits in the population: stratified estimate and interval."""
    count = len(strata.size)
    taken = np.bincount(strata.of[seen], minlength=count)
    hits = np.bincount(strata.of[seen & hit], minlength=count)
    unseen = strata.size - taken
    rate = np.divide(hits, taken, out=np.zeros(count), where=taken > 0)
    value = float((sign * (hits + rate * unseen)).sum())
    generator = np.random.default_rng(0)

    def end(up: bool) -> float:
        """One end of the interval. Only what pushes it outwards gets the prior of changes not yet seen."""
        prior = np.where((sign > 0) == up, PRIOR, LITTLE)
        rates = generator.beta(hits + prior, taken - hits + PRIOR, (DRAWS, count))
        totals = (sign * (hits + generator.binomial(unseen, rates))).sum(1)
        return float(np.quantile(totals, (1 + level) / 2 if up else (1 - level) / 2))

    return value, (min(end(False), value), max(end(True), value))
