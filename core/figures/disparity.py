"""The largest gap between groups, before and after, beside the gap that chance alone makes."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

from core.damage.disparity import Disparities, Ends, Gap
from core.damage.groups import FEW
from core.figures import said, words
from core.figures.theme import SMALL, SYMBOLS, Series, layout, note, palette, title
from core.registry import register
from core.types import Chart, Quantity

ROW = 52  # px a gap
SPLIT = 0.66  # share of the width for values; changes have the rest
GAP = 0.05
APART = 0.15  # rows between the two marks
LETTERS = 30


@register(
    kind="chart",
    name="disparity",
    title="Gaps between groups",
    summary="The largest difference between two groups in both models, its change, and what chance alone makes.",
    reference="Bird et al. 2020, Fairlearn, MSR-TR-2020-32; Hardt et al. 2016, arXiv 1610.02413; Efron 1979",
)
def disparity_chart(found: Disparities, mode: str = "light") -> Chart:
    """A row a gap: the rate of the highest group less that of the lowest, with bootstrap intervals."""
    rows = [gap for gap in found.gaps if gap.change is not None]
    unit = rows[0].change.unit if rows and rows[0].change else "fraction"
    p, factor = palette(mode), said.factor(unit)
    figure = go.Figure()
    for series in ("original", "tempered"):
        _values(figure, rows, series, mode)
    figure.add_scatter(
        x=[factor * (row.chance or 0.0) for row in rows], y=list(range(len(rows))), mode="markers",
        uid="disparity-chance",
        marker={"symbol": "line-ns", "size": 30, "color": p.muted, "line": {"width": 2, "color": p.muted}},
        hovertemplate="groups drawn at random stay below %{x:.3g} in 95 % of cases<extra></extra>",
    )  # fmt: skip
    changes = [row.change for row in rows if row.change]
    figure.add_scatter(
        x=[factor * (change.value or 0.0) for change in changes], y=list(range(len(changes))), mode="markers",
        uid="disparity-change", xaxis="x2", yaxis="y", error_x=_bars(changes, factor) | {"color": p.text},
        marker={
            "symbol": ["diamond" if row.sure else "diamond-open" for row in rows], "size": 10, "color": p.text,
            "line": {"width": 1.5, "color": p.text},
        },
        text=[moved_by(change) for change in changes], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    named = said.moved_unit(unit)
    names = [f"{row.title}  <span style='font-size:11px'>n = {row.n:,}</span>" for row in rows]
    layout(
        figure, mode, 96 + ROW * max(len(rows), 1), margin=(218, 14, 30, 46),
        xaxis={"domain": [0, SPLIT - GAP], "nticks": 6, "rangemode": "tozero", "anchor": "y",
               "title": {"text": f"largest gap between two groups, {named}".removesuffix(", ")}},
        xaxis2={"domain": [SPLIT, 1], "nticks": 4, "anchor": "y", "zeroline": True, "zerolinewidth": 1.5,
                "zerolinecolor": p.muted, "title": {"text": f"change, {named}".removesuffix(", ")}},
        yaxis={"range": [max(len(rows), 1) - 0.5, -0.5], "tickvals": list(range(len(rows))), "ticktext": names,
               "tickfont": {"size": SMALL, "color": p.text}},
    )  # fmt: skip
    chance = f"<span style='color:{p.muted}'>┃ chance alone</span>"
    note(figure, f"{title('original', mode)}   {title('tempered', mode)}   {chance}", mode, 0, 1, shift=(0, 6))
    caption = _caption(rows, found)
    listed = "; ".join(
        f"{row.title} {_told(row.original.gap)} before, {_told(row.tempered.gap)} after"
        for row in rows
        if row.original and row.tempered
    )
    alt = f"Largest gaps between groups by {words.cut(found.title, LETTERS)}: {listed or 'not known'}. {caption}"
    return Chart(figure, alt, caption, _table(found))


def _bars(quantities: list[Quantity], factor: int) -> dict[str, object]:
    ends = [(q.value or 0.0, q.interval) for q in quantities]
    return {
        "type": "data", "symmetric": False, "width": 3, "thickness": 1.5,
        "array": [factor * max(b.high - v, 0.0) if b else 0.0 for v, b in ends],
        "arrayminus": [factor * max(v - b.low, 0.0) if b else 0.0 for v, b in ends],
    }  # fmt: skip


def _values(figure: go.Figure, rows: list[Gap], series: Series, mode: str) -> None:
    colour = palette(mode).of(series)
    held = [row.original if series == "original" else row.tempered for row in rows]
    known = [one for one in held if one is not None]
    factor = said.factor(known[0].gap.unit) if known else 1
    shift = -APART if series == "original" else APART
    figure.add_scatter(
        x=[factor * (one.gap.value or 0.0) for one in known],
        y=[k + shift for k in range(len(known))],
        mode="markers", uid=f"disparity-{series}",
        error_x=_bars([one.gap for one in known], factor) | {"color": colour},
        marker={"symbol": SYMBOLS[series], "size": 10, "color": colour, "line": {"width": 2, "color": colour}},
        text=[f"{series}: {_told(one.gap)}<br>{_ends(one)}" for one in known], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _ends(one: Ends) -> str:
    unit = one.gap.unit
    return (
        f"{said.value(one.low_rate, unit)} ({words.name(one.low, LETTERS)}) to {said.value(one.high_rate, unit)} "
        f"({words.name(one.high, LETTERS)})"
    )


def _told(gap: Quantity) -> str:
    value, ends = gap.value or 0.0, gap.interval
    between = f" [{_size(ends.low, gap.unit)}, {_size(ends.high, gap.unit)}]" if ends else ""
    return f"{_size(value, gap.unit)}{between} {said.moved_unit(gap.unit)}".rstrip()


def _size(value: float, unit: str) -> str:
    return said.moved(value, unit).lstrip("+")


def moved_by(change: Quantity) -> str:
    """A change with its interval and unit."""
    ends = change.interval
    between = f" [{said.moved(ends.low, change.unit)}, {said.moved(ends.high, change.unit)}]" if ends else ""
    return f"{said.moved(change.value, change.unit)}{between} {said.moved_unit(change.unit)}".rstrip()


def _caption(rows: list[Gap], found: Disparities) -> str:
    if not rows:
        return f"Fewer than two groups have {FEW} examples that count, so that no gap is known."
    sure = [row for row in rows if row.sure]
    if not sure:
        names = ", ".join(row.title.lower() for row in rows)
        return f"No gap changed beyond chance ({names}), {_looked(len(rows))}, n = {words.count(found.n)}."
    most = max(sure, key=lambda row: abs((row.change.value or 0.0) if row.change else 0.0))
    assert most.change is not None and most.original is not None and most.tempered is not None
    verb = "widens" if (most.change.value or 0.0) > 0 else "narrows"
    return (
        f"The gap of {most.title.lower()} {verb} from {_size(most.original.gap.value or 0.0, most.change.unit)} to "
        f"{_size(most.tempered.gap.value or 0.0, most.change.unit)} {said.moved_unit(most.change.unit)}, by "
        f"{moved_by(most.change)}, beyond chance, {_looked(len(rows))}."
    )


def _looked(many: int) -> str:
    return f"after Holm's correction for {many} gaps" if many > 1 else "one gap being looked at"


def _table(found: Disparities) -> pd.DataFrame:
    rows = []
    for gap in found.gaps:
        unit = gap.change.unit if gap.change else "fraction"
        factor = said.factor(unit)
        line: dict[str, object] = {"Gap": gap.title, "Examples": gap.n, "Groups": gap.groups}
        for name, one in (("Original", gap.original), ("Tempered", gap.tempered)):
            ends = one.gap.interval if one else None
            line |= {
                name: factor * (one.gap.value or 0.0) if one else None,
                f"{name}, from": factor * ends.low if ends else None,
                f"{name}, to": factor * ends.high if ends else None,
                f"{name}: lowest": one.low if one else "", f"{name}: highest": one.high if one else "",
            }  # fmt: skip
        bounds = gap.change.interval if gap.change else None
        line |= {
            "Change": factor * (gap.change.value or 0.0) if gap.change else None,
            "Change, from": factor * bounds.low if bounds else None,
            "Change, to": factor * bounds.high if bounds else None,
            "Chance alone, 95 %": factor * gap.chance if gap.chance is not None else None,
            "Too few": ", ".join(gap.left),
        }  # fmt: skip
        rows.append(line)
    texts = ("Gap", "Examples", "Groups", "Too few")
    numbers = [name for name in rows[0] if name not in texts and ": " not in name]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64"))
