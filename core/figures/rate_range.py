"""Which rate: the loss over ever larger ones, and the one that is suggested."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.figures.theme import layout, note, palette
from core.registry import register
from core.training.rate_range import RateRange
from core.types import Chart

HEIGHT = 220  # px
ABOVE = 3.0  # times the first loss at which the axis ends at most


@register(
    kind="chart",
    name="rate-range",
    title="Which rate",
    summary="The loss of a hundred steps at ever larger rates, and a tenth of that of the least.",
    reference="Smith 2017, Cyclical learning rates for training neural networks, arXiv 1506.01186",
)
def rate_range_chart(found: RateRange, mode: str = "light") -> Chart:
    """The loss after each step, its running mean, and the suggested rate."""
    p = palette(mode)
    figure = go.Figure()
    figure.add_scatter(
        x=found.rates, y=found.losses, mode="markers", uid="rate-steps", marker={"size": 4, "color": p.grey},
        hovertemplate="rate %{x:.2g}<br>after this step: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=found.rates, y=found.smooth, mode="lines", uid="rate-mean", line={"color": p.tempered, "width": 2},
        hovertemplate="rate %{x:.2g}<br>running mean: %{y:.3g}<extra></extra>",
    )  # fmt: skip
    top = min(max(found.smooth), ABOVE * found.smooth[0])
    low = min(found.smooth)
    span = max(top - low, 0.05 * abs(top), 1e-9)
    figure.add_scatter(
        x=[found.suggestion] * 2, y=[low - span, top + span], mode="lines", uid="rate-taken", hoverinfo="skip",
        line={"color": p.original, "width": 1.5, "dash": "dash"},
    )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(60, 16, 24, 46),
        xaxis={"type": "log", "title": {"text": "rate"}, "nticks": 8, "exponentformat": "e"},
        yaxis={"title": {"text": "loss"}, "range": [low - 0.15 * span, top + 0.15 * span], "nticks": 5},
    )  # fmt: skip
    note(figure, f"suggested: {found.suggestion:g}", mode, 0.0, 1.0, anchor=("left", "bottom"), shift=(0, 6),
         colour=p.original)  # fmt: skip
    table = pd.DataFrame({"rate": found.rates, "loss": found.losses, "running mean": found.smooth})
    alt = f"Loss over rate, {len(found.rates)} steps; {found.suggestion:g} is suggested."
    return Chart(figure, alt, rate_caption(found), table)


def rate_caption(found: RateRange) -> str:
    """The rate to take and why, in a sentence."""
    why = (
        "a tenth of the rate of the least running mean"
        if found.by == "least"
        else "it never falls, so a tenth of the rate at which it has risen by a tenth"
    )
    return f"Suggested: {found.suggestion:g}, from {len(found.rates)} steps up to {found.rates[-1]:.2g}; {why}."
