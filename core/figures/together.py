"""Several runs side by side: how far each moved its leading metrics from its own original."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from core.figures import said, words
from core.figures.theme import SMALL, SYMBOLS, layout, note, palette
from core.registry import register
from core.types import Chart, Quantity

MOST = 3  # panels: more would be too narrow to read
ROW = 34  # px a run
GAP = 0.04  # between panels, share of the width
LETTERS = 40  # of a label
LEAST = 0.05  # as shown: a range is never narrower, so that rounding looks like no change


@register(
    kind="chart",
    name="together",
    title="Side by side",
    summary="The paired change of each run from its own original, with its interval: left of zero is less.",
    reference="Cumming 2014, The new statistics: why and how",
)
def together_chart(labels: Sequence[str], changes: Sequence[Mapping[str, Quantity]], mode: str = "light") -> Chart:
    """A row a run. `changes` holds each run's differences by metric, the leading ones first; `MOST` are drawn."""
    panels = [name for name in changes[0] if all(name in one for one in changes)][:MOST]
    p, count = palette(mode), len(labels)
    names = [words.name(label, LETTERS) for label in labels]
    figure = go.Figure()
    axes = {}
    width = (1 - GAP * (len(panels) - 1)) / len(panels)
    for panel, measure in enumerate(panels, 1):
        found = [one[measure] for one in changes]
        unit = found[0].unit
        factor = said.factor(unit)
        value = [factor * (q.value or 0.0) for q in found]
        low = [factor * q.interval.low if q.interval else v for q, v in zip(found, value, strict=True)]
        high = [factor * q.interval.high if q.interval else v for q, v in zip(found, value, strict=True)]
        figure.add_scatter(
            x=value, y=list(range(count)), mode="markers", uid=f"together-{measure}", xaxis=f"x{panel}", yaxis="y",
            marker={"symbol": SYMBOLS["tempered"], "size": 10, "color": p.tempered},
            error_x={
                "type": "data", "symmetric": False, "color": p.tempered, "thickness": 1.75, "width": 4,
                "array": [max(h - v, 0.0) for h, v in zip(high, value, strict=True)],
                "arrayminus": [max(v - one, 0.0) for one, v in zip(low, value, strict=True)],
            },
            text=[
                f"<b>{name}</b><br>{said.title(measure)} {_points(q)}" for name, q in zip(names, found, strict=True)
            ],
            hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
        start = (panel - 1) * (width + GAP)
        reach = (min(*low, 0.0, -LEAST), max(*high, 0.0, LEAST))
        room = 0.08 * (reach[1] - reach[0])
        axes[f"xaxis{panel}"] = {
            "domain": [start, start + width], "anchor": "y", "range": [reach[0] - room, reach[1] + room],
            "nticks": 6, "zeroline": True, "zerolinecolor": p.muted, "zerolinewidth": 1.5,
            "title": {"text": _axis(unit)},
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
    for panel, title in enumerate(map(said.title, panels), 1):
        axis = "x" if panel == 1 else f"x{panel}"
        note(figure, f"<b>{title}</b>", mode, 0, 1, xref=f"{axis} domain", shift=(0, 6))
    return Chart(figure, _alt(labels, changes), _caption(labels, changes), _table(labels, changes))


def _axis(unit: str) -> str:
    after = "percentage points" if unit == "fraction" else said.shown_unit(unit)
    return f"change, {after}" if after else "change"


def _points(change: Quantity) -> str:
    text = f"{said.moved(change.value, change.unit)} {said.moved_unit(change.unit)}".rstrip()
    bounds = change.interval
    ends = [said.moved(end, change.unit) for end in (bounds.low, bounds.high)] if bounds else []
    return f"{text} [{', '.join(ends)}]" if ends else text


def _caption(labels: Sequence[str], changes: Sequence[Mapping[str, Quantity]]) -> str:
    lead = next(iter(changes[0]))
    order = sorted(range(len(labels)), key=lambda place: -(changes[place][lead].value or 0.0))

    def moved(place: int) -> str:
        change = changes[place][lead]
        return f"{said.moved(change.value, change.unit)} {said.moved_unit(change.unit)}".rstrip()

    best, least = order[0], order[-1]
    told = f"{labels[best]} moves {said.name(lead)} by {moved(best)}"
    if best != least:
        told += f", {labels[least]} by {moved(least)}"
    return f"From its own original, {told}, with 95 % intervals.".replace(". ", ", ")


def _alt(labels: Sequence[str], changes: Sequence[Mapping[str, Quantity]]) -> str:
    parts = [
        f"{label}: " + ", ".join(f"{said.title(name)} {_points(one)}" for name, one in list(change.items())[:MOST])
        for label, change in zip(labels, changes, strict=True)
    ]
    return f"Changes from the original with 95 % intervals. {'; '.join(parts)}."


def _table(labels: Sequence[str], changes: Sequence[Mapping[str, Quantity]]) -> pd.DataFrame:
    rows = []
    for label, change in zip(labels, changes, strict=True):
        row: dict[str, object] = {"Run": label}
        for name, one in list(change.items())[:MOST]:
            value, bounds, factor = one.value, one.interval, said.factor(one.unit)
            unit = f", {said.moved_unit(one.unit)}" if said.moved_unit(one.unit) else ""
            row[f"{said.title(name)}{unit}"] = None if value is None else factor * value
            row[f"{said.title(name)}, from"] = factor * bounds.low if bounds else None
            row[f"{said.title(name)}, to"] = factor * bounds.high if bounds else None
        rows.append(row)
    return pd.DataFrame(rows)
