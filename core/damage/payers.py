"""Which classes pay: recall and precision of every class, before and after, corrected for looking at many."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.engine.compare import recall
from core.engine.many import chance, holm
from core.engine.memory import RESULTS
from core.engine.statistics import LEVEL, Flips, mcnemar, wilson
from core.types import Interval, Outcome, Quantity, Result

TINY = 1e-12


@dataclass(frozen=True)
class Rate:
    """A class's recall or precision in both models, and the paired change.

    A rate of nothing (no example of the class; no call of it) has no value. `chance` is the two-sided probability of
    such a change if there were none, `sure` whether it stands after Holm's correction.
    """

    original: Quantity
    tempered: Quantity
    change: Quantity
    chance: float = 1.0
    sure: bool = False


@dataclass(frozen=True)
class Payer:
    """One class: its name, its number of examples, its recall and its precision."""

    name: str
    n: int
    recall: Rate
    precision: Rate


@dataclass(frozen=True)
class Payers:
    """Every class in its own order; `compared` is how many changes the correction counts."""

    classes: tuple[Payer, ...]
    compared: int
    n: int

    @property
    def by_loss(self) -> tuple[Payer, ...]:
        """The classes, the largest loss of recall first."""
        return tuple(sorted(self.classes, key=lambda one: one.recall.change.value or 0.0))

    @property
    def most(self) -> Payer | None:
        """The class that pays most: the largest loss of recall, of those beyond chance where there are any."""
        losing = [one for one in self.by_loss if (one.recall.change.value or 0.0) < 0]
        return next((one for one in losing if one.recall.sure), losing[0] if losing else None)


def payers(result: Result) -> Payers:
    """Recall and precision of every class with intervals, remembered by what made the result.

    Recalls have Wilson's intervals, their changes Agresti and Min's, their chances McNemar's mid-p. Precisions have
    Wilson's too; the two models call different examples, so a change of precision has the interval of `_changed`.
    Holm's correction (1979) runs over all changes of both columns together.
    """
    made = result.tempered.provenance
    key = ("payers", made.model, made.data, made.recipe)
    return RESULTS.remember(key, lambda: _payers(result.original, result.tempered), lambda _: 20_000)


def _payers(before: Outcome, after: Outcome) -> Payers:
    rates: list[Rate] = []
    for place in range(len(after.classes)):
        rates += [_recall(before, after, place), _precision(before, after, place)]
    compared = [k for k, one in enumerate(rates) if one.change.value is not None]
    for k, sure in zip(compared, holm([rates[k].chance for k in compared]), strict=True):
        rates[k] = replace(rates[k], sure=sure)
    rows = tuple(
        Payer(name, int((after.labels == place).sum()), rates[2 * place], rates[2 * place + 1])
        for place, name in enumerate(after.classes)
    )
    return Payers(rows, len(compared), after.n)


def _recall(before: Outcome, after: Outcome, place: int) -> Rate:
    of = before.labels == place
    n = int(of.sum())
    if n == 0:
        return _nothing("no example of this class")
    now, change = recall(before, after, place)
    gained, lost = int((~before.correct & after.correct)[of].sum()), int((before.correct & ~after.correct)[of].sum())
    return Rate(_share(before.correct[of]), now, change, mcnemar(Flips(gained + lost, gained, lost, 0, n)).mid_p)


def _precision(before: Outcome, after: Outcome, place: int) -> Rate:
    true, called = before.labels == place, [outcome.predictions == place for outcome in (before, after)]
    if not (called[0].any() and called[1].any()):
        was, now = (_share(true[one]) if one.any() else _empty("never called") for one in called)
        return Rate(was, now, _empty("one of the models never calls it"))
    if np.array_equal(*called):
        n = int(called[0].sum())
        same = Quantity(0.0, "fraction", "measured", Interval(0.0, 0.0, LEVEL), n)
        return Rate(_share(true[called[0]]), _share(true[called[1]]), same)
    change = precision_change(true, called[0], called[1])
    return Rate(_share(true[called[0]]), _share(true[called[1]]), change, chance(change))


def precision_change(true: NDArray[np.bool_], was: NDArray[np.bool_], now: NDArray[np.bool_]) -> Quantity:
    """The change of precision between two models' calls of a class, all bool `(N,)`, with its interval.

    The precisions rest on overlapping examples. Their Wilson intervals are joined as Newcombe joins those of a paired
    difference (1998, doi 10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C), with the correlation of
    the two rates: that of their influence functions (Moskowitz and Pepe 2006, doi 10.1191/1740774506cn147oa), or the
    overlap of the calls where one rate is 0 or 1 and knows no error. The end that faces zero gives the chance.
    """
    sizes = float(was.sum()), float(now.sum())
    rates = float(true[was].mean()), float(true[now].mean())
    influence = [called * (true - rate) / size for called, rate, size in zip((was, now), rates, sizes, strict=True)]
    spread = [float(part @ part) for part in influence]
    overlap = float((was & now).sum()) / math.sqrt(sizes[0] * sizes[1])
    known = min(spread) > TINY / max(sizes)
    tied = float(influence[0] @ influence[1]) / math.sqrt(spread[0] * spread[1]) if known else overlap
    ends = [tuple(float(end) for end in wilson(rate * size, size)) for rate, size in zip(rates, sizes, strict=True)]
    value = rates[1] - rates[0]

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * tied * one * other + other**2, 0.0))

    low = value - reach(rates[1] - ends[1][0], ends[0][1] - rates[0])
    high = value + reach(ends[1][1] - rates[1], rates[0] - ends[0][0])
    return Quantity(value, "fraction", "measured", Interval(max(-1.0, low), min(1.0, high), LEVEL), int(sizes[1]))


def _share(hits: NDArray[np.bool_]) -> Quantity:
    n = len(hits)
    low, high = (float(end) for end in wilson(float(hits.sum()), float(n)))
    return Quantity(float(hits.mean()), "fraction", "measured", Interval(low, high, LEVEL), n)


def _empty(note: str) -> Quantity:
    return Quantity(None, "fraction", "measured", None, 0, note)


def _nothing(note: str) -> Rate:
    return Rate(_empty(note), _empty(note), _empty(note))
