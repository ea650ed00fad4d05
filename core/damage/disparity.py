"""Disparities: the largest gap between groups, before and after, with intervals and beside what chance alone makes.

A gap is the largest rate of a group less the smallest, as fairlearn defines `difference(method="between_groups")`
(Bird et al. 2020, Microsoft MSR-TR-2020-32); that of selection rates is its demographic parity difference, and the
larger one of the true and false positive rates its equalized odds difference. A gap is never below zero, and chance
alone makes one: beside each stands the gap that groups drawn at random would stay below in 95 % of cases.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.damage.groups import FEW, column_of
from core.data.handle import DataHandle
from core.engine.many import chance, holm
from core.engine.memory import RESULTS
from core.engine.statistics import LEVEL
from core.task import TaskKind
from core.types import Floats, Integers, Interval, Outcome, Quantity, Result

Name = Literal["accuracy", "selection", "tpr", "fpr", "mae", "bias"]
TITLES: dict[Name, str] = {
    "accuracy": "Accuracy",
    "selection": "Selection rate",
    "tpr": "True positive rate",
    "fpr": "False positive rate",
    "mae": "Mean absolute error",
    "bias": "Mean error",
}
OF: dict[TaskKind, tuple[Name, ...]] = {
    "binary": ("accuracy", "selection", "tpr", "fpr"),
    "multi-class": ("accuracy",),
    "regression": ("mae", "bias"),
}
RESAMPLES = 1_000
SHUFFLES = 500
ROOM = 2_000_000  # values resampled at once
CELLS = 16  # distinct pairs of values up to which they are counted instead of drawn
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Ends:
    """One model's gap: the groups at its two ends, their rates, and the gap with its interval."""

    low: str
    low_rate: float
    high: str
    high_rate: float
    gap: Quantity


@dataclass(frozen=True)
class Gap:
    """A disparity of both models, its paired change, and what chance alone would make of it.

    `n` examples of `groups` groups count; `left` names those with fewer than `FEW` examples that could count.
    None of it is known with fewer than two groups. `sure` says whether the change stands after Holm's correction for
    all gaps of the column.
    """

    name: Name
    n: int
    groups: int
    original: Ends | None
    tempered: Ends | None
    change: Quantity | None
    chance: float | None
    left: tuple[str, ...]
    sure: bool = False

    @property
    def title(self) -> str:
        """What is compared."""
        return TITLES[self.name]


@dataclass(frozen=True)
class Disparities:
    """The gaps of one column of groups."""

    title: str
    gaps: tuple[Gap, ...]
    n: int


def disparities(data: DataHandle, result: Result, title: str) -> Disparities:
    """Every gap that suits the task, remembered. Raises `TemperError` for an unknown column."""
    made = result.tempered.provenance
    key = ("disparities", made.model, made.data, made.recipe, title)
    return RESULTS.remember(key, lambda: _disparities(data, result, title), lambda _: 10_000)


def _disparities(data: DataHandle, result: Result, title: str) -> Disparities:
    names, of = column_of(data, title, "evaluation")
    kind, unit = result.tempered.task.kind, result.tempered.task.unit
    gaps = []
    for name in OF[kind]:
        (before, counted), (after, _) = (told(name, outcome) for outcome in (result.original, result.tempered))
        gaps.append(gap_of(name, before, after, of, counted, names, unit if kind == "regression" else "fraction"))
    known = [(k, gap.change) for k, gap in enumerate(gaps) if gap.change is not None]
    for (k, _), sure in zip(known, holm([chance(change) for _, change in known]), strict=True):
        gaps[k] = replace(gaps[k], sure=sure)
    return Disparities(title, tuple(gaps), result.tempered.n)


def told(name: Name, outcome: Outcome) -> tuple[Floats, Flags]:
    """What is averaged of each example, float64 `(N,)`, and which examples count, bool `(N,)`."""
    every = np.ones(outcome.n, bool)
    if name in ("mae", "bias"):
        off = outcome.values - outcome.labels
        return (np.abs(off) if name == "mae" else off), every
    if name == "accuracy":
        return outcome.correct.astype(np.float64), every
    called, positive = outcome.predictions == outcome.task.positive, outcome.labels == outcome.task.positive
    return called.astype(np.float64), {"selection": every, "tpr": positive, "fpr": ~positive}[name]


def gap_of(
    name: Name, before: Floats, after: Floats, of: Integers, counted: Flags, names: tuple[str, ...], unit: str
) -> Gap:
    """The gap between groups of the means of two columns `(N,)`, `of` `(N,)` the groups, over the `counted` examples.

    Intervals are a bootstrap's of 1,000: examples drawn anew within each group, the same for both models, the ends
    moved so that their mean is the gap seen, since resampling adds the noise that widens a gap a second time.
    """
    enough = [k for k in range(len(names)) if int((counted & (of == k)).sum()) >= FEW]
    left = tuple(names[k] for k in range(len(names)) if k not in enough)
    chosen = counted & np.isin(of, enough)
    n = int(chosen.sum())
    if len(enough) < 2:
        return Gap(name, n, len(enough), None, None, None, None, left)
    pair, groups = np.stack([before[chosen], after[chosen]]), np.searchsorted(enough, of[chosen])
    means = np.stack([pair[:, groups == k].mean(1) for k in range(len(enough))], 1)
    seen, drawn = np.ptp(means, axis=1), np.ptp(_resampled(pair, groups, len(enough)), axis=2)
    shown = [names[k] for k in enough]
    ends = [
        Ends(
            shown[int(row.argmin())], float(row.min()), shown[int(row.argmax())], float(row.max()),
            Quantity(float(gap), unit, "measured", _around(some, float(gap), 0.0), n),
        )
        for row, gap, some in zip(means, seen, drawn, strict=True)
    ]  # fmt: skip
    moved = float(seen[1] - seen[0])
    same = np.array_equal(pair[0], pair[1])
    interval = Interval(0.0, 0.0, LEVEL) if same else _around(drawn[1] - drawn[0], moved, -np.inf)
    change = Quantity(moved, unit, "measured", interval, n)
    return Gap(name, n, len(enough), ends[0], ends[1], change, _by_chance(pair[1], groups, len(enough)), left)


def _resampled(pair: Floats, groups: Integers, many: int) -> Floats:
    """Means of both rows of `pair` `(2, N)` in each group under each resample, `(2, RESAMPLES, many)`."""
    generator, found = np.random.default_rng(0), np.empty((2, RESAMPLES, many))
    for k in range(many):
        inside = pair[:, groups == k]
        cells, counts = np.unique(inside, axis=1, return_counts=True)
        n, few = inside.shape[1], cells.shape[1] <= CELLS
        step = RESAMPLES if few else max(1, ROOM // n)
        for start in range(0, RESAMPLES, step):
            rows = slice(start, min(start + step, RESAMPLES))
            size = rows.stop - rows.start
            if few:  # how often each of a few values is drawn says it all
                found[:, rows, k] = cells @ generator.multinomial(n, counts / n, size).T / n
            else:
                found[:, rows, k] = inside[:, generator.integers(0, n, (size, n))].mean(2)
    return found


def _around(drawn: Floats, value: float, least: float) -> Interval:
    low, high = np.quantile(drawn - drawn.mean() + value, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(max(least, float(min(low, value))), float(max(high, value)), LEVEL)


def _by_chance(values: Floats, groups: Integers, many: int) -> float:
    """The gap that 95 % of the ways to deal the examples into groups of these sizes stay below."""
    generator, sizes = np.random.default_rng(0), np.bincount(groups, minlength=many)
    gaps = np.empty(SHUFFLES)
    for turn in range(SHUFFLES):
        sums = np.bincount(groups, generator.permutation(values), many)
        gaps[turn] = np.ptp(sums / sizes)
    return float(np.quantile(gaps, LEVEL))
