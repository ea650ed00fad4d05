"""Error among what is decided against the share referred to a person, for any number of classes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.decisions.refer import Referral, Selective
from core.decisions.referring import Referring
from core.figures import words
from core.figures._binary import per_cent, some
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.types import Chart

HEIGHT = 360  # px
FEWEST = 20  # examples decided at the curve's right end: the error of fewer is noise
ROWS = 100  # of each curve in the table


@register(
    kind="chart",
    name="referring",
    title="Refer when unsure",
    summary="Share of wrong calls among those decided, against the share of least sure ones referred to a person.",
    reference="Geifman and El-Yaniv 2017, arXiv 1705.08500; El-Yaniv and Wiener 2010, JMLR 11",
)
def referring_chart(found: Referring, mode: str = "light") -> Chart:
    """Both curves on the evaluation split; marked what the cut-off chosen on the calibration split does here."""
    p, figure, rows, most = palette(mode), go.Figure(), [], found.wish
    for side, name, calls, judged, colour, dash, symbol in (
        ("before", "Uncalibrated", found.before, found.none, p.text, "5px,4px", "circle-open"),
        ("after", "Calibrated", found.after, found.chosen, p.tempered, "solid", "circle"),
    ):
        from_ = min(FEWEST, calls.n) - 1
        kept = from_ + some(calls.n - from_)
        most = max(most, float(calls.risk[kept].max()))
        figure.add_scatter(
            x=calls.referred[kept], y=calls.risk[kept], mode="lines", uid=f"risk-{side}",
            line={"color": colour, "width": 2, "dash": dash},
            hovertemplate="refer %{x:.1%}: of the rest %{y:.2%} wrong<extra></extra>",
        )  # fmt: skip
        at, ends = judged.risk.value, judged.risk.interval
        if ends is not None:
            most = max(most, min(ends.high, 2 * most))
        figure.add_scatter(
            x=[] if at is None else [judged.referred.value], y=[] if at is None else [at], mode="markers",
            uid=f"cut-{side}", hovertemplate="%{text}<extra></extra>", text=[_said(judged)],
            marker={"symbol": symbol, "size": 11, "color": colour, "line": {"width": 2, "color": colour}},
            error_y={"type": "data", "symmetric": False, "color": colour, "width": 5, "thickness": 1.5,
                     "array": [] if at is None or ends is None else [ends.high - at],
                     "arrayminus": [] if at is None or ends is None else [at - ends.low]},
        )  # fmt: skip
        rows += [(name, 100 * calls.referred[k], k + 1, 100 * calls.risk[k]) for k in some(calls.n, ROWS)]
    right = float(np.ceil(10 * (1 - min(FEWEST, found.after.n) / max(found.after.n, 1))) / 10) or 1.0
    figure.add_scatter(
        x=[0, right], y=[found.wish] * 2, mode="lines", line={"color": p.grey, "width": 1}, hoverinfo="skip",
        uid="wish",
    )  # fmt: skip
    layout(
        figure, mode, HEIGHT, margin=(52, 12, 44, 44), xaxis=per_cent(0, right, "referred, the least sure"),
        yaxis=per_cent(0, 1.04 * most or 0.1, "wrong among those decided"),
    )  # fmt: skip
    legend = (
        f"<span style='color:{p.text}'>○ - - uncalibrated, area {_area(found.before)}</span><br>"
        f"<span style='color:{p.tempered}'>● — calibrated, area {_area(found.after)}</span>"
    )
    note(figure, legend, mode, 0, 1, shift=(0, 6), size=SMALL)
    caption = _caption(found)
    alt = (
        f"Share wrong among those decided against the share referred, over {words.count(found.after.n)} evaluation "
        f"examples; area under the curve {_area(found.before)} uncalibrated and {_area(found.after)} calibrated; "
        f"uncalibrated {_said(found.none)}; calibrated {_said(found.chosen)}."
    )
    columns = ["Model", "Referred, %", "Decided", "Wrong among those decided, %"]
    return Chart(figure, alt, caption, pd.DataFrame(rows, columns=columns))


def _area(calls: Selective) -> str:
    return words.percent(calls.area, 2)


def _said(judged: Referral) -> str:
    if judged.risk.value is None or judged.risk.interval is None:
        return "everything referred"
    return (
        f"{words.percent(judged.referred.value)} referred: {words.percent(judged.risk.value)} wrong ({_ends(judged)})"
    )


def _ends(judged: Referral) -> str:
    ends = judged.risk.interval
    return words.NOTHING if ends is None else words.interval(ends.low, ends.high)


def _caption(found: Referring) -> str:
    wish, judged = words.percent(found.wish), found.chosen
    if not found.reachable[1]:
        return f"No confidence leaves at most {wish} wrong on the calibration split, so that everything is referred."
    if judged.risk.value is None:
        return f"At the confidence that leaves {wish} wrong on the calibration split nothing is decided here."
    return (
        f"To be wrong at most {wish} of the time, the calibration split says, it must be at least "
        f"{words.percent(judged.cut)} sure: here {words.percent(judged.referred.value)} are referred and of the "
        f"{words.count(judged.decided)} decided {words.percent(judged.risk.value)} are wrong ({_ends(judged)})."
    )
