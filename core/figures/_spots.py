"""What both charts of a grid say about a point: its numbers in words, and the range worth showing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from core.engine.front import HIGHER_IS_BETTER, Front, Spot
from core.figures import words

TITLES = {"accuracy": "accuracy", "macro_f1": "macro F1", "ece": "ECE", "nll": "NLL", "flips": "flips"}
RATES = ("accuracy", "macro_f1", "ece")
COSTS = {"packed": "packed size", "file": "file size", "latency": "latency"}
# What counts as close to the best, as shown: points, nats; of flips, in per cent of all examples.
NEAR = {"accuracy": 1.0, "macro_f1": 1.0, "ece": 1.0, "nll": 0.05, "flips": 1.0}
FULL = 8  # the range always covers this many times what counts as close
FENCE = 8  # a point further from the best than this many times its quarter's distance is out of the ordinary


def shown(spot: Spot, measure: str) -> float | None:
    """A point's value as charts show it: rates in per cent."""
    quantity = spot.values.get(measure)
    if quantity is None or quantity.value is None or not math.isfinite(quantity.value):
        return None
    return quantity.value * (100 if measure in RATES else 1)


def ends(spot: Spot, measure: str) -> tuple[float, float]:
    """The ends of a point's interval as charts show them; the value itself where it has none."""
    interval = spot.values[measure].interval
    value = shown(spot, measure) or 0.0
    factor = 100 if measure in RATES else 1
    return (interval.low * factor, interval.high * factor) if interval else (value, value)


def brief(value: float, measure: str, short: bool = False) -> str:
    """A shown value without its unit; `short` writes large counts in thousands."""
    if measure == "flips":
        return f"{value / 1000:.1f}k" if short and value >= 9_999.5 else words.count(value)
    return f"{value:.3f}" if measure == "nll" else words.percent(value / 100).removesuffix("%").strip()


def said(value: float, measure: str) -> str:
    """A shown value in a sentence."""
    if measure == "flips":
        return f"{words.count(value)} flip{'' if round(value) == 1 else 's'}"
    return f"{TITLES[measure]} {value:.3f}" if measure == "nll" else words.percent(value / 100)


def cost(value: float, by: str) -> str:
    """A cost in a sentence."""
    return words.milliseconds(value) if by == "latency" else words.size(value)


def title(measure: str, by: str | None = None) -> str:
    """An axis's words: the measure with its unit, or the cost."""
    if by:
        return "latency of one example, ms" if by == "latency" else COSTS[by]
    unit = ", %" if measure in RATES else ", nats" if measure == "nll" else ""
    return f"{TITLES[measure]}{unit}" + ("" if HIGHER_IS_BETTER[measure] else ", lower is better")


def near(measure: str, spots: Iterable[Spot]) -> float:
    """How far from the best still counts as close, as shown."""
    if measure == "flips":
        return NEAR[measure] / 100 * max((spot.total for spot in spots), default=100)
    return NEAR[measure]


def near_words(measure: str, distance: float) -> str:
    """That distance in a sentence."""
    if measure in RATES:
        return f"{distance:g} point{'' if distance == 1 else 's'}"
    return f"{distance:g}" if measure == "nll" else f"{words.count(distance)} flips"


def focus(values: Sequence[float], measure: str, close: float) -> tuple[float, float]:
    """The range `(low, high)` worth showing: up to the best, and down only as far as points are ordinary.

    `close` is the distance that counts as close to the best. A few collapsed points would else squeeze all others
    into one line.
    """
    best = max(values) if HIGHER_IS_BETTER[measure] else min(values)
    away = np.abs(np.asarray(values, float) - best)
    fence = FULL * close
    if (away > 0).any():
        fence = max(fence, FENCE * float(np.quantile(away[away > 0], 0.25)))
    reach = float(away.max()) if away.max() <= 1.5 * fence else float(away[away <= fence].max())
    reach = max(reach, 2 * close)
    return (best - reach, best) if HIGHER_IS_BETTER[measure] else (best, best + reach)


def hover(spot: Spot, front: Front | None = None) -> str:
    """All that is known of a point, for the pointer."""
    lines = [f"<b>{words.name(spot.label)}</b>"]
    for measure, name in TITLES.items():
        value = shown(spot, measure)
        if value is None:
            continue
        number = brief(value, measure) + (f"{words.SPACE}%" if measure in RATES else "")
        if spot.values[measure].interval:
            low, high = (brief(end, measure) for end in ends(spot, measure))
            number += f" [{low} to {high}{words.SPACE + '%' if measure in RATES else ''}]"
        lines.append(f"{'' if spot.exact else '≈ '}{name} {number}")
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
        lines.append(f"estimated from {words.count(spot.values['accuracy'].n or 0)} of {words.count(spot.total)}")
    if front and spot.place in front.members:
        lines.append(f"on the front in {words.percent(front.share[spot.place], 0)} of resampled test sets")
    return "<br>".join(line for line in lines if line)
