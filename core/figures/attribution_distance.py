"""How far the tempered map is from the original's, beside what noise and weights drawn anew do to it."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.damage.cka import NOISE
from core.damage.why import Distance, Why
from core.figures.because import beside, line
from core.figures.theme import SMALL, SYMBOLS, layout, palette
from core.registry import register
from core.types import Chart

ROWS = {
    "noise": f"Noise of {100 * NOISE:g} % in the weights",
    "tempered": "Tempered",
    "redrawn": "Weights drawn anew",
}
ROW = 40  # px


@register(
    kind="chart",
    name="attribution-distance",
    title="Is the move real?",
    summary="The share of an explanation that moved, beside what noise moves and what weights drawn anew move.",
    reference="Adebayo et al. 2018, Sanity checks for saliency maps, arXiv 1810.03292",
)
def attribution_distance_chart(found: Why, mode: str = "light") -> Chart:
    """A row a network: the share of the attribution that lies elsewhere than in the original, one mark a draw."""
    p = palette(mode)
    rows: dict[str, tuple[Distance, ...]] = {
        "noise": found.noise, "tempered": (found.between,), "redrawn": found.redrawn,
    }  # fmt: skip
    colours = {"noise": p.grey, "tempered": p.tempered, "redrawn": p.purple}
    symbols = {"noise": "circle-open", "tempered": SYMBOLS["tempered"], "redrawn": "diamond-open"}
    figure = go.Figure()
    for place, (name, distances) in enumerate(rows.items()):
        known = [one for one in distances if one.moved is not None]
        figure.add_scatter(
            x=[100 * (one.moved or 0.0) for one in known], y=[place] * len(known), mode="markers",
            uid=f"distance-{name}", text=[line(one) for one in known], hovertemplate="%{text}<extra></extra>",
            marker={"symbol": symbols[name], "size": 11, "color": colours[name],
                    "line": {"width": 2, "color": colours[name]}},
        )  # fmt: skip
    layout(
        figure, mode, 64 + ROW * len(rows), margin=(190, 14, 10, 46),
        xaxis={"range": [-2, 102], "nticks": 6, "title": {"text": "share of the attribution that lies elsewhere, %"}},
        yaxis={"range": [len(rows) - 0.5, -0.5], "tickvals": list(range(len(rows))),
               "tickfont": {"size": SMALL, "color": p.text},
               "ticktext": [ROWS[name] if some else f"({ROWS[name]})" for name, some in rows.items()]},
    )  # fmt: skip
    caption = beside(found)
    listed = "; ".join(f"{ROWS[name]} {', '.join(map(line, some))}" for name, some in rows.items() if some)
    return Chart(figure, f"Distances from the original's map: {listed}. {caption}", caption, _table(rows))


def _table(rows: dict[str, tuple[Distance, ...]]) -> pd.DataFrame:
    listed = [
        {
            "Network": ROWS[name], "Draw": draw, "Elsewhere, %": None if one.moved is None else 100 * one.moved,
            "Rank correlation": None if one.rank is None else 1 - one.rank,
        }
        for name, distances in rows.items()
        for draw, one in enumerate(distances, 1)
    ]  # fmt: skip
    return pd.DataFrame(listed).astype({"Elsewhere, %": "Float64", "Rank correlation": "Float64"})
