"""What is left between actual and predicted values: how it is spread, and where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures._numbers import Scale, missed, rounded, scale_of, target, unit, with_unit
from core.figures.theme import DASHES, SMALL, SYMBOLS, TITLES, Series, layout, note, palette, title, translucent
from core.registry import register
from core.task import NUMBERS
from core.types import Chart, Floats, Integers, Outcome

HEIGHT = 360  # px
GAP = 0.11  # between panels, share of the width
BARS = (6, 45)  # least and most classes of the distribution; between them Rice's rule, 2 n^(1/3)
GROUPS, LEAST = 14, 20  # groups of predicted values, and examples that each should have
BAND = (0.05, 0.95)  # quantiles
DRAWN = (0.005, 0.995)  # quantiles of residuals between which their distribution is drawn


@dataclass(frozen=True)
class Spread:
    """Residuals by groups of predicted values: middle of each group, its median and `BAND`, its size."""

    at: Floats
    low: Floats
    median: Floats
    high: Floats
    count: Integers


@register(
    kind="chart",
    name="residuals",
    title="Residuals",
    summary="Actual minus predicted values: how they are distributed, and their median and middle 90 % by the "
    "predicted value.",
    reference="Cook and Weisberg 1982, Residuals and influence in regression, Chapman and Hall",
    tasks=NUMBERS,
)
def residuals_chart(original: Outcome, tempered: Outcome, mode: str = "light") -> Chart:
    """Left the distribution of both models' residuals, right how they vary with what is predicted."""
    p = palette(mode)
    outcomes: dict[Series, Outcome] = {"original": original, "tempered": tempered}
    left = {series: missed(outcome) for series, outcome in outcomes.items()}
    spread = {series: _spread(outcomes[series].values, values) for series, values in left.items()}
    bars = scale_of(left["original"], left["tempered"], False, DRAWN, reach=0.0)
    across = scale_of(spread["original"].at, spread["tempered"].at)
    firm = np.concatenate([spread["original"].low, spread["original"].high, [0.0]])
    other = np.concatenate([spread["tempered"].low, spread["tempered"].high])
    up = scale_of(firm, other, logarithmic=False)

    figure = go.Figure()
    classes = min(max(math.ceil(2 * original.n ** (1 / 3)), BARS[0]), BARS[1])
    edges = np.linspace(bars.low, bars.high, classes + 1)
    top = max(_distribution(figure, series, values, edges, mode) for series, values in left.items())
    _zero(figure, "ideal-distribution", ([0, 0], [0, top]), 1, mode)
    for series, found in spread.items():
        _band(figure, series, found, across, up, outcomes[series], mode)
    _zero(figure, "ideal-spread", ([across.low, across.high], [0, 0]), 2, mode)

    name, of = words.name(target(original)), words.name(unit(original)) if unit(original) else ""
    difference = ", ".join(part for part in (f"actual minus predicted {name}", of) if part)
    middle = (1 - GAP) / 2
    axes: dict[str, Any] = {
        "xaxis1": bars.axis(difference, 6) | {"domain": (0, middle), "anchor": "y1"},
        "yaxis1": {"range": [0, 1.06 * top], "title": {"text": "examples, %"}, "anchor": "x1", "nticks": 6},
        "xaxis2": across.axis(", ".join(part for part in (f"predicted {name}", of) if part), 4)
        | {"domain": (middle + GAP, 1), "anchor": "y2"},
        "yaxis2": up.axis("") | {"anchor": "x2"},
    }
    layout(figure, mode, HEIGHT, margin=(48, 12, 50, 46), **axes)
    both = f"{title('original', mode)}   {title('tempered', mode)}"
    for axis, text in (("x", "distribution"), ("x2", "median and middle 90 %, by predicted value")):
        note(figure, both, mode, 0, 1, xref=f"{axis} domain", shift=(0, 20))
        note(figure, text, mode, 0, 1, xref=f"{axis} domain", shift=(0, 3), colour=p.muted, size=SMALL)
    beyond = int(np.maximum(*(bars.beyond(values).sum() for values in left.values())))
    if beyond:
        note(figure, f"up to {words.count(beyond)} are further out", mode, 1, 1, xref="x domain", yref="y domain",
             anchor=("right", "top"), shift=(-4, -4), colour=p.muted, size=SMALL, backed=True)  # fmt: skip
    caption = _caption(left, outcomes)
    alt = (
        f"Residuals of {words.count(original.n)} examples, original and tempered: a distribution, and median and "
        f"middle 90 % in {len(spread['tempered'].at)} groups of the predicted {target(original)}. {caption}"
    )
    return Chart(figure, alt, caption, _table(outcomes, spread))


def _spread(predicted: Floats, residuals: Floats) -> Spread:
    """Groups of as many examples each, in the order of what is predicted."""
    groups = max(1, min(GROUPS, len(predicted) // LEAST))
    parts = np.array_split(np.argsort(predicted, kind="stable"), groups)
    low, median, high = np.array([np.quantile(residuals[part], (BAND[0], 0.5, BAND[1])) for part in parts]).T
    at = np.array([float(np.median(predicted[part])) for part in parts])
    return Spread(at, low, median, high, np.array([len(part) for part in parts]))


def _distribution(figure: go.Figure, series: Series, residuals: Floats, edges: Floats, mode: str) -> float:
    """Draw the share of examples in each class; returns the largest, in per cent of all examples."""
    share = 100 * np.histogram(residuals, edges)[0] / len(residuals)
    colour = palette(mode).of(series)
    figure.add_scatter(
        x=np.repeat(edges, 2), y=np.concatenate([[0], np.repeat(share, 2), [0]]), mode="lines", fill="tozeroy",
        fillcolor=translucent(colour, 0.16 if series == "tempered" else 0.05),
        line={"color": colour, "width": 1.75, "dash": DASHES[series]}, hoverinfo="skip", uid=f"distribution-{series}",
        xaxis="x1", yaxis="y1",
    )  # fmt: skip
    return float(share.max()) or 1.0


def _zero(figure: go.Figure, uid: str, ends: tuple[list[float], list[float]], column: int, mode: str) -> None:
    figure.add_scatter(
        x=ends[0], y=ends[1], mode="lines", hoverinfo="skip", line={"color": palette(mode).grey, "width": 1},
        uid=uid, xaxis=f"x{column}", yaxis=f"y{column}",
    )  # fmt: skip


def _band(
    figure: go.Figure, series: Series, found: Spread, across: Scale, up: Scale, outcome: Outcome, mode: str
) -> None:
    colour = palette(mode).of(series)
    x, of = across.along(found.at), words.name(unit(outcome)) if unit(outcome) else ""
    for part, values in (("low", found.low), ("high", found.high)):
        figure.add_scatter(
            x=x, y=up.along(values), mode="lines", fill="tonexty" if part == "high" else None,
            fillcolor=translucent(colour, 0.14 if series == "tempered" else 0.06), hoverinfo="skip",
            line={"color": colour, "width": 1, "dash": DASHES[series]}, uid=f"{part}-{series}",
            xaxis="x2", yaxis="y2",
        )  # fmt: skip
    figure.add_scatter(
        x=x, y=up.along(found.median), mode="lines+markers",
        line={"color": colour, "width": 2, "dash": DASHES[series]},
        marker={"symbol": SYMBOLS[series], "size": 6, "color": colour, "line": {"width": 1.5, "color": colour}},
        text=[
            f"{TITLES[series]}, predicted about <b>{words.amount(at, of)}</b><br>median <b>{words.amount(m, of)}"
            f"</b><br>middle 90 % {words.amount(low)} to {words.amount(high, of)}<br>{words.count(n)} examples"
            for at, low, m, high, n in zip(found.at, found.low, found.median, found.high, found.count, strict=True)
        ],
        hovertemplate="%{text}<extra></extra>", uid=f"median-{series}", xaxis="x2", yaxis="y2",
    )  # fmt: skip


def _caption(left: dict[Series, Floats], outcomes: dict[Series, Outcome]) -> str:
    of = unit(outcomes["tempered"])
    ends = {series: np.quantile(values, (*BAND, 0.5)) for series, values in left.items()}
    low, high, median = ends["tempered"]
    was = words.amount(ends["original"][1] - ends["original"][0], of)
    lean = f"half of them above {words.amount(median, of)}" if median else "as many above as below 0"
    return (
        f"The middle 90 % of the tempered residuals spans {words.amount(high - low, of)}, where the original's "
        f"spans {was}, {lean}."
    )


def _table(outcomes: dict[Series, Outcome], spread: dict[Series, Spread]) -> pd.DataFrame:
    """All examples of a model, then its groups."""
    rows: list[tuple[str, str, int, float | None, float, float, float]] = []
    for series, found in spread.items():
        low, median, high = np.quantile(missed(outcomes[series]), (BAND[0], 0.5, BAND[1]))
        rows.append((TITLES[series], "all", outcomes[series].n, float(np.median(outcomes[series].values)),
                     float(low), float(median), float(high)))  # fmt: skip
        rows += [
            (TITLES[series], f"group {i}", int(n), float(at), float(low), float(m), float(high))
            for i, (at, low, m, high, n) in enumerate(
                zip(found.at, found.low, found.median, found.high, found.count, strict=True), 1
            )
        ]
    names = ["Median predicted", "5 % of residuals below", "Median residual", "5 % of residuals above"]
    frame = pd.DataFrame(rows, columns=["Model", "Predicted values", "Examples", *names])
    frame[names] = frame[names].apply(lambda column: rounded(column.to_numpy()))
    return frame.rename(columns={name: with_unit(name, outcomes["original"]) for name in names})
