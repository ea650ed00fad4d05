"""How long a call takes: median bars with whiskers to the 95th percentile, or the words for why not."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures.theme import SMALL, TITLES, Series, bar, layout, note, palette
from core.registry import register
from core.types import Chart, Latency

HEIGHT = 250  # px
DOMAINS = ((0.65, 1.0), (0.0, 0.35))  # of the two panels, shares of the height
ROOM = 2.2  # axis beyond the longest whisker, for the number beside it
WIDTH = 38  # letters a line of words that stand in for a bar: what the narrowest panel holds
NOT_MEASURED = "Not measured."


@register(
    kind="chart",
    name="latency",
    title="Latency",
    summary="Milliseconds a call for one example and for a batch: median and 95th percentile.",
    reference="Dean and Barroso 2013, The tail at scale",
)
def latency_chart(original: Latency, tempered: Latency | None, mode: str = "light") -> Chart:
    """Two panels with axes of their own. Where tempered has no number, `Latency.note` stands in its row."""
    shown: dict[Series, Latency] = {
        "original": original,
        "tempered": tempered or Latency(None, None, None, note=NOT_MEASURED),
    }
    batch = f"Batch of {original.batch_size}"
    panels = (
        ("One example", {s: (v.p50, v.p95) for s, v in shown.items()}),
        (batch, {s: (v.batch, v.batch_p95) for s, v in shown.items()}),
    )
    figure = go.Figure()
    for row, (name, values) in enumerate(panels, 1):
        _panel(figure, row, name, values, shown, mode)
    axes: dict[str, Any] = {}
    for row, (_, values) in enumerate(panels, 1):
        longest = max((x for pair in values.values() for x in pair if x is not None), default=1.0)
        axes[f"xaxis{row}"] = {"range": [0, ROOM * longest], "visible": False, "anchor": f"y{row}"}
        axes[f"yaxis{row}"] = {
            "range": [1.5, -0.5], "tickvals": [0, 1], "ticktext": list(TITLES.values()), "anchor": f"x{row}",
            "tickfont": {"color": palette(mode).text}, "showgrid": False, "showline": True,
            "domain": DOMAINS[row - 1],
        }  # fmt: skip
    layout(figure, mode, HEIGHT, margin=(78, 10, 24, 14), **axes)
    for row, (name, _) in enumerate(panels, 1):
        note(figure, f"<b>{name}</b>", mode, 0, 1, yref=f"y{row} domain".replace("y1", "y"), shift=(-74, 2))
    caption = _caption(shown)
    return Chart(figure, _alt(panels, shown), caption, _table(panels, shown, batch))


def _panel(
    figure: go.Figure,
    row: int,
    name: str,
    values: dict[Series, tuple[float | None, float | None]],
    shown: dict[Series, Latency],
    mode: str,
) -> None:
    p = palette(mode)
    axis = "" if row == 1 else "2"
    for place, (series, (p50, p95)) in enumerate(values.items()):
        # A trace without a number keeps its place, so that the order of traces never changes.
        whisker = None if p50 is None or p95 is None else [max(p95 - p50, 0.0)]
        figure.add_bar(
            x=[p50], y=[place], width=0.62, orientation="h", uid=f"latency-{row}-{series}",
            marker=bar(series, mode),
            error_x=None if whisker is None else {
                "type": "data", "symmetric": False, "array": whisker, "arrayminus": [0],
                "color": p.text, "thickness": 1.5, "width": 5,
            },
            hovertemplate=f"{TITLES[series]}, {name.lower()}: median <b>{words.milliseconds(p50)}</b>"
            f"<br>95th percentile {words.milliseconds(p95)}<extra></extra>",
            xaxis=f"x{row}", yaxis=f"y{row}",
        )  # fmt: skip
        if p50 is None:
            # Once is enough: the second panel refers to the first.
            why = words.lines(words.name(shown[series].note or NOT_MEASURED, 200), WIDTH)
            text = why if row == 1 else "no number, as above"
            if place and text.count("<br>") > 1:  # long words grow into the room below the last row
                anchor, up = "top", 14
            else:
                anchor, up = "middle", 0
            note(figure, text, mode, 0, place, xref=f"x{axis}", yref=f"y{axis}", anchor=("left", anchor),
                 shift=(8, up), colour=p.muted, size=SMALL)  # fmt: skip
            continue
        text = f"<b>{words.milliseconds(p50)}</b>"
        if p95 is not None:
            text += f"  <span style='color:{p.muted}'>p95 {words.milliseconds(p95)}</span>"
        note(figure, text, mode, max(p50, p95 or 0), place, xref=f"x{axis}", yref=f"y{axis}",
             anchor=("left", "middle"), shift=(10, 0))  # fmt: skip


def _faster(before: float, after: float) -> str:
    factor = before / after
    if 1 / 1.05 < factor < 1.05:  # under the noise between two runs of one model
        return "as fast as the original"
    return f"{factor:.1f}{words.TIMES} faster" if factor > 1 else f"{1 / factor:.1f}{words.TIMES} slower"


def _caption(shown: dict[Series, Latency]) -> str:
    before, after = shown["original"], shown["tempered"]
    if before.p50 is None:
        return f"No time was measured: {_lower((before.note or NOT_MEASURED).rstrip('.'))}."
    if after.p50 is None:
        reason = (after.note or NOT_MEASURED).rstrip(".")
        return f"The original takes {words.milliseconds(before.p50)} an example; tempered: {_lower(reason)}."
    text = f"Measured here, one example is {_faster(before.p50, after.p50)}"
    if before.batch is not None and after.batch is not None:
        text += f" and a batch of {after.batch_size} {_faster(before.batch, after.batch)}"
    threads = f"{after.threads} thread{'s' if after.threads > 1 else ''}"
    return f"{text}, on {threads}{'; ' + _lower(after.note.rstrip('.')) if after.note else ''}."


def _lower(text: str) -> str:
    """A note as the end of a sentence: one sentence, starting small."""
    return (text[:1].lower() + text[1:]).replace(". ", "; ")


def _alt(
    panels: tuple[tuple[str, dict[Series, tuple[float | None, float | None]]], ...], shown: dict[Series, Latency]
) -> str:
    parts = []
    for name, values in panels:
        for series, (p50, p95) in values.items():
            if p50 is None:
                parts.append(f"{name}, {series}: {shown[series].note or NOT_MEASURED}".rstrip("."))
            else:
                parts.append(f"{name}, {series}: median {words.milliseconds(p50)}, p95 {words.milliseconds(p95)}")
    return "Bars of milliseconds a call. " + "; ".join(parts) + "."


def _table(
    panels: tuple[tuple[str, dict[Series, tuple[float | None, float | None]]], ...],
    shown: dict[Series, Latency],
    batch: str,
) -> pd.DataFrame:
    """Times as text: a missing time is a dash, with the reason beside it."""
    rows = [
        (name, TITLES[series], words.milliseconds(p50), words.milliseconds(p95), shown[series].note)
        for name, values in panels
        for series, (p50, p95) in values.items()
    ]
    return pd.DataFrame(rows, columns=["Call", "Model", "Median", "95th percentile", "Note"])
