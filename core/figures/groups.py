"""A metric by group, before and after: two marks a row with their intervals, and what changed beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core.damage.groups import FEW, ByGroup, Group
from core.figures import said, words
from core.figures.theme import DASHES, SMALL, SYMBOLS, Series, layout, note, palette, title
from core.registry import register
from core.types import Chart, Quantity

ROW = 40  # px a group
SPLIT = 0.66  # share of the width for values; changes have the rest
GAP = 0.05
LETTERS = 26  # of a group's name
APART = 0.16  # rows between the two marks of a group


@register(
    kind="chart",
    name="groups",
    title="By group",
    summary="A metric of both models in each group, with intervals, and the paired change: who pays.",
    reference="Hooker et al. 2020, Characterising bias in compressed models, arXiv 2010.03058; Holm 1979",
)
def groups_chart(found: ByGroup, mode: str = "light") -> Chart:
    """A row a group of at least `FEW` examples, after a row of all examples together."""
    rows = [found.every, *found.known]
    unit = found.every.change.unit if found.every.change else ""
    figure = go.Figure()
    for series in ("original", "tempered"):
        _values(figure, rows, series, unit, mode)
    _changes(figure, rows, unit, mode)
    names = [f"{words.name(row.name, LETTERS)}  <span style='font-size:11px'>n = {row.n:,}</span>" for row in rows]
    room = 24 + round(6.4 * max(len(words.cut(row.name, LETTERS)) + 9 for row in rows))
    after = said.shown_unit(unit)
    layout(
        figure, mode, 96 + ROW * len(rows), margin=(room, 14, 30, 46),
        xaxis={
            "domain": [0, SPLIT - GAP], "nticks": 6, "anchor": "y",
            "title": {"text": said.name(found.measure) + (f", {after}" if after else "")},
        },
        xaxis2={
            "domain": [SPLIT, 1], "nticks": 4, "anchor": "y", "zeroline": True, "zerolinewidth": 1.5,
            "zerolinecolor": palette(mode).muted,
            "title": {"text": f"change, {said.moved_unit(unit)}".removesuffix(", ")},
        },
        yaxis={
            "range": [len(rows) - 0.5, -0.5], "tickvals": list(range(len(rows))), "ticktext": names,
            "tickfont": {"size": SMALL, "color": palette(mode).text},
        },
    )  # fmt: skip
    figure.add_hline(y=0.5, line={"color": palette(mode).line, "width": 1})
    note(figure, f"{title('original', mode)}   {title('tempered', mode)}", mode, 0, 1, shift=(0, 6))
    caption = _caption(found, unit)
    alt = f"{said.title(found.measure)} by {words.cut(found.title, 40)}: {_listed(found)}. {caption}"
    return Chart(figure, alt, caption, _table(found))


def _bars(quantities: Sequence[Quantity], factor: int) -> tuple[list[float], dict[str, Any]]:
    values = [factor * (q.value or 0.0) for q in quantities]
    ends = [(factor * q.interval.low, factor * q.interval.high) if q.interval else (v, v)
            for q, v in zip(quantities, values, strict=True)]  # fmt: skip
    return values, {
        "type": "data", "symmetric": False, "width": 3, "thickness": 1.5,
        "array": [max(high - v, 0.0) for v, (_, high) in zip(values, ends, strict=True)],
        "arrayminus": [max(v - low, 0.0) for v, (low, _) in zip(values, ends, strict=True)],
    }  # fmt: skip


def _values(figure: go.Figure, rows: Sequence[Group], series: Series, unit: str, mode: str) -> None:
    held = [(k, row.original if series == "original" else row.tempered) for k, row in enumerate(rows)]
    known = [(k, q) for k, q in held if q is not None]
    colour, shift = palette(mode).of(series), -APART if series == "original" else APART
    values, bars = _bars([q for _, q in known], said.factor(unit))
    figure.add_scatter(
        x=values, y=[k + shift for k, _ in known], mode="markers", uid=f"groups-{series}",
        marker={"symbol": SYMBOLS[series], "size": 10, "color": colour, "line": {"width": 2, "color": colour}},
        error_x=bars | {"color": colour},
        text=[f"<b>{words.name(rows[k].name)}</b>, {series}<br>{_told(q)}" for k, q in known],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _changes(figure: go.Figure, rows: Sequence[Group], unit: str, mode: str) -> None:
    p = palette(mode)
    known = [(k, row.change) for k, row in enumerate(rows) if row.change is not None]
    values, bars = _bars([q for _, q in known], said.factor(unit))
    sure = [rows[k].sure for k, _ in known]
    figure.add_scatter(
        x=values, y=[k for k, _ in known], mode="markers", uid="groups-change", xaxis="x2", yaxis="y",
        marker={
            "symbol": ["diamond" if one else "diamond-open" for one in sure], "size": 10, "color": p.text,
            "line": {"width": 1.5, "color": p.text},
        },
        error_x=bars | {"color": p.text},
        text=[f"<b>{words.name(rows[k].name)}</b><br>{_moved(q)}" for k, q in known],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    figure.add_shape(
        type="line", xref="x2", yref="paper", x0=0, x1=0, y0=0, y1=1, layer="below",
        line={"color": p.muted, "width": 1, "dash": DASHES["original"]},
    )  # fmt: skip


def _told(quantity: Quantity) -> str:
    bounds, unit = quantity.interval, quantity.unit
    ends = f" [{said.number(bounds.low, unit)} to {said.value(bounds.high, unit)}]" if bounds else ""
    return f"{said.value(quantity.value, unit)}{ends}"


def _moved(change: Quantity) -> str:
    bounds, unit = change.interval, change.unit
    ends = f" [{said.moved(bounds.low, unit)}, {said.moved(bounds.high, unit)}]" if bounds else ""
    return f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".rstrip() + ends


def _caption(found: ByGroup, unit: str) -> str:
    known, name = found.known, said.name(found.measure)
    if not known or found.every.change is None:
        return f"No group has {FEW} examples, so that nothing is said of any."
    spread = sorted(known, key=lambda g: g.tempered.value or 0.0 if g.tempered else 0.0)
    ends = " to ".join(
        f"{said.value(g.tempered.value, unit)} ({words.cut(g.name, LETTERS)})"
        for g in (spread[0], spread[-1])
        if g.tempered
    )
    text = f"Tempered, {name} runs from {ends}"
    sure = [g for g in known if g.sure and g.change]
    if not sure:
        return f"{text}; no group's change is beyond chance, {len(known)} groups looked at."
    most = max(sure, key=lambda g: abs(g.change.value or 0.0) if g.change else 0.0)
    assert most.change is not None
    all_ = _moved(found.every.change).split(" [")[0]
    return (
        f"{text}; it changes most for {words.cut(most.name, LETTERS)}: {_moved(most.change)}, beyond chance, where "
        f"all together change by {all_}."
    )


def _listed(found: ByGroup) -> str:
    return "; ".join(
        f"{words.cut(row.name, LETTERS)} {_told(row.original)} before, {_told(row.tempered)} after"
        for row in (found.every, *found.known)
        if row.original and row.tempered
    )


def _table(found: ByGroup) -> pd.DataFrame:
    rows = []
    for row in (found.every, *found.groups):
        line: dict[str, object] = {"Group": row.name, "Examples": row.n}
        for name, quantity in (("Original", row.original), ("Tempered", row.tempered), ("Change", row.change)):
            factor = said.factor(quantity.unit) if quantity else 1
            bounds = quantity.interval if quantity else None
            line[name] = factor * quantity.value if quantity and quantity.value is not None else None
            line |= {f"{name}, from": factor * bounds.low if bounds else None,
                     f"{name}, to": factor * bounds.high if bounds else None}  # fmt: skip
        line["Beyond chance"] = "yes" if row.sure else "no" if row.known else "too few"
        rows.append(line)
    numbers = [name for name in rows[0] if name not in ("Group", "Examples", "Beyond chance")]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64"))  # what is missing stays missing
