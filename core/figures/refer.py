"""Error of what is decided against the share that is referred to a person."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.decisions.verdict import SIDES, Verdict
from core.figures import words
from core.figures._binary import HEIGHT, ROWS, TOP, legend, line, mark, per_cent, share, some
from core.figures.theme import TITLES, layout, palette
from core.registry import register
from core.types import Chart, Quantity

FEWEST = 20  # examples decided at the curve's right end: the error of fewer is noise


@register(
    kind="chart",
    name="refer",
    title="Refer the least sure",
    summary="Share of errors among the examples decided, against the share referred to a person.",
    reference="Chow 1970, doi 10.1109/TIT.1970.1054406; Geifman and El-Yaniv 2017, arXiv 1705.08500",
    tasks=("binary",),
)
def refer_chart(given: Verdict, mode: str = "light") -> Chart:
    """Both models on the evaluation split; the cut-offs marked were chosen on the calibration split."""
    figure = go.Figure()
    most, rows = 0.0, []
    for series in SIDES:
        calls, made = given.of(series).selective, given.of(series).referral
        from_ = min(FEWEST, calls.n) - 1
        kept = from_ + some(calls.n - from_)
        most = max(most, float(calls.risk[kept].max()), made.risk.value or 0.0)
        line(figure, series, "risk", calls.referred[kept], calls.risk[kept], mode,
             hovertemplate="refer %{x:.1%}: of the rest %{y:.2%} wrong<extra></extra>")  # fmt: skip
        at, ends = (made.referred.value, made.risk.value), made.risk.interval
        bars = {}
        if ends is not None and made.risk.value is not None:
            most = max(most, ends.high)
            bars = {"error_y": {
                "type": "data", "symmetric": False, "array": [ends.high - made.risk.value], "width": 5,
                "arrayminus": [made.risk.value - ends.low], "thickness": 1.5, "color": palette(mode).of(series),
            }}  # fmt: skip
        mark(figure, series, "risk-point", at, _said(made.referred, made.risk), mode, **bars)
        for k in some(calls.n, ROWS):
            rows.append((TITLES[series], 100 * calls.referred[k], k + 1, 100 * calls.risk[k]))
    right = float(np.ceil(10 * (1 - min(FEWEST, given.n) / given.n)) / 10) or 1.0
    layout(
        figure, mode, HEIGHT, margin=(52, 12, TOP, 44), xaxis=per_cent(0, right, "referred, the least sure"),
        yaxis=per_cent(0, most or 0.1, "wrong among those decided"),
    )  # fmt: skip
    legend(figure, mode, lambda series: _said(given.of(series).referral.referred, given.of(series).referral.risk))
    columns = ["Model", "Referred, %", "Decided", "Wrong among those decided, %"]
    return Chart(figure, _alt(given), _caption(given), pd.DataFrame(rows, columns=columns))


def _said(referred: Quantity, risk: Quantity) -> str:
    if risk.value is None or risk.interval is None:
        return "everything referred"
    ends = words.interval(risk.interval.low, risk.interval.high)
    return f"{share(referred)} referred: {share(risk)} wrong ({ends})"


def _caption(given: Verdict) -> str:
    made = given.tempered.referral
    if made.risk.value is None:
        return f"All {words.count(given.n)} examples are referred, so that nothing is decided."
    return (
        f"Referring {share(made.referred)} takes tempered from {share(made.everyone)} wrong to {share(made.risk)} "
        f"of the {words.count(made.decided)} it still decides."
    )


def _alt(given: Verdict) -> str:
    parts = [
        f"{series}: {_said(given.of(series).referral.referred, given.of(series).referral.risk)}" for series in SIDES
    ]
    return (
        f"Share of errors among the examples decided against the share referred, over {words.count(given.n)} "
        f"evaluation examples; {'; '.join(parts)}."
    )
