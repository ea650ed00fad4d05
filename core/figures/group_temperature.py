"""A temperature for each group, and how far off its confidence is without, with the common one and with its own."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from core.calibration.group_temperature import FEWEST, GroupTemperature, GroupTemperatures
from core.figures import said, words
from core.figures.theme import SMALL, layout, note, palette
from core.registry import register
from core.task import CLASSES
from core.types import Chart, Interval

ROW = 34  # px a group
SHOWN = 24  # groups drawn, the largest first; the table has all
LETTERS = 24  # of a group's name
SPLIT, GAP = 0.48, 0.05


@register(
    kind="chart",
    name="group-temperature",
    title="A temperature for each group",
    summary="Each group's temperature with its interval, and its calibration error without, with the common "
    "temperature and with its own.",
    reference="Efron and Morris 1975, doi 10.1080/01621459.1975.10479864; DerSimonian and Laird 1986, doi "
    "10.1016/0197-2456(86)90046-2",
    tasks=CLASSES,
)
def group_temperature_chart(found: GroupTemperatures, mode: str = "light") -> Chart:
    """Left temperatures fitted on the calibration split, right ECE on the evaluation split; all examples first."""
    p, figure = palette(mode), go.Figure()
    rows = [found.every, *sorted(found.groups, key=lambda one: -one.n)[:SHOWN]]
    own = [(k, one.own) for k, one in enumerate(rows) if one.own is not None]
    figure.add_scatter(
        x=[one.value for _, one in own], y=[k for k, _ in own], mode="markers", uid="group-own",
        error_x=_bars([(one.value or 0.0, one.interval) for _, one in own], p.grey),
        marker={"symbol": "circle-open", "size": 9, "color": p.grey, "line": {"width": 2, "color": p.grey}},
        text=[f"<b>{words.name(rows[k].name)}</b> alone: T {one.value:.3g}" for k, one in own],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[one.temperature for one in rows], y=list(range(len(rows))), mode="markers", uid="group-used",
        marker={"symbol": "diamond", "size": 10, "color": p.tempered, "line": {"width": 1, "color": p.tempered}},
        text=[_hover(one) for one in rows], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=[found.common] * 2, y=[-0.5, len(rows) - 0.5], mode="lines", uid="group-common", hoverinfo="skip",
        line={"color": p.muted, "width": 1, "dash": "4px,4px"},
    )  # fmt: skip
    raw = [(k, one.raw_ece) for k, one in enumerate(rows) if one.raw_ece is not None]
    common = [(k, one.common_ece) for k, one in enumerate(rows) if one.common_ece is not None]
    after = [(k, one.ece, one.ends) for k, one in enumerate(rows) if one.ece is not None]
    ece: dict[str, Any] = {"mode": "markers", "xaxis": "x2", "hovertemplate": "%{text}<extra></extra>"}
    figure.add_scatter(
        x=[100 * (one.value or 0.0) for _, one in raw], y=[k - 0.2 for k, _ in raw], uid="group-ece-raw",
        error_x=_bars([(one.value or 0.0, one.interval) for _, one in raw], p.text, 100),
        marker={"symbol": "circle-open", "size": 9, "color": p.text, "line": {"width": 2, "color": p.text}},
        text=[f"uncalibrated: ECE {words.percent(one.value, 2)}" for _, one in raw], **ece,
    )  # fmt: skip
    figure.add_scatter(
        x=[100 * one for _, one in common], y=[k for k, _ in common], uid="group-ece-common",
        marker={"symbol": "line-ns-open", "size": 12, "color": p.grey, "line": {"width": 2.5, "color": p.grey}},
        text=[f"the common temperature: ECE {words.percent(one, 2)}" for _, one in common], **ece,
    )  # fmt: skip
    figure.add_scatter(
        x=[100 * (one or 0.0) for _, one, _ in after], y=[k + 0.2 for k, _, _ in after], uid="group-ece-own",
        error_x=_bars([(one or 0.0, ends) for _, one, ends in after], p.tempered, 100),
        marker={"symbol": "diamond", "size": 10, "color": p.tempered, "line": {"width": 1, "color": p.tempered}},
        text=[f"its own temperature: ECE {words.percent(one, 2)}" for _, one, _ in after], **ece,
    )  # fmt: skip
    names = [f"{words.name(one.name, LETTERS)}  <span style='font-size:11px'>n = {one.n:,}</span>" for one in rows]
    room = 30 + round(6.4 * max(len(words.cut(one.name, LETTERS)) + 11 for one in rows))
    layout(
        figure, mode, 104 + ROW * len(rows), margin=(room, 16, 44, 46),
        xaxis={"domain": [0, SPLIT - GAP], "anchor": "y", "nticks": 6, "title": {"text": "temperature"}},
        xaxis2={"domain": [SPLIT, 1], "anchor": "y", "nticks": 6, "rangemode": "tozero",
                "title": {"text": "ECE on the evaluation split, %"}},
        yaxis={"range": [len(rows) - 0.5, -0.5], "tickvals": list(range(len(rows))), "ticktext": names,
               "tickfont": {"size": SMALL, "color": p.text}},
    )  # fmt: skip
    grey, ours = f"<span style='color:{p.muted}'>", f"<span style='color:{p.tempered}'>"
    note(figure, f"{grey}○ alone</span>  {ours}◆ used</span>  {grey}- - common</span>", mode, 0, 1, shift=(0, 6),
         size=SMALL)  # fmt: skip
    note(figure, f"○ uncalibrated  {grey}| common</span>  {ours}◆ its own</span>", mode, SPLIT, 1, shift=(0, 6),
         size=SMALL)  # fmt: skip
    caption = _caption(found)
    listed = "; ".join(f"{words.cut(one.name, LETTERS)} T {one.temperature:.3g}" for one in rows)
    alt = f"Temperatures by {words.cut(found.title, 40)}: {listed}. {caption}"
    return Chart(figure, alt, caption, _table(found))


def _bars(some: list[tuple[float, Interval | None]], colour: str, factor: int = 1) -> dict[str, Any]:
    return {
        "type": "data", "symmetric": False, "width": 3, "thickness": 1.5, "color": colour,
        "array": [factor * max(ends.high - value, 0.0) if ends else 0.0 for value, ends in some],
        "arrayminus": [factor * max(value - ends.low, 0.0) if ends else 0.0 for value, ends in some],
    }  # fmt: skip


def _hover(one: GroupTemperature) -> str:
    text = f"<b>{words.name(one.name)}</b>: T {one.temperature:.3g}, {100 * one.weight:.0f} % its own"
    return text if one.nll_change is None else f"{text}<br>NLL {said.moved(one.nll_change.value, 'nats')} nats"


def _caption(found: GroupTemperatures) -> str:
    change, known = found.every.nll_change, [one for one in found.groups if one.own is not None]
    if len(known) < 2:
        few = "only one group has" if known else "no group has"
        return f"All take the common temperature {found.common:.3g}, as {few} the {FEWEST} examples that one needs."
    if found.spread == 0:
        return (
            f"{len(known)} groups differ by no more than chance makes them, so that all take the common temperature "
            f"{found.common:.3g}."
        )
    low, high = (pick(known, key=lambda one: one.temperature) for pick in (min, max))
    text = (
        f"Temperatures go from {low.temperature:.3g} ({words.cut(low.name, 30)}) to {high.temperature:.3g} "
        f"({words.cut(high.name, 30)}), common {found.common:.3g}"
    )
    if change is None or change.value is None or change.interval is None:
        return f"{text}; too few examples judge them."
    ends = f"{said.moved(change.interval.low, 'nats')} to {said.moved(change.interval.high, 'nats')}"
    sure = change.interval.high < 0 or change.interval.low > 0
    verdict = "" if sure else ", not beyond chance"
    return f"{text}; NLL moves by {said.moved(change.value, 'nats')} nats ({ends}) against the common one{verdict}."


def _table(found: GroupTemperatures) -> pd.DataFrame:
    rows = []
    for one in (found.every, *found.groups):
        ends = one.own.interval if one.own else None
        moved = one.nll_change.interval if one.nll_change else None
        rows.append({
            "Group": one.name, "Calibration examples": one.n, "Evaluation examples": one.judged,
            "Temperature used": one.temperature, "Share its own, %": 100 * one.weight,
            "Temperature alone": one.own.value if one.own else None,
            "Alone, from": ends.low if ends else None, "Alone, to": ends.high if ends else None,
            "ECE uncalibrated, %": 100 * one.raw_ece.value if one.raw_ece and one.raw_ece.value is not None else None,
            "ECE common, %": 100 * one.common_ece if one.common_ece is not None else None,
            "ECE its own, %": 100 * one.ece if one.ece is not None else None,
            "NLL change, nats": one.nll_change.value if one.nll_change else None,
            "NLL change, from": moved.low if moved else None, "NLL change, to": moved.high if moved else None,
        })  # fmt: skip
    numbers = [name for name in rows[0] if name not in ("Group", "Calibration examples", "Evaluation examples")]
    return pd.DataFrame(rows).astype(dict.fromkeys(numbers, "Float64"))
