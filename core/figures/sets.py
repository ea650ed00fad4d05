"""Conformal sets: how often the truth is in them, class by class, and how many classes they hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from core.calibration.sets import Sets
from core.figures import words
from core.figures._binary import per_cent
from core.figures.theme import DASHES, SMALL, SYMBOLS, layout, palette
from core.registry import register
from core.task import CLASSES
from core.types import Chart, Quantity

TITLES = {"lac": "LAC", "aps": "APS", "raps": "RAPS"}
ROWS = 12  # classes drawn, those covered least; the table has all
ROW = 24  # px a class
LETTERS = 22  # of a class's name
SPLIT = 0.58  # share of the width for coverage; sizes have the rest
GAP = 0.07
LARGE = 12  # sizes beyond this are drawn as one bar where there are more


@register(
    kind="chart",
    name="sets",
    title="Prediction sets",
    summary="How often a conformal set holds the truth, class by class, and how many classes sets hold.",
    reference="Sadinle et al. 2019, doi 10.1080/01621459.2017.1395341; Romano et al. 2020, arXiv 2006.02544; "
    "Angelopoulos et al. 2021, arXiv 2009.14193",
    tasks=CLASSES,
)
def sets_chart(found: Sets, mode: str = "light") -> Chart:
    """All classes together first, then the classes covered least, with Wilson's intervals."""
    classes = sorted(
        (row for row in zip(found.classes, found.by_class, strict=True) if row[1].value is not None),
        key=lambda row: row[1].value or 0.0,
    )
    rows = [("all", found.coverage), *classes[:ROWS]]
    p, figure = palette(mode), go.Figure()
    _coverage(figure, rows, mode)
    _sizes(figure, found, mode)
    lows = [row.interval.low for _, row in rows if row.interval is not None]
    names = [f"{words.name(name, LETTERS)}  <span style='font-size:11px'>n = {row.n:,}</span>" for name, row in rows]
    room = 24 + round(6.4 * max(len(words.cut(name, LETTERS)) + 9 for name, _ in rows))
    layout(
        figure, mode, 130 + ROW * len(rows), margin=(room, 14, 14, 46),
        xaxis=per_cent(min([*lows, found.rule.level]) // 0.1 / 10, 1.0, "sets with the truth")
        | {"domain": [0, SPLIT - GAP], "anchor": "y"},
        yaxis={
            "range": [len(rows) - 0.5, -0.5], "tickvals": list(range(len(rows))), "ticktext": names,
            "tickfont": {"size": SMALL, "color": p.text},
        },
        xaxis2={
            "domain": [SPLIT, 1], "anchor": "y2", "title": {"text": "classes in a set"}, "type": "category",
        },
        yaxis2={"anchor": "x2", "title": {"text": "sets"}, "nticks": 5, "rangemode": "tozero",
                "tickformat": ",d"},
    )  # fmt: skip
    figure.add_shape(
        type="line", xref="x", yref="paper", x0=found.rule.level, x1=found.rule.level, y0=0, y1=1, layer="below",
        line={"color": p.muted, "width": 1.5, "dash": DASHES["original"]},
    )  # fmt: skip
    if len(rows) > 1:
        figure.add_shape(
            type="line", xref="x domain", yref="y", x0=0, x1=1, y0=0.5, y1=0.5, line={"color": p.line, "width": 1}
        )
    caption = _caption(found)
    of = f"{TITLES[found.rule.score]} sets of {words.count(found.n)} examples"
    alt = f"Coverage by class and sizes of {of}. {caption}"
    return Chart(figure, alt, caption, _table(found))


def _coverage(figure: go.Figure, rows: list[tuple[str, Quantity]], mode: str) -> None:
    colour = palette(mode).tempered
    known = [(k, name, q, q.value, q.interval) for k, (name, q) in enumerate(rows)]
    ends = [(k, name, q, value, bounds) for k, name, q, value, bounds in known if value is not None and bounds]
    figure.add_scatter(
        x=[value for *_, value, _ in ends], y=[k for k, *_ in ends], mode="markers", uid="coverage-tempered",
        marker={"symbol": SYMBOLS["tempered"], "size": 9, "color": colour, "line": {"width": 1.5, "color": colour}},
        error_x={
            "type": "data", "symmetric": False, "width": 3, "thickness": 1.5, "color": colour,
            "array": [bounds.high - value for *_, value, bounds in ends],
            "arrayminus": [value - bounds.low for *_, value, bounds in ends],
        },
        text=[f"<b>{words.name(name)}</b><br>{_told(q)}" for _, name, q, *_ in ends],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _sizes(figure: go.Figure, found: Sets, mode: str) -> None:
    counts = found.histogram
    largest = int(np.flatnonzero(counts).max())
    names = [str(size) for size in range(min(largest, LARGE) + 1)]
    drawn = [int(n) for n in counts[: len(names)]]
    if largest > LARGE:
        names.append(f"{LARGE + 1} or more")
        drawn.append(int(counts[LARGE + 1 :].sum()))
    figure.add_bar(
        x=names, y=drawn, marker={"color": palette(mode).tempered}, uid="sizes-tempered", xaxis="x2", yaxis="y2",
        text=[f"<b>{words.count(n)}</b> sets of {size}" for size, n in zip(names, drawn, strict=True)],
        textposition="none", hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _told(quantity: Quantity) -> str:
    if quantity.value is None or quantity.interval is None:
        return words.NOTHING
    ends = words.interval(quantity.interval.low, quantity.interval.high)
    return f"{words.percent(quantity.value)} ({ends})"


def _caption(found: Sets) -> str:
    size, empty = found.mean_size, found.empty
    none = f", {words.percent(empty.value)} of them empty" if empty.value else ""
    wanted = words.percent(found.rule.level, 0 if round(100 * found.rule.level, 6) % 1 == 0 else 1)
    worst = min(
        ((q.interval.high, name, q) for name, q in zip(found.classes, found.by_class, strict=True) if q.interval),
        default=None,
    )
    short = ""
    if worst is not None and worst[0] < found.rule.level:
        short = f"; least for {words.cut(worst[1], LETTERS)}: {_told(worst[2])}"
    return (
        f"{_told(found.coverage)} of sets hold the truth where {wanted} was asked, with {size.value:.2f} classes on "
        f"average{none}{short}."
    )


def _table(found: Sets) -> pd.DataFrame:
    rows: list[dict[str, object]] = []

    def add(what: str, name: str, quantity: Quantity) -> None:
        ends = quantity.interval
        rows.append({
            "Row": what, "Name": name, "Examples": quantity.n,
            "Value": quantity.value, "From": ends.low if ends else None, "To": ends.high if ends else None,
        })  # fmt: skip

    add("coverage", "all", found.coverage)
    for name, quantity in zip(found.classes, found.by_class, strict=True):
        add("coverage of class", name, quantity)
    for name, quantity in zip(found.group_names, found.by_group, strict=True):
        add("coverage of group", name, quantity)
    add("mean size", "all", found.mean_size)
    for size, n in enumerate(found.histogram):
        if n:
            add("share of sets with this many classes", str(size), Quantity(n / found.n, "fraction", n=int(n)))
    return pd.DataFrame(rows).astype(dict.fromkeys(("Value", "From", "To"), "Float64"))
