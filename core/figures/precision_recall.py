"""Precision against recall: how many calls are right, at every share of what is looked for that is caught."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.decisions.verdict import SIDES, Verdict
from core.figures import words
from core.figures._binary import (
    HEIGHT,
    ROWS,
    TOP,
    area,
    hover,
    legend,
    line,
    mark,
    per_cent,
    probability,
    share,
    some,
)
from core.figures.theme import SMALL, TITLES, layout, note, palette
from core.registry import register
from core.types import Chart


@register(
    kind="chart",
    name="precision_recall",
    title="Precision and recall",
    summary="Precision against sensitivity (recall) at every threshold, the chosen one marked.",
    reference="Davis and Goadrich 2006, doi 10.1145/1143844.1143874; Saito and Rehmsmeier 2015",
    tasks=("binary",),
)
def precision_recall_chart(given: Verdict, mode: str = "light") -> Chart:
    """Both models on the evaluation split, as steps; the thresholds marked were chosen on the calibration split."""
    p = palette(mode)
    base = given.original.curve.positives / given.n
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[base, base], mode="lines", hoverinfo="skip", uid="base", line={"color": p.grey, "width": 1}
    )
    rows = []
    for series in SIDES:
        side = given.of(series)
        curve, made = side.curve, side.decision
        kept = 1 + some(len(curve.thresholds) - 1)  # without the threshold that calls nothing: it has no precision
        text = [f"at least {probability(t)}" for t in curve.thresholds[kept]]
        line(figure, series, "steps", curve.sensitivity[kept], curve.precision[kept], mode, text=text,
             line={"shape": "vh"},
             hovertemplate="%{text}: precision %{y:.1%}, recall %{x:.1%}<extra></extra>")  # fmt: skip
        at = (made.sensitivity.value, made.precision.value)
        mark(figure, series, "steps-point", at, hover(given, series), mode)
        for k in 1 + some(len(curve.thresholds) - 1, ROWS):
            rows.append(
                (TITLES[series], f"{curve.thresholds[k]:.6g}", 100 * curve.sensitivity[k], 100 * curve.precision[k],
                 int(curve.tp[k]), int(curve.tp[k] + curve.fp[k]))
            )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(52, 12, TOP, 44), xaxis=per_cent(0, 1, "sensitivity (recall)"),
        yaxis=per_cent(0, 1, "precision"),
    )  # fmt: skip
    note(figure, f"base rate {words.percent(base)}", mode, 1, base, yref="y", anchor=("right", "bottom"),
         shift=(0, 2), colour=p.muted, size=SMALL, backed=True)  # fmt: skip
    legend(figure, mode, lambda series: f"average precision {area(given.of(series).areas['average_precision'])}")
    columns = ["Model", "Threshold", "Recall, %", "Precision, %", "Caught", "Called"]
    return Chart(figure, _alt(given, base), _caption(given, base), pd.DataFrame(rows, columns=columns))


def _caption(given: Verdict, base: float) -> str:
    made, before, name = given.tempered.decision, given.original.decision, words.cut(given.judged.positive, 40)
    if made.precision.value is None:
        return f"Tempered calls not one of {words.count(given.n)} examples {name}, so that no call can be right."
    was = "no call of the original" if before.precision.value is None else f"the original's {share(before.precision)}"
    return (
        f"Of the examples that tempered calls {name}, {share(made.precision)} are, beside {was}, where "
        f"{words.percent(base)} of all are."
    )


def _alt(given: Verdict, base: float) -> str:
    parts = [
        f"{series} has an average precision of {area(given.of(series).areas['average_precision'])}"
        for series in SIDES
    ]
    return (
        f"Precision-recall curves over {words.count(given.n)} evaluation examples, {words.percent(base)} of them "
        f"positive, each area with its 95 % interval: {' and '.join(parts)}."
    )
