"""What the charts of a binary decision share: thresholds in words, curves, the two models' marks and legend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.decisions.decide import Decision
from core.decisions.verdict import SIDES, Verdict
from core.figures import words
from core.figures.theme import DASHES, SYMBOLS, Series, note, palette, title
from core.types import Floats, Integers, Quantity

POINTS = 400  # of a drawn curve: about one a pixel
ROWS = 100  # of a curve in its table
PLAIN = 0.00009  # probabilities from here to one minus this are written in per cent
HEIGHT = 380  # px
TOP = 46  # px above a chart: two lines, a model each
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def probability(p: float) -> str:
    """A probability in per cent; far ends as a power of ten, such as `2·10⁻¹²`."""
    if p <= 0 or p >= 1:
        return f"{100 * min(max(p, 0.0), 1.0):.0f}{words.SPACE}%"
    rest = min(p, 1 - p)
    if rest >= PLAIN:
        return words.percent(p, 0 if rest >= 0.0995 else 1 if rest >= 0.00995 else 2 if rest >= 0.00095 else 3)
    digit, power = f"{rest:.0e}".split("e")
    text = f"{digit}·10{str(int(power)).translate(SUPERSCRIPT)}"
    return text if p < 0.5 else f"1{words.SPACE}{words.MINUS}{words.SPACE}{text}"


def calls(decision: Decision, name: str) -> str:
    """What a decision does, such as `calls rain when its probability is at least 31 %`."""
    if decision.policy == "threshold":
        return f"calls {name} when its probability is at least {probability(decision.threshold)}"
    return f"{decision.policy} calls {name}"


def area(quantity: Quantity) -> str:
    """An area with its interval, such as `0.776 (0.758 to 0.793)`."""
    assert quantity.value is not None and quantity.interval is not None
    return f"{quantity.value:.3f} ({quantity.interval.low:.3f} to {quantity.interval.high:.3f})"


def share(quantity: Quantity) -> str:
    """A share in per cent; a dash where there is none."""
    return words.percent(quantity.value)


def some(count: int, most: int = POINTS) -> Integers:
    """At most `most` places among `count`, evenly spread, both ends among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def line(figure: go.Figure, series: Series, uid: str, x: Floats, y: Floats, mode: str, **more: Any) -> None:
    """A model's curve, in its colour and dash."""
    style = {"color": palette(mode).of(series), "width": 2, "dash": DASHES[series], **more.pop("line", {})}
    figure.add_scatter(x=x, y=y, mode="lines", uid=f"{uid}-{series}", line=style, **more)


def mark(figure: go.Figure, series: Series, uid: str, at: tuple[Any, Any], text: str, mode: str, **more: Any) -> None:
    """A model's operating point; none is drawn where a coordinate is None."""
    colour = palette(mode).of(series)
    there = None not in at
    figure.add_scatter(
        x=[at[0]] if there else [], y=[at[1]] if there else [], mode="markers", cliponaxis=False,
        uid=f"{uid}-{series}", text=[text] if there else [], hovertemplate="%{text}<extra></extra>",
        marker={"symbol": SYMBOLS[series], "size": 12, "opacity": 1, "color": colour,
                "line": {"width": 2.5, "color": colour if series == "original" else palette(mode).background}},
        **more,
    )  # fmt: skip


def legend(figure: go.Figure, mode: str, said: Callable[[Series], str], left: int = 44) -> None:
    """Two lines above the chart, from `left` px before its axis: each model's mark, name and what is said of it."""
    for row, series in enumerate(SIDES):
        text = f"{title(series, mode)}  {said(series)}"
        note(figure, text, mode, 0, 1, shift=(-left, 5 + 19 * (len(SIDES) - 1 - row)))


def per_cent(low: float, high: float, name: str) -> dict[str, Any]:
    """An axis of shares from `low` to `high`, written in per cent."""
    span = high - low
    step = next(s for s in (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0) if span >= 4 * s)
    ticks = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step if step else np.array([low, high])
    digits = 0 if step >= 0.01 else 1
    room = 0.02 * span
    return {
        "range": [low - room, high + room], "tickvals": ticks.round(6).tolist(),
        "ticktext": [f"{100 * t:.{digits}f}" for t in ticks], "title": {"text": f"{name}, %"},
    }  # fmt: skip


def hover(given: Verdict, series: Series) -> str:
    """What a model's operating point says."""
    made = given.of(series).decision
    return (
        f"<b>{series}</b> {words.name(calls(made, given.judged.positive))}<br>sensitivity {share(made.sensitivity)}, "
        f"specificity {share(made.specificity)}, precision {share(made.precision)}"
    )
