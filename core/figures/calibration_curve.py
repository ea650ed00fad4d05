"""Reliability before and after one calibration: isotonic curve, consistency band, bins with Wilson bars, counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.calibration.corp import Corp
from core.figures import words
from core.figures.theme import SMALL, layout, note, palette, translucent
from core.registry import register
from core.types import Chart

HEIGHT = 440  # px
FEW = 10  # examples under which a bin is hollow
ROWS = ((0.27, 1.0), (0.0, 0.2))  # curves and counts, shares of the height
GAP = 0.05


@register(
    kind="chart",
    name="calibration-curve",
    title="Reliability curve",
    summary="How often the predicted class is right against how sure the model says it is, before and after.",
    reference="Dimitriadis, Gneiting and Jordan 2021, doi 10.1073/pnas.2016191118; Bröcker and Smith 2007, doi "
    "10.1175/WAF993.1",
)
def calibration_curve_chart(before: Corp, after: Corp, title: str = "Calibrated", mode: str = "light") -> Chart:
    """Left uncalibrated, right as `title` says. The band is where an honest model's curve would lie."""
    p, figure = palette(mode), go.Figure()
    names = ("Uncalibrated", title)
    start = min(float(one.at[0]) for one in (before, after))
    start = 0.5 if start >= 0.5 else 0.0
    for column, (side, one) in enumerate((("before", before), ("after", after)), 1):
        _panel(figure, column, side, one, start, mode)
    every = np.concatenate([before.count, after.count])
    layout(figure, mode, HEIGHT, margin=(52, 12, 44, 44), barcornerradius=1, **_axes(start, int(every.max())))
    for column, name in enumerate(names):
        colour = p.tempered if column else p.text
        mark = "●" if column else "○"
        shown = f"<span style='color:{colour}'>{mark}</span> <b>{words.name(name, 40)}</b>"
        note(figure, shown, mode, (0, (1 + GAP) / 2)[column], 1, shift=(0, 20))
        quiet = "line: isotonic; band: 95 % were it honest" if not column else f"hollow: fewer than {FEW} examples"
        note(figure, quiet, mode, (0, (1 + GAP) / 2)[column], 1, shift=(0, 3), colour=p.muted, size=SMALL)
    caption = (
        f"{names[1]} says {words.percent(after.says)} and is right {words.percent(after.is_right)} of the time: ECE "
        f"{words.percent(after.ece)}, uncalibrated {words.percent(before.ece)}."
    )
    alt = "; ".join(
        f"{name} says {words.percent(one.says)}, is right {words.percent(one.is_right)}, ECE "
        f"{words.percent(one.ece)}, miscalibration part of the Brier score {one.miscalibration:.4f}"
        for name, one in zip(names, (before, after), strict=True)
    )
    return Chart(
        figure, f"Two reliability curves over {words.count(after.n)} examples: {alt}.", caption,
        _table(dict(zip(names, (before, after), strict=True))),
    )  # fmt: skip


def _panel(figure: go.Figure, column: int, side: str, one: Corp, start: float, mode: str) -> None:
    p = palette(mode)
    colour = p.text if side == "before" else p.tempered
    axes = {"xaxis": f"x{column}", "yaxis": f"y{column}"}
    figure.add_scatter(
        x=np.concatenate([one.at, one.at[::-1]]), y=np.concatenate([one.high, one.low[::-1]]), mode="lines",
        fill="toself", fillcolor=translucent(p.grey, 0.25), line={"width": 0, "color": p.grey}, hoverinfo="skip",
        uid=f"band-{side}", **axes,
    )  # fmt: skip
    figure.add_scatter(
        x=[start, 1], y=[start, 1], mode="lines", line={"color": p.grey, "width": 1}, hoverinfo="skip",
        uid=f"ideal-{side}", **axes,
    )  # fmt: skip
    figure.add_scatter(
        x=one.at, y=one.right, mode="lines", line={"color": colour, "width": 2, "shape": "hv"}, uid=f"curve-{side}",
        hovertemplate="says %{x:.1%}: isotonic curve %{y:.1%}<extra></extra>", **axes,
    )  # fmt: skip
    full = np.flatnonzero(one.count)
    few = one.count[full] < FEW
    figure.add_scatter(
        x=one.confidence[full], y=one.accuracy[full], mode="markers", uid=f"points-{side}",
        marker={"symbol": ["circle-open" if f else "circle" for f in few], "size": 8, "color": colour,
                "line": {"width": 1.5, "color": colour}},
        error_y={"type": "data", "symmetric": False, "array": one.bar_high[full] - one.accuracy[full],
                 "arrayminus": one.accuracy[full] - one.bar_low[full], "width": 3, "thickness": 1, "color": colour},
        text=[f"says <b>{words.percent(one.confidence[i])}</b>, right <b>{words.percent(one.accuracy[i])}</b><br>"
              f"95 % bar {words.interval(one.bar_low[i], one.bar_high[i])}<br>{words.count(one.count[i])} examples"
              for i in full],
        hovertemplate="%{text}<extra></extra>", **axes,
    )  # fmt: skip
    width = np.diff(one.edges)
    figure.add_bar(
        x=(one.edges[:-1] + one.edges[1:]) / 2, y=one.count, width=0.9 * width, uid=f"counts-{side}",
        marker={"color": translucent(colour, 0.22) if side == "before" else colour,
                "line": {"color": colour, "width": 1}},
        hovertemplate="%{y:,} examples<extra></extra>", xaxis=f"x{column + 2}", yaxis=f"y{column + 2}",
    )  # fmt: skip


def _axes(start: float, most: int) -> dict[str, Any]:
    room = 0.02 * (1 - start)
    ticks = [round(start + (0.1 if start else 0.2) * i, 2) for i in range(6)]
    every = [0, 0.2, 0.4, 0.6, 0.8, 1]
    decades = [10**e for e in range(0, 9, 1 if most < 1_000 else 2) if 10**e <= most]
    rate = {"range": [-0.02, 1.02], "tickvals": every, "ticktext": [f"{100 * t:.0f}" for t in every]}
    count = {
        "type": "log", "range": [math.log10(0.7), math.log10(max(most, 2) * 1.4)], "tickvals": decades,
        "ticktext": [words.count(d) for d in decades],
    }  # fmt: skip
    axes: dict[str, Any] = {}
    for axis, domain in enumerate(((0, (1 - GAP) / 2), ((1 + GAP) / 2, 1)) * 2, 1):
        counts, left = axis > 2, axis % 2 == 1
        axes[f"xaxis{axis}"] = {
            "range": [start - room, 1 + room], "tickvals": ticks, "ticktext": [f"{100 * t:.0f}" for t in ticks],
            "domain": domain, "anchor": f"y{axis}", "showticklabels": counts,
            "title": {"text": "confidence, %" if counts else ""},
        }  # fmt: skip
        axes[f"yaxis{axis}"] = (count if counts else rate) | {
            "domain": ROWS[counts], "anchor": f"x{axis}", "showticklabels": left,
            "title": {"text": ("examples" if counts else "right, %") if left else ""},
        }  # fmt: skip
    return axes


def _table(sides: dict[str, Corp]) -> pd.DataFrame:
    rows = [
        (name, 100 * one.edges[i], 100 * one.edges[i + 1], int(one.count[i]), 100 * one.confidence[i],
         100 * one.accuracy[i], 100 * one.bar_low[i], 100 * one.bar_high[i])
        for name, one in sides.items() for i in np.flatnonzero(one.count)
    ]  # fmt: skip
    return pd.DataFrame(
        rows,
        columns=["Model", "Bin above, %", "Bin up to, %", "Examples", "Mean confidence, %", "Right, %",
                 "95 % from, %", "95 % to, %"],
    )  # fmt: skip
