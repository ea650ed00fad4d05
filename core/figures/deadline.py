"""Which share of calls is over after how long, of both models, with the deadline as a line through both."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.deploy.timings import SIDES, Deadline, Speed
from core.figures import words
from core.figures.speed import ticks
from core.figures.theme import DASHES, SMALL, SYMBOLS, TITLES, Series, layout, note, palette
from core.registry import register
from core.types import Chart, Quantity

HEIGHT = 300  # px
MOST = 600  # points of a line: more than its width in px shows
ABOVE = 5  # per cent above the highest line


@register(
    kind="chart",
    name="deadline",
    title="Deadline",
    summary="The share of calls that are over after so many milliseconds, and how many keep the deadline.",
    reference="Wilson 1927, doi 10.1080/01621459.1927.10502953; Dean and Barroso 2013, The tail at scale",
)
def deadline_chart(speed: Speed, deadline: Deadline, batch: int = 0, mode: str = "light") -> Chart:
    """Calls of one batch size, by default the first; the axis of time is logarithmic."""
    batch = batch or speed.batches[0]
    p = palette(mode)
    shares = {series: speed.of(series, batch).within(deadline) for series in SIDES}
    times = [*(speed.of(series, batch).calls for series in SIDES), np.array([deadline.milliseconds])]
    low, high = (math.log10(max(end, 1e-6)) for end in (min(map(np.min, times)), max(map(np.max, times))))
    room = max(0.06 * (high - low), 0.03)
    figure = go.Figure()
    for series in SIDES:
        _line(figure, speed, series, batch, 10 ** (high + room), mode)
    for series in SIDES:
        figure.add_scatter(
            x=[deadline.milliseconds], y=[100 * (shares[series].value or 0)], mode="markers", cliponaxis=False,
            marker={"symbol": SYMBOLS[series], "size": 11, "color": p.of(series),
                    "line": {"width": 2, "color": p.of(series)}},
            hovertemplate=f"{TITLES[series]}: {_share(shares[series])} within "
            f"{words.milliseconds(deadline.milliseconds)}<extra></extra>",
            uid=f"deadline-share-{series}",
        )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(52, 14, 48, 44),
        xaxis={
            "type": "log", "range": [low - room, high + room], "title": {"text": "milliseconds a call, at most"},
            **ticks(low - room, high + room),
        },
        yaxis={"range": [-2, 100 + ABOVE], "tickvals": [0, 25, 50, 75, 100], "title": {"text": "calls, %"}},
    )  # fmt: skip
    figure.add_shape(
        type="line", x0=deadline.milliseconds, x1=deadline.milliseconds, y0=0, y1=1, yref="paper",
        line={"color": p.text, "width": 1.5, "dash": "2px,3px"},
    )  # fmt: skip
    name = f"{deadline.frames:g} frames a second: " if deadline.frames else "deadline "
    left = math.log10(deadline.milliseconds) > (low + high) / 2
    note(figure, f"{name}{words.milliseconds(deadline.milliseconds)}", mode, math.log10(deadline.milliseconds), 0,
         xref="x", anchor=("right" if left else "left", "bottom"), shift=(-6 if left else 6, 4), backed=True,
         colour=p.muted, size=SMALL)  # fmt: skip
    for series, corner in zip(SIDES, (0, 1), strict=True):
        text = f"<b>{TITLES[series]}</b> {_share(shares[series])} in time"
        mark = f"<span style='color:{p.of(series)}'>{'○' if series == 'original' else '●'}</span> "
        note(figure, mark + text, mode, 0, 1, shift=(0, 22 - 18 * corner + 4))
    caption = _caption(speed, deadline, batch, shares)
    alt = (
        f"Two rising lines: the share of {words.count(speed.of('original', batch).n)} calls of each model that took "
        f"at most so long. {caption}"
    )
    return Chart(figure, alt, caption, _table(speed, deadline, shares, batch))


def _line(figure: go.Figure, speed: Speed, series: Series, batch: int, end: float, mode: str) -> None:
    """The empirical distribution: a step of 1/n at every call, thinned where there are more than can be seen."""
    times = np.sort(speed.of(series, batch).calls)
    n = len(times)
    # Both ends are kept as they are: the longest calls are what a deadline is about.
    at = np.arange(n) if n <= MOST else np.unique(np.r_[np.linspace(0, n - 1, MOST).astype(int), n - 50 : n])
    figure.add_scatter(
        x=np.r_[times[0], times[at], end], y=np.r_[0.0, 100 * (at + 1) / n, 100.0], mode="lines",
        line={"color": palette(mode).of(series), "width": 2, "dash": DASHES[series], "shape": "hv"},
        hovertemplate=f"{TITLES[series]}: %{{y:.1f}} % of calls within %{{x:.3g}} ms<extra></extra>",
        uid=f"deadline-calls-{series}",
    )  # fmt: skip


def _share(share: Quantity) -> str:
    return words.percent(share.value)


def in_time(share: Quantity, deadline: Deadline) -> str:
    """Such as `at 30 frames a second: 99.9 % in time`."""
    return f"{deadline.words}: {_share(share)} in time"


def _caption(speed: Speed, deadline: Deadline, batch: int, shares: dict[Series, Quantity]) -> str:
    after, before = shares["tempered"], shares["original"]
    bounds = after.interval
    ends = f" (95 % interval {words.interval(bounds.low, bounds.high)})" if bounds else ""
    size = "" if batch == 1 else f" for batches of {batch:,}"
    found = in_time(after, deadline)
    text = f"{found[:1].upper()}{found[1:]}{ends} when tempered, {_share(before)} of the original's calls{size}"
    longest = (words.milliseconds(speed.of(series, batch).longest) for series in ("tempered", "original"))
    return f"{text}; the longest took {' and '.join(longest)}."


def _table(speed: Speed, deadline: Deadline, shares: dict[Series, Quantity], batch: int) -> pd.DataFrame:
    rows = []
    for series in SIDES:
        one, share = speed.of(series, batch), shares[series]
        bounds = share.interval
        rows.append(
            {
                "Model": TITLES[series],
                "Batch": batch,
                "Deadline, ms": deadline.milliseconds,
                "Calls": one.n,
                "In time": int((one.calls <= deadline.milliseconds).sum()),
                "In time, %": 100 * (share.value or 0),
                "95 % interval, %": words.interval(bounds.low, bounds.high, 2) if bounds else words.NOTHING,
                "Longest, ms": one.longest,
            }
        )
    return pd.DataFrame(rows)
