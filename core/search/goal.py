"""What a search is for: a measure against bytes, and the budgets that a recipe has to keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import TemperError
from core.sweeps.front import Spot, better_high, gain
from core.types import Quantity


@dataclass(frozen=True)
class Tried:
    """A recipe beside its original on one split.

    `change` is the paired difference of the measure with its interval; `lost` the same turned so that more is worse,
    and `spread` its standard error, both in the measure's unit. `modelled` are milliseconds on the goal's device,
    None where it names none. `spot.error` is one sentence where there is no result; the numbers then mean nothing.
    """

    spot: Spot
    original: Spot
    change: Quantity | None = None
    lost: float = 0.0
    spread: float = 0.0
    modelled: float | None = None
    seconds: float = 0.0

    def lost_ends(self, up: bool) -> tuple[float, float] | None:
        """The ends of the loss's interval; `up` where more of the measure is better."""
        ends = self.change.interval if self.change else None
        if ends is None:
            return None
        return (-ends.high + 0.0, -ends.low + 0.0) if up else (ends.low, ends.high)


@dataclass(frozen=True)
class Goal:
    """Objectives are `measure` and packed bytes; every other field is a budget, None where there is none.

    `most_bytes` packed; `most_lost` and `limit` in the measure's unit: what may be lost of the original's value, its
    standard error counted in, and the worst value. `most_ms` are milliseconds for one example that `device` would
    need at least, modelled and not measured.
    """

    measure: str
    most_bytes: int | None = None
    most_lost: float | None = None
    limit: float | None = None
    most_ms: float | None = None
    device: str = ""

    def __post_init__(self) -> None:
        for value, name in ((self.most_bytes, "bytes"), (self.most_ms, "milliseconds")):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise TemperError(f"A budget of {name} must be a number above 0; got {value:g}.")
        if self.most_lost is not None and not (math.isfinite(self.most_lost) and self.most_lost >= 0):
            raise TemperError(f"What may be lost must be a number from 0 up; got {self.most_lost:g}.")
        if self.limit is not None and not math.isfinite(self.limit):
            raise TemperError(f"The worst value allowed must be a finite number; got {self.limit:g}.")
        if (self.most_ms is None) != (not self.device):
            raise TemperError("A budget of time needs a device, and a device a budget.", "Give both, or neither.")

    def over(self, one: Tried) -> dict[str, float]:
        """By how much each budget is exceeded, as a share of its scale; 0 or less where it is kept."""
        found: dict[str, float] = {}
        before = abs(one.original.values[self.measure].value or 0.0) or 1.0
        if self.most_bytes is not None:
            found["bytes"] = (one.spot.packed or 0) / self.most_bytes - 1
        if self.most_lost is not None:
            found["lost"] = (one.lost + one.spread - self.most_lost) / before
        if self.limit is not None:
            sign = 1 if better_high(self.measure) else -1
            found["limit"] = (sign * self.limit - gain(one.spot, self.measure)[1]) / before
        if self.most_ms is not None and one.modelled is not None:
            found["time"] = one.modelled / self.most_ms - 1
        return found

    def keeps(self, one: Tried) -> bool:
        """Whether every budget is kept."""
        return not one.spot.error and all(value <= 0 for value in self.over(one).values())

    def holds(self, one: Tried) -> bool:
        """Whether every budget is kept by the values themselves, as the judging split sees them."""
        if one.spot.error:
            return False
        over = self.over(one)
        if self.most_lost is not None:
            over["lost"] = one.lost - self.most_lost
        return all(value <= 0 for value in over.values())

    def best(self, tried: Iterable[Tried]) -> Tried | None:
        """Of those within the budgets the fewest bytes where a loss is bounded, else the best value; None of none."""
        allowed = [one for one in tried if self.keeps(one)]
        if self.most_lost is None and self.limit is None:
            return min(allowed, key=lambda t: (-gain(t.spot, self.measure)[1], t.spot.packed or 0), default=None)
        return min(allowed, key=lambda t: (t.spot.packed or 0, -gain(t.spot, self.measure)[1]), default=None)

    def nearest(self, tried: Iterable[Tried]) -> Tried | None:
        """The recipe that exceeds the budgets least in all."""
        some = [one for one in tried if not one.spot.error]
        return min(some, key=lambda t: sum(max(v, 0.0) for v in self.over(t).values()), default=None)

    def to_dict(self) -> Mapping[str, Any]:
        """The goal as JSON values."""
        return {
            "measure": self.measure,
            "most_bytes": self.most_bytes,
            "most_lost": self.most_lost,
            "limit": self.limit,
            "most_ms": self.most_ms,
            "device": self.device or None,
        }
