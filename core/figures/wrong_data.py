"""What learning from wrong data does beside the right ones, and how far data lie from the original's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from core.figures import said, words
from core.figures.theme import SMALL, layout, note, palette, translucent
from core.registry import method, register
from core.training.suitability.distance import Distance
from core.training.wrong_data import Arm
from core.types import Chart, Quantity

ROW = 34  # px of a kind of data
LEAST = 0.02  # the least range of a rate's axis, so that noise does not fill it


@register(
    kind="chart",
    name="wrong-data",
    title="Wrong data",
    summary="The change on evaluation that the same training brings with the right data and with wrong ones.",
    reference="Northcutt, Athalye and Mueller 2021, Pervasive label errors, arXiv 2103.14749; Zhang et al. 2017, "
    "Understanding deep learning requires rethinking generalization, arXiv 1611.03530 (shuffled labels)",
)
def wrong_data_chart(arms: Sequence[Arm], before: Mapping[str, float], lead: str, mode: str = "light") -> Chart:
    """A row a kind of data, the right one first. `before` holds the values before training, `lead` the measure."""
    p = palette(mode)
    unit = said.unit_of(lead)
    factor, level = said.factor(unit), before.get(lead, 0.0)
    figure = go.Figure()
    parts = (("wrong-right", p.tempered, arms[:1]), ("wrong-others", p.purple, arms[1:]))
    dots = [(place, value - level) for place, arm in enumerate(arms) for value in arm.values[lead]]
    figure.add_scatter(
        x=[factor * moved for _, moved in dots], y=[place for place, _ in dots], mode="markers", uid="wrong-seeds",
        marker={"symbol": "line-ns-open", "size": 12, "color": p.grey},
        hovertemplate="one seed: %{x:.3g}<extra></extra>",
    )  # fmt: skip
    for uid, colour, some in parts:
        first = 0 if uid == "wrong-right" else 1
        ends = [_ends(arm.change[lead]) for arm in some]
        middle = [arm.change[lead].value or 0.0 for arm in some]
        figure.add_scatter(
            x=[factor * value for value in middle], y=[first + place for place in range(len(some))], mode="markers",
            uid=uid, marker={"size": 11, "color": colour, "symbol": "circle"},
            error_x={"type": "data", "symmetric": False, "thickness": 2, "width": 4, "color": colour,
                     "array": [factor * (high - m) for (_, high), m in zip(ends, middle, strict=True)],
                     "arrayminus": [factor * (m - low) for (low, _), m in zip(ends, middle, strict=True)]},
            text=[_row_said(arm, lead, unit) for arm in some], hovertemplate="%{text}<extra></extra>",
        )  # fmt: skip
    reach = [factor * end for arm in arms for end in _ends(arm.change[lead])] + [factor * moved for _, moved in dots]
    low, high = min([*reach, 0.0]), max([*reach, 0.0])
    span = max(high - low, factor * LEAST if unit == "fraction" else 1e-6)
    low, high = min(low, -0.1 * span), max(high, 0.1 * span)
    figure.add_scatter(
        x=[0, 0], y=[-0.6, max(len(arms), 1) - 0.4], mode="lines", uid="wrong-before", hoverinfo="skip",
        line={"color": translucent(p.muted, 0.7), "width": 1, "dash": "2px,3px"},
    )  # fmt: skip
    names = [words.name(arm.title, 30) for arm in arms]
    room = 24 + round(6.6 * max(map(len, names), default=0))
    layout(
        figure, mode, 92 + ROW * max(len(arms), 1), margin=(room, 16, 30, 46),
        xaxis={"range": [low - 0.06 * span, high + 0.06 * span], "nticks": 7, "title": {"text": _axis(lead, unit)}},
        yaxis={"range": [max(len(arms), 1) - 0.4, -0.6], "tickvals": list(range(len(arms))), "ticktext": names,
               "showgrid": False},
    )  # fmt: skip
    key = f"<span style='color:{p.tempered}'>●</span> right   <span style='color:{p.purple}'>●</span> wrong   "
    key += f"<span style='color:{p.grey}'>|</span> each seed   ┊ before training"
    note(figure, key, mode, 0, 1, shift=(0, 8), colour=p.muted, size=SMALL)
    caption = wrong_data_sentence(arms, lead)
    return Chart(figure, f"Changes for {len(arms)} kinds of data. {caption}", caption, _table(arms))


def _axis(lead: str, unit: str) -> str:
    unit_said = said.moved_unit(unit)
    return f"change of {said.name(lead)} on evaluation" + (f", {unit_said}" if unit_said else "")


def _ends(change: Quantity) -> tuple[float, float]:
    if change.interval is None:
        return change.value or 0.0, change.value or 0.0
    return change.interval.low, change.interval.high


def _moved(change: Quantity, unit: str) -> str:
    ends = ", ".join(said.moved(end, unit) for end in _ends(change))
    return f"{said.moved(change.value, unit)} {said.moved_unit(unit)}".strip() + f" [{ends}]"


def _row_said(arm: Arm, lead: str, unit: str) -> str:
    return (
        f"<b>{words.name(arm.title)}</b><br>{_moved(arm.change[lead], unit)}<br>{words.count(arm.examples)} examples"
    )


def wrong_data_sentence(arms: Sequence[Arm], lead: str) -> str:
    """What learning from the right and from the worst data did, in one sentence without a stop inside."""
    if not arms:
        return "Nothing was trained yet: 0 kinds of data."
    unit, n = said.unit_of(lead), arms[0].change[lead].n
    text = f"The right data moved {said.name(lead)} by {_moved(arms[0].change[lead], unit)}"
    sign = 1 if method("metric", lead).function.higher_is_better else -1
    others = [(sign * (arm.worse[lead].value or 0.0), place, arm) for place, arm in enumerate(arms) if arm.worse]
    if not others:
        return f"{text} on {words.count(n or 0)} evaluation examples."
    _, _, worst = min(others, key=lambda found: found[:2])
    assert worst.worse is not None
    low, high = _ends(worst.worse[lead])
    sure = high < 0 if sign > 0 else low > 0
    text += f", {worst.title} by {_moved(worst.change[lead], unit)}: "
    text += "any data will not do" if sure else "no worse than chance alone could make it"
    low, high = _ends(arms[0].change[lead])
    if high < 0 if sign > 0 else low > 0:
        text += ", and the right data did harm too, so that a lower rate or more epochs would show more"
    return f"{text}, on {words.count(n or 0)} evaluation examples."


def _table(arms: Sequence[Arm]) -> pd.DataFrame:
    rows = []
    for arm in arms:
        row: dict[str, object] = {"Data": arm.title, "Examples": arm.examples}
        for name, change in arm.change.items():
            low, high = _ends(change)
            values = arm.values[name]
            row |= {said.title(name): sum(values) / len(values), f"{said.title(name)}, change": change.value,
                    f"{said.title(name)}, 95 % interval": f"{low:+.4g} to {high:+.4g}"}  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows or [{"Data": "nothing yet", "Examples": 0}])


@register(
    kind="chart",
    name="data-distance",
    title="Distance of data",
    summary="How well data are told from the original's, beside how well two halves of those are.",
    reference="Lopez-Paz and Oquab 2017, Revisiting classifier two-sample tests, arXiv 1610.06545; "
    "Heusel et al. 2017, arXiv 1706.08500 (Frechet distance)",
)
def distance_chart(distance: Distance, mode: str = "light") -> Chart:
    """Two rulers: the area under a classifier's curve, and the squared Frechet distance."""
    p = palette(mode)
    figure = go.Figure()
    value, (low, high) = distance.auc.value or 0.0, _ends(distance.auc)
    rulers = (("auc", "", distance.chance, value), ("frechet", "2", distance.frechet_chance, distance.frechet))
    for name, number, chance, here in rulers:
        figure.add_scatter(
            x=list(chance), y=[1.0] * len(chance), mode="markers", xaxis=f"x{number}", yaxis=f"y{number}",
            uid=f"distance-{name}-chance", marker={"symbol": "line-ns-open", "size": 16, "color": p.grey},
            hovertemplate="two halves of the original's: %{x:.3f}<extra></extra>",
        )  # fmt: skip
        ends = {"type": "data", "symmetric": False, "thickness": 2, "width": 4, "color": p.tempered,
                "array": [high - value], "arrayminus": [value - low]}  # fmt: skip
        figure.add_scatter(
            x=[here], y=[0.0], mode="markers", xaxis=f"x{number}", yaxis=f"y{number}", uid=f"distance-{name}-here",
            marker={"size": 12, "color": p.tempered}, error_x=ends if name == "auc" else {"visible": False},
            hovertemplate="these data: %{x:.3f}<extra></extra>",
        )  # fmt: skip
    top = 1.08 * max(distance.frechet, *distance.frechet_chance, 1e-6)
    least = min(0.45, low, *distance.chance) - 0.02
    ticks = {"range": [-0.7, 1.7], "tickvals": [0, 1], "showgrid": False}
    layout(
        figure, mode, 170, margin=(150, 16, 14, 46),
        xaxis={"domain": [0, 0.45], "range": [least, 1.02], "dtick": 0.1,
               "title": {"text": "told apart, area under the curve"}},
        yaxis={**ticks, "ticktext": ["these data", "halves of the original's"]},
        xaxis2={"domain": [0.55, 1], "range": [-0.03 * top, top], "nticks": 5, "anchor": "y2",
                "title": {"text": "squared Frechet distance"}},
        yaxis2={**ticks, "ticktext": ["", ""], "anchor": "x2"},
    )  # fmt: skip
    caption = (
        f"Told apart with an area of {value:.3f} [{low:.3f}, {high:.3f}], halves of the original's data with "
        f"{min(distance.chance):.3f} to {max(distance.chance):.3f}; squared Frechet distance {distance.frechet:.3g}, "
        f"halves {min(distance.frechet_chance):.3g} to {max(distance.frechet_chance):.3g}; {distance.n:,} "
        "examples on each side."
    )
    rows = [("these data", value, distance.frechet)]
    rows += [("two halves", *pair) for pair in zip(distance.chance, distance.frechet_chance, strict=True)]
    table = pd.DataFrame(
        rows, columns=["Compared with calibration", "Area under the curve", "Squared Frechet distance"]
    )
    return Chart(figure, caption, caption, table)
