"""One layer's weights before and after on the same bins, with the levels that its grid can hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures.theme import SMALL, Series, bar, layout, note, palette, title, translucent
from core.layers.layer_weights import LayerWeights
from core.registry import register
from core.types import Chart, Floats

HEIGHT = 300  # px
DRAWN = 64  # levels that are drawn one by one; more are a band


@register(
    kind="chart",
    name="weights",
    title="Weights on the grid",
    summary="A layer's weights before and after on shared axes, with the levels of its quantization grid.",
    reference="Nagel et al. 2021, A white paper on neural network quantization, arXiv 2106.08295",
)
def weights_chart(weights: LayerWeights, mode: str = "light") -> Chart:
    """Shares of the weights in per cent. Where zeros tower over all else, their bar is cut and its share said."""
    p, figure = palette(mode), go.Figure()
    middles = (weights.edges[:-1] + weights.edges[1:]) / 2
    width = float(weights.edges[1] - weights.edges[0])
    centre = len(middles) // 2
    rest = np.concatenate([np.delete(weights.original, centre), np.delete(weights.tempered, centre)])
    everything = max(float(weights.original.max()), float(weights.tempered.max()), 1e-9)
    top = float(rest.max()) if rest.max() > 0 else everything
    top = everything if everything <= 1.6 * top else top
    lines = [level for level in weights.levels if abs(level) <= weights.edges[-1] * 1.001]
    single = 0 < len(weights.levels) <= DRAWN
    figure.add_scatter(
        x=[x for level in (lines if single else []) for x in (level, level, None)],
        y=[y for _ in (lines if single else []) for y in (0, 120 * top, None)],
        mode="lines", line={"color": p.grey, "width": 1}, hoverinfo="skip", uid="levels",
    )  # fmt: skip
    drawn: tuple[tuple[Series, Floats, float], ...] = (
        ("original", weights.original, 1.0),
        ("tempered", weights.tempered, 0.55),
    )
    for series, shares, thick in drawn:
        figure.add_bar(
            x=middles, y=100 * shares, width=thick * width, marker=bar(series, mode), uid=f"shares-{series}",
            customdata=np.stack([weights.edges[:-1], weights.edges[1:]], 1),
            hovertemplate="%{y:.2f} % of the weights<br>%{customdata[0]:.4g} to %{customdata[1]:.4g}"
            f"<extra>{series.title()}</extra>",
        )  # fmt: skip
    shapes = []
    if len(weights.levels) > DRAWN:
        low, high = (float(np.clip(end, weights.edges[0], weights.edges[-1])) for end in weights.levels[[0, -1]])
        shapes = [{"type": "rect", "xref": "x", "yref": "paper", "x0": low, "x1": high, "y0": 0, "y1": 1,
                   "layer": "below", "line": {"width": 0}, "fillcolor": translucent(p.grey, 0.16)}]  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(46, 8, 30, 40), barmode="overlay", bargap=0, shapes=shapes,
        xaxis={"range": [1.02 * weights.edges[0], 1.02 * weights.edges[-1]], "title": {"text": "Weight"}},
        yaxis={"range": [0, 112 * top], "title": {"text": "Share of the weights, %"}, "rangemode": "tozero"},
    )  # fmt: skip
    key = f"{title('original', mode)}   {title('tempered', mode)}"
    if len(weights.levels):
        mark = "│" if single else "▒"
        key += f"   <span style='color:{p.grey}'>{mark}</span> {len(weights.levels)} levels"
    note(figure, key, mode, 0, 1, shift=(0, 8))
    if everything > top:
        note(figure, f"around zero {words.percent(everything)}", mode, float(middles[centre]), 1, xref="x",
             anchor=("left", "top"), shift=(12, -2), colour=p.muted, size=SMALL, backed=True)  # fmt: skip
    caption = _caption(weights)
    alt = f"Histograms of {words.count(weights.n)} weights of {weights.layer}, original and tempered. {caption}"
    return Chart(figure, alt, caption, _table(weights))


def _caption(seen: LayerWeights) -> str:
    where = words.cut(seen.layer, 48) + (f", {seen.line} {seen.channel}" if seen.channel is not None else "")
    zeros = f"{words.percent(seen.zeros[1])} of {words.count(seen.n)} weights of {where} are zero"
    if not len(seen.levels):
        kept = "16-bit floats" if seen.bits == 16 else "32-bit floats"
        return f"{zeros}, the others {kept}: there is no grid."
    far = f"{len(seen.levels)} levels from {seen.levels[0]:.3g} to {seen.levels[-1]:.3g}".replace("-", words.MINUS)
    whose = ""
    if seen.grid_channel is not None:
        widest = " (the widest)" if seen.channel is None else ""
        whose = f" of {seen.line} {seen.grid_channel}'s own grid{widest}"
    if seen.grid_group:
        whose += f" where they reach furthest, as each {seen.grid_group} weights have a scale of their own"
    clipped = (
        f"{words.percent(seen.clipped, 2)} of the original's weights lie beyond their grid and are clipped"
        if seen.clipped
        else "no weight is clipped"
    )
    return f"{zeros}; {far}{whose}, and {clipped}."


def _table(seen: LayerWeights) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "From": seen.edges[:-1],
            "To": seen.edges[1:],
            "Original, %": 100 * seen.original,
            "Tempered, %": 100 * seen.tempered,
        }
    )
