"""What acting on stated probabilities costs against the ratio of the two errors' costs, before and after."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.decisions.cost_curve import CostCurve
from core.figures import words
from core.figures._binary import per_cent
from core.figures.theme import SMALL, layout, note, palette, translucent
from core.registry import register
from core.types import Chart

HEIGHT = 380  # px
ROWS = 41  # of the table
DIGITS = 4  # of a mean cost


@register(
    kind="chart",
    name="cost-curve",
    title="What its probabilities cost",
    summary="Mean cost of acting on the stated probabilities at every ratio of the two errors' costs.",
    reference="Drummond and Holte 2006, doi 10.1007/s10994-006-8199-5; Hernandez-Orallo, Flach and Ferri 2011, Brier "
    "curves: a new cost-based visualisation of classifier performance, ICML",
    tasks=("binary",),
)
def cost_curve_chart(found: CostCurve, mode: str = "light") -> Chart:
    """Before and after, with the interval of after, between hindsight below and doing without a model above."""
    p, figure = palette(mode), go.Figure()
    top = 1.15 * max(float(found.idle.max()), float(found.after.max()), 0.01)
    figure.add_scatter(
        x=np.concatenate([found.shares, found.shares[::-1]]), y=np.concatenate([found.high, found.low[::-1]]),
        mode="lines", fill="toself", fillcolor=translucent(p.tempered, 0.18), hoverinfo="skip", uid="cost-band",
        line={"color": translucent(p.tempered, 0.18), "width": 0},
    )  # fmt: skip
    for uid, values, colour, dash, name in (
        ("idle", found.idle, p.grey, "solid", "always or never"),
        ("hindsight", found.hindsight, p.purple, "1px,4px", "the best threshold, known afterwards"),
        ("uncalibrated", found.before, p.text, "5px,4px", "uncalibrated"),
        ("calibrated", found.after, p.tempered, "solid", "calibrated"),
    ):
        figure.add_scatter(
            x=found.shares, y=values, mode="lines", uid=f"cost-{uid}",
            line={"color": colour, "width": 2, "dash": dash},
            hovertemplate=f"{name}: %{{y:.4f}} at %{{x:.1%}}<extra></extra>",
        )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(56, 12, 62, 46),
        xaxis=per_cent(0, 1, "share of a false alarm in both costs, and the threshold") | {"range": [0, 1]},
        yaxis={"range": [0, top], "nticks": 6, "title": {"text": "mean cost an example"}},
    )  # fmt: skip
    legend = (
        f"<span style='color:{p.text}'>- - uncalibrated</span>  "
        f"<span style='color:{p.tempered}'>— calibrated</span><br>"
        f"<span style='color:{p.muted}'>— always or never</span>  "
        f"<span style='color:{p.purple}'>··· the best threshold, known afterwards</span>"
    )
    note(figure, legend, mode, 0, 1, shift=(0, 6), size=SMALL)
    caption = _caption(found)
    alt = (
        f"Mean cost against the share of a false alarm in both costs, over {words.count(found.n)} evaluation "
        f"examples; the means are {found.mean_before:.{DIGITS}f} before and {found.mean_after:.{DIGITS}f} after."
    )
    rows = np.linspace(0, len(found.shares) - 1, ROWS).round().astype(int)
    table = pd.DataFrame({
        "Share of a false alarm, %": 100 * found.shares[rows], "Uncalibrated": found.before[rows],
        "Calibrated": found.after[rows], "Calibrated, from": found.low[rows], "Calibrated, to": found.high[rows],
        "Best threshold, known afterwards": found.hindsight[rows], "Always or never": found.idle[rows],
    })  # fmt: skip
    return Chart(figure, f"{alt} {caption}", caption, table)


def _caption(found: CostCurve) -> str:
    useful = found.useful
    worth = (
        "nowhere cheaper beyond chance than always or never"
        if useful is None
        else f"surely cheaper than always or never where a false alarm has {words.percent(useful[0], 0)} to "
        f"{words.percent(useful[1], 0)} of both costs"
    )
    change = found.change
    assert change.value is not None and change.interval is not None
    if not change.value and change.interval.low == change.interval.high:
        return f"Over all ratios of costs acting on its probability costs {found.mean_after:.{DIGITS}f}, {worth}."
    ends = [f"{end:+.{DIGITS}f}".replace("-", words.MINUS) for end in (change.interval.low, change.interval.high)]
    return (
        f"Over all ratios of costs acting on its probability costs {found.mean_after:.{DIGITS}f} after calibrating "
        f"and {found.mean_before:.{DIGITS}f} before (change {ends[0]} to {ends[1]}); it is then {worth}."
    )
