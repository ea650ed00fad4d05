"""Thresholds per group as a repair: chosen on the calibration split, judged, with their price, on evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.damage.disparity import Flags, Gap, gap_of
from core.damage.groups import FEW, column_of
from core.data.handle import DataHandle
from core.decisions.decide import Judged, scores, truth
from core.decisions.thresholds import curve
from core.engine.memory import RESULTS
from core.engine.statistics import LEVEL, Flips, matched_pairs, wilson
from core.types import Floats, Integers, Interval, Quantity

Goal = Literal["selection", "tpr", "fpr"]
GOALS: dict[Goal, str] = {
    "tpr": "found equally often (true positive rate)",
    "fpr": "falsely alarmed equally often (false positive rate)",
    "selection": "called equally often (selection rate)",
}
USUAL = 0.5  # the threshold of a model that calls the likelier class


@dataclass(frozen=True)
class Cut:
    """A group's threshold, and how many calibration examples it rests on; `kept` where there were too few."""

    group: str
    threshold: float
    n: int
    kept: bool


@dataclass(frozen=True)
class Repair:
    """The tempered model with one threshold for all, and with one a group; all judged on the evaluation split.

    `target` is the rate of the one threshold on the calibration split, which every group's threshold aims at.
    `gap` compares one threshold (as original) with one a group (as tempered).
    """

    goal: Goal
    target: float
    cuts: tuple[Cut, ...]
    gap: Gap
    accuracy: Quantity
    repaired: Quantity
    price: Quantity
    gained: int
    lost: int


def repair(data: DataHandle, judged: Judged, title: str, goal: Goal) -> Repair:
    """One threshold a group of a column, so that `goal` is alike in all groups, remembered.

    Each group's threshold is the one whose rate on the calibration split is nearest to that of all examples cut at
    0.5, the nearest to 0.5 of equals (Hardt et al. 2016, arXiv 1610.02413, without randomising). Groups with fewer
    than `FEW` examples that count there keep 0.5. Raises `TemperError` for an unknown column.
    """
    key = ("repair", *judged.key, title, goal)
    return RESULTS.remember(key, lambda: _repair(data, judged, title, goal), lambda _: 5_000)


def _repair(data: DataHandle, judged: Judged, title: str, goal: Goal) -> Repair:
    names, seen = column_of(data, title, "calibration")
    _, of = column_of(data, title, "evaluation")
    known, after = judged.tempered_calibration, judged.tempered
    given, counted = scores(known), _counted(goal, truth(known))
    target = float((given[counted] >= USUAL).mean()) if counted.any() else 0.0
    cuts = [_cut(name, given[counted & (seen == k)], target) for k, name in enumerate(names)]
    at = np.array([cut.threshold for cut in cuts])[of]
    before, now, positive = scores(after) >= USUAL, scores(after) >= at, truth(after)
    gap = gap_of(
        goal, before.astype(float), now.astype(float), of, _counted(goal, positive), names, "fraction"
    )  # fmt: skip
    right, still = before == positive, now == positive
    gained, lost = int((~right & still).sum()), int((right & ~still).sum())
    same = np.array_equal(before, now)
    ends = Interval(0.0, 0.0, LEVEL) if same else matched_pairs(Flips(gained + lost, gained, lost, 0, after.n))
    price = Quantity((gained - lost) / after.n, "fraction", "measured", ends, after.n)
    return Repair(goal, target, tuple(cuts), gap, _share(right), _share(still), price, gained, lost)


def _counted(goal: Goal, positive: Flags) -> Flags:
    every = np.ones(len(positive), bool)
    found: Flags = {"selection": every, "tpr": positive, "fpr": ~positive}[goal]
    return found


def _cut(name: str, given: Floats, target: float) -> Cut:
    """The threshold of one group: its scores that count `(n,)` are called in a share nearest to `target`."""
    if len(given) < FEW:
        return Cut(name, USUAL, len(given), True)
    found = curve(given, np.ones(len(given), bool))
    away: Floats = np.abs(found.tp / len(given) - target)
    best: Integers = np.flatnonzero(away <= away.min() + 1e-12)
    at = found.thresholds[best]
    usual = int(found.at(USUAL))  # the usual threshold stays where it does as well
    threshold = USUAL if usual in best else float(at[np.argmin(np.abs(at - USUAL))])
    return Cut(name, threshold, len(given), False)


def _share(hits: Flags) -> Quantity:
    low, high = (float(end) for end in wilson(float(hits.sum()), float(len(hits))))
    return Quantity(float(hits.mean()), "fraction", "measured", Interval(low, high, LEVEL), len(hits))
