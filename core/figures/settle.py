"""The smallest accuracy difference that sets of growing size could show, and where this one stands."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.damage.settle import more_labels
from core.engine.statistics import Flips, detectable, detectable_at
from core.figures import words
from core.figures.evidence import rounded
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.types import Chart

HEIGHT = 250  # px
POINTS = 61
MOST = 1_000_000  # labels on the axis at most: beyond, nobody labels


@register(
    kind="chart",
    name="settle",
    title="What would settle it",
    summary="The smallest difference of accuracy that a set of each size could show, at the share of flips seen.",
    reference="Connor 1987, Sample size for testing differences in proportions for the paired-sample design",
)
def settle_chart(flips: Flips, mode: str = "light") -> Chart:
    """Detectable difference against labels, with the present set and the difference seen."""
    p, n = palette(mode), max(flips.n, 1)
    discordant = (flips.wrong_to_right + flips.right_to_wrong) / n
    seen = abs(flips.wrong_to_right - flips.right_to_wrong) / n
    more = more_labels(flips)
    far = min(MOST, max(10 * n, 2 * (n + (more or 0))))
    sizes = np.unique(np.geomspace(max(10, n / 10), far, POINTS).round().astype(int))
    shown = [100 * detectable_at(discordant, int(size)) for size in sizes]
    here = 100 * detectable(flips)
    figure = go.Figure()
    figure.add_scatter(
        x=sizes, y=shown, mode="lines", uid="settle-curve", line={"color": p.green, "width": 2},
        hovertemplate="%{x:,} labels could show %{y:.2f} points<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[n], y=[here], mode="markers", uid="settle-here", marker={"symbol": "square", "size": 10, "color": p.green},
        hovertemplate="this set: %{x:,} labels could show %{y:.2f} points<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[n] if seen else [], y=[100 * seen] if seen else [], mode="markers", uid="settle-seen",
        marker={"symbol": "circle", "size": 10, "color": p.tempered},
        hovertemplate="seen: %{y:.2f} points<extra></extra>",
    )  # fmt: skip
    low = min([*shown, 100 * seen] if seen else shown)
    decades = [k for k in range(1, 7) if sizes[0] <= 10**k <= far]
    heights = [t for t in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low / 2 <= t <= 2 * max(shown)]
    layout(
        figure, mode, HEIGHT, margin=(52, 14, 26, 44),
        xaxis={"type": "log", "title": {"text": "labelled examples"}, "tickvals": [10**k for k in decades],
               "ticktext": [words.count(10**k) for k in decades]},
        yaxis={"type": "log", "title": {"text": "difference, points"}, "tickvals": heights,
               "ticktext": [f"{t:g}" for t in heights]},
    )  # fmt: skip
    if seen:
        figure.add_shape(
            type="line", x0=float(sizes[0]), x1=float(far), y0=100 * seen, y1=100 * seen,
            line={"color": p.tempered, "width": 1.2, "dash": "dash"},
        )  # fmt: skip
    text = "■ this set could show" + (f"   <span style='color:{p.tempered}'>●</span> seen" if seen else "")
    note(figure, text, mode, 1, 1, anchor=("right", "bottom"), shift=(0, 4), size=SMALL)
    caption = sentence(flips)
    alt = (
        f"A falling curve: {words.count(int(sizes[0]))} labels could show a difference of {shown[0]:.2g} points, "
        f"{words.count(int(sizes[-1]))} one of {shown[-1]:.2g}. {caption}"
    )
    table = pd.DataFrame({"Labelled examples": sizes[::6], "Smallest difference shown, points": shown[::6]})
    return Chart(figure, alt, caption, table)


def sentence(flips: Flips) -> str:
    """What this set could show, and how many more labels the difference seen would take."""
    could = words.points(detectable(flips)).lstrip("+")
    net = flips.wrong_to_right - flips.right_to_wrong
    begin = f"{words.count(flips.n)} labels could show a difference of {could} points"
    more = more_labels(flips)
    if more is None:
        return f"{begin}; no net change was seen, and no number of labels shows that two models are equal."
    seen = words.points(abs(net) / flips.n).lstrip("+")
    if more == 0:
        return f"{begin}; the {seen} points seen are no less, so that this set is large enough for such a difference."
    return (
        f"{begin}; if the {seen} points seen were the true difference, about {words.count(rounded(more))} "
        "more labels would settle it."
    )
