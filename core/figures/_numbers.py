"""What charts of numbers share: axes for values of any size, words for what is predicted, rounding for tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.figures import words
from core.types import Floats, Outcome

DECADE = 10.0  # largest over smallest usual value from which an axis is logarithmic
USUAL = (0.001, 0.999)  # quantiles of values that are surely inside the axis
REACH = 0.25  # of their span: how much further the axis goes for values beyond
ROOM = 0.03  # of the span, beyond the outermost value shown
SAME = 1e-5  # span of values, as a share of them, below which they are one value to the eye
LONG = 40  # letters of a name or unit in a figure


@dataclass(frozen=True)
class Scale:
    """An axis in its own coordinates, which count decades where it is logarithmic."""

    low: float
    high: float
    logarithmic: bool

    def along(self, values: Floats) -> Floats:
        """Coordinates of values; what lies beyond an end stands at that end."""
        inside = np.asarray(values, np.float64)
        if self.logarithmic:
            inside = np.log10(np.maximum(inside, 10.0 ** (self.low - 1)))
        return np.clip(inside, self.low, self.high)

    def beyond(self, values: Floats) -> NDArray[np.bool_]:
        """Which values have no room."""
        low, high = (10.0**end if self.logarithmic else end for end in (self.low, self.high))
        return (values < low) | (values > high)

    def axis(self, text: str, wanted: int = 5) -> dict[str, Any]:
        """Range, ticks and title for a layout."""
        room = ROOM * (self.high - self.low)
        ticks = self._decades(wanted) if self.logarithmic else self._steps(max(wanted, 4))
        return {
            "range": [self.low - room, self.high + room],
            "tickvals": [math.log10(t) if self.logarithmic else t for t in ticks],
            "ticktext": [short(t) for t in ticks],
            "tickangle": 0,
            "title": {"text": text},
        }

    def _steps(self, wanted: int) -> list[float]:
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / wanted))
        step = next(m * power for m in (1, 2, 5, 10) if m * power * wanted >= span)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]

    def _decades(self, wanted: int) -> list[float]:
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        fine = (1, 2, 5) if self.high - self.low < 2.5 else (1,)
        every = [m * 10.0**d for d in decades for m in fine]
        found = [t for t in every if self.low - 1e-9 <= math.log10(t) <= self.high + 1e-9]
        return found[:: math.ceil(len(found) / wanted) or 1]


def scale_of(
    firm: Floats,
    other: Floats,
    logarithmic: bool | None = None,
    usual: tuple[float, float] = USUAL,
    reach: float = REACH,
) -> Scale:
    """An axis with room for the `usual` values of `firm`, and further by up to half their span for those of `other`.

    A model that was damaged too far must not squeeze everybody else into a corner. Unless said, the axis is
    logarithmic where all of `firm` is positive and spans a decade.
    """
    low, high = (float(end) for end in np.quantile(firm, usual))
    if logarithmic is None:
        logarithmic = low > 0 and float(firm.min()) > 0 and high / low >= DECADE
    if logarithmic:
        firm = np.log10(firm[firm > 0])
        other = np.log10(other[other > 0]) if (other > 0).any() else firm
        low, high = (float(end) for end in np.quantile(firm, usual))
    span = high - low
    if span <= SAME * max(abs(low), abs(high)):
        span = 0.1 * max(abs(low), abs(high)) or 1.0
        low, high = low - span, high + span
    for values, more in ((firm, reach * span), (np.quantile(other, usual), 0.5 * span)):
        low = max(min(low, float(values.min())), low - more)
        high = min(max(high, float(values.max())), high + more)
    return Scale(low, high, logarithmic)


def short(value: float) -> str:
    """A round number on an axis: thousands as k, millions as M."""
    size = abs(value)
    if size < 1e-12:
        return "0"
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= 10 * unit or (size >= unit and unit > 1e3):
            return f"{value / unit:.4g}{letter}".replace("-", words.MINUS)
    return (f"{value:,.6g}" if size >= 1e-4 else f"{value:.1e}").replace("-", words.MINUS)


def target(outcome: Outcome) -> str:
    """What is predicted, in a word."""
    return words.cut(outcome.task.target or "value", LONG)


def unit(outcome: Outcome) -> str:
    """The unit of what is predicted; '' where there is none."""
    return words.cut(outcome.task.unit, LONG) if outcome.task.unit else ""


def with_unit(text: str, outcome: Outcome) -> str:
    """A title or a column's name with the unit, such as `Actual price, US dollars`."""
    return ", ".join(part for part in (text, unit(outcome)) if part)


def missed(outcome: Outcome) -> Floats:
    """Actual minus predicted value, float64 `(N,)`."""
    return np.asarray(outcome.labels, np.float64) - outcome.values


def rounded(values: Floats) -> Floats:
    """Numbers for a table, each to whole ones or, where it is smaller, to five significant digits."""
    return np.array([round(float(v), max(0, 4 - math.floor(math.log10(abs(v))))) if v else 0.0 for v in values])
