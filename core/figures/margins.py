"""How sure before, how sure after: the margin of every example in both models, and those that changed sides."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.damage.flipped import margin
from core.figures import words
from core.figures.theme import SMALL, layout, note, palette, translucent
from core.registry import register
from core.types import Chart, Floats, Outcome

HEIGHT = 380  # px
BINS = 40  # a side
FAINTEST = 0.22  # opacity of a cell with one example
MOST = 1_200  # points drawn of each kind; beyond, evenly chosen ones by their margin
EDGES = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the table's cells


@register(
    kind="chart",
    name="margins",
    title="Margins",
    summary="By how much the true class leads in both models: who crossed zero changed between right and wrong.",
    reference="Dutta et al. 2024, Accuracy is not all you need, arXiv 2407.09141; margins: arXiv 1803.05598",
)
def margins_chart(original: Outcome, tempered: Outcome, mode: str = "light") -> Chart:
    """Both margins of every example: shades count examples, marks are those that changed between right and wrong.

    A margin is the probability of the true class less that of the likeliest other one: below zero is wrong.
    """
    before, after = margin(original), margin(tempered)
    p = palette(mode)
    figure = go.Figure()
    figure.add_trace(_counts(before, after, mode))
    lost, gained = original.correct & ~tempered.correct, ~original.correct & tempered.correct
    kinds = ((lost, "lost", p.tempered, "circle"), (gained, "gained", p.original, "diamond-open"))
    for of, name, colour, symbol in kinds:
        chosen = _thinned(np.flatnonzero(of), before)
        figure.add_scatter(
            x=before[chosen], y=after[chosen], mode="markers", uid=f"margins-{name}",
            marker={"symbol": symbol, "size": 6, "color": colour, "line": {"width": 1.2, "color": colour}},
            customdata=chosen,
            hovertemplate="example %{customdata}<br>before %{x:.3f}, after %{y:.3f}<extra></extra>",
        )  # fmt: skip
    axis = {"range": [-1.04, 1.04], "tickvals": list(EDGES), "ticktext": [_number(e) for e in EDGES]}
    layout(
        figure, mode, HEIGHT, margin=(58, 10, 30, 44),
        xaxis=axis | {"title": {"text": "margin before"}}, yaxis=axis | {"title": {"text": "margin after"}},
        shapes=[
            {"type": "line", "x0": x0, "x1": x1, "y0": y0, "y1": y1,
             "line": {"color": p.muted, "width": 1, "dash": dash}}
            for x0, x1, y0, y1, dash in ((-1, 1, -1, 1, "dot"), (0, 0, -1, 1, "solid"), (-1, 1, 0, 0, "solid"))
        ],
    )  # fmt: skip
    note(figure, f"● became wrong {words.count(int(lost.sum()))}", mode, 1, 0, anchor=("right", "bottom"),
         shift=(-6, 4), colour=p.tempered, size=SMALL, backed=True)  # fmt: skip
    note(figure, f"◇ became right {words.count(int(gained.sum()))}", mode, 0, 1, anchor=("left", "top"),
         shift=(6, -4), colour=p.original, size=SMALL, backed=True)  # fmt: skip
    caption = _caption(before, after)
    alt = (
        f"Density of {words.count(original.n)} examples by their margin before and after; "
        f"{words.count(int(lost.sum()))} fell below zero, {words.count(int(gained.sum()))} rose above it. {caption}"
    )
    return Chart(figure, alt, caption, _table(before, after))


def _number(value: float) -> str:
    return f"{value:g}".replace("-", words.MINUS)


def _counts(before: Floats, after: Floats, mode: str) -> go.Heatmap:
    edges = np.linspace(-1, 1, BINS + 1)
    counts = np.histogram2d(after, before, bins=(edges, edges))[0]
    middles = (edges[:-1] + edges[1:]) / 2
    shade = np.where(counts > 0, np.log1p(counts), np.nan)
    hue = palette(mode).purple
    scale = [(0.0, translucent(hue, FAINTEST)), (1.0, hue)]
    return go.Heatmap(
        x=middles, y=middles, z=shade, customdata=counts, colorscale=scale, showscale=False, hoverongaps=False,
        zmin=0, zmax=max(float(np.log1p(counts).max()), 1.0), uid="margins-counts",
        hovertemplate="%{customdata:,.0f} examples<br>before %{x:.2f}, after %{y:.2f}<extra></extra>",
    )  # fmt: skip


def _thinned(places: np.ndarray, before: Floats) -> np.ndarray:
    """At most `MOST` of the places, evenly spread over their margins."""
    if len(places) <= MOST:
        return places
    ordered = places[np.argsort(before[places], kind="stable")]
    return ordered[np.linspace(0, len(ordered) - 1, MOST).round().astype(int)]


def _caption(before: Floats, after: Floats) -> str:
    middle = [float(np.median(one)) for one in (before, after)]
    fell = float((after < before).mean())
    was, now = (f"{value:.3f}".replace("-", words.MINUS) for value in middle)
    moved = f"stays at {now}" if was == now else f"moves from {was} to {now}"
    return f"The median margin {moved}; it fell for {words.percent(fell)} of {words.count(len(before))} examples."


def _table(before: Floats, after: Floats) -> pd.DataFrame:
    edges = np.array(EDGES)
    counts = np.histogram2d(before, after, bins=(edges, edges))[0].astype(int)
    names = [f"{_number(low)} to {_number(high)}" for low, high in pairwise(EDGES)]
    rows = {"Margin before": names}
    columns = {f"After {name}, examples": counts[:, k] for k, name in enumerate(names)}
    return pd.DataFrame(rows | columns)
