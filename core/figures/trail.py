"""The recipes visited so far: the leading metric against packed bytes, each point a way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures import said, words
from core.figures.theme import DASHES, SMALL, SYMBOLS, layout, note, palette, translucent
from core.registry import register
from core.types import Chart

HEIGHT = 262  # px
CLOSE = 0.12  # share of the height drawn within which a mark touches a label on the original's line
WIDE = 0.45  # share of the width that the original's label takes in the narrowest panel
LOG_FROM = 4  # largest over smallest size from which the axis of bytes is logarithmic
LEAST_SPAN = 0.02  # of a rate shown, or of the value of another metric: chance does not fill the panel


@dataclass(frozen=True)
class TrailPoint:
    """One visited recipe: a metric with its interval, in `unit`, and the packed size in bytes."""

    label: str
    value: float
    low: float
    high: float
    bytes: int
    recipe_fingerprint: str
    measure: str = "accuracy"
    unit: str = "fraction"

    @property
    def shown(self) -> float:
        """The value as the chart shows it: rates in per cent."""
        return self.value * said.factor(self.unit)

    @property
    def said(self) -> str:
        """The value with its unit."""
        return said.value(self.value, self.unit)


@dataclass(frozen=True)
class _Scale:
    """What the axes show: bytes from `low` to `high`, and `span` of values."""

    logarithmic: bool
    low: float
    high: float
    span: float

    def place(self, size: int) -> float:
        """A size as a coordinate of the axis."""
        return float(np.log10(max(size, 1))) if self.logarithmic else float(size)

    def share(self, size: int) -> float:
        """How far from the left end a size stands, a share of the width."""
        if self.logarithmic:
            return float(np.log(max(size, 1) / self.low) / np.log(self.high / self.low))
        return (size - self.low) / (self.high - self.low)


@register(
    kind="chart",
    name="trail",
    title="Trail",
    summary="The leading metric against size for every recipe visited; a click goes back to one.",
    reference="Blalock et al. 2020, What is the state of neural network pruning? (arXiv 2003.03033)",
)
def trail_chart(points: Sequence[TrailPoint], current: int, mode: str = "light") -> Chart:
    """`points` in order of visit, the first being the original; `current` is the place of the one on screen.

    Selected points carry their place in `points` as customdata.
    """
    p = palette(mode)
    sizes = [point.bytes for point in points]
    logarithmic = max(sizes) > LOG_FROM * max(min(sizes), 1)
    figure = go.Figure()
    figure.add_scatter(
        x=sizes, y=[point.shown for point in points], mode="lines", hoverinfo="skip", uid="trail-order",
        line={"color": translucent(p.grey, 0.45), "width": 1, "dash": "2px,3px"},
    )  # fmt: skip
    _marks(figure, points, [0], "original", mode)
    _marks(figure, points, list(range(1, len(points))), "tempered", mode)
    here = points[current]
    figure.add_scatter(
        x=[here.bytes], y=[here.shown], mode="markers", hoverinfo="skip", uid="trail-here",
        marker={"symbol": "circle-open", "size": 21, "color": p.text, "line": {"width": 2}},
        unselected={"marker": {"opacity": 1}},
    )  # fmt: skip
    scale = _axes(figure, points, logarithmic, mode)
    _label(figure, here, here.value < points[0].value, scale, mode)
    figure.add_shape(
        type="line", xref="paper", x0=0, x1=1, y0=points[0].shown, y1=points[0].shown,
        layer="below",
        line={"color": translucent(p.original, 0.6), "width": 1, "dash": DASHES["original"]},
    )  # fmt: skip
    if current:
        _original_label(figure, points, here, scale, mode)
    caption = _caption(points, current)
    count = f"{len(points)} recipe{'s' if len(points) > 1 else ''}"
    alt = (
        f"{count} by {said.name(here.measure)} and packed size, from {words.size(min(sizes))} "
        f"to {words.size(max(sizes))}. On screen: {here.label}, {here.said} at "
        f"{words.size(here.bytes)}. {caption}"
    )
    return Chart(figure, alt, caption, _table(points, current))


def _marks(figure: go.Figure, points: Sequence[TrailPoint], places: list[int], series: str, mode: str) -> None:
    p = palette(mode)
    original = series == "original"
    colour = p.original if original else p.tempered
    some = [points[i] for i in places]
    figure.add_scatter(
        x=[point.bytes for point in some],
        y=[point.shown for point in some],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [said.factor(point.unit) * (point.high - point.value) for point in some],
            "arrayminus": [said.factor(point.unit) * (point.value - point.low) for point in some],
            "color": colour,
            "thickness": 1.2,
            "width": 3,
        },
        customdata=places,
        text=[
            f"<b>{words.name(point.label)}</b><br>{point.said} "
            f"[{said.number(point.low, point.unit)} to {said.value(point.high, point.unit)}]<br>"
            f"{words.size(point.bytes)} packed"
            for point in some
        ],
        hovertemplate="%{text}<extra></extra>",
        mode="markers",
        marker={
            "symbol": SYMBOLS["original"] if original else SYMBOLS["tempered"],
            "size": 12 if original else 9,
            "color": colour,
            "line": {"width": 2.5, "color": colour} if original else {"width": 1.5, "color": p.background},
        },
        selected={"marker": {"opacity": 1}},
        unselected={"marker": {"opacity": 1}},
        uid=f"trail-{series}",
    )


def _axes(figure: go.Figure, points: Sequence[TrailPoint], logarithmic: bool, mode: str) -> _Scale:
    """Lay out both axes; returns what they show."""
    sizes = [max(point.bytes, 1) for point in points]
    low, high = (min(sizes) / 1.35, max(sizes) * 1.35) if logarithmic else (0.0, 1.12 * max(sizes))
    if logarithmic:
        ticks = [m * 10.0**e for e in range(0, 13) for m in (1, 2, 5) if low <= m * 10.0**e <= high]
        limits = [float(np.log10(low)), float(np.log10(high))]
    else:
        raw = high / 5
        step = next(m * 10.0**e for e in range(13) for m in (1, 2, 5) if m * 10.0**e >= raw)
        ticks = [k * step for k in range(int(high / step) + 1)]
        limits = [low, high]
    bottom = min(min(point.low, point.value) for point in points)
    top = max(max(point.high, point.value) for point in points)
    first = points[0]
    least = LEAST_SPAN * (1 if first.unit == "fraction" else max(abs(first.value), 1e-12))
    middle, span = (top + bottom) / 2, max(top - bottom, least)
    factor, unit = said.factor(first.unit), said.shown_unit(first.unit)
    layout(
        figure, mode, HEIGHT, margin=(58, 18, 16, 46),
        xaxis={
            "type": "log" if logarithmic else "linear", "range": limits, "tickvals": ticks, "tickangle": 0,
            "ticktext": [words.tick(t) for t in ticks], "title": {"text": "packed size"},
        },
        yaxis={
            "range": [factor * (middle - 0.62 * span), factor * (middle + 0.68 * span)], "nticks": 7,
            "title": {"text": said.name(first.measure) + (f", {unit}" if unit else "")},
        },
    )  # fmt: skip
    return _Scale(logarithmic, low, high, 1.3 * span)


def _label(figure: go.Figure, here: TrailPoint, below: bool, scale: _Scale, mode: str) -> None:
    """The name of the point on screen, on the side of it where there is room and away from the original's line."""
    anchor, shift = ("left", 15) if scale.share(here.bytes) < 0.55 else ("right", -15)
    note(figure, f"<b>{words.name(here.label, 40)}</b>", mode, scale.place(here.bytes), here.shown,
         xref="x", yref="y", anchor=(anchor, "top" if below else "bottom"), shift=(shift, -3 if below else 3),
         backed=True)  # fmt: skip


def _original_label(
    figure: go.Figure, points: Sequence[TrailPoint], here: TrailPoint, scale: _Scale, mode: str
) -> None:
    """The original's accuracy on its line, on the other side of the line than the point on screen and its name.

    Beside the original's mark or at an end of the line: where the fewest marks lie under it.
    """
    first = points[0]
    at = scale.share(first.bytes)
    close = [p for p in points if abs(p.value - first.value) < CLOSE * scale.span]
    marks = [scale.share(p.bytes) for p in close if p is not first]
    if here in close:
        marks += [scale.share(here.bytes)] * len(points)  # its ring is the largest mark

    def covered(place: tuple[float, str, float]) -> float:
        start = place[0] - WIDE if place[1] == "right" else place[0]
        if start < 0 or start + WIDE > 1:
            return np.inf
        met = marks if place[0] == at else [at, *marks]
        return sum(start - 0.05 < mark < start + WIDE + 0.05 for mark in met)

    places = ((at, "right", -12), (0.0, "left", 4), (1.0, "right", -4), (at, "left", 12))
    share, anchor, shift = min(places, key=covered)
    below = here.value >= first.value
    note(figure, f"original {first.said}", mode, share, first.shown, xref="x domain",
         yref="y", anchor=(anchor, "top" if below else "bottom"), shift=(shift, -2 if below else 2),
         colour=palette(mode).muted, size=SMALL)  # fmt: skip


def _caption(points: Sequence[TrailPoint], current: int) -> str:
    first, here = points[0], points[current]
    if current == 0:
        return f"You are at the original: {first.said} at {words.size(first.bytes)}."
    change, name = here.value - first.value, said.name(here.measure)
    unit = said.moved_unit(here.unit)
    factor = words.ratio(first.bytes, here.bytes)
    size = "at the same size" if factor == "same size" else f"and is {factor} than the original"
    moved = f"moves {name} by {said.moved(change, here.unit)} {unit}".strip() if change else f"keeps the {name}"
    return f"{here.label} {moved} {size}."


def _table(points: Sequence[TrailPoint], current: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Recipe": [point.label for point in points],
            "Accuracy, %": [point.shown for point in points],
            "95 % interval, from, %": [said.factor(point.unit) * point.low for point in points],
            "95 % interval, to, %": [said.factor(point.unit) * point.high for point in points],
            "Packed, bytes": [point.bytes for point in points],
            "On screen": ["yes" if i == current else "" for i in range(len(points))],
        }
    )
