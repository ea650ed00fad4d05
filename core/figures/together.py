"""Several runs side by side: how far each moved accuracy, macro F1 and ECE from its own original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from core.figures import words
from core.figures.theme import SMALL, SYMBOLS, layout, note, palette
from core.registry import register
from core.types import Chart, Quantity

PANELS = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "ece": "ECE"}  # all in percentage points
ROW = 34  # px a run
GAP = 0.04  # between panels, share of the width
LETTERS = 40  # of a label
LEAST = 0.05  # points: a range is never narrower, so that rounding looks like no change


@register(
    kind="chart",
    name="together",
    title="Side by side",
    summary="The paired change of each run from its own original, with its interval: left of zero is less.",
    reference="Cumming 2014, The new statistics: why and how",
)
def together_chart(labels: Sequence[str], changes: Sequence[Mapping[str, Quantity]], mode: str = "light") -> Chart:
    """A row a run. `changes` holds each run's `accuracy`, `macro_f1` and `ece` differences, as fractions."""
    p, count = palette(mode), len(labels)
    names = [words.name(label, LETTERS) for label in labels]
    figure = go.Figure()
    axes = {}
    width = (1 - GAP * (len(PANELS) - 1)) / len(PANELS)
    for panel, measure in enumerate(PANELS, 1):
        found = [one[measure] for one in changes]
        value = [100 * (q.value or 0.0) for q in found]
        low = [100 * q.interval.low if q.interval else v for q, v in zip(found, value, strict=True)]
        high = [100 * q.interval.high if q.interval else v for q, v in zip(found, value, strict=True)]
        figure.add_scatter(
            x=value, y=list(range(count)), mode="markers", uid=f"together-{measure}", xaxis=f"x{panel}", yaxis="y",
            marker={"symbol": SYMBOLS["tempered"], "size": 10, "color": p.tempered},
            error_x={
                "type": "data", "symmetric": False, "color": p.tempered, "thickness": 1.75, "width": 4,
                "array": [max(h - v, 0.0) for h, v in zip(high, value, strict=True)],
                "arrayminus": [max(v - one, 0.0) for one, v in zip(low, value, strict=True)],
            },
            text=[
                f"<b>{name}</b><br>{PANELS[measure]} {_points(q)}" for name, q in zip(names, found, strict=True)
            ],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        start = (panel - 1) * (width + GAP)
        reach = (min(*low, 0.0, -LEAST), max(*high, 0.0, LEAST))
        room = 0.08 * (reach[1] - reach[0])
        axes[f"xaxis{panel}"] = {
            "domain": [start, start + width], "anchor": "y", "range": [reach[0] - room, reach[1] + room],
            "nticks": 6, "zeroline": True, "zerolinecolor": p.muted, "zerolinewidth": 1.5,
            "title": {"text": "change, percentage points"},
        }  # fmt: skip
    longest = max(len(name) for name in names)
    layout(
        figure, mode, 84 + ROW * count, margin=(20 + round(6.6 * longest), 8, 30, 46),
        yaxis={
            "range": [count - 0.5, -0.5], "tickvals": list(range(count)), "ticktext": names, "showgrid": True,
            "tickfont": {"size": SMALL, "color": p.text},
        },
        **axes,
    )  # fmt: skip
    for panel, title in enumerate(PANELS.values(), 1):
        axis = "x" if panel == 1 else f"x{panel}"
        note(figure, f"<b>{title}</b>", mode, 0, 1, xref=f"{axis} domain", shift=(0, 6))
    return Chart(figure, _alt(labels, changes), _caption(labels, changes), _table(labels, changes))


def _points(change: Quantity) -> str:
    text = f"{words.points(change.value)} points"
    bounds = change.interval
    return text if bounds is None else f"{text} [{words.points(bounds.low)}, {words.points(bounds.high)}]"


def _caption(labels: Sequence[str], changes: Sequence[Mapping[str, Quantity]]) -> str:
    order = sorted(range(len(labels)), key=lambda place: -(changes[place]["accuracy"].value or 0.0))
    best, least = order[0], order[-1]
    told = f"{labels[best]} moves accuracy by {words.points(changes[best]['accuracy'].value)} points"
    if best != least:
        told += f", {labels[least]} by {words.points(changes[least]['accuracy'].value)}"
    return f"From its own original, {told}, with 95 % intervals.".replace(". ", ", ")


def _alt(labels: Sequence[str], changes: Sequence[Mapping[str, Quantity]]) -> str:
    parts = [
        f"{label}: " + ", ".join(f"{title} {_points(change[name])}" for name, title in PANELS.items())
        for label, change in zip(labels, changes, strict=True)
    ]
    return f"Changes from the original with 95 % intervals. {'; '.join(parts)}."


def _table(labels: Sequence[str], changes: Sequence[Mapping[str, Quantity]]) -> pd.DataFrame:
    rows = []
    for label, change in zip(labels, changes, strict=True):
        row: dict[str, object] = {"Run": label}
        for name, title in PANELS.items():
            value, bounds = change[name].value, change[name].interval
            row[f"{title}, points"] = None if value is None else 100 * value
            row[f"{title}, from"] = 100 * bounds.low if bounds else None
            row[f"{title}, to"] = 100 * bounds.high if bounds else None
        rows.append(row)
    return pd.DataFrame(rows)
