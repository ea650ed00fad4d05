"""How the number ECE depends on the bins and on n, beside what it says of a perfectly calibrated model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.calibration.bins_lesson import BinsLesson
from core.figures import words
from core.figures.theme import SMALL, layout, note, palette, translucent
from core.registry import register
from core.types import Chart

HEIGHT = 330  # px


@register(
    kind="chart",
    name="bins-lesson",
    title="What the number ECE depends on",
    summary="ECE against the number of bins, for the model and for one whose labels are drawn from what it says.",
    reference="Bröcker 2012, doi 10.1007/s00382-011-1191-1; Roelofs et al. 2022, arXiv 2012.08668",
)
def bins_lesson_chart(found: BinsLesson, bins: int, mode: str = "light") -> Chart:
    """`bins`, one of the numbers tried, is marked on both curves."""
    p, figure = palette(mode), go.Figure()
    x = found.bins
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]), y=100 * np.concatenate([found.high, found.low[::-1]]), mode="lines",
        fill="toself", fillcolor=translucent(p.grey, 0.25), line={"width": 0, "color": p.grey}, hoverinfo="skip",
        uid="honest-range",
    )  # fmt: skip
    for uid, values, colour, dash, name in (
        ("honest-mean", found.honest, p.muted, "5px,4px", "perfectly calibrated"),
        ("model", found.model, p.tempered, "solid", "this model"),
    ):
        figure.add_scatter(
            x=x, y=100 * values, mode="lines", line={"color": colour, "width": 2, "dash": dash}, uid=uid,
            hovertemplate=f"%{{x}} bins: {name} %{{y:.2f}} %<extra></extra>",
        )  # fmt: skip
    mine, honest = (100 * float(values[np.searchsorted(x, bins)]) for values in (found.model, found.honest))
    for uid, value, colour, symbol in (
        ("honest-at", honest, p.muted, "diamond-open"), ("model-at", mine, p.tempered, "diamond"),
    ):  # fmt: skip
        figure.add_scatter(
            x=[bins], y=[value], mode="markers", uid=uid, hovertemplate="%{y:.2f} %<extra></extra>",
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
        )  # fmt: skip
    top = 100 * float(max(found.model.max(), found.high.max()))
    ticks = [1, 2, 5, 10, 20, 50, 100]
    layout(
        figure, mode, HEIGHT, margin=(52, 12, 26, 44),
        xaxis={"type": "log", "range": [-0.03, 2.03], "tickvals": ticks, "ticktext": [str(t) for t in ticks],
               "title": {"text": "bins"}},
        yaxis={"range": [0, 1.06 * top or 1.0], "nticks": 6, "title": {"text": "ECE, %"}},
    )  # fmt: skip
    legend = (
        f"<span style='color:{p.tempered}'>◆ — this model</span>   "
        f"<span style='color:{p.muted}'>◇ - - a perfectly calibrated one, with its 95 % range</span>"
    )
    note(figure, legend, mode, 0, 1, shift=(0, 6), size=SMALL)
    caption = (
        f"With {bins} bins and {words.count(found.n)} examples ECE is {words.percent(mine / 100, 2)}, where a "
        f"perfectly calibrated model of the same confidences would show {words.percent(honest / 100, 2)} on average."
    )
    alt = f"ECE against 1 to {x[-1]} bins of equal {_what(found)}, of {words.count(found.total)} examples. {caption}"
    table = pd.DataFrame(
        {
            "Bins": x,
            "This model, %": 100 * found.model,
            "Perfectly calibrated, mean, %": 100 * found.honest,
            "from, %": 100 * found.low,
            "to, %": 100 * found.high,
        }
    )
    return Chart(figure, alt, caption, table)


def _what(found: BinsLesson) -> str:
    return "width" if found.by == "width" else "numbers of examples"
