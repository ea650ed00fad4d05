"""Confidence calibrations in the order of a measure, and each one's paired difference to none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core.calibration.calibration_lab import NONE
from core.calibration.ranking import Ranking
from core.figures import said, words
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.types import Chart, Quantity

ROW = 30  # px
SPLIT, GAP = 0.56, 0.06  # where the differences begin, and the room before them, as shares of the width
LETTERS = 26  # of a method's title
MARK = "★"


@register(
    kind="chart",
    name="calibration-ranking",
    title="Calibrations compared",
    summary="Each confidence calibration by a measure, with its paired difference to the uncalibrated model.",
    reference="Guo et al. 2017, arXiv 1706.04599; Vaicenavicius et al. 2019, arXiv 1902.06977",
)
def calibration_ranking_chart(ranking: Ranking, mode: str = "light", chosen: str | None = None) -> Chart:
    """A row a method, the best first: left its value, right its difference, both with 95 % intervals.

    `chosen` names the one that the calibration split prefers, which is marked.
    """
    p, rows = palette(mode), ranking.rows
    unit = rows[0].value.unit
    figure = go.Figure()
    for uid, hollow in (("none", True), ("methods", False)):
        held = [(k, row) for k, row in enumerate(rows) if (row.entry.name == NONE) == hollow]
        colour = p.text if hollow else p.tempered
        values, bars = _bars([row.value for _, row in held], said.factor(unit))
        figure.add_scatter(
            x=values, y=[k for k, _ in held], mode="markers", uid=f"ranked-{uid}", error_x=bars | {"color": colour},
            marker={
                "symbol": "circle-open" if hollow else "circle", "size": 10, "color": colour,
                "line": {"width": 2, "color": colour},
            },
            text=[f"<b>{words.name(row.entry.title)}</b><br>{told(row.value)}" for _, row in held],
            hovertemplate="%{text}<extra></extra>", customdata=[row.entry.name for _, row in held],
        )  # fmt: skip
    others = [(k, row) for k, row in enumerate(rows) if row.entry.name != NONE]
    values, bars = _bars([row.from_none for _, row in others], said.factor(unit))
    sure = [row.sure for _, row in others]
    figure.add_scatter(
        x=values, y=[k for k, _ in others], mode="markers", uid="ranked-change", xaxis="x2", yaxis="y",
        error_x=bars | {"color": p.text},
        marker={
            "symbol": ["diamond" if one else "diamond-open" for one in sure], "size": 10, "color": p.text,
            "line": {"width": 1.5, "color": p.text},
        },
        text=[f"<b>{words.name(row.entry.title)}</b> against uncalibrated<br>{moved(row.from_none)}"
              for _, row in others],
        hovertemplate="%{text}<extra></extra>", customdata=[row.entry.name for _, row in others],
    )  # fmt: skip
    after = said.shown_unit(unit)
    names = [
        f"<b>{MARK} {words.name(row.entry.title, LETTERS)}</b>" if row.entry.name == chosen
        else words.name(row.entry.title, LETTERS)
        for row in rows
    ]  # fmt: skip
    room = (
        20
        + (18 if chosen is not None else 0)
        + round(7.0 * max(len(words.cut(row.entry.title, LETTERS)) for row in rows))
    )
    axis: dict[str, Any] = {"anchor": "y", "zeroline": False}
    layout(
        figure, mode, 92 + ROW * len(rows), margin=(room, 16, 28, 46),
        xaxis=axis | {"domain": [0, SPLIT - GAP], "nticks": 6,
                      "title": {"text": said.name(ranking.measure) + (f", {after}" if after else "")}},
        xaxis2=axis | {"domain": [SPLIT, 1], "nticks": 5, "zeroline": True, "zerolinewidth": 1.5,
                       "zerolinecolor": p.muted,
                       "title": {"text": f"change by calibrating, {said.moved_unit(unit)}".removesuffix(", ")}},
        yaxis={"range": [len(rows) - 0.5, -0.5], "tickvals": list(range(len(rows))), "ticktext": names,
               "tickfont": {"size": SMALL, "color": p.text}},
    )  # fmt: skip
    note(figure, "filled diamonds: beyond chance", mode, SPLIT, 1, shift=(0, 6), colour=p.muted, size=SMALL)
    marked = None if chosen is None else ranking.find(chosen)
    if marked is not None:
        note(figure, f"{MARK} chosen on calibration", mode, 0, 1, shift=(0, 6), colour=p.muted, size=SMALL)
    caption = _caption(ranking)
    listed = "; ".join(f"{row.entry.title} {told(row.value)}" for row in rows)
    alt = f"{said.title(ranking.measure)} of {len(rows)} models on {rows[0].value.n:,} examples: {listed}."
    if marked is not None:
        alt += f" Chosen on the calibration split: {marked.entry.title}."
    return Chart(figure, f"{alt} {caption}", caption, table(ranking))


def _bars(quantities: Sequence[Quantity], factor: int) -> tuple[list[float], dict[str, Any]]:
    values = [factor * (q.value or 0.0) for q in quantities]
    ends = [
        (factor * q.interval.low, factor * q.interval.high) if q.interval else (v, v)
        for q, v in zip(quantities, values, strict=True)
    ]
    return values, {
        "type": "data", "symmetric": False, "width": 3, "thickness": 1.5,
        "array": [max(high - v, 0.0) for v, (_, high) in zip(values, ends, strict=True)],
        "arrayminus": [max(v - low, 0.0) for v, (low, _) in zip(values, ends, strict=True)],
    }  # fmt: skip


def told(quantity: Quantity) -> str:
    """A value with its interval, for a sentence."""
    ends, unit = quantity.interval, quantity.unit
    text = f" [{said.number(ends.low, unit)} to {said.value(ends.high, unit)}]" if ends else ""
    return f"{said.value(quantity.value, unit)}{text}"


def moved(change: Quantity) -> str:
    """A difference with its interval, for a sentence."""
    ends, unit = change.interval, change.unit
    text = f" [{said.moved(ends.low, unit)}, {said.moved(ends.high, unit)}]" if ends else ""
    return f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".rstrip() + text


def _caption(ranking: Ranking) -> str:
    best, name = ranking.best, said.name(ranking.measure)
    none = ranking.find(NONE)
    assert none is not None
    lead = f"{best.entry.title} has the best {name}: {said.value(best.value.value, best.value.unit)}"
    if best is none:
        return f"{lead}, so that calibrating improves nothing here."
    text = f"{lead}, uncalibrated {said.value(none.value.value, none.value.unit)}"
    tied = [row.entry.title for row in ranking.tied]
    if not tied:
        return f"{text}; every other one is worse beyond chance."
    listed = ", ".join(tied[:3]) + (f" and {len(tied) - 3} more" if len(tied) > 3 else "")
    return f"{text}; within chance of it: {listed}."


def table(ranking: Ranking) -> pd.DataFrame:
    """A row a method, with every interval; rates in per cent and their changes in points."""
    rows = []
    for row in ranking.rows:
        line: dict[str, object] = {"Calibration": row.entry.title}
        for name, quantity in (
            (said.title(ranking.measure), row.value),
            ("Against uncalibrated", row.from_none),
            ("Against the best", row.from_best),
        ):
            factor, ends = said.factor(quantity.unit), quantity.interval
            line |= {
                name: factor * (quantity.value or 0.0),
                f"{name}, from": factor * ends.low if ends else None,
                f"{name}, to": factor * ends.high if ends else None,
            }
        line["Against uncalibrated beyond chance"] = "yes" if row.sure else "no"
        line["Against the best beyond chance"] = "yes" if row.behind else "no"
        line["Predictions changed"] = row.flips.flips if row.flips else 0
        rows.append(line)
    return pd.DataFrame(rows)
