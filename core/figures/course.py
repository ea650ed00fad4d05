"""What each step of a recipe costs and saves, in its order, and what the other order would have given."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go

from core.figures import said, words
from core.figures.theme import DASHES, layout, note, palette, translucent
from core.layers.course import Course, Stage
from core.registry import method, register
from core.types import Chart, Quantity

HEIGHT = 300  # px
ROOM = 0.18  # of the range of values, above and below
LEAST = 0.02  # of the first value: the least range shown
WIDTH = 26  # characters of a step's name in one line


@register(
    kind="chart",
    name="course",
    title="Step by step",
    summary="The leading metric and the packed size after each step of the recipe, and after the other order.",
    reference="Nagel et al. 2021, A white paper on neural network quantization, arXiv 2106.08295 (ablations by step)",
)
def course_chart(found: Course, mode: str = "light") -> Chart:
    """One point a step, its interval, the change it made and the size it left."""
    p, stages = palette(mode), found.stages
    other = found.turned.stage if found.turned else None
    unit = stages[0].value.unit
    factor = said.factor(unit)
    places = list(range(len(stages)))
    figure = go.Figure()
    figure.add_scatter(
        x=places, y=[_at(stage) for stage in stages], mode="lines", hoverinfo="skip", uid="course-line",
        line={"color": translucent(p.tempered, 0.5), "width": 1.5},
    )  # fmt: skip
    _points(figure, places[:1], list(stages[:1]), "original", p.original, "circle-open")
    _points(figure, places[1:], list(stages[1:]), "tempered", p.tempered, "circle")
    low, high = _range(stages)
    layout(
        figure, mode, HEIGHT, margin=(58, 24, 20, 62),
        xaxis={
            "range": [-0.45, len(stages) - (0.4 if other else 0.6) + (other is not None)],
            "tickvals": [*places, *([len(stages)] if other else [])], "tickangle": 0,
            "ticktext": [
                *(f"{_wrapped(stage.title)}<br>{words.size(stage.bytes)}" for stage in stages),
                *([f"Rounded first<br>{words.size(other.bytes)}"] if other else []),
            ],
        },
        yaxis={
            "range": [low, high], "nticks": 6,
            "title": {"text": f"{said.name(found.metric)}, {said.shown_unit(unit)}".removesuffix(", ")},
        },
    )  # fmt: skip
    figure.add_shape(
        type="line", xref="paper", x0=0, x1=1, y0=_at(stages[0]), y1=_at(stages[0]), layer="below",
        line={"color": translucent(p.original, 0.6), "width": 1, "dash": DASHES["original"]},
    )  # fmt: skip
    for place, stage in enumerate(stages[1:], 1):
        down = _at(stage) <= _at(stages[place - 1])
        note(figure, f"<b>{_moved(stage.change)}</b>", mode, place, factor * _ends(stage.value)[0 if down else 1],
             xref="x", yref="y", anchor=("center", "top" if down else "bottom"), shift=(0, -5 if down else 5),
             backed=True)  # fmt: skip
    _other(figure, len(stages), other, low, high, mode)
    caption = _caption(found)
    alt = "; ".join(f"{stage.title}: {said.value(stage.value.value, unit)}" for stage in stages)
    return Chart(figure, f"{said.title(found.metric)} step by step. {alt}. {caption}", caption, _table(found))


def _range(stages: Sequence[Stage]) -> tuple[float, float]:
    """The values shown: those of the recipe's own stages. The other order may lie far outside."""
    factor = said.factor(stages[0].value.unit)
    ends = [factor * end for stage in stages for end in _ends(stage.value)]
    span = max(max(ends) - min(ends), LEAST * abs(factor * (stages[0].value.value or 1)))
    return min(ends) - ROOM * span, max(ends) + ROOM * span


def _other(figure: go.Figure, place: int, other: Stage | None, low: float, high: float, mode: str) -> None:
    """The other order's end in a column of its own; beyond the range an arrow at the edge. Its value beside it."""
    p = palette(mode)
    if other is None:
        _points(figure, [], [], "other", p.grey, "diamond-open")
        return
    inside, edge = low <= _at(other) <= high, 0.04 * (high - low)
    at = _at(other) if inside else low + edge if _at(other) < low else high - edge
    symbol = "diamond-open" if inside else "triangle-down-open" if _at(other) < low else "triangle-up-open"
    _points(figure, [place], [other], "other", p.grey, symbol, None if inside else at)
    below = at > (low + high) / 2
    note(figure, said.value(other.value.value, other.value.unit), mode, place, at, xref="x", yref="y",
         anchor=("center", "top" if below else "bottom"), shift=(0, -10 if below else 10), backed=True,
         colour=p.muted)  # fmt: skip


def _at(stage: Stage) -> float:
    return said.factor(stage.value.unit) * (stage.value.value or 0)


def _ends(quantity: Quantity) -> tuple[float, float]:
    value = quantity.value or 0
    return (quantity.interval.low, quantity.interval.high) if quantity.interval else (value, value)


def _points(
    figure: go.Figure, where: list[int], stages: list[Stage], uid: str, colour: str, symbol: str,
    instead: float | None = None,
) -> None:  # fmt: skip
    """Marks with their intervals; `instead` of where they belong, at an edge, they have none."""
    factor = said.factor(stages[0].value.unit) if stages else 1
    figure.add_scatter(
        x=where, y=[_at(stage) if instead is None else instead for stage in stages], mode="markers",
        uid=f"course-{uid}",
        marker={"symbol": symbol, "size": 12, "color": colour, "line": {"width": 2, "color": colour}},
        error_y={
            "type": "data", "symmetric": False, "color": colour, "thickness": 1.2, "width": 4,
            "visible": instead is None,
            "array": [factor * _ends(stage.value)[1] - _at(stage) for stage in stages],
            "arrayminus": [_at(stage) - factor * _ends(stage.value)[0] for stage in stages],
        },
        text=[f"{stage.recipe.notation}<br>{said.value(stage.value.value, stage.value.unit)}, "
              f"{words.size(stage.bytes)}" for stage in stages],
        hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip


def _wrapped(title: str) -> str:
    return words.lines(title, WIDTH).replace("\n", "<br>")


def _moved(change: Quantity | None) -> str:
    if change is None:
        return ""
    return f"{said.moved(change.value, change.unit)} {said.moved_unit(change.unit)}".strip()


def _harm(found: Course, stage: Stage) -> float:
    """How much worse a step made the metric."""
    change = (stage.change.value if stage.change else 0) or 0
    return -change if method("metric", found.metric).function.higher_is_better else change


def _beyond(change: Quantity) -> bool:
    return change.interval is None or not change.interval.low <= 0 <= change.interval.high


def _caption(found: Course) -> str:
    steps = found.stages[1:]
    worst = max(steps, key=lambda stage: _harm(found, stage))
    told = f"{worst.title} costs the most: {_moved(worst.change)}"
    if _harm(found, worst) <= 0:
        last = found.stages[-1].value
        told = f"No step costs {said.name(found.metric)}: it ends at {said.value(last.value, last.unit)}"
    best = min(steps, key=lambda stage: _harm(found, stage))
    if _harm(found, best) < 0 and best.change and _beyond(best.change):
        told += f"; {best.title.lower()} gives {_moved(best.change)}"
    return f"{told}."


def other_order(found: Course) -> str:
    """What rounding before pruning would have given, in a sentence; '' where there is one order only."""
    if found.turned is None:
        return ""
    stage, left = found.turned.stage, found.turned.left
    if stage is None:
        return f"Rounded first, pruned after, it cannot be: {found.turned.why}"
    assert stage.change is not None
    without = f", without “{left[0].lower()}”, which rounding rules out" if left else ""
    if not _beyond(stage.change):
        return f"Rounded first, pruned after, it would end the same within chance ({_moved(stage.change)}){without}."
    return f"Rounded first, pruned after, it would end {_moved(stage.change)} from here{without}."


def _spanned(change: Quantity, factor: int) -> str:
    low, high = (factor * end for end in _ends(change))
    return f"{low:+.4g} to {high:+.4g}"


def _table(found: Course) -> pd.DataFrame:
    other = found.turned.stage if found.turned else None
    rows = [(f"{place}. {stage.title}" if place else stage.title, stage) for place, stage in enumerate(found.stages)]
    rows += [("All, rounded before pruned", other)] if other else []
    unit = found.stages[0].value.unit
    factor, title = said.factor(unit), said.title(found.metric)
    of = f", {said.shown_unit(unit)}".removesuffix(", ")
    moved = f", {said.moved_unit(unit)}".removesuffix(", ")
    return pd.DataFrame(
        {
            "After": [name for name, _ in rows],
            f"{title}{of}": [_at(stage) for _, stage in rows],
            f"Change{moved}": [f"{factor * (s.change.value or 0):+.4g}" if s.change else "" for _, s in rows],
            f"95 % interval{moved}": [_spanned(s.change, factor) if s.change else "" for _, s in rows],
            "Packed, bytes": [stage.bytes for _, stage in rows],
        }
    )
