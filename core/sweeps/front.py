"""Points of a trade-off: what is known of each, which are on the Pareto front, and how surely."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.recipe import Recipe
from core.registry import method
from core.sweeps.plan import Place
from core.types import Quantity

FLIPS = "flips"  # changed predictions: a measure of a point beside its original, no metric of one model
CERTAIN = 0.95  # share of resampled evaluation sets in which a point must be on the front to be called certain


@dataclass(frozen=True)
class Spot:
    """One recipe of a grid and what is known of it so far.

    `values` holds the measures known, the task's headline first, each with its interval and how it was obtained:
    estimated from `seen` examples of `total`, or measured on all. `packed` and `file` are bytes. `kernel` names
    what the format runs in here, '' where it has no kernel (`core.deploy.latency.kernel`). `latency` is
    milliseconds for one example (p50), None where this format has no kernel here or nothing was timed yet.
    `resampled` `(B,)` float32 by measure: its value on each resampled evaluation set, the same sets for every
    point; measured points only. `error` is one sentence where there is no result.
    """

    place: Place
    recipe: Recipe
    values: Mapping[str, Quantity] = field(default_factory=dict)
    total: int = 0
    packed: int | None = None
    file: int | None = None
    kernel: str = ""
    latency: float | None = None
    resampled: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    error: str = ""

    @property
    def label(self) -> str:
        """The recipe's short name."""
        return self.recipe.notation

    @property
    def exact(self) -> bool:
        """Whether every measure rests on all examples."""
        return self.known and next(iter(self.values.values())).how == "measured"

    @property
    def known(self) -> bool:
        """Whether there is anything to show: an estimate or a measurement."""
        return bool(self.values)

    @property
    def seen(self) -> int:
        """How many examples the values rest on."""
        return next((quantity.n or 0 for quantity in self.values.values()), 0)

    def size(self, by: str) -> float | None:
        """What the point costs: `packed` or `file` bytes, or `latency` in milliseconds."""
        return {"packed": self.packed, "file": self.file, "latency": self.latency}[by]


@dataclass(frozen=True)
class Front:
    """The Pareto front: places of measured points, in order of their cost.

    `share` is, for each of them, the share of resampled evaluation sets in which it is on the front; `certain`
    holds those of at least 95 %. `open` are estimated points whose interval could still put them on it.
    """

    members: tuple[Place, ...]
    share: Mapping[Place, float]
    open: tuple[Place, ...]

    @property
    def certain(self) -> tuple[Place, ...]:
        """The members that are surely on the front."""
        return tuple(place for place in self.members if self.share[place] >= CERTAIN)


def better_high(measure: str) -> bool:
    """Whether more of a measure is better; of flips it is not."""
    return measure != FLIPS and bool(method("metric", measure).function.higher_is_better)


def gain(spot: Spot, measure: str) -> tuple[float, float, float]:
    """A point's value and the ends of its interval, turned so that more is better: (low, value, high)."""
    quantity = spot.values[measure]
    assert quantity.value is not None
    low, high = (quantity.interval.low, quantity.interval.high) if quantity.interval else (quantity.value,) * 2
    if spot.exact:
        low = high = quantity.value
    return (low, quantity.value, high) if better_high(measure) else (-high, -quantity.value, -low)


def within(spots: Sequence[Spot], measure: str, limit: float, packed: float) -> tuple[Place, ...]:
    """Places that are no worse than `limit` in a measure, in at most these packed bytes, by their values so far."""
    sign = 1 if better_high(measure) else -1
    return tuple(
        s.place
        for s in spots
        if measure in s.values and gain(s, measure)[1] >= sign * limit and s.packed is not None and s.packed <= packed
    )


def smallest(spots: Sequence[Spot], measure: str, allowed: Collection[Place]) -> Spot | None:
    """The measured point of fewest packed bytes among the allowed ones, the better one of two alike."""
    some = [s for s in spots if s.exact and s.place in allowed and s.packed is not None]
    return min(some, key=lambda s: (s.packed or 0, -gain(s, measure)[1]), default=None)


def front(spots: Sequence[Spot], measure: str, by: str = "packed") -> Front:
    """The front of a measure against a cost. A point is on it when none that costs no more is as good.

    Of points alike in both the first counts. Points without the measure or the cost are left out. A point
    without resamples is taken as sure.
    """
    usable = [s for s in spots if s.known and _has(s, measure) and s.size(by) is not None]
    usable.sort(key=lambda s: (s.size(by) or 0, -gain(s, measure)[1]))
    exact = [s for s in usable if s.exact]
    values = np.array([gain(s, measure)[1] for s in exact])
    costs = np.array([s.size(by) or 0 for s in exact], float)
    on = _undominated(costs, values[:, None])[:, 0] if exact else np.zeros(0, bool)
    members = [s for s, keep in zip(exact, on, strict=True) if keep]
    often = _undominated(costs, _drawn(exact, measure, values)).mean(1) if exact else np.zeros(0)
    share = {s.place: float(rate) for s, rate, keep in zip(exact, often, on, strict=True) if keep}
    reach = [(s.size(by) or 0, gain(s, measure)[1]) for s in members]
    still_open = [
        s.place
        for s in usable
        if not s.exact and all(gain(s, measure)[2] > best for cost, best in reach if cost <= (s.size(by) or 0))
    ]
    return Front(tuple(s.place for s in members), share, tuple(still_open))


def _has(spot: Spot, measure: str) -> bool:
    quantity = spot.values.get(measure)
    return quantity is not None and quantity.value is not None and math.isfinite(quantity.value)


def _drawn(exact: Sequence[Spot], measure: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The measure on each resampled set `(P, B)`, more being better; a point without resamples stays at its value."""
    resamples = max((len(s.resampled[measure]) for s in exact if measure in s.resampled), default=1)
    drawn = np.repeat(values[:, None], resamples, axis=1)
    for row, spot in zip(drawn, exact, strict=True):
        if measure in spot.resampled:
            row[:] = spot.resampled[measure]
            row *= 1 if better_high(measure) else -1
    return np.where(np.isfinite(drawn), drawn, -np.inf)


def _undominated(costs: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points `(P,)`, ascending in cost, no other dominates, for each column of `values` `(P, B)`.

    Points of equal cost compete as one group, where the best counts, the first of equals.
    """
    kept = np.zeros(values.shape, bool)
    best = np.full(values.shape[1], -np.inf)
    start = 0
    while start < len(costs):
        stop = int(np.searchsorted(costs, costs[start], side="right"))
        group = values[start:stop]
        first = group.argmax(0)
        columns = np.arange(values.shape[1])
        wins = group[first, columns] > best
        kept[start + first[wins], columns[wins]] = True
        best = np.maximum(best, group.max(0))
        start = stop
    return kept
