"""How long calls take at each batch size: median to 99th percentile, original and tempered on one axis."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core.deploy.timings import QUANTILES, SIDES, Speed, Timing
from core.figures import words
from core.figures.theme import DASHES, SMALL, SYMBOLS, TITLES, Series, layout, note, palette, title
from core.registry import register
from core.types import Chart, Quantity

ROW = 30  # px a model at one batch size
APART = 0.19  # of a batch size's row between its middle and either model
NAMED = {"p50": "median", "p95": "95th percentile", "p99": "99th percentile"}
TICKS = {"p95": ("line-ns", 13, 2), "p99": ("line-ns", 19, 3)}  # mark, its size and width, px


@register(
    kind="chart",
    name="speed",
    title="Speed",
    summary="Milliseconds a call by batch size: median, 95th and 99th percentile of both models on one axis.",
    reference="Dean and Barroso 2013, The tail at scale",
)
def speed_chart(speed: Speed, mode: str = "light") -> Chart:
    """A row a model and batch size; the axis is logarithmic, so equal distances are equal ratios."""
    figure = go.Figure()
    for series in SIDES:
        _ranges(figure, speed, series, mode)
    for series in SIDES:
        for name in QUANTILES:
            _marks(figure, speed, series, name, mode)
    values = [float(one.quantile(q).value or 0) for one in speed.timings for q in QUANTILES.values()]
    low, high = math.log10(max(min(values), 1e-6)), math.log10(max(*values, 1e-6))
    room = max(0.08 * (high - low), 0.05)
    batches = speed.batches
    layout(
        figure, mode, 78 + 2 * ROW * len(batches), margin=(88, 14, 30, 44),
        xaxis={
            "type": "log", "range": [low - room, high + room], "title": {"text": "milliseconds a call"},
            **ticks(low - room, high + room),
        },
        yaxis={
            "range": [len(batches) - 0.5, -0.5], "tickvals": list(range(len(batches))), "showgrid": False,
            "ticktext": ["one example" if size == 1 else f"batch of {size:,}" for size in batches],
            "tickfont": {"size": SMALL, "color": palette(mode).text},
        },
    )  # fmt: skip
    key = f"{title('original', mode)}   {title('tempered', mode)}"
    note(figure, key, mode, 0, 1, shift=(0, 6))
    note(figure, "dot median, short tick p95, long tick p99", mode, 1, 1, anchor=("right", "bottom"), shift=(0, 6),
         colour=palette(mode).muted, size=SMALL)  # fmt: skip
    caption = _caption(speed)
    return Chart(figure, f"{_alt(speed)} {caption}", caption, _table(speed))


def _place(speed: Speed, series: Series, batch: int) -> float:
    return speed.batches.index(batch) + (-APART if series == "original" else APART)


def _ranges(figure: go.Figure, speed: Speed, series: Series, mode: str) -> None:
    """One line a batch size from the median to the 99th percentile."""
    x: list[float | None] = []
    y: list[float | None] = []
    for batch in speed.batches:
        one = speed.of(series, batch)
        x += [one.quantile(0.5).value, one.quantile(0.99).value, None]
        y += [_place(speed, series, batch)] * 2 + [None]
    figure.add_scatter(
        x=x, y=y, mode="lines", hoverinfo="skip", uid=f"speed-range-{series}",
        line={"color": palette(mode).of(series), "width": 2, "dash": DASHES[series]},
    )  # fmt: skip


def _marks(figure: go.Figure, speed: Speed, series: Series, name: str, mode: str) -> None:
    colour = palette(mode).of(series)
    found = [speed.of(series, batch) for batch in speed.batches]
    values = [one.quantile(QUANTILES[name]) for one in found]
    symbol, size, width = TICKS.get(name, (SYMBOLS[series], 11, 2))
    figure.add_scatter(
        x=[one.value for one in values], y=[_place(speed, series, one.batch) for one in found], mode="markers",
        marker={"symbol": symbol, "size": size, "color": colour, "line": {"width": width, "color": colour}},
        text=[
            f"{TITLES[series]}, {_batch(one)}: {NAMED[name]} <b>{words.milliseconds(q.value)}</b>"
            f"<br>{_interval(q)}<br>{words.count(one.n)} calls, longest {words.milliseconds(one.longest)}"
            for one, q in zip(found, values, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>", uid=f"speed-{name}-{series}", cliponaxis=False,
    )  # fmt: skip


def _batch(one: Timing) -> str:
    return "one example" if one.batch == 1 else f"batch of {one.batch:,}"


def _interval(one: Quantity) -> str:
    if one.interval is None:
        return "too few calls for a 95 % interval"
    return f"95 % interval {words.milliseconds(one.interval.low)} to {words.milliseconds(one.interval.high)}"


def ticks(low: float, high: float) -> dict[str, Any]:
    """Ticks of a logarithmic axis between two powers of ten: the closer these, the more round numbers get one."""
    span = high - low
    steps = (1.0,) if span > 2.5 else (1.0, 2.0, 5.0) if span > 0.8 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
    found = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    found = [tick for tick in found if low <= math.log10(tick) <= high]
    return {"tickvals": found, "ticktext": [f"{tick:,.10g}" for tick in found]}


def faster(ratio: Quantity) -> str:
    """How tempered compares, in words that respect the interval of the ratio."""
    value, bounds = ratio.value or 1.0, ratio.interval
    if bounds is not None and bounds.low <= 1 <= bounds.high:
        return f"not surely faster or slower ({_times(bounds.low)} to {_times(bounds.high)}{words.TIMES})"
    text = f"{_times(value if value >= 1 else 1 / value)}{words.TIMES} {'faster' if value >= 1 else 'slower'}"
    if bounds is None:
        return f"{text} (too few rounds for an interval)"
    ends = (bounds.low, bounds.high) if value >= 1 else (1 / bounds.high, 1 / bounds.low)
    return f"{text} ({_times(ends[0])} to {_times(ends[1])})"


def _times(x: float) -> str:
    return f"{x:.2f}" if x < 1.995 else f"{x:.1f}" if x < 9.95 else f"{x:.0f}"


def _caption(speed: Speed) -> str:
    parts = []
    for batch in dict.fromkeys((speed.batches[0], speed.batches[-1])):
        subject = "one example" if batch == 1 else f"a batch of {batch:,}"
        parts.append(f"{subject} is {faster(speed.ratio(batch))}")
    threads = speed.machine.threads
    text = f"Measured here, {' and '.join(parts)}, on {threads} thread{'s' if threads > 1 else ''}"
    noted = speed.note.rstrip(".")
    return f"{text}{'; ' + (noted[:1].lower() + noted[1:]).replace('. ', '; ') if noted else ''}."


def _alt(speed: Speed) -> str:
    parts = []
    for one in speed.timings:
        found = ", ".join(f"{name} {words.milliseconds(one.quantile(q).value)}" for name, q in QUANTILES.items())
        parts.append(f"{_batch(one)}, {one.side}: {found}")
    return f"Ranges of milliseconds a call. {'; '.join(parts)}."


def _table(speed: Speed) -> pd.DataFrame:
    """A row a model and batch size; an interval that too few calls allow is a dash."""
    rows = []
    for batch in speed.batches:
        for series in SIDES:
            one = speed.of(series, batch)
            row: dict[str, object] = {"Model": TITLES[series], "Batch": batch, "Calls": one.n}
            for name, q in QUANTILES.items():
                found = one.quantile(q)
                row[f"{name}, ms"] = found.value
                row[f"{name}, 95 % interval, ms"] = _ends(found)
            row["Longest, ms"] = one.longest
            row["Examples a second"] = one.throughput.value
            row["Examples a second, 95 % interval"] = _ends(one.throughput)
            ratio = speed.ratio(batch)
            row["Times as fast"] = 1.0 if series == "original" else ratio.value
            row["Times as fast, 95 % interval"] = words.NOTHING if series == "original" else _ends(ratio)
            rows.append(row)
    return pd.DataFrame(rows)


def _ends(one: Quantity) -> str:
    return f"{one.interval.low:.4g} to {one.interval.high:.4g}" if one.interval else words.NOTHING
