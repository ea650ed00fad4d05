"""Recall and precision lost by class: the paired change of each with its interval, the class that pays most first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd
import plotly.graph_objects as go

from core.damage.payers import Payer, Payers, Rate
from core.figures import said, words
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.types import Chart, Quantity

ROW = 30  # px a class
SHOWN = 24  # classes up to which all are drawn; beyond, those with the largest losses of recall
LETTERS = 22  # of a class name
GAP = 0.03
Column = Literal["recall", "precision"]
COLUMNS: tuple[Column, ...] = ("recall", "precision")
UNIT = "fraction"


@register(
    kind="chart",
    name="payers",
    title="Who pays, by class",
    summary="The change of every class's recall and precision with intervals, corrected for looking at many.",
    reference="Hooker et al. 2020, arXiv 2010.03058; Agresti and Min 2005; Newcombe 1998; Holm 1979",
)
def payers_chart(payers: Payers, mode: str = "light") -> Chart:
    """A row a class: what it lost of recall, and of precision; filled where beyond chance after Holm's correction."""
    rows = payers.by_loss[:SHOWN]
    p = palette(mode)
    figure = go.Figure()
    for place, column in enumerate(COLUMNS, 1):
        for sure in (False, True):
            _marks(figure, rows, column, place, sure, mode)
    names = [
        f"{words.name(row.name, LETTERS)}  <span style='font-size:11px'>n = {row.n:,}</span>" for row in rows
    ]  # fmt: skip
    room = 24 + round(6.4 * max(len(words.cut(row.name, LETTERS)) + 9 for row in rows))
    side = {"zeroline": True, "zerolinewidth": 1.5, "zerolinecolor": p.muted, "nticks": 6, "anchor": "y",
            "title": {"text": "change, points"}}  # fmt: skip
    layout(
        figure, mode, 88 + ROW * len(rows), margin=(room, 14, 30, 46),
        xaxis=side | {"domain": [0, 0.5 - GAP]}, xaxis2=side | {"domain": [0.5 + GAP, 1]},
        yaxis={
            "range": [len(rows) - 0.5, -0.5], "tickvals": list(range(len(rows))), "ticktext": names,
            "tickfont": {"size": SMALL, "color": p.text},
        },
    )  # fmt: skip
    note(figure, "<b>Recall</b>: of its examples, how many are found", mode, 0, 1, shift=(0, 6))
    note(figure, "<b>Precision</b>: of its calls, how many are right", mode, 0.5 + GAP, 1, shift=(0, 6))
    caption = sentence(payers)
    if len(payers.classes) > len(rows):
        caption = f"{caption[:-1]}; drawn are the {len(rows)} of {len(payers.classes)} that lost most."
    listed = "; ".join(f"{words.cut(row.name, LETTERS)} {_told(row.recall)} of recall" for row in rows)
    alt = f"Changes of {len(rows)} classes: {listed}. {caption}"
    return Chart(figure, alt, caption, _table(payers))


def sentence(payers: Payers) -> str:
    """Who pays most, in a sentence."""
    most, n = payers.most, len(payers.classes)
    looked = f"{payers.compared} changes looked at"
    if most is None:
        return f"No class of {n} loses recall on these {words.count(payers.n)} examples."
    name, change = f"Of the classes, {words.cut(most.name, 40)}", most.recall.change
    assert change.interval is not None and change.value is not None
    low, high = sorted((abs(change.interval.low), abs(change.interval.high)))
    lost = words.points(abs(change.value)).lstrip("+")
    became = f"{words.percent(most.recall.original.value)} to {words.percent(most.recall.tempered.value)}"
    if not most.recall.sure:
        return f"{name} loses most recall, {lost} points ({became}), but no loss is beyond chance with {looked}."
    ends = f"{words.points(low).lstrip('+')} to {words.points(high).lstrip('+')}"
    pays = "pays most" if most is payers.by_loss[0] else "pays most of those beyond chance"
    return f"{name} {pays}: it loses {lost} points of recall ({ends}), from {became}, beyond chance with {looked}."


def _marks(figure: go.Figure, rows: Sequence[Payer], column: Column, place: int, sure: bool, mode: str) -> None:
    colour = palette(mode).tempered if sure else palette(mode).grey
    known = [
        (k, rate, rate.change)
        for k, rate in enumerate(getattr(row, column) for row in rows)
        if rate.change.value is not None and rate.sure == sure
    ]
    values = [100 * (change.value or 0.0) for _, _, change in known]
    bounds = [change.interval for _, _, change in known]
    figure.add_scatter(
        x=values, y=[k for k, _, _ in known], mode="markers", uid=f"payers-{column}-{'sure' if sure else 'open'}",
        xaxis="x" if place == 1 else "x2", yaxis="y",
        marker={"symbol": "diamond" if sure else "diamond-open", "size": 10, "color": colour,
                "line": {"width": 2, "color": colour}},
        error_x={
            "type": "data", "symmetric": False, "width": 3, "thickness": 1.5, "color": colour,
            "array": [max(100 * b.high - v, 0.0) if b else 0.0 for v, b in zip(values, bounds, strict=True)],
            "arrayminus": [max(v - 100 * b.low, 0.0) if b else 0.0 for v, b in zip(values, bounds, strict=True)],
        },
        text=[
            f"<b>{words.name(rows[k].name)}</b>, {column}<br>{words.percent(rate.original.value)} to "
            f"{words.percent(rate.tempered.value)}<br>{_told(rate)}"
            for k, rate, _ in known
        ],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _told(rate: Rate) -> str:
    change = rate.change
    if change.value is None:
        return change.note
    ends = change.interval
    between = f" [{words.points(ends.low)}, {words.points(ends.high)}]" if ends else ""
    return f"{words.points(change.value)}{between} points{', beyond chance' if rate.sure else ''}"


def _table(payers: Payers) -> pd.DataFrame:
    def share(quantity: Quantity) -> float | None:
        return None if quantity.value is None else said.factor(UNIT) * quantity.value

    rows = []
    for row in payers.by_loss:
        line: dict[str, object] = {"Class": row.name, "Examples": row.n}
        for column in COLUMNS:
            rate: Rate = getattr(row, column)
            ends = rate.change.interval
            title = column.title()
            line |= {
                f"{title} before, %": share(rate.original), f"{title} after, %": share(rate.tempered),
                f"{title} change, points": share(rate.change),
                f"{title} change, from": 100 * ends.low if ends else None,
                f"{title} change, to": 100 * ends.high if ends else None,
                f"{title} beyond chance": "yes" if rate.sure else "no" if rate.change.value is not None else "–",
            }  # fmt: skip
        rows.append(line)
    numbers = [name for name in rows[0] if not name.endswith(("Class", "Examples", "chance"))]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64"))
