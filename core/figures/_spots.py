"""What both charts of a grid say about a point: its numbers in words, and the range worth showing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.figures import said, words
from core.sweeps.front import FLIPS, Front, Spot, better_high

COSTS = {"packed": "packed size", "file": "file size", "latency": "latency"}
# What counts as close to the best: a share of all examples for flips, of the best value for numbers in a unit.
POINT, NEAR_NATS, NEAR_PLAIN, NEAR_SHARE = 1.0, 0.05, 0.01, 0.02
FULL = 8  # the range always covers this many times what counts as close
FENCE = 8  # a point further from the best than this many times its quarter's distance is out of the ordinary


@dataclass(frozen=True)
class Scale:
    """How the charts of a grid show a measure: its name, its unit, and which end is better."""

    measure: str
    unit: str

    @classmethod
    def of(cls, measure: str, spots: Iterable[Spot] = ()) -> Scale:
        """The scale of a measure; the points know the unit of the numbers predicted."""
        unit = next((spot.values[measure].unit for spot in spots if measure in spot.values), said.unit_of(measure))
        return cls(measure, unit)

    @property
    def up(self) -> bool:
        """Whether more is better."""
        return better_high(self.measure)

    @property
    def name(self) -> str:
        """The measure inside a sentence."""
        return said.name(self.measure)

    def shown(self, spot: Spot) -> float | None:
        """A point's value as charts show it: rates in per cent."""
        quantity = spot.values.get(self.measure)
        if quantity is None or quantity.value is None or not math.isfinite(quantity.value):
            return None
        return quantity.value * said.factor(self.unit)

    def ends(self, spot: Spot) -> tuple[float, float]:
        """The ends of a point's interval as charts show them; the value itself where it has none."""
        interval = spot.values[self.measure].interval
        value, factor = self.shown(spot) or 0.0, said.factor(self.unit)
        return (interval.low * factor, interval.high * factor) if interval else (value, value)

    def brief(self, value: float, short: bool = False) -> str:
        """A shown value without its unit; `short` writes large counts in thousands."""
        if short and self.unit == "predictions" and value >= 9_999.5:
            return f"{value / 1000:.1f}k"
        return said.number(value / said.factor(self.unit), self.unit)

    def said(self, value: float) -> str:
        """A shown value in a sentence."""
        if self.measure == FLIPS:
            return f"{words.count(value)} flip{'' if round(value) == 1 else 's'}"
        text = said.value(value / said.factor(self.unit), self.unit)
        return text if self.unit == "fraction" else f"{self.name} {text.removesuffix(f'{words.SPACE}nats')}"

    def title(self) -> str:
        """An axis's words: the measure with its unit."""
        unit = "" if self.measure == FLIPS else said.shown_unit(self.unit)
        return f"{self.name}{f', {unit}' if unit else ''}" + ("" if self.up else ", lower is better")

    def near(self, spots: Iterable[Spot]) -> float:
        """How far from the best still counts as close, as shown."""
        every = list(spots)
        if self.measure == FLIPS:
            return POINT / 100 * max((spot.total for spot in every), default=100)
        if self.unit == "fraction":
            return POINT
        if self.unit == "nats":
            return NEAR_NATS
        if said.plain(self.unit):
            return NEAR_PLAIN
        known = [abs(value) for spot in every if (value := self.shown(spot)) is not None]
        return NEAR_SHARE * min(known, default=1.0) or 1e-9

    def near_words(self, distance: float) -> str:
        """That distance in a sentence."""
        if self.unit == "fraction":
            return f"{distance:g} point{'' if distance == 1 else 's'}"
        if self.unit == "nats" or said.plain(self.unit):
            return f"{distance:g}"
        return f"{words.count(distance)} flips" if self.measure == FLIPS else said.value(distance, self.unit)

    def focus(self, values: Sequence[float], close: float) -> tuple[float, float]:
        """The range `(low, high)` worth showing: up to the best, and down only as far as points are ordinary.

        `close` is the distance that counts as close to the best. A few collapsed points would else squeeze all
        others into one line.
        """
        best = max(values) if self.up else min(values)
        away = np.abs(np.asarray(values, float) - best)
        fence = FULL * close
        if (away > 0).any():
            fence = max(fence, FENCE * float(np.quantile(away[away > 0], 0.25)))
        reach = float(away.max()) if away.max() <= 1.5 * fence else float(away[away <= fence].max())
        reach = max(reach, 2 * close)
        return (best - reach, best) if self.up else (best, best + reach)


def cost(value: float, by: str) -> str:
    """A cost in a sentence."""
    return words.milliseconds(value) if by == "latency" else words.size(value)


def cost_title(by: str) -> str:
    """An axis's words for a cost."""
    return "latency of one example, ms" if by == "latency" else COSTS[by]


def hover(spot: Spot, front: Front | None = None) -> str:
    """All that is known of a point, for the pointer."""
    lines = [f"<b>{words.name(spot.label)}</b>"]
    for measure, quantity in spot.values.items():
        scale = Scale(measure, quantity.unit)
        value = scale.shown(spot)
        if value is None:
            continue
        unit = f"{words.SPACE}{said.shown_unit(scale.unit)}" if said.shown_unit(scale.unit) else ""
        unit = "" if scale.unit in ("nats", "predictions") else unit
        number = scale.brief(value) + unit
        if quantity.interval:
            low, high = (scale.brief(end) for end in scale.ends(spot))
            number += f" [{low} to {high}{unit}]"
        lines.append(f"{'' if spot.exact else '≈ '}{scale.name} {number}")
    sizes = [(spot.packed, "packed"), (spot.file, "as a file")]
    lines.append(", ".join(f"{words.size(size)} {name}" for size, name in sizes if size is not None))
    lines.append(f"{words.milliseconds(spot.latency)} for one example" if spot.latency is not None else "")
    if spot.error:
        lines.append(words.lines(words.name(spot.error, 300)))
    elif not spot.known:
        lines.append("not evaluated yet")
    elif spot.exact:
        lines.append(f"measured on {words.count(spot.total)} examples" if spot.total else "measured")
    else:
        lines.append(f"estimated from {words.count(spot.seen)} of {words.count(spot.total)}")
    if front and spot.place in front.members:
        lines.append(f"on the front in {words.percent(front.share[spot.place], 0)} of resampled test sets")
    return "<br>".join(line for line in lines if line)
