"""How far off predictions of numbers are, from the best to the worst, before and after."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.engine.quantiles import LEVELS, quantiles
from core.figures import words
from core.figures.theme import DASHES, SYMBOLS, layout, note, palette, title
from core.registry import register
from core.task import NUMBERS
from core.types import Chart, Outcome

HEIGHT = 320  # px
STEPS = 200  # points of a line


@register(
    kind="chart",
    name="error-quantiles",
    title="Quantiles of the error",
    summary="The absolute error that each share of the examples stays below, for both models, with intervals.",
    reference="David and Nagaraja 2003, Order statistics, section 7.1 (distribution-free intervals of a quantile)",
    tasks=NUMBERS,
)
def error_quantiles_chart(original: Outcome, tempered: Outcome, mode: str = "light") -> Chart:
    """Absolute error against the share of examples below it; marks with intervals at the shares of the table."""
    figure, unit = go.Figure(), original.task.unit
    shares = np.linspace(0, 1, STEPS)
    found = {}
    for series, outcome in (("original", original), ("tempered", tempered)):
        off = np.abs(outcome.values - outcome.labels)
        found[series] = marks = quantiles(off)
        colour = palette(mode).of(series)  # type: ignore[arg-type]
        figure.add_scatter(
            x=100 * shares, y=np.quantile(off, shares), mode="lines", uid=f"quantiles-line-{series}",
            line={"color": colour, "width": 2, "dash": DASHES[series]}, hoverinfo="skip",  # type: ignore[index]
        )  # fmt: skip
        values = [q.value or 0.0 for q in marks]
        bounds = [q.interval for q in marks]
        figure.add_scatter(
            x=[100 * level for level in LEVELS], y=values, mode="markers", uid=f"quantiles-{series}",
            marker={"symbol": SYMBOLS[series], "size": 8, "color": colour,  # type: ignore[index]
                    "line": {"width": 2, "color": colour}},
            error_y={
                "type": "data", "symmetric": False, "width": 3, "thickness": 1.5, "color": colour,
                "array": [b.high - v if b else 0.0 for v, b in zip(values, bounds, strict=True)],
                "arrayminus": [v - b.low if b else 0.0 for v, b in zip(values, bounds, strict=True)],
            },
            hovertemplate=f"%{{x:g}} % of examples are off by at most %{{y:.4g}} {unit}, {series}<extra></extra>",
        )  # fmt: skip
    ends = [q.interval.high if q.interval else q.value or 0.0 for marks in found.values() for q in marks]
    top = max(*ends, 1e-12)  # the few beyond would press all others to the ground
    layout(
        figure, mode, HEIGHT, margin=(66, 14, 30, 44),
        xaxis={"range": [0, 101], "title": {"text": "share of examples, %"}},
        yaxis={"range": [0, 1.06 * top], "nticks": 6, "tickformat": ",~g",
               "title": {"text": f"absolute error, {unit}".removesuffix(", ")}},
    )  # fmt: skip
    note(figure, f"{title('original', mode)}   {title('tempered', mode)}", mode, 0, 1, shift=(0, 6))
    told = [
        f"{words.percent(level, 0)} of the examples are off by at most {words.amount(before.value)} before and "
        f"{words.amount(after.value)} after"
        for level, before, after in zip(LEVELS, found["original"], found["tempered"], strict=True)
        if level in (0.5, 0.95)
    ]
    caption = f"{'; '.join(told)}{f' ({unit})' if unit else ''}."
    alt = f"Two rising lines of absolute errors of {words.count(original.n)} examples. {caption}"
    rows = [
        {
            "Share of examples, %": 100 * level,
            **{
                f"{series.title()}{end}": value
                for series in found
                for end, value in _parts(found[series][k])
            },
        }
        for k, level in enumerate(LEVELS)
    ]  # fmt: skip
    return Chart(figure, alt, caption, pd.DataFrame(rows).astype("Float64"))


def _parts(quantity: object) -> list[tuple[str, float | None]]:
    ends = quantity.interval  # type: ignore[attr-defined]
    return [
        ("", quantity.value),  # type: ignore[attr-defined]
        (", from", ends.low if ends else None),
        (", to", ends.high if ends else None),
    ]
