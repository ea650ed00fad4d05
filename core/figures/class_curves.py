"""Small multiples: each class's probability against how often the class it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.calibration.class_curves import MOST, ClassCurves
from core.figures import words
from core.figures.theme import SMALL, layout, note, palette
from core.metrics._reliability import Reliability
from core.registry import register
from core.types import Chart

ACROSS = 4  # panels in a row
ROW = 168  # px
FEW = 10  # examples under which a bin is left out of the line


@register(
    kind="chart",
    name="class-curves",
    title="Class by class",
    summary="The probability of each class against the share of examples that are of it, before and after.",
    reference="Kull et al. 2019, arXiv 1910.12656 (classwise calibration); Nixon et al. 2019, arXiv 1904.01685",
)
def class_curves_chart(found: ClassCurves, mode: str = "light") -> Chart:
    """Bins of at least ten examples, joined; the worst calibrated class first."""
    p, figure = palette(mode), go.Figure()
    count = len(found.names)
    across = min(ACROSS, count)
    down = -(-count // across)
    axes: dict[str, Any] = {}
    for place in range(MOST):
        shown = place < count
        column, row = place % across, place // across
        ends = {"xaxis": f"x{place + 1}", "yaxis": f"y{place + 1}"}
        figure.add_scatter(
            x=[0, 1] if shown else [], y=[0, 1] if shown else [], mode="lines", hoverinfo="skip",
            line={"color": p.grey, "width": 1}, uid=f"class-{place}-ideal", **ends,
        )  # fmt: skip
        for side, curves, colour, symbol, dash in (
            ("before", found.before, p.text, "circle-open", "5px,4px"),
            ("after", found.after, p.tempered, "circle", "solid"),
        ):
            _curve(figure, f"class-{place}-{side}", curves[place] if shown else None, colour, symbol, dash, ends)
        if not shown:
            axes |= {f"{letter}axis{place + 1}": {"visible": False, "domain": [0, 1]} for letter in "xy"}
            continue
        wide, tall = 1 / across, 1 / down
        x0, y1 = column * wide, 1 - row * tall
        plot_x, plot_y = [x0 + 0.03 * wide, x0 + 0.93 * wide], [y1 - 0.80 * tall, y1 - 0.13 * tall]
        ticks = {"range": [-0.04, 1.04], "tickvals": [0, 0.5, 1], "ticktext": ["0", "50", "100"]}
        axes[f"xaxis{place + 1}"] = ticks | {"domain": plot_x, "anchor": f"y{place + 1}"}
        axes[f"yaxis{place + 1}"] = ticks | {
            "domain": plot_y, "anchor": f"x{place + 1}", "showticklabels": column == 0,
        }  # fmt: skip
        title = (
            f"<b>{words.name(found.names[place], 16)}</b> {words.percent(found.before[place].ece)} → "
            f"{words.percent(found.after[place].ece)}"
        )
        note(figure, title, mode, plot_x[0], plot_y[1], shift=(0, 3), size=SMALL)
    layout(figure, mode, 60 + ROW * down, margin=(40, 8, 26, 20), **axes)
    legend = (
        f"<span style='color:{p.text}'>○ - - uncalibrated</span>   <span style='color:{p.tempered}'>● — calibrated"
        "</span>   across: its probability, %; up: share that is of it, %; above: its error, ECE"
    )
    note(figure, legend, mode, 0, 1, shift=(0, 6), size=SMALL)
    worst = words.cut(found.names[0], 30)
    caption = (
        f"Uncalibrated, {worst} is worst of {words.count(found.classes)} classes: its error goes from "
        f"{words.percent(found.before[0].ece)} to {words.percent(found.after[0].ece)}."
        if found.classes > 2
        else f"The error of the probability of {worst} goes from {words.percent(found.before[0].ece)} to "
        f"{words.percent(found.after[0].ece)}."
    )
    listed = "; ".join(
        f"{words.cut(name, 30)} {words.percent(one.ece)} before, {words.percent(other.ece)} after"
        for name, one, other in zip(found.names, found.before, found.after, strict=True)
    )
    alt = f"Curves of {count} of {found.classes} classes on {words.count(found.n)} examples, their errors: {listed}."
    return Chart(figure, alt, caption, _table(found))


def _curve(
    figure: go.Figure, uid: str, one: Reliability | None, colour: str, symbol: str, dash: str, ends: dict[str, str]
) -> None:
    enough = np.flatnonzero(one.count >= FEW) if one else np.zeros(0, int)
    figure.add_scatter(
        x=one.confidence[enough] if one else [], y=one.accuracy[enough] if one else [], mode="lines+markers",
        line={"color": colour, "width": 1.5, "dash": dash}, uid=uid,
        marker={"color": colour, "size": 6, "symbol": symbol, "line": {"width": 1.5, "color": colour}},
        text=[f"says <b>{words.percent(one.confidence[i])}</b>, is of it <b>{words.percent(one.accuracy[i])}</b><br>"
              f"95 % {words.interval(one.band_low[i], one.band_high[i])}<br>{words.count(one.count[i])} examples"
              for i in enough] if one else [],
        hovertemplate="%{text}<extra></extra>", **ends,
    )  # fmt: skip


def _table(found: ClassCurves) -> pd.DataFrame:
    rows = [
        (name, side, int(one.count[i]), 100 * one.confidence[i], 100 * one.accuracy[i], 100 * one.band_low[i],
         100 * one.band_high[i])
        for side, curves in (("Uncalibrated", found.before), ("Calibrated", found.after))
        for name, one in zip(found.names, curves, strict=True)
        for i in np.flatnonzero(one.count)
    ]  # fmt: skip
    columns = ["Class", "Model", "Examples", "Mean probability, %", "Is of it, %", "95 % from, %", "95 % to, %"]
    return pd.DataFrame(rows, columns=columns)
