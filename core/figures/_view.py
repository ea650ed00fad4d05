"""What the trade-off chart shows: its measure and cost, and the ranges of both axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.figures import _spots, words
from core.sweeps.front import Spot
from core.sweeps.plan import Place

LOG_FROM = 4  # largest over smallest size from which the axis of bytes is logarithmic
ROOM = (0.07, 0.2)  # of the range shown, beyond its worst and its best end; a name stands at the better one
Limits = tuple[float, float]


@dataclass(frozen=True)
class View:
    """A measure against a cost: `x` and `y` are the axes' ranges, `shown` the values for which there is room."""

    scale: _spots.Scale
    by: str
    x: Limits
    y: Limits
    shown: Limits
    logarithmic: bool

    def inside(self, value: float) -> bool:
        """Whether a value stands where it is, not at the edge."""
        return self.shown[0] - 1e-9 <= value <= self.shown[1] + 1e-9

    def value(self, spot: Spot) -> float:
        """A point's value, as shown."""
        return self.scale.shown(spot) or 0.0

    def cost(self, spot: Spot) -> float:
        """A point's bytes or milliseconds."""
        return float(spot.size(self.by) or 0)

    def along(self, cost: float) -> float:
        """A cost in the coordinates of the axis, which counts decades where it is logarithmic."""
        return math.log10(max(cost, 1)) if self.logarithmic else cost

    @property
    def edge(self) -> float:
        """Where points beyond the range stand: just inside its worse end."""
        part = 0.022 * (self.y[1] - self.y[0])
        return self.y[0] + part if self.scale.up else self.y[1] - part

    def height(self, spot: Spot) -> float:
        """Where a point stands along the values."""
        value = self.value(spot)
        return value if self.inside(value) else self.edge

    def share(self, cost: float) -> float:
        """How far along the axis a cost stands, 0 to 1."""
        low, high = (self.along(end) for end in self.x)
        return (self.along(cost) - low) / (high - low)


def view_of(drawn: Sequence[Spot], original: Spot | None, scale: _spots.Scale, by: str, best: Place | None) -> View:
    """The ranges: of costs all, of values down to where points are out of the ordinary."""
    every = [*drawn, *([original] if original and scale.shown(original) is not None else [])]
    values = [scale.shown(s) or 0.0 for s in every]
    low, high = 0.0, 100.0
    if values:
        low, high = scale.focus(values, scale.near(every))
        # The original and the best are in the range, unless that would squeeze the others.
        room = high - low
        for spot in every:
            value = scale.shown(spot) or 0.0
            if (spot is original or spot.place == best) and low - room <= value <= high + room:
                low, high = min(low, value), max(high, value)
    span = high - low
    below, above = ROOM if scale.up else ROOM[::-1]
    costs = [float(size) for s in every if (size := s.size(by)) is not None]
    logarithmic = by != "latency" and bool(costs) and max(costs) > LOG_FROM * max(min(costs), 1)
    x = (max(min(costs), 1) / 1.3, max(costs) * 1.3) if logarithmic else (0.0, 1.1 * max([*costs, 1e-6]))
    return View(scale, by, x, (low - below * span, high + above * span), (low, high), logarithmic)


def axes(view: View, drawn: bool) -> dict[str, Any]:
    """Both axes as layout; without numbers where nothing is drawn."""
    low, high = view.x
    if view.logarithmic:
        ticks = [m * 10.0**e for e in range(0, 13) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
    else:
        steps = (m * 10.0**e for e in range(-5, 13) for m in (1, 2, 5))
        step = min(steps, key=lambda s: abs(s - high / 5))
        ticks = [k * step for k in range(int(high / step) + 1)]
    text = [f"{t:.6g}" if view.by == "latency" else words.tick(t) for t in ticks]
    title = view.scale.title()
    return {
        "xaxis": {
            "type": "log" if view.logarithmic else "linear", "range": [view.along(low), view.along(high)],
            "tickvals": ticks, "ticktext": text, "tickangle": 0, "showticklabels": drawn,
            "title": {"text": _spots.cost_title(view.by)},
        },
        "yaxis": {
            "range": list(view.y), "nticks": 8, "showticklabels": drawn, "title": {"text": title},
        },
    }  # fmt: skip
