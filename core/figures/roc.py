"""ROC: what each threshold catches against what it raises falsely."""

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
from core.figures.theme import TITLES, layout, palette
from core.registry import register
from core.types import Chart


@register(
    kind="chart",
    name="roc",
    title="ROC",
    summary="Sensitivity against the false alarm rate at every threshold, the chosen one marked.",
    reference="Fawcett 2006, An introduction to ROC analysis, doi 10.1016/j.patrec.2005.10.010",
    tasks=("binary",),
)
def roc_chart(given: Verdict, mode: str = "light") -> Chart:
    """Both models on the evaluation split; the thresholds marked were chosen on the calibration split."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", hoverinfo="skip", uid="chance",
        line={"color": palette(mode).grey, "width": 1},
    )  # fmt: skip
    rows = []
    for series in SIDES:
        side = given.of(series)
        curve, made = side.curve, side.decision
        kept = some(len(curve.thresholds))
        text = [f"at least {probability(t)}" for t in curve.thresholds[kept]]
        text[0] = "never"
        line(figure, series, "roc", curve.false_alarm_rate[kept], curve.sensitivity[kept], mode, text=text,
             hovertemplate="%{text}: sensitivity %{y:.1%}, false alarms %{x:.1%}<extra></extra>")  # fmt: skip
        at = (None if made.specificity.value is None else 1 - made.specificity.value, made.sensitivity.value)
        mark(figure, series, "roc-point", at, hover(given, series), mode)
        for k in some(len(curve.thresholds), ROWS):
            at_least = "never" if k == 0 else f"{curve.thresholds[k]:.6g}"
            rows.append(
                (TITLES[series], at_least, 100 * curve.false_alarm_rate[k], 100 * curve.sensitivity[k],
                 int(curve.fp[k]), int(curve.tp[k]))
            )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(52, 12, TOP, 44), xaxis=per_cent(0, 1, "false alarms among the negative"),
        yaxis=per_cent(0, 1, "sensitivity"),
    )  # fmt: skip
    legend(figure, mode, lambda series: f"AUROC {area(given.of(series).areas['auroc'])}")
    columns = ["Model", "Threshold", "False alarm rate, %", "Sensitivity, %", "False alarms", "Caught"]
    return Chart(figure, _alt(given), _caption(given), pd.DataFrame(rows, columns=columns))


def _caption(given: Verdict) -> str:
    made, name = given.tempered.decision, words.cut(given.judged.positive, 40)
    if made.sensitivity.value is None or made.specificity.value is None:
        return f"Only one class is among the {words.count(given.n)} examples, so that there is nothing to rank."
    before = given.original.decision
    return (
        f"Tempered catches {share(made.sensitivity)} of {name} with false alarms on "
        f"{words.percent(1 - made.specificity.value)} of the rest, the original "
        f"{share(before.sensitivity)} with {words.percent(1 - (before.specificity.value or 0.0))}."
    )


def _alt(given: Verdict) -> str:
    parts = [f"{series} has an AUROC of {area(given.of(series).areas['auroc'])}" for series in SIDES]
    return (
        f"ROC curves over {words.count(given.n)} evaluation examples, each area with its 95 % interval: "
        f"{' and '.join(parts)}."
    )
